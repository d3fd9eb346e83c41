"""Where signals tell what was seen: regions kept or left out, sensors chosen, maps of several kinds.

Comes in: prepared trials and levels of the image. Goes out: an artefact with scores of every region
alone and of all but it, a searchlight, sensors in the order in which validation images want them,
activation patterns of the linear decoder, and integrated gradients. Every fit is made anew for the
channels it is said to have; where the truth is known, planted maps stand beside.

References: Kriegeskorte et al. 2006, doi:10.1073/pnas.0600244103 (searchlight); others are named in
`neurovis.analysis.attribution`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.analysis import places, where_fits
from neurovis.analysis.artefacts import kept, parallel
from neurovis.analysis.base import Analysis, Layout
from neurovis.analysis.where_summary import CHUNK, radius, summary, there
from neurovis.batches import Recordings
from neurovis.errors import UsageError
from neurovis.parallel import Workers

PARTS = ("ablation", "searchlight", "greedy", "patterns", "saliency")


class Where(Analysis):
    """Which parts of the head or brain, and how they are looked at.

    Parameters
    ----------
    parts : tuple of {"ablation", "searchlight", "greedy", "patterns", "saliency"}
    regions : dict of tuple of str
        Patterns of channel names by region; if empty, stored regions of voxels, or parts of the head.
    radius : float, m, optional
        Of a searchlight; 35 mm for sensors, 9 mm for voxels if not given.
    n_sensors : int
        How many `greedy` chooses.
    n_random : int
        Random sets of as many sensors that the chosen ones are compared with.
    greedy_bins : int
        Bins of time in which `greedy` judges sensors.
    saliency : {"ridge", "tower"}
        The decoder whose gradients are integrated: the closed form, or the run's trained tower.
    n_steps : int
        Points on the line that gradients are integrated along.
    level : float
        Probability that permuted labels pass a map's threshold anywhere.
    """

    kind: ClassVar[str] = "where"
    parts: tuple[Literal["ablation", "searchlight", "greedy", "patterns", "saliency"], ...] = (
        pydantic.Field(PARTS, min_length=1)
    )
    regions: dict[str, tuple[str, ...]] = pydantic.Field(default_factory=dict)
    radius: pydantic.PositiveFloat | None = None
    n_sensors: pydantic.PositiveInt = 16
    n_random: pydantic.PositiveInt = 5
    greedy_bins: pydantic.PositiveInt = 14
    saliency: Literal["ridge", "tower"] = "ridge"
    n_steps: pydantic.PositiveInt = 32
    level: float = pydantic.Field(0.05, gt=0, lt=0.5)

    @pydantic.field_validator("regions")
    @classmethod
    def _not_all(cls, value: dict) -> dict:
        if "all" in value:
            raise UsageError(
                "regions: 'all' stands for all channels; give that region another name."
            )
        return value

    @pydantic.field_validator("regions", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: (v,) if isinstance(v, str) else v for k, v in value.items()}
        return value


def where(
    config: Where,
    out: str | Path,
    run: str | Path | None = None,
    workers: Workers | None = None,
    quiet: bool = False,
) -> Path:
    """Decode from parts of the head or brain.

    Parameters
    ----------
    config : Where
    out : path
        The artefact is ``<out>/analyses/where-<fingerprint>``; one that is complete is reused.
    run : path, optional
        The run whose tower `saliency` explains; the artefact then goes into it.
    workers : Workers, optional
    quiet : bool

    Returns
    -------
    Path
        Of the artefact.
    """
    workers = workers or Workers()
    if config.saliency == "tower" and "saliency" in config.parts and run is None:
        raise UsageError(
            "saliency=tower: expected a run whose tower is explained, found an experiment; give the run's "
            "folder."
        )

    def work(recordings: Recordings, layout: Layout, place: Path) -> tuple[dict, dict]:
        tasks = _tasks(config, recordings, layout, run, place)
        parallel(workers, tasks, layout.folder, "fitting places", quiet)
        return summary(config, recordings, layout, workers, quiet)

    return kept(config, out, run, quiet, work)


def _tasks(
    config: Where, recordings: Recordings, layout: Layout, run: Any, place: Path
) -> list[tuple]:
    """Every fit that is not there yet."""
    folder, n_null = layout.folder, config.n_permutations
    tasks: list[tuple] = []
    if "ablation" in config.parts:
        known = places.regions(recordings, layout, config.regions)
        for subject in layout.subjects:
            n = len(layout.channels[subject])
            for region, inside in known[subject].items():
                left = np.setdiff1d(np.arange(n), inside)
                some = {"keep": inside, "leave": left} if len(left) else {"keep": inside}
                for way, channels in some.items():
                    path = where_fits.part(folder, subject, way, region)
                    task = (where_fits.fit_channels, layout, config.ridge, subject, channels)
                    tasks.append((*task, n_null, path))
    if {"ablation", "patterns"} & set(config.parts):
        for subject in layout.subjects:
            channels = np.arange(len(layout.channels[subject]))
            path = where_fits.part(folder, subject, "keep", "all")
            tasks.append(
                (where_fits.fit_channels, layout, config.ridge, subject, channels, n_null, path, True)
            )  # fmt: skip
    if "searchlight" in config.parts:
        for subject in layout.subjects:
            near = places.around(
                layout.position[layout.channels[subject]], radius(config, recordings)
            )
            for start in range(0, len(near), CHUNK):
                path = where_fits.part(folder, subject, "light", f"{start:06d}")
                some = near[start : start + CHUNK]
                tasks.append(
                    (where_fits.fit_lights, layout, config.ridge, subject, some, n_null, path)
                )
    if "saliency" in config.parts:
        for subject in layout.subjects:
            path = where_fits.part(folder, subject, "saliency", config.saliency)
            if config.saliency == "ridge":
                task = (where_fits.explain_ridge, layout, config.ridge, subject, config.n_steps)
                tasks.append((*task, path))
            else:
                from neurovis.analysis.towers import channel_names, tower_layouts

                own = tower_layouts(config, recordings, layout, Path(run), place)[subject]
                names = channel_names(recordings, layout)[subject]
                task = (where_fits.explain_tower, own, Path(run), names, subject, config.n_steps)
                tasks.append((*task, path))
    return [task for task in tasks if not there(task)]
