"""What there is to use (``neurovis list``) and what is missing (``neurovis doctor``).

Comes in: a family's name and a pattern, or a dataset or run. Goes out: text for the terminal, made from
the registries and the machine itself.
"""

from __future__ import annotations

import fnmatch
import importlib
from importlib import metadata
from pathlib import Path

from neurovis.config import FAMILIES, Family, components
from neurovis.errors import NeurovisError

HOME = {
    "datasets": "neurovis.prepare",
    "images": "neurovis.images.base",
    "brain": "neurovis.brain.base",
    "losses": "neurovis.losses.base",
    "metrics": "neurovis.metrics.base",
}
REQUIRED = [
    "mne",
    "torch",
    "braindecode",
    "open_clip_torch",
    "diffusers",
    "numpy",
    "scipy",
    "h5py",
    "mne-bids",
    "timm",
    "einops",
    "pydantic",
    "pandas",
    "scikit-learn",
    "scikit-image",
    "joblib",
    "safetensors",
    "pillow",
    "pyyaml",
    "tqdm",
    "matplotlib",
    "pooch",
]
OPTIONAL = {"edfio": "formats", "pybv": "formats", "eeglabio": "formats", "tensorboard": "log"}


def family(name: str) -> type[Family]:
    """Root of a family by its name, its module imported."""
    if name not in HOME:
        raise NeurovisError(f"family {name!r} has no component yet; known: {', '.join(HOME)}.")
    importlib.import_module(HOME[name])
    if name == "datasets":
        from neurovis.datasets import load_datasets

        load_datasets()
    return FAMILIES[name]


def listing(name: str, pattern: str = "*") -> str:
    """Components of a family that match a pattern, a line each.

    Parameters
    ----------
    name : str
        Of the family.
    pattern : str
        As in a shell, such as ``*conv*``.
    """
    found = {k: v for k, v in components(family(name)).items() if fnmatch.fnmatch(k, pattern)}
    if not found:
        raise NeurovisError(f"{name}: nothing matches {pattern!r}; try: neurovis list {name}")
    width = max(map(len, found))
    lines = []
    for key, cls in found.items():
        first = (cls.__doc__ or "").strip().split("\n")[0]
        options = ", ".join(cls.model_fields)
        lines.append(
            f"{key:<{width}}  {first}" + (f"\n{'':<{width}}  options: {options}" if options else "")
        )
    return "\n".join(lines)


def doctor(what: str | None = None, root: str | None = None) -> tuple[str, bool]:
    """Say what is installed and what is missing, with the command that gets it.

    Parameters
    ----------
    what : str, optional
        A dataset's name or a run folder.
    root : str, optional
        Where the dataset is.

    Returns
    -------
    str
    bool
        Whether nothing needed is missing.
    """
    if what and Path(what).is_dir():
        return _doctor_run(Path(what))
    if what:
        from neurovis.manifest import verify

        return verify(what, root), True
    lines, good = [], True
    for package in REQUIRED:
        try:
            lines.append(f"{package:<18}{metadata.version(package)}")
        except metadata.PackageNotFoundError:
            good = False
            lines.append(f"{package:<18}missing: pip install {package}")
    for package, extra in OPTIONAL.items():
        try:
            lines.append(f"{package:<18}{metadata.version(package)} (optional)")
        except metadata.PackageNotFoundError:
            lines.append(f'{package:<18}not installed (optional): pip install "neurovis[{extra}]"')
    import torch

    if torch.cuda.is_available():
        lines += [f"GPU               {torch.cuda.get_device_name(0)}"]
    else:
        lines += [f"GPU               none; the CPU is used with {torch.get_num_threads()} threads"]
    return "\n".join(lines), good


def _doctor_run(run: Path) -> tuple[str, bool]:
    expected = {
        "provenance.json": "neurovis train EXPERIMENT.yaml",
        "model*.safetensors": "neurovis train EXPERIMENT.yaml",
        "systems/*/prediction.h5": "neurovis train EXPERIMENT.yaml",
        "scores.json": f"neurovis evaluate {run.name}",
        "report.html": f"neurovis report {run.name}",
    }
    lines, good = [], True
    for pattern, command in expected.items():
        there = sorted(run.glob(pattern))
        good &= bool(there)
        lines.append(f"{pattern:<26}{f'{len(there)} found' if there else f'missing: {command}'}")
    return "\n".join(lines), good
