"""What is installed without a clone: every module, every manifest, a command that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

FOLDERS = {"neurovis": "neurovis", "preprocessing": "neurovis/preprocessing"}
FOLDERS |= {"data_manifests": "neurovis/data_manifests"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The project built as pip builds it, from a copy, so that the clone stays clean."""
    copy = tmp_path_factory.mktemp("project")
    for folder in FOLDERS:
        hidden = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, ignore=hidden)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = ["wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    words = [sys.executable, "-m", "pip", *build, "--disable-pip-version-check", "-w", "out", "."]
    done = subprocess.run(words, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (copy / "out").glob("*.whl")
    return built


def test_the_wheel_holds_every_module_and_manifest(wheel):
    expected = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".json")
        or ({"weights", "page_files"} & set(path.parts) and path.is_file())
        if "__pycache__" not in path.parts
    }
    assert "neurovis/data_manifests/bids.json" in expected
    assert "neurovis/world/weights/clip/open_clip_model.safetensors" in expected
    with zipfile.ZipFile(wheel) as file:
        found = {name for name in file.namelist() if ".dist-info/" not in name}
    assert found == expected


def test_the_wheel_works_away_from_the_clone(wheel, tmp_path):
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(installed)
    (entry,) = installed.glob("*.dist-info/entry_points.txt")
    assert "neurovis = neurovis.cli:main" in entry.read_text()
    code = (
        "import neurovis, sys\nfrom neurovis.cli import main\n"
        "from neurovis.manifest import manifests\nfrom neurovis.datasets import load_datasets\n"
        "print(neurovis.__file__, *manifests().values(), *sorted(load_datasets()), sep='\\n')\n"
        "sys.exit(main(['--version']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    manifests = sorted(p.name for p in (ROOT / "data_manifests").glob("*.json"))
    files = [installed / "neurovis" / "__init__.py"]
    files += [installed / "neurovis" / "data_manifests" / name for name in manifests]
    assert lines[: len(files)] == [str(path) for path in files]
    assert {"bids", "synthetic", "table"} <= set(lines[len(files) : -1])
    assert lines[-1].startswith("neurovis ")
