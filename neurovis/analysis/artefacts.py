"""Where analyses are kept, and how their parts are computed: shared by when, where and amount.

Comes in: a config and tasks. Goes out: ``analyses/<kind>-<fingerprint>/`` in a run or an output folder:
``config.yaml``, ``provenance.json``, ``analysis.json`` and, where there are arrays, ``analysis.h5``. What
an interrupted analysis computed is kept in ``parts`` until it is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.analysis.base import FORMAT, Analysis, Layout, lay_out, split_of
from neurovis.batches import Recordings, prepared_identity
from neurovis.config import load_yaml
from neurovis.errors import NeurovisError
from neurovis.parallel import Workers
from neurovis.progress import progress, say
from neurovis.store import (
    FORMAT_VERSION,
    artefact,
    artefact_path,
    is_complete,
    read_json,
    remove,
    sha256,
    write_h5,
    write_json,
)


def kept(
    config: Analysis,
    out: str | Path,
    run: str | Path | None,
    quiet: bool,
    work: Callable[[Recordings, Layout, Path], tuple[dict[str, Any], dict[str, np.ndarray]]],
    check: Callable[[Recordings], None] = lambda recordings: None,
) -> Path:
    """The artefact of an analysis: read if it is complete, else made.

    Parameters
    ----------
    config : Analysis
    out : path
    run : path, optional
        The artefact goes into it.
    quiet : bool
    work : callable
        Recordings, layout and where embeddings are -> what the analysis says, and its arrays.
    check : callable
        Refuses recordings that it cannot be made of.

    Returns
    -------
    Path
    """
    recordings = Recordings(config.data)
    try:
        check(recordings)
        folder, inputs = starts(config, recordings, out, run)
        if reused(folder, quiet):
            return folder
        with artefact(folder, config, inputs, config.seed) as partial:
            place = embedded(out, run)
            layout = lay_out(config, recordings, partial / "parts", place, quiet)
            finish(partial, config, *work(recordings, layout, place))
    finally:
        recordings.close()
    return folder


def starts(
    config: Analysis, recordings: Recordings, out: str | Path, run: str | Path | None
) -> tuple[Path, dict[str, str]]:
    """Folder of the artefact and fingerprints of what goes in.

    Raises
    ------
    NeurovisError
        If the prepared folder is not the one that the run was trained on.
    """
    split_of(recordings)
    inputs = {"prepared": recordings.identity}
    inputs |= {
        f"embeddings/{name}": sha256(target.embeddings)
        for name, target in config.targets.items()
        if target.embeddings
    }
    if run is not None:
        trained = (read_json(Path(run) / "provenance.json").get("inputs") or {}).get("prepared")
        said = (load_yaml(Path(run) / "config.yaml").get("data") or {}).get("subjects")
        files = sorted(recordings.folder.glob("sub-*/trials.h5"))
        everybody = [path.parent.name.removeprefix("sub-") for path in files]
        found = prepared_identity(recordings.folder, said or everybody)
        if trained not in (None, found):
            raise NeurovisError(
                f"{run}: was trained on other recordings than {recordings.folder} holds (fingerprints "
                f"{trained} and {found}); give data.path of the folder it was trained on."
            )
        inputs["run"] = Path(run).resolve().name
    root = Path(run) if run is not None else Path(out)
    return artefact_path(root, "analyses", config.kind, config, inputs, recordings.subjects), inputs


def embedded(out: str | Path, run: str | Path | None) -> Path:
    """Where embeddings are kept: beside the run where training kept them there."""
    beside = Path(run).resolve().parent.parent if run is not None else Path(out)
    return beside if (beside / "embeddings").is_dir() else Path(out)


def reused(folder: Path, quiet: bool) -> bool:
    """Whether the artefact is there already."""
    if is_complete(folder):
        say(f"{folder.name}: complete, nothing to do", quiet)
    return is_complete(folder)


def call(function: Callable[..., Any], *about: Any) -> Any:
    """Call a function: what other processes are told to do."""
    return function(*about)


def parallel(
    workers: Workers, tasks: list[tuple], folder: Path, desc: str, quiet: bool
) -> list[Any]:
    """What each task (function and arguments) returns, in order, with one progress bar."""
    # a task in this process has no bar of its own
    alone = workers.cluster == "none" and (workers.n_jobs == 1 or len(tasks) < 2)
    made = workers.map(call, tasks, folder / "log", desc, quiet)
    return list(progress(made, desc, len(tasks), quiet or not alone))


def finish(
    folder: Path, config: Analysis, about: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    """Write what the analysis says; its parts are no longer needed."""
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": config.kind}
    if arrays:
        write_h5(folder / "analysis.h5", FORMAT, arrays)
    write_json(folder / "analysis.json", {**head, **about})
    remove(folder / "parts")
