"""Share a trained model: ``save_pretrained``, ``from_pretrained``, ``push``.

Comes in: a run that was evaluated. Goes out: a folder of safetensors weights, YAML, JSON and a model card,
and from such a folder, or a Hugging Face repository, an object that predicts embeddings from signals.
Nothing in a folder is executed; components are found by name in this installation.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from pathlib import Path
from typing import Any

from neurovis.brain.base import BrainEncoder
from neurovis.card import card, data_manifest
from neurovis.errors import NeurovisError, UsageError
from neurovis.evaluate import read_scores
from neurovis.pretrained import Pretrained, read_brain, read_config
from neurovis.report.markup import PATH
from neurovis.store import is_complete, read_json, remove, temporary, write_json

__all__ = ["Pretrained", "from_pretrained", "push", "save_pretrained"]

FILES = ("README.md", "config.yaml", "shape.json", "signals.json", "scores.json", "provenance.json")
PATTERNS = [*FILES, "shape-*.json", "model*.safetensors", "spaces/*.safetensors"]
REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
SECRET = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\b(?:api[_-]?key|token|password)\s*[:=]\s*\S{12,}", re.I
)


def save_pretrained(run: str | Path, folder: str | Path, licence: str = "other") -> Path:
    """Save a run as a model that others can load.

    Parameters
    ----------
    run : path
        Made by ``neurovis train`` and scored by ``neurovis evaluate``.
    folder : path
        Must not be there yet, or be empty.
    licence : str
        Of the weights, as Hugging Face spells it (``mit``, ``cc-by-4.0``); ``other`` refers to the
        terms of the training data.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    NeurovisError
        If the run is not complete, or a text in it names a path, this machine or a secret.
    """
    run, folder = Path(run), Path(folder)
    if not is_complete(run):
        raise NeurovisError(
            f"{run}: no complete run, expected provenance.json; train it to its end."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NeurovisError(f"{folder}: is there already, expected a new folder; choose another.")
    weights = sorted(run.glob("model*.safetensors"))
    for name in ("scores.json", "signals.json", "shape.json"):
        if not (run / name).is_file():
            todo = "neurovis evaluate" if name == "scores.json" else "neurovis train"
            raise NeurovisError(f"{run}: no {name} in it; run {todo} with this version.")
    if not weights:
        raise NeurovisError(
            f"{run}: no model.safetensors in it; only trained towers can be shared."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary(folder)
    try:
        remove(partial)
        (partial / "spaces").mkdir(parents=True)
        for source in [*weights, *(run / "spaces").glob("*.safetensors")]:
            shutil.copyfile(source, partial / source.relative_to(run))
        own = [path.name for path in run.glob("shape-*.json")]
        for name in ("config.yaml", "shape.json", "signals.json", "scores.json", *own):
            shutil.copyfile(run / name, partial / name)
        record = read_json(run / "provenance.json")
        # what the machine is stays with the run
        kept = ("python", "versions", "inputs", "seed", "time")
        write_json(partial / "provenance.json", {k: record.get(k) for k in kept})
        _write_card(partial, folder.name, licence)
        _refuse_private(partial)
        if folder.exists():
            folder.rmdir()
        os.replace(partial, folder)
    finally:
        remove(partial)
    return folder


def _write_card(folder: Path, name: str, licence: str) -> None:
    config = read_config(folder)
    scores = [s for s in read_scores(folder) if "comparison" not in s.about]
    text = card(
        name,
        config,
        read_json(folder / "shape.json"),
        read_json(folder / "signals.json", "neurovis-signals"),
        scores,
        read_json(folder / "scores.json")["headline"],
        read_json(folder / "provenance.json"),
        None if _foreign(config) else read_brain(config, folder),
        licence,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _foreign(config: dict[str, Any]) -> bool:
    """Whether the tower is no part of neurovis: its card says its name alone."""
    said = config.get("brain")
    return ":" in str(said.get("name") if isinstance(said, dict) else said)


def _refuse_private(folder: Path) -> None:
    """Refuse texts that name a folder, the machine or a secret."""
    host = socket.gethostname()
    for name in (*FILES, *(path.name for path in folder.glob("shape-*.json"))):
        text = (folder / name).read_text(encoding="utf-8")
        for what, pattern in (
            ("a path", PATH),
            ("a secret", SECRET),
            ("this machine", re.compile(rf"\b{re.escape(host)}\b") if len(host) > 5 else None),
        ):
            found = pattern.search(text) if pattern else None
            if found:
                around = text[max(0, found.start() - 20) : found.start() + 20].replace("\n", " ")
                shown = "" if what == "a secret" else f" near {around!r}"
                raise NeurovisError(
                    f"{name}: expected nothing private, found {what}{shown}; take it out of the run's "
                    "config and save again."
                )


def from_pretrained(
    name: str | Path,
    fold: int | None = None,
    brain: BrainEncoder | None = None,
    revision: str | None = None,
    token: str | None = None,
    device: str = "cpu",
    subject: str | None = None,
) -> Pretrained:
    """Load a model from a folder or from the Hugging Face Hub.

    Parameters
    ----------
    name : str or path
        A folder of `save_pretrained`, or ``owner/name`` of a repository (fetched once, then cached).
    fold : int, optional
        Which model of a run with several folds, counted from 1.
    brain : BrainEncoder, optional
        Config of a tower that is not part of neurovis: a folder's own name for it is never imported.
    revision : str, optional
        Of the repository.
    token : str, optional
        Of the Hub, for a private repository.
    device : str
    subject : str, optional
        Whose model, where each subject has one of its own.

    Returns
    -------
    Pretrained

    Raises
    ------
    NeurovisError
        If there is no such model, or a file of it is missing, damaged, or of a newer version.
    """
    folder = Path(name)
    if not folder.is_dir():
        if not REPOSITORY.fullmatch(str(name)):
            raise NeurovisError(
                f"{name}: no such folder, and no owner/name of a repository; give one of both."
            )
        folder = _fetch(str(name), revision, token)
    return Pretrained(folder, fold, brain, device, subject)


def _fetch(name: str, revision: str | None, token: str | None) -> Path:
    import huggingface_hub

    try:
        found = huggingface_hub.snapshot_download(
            name, revision=revision, token=token, allow_patterns=PATTERNS
        )
    except Exception as error:  # what clients of the network raise differs by version
        text = " ".join(str(error).split())[:200]
        raise NeurovisError(
            f"{name}: could not be fetched from the Hub ({type(error).__name__}: {text}); check name, "
            "network and token, or give a folder."
        ) from error
    return Path(found)


def push(
    folder: str | Path,
    repo_id: str,
    private: bool = True,
    accept_terms: bool = False,
    token: str | None = None,
) -> str:
    """Upload a saved model to the Hugging Face Hub.

    Parameters
    ----------
    folder : path
        From `save_pretrained`; nothing but its known files is sent.
    repo_id : str
        ``owner/name``; made if it is not there.
    private : bool
    accept_terms : bool
        Say that the terms of the training data's owners allow it, where they have such.
    token : str, optional
        Of the Hub; the one that was stored by logging in, if not given.

    Returns
    -------
    str
        Address of the repository.

    Raises
    ------
    NeurovisError
        If the data's terms were not accepted, a file names something private, or the upload fails.
    """
    import huggingface_hub

    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise NeurovisError(f"{folder}: no {name} in it; make it with save_pretrained.")
    if not REPOSITORY.fullmatch(repo_id):
        raise UsageError(f"repo_id: expected owner/name, found {repo_id!r}.")
    manifest = data_manifest(read_json(folder / "signals.json", "neurovis-signals"))
    if manifest is not None and manifest.terms and not accept_terms:
        raise NeurovisError(
            f"push: the model was trained on {manifest.name}, whose owners ask for their terms to be kept "
            f"({manifest.terms.url}: {manifest.terms.text}); make sure that they allow sharing what was "
            "derived from the data, then say accept_terms=True (--accept-terms)."
        )
    licence = _licence(folder)
    _write_card(folder, repo_id, licence)
    _refuse_private(folder)
    api = huggingface_hub.HfApi(token=token)
    try:
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=PATTERNS,
            commit_message="Model, card and scores",
        )
    except Exception as error:  # what clients of the network raise differs by version
        text = " ".join(str(error).split())[:200]
        raise NeurovisError(
            f"{repo_id}: could not be uploaded ({type(error).__name__}: {text}); check network and token, "
            "then push again."
        ) from error
    return str(url)


def _licence(folder: Path) -> str:
    found = re.search(r"^license: (\S+)$", (folder / "README.md").read_text("utf-8"), re.M)
    return found[1] if found else "other"
