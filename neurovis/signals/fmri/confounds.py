"""Confounds of a run: head motion and other signals that are no response.

Comes in: a table as fMRIPrep writes it, or plain columns of motion parameters. Goes out: an array
(volume, confound), centred and scaled so that the model stays well conditioned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neurovis.errors import NeurovisError, UsageError, unknown


def read_confounds(
    path: str | Path, wanted: Sequence[str], n_volumes: int
) -> tuple[np.ndarray, list[str]]:
    """Columns of a confounds table, array (volume, confound) float64, and their names.

    Columns are centred and scaled to unit SD, which changes no beta of a trial. A missing first value
    (of differences and derivatives) becomes the mean. Columns that do not vary are left out.

    Parameters
    ----------
    path : path
        ``*_desc-confounds_timeseries.tsv`` as fMRIPrep writes it.
    wanted : sequence of str
        Names; ``*`` stands for any text.
    n_volumes : int

    Raises
    ------
    NeurovisError
        If a name matches nothing, a value is missing, or there are not as many rows as volumes.
    """
    from fnmatch import fnmatchcase

    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise NeurovisError(
            f"{path}: no such confounds table; fetch the derivatives, or set confounds=[]."
        )
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise NeurovisError(
            f"{path}: cannot be read as a table ({error}); make it anew."
        ) from error
    names: list[str] = []
    for pattern in wanted:
        found = [c for c in table.columns if fnmatchcase(c, pattern)]
        if not found:
            raise UsageError(f"{path}: {unknown('confound', pattern, table.columns)}")
        names += [c for c in found if c not in names]
    if len(table) != n_volumes:
        raise NeurovisError(
            f"{path}: {len(table)} rows, expected {n_volumes}, one per volume; is it another run's?"
        )
    values = table[names].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    missing = ~np.isfinite(values)
    if missing[1:].any():
        row, column = np.argwhere(missing[1:])[0]
        raise NeurovisError(
            f"{path}: line {row + 3}: {names[column]} is {table[names[column]].iloc[row + 1]!r}, expected "
            "a number; leave the column out of confounds."
        )
    values = np.where(missing, np.nan, values)
    centred = values - np.nanmean(values, axis=0)
    centred[np.isnan(centred)] = 0.0
    spread = centred.std(axis=0)
    varies = spread > 1e-12 * np.maximum(1e-30, np.abs(values[1:]).max(axis=0))
    return centred[:, varies] / spread[varies], [n for n, v in zip(names, varies) if v]
