"""Events in tables, and stimuli from them: what datasets share whose events are rows of text.

Comes in: CSV or TSV files with one row per event. Goes out: the rows to use, the image of each, `Stimuli`
and splits. Which column names the picture and what is test are options; an event without image is
refused, never skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from neurovis.datasets import Dataset, Recording, split_recordings
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.records import Split, Stimuli
from neurovis.signals.recording import foreign
from neurovis.store import sha256

ABSENT = ("", "n/a", "N/A", "nan", "NaN")
IMAGE_COLUMNS = ("image", "stim_file", "stim")


class FromTable(Dataset):
    """What datasets with tables of events share.

    Parameters
    ----------
    image_column : str, optional
        Column that names the picture; None takes the first of image, stim_file, stim.
    concept_column, set_column : str, optional
        Columns with the picture's concept, and with ``train`` or ``test``.
    where : dict
        Rows to use: column to allowed values, such as ``{trial_type: [exp, test]}``.
    test_repeats : int, optional
        Pictures that a subject saw at least so often are test.
    test_file : str, optional
        Text file with the test images' ids, one per line.
    stimuli_folder : str
        Where pictures are, relative to the root; a ``stimuli.csv`` in it is used.
    leave_out : {"run", "session"}, optional
        Leave these out in turn instead of images: for stimuli of which the category alone is known.
    """

    image_column: str | None = None
    concept_column: str | None = None
    set_column: str | None = None
    where: dict[str, tuple[str, ...]] = pydantic.Field(default_factory=dict)
    test_repeats: int | None = pydantic.Field(None, ge=2)
    test_file: str | None = None
    stimuli_folder: str = "stimuli"
    leave_out: Literal["run", "session"] | None = None

    def splits(self, stimuli: Stimuli, recordings: Sequence[Recording]) -> list[Split]:
        """By image, or runs or sessions left out in turn."""
        if self.leave_out is None:
            return super().splits(stimuli, recordings)
        names = {r.name: r.session if self.leave_out == "session" else r.name for r in recordings}
        folds = split_recordings(list(names.values()), self.validation > 0, self.recipe)
        spread = lambda side: [name for name, group in names.items() if group in side]  # noqa: E731
        return [
            Split(
                spread(f.train), spread(f.validation), spread(f.test), self.recipe, unit="recording"
            )
            for f in folds
        ]

    def tables(self, root: Path) -> Iterator[tuple[str, Path, Any]]:
        """Subject, file and events (pandas.DataFrame of text) of every recording."""
        raise NotImplementedError

    def selected(self, table: Any, file: Path) -> Any:
        """The rows to use, with a column ``_image``; an event without image is refused."""
        for column, allowed in self.where.items():
            if column not in table:
                raise UsageError(f"{file}: {unknown('where: column', column, table.columns)}")
            table = table[table[column].isin([str(value) for value in allowed])]
        named = self.image_column or next((c for c in IMAGE_COLUMNS if c in table), None)
        if named is None or named not in table:
            raise UsageError(
                f"{file}: image_column: expected one of the columns {', '.join(table.columns)}, "
                f"found {named or 'none of ' + ', '.join(IMAGE_COLUMNS)}; set image_column."
            )
        absent = table[named].isin(ABSENT)
        if absent.any():
            row = int(table.index[absent.to_numpy().argmax()])
            raise NeurovisError(
                f"{file}: line {row + 2} has no image in column {named!r} ({int(absent.sum())} such "
                "events); expected an image for every event: name it, or leave such rows out with "
                "where."
            )
        return table.assign(_image=table[named])

    def stimuli(self, root: Path) -> Stimuli:
        """All pictures shown, from ``stimuli.csv`` where there is one, else from the events."""
        rows: dict[str, dict[str, str]] = {}
        most: dict[str, int] = {}
        seen: dict[tuple[str, str], int] = {}
        for subject, file, table in self.tables(root):
            table = self.selected(table, file)
            for name, count in table["_image"].value_counts().items():
                seen[subject, name] = seen.get((subject, name), 0) + int(count)
                most[name] = max(most.get(name, 0), seen[subject, name])
            for row in table.drop_duplicates("_image").to_dict("records"):
                rows.setdefault(row["_image"], row)
            if self.set_column is not None:
                self._refuse_two_sets(rows, table, file)
        if not rows:
            raise NeurovisError(
                f"{root}: no event is left of any recording; check where and the events files."
            )
        listed = root / self.stimuli_folder / "stimuli.csv"
        stimuli = Stimuli.read(listed) if listed.is_file() else self._from_events(root, rows)
        stimuli = stimuli.take(np.sort(stimuli.index(list(rows))))
        sets = self._sets(root, stimuli.image, rows, most, listed.is_file())
        object.__setattr__(stimuli, "set", stimuli.set if sets is None else sets)
        return stimuli

    def _refuse_two_sets(self, rows: dict, table: Any, file: Path) -> None:
        if self.set_column not in table:
            raise UsageError(f"{file}: {unknown('set_column', self.set_column, table.columns)}")
        known = table["_image"].map(lambda name: rows[name][self.set_column])
        wrong = (known != table[self.set_column]).to_numpy()
        if wrong.any():
            row = table.iloc[wrong.argmax()]
            raise NeurovisError(
                f"{file}: image {row['_image']!r} is in {known.iloc[wrong.argmax()]} and in "
                f"{row[self.set_column]}; expected every image on one side: correct {self.set_column}."
            )

    def _sets(
        self, root: Path, images: np.ndarray, rows: dict, most: dict[str, int], listed: bool
    ) -> np.ndarray | None:
        if self.leave_out is not None:
            return np.full(len(images), "train")
        if self.test_file is not None:
            path = root / self.test_file
            if not path.is_file():
                raise UsageError(f"{path}: no such file; set test_file to the list of test images.")
            test = np.isin(images, path.read_text(encoding="utf-8").split())
        elif self.test_repeats is not None:
            test = np.array([most[image] >= self.test_repeats for image in images])
        elif self.set_column is not None:
            sets = np.array([rows[image][self.set_column] for image in images])
            odd = ~np.isin(sets, ("train", "test"))
            if odd.any():
                raise NeurovisError(
                    f"events: {self.set_column} of image {images[odd][0]!r} is {sets[odd][0]!r}, "
                    "expected train or test; leave other events out with where."
                )
            return sets
        elif listed:
            return None
        else:
            raise UsageError(
                "which images are test is not stated; expected set_column, test_repeats or test_file "
                f"(or {self.stimuli_folder}/stimuli.csv); a picture was shown at most "
                f"{max(most.values())} times to one subject."
            )
        return np.where(test, "test", "train")

    def _from_events(self, root: Path, rows: dict[str, dict[str, str]]) -> Stimuli:
        from PIL import Image

        folder = root / self.stimuli_folder
        paths, sums, sizes, concepts = [], [], [], []
        for name, row in rows.items():
            path = next((row[c] for c in ("path", "stim_file", "stim") if row.get(c)), name)
            path = path.replace("\\", "/").removeprefix(f"{self.stimuli_folder}/")
            there = (folder / path).is_file()
            # a category: the events name no picture of it
            named = there or self.leave_out is None or Path(path).suffix
            paths.append((path,) if named else ())
            sums.append(sha256(folder / path) if there else "")
            if there:
                with foreign(folder / path, lambda file=folder / path: Image.open(file)) as picture:
                    sizes.append(picture.size)
            else:
                sizes.append((0, 0))
            parent = Path(path).parent.name
            concepts.append(row[self.concept_column] if self.concept_column else parent or name)
        width, height = np.array(sizes).T
        return Stimuli(
            np.array(list(rows)), paths, np.array(sums), width, height, np.array(concepts),
            np.full(len(rows), "train"), folder=folder,
        )  # fmt: skip


def read_table(path: Path, needed: list[str]) -> Any:
    """A CSV or TSV as text, column names checked: pandas.DataFrame."""
    import pandas as pd

    if not path.is_file():
        raise NeurovisError(f"{path}: no such events table; expected it beside the recordings.")
    separator = "\t" if path.suffix == ".tsv" else ","
    options = {"sep": separator, "dtype": str, "keep_default_na": False}
    table = foreign(path, lambda: pd.read_csv(path, **options)).fillna("")
    missing = [name for name in needed if name not in table]
    if missing:
        raise NeurovisError(
            f"{path}: column {missing[0]!r} is missing, found {', '.join(table.columns)}; add it."
        )
    return table


def numbers(table: Any, column: str, path: Path) -> np.ndarray:
    """A column as numbers, array (row,); the line that is none is named."""
    import pandas as pd

    if column not in table:
        raise NeurovisError(
            f"{path}: expected a column onset (s) or sample, found neither; add one."
        )
    values = pd.to_numeric(table[column], errors="coerce")
    if values.isna().any():
        row = values.index[values.isna()][0]
        raise NeurovisError(
            f"{path}: line {row + 2}: {column} is {table.loc[row, column]!r}, expected a number; "
            "correct the line or leave it out with where."
        )
    return values.to_numpy(float)


def categories(names: Sequence[str]) -> Stimuli:
    """Stimuli of which the category alone is known, and no picture.

    Parameters
    ----------
    names : sequence of str
        With repeats, in any order.

    Raises
    ------
    NeurovisError
        If there are fewer than two.
    """
    names = np.unique(np.asarray(names, str))
    if len(names) < 2:
        raise NeurovisError(
            f"stimuli: found {len(names)} categories ({', '.join(names)}), expected at least two; check "
            "the labels and what is taken for rest."
        )
    nothing = np.zeros(len(names), int)
    return Stimuli(
        names, [()] * len(names), np.full(len(names), ""), nothing, nothing, names,
        np.full(len(names), "train"),
    )  # fmt: skip
