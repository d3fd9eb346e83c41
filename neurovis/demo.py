"""The whole job on simulated recordings: ``neurovis demo``.

Comes in: a folder. Goes out: raw recordings of a simulated study, prepared trials, a trained tower
with its baselines and limits, and a report. Each step is the command that a user would type, printed
as it is done; steps that are complete are not done again.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from neurovis.progress import say

DESIGN: dict[str, Any] = {}
"""Options of ``neurovis simulate``: its defaults are the demo's design."""

EXPERIMENT: dict[str, Any] = {
    "version": 1,
    "name": "demo",
    "targets": {
        "picture": {
            "encoder": {"name": "beside", "parts": ["gabor+color", "world:clip_kinds"]},
            "components": 128,
            "whiten": 0.5,
        }
    },
    "brain": {"name": "inverted"},
    # which part of an embedding counts differs from brain to brain: each gets its own image side
    "subjects": "single",
    "projection": "linear",
    "loss": {"name": "clip_mse", "weight": 0.75},
    "train": {"epochs": 6, "batch_size": 256, "lr": 3e-4, "average_weights": 0.9},
}
"""The experiment of ``neurovis demo``, also written to ``OUT/demo-MODALITY.yaml``."""

GENERATE: dict[str, Any] = {
    "generator": {"name": "world", "steps": 8},
    "low": "world:vae",
    "samples": 8,
    "words": ["world:clip_text", "world:clip_text+caption"],
}
"""How ``neurovis demo`` paints what was seen, and says it in words."""

BY_MODALITY: dict[str, dict[str, Any]] = {
    # thousands of voxels, one sample each, neighbours alike; on validation images the smoothness is
    # the best of 0, 4, 6, 9 and 13 mm, and level with the inverted tower (top-5 47 % and 49 %)
    "fmri": {"brain": {"name": "ridge", "smoothness": 0.006}, "control": "baseline"},
}
"""What is another in the experiment of a modality."""


def demo(
    out: str | Path = "neurovis-demo",
    modality: str = "meg",
    n_jobs: int = 2,
    quiet: bool = False,
    design: dict[str, Any] | None = None,
    experiment: dict[str, Any] | None = None,
    generate: dict[str, Any] | None = None,
) -> Path:
    """Simulate, preprocess, train, evaluate, paint, report.

    Parameters
    ----------
    out : path
        Folder for everything; the same command goes on with what is in it.
    modality : {"meg", "eeg", "fmri"}
    n_jobs : int
        Processes for simulation and preprocessing.
    quiet : bool
    design, experiment, generate : dict, optional
        Changes to `DESIGN`, `EXPERIMENT` and `GENERATE`.

    Returns
    -------
    Path
        The report.
    """
    from neurovis.config import build, resolve, write_yaml
    from neurovis.datasets import Dataset, load_datasets
    from neurovis.evaluate import evaluate_run, read_scores, table
    from neurovis.experiment import Experiment
    from neurovis.generate.score import score_reconstructions
    from neurovis.parallel import Workers
    from neurovis.prepare import prepare
    from neurovis.reconstruct import Reconstruct, reconstruct
    from neurovis.report import report_run
    from neurovis.train import main as train
    from neurovis.world.simulate import simulate

    out = Path(out)
    started = time.perf_counter()

    def step(command: str) -> None:
        say(f"[{time.perf_counter() - started:5.0f} s] $ neurovis {command}", quiet)

    options = {**DESIGN, **(design or {})}
    world = out / f"world-{modality}"
    words = "".join(f" {key}={value}" for key, value in options.items())
    step(f"simulate --modality {modality} --out {world}{words}")
    simulate(world, modality, n_jobs=n_jobs, quiet=quiet, **options)

    step(f"preprocess synthetic --root {world} --out {out}")
    load_datasets()
    dataset = resolve(Dataset, "synthetic")
    prepared = prepare(dataset, world, out, n_jobs=n_jobs, quiet=quiet)

    own = BY_MODALITY.get(modality, {})
    content = {**EXPERIMENT, **own, **(experiment or {}), "data": {"path": prepared.as_posix()}}
    content["name"] = f"demo-{modality}"
    yaml = out / f"demo-{modality}.yaml"
    write_yaml(yaml, content)
    step(f"train {yaml} --out {out}")
    run = train(build(Experiment, content), out, quiet=quiet)

    step(f"evaluate {run}")
    if not (run / "scores.json").is_file():
        evaluate_run(run, quiet=quiet)
    if not quiet:
        print(table(read_scores(run)))
    paint = {**GENERATE, **(generate or {})}
    words = " ".join(f"{key}={value}" for key, value in paint.items())
    step(f"generate {run} {words}")
    painted = reconstruct(
        run, build(Reconstruct, paint), workers=Workers(n_jobs=n_jobs), quiet=quiet
    )
    step(f"evaluate {painted}")
    if not (painted / "scores.json").is_file():
        score_reconstructions(painted, quiet=quiet)
    step(f"report {run}")
    report = report_run(run, quiet=quiet)
    say(f"[{time.perf_counter() - started:5.0f} s] done", quiet)
    return report
