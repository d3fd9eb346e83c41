"""Responses of one subject: means over repeats of each image, ceilings, regions, what does not vary.

Comes in: prepared trials. Goes out: `Responses`. Targets are channels times samples, in that order;
subjects are read one at a time, so that memory holds one subject's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurovis.batches import Recordings
from neurovis.encode.ceilings import (
    DEFINITIONS,
    ncsnr_ceiling,
    silent_ceiling,
    split_half_ceiling,
    streamed,
)
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.records import Split
from neurovis.signals.fmri.storage import read_voxels
from neurovis.signals.fmri.voxels import Components, Voxels, repeated
from neurovis.store import open_h5


@dataclass(frozen=True, eq=False)
class Responses:
    """What one subject's targets said to each image.

    Parameters
    ----------
    subject : str
    image : array of str (row,)
        Training images, then those of the validation side.
    y : array (row, target) float32
        Mean over repeats.
    n_train : int
    test_image : array of str (image,)
    test : array (image, target) float32
        Mean over all repeats.
    repeats : array of int (image,)
        Of each test image.
    channel_name, channel_type : array of str (channel,)
    channel_position : array (channel, 3), m
    times : array (time,), s
    modality : str
    constant : array of bool (target,)
        Does not vary over training images, or over test images.
    ceiling : dict of array (target,)
        Share of the variance of test means that images explain, by definition; absent without repeats.
        ``ncsnr`` is told from all repeated images, ``split_half`` from test images alone.
    chosen_by : array (target,)
        The same, told from training images where they were repeated: what targets are chosen by.
    chosen_on : str
        Whose repeats those are: ``training``, ``test`` or ``none``.
    regions : dict of array of bool (channel,)
    voxels : Voxels, optional
    read_trials : callable
        Trials -> array (trial, target).
    rows : dict of array of int
        Trials of each side.
    trial_image : array of str (trial,)
    notes : list of str
    silent : float
        The `chosen_by` that one in twenty targets exceeds although images explain nothing.
    """

    subject: str
    image: np.ndarray
    y: np.ndarray
    n_train: int
    test_image: np.ndarray
    test: np.ndarray
    repeats: np.ndarray
    channel_name: np.ndarray
    channel_type: np.ndarray
    channel_position: np.ndarray
    times: np.ndarray
    modality: str
    constant: np.ndarray
    ceiling: dict[str, np.ndarray]
    chosen_by: np.ndarray
    chosen_on: str
    regions: dict[str, np.ndarray]
    voxels: Voxels | None
    read_trials: Callable[[np.ndarray], np.ndarray]
    rows: dict[str, np.ndarray]
    trial_image: np.ndarray
    notes: list[str] = field(default_factory=list)
    silent: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and times."""
        return len(self.channel_name), len(self.times)

    def groups(self) -> dict[str, np.ndarray]:
        """Targets (target,) of all channels, and of each region or type of channel."""
        n_times = self.shape[1]
        found = {"all": np.ones(self.y.shape[1], bool)}
        return found | {k: np.repeat(v, n_times) for k, v in self.regions.items() if v.any()}


