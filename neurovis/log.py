"""What training leaves to look at: ``log.csv``, TensorBoard where it is asked for, a progress bar."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

from neurovis.errors import missing_package
from neurovis.store import atomic


class Log:
    """``log.csv``: one row per epoch; rows after the epoch a run resumes from are dropped."""

    columns = ("stage", "step", "epoch", "loss", "contrastive", "mse", "cosine", "relation")
    columns += ("validation_loss", "validation_top5", "waited", "seconds")

    def __init__(self, path: Path, stage: str, epoch: int, tensorboard: bool = False):
        self.path, self.stage = path, stage
        self.board = _board(path.parent / "tensorboard" / stage, epoch) if tensorboard else None
        rows = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as handle:
                rows = list(csv.DictReader(handle))
        # a row that a kill or a full disk cut short is not whole
        rows = [r for r in rows if None not in r.values()]
        rows = [r for r in rows if r["stage"] != stage or int(r["epoch"]) <= epoch]
        with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, self.columns)
            writer.writeheader()
            writer.writerows(rows)

    def write(self, row: dict[str, Any]) -> None:
        """Append a row."""
        row = {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}
        with self.path.open("a", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, self.columns, extrasaction="ignore")
            writer.writerow({"stage": self.stage, **row})
        if self.board:
            for name, value in row.items():
                self.board.add_scalar(name, value, row["epoch"])
            self.board.flush()

    def close(self) -> None:
        """The end."""
        if self.board:
            self.board.close()


def require_tensorboard() -> None:
    """Say how TensorBoard is installed, before anything is trained."""
    if importlib.util.find_spec("tensorboard") is None:
        raise missing_package("tensorboard", "log")


def _board(folder: Path, epoch: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    # what a killed run wrote after its checkpoint is not shown
    return SummaryWriter(folder, purge_step=epoch + 1)


class Bar:
    """Progress over epochs."""

    def __init__(self, total: int, done: int, desc: str, quiet: bool):
        from tqdm import tqdm

        self.bar = tqdm(total=total, initial=done, desc=desc, disable=quiet, unit="epoch")

    def step(self, text: str) -> None:
        """One epoch is done."""
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update()

    def close(self) -> None:
        """The end."""
        self.bar.close()
