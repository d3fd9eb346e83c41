"""A tiny run on simulated MEG that was prepared with causal filters, and the recording to play to it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurovis.live.decode import Decoder, load
from neurovis.live.engine import Engine
from neurovis.live.items import Options, Shown
from neurovis.live.markers import Markers
from neurovis.live.player import Played, recording
from neurovis.live.recipe import Facts, Recipe

DESIGN = {
    "n_subjects": 1, "n_sessions": 1, "n_runs": 1, "n_train_concepts": 40, "n_exemplars": 3,
    "train_repeats": 1, "n_test": 8, "test_repeats": 4, "sfreq": 200.0, "size": 48, "seed": 7, "snr": 1.0,
}  # fmt: skip
EXPERIMENT = {
    "name": "tiny",
    "targets": {"picture": {"encoder": "color", "components": 8}},
    "brain": {"name": "inverted", "n_hidden": 0, "n_steps": 0},
    "train": {"epochs": 1, "batch_size": 64},
    "control": "none",
    "device": "cpu",
}
REPLAY = "synthetic/ses-01_run-01"


@dataclass(frozen=True)
class Tiny:
    """The run, where its recording is, and both opened."""

    run: Path
    root: Path
    prepared: Path
    decoder: Decoder
    recipe: Recipe
    played: Played

    @functools.cached_property
    def signal(self) -> np.ndarray:
        """The recording: array (time, channel) float32, T."""
        return np.ascontiguousarray(self.played.read(0, self.played.n_times).T)

    @property
    def stamps(self) -> np.ndarray:
        """A time (s) for each sample."""
        return 100 + np.arange(len(self.signal)) / self.played.sfreq

    def facts(self, **changes) -> Facts:
        """What its stream says."""
        return Facts(**{"names": self.played.names, "sfreq": self.played.sfreq, **changes})

    def engine(self, out, options: Options | None = None, **changes) -> Engine:
        """An engine for its stream."""
        markers = Markers({str(label): str(label) for label in self.played.label})
        facts = changes.pop("facts", self.facts())
        bads = changes.pop("bads", self.played.bads)
        return Engine(self.recipe, self.decoder, facts, markers, options, out, bads, **changes)

    def events(self, stop: float = 1e9) -> list[tuple[str, float]]:
        """Labels and onsets (s) up to a time."""
        pairs = zip(self.played.label.tolist(), self.played.onset.tolist())
        return [(label, onset) for label, onset in pairs if onset < stop]

    def decide(
        self, stop: float, cuts=range(40, 100_000, 40), keep=None, signal=None, **options
    ) -> list:
        """What an engine says of the recording up to a time, fed in portions."""
        made: list = []
        n = round(stop * self.played.sfreq)
        engine = self.engine(made.append, Options(**{"warm": 5.0, **options}))
        keep = np.arange(n) if keep is None else keep
        signal = self.signal if signal is None else signal
        events = self.events(stop)
        for part in np.split(keep, sorted({c for c in cuts if c < len(keep)})):
            engine.feed(signal[part], self.stamps[part])
            while events and part.size and events[0][1] * self.played.sfreq <= part[-1]:
                label, onset = events.pop(0)
                engine.mark(label, 100 + onset)
        engine.end()
        return made


def decisions(made: list) -> list:
    """Decisions among what an engine gave out."""
    return [item.decision for item in made if isinstance(item, Shown)]


@functools.lru_cache(maxsize=1)
def tiny_run(folder: Path) -> Tiny:
    """Simulate, prepare and train once; `folder` is that of the test session."""
    from neurovis.config import build, resolve
    from neurovis.datasets import Dataset, load_datasets
    from neurovis.experiment import Experiment
    from neurovis.prepare import prepare
    from neurovis.train import main as train
    from neurovis.world.simulate import simulate

    root = folder / "world"
    simulate(root, {"name": "meg", "n_chans": 20}, quiet=True, **DESIGN)
    load_datasets()
    dataset = resolve(
        Dataset, {"name": "synthetic", "steps": {"phase": "minimum", "notch": [50.0]}}
    )
    prepared = prepare(dataset, root, folder, quiet=True)
    content = {**EXPERIMENT, "data": {"path": str(prepared)}}
    run = train(build(Experiment, content), folder, quiet=True)
    decoder = load(run)
    recipe = Recipe.of(run, decoder.model, decoder.subject)
    return Tiny(run, root, prepared, decoder, recipe, recording(REPLAY, str(root), "01"))


def tiny(tmp_path_factory) -> Tiny:
    """The one of this test session."""
    return tiny_run(tmp_path_factory.getbasetemp() / "tiny-live")