def responses_of(
    recordings: Recordings, split: Split, known: np.ndarray, wanted: tuple[str, ...]
) -> Responses:
    """Read one subject.

    Parameters
    ----------
    recordings : Recordings
        Of that subject alone.
    split : Split
    known : array of str
        Images that every family of features knows.
    wanted : tuple of str
        Regions; all if empty.

    Raises
    ------
    NeurovisError
        If a side has too few images, or all targets are constant.
    """
    subject = recordings.subjects[0]
    sides = {}
    for side in ("train", "validation", "test"):
        items, images = recordings.items(split, side)
        keep = np.flatnonzero(np.isin(images, known))
        sides[side] = [items[i] for i in keep], images[keep]
    least = {"train": 3, "validation": 0, "test": 3}
    for side, (items, _) in sides.items():
        if len(items) < least[side]:
            raise NeurovisError(
                f"sub-{subject}: expected {least[side]} {side} images with trials and features or more, found "
                f"{len(items)}; check split and features."
            )
    n_targets = recordings.n_chans * recordings.n_times
    means = {
        k: recordings.averages(items).reshape(len(items), n_targets)
        for k, (items, _) in sides.items()
    }
    n_train = len(means["train"])
    y = np.concatenate([means["train"], means.pop("validation")])
    image = np.concatenate([sides["train"][1], sides["validation"][1]])
    test = means["test"]
    constant = (np.ptp(y[:n_train], 0) == 0) | (np.ptp(test, 0) == 0)
    notes = []
    if constant.any():
        notes.append(
            f"sub-{subject}: {int(constant.sum())} of {len(constant)} targets do not vary over images; "
            "they have no score and stand in no mean."
        )
    if constant.all():
        raise NeurovisError(
            f"sub-{subject}: all {len(constant)} targets are constant, expected some that vary; "
            "preprocess the recordings anew."
        )

    def read(rows: np.ndarray) -> np.ndarray:
        return recordings.read(0, rows).reshape(len(rows), -1)

    trials = recordings.trials[0]
    rows = {side: np.concatenate([r for _, r in items]) if items else np.zeros(0, int)
            for side, (items, _) in sides.items()}  # fmt: skip
    repeats = np.array([len(r) for _, r in sides["test"][0]])
    learned = np.concatenate([rows["train"], rows["validation"]])
    # how noisy a target is, all repeats tell: ceilings of few test images alone are too rough to divide by
    found = streamed(read, trials.image, np.concatenate([learned, rows["test"]]))
    ceiling = {}
    if found is None:
        notes.append(
            f"sub-{subject}: no image was repeated, noise ceilings are not known; scores are not "
            "normalised."
        )
    else:
        ceiling["ncsnr"] = ncsnr_ceiling(found, repeats)
    tested = trials.image[rows["test"]]
    if len(np.unique(tested[repeated(tested)])) >= 3:
        ceiling["split_half"] = split_half_ceiling(read(rows["test"]), tested)
    learned = streamed(read, trials.image, learned)
    chosen, on = _chosen(ceiling, learned, repeats, len(constant))
    told = learned if on == "training" else found
    silent = 0.0 if told is None else silent_ceiling(told.n, repeats)
    for name, values in ceiling.items():
        ceiling[name] = np.where(constant, 0.0, values)
    regions, voxels = _regions(recordings, wanted, notes)
    return Responses(
        subject=subject,
        image=image,
        y=y,
        n_train=n_train,
        test_image=sides["test"][1],
        test=test,
        repeats=repeats,
        channel_name=np.array(recordings.channel_name),
        channel_type=np.array(recordings.channel_type),
        channel_position=recordings.channel_position,
        times=recordings.times,
        modality=trials.modality,
        constant=constant,
        ceiling=ceiling,
        chosen_by=np.where(constant, 0.0, chosen),
        chosen_on=on,
        regions=regions,
        voxels=voxels,
        read_trials=read,
        rows=rows,
        trial_image=trials.image,
        notes=notes,
        silent=silent,
    )


def _chosen(
    ceiling: dict[str, np.ndarray], learned: Components | None, repeats: np.ndarray, n: int
) -> tuple[np.ndarray, str]:
    """What targets are chosen by, and whose repeats tell it."""
    if learned is not None and len(learned.n) >= 20:
        return ncsnr_ceiling(learned, repeats), "training"
    if ceiling:
        return ceiling[DEFINITIONS[0]], "test"
    return np.ones(n), "none"


def _regions(
    recordings: Recordings, wanted: tuple[str, ...], notes: list[str]
) -> tuple[dict[str, np.ndarray], Voxels | None]:
    """Regions of voxels, or types of sensors."""
    subject = recordings.subjects[0]
    if recordings.trials[0].modality != "fmri":
        kinds = np.array(recordings.channel_type)
        types = np.unique(kinds)
        found = {str(k): kinds == k for k in types} if len(types) > 1 else {}
        _refuse(wanted, found, subject)
        return found, None
    path = recordings.folder / f"sub-{subject}" / "trials.h5"
    with open_h5(path, "neurovis-trials") as file:
        named = "voxels" in file
    if not named:
        notes.append(f"sub-{subject}: trials.h5 names no voxels; there are no regions and no maps.")
        _refuse(wanted, {}, subject)
        return {}, None
    voxels = read_voxels(path)[0]  # masks that do not fit are refused there
    _refuse(wanted, voxels.roi, subject)
    found = {k: v for k, v in voxels.roi.items() if not wanted or k in wanted}
    for name in [k for k, v in found.items() if not v.any()]:
        notes.append(f"sub-{subject}: region {name!r} holds none of the voxels; it has no row.")
    return {k: v for k, v in found.items() if v.any()}, voxels


def _refuse(wanted: tuple[str, ...], found: dict[str, Any], subject: str) -> None:
    for name in wanted:
        if name not in found:
            raise UsageError(f"sub-{subject}: {unknown('region', name, found)}")
