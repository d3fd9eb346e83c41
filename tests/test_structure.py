"""The shape of the library: arrows point one way, imports stay light, names and files keep the rules."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

LIBRARY = ROOT / "neurovis"
MODULES = sorted(p for p in LIBRARY.rglob("*.py") if "__pycache__" not in p.parts)
NAMED = [pytest.param(p, id=p.relative_to(ROOT).as_posix()) for p in MODULES]

# from the ground up: a module may import what stands in a line above its own
ORDER = """
errors flags interrupt options
progress
config
parallel store safe_pickle watch
distributed
device
records arrays manifest norms resize
spaces
signals images decoder metrics report fetch
brain world datasets joint
losses generate
subsets ahead
batches targets prepare imports
levels
augment protocols galleries
choice
log experiment evaluate step checkpoint confidence
adapt ensemble card pretrained search
hub retrieve
predict keep
turns validate decoded
train listing cues
reconstruct
sweep analysis encode live
demo
cli
__main__
"""
LAYER = {name: i for i, line in enumerate(ORDER.split("\n")) for name in line.split()}
HEAVY = {"torch", "torchvision", "mne", "mne_bids", "pandas", "skimage", "sklearn", "matplotlib"}
HEAVY |= {"braindecode", "open_clip", "timm", "diffusers", "scipy", "h5py", "PIL"}
LONG = {"neurovis/records.py": "the six records and their files belong together"}


def part_of(path: Path) -> str:
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def for_types_alone(tree: ast.Module) -> set[ast.AST]:
    """Imports that only a type checker sees."""
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
    blocks = [n for n in blocks if isinstance(n.test, ast.Name) and n.test.id == "TYPE_CHECKING"]
    return {inner for block in blocks for inner in ast.walk(block)}


def imported(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Full names of what a module imports: anywhere in it, or when it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ("neurovis", *path.relative_to(LIBRARY).parts[:-1]) if LIBRARY in path.parents else ()
    hidden = for_types_alone(tree)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inside = {n for f in ast.walk(tree) if isinstance(f, functions) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if node in hidden or (not everywhere and node in inside):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def test_the_import_reader_reads_imports(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "import os.path\nfrom json import loads as l\nif TYPE_CHECKING:\n    import torch\n"
        "def f():\n    import mne\n    from neurovis.train import fit\n"
    )
    everything = {"os.path", "json.loads", "mne", "neurovis.train.fit"}
    assert set(imported(path)) == everything
    assert set(imported(path, everywhere=False)) == {"os.path", "json.loads"}
    assert "neurovis.world.drawing.COLOURS" in set(imported(LIBRARY / "world" / "backdrops.py"))


@pytest.mark.parametrize("path", NAMED)
def test_imports_point_down(path):
    part = part_of(path)
    if part == "__init__":
        assert not list(imported(path))
        return
    for name in imported(path):
        root, _, rest = name.partition(".")
        assert root not in ("preprocessing", "experiments", "tests"), name
        if root != "neurovis" or rest == "__version__":
            continue
        other = rest.partition(".")[0]
        assert other != "preprocessing", name
        if other == part:
            continue
        assert other in LAYER, f"give {other} a place in ORDER"
        assert LAYER[other] < LAYER[part], f"{part} imports {other}, which stands above it"


def test_every_part_has_its_place():
    assert {part_of(p) for p in MODULES} - {"__init__"} <= set(LAYER)


@pytest.mark.parametrize("folder", ["preprocessing", "experiments"])
def test_what_stands_outside_is_not_needed_inside(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for name in imported(path):
            others = {"preprocessing", "experiments", "tests"} - {folder}
            assert name.partition(".")[0] not in others, path.name


@pytest.mark.parametrize("path", NAMED)
def test_heavy_packages_are_imported_where_they_are_needed(path):
    found = {name.partition(".")[0] for name in imported(path, everywhere=False)}
    assert not found & HEAVY


def test_importing_what_the_commands_share_stays_light():
    light = ["neurovis", "neurovis.cli", "neurovis.config", "neurovis.records", "neurovis.store"]
    light += ["neurovis.experiment", "neurovis.batches", "neurovis.evaluate", "neurovis.prepare"]
    code = f"import {', '.join(light)}, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {name.partition(".")[0] for name in done.stdout.split()} & HEAVY


# ---- names, docstrings, sizes


@pytest.mark.parametrize("path", NAMED)
def test_everything_public_has_a_docstring(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    assert module.__doc__, "the module says what comes in and what goes out"
    assert len(module.__doc__.strip().splitlines()) <= 12
    missing = []
    for key, value in vars(module).items():
        mine = getattr(value, "__module__", None) == name and not key.startswith("_")
        if mine and inspect.isclass(value):
            missing += [] if vars(value).get("__doc__") else [key]
            for inner, member in vars(value).items():
                method = inspect.isfunction(member) or isinstance(member, property | classmethod)
                # what a class overrides says what its base says
                if (
                    method
                    and not inner.startswith("_")
                    and not inspect.getdoc(getattr(value, inner))
                ):
                    missing.append(f"{key}.{inner}")
        elif mine and inspect.isfunction(value) and not inspect.getdoc(value):
            missing.append(key)
    assert not missing


def test_no_module_is_a_drawer_for_the_rest():
    drawers = {"utils", "util", "helpers", "helper", "misc", "common", "tools_"}
    for folder in ("neurovis", "preprocessing", "experiments", "tests"):
        for path in (ROOT / folder).rglob("*"):
            assert path.stem.lower() not in drawers, path


@pytest.mark.parametrize("path", NAMED)
def test_the_library_names_no_dataset(path):
    published = (
        r"things[-_ ]?(meg|eeg|fmri|data|\d)|THINGS|\bnsd\b|natural scenes dataset|alljoined"
    )
    published += r"|bold5000|deeprecon|\bmuse\b|faces[-_ ]houses|cats[-_ ]dogs|\bkay ?2008"
    text = path.read_text(encoding="utf-8")
    found = re.search(published, text) or re.search(published.replace("|THINGS", ""), text, re.I)
    assert not found, found.group()


@pytest.mark.parametrize("path", NAMED)
def test_files_are_short(path):
    name = path.relative_to(ROOT).as_posix()
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 500 or name in LONG


def test_long_files_are_still_long():
    for name in LONG:
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) > 500


def test_names_of_tests_are_unique():
    names = [p.name for p in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
    assert not list((ROOT / "tests").rglob("__init__.py"))


def texts() -> Iterator[Path]:
    """Every text that is part of the project."""
    kinds = {".py", ".md", ".cfg", ".toml", ".yaml", ".yml", ".json", ".cff", ".txt", ".html", ""}
    folders = ["neurovis", "preprocessing", "experiments", "tests", "data_manifests", ".ci"]
    for folder in folders:
        yield from (p for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix in kinds)
    yield from (p for p in ROOT.iterdir() if p.is_file() and p.suffix in kinds)


def test_nothing_points_to_one_machine():
    private = r"(?<![\w.])/(?:home|Users|root|work|mnt|scratch)/(?!somebody/|me/)\w"
    private += r"|https?://[^\s\"')]*(?:pypi|artifactory|pythonhosted|simple/)"
    found = []
    for path in texts():
        if "__pycache__" in path.parts:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(private, line) and path != Path(__file__):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found


def test_nothing_is_asserted_or_swallowed_in_the_library():
    for path in [*MODULES, *(ROOT / "preprocessing").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            assert not isinstance(node, ast.Assert), where
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{where}: bare except"
                assert not all(isinstance(n, ast.Pass) for n in node.body), f"{where}: swallowed"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                call = f"{getattr(node.func.value, 'id', '')}.{node.func.attr}"
                assert call not in ("pickle.load", "pickle.loads", "os.system"), where
                if call == "torch.load":
                    safe = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                    assert safe.get("weights_only") is True, where
                if call == "np.load":
                    safe = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                    assert safe.get("allow_pickle", False) is False, where
