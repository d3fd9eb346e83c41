"""What each person of THINGS-MEG saw, trial by trial, from ``sourcedata/sample_attributes_P*.csv``.

Comes in: one table per person, with a row for every trial of every session. Goes out: numbers, names and
concepts of the pictures as arrays, and the catalogue of all pictures. A concept is read from a picture's
stem, as the folder of test pictures names none; numbers and names must agree over people.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from neurovis.errors import NeurovisError, UsageError, unknown

from .tables import numbers, read_table

NEEDED = ["trial_type", "things_image_nr", "image_path", "session_nr", "run_nr"]


@dataclass(frozen=True)
class Shown:
    """What one person saw, trial by trial: arrays (trial,). Number and name of catch trials are 0 and ''."""

    number: np.ndarray
    image: np.ndarray
    concept: np.ndarray
    kind: np.ndarray
    session: np.ndarray
    run: np.ndarray

    def take(self, rows: np.ndarray) -> Shown:
        """Some of the trials."""
        return Shown(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def read_shown(path: Path, sessions: Sequence[int] | None = None) -> Shown:
    """Read ``sample_attributes_P*.csv``, of some sessions or all.

    Raises
    ------
    NeurovisError
        If a column is missing, or a trial has no picture; the line is named.
    """
    shown = _read_shown(path, _mark(path))
    if sessions is None:
        return shown
    there = np.unique(shown.session)
    odd = [s for s in sessions if f"{s:02d}" not in there]
    if odd:
        raise UsageError(
            f"{path}: {unknown('sessions', str(odd[0]), [str(int(s)) for s in there])}"
        )
    return shown.take(np.isin(shown.session, [f"{s:02d}" for s in sessions]))


@lru_cache(maxsize=8)
def _read_shown(path: Path, mark: tuple[int, int]) -> Shown:
    """`mark` tells a file from the one that stood there before."""
    table = read_table(path, NEEDED)
    kind = table["trial_type"].to_numpy(str)
    odd = np.flatnonzero(~np.isin(kind, ("exp", "test", "catch")))
    if len(odd):
        raise NeurovisError(
            f"{path}: line {odd[0] + 2}: trial_type is {str(kind[odd[0]])!r}, expected exp, test or "
            "catch; fetch the file again."
        )
    real = kind != "catch"
    number = np.zeros(len(table), int)
    number[real] = np.rint(numbers(table[real], "things_image_nr", path)).astype(int)
    image, concept = np.full(len(table), "", object), np.full(len(table), "", object)
    for row in np.flatnonzero(real):
        # the folder of test pictures is no concept: the stem tells it
        stem = PurePosixPath(table["image_path"].iloc[row].replace("\\", "/")).stem
        match = re.fullmatch(r"(.+)_\d+[a-z]*", stem)
        if match is None:
            raise NeurovisError(
                f"{path}: line {row + 2}: image_path {table['image_path'].iloc[row]!r} names no picture, "
                "expected concept_01b.jpg; fetch the file again."
            )
        image[row], concept[row] = stem, match[1]
    session, run = (
        np.array([f"{int(v):02d}" for v in numbers(table, name, path)])
        for name in ("session_nr", "run_nr")
    )
    return Shown(number, image.astype(str), concept.astype(str), kind, session, run)


def catalogue(
    files: Sequence[Path], sessions: Sequence[int] | None = None
) -> dict[str, tuple[str, str]]:
    """Concept and kind (exp or test) of every picture that anyone saw.

    Raises
    ------
    NeurovisError
        If people's tables disagree about a number's picture, or a picture is of both kinds.
    """
    given = None if sessions is None else tuple(sessions)
    return _catalogue(tuple(files), tuple(map(_mark, files)), given)


@lru_cache(maxsize=4)
def _catalogue(
    files: tuple[Path, ...], marks: tuple, sessions: tuple[int, ...] | None
) -> dict[str, tuple[str, str]]:
    kinds: dict[str, tuple[str, str]] = {}
    names: dict[int, str] = {}
    numbered: dict[str, int] = {}
    for path in files:
        shown = read_shown(path, sessions)
        columns = (shown.number, shown.image, shown.concept, shown.kind)
        for number, image, concept, kind in zip(*(column.tolist() for column in columns)):
            if kind == "catch":
                continue
            if names.setdefault(number, image) != image:
                raise NeurovisError(
                    f"{path}: image number {number} is {image!r}, elsewhere {names[number]!r}; expected "
                    "one picture per number: fetch the files again."
                )
            if numbered.setdefault(image, number) != number:
                raise NeurovisError(
                    f"{path}: image {image!r} has the numbers {numbered[image]} and {number}, expected "
                    "one number per picture: fetch the files again."
                )
            if kinds.setdefault(image, (concept, kind))[1] != kind:
                raise NeurovisError(
                    f"{path}: image {image!r} is shown as exp and as test, expected one of them; a test "
                    "picture in training leaks: fetch the file again."
                )
    return kinds


def _mark(path: Path) -> tuple[int, int]:
    return (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else (0, 0)
