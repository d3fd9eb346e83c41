"""Part of the training data: the first sessions, the first minutes, some of the images.

Comes in: trials, a split, a `Limit`. Goes out: the trials of a side that are used, and what must be
said of their standardisation: a model of one session whose signals were scaled with the statistics of
forty has seen forty (MindEye2, arXiv 2403.11207, appendix A.2).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.records import Split, Trials


@dataclass(frozen=True)
class Limit:
    """How much of one subject's training and validation data is used; test data always is.

    Parameters
    ----------
    sessions : int, optional
        The first so many, in chronological order.
    images : int, optional
        So many images of the training side, and the same share of the validation side. They are the
        first by the hash of their ids: the same for all subjects, and each number's hold those of
        every smaller number.
    minutes : float, optional
        Trials whose epochs end in the first so many minutes of recording, pauses between runs left
        out.
    """

    sessions: int | None = None
    images: int | None = None
    minutes: float | None = None

    def __bool__(self) -> bool:
        return self != Limit()

    def rows(self, split: Split, side: str, trials: Trials) -> np.ndarray:
        """Trials of one side that are used: array of int (row,)."""
        rows = split.rows(side, trials)
        if side == "test":
            return rows
        if self.sessions is not None:
            first = sessions(trials)
            if self.sessions > len(first):
                raise NeurovisError(
                    f"data.sessions: expected at most {len(first)} (the sessions of "
                    f"sub-{trials.subject}), found {self.sessions}; ask for fewer."
                )
            rows = rows[np.isin(trials.session[rows], first[: self.sessions])]
        if self.images is not None:
            rows = rows[np.isin(trials.image[rows], self._images(split, side, trials))]
        if self.minutes is not None:
            rows = rows[elapsed(trials)[rows] <= 60 * self.minutes]
        return rows

    def _images(self, split: Split, side: str, trials: Trials) -> np.ndarray:
        if split.unit != "image":
            raise NeurovisError(
                "split: its sides are recordings, expected images where their number is limited; "
                "limit sessions or minutes instead."
            )
        if self.images > len(split.train):
            raise NeurovisError(
                f"n_images of sub-{trials.subject}: expected at most {len(split.train)} (the training "
                f"images of the split), found {self.images}; ask for fewer."
            )
        names = sorted(
            getattr(split, side), key=lambda name: hashlib.sha256(name.encode()).hexdigest()
        )
        share = self.images / len(split.train)
        return np.array(names[: int(np.ceil(share * len(names)))], dtype=str)

    def __str__(self) -> str:
        parts = []
        if self.sessions is not None:
            parts.append(f"first {self.sessions} session{'s' * (self.sessions > 1)}")
        if self.images is not None:
            parts.append(f"{self.images} training images")
        if self.minutes is not None:
            parts.append(f"first {self.minutes:g} min")
        return ", ".join(parts)


def natural(names: Sequence[str]) -> list[str]:
    """Sorted so that ``ses-2`` comes before ``ses-10``."""
    return sorted(names, key=lambda n: [(p.isdigit(), p.zfill(20)) for p in re.split(r"(\d+)", n)])


def sessions(trials: Trials) -> list[str]:
    """Sessions in chronological order, which is that of their numbers."""
    return natural(np.unique(trials.session).tolist())


def elapsed(trials: Trials) -> np.ndarray:
    """Seconds recorded when each trial's epoch ends: array (trial,).

    Runs follow each other in the order of session and run; a run starts with the first epoch in it.
    """
    length = trials.signal.shape[2] / trials.sfreq
    out, before = np.empty(len(trials)), 0.0
    for session in sessions(trials):
        inside = trials.session == session
        for run in natural(np.unique(trials.run[inside]).tolist()):
            rows = np.flatnonzero(inside & (trials.run == run))
            since = trials.onset[rows] - trials.onset[rows].min()
            out[rows] = before + since + length
            before += since.max() + length
    return out


def standardisation(trials: Trials, limit: Limit, scale: str) -> str:
    """What must be said of how a subject's signals were standardised; empty if nothing.

    Parameters
    ----------
    trials : Trials
        Their provenance says what preprocessing learned from.
    limit : Limit
    scale : {"stored", "used", "whitened", "aligned"}
        Of `Data`: what undoes what per subject, not per session.
    """
    if not limit:
        return ""
    steps = trials.provenance.get("steps")
    steps = steps if isinstance(steps, dict) else {}
    scaling, whiten = steps.get("scaling"), steps.get("whiten", "none")
    by_session, rescaled = steps.get("scope") == "session", scale != "stored"
    parts = []
    if scaling is None:
        parts.append("what the signals were standardised with is not recorded")
    elif scaling in ("none", "constant") or (rescaled and not by_session):
        pass  # nothing was learned, or it is undone
    elif by_session and limit == Limit(sessions=limit.sessions):
        parts.append(
            "test trials of other sessions standardised with those sessions' training trials"
        )
    else:
        whose = "their session's" if by_session else "all"
        parts.append(f"standardised with {whose} training trials, unused ones among them")
    if whiten != "none" and (by_session or scale not in ("whitened", "aligned")):
        parts.append("whitened with training trials that are not used")
    return " and ".join(parts)
