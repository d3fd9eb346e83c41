"""Confounds of a run: head motion and other signals that are no response.

Comes in: a table as fMRIPrep writes it, or plain columns of motion parameters. Goes out: an array
(volume, confound), centred and scaled so that the model stays well conditioned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    import pandas as pd

    path = _present(path)
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise NeurovisError(
            f"{path}: cannot be read as a table ({error}); make it anew."
        ) from error
    return _chosen(path, table, wanted, n_volumes, 2)


def read_columns(
    path: str | Path, names: Sequence[str], wanted: Sequence[str], n_volumes: int
) -> tuple[np.ndarray, list[str]]:
    """The same from columns of numbers without a head, such as motion parameters.

    Parameters
    ----------
    path : path
    names : sequence of str
        Of the columns.
    wanted, n_volumes
        As in `read_confounds`.
    """
    import pandas as pd

    path = _present(path)
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise NeurovisError(
                f"{path}: line {number} has {len(row)} values, expected {len(names)}; make it anew."
            )
    return _chosen(path, pd.DataFrame(rows, columns=list(names)), wanted, n_volumes, 1)


def _present(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise NeurovisError(
            f"{path}: no such confounds table; fetch the derivatives, or set confounds=[]."
        )
    return path


def _chosen(
    path: Path, table: Any, wanted: Sequence[str], n_volumes: int, first_line: int
) -> tuple[np.ndarray, list[str]]:
    from fnmatch import fnmatchcase

    import pandas as pd

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
            f"{path}: line {row + 1 + first_line}: {names[column]} is {table[names[column]].iloc[row + 1]!r}, expected "
            "a number; leave the column out of confounds."
        )
    values = np.where(missing, np.nan, values)
    centred = values - np.nanmean(values, axis=0)
    centred[np.isnan(centred)] = 0.0
    spread = centred.std(axis=0)
    varies = spread > 1e-12 * np.maximum(1e-30, np.abs(values[1:]).max(axis=0))
    return centred[:, varies] / spread[varies], [n for n, v in zip(names, varies) if v]
