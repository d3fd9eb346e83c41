"""What datasets of every kind share: recipes, and signals that are not MNE's to read."""

from pathlib import Path
from typing import Any, ClassVar

import mne
import numpy as np
import pytest

from neurovis.config import resolve, to_dict
from neurovis.datasets import (
    Continuous,
    Dataset,
    Epochs,
    Events,
    Recording,
    SensorData,
    Steps,
    load_datasets,
)
from neurovis.errors import NeurovisError, UsageError
from neurovis.prepare import main, prepare
from neurovis.records import Stimuli, Trials
from neurovis.signals.standardise import Scaling

N_TRAIN, N_TEST, REPEATS, N_CHANS = 24, 6, 3, 5
NAMES = [f"Oz{i}" for i in range(N_CHANS)]


class Fake(SensorData):
    """Recordings in memory; every image has a voltage of its own."""

    steps: Steps = Steps(
        l_freq=None, h_freq=None, sfreq=None, tmin=0.0, tmax=0.2, baseline=None, detect=False,
        scaling="none", whiten="none",
    )  # fmt: skip
    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "clean": {},
        "paper": {"steps": {"whiten": "mvnn all", "tmax": 0.3}, "validation": 0.25},
    }

    def recordings(self, root: Path) -> list[Recording]:
        return [
            Recording("01", "1", "1", root / "a.npy"),
            Recording("02", "1", "1", root / "b.npy"),
        ]

    def stimuli(self, root: Path) -> Stimuli:
        n = N_TRAIN + N_TEST
        images = np.array([f"i{i:02d}" for i in range(n)])
        return Stimuli(
            images, [(f"{i}.png",) for i in images], [""] * n, [0] * n, [0] * n,
            [f"c{i:02d}" for i in range(n)], ["train"] * N_TRAIN + ["test"] * N_TEST, folder=root,
        )  # fmt: skip


def shown():
    order = np.tile(np.arange(N_TRAIN + N_TEST), REPEATS)
    return np.random.default_rng(0).permutation(order)


def epochs_of(n_times=100, sfreq=200.0, tmin=-0.1, **changes):
    rng = np.random.default_rng(1)
    image = shown()
    times = tmin + np.arange(n_times) / sfreq
    wave = np.sin(2 * np.pi * 7 * times) + 3.0
    signal = (image[:, None, None] + 1) * wave * np.arange(1, N_CHANS + 1)[:, None]
    signal = signal + 1e-3 * rng.standard_normal(signal.shape)
    given = {
        "signal": signal, "image": np.array([f"i{i:02d}" for i in image]), "sfreq": sfreq,
        "tmin": tmin, "names": NAMES, "types": ["eeg"] * N_CHANS,
        "position": np.full((N_CHANS, 3), np.nan), "factor": 1e-6,
    }  # fmt: skip
    return Epochs(**{**given, **changes})


class FakeEpochs(Fake, name="fake_epochs"):
    def read(self, root, recording):
        return epochs_of(notes=("cut by the owners",))


class FakeContinuous(Fake, name="fake_continuous"):
    steps: Steps = Fake.model_fields["steps"].default.model_copy(
        update={"l_freq": 1.0, "h_freq": 30.0, "sfreq": 100.0, "notch": (50.0,)}
    )

    def read(self, root, recording):
        signal = np.load(recording.file, mmap_mode="r")
        onset = 1.0 + 0.3 * np.arange(REPEATS * (N_TRAIN + N_TEST))
        image = np.array([f"i{i:02d}" for i in shown()])
        source = Continuous(
            signal, 500.0, [*NAMES, "stim"], ["eeg"] * N_CHANS + ["stim"],
            np.full((N_CHANS + 1, 3), np.nan), factor=1e-6, bads=["Oz1"], spans=[(2.0, 2.1, "BAD x")],
        )  # fmt: skip
        return source, Events(onset, image)


# what is registered here is not there for the tests of other modules
FAKES = {name: Dataset.members.pop(name) for name in ("fake_epochs", "fake_continuous")}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    load_datasets()
    for name, cls in FAKES.items():
        monkeypatch.setitem(Dataset.members, name, cls)


def made(dataset, root, out, subject="01"):
    path = prepare(dataset, root, out, [subject], quiet=True) / f"sub-{subject}" / "trials.h5"
    return path, Trials.open(path)


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(5)
    folder = tmp_path / "raw"
    folder.mkdir()
    signal = np.cumsum(rng.standard_normal((N_CHANS + 1, 30 * 500 + 500)), axis=1)
    for name in ("a.npy", "b.npy"):
        np.save(folder / name, signal)
    return folder


def test_a_recipe_changes_what_it_names_and_options_change_the_recipe():
    plain = resolve(Dataset, "fake_epochs")
    paper = resolve(Dataset, {"name": "fake_epochs", "recipe": "paper"})
    assert (plain.steps.whiten, plain.steps.tmax, plain.validation) == ("none", 0.2, 0.1)
    assert (paper.steps.whiten, paper.steps.tmax, paper.validation) == ("mvnn all", 0.3, 0.25)
    assert (paper.steps.baseline, paper.steps.detect) == (None, False)
    mine = resolve(
        Dataset,
        {"name": "fake_epochs", "recipe": "paper", "steps": {"tmax": 0.25}, "validation": 0.5},
    )
    assert (mine.steps.whiten, mine.steps.tmax, mine.validation) == ("mvnn all", 0.25, 0.5)
    again = resolve(Dataset, to_dict(mine))
    assert again == mine
    with pytest.raises(UsageError, match="recipe 'papr' is unknown; did you mean 'paper'"):
        resolve(Dataset, {"name": "fake_epochs", "recipe": "papr"})


def test_the_recipe_is_the_protocol_of_the_split(root, tmp_path):
    from neurovis.records import Split

    for recipe in ("clean", "paper"):
        dataset = resolve(Dataset, {"name": "fake_epochs", "recipe": recipe})
        folder = prepare(dataset, root, tmp_path / "out", ["01"], quiet=True)
        assert Split.read(folder / "split.json").protocol == recipe


def test_epochs_of_the_owners_keep_their_values_and_their_images(root, tmp_path):
    _, trials = made(resolve(Dataset, "fake_epochs"), root, tmp_path / "out")
    source = epochs_of()
    assert trials.image.tolist() == source.image.tolist()
    assert (trials.unit, trials.sfreq, trials.tmin, trials.signal.shape[2]) == ("V", 200.0, 0.0, 40)
    np.testing.assert_allclose(trials.read(), 1e-6 * source.signal[:, :, 20:60], rtol=1e-6)
    assert np.isnan(trials.onset).all()
    assert trials.provenance["runs"][0]["notes"] == ["cut by the owners"]
    assert trials.provenance["runs"][0]["trials"] == len(source.image)


def test_a_crop_follows_the_baseline(root, tmp_path):
    steps = {"tmin": -0.1, "tmax": 0.3, "baseline": (None, 0.0), "crop": (0.05, 0.25)}
    dataset = resolve(Dataset, {"name": "fake_epochs", "steps": steps})
    _, trials = made(dataset, root, tmp_path / "out")
    signal = 1e-6 * epochs_of().signal
    expected = (signal - signal[:, :, :21].mean(axis=2, keepdims=True))[:, :, 30:70]
    assert (trials.tmin, trials.signal.shape[2]) == (pytest.approx(0.05), 40)
    np.testing.assert_allclose(trials.read(), expected, atol=1e-6 * np.abs(expected).max())
    steps = {**steps, "l_freq": 1.0, "h_freq": 30.0, "sfreq": 100.0, "bads": "keep"}
    continuous = {"name": "fake_continuous", "steps": {**steps, "tmin": -0.2}}
    _, cut = made(resolve(Dataset, continuous), root, tmp_path / "cut")
    _, whole = made(
        resolve(Dataset, {**continuous, "steps": {**continuous["steps"], "crop": None}}),
        root, tmp_path / "whole",
    )  # fmt: skip
    assert (cut.tmin, whole.tmin) == (pytest.approx(0.05), -0.2)
    np.testing.assert_array_equal(cut.read(), whole.read()[:, :, 25:45])
    with pytest.raises(UsageError, match=r"Steps\.crop: expected a part of -0\.1 to 0\.3 s"):
        resolve(
            Dataset,
            {"name": "fake_epochs", "steps": {"tmin": -0.1, "tmax": 0.3, "crop": (0.0, 0.4)}},
        )


def test_epochs_are_resampled_as_mne_resamples(root, tmp_path):
    dataset = resolve(Dataset, {"name": "fake_epochs", "steps": {"sfreq": 100.0, "tmin": 0.1}})
    _, trials = made(dataset, root, tmp_path / "out")
    # sines and offsets pass the anti-alias filter as they are
    expected = 1e-6 * epochs_of().signal[:, :, 40:60:2]
    np.testing.assert_allclose(trials.read(), expected, rtol=0.02)


def test_epochs_of_the_wrong_shape_or_asked_too_much_are_refused(root, tmp_path):
    with pytest.raises(
        NeurovisError, match=r"Epochs.signal: expected \(trial=90, channel=5, time\)"
    ):
        epochs_of(signal=np.zeros((90, 4, 100)))
    with pytest.raises(NeurovisError, match=r"Epochs\.run: expected 90 values"):
        epochs_of(run=np.array(["1"]))
    for steps, match in (
        ({"l_freq": 0.5}, "steps.l_freq: the owners cut"),
        ({"notch": (50.0,)}, r"steps.notch: .* expected notch=\(\)"),
        ({"tmax": 0.9}, r"inside the epochs' -0.1 to 0.4 s, found 0 to 0.9 s"),
        ({"sfreq": 400.0}, "resampling up adds nothing"),
    ):
        dataset = resolve(Dataset, {"name": "fake_epochs", "steps": steps})
        with pytest.raises(NeurovisError, match=match):
            prepare(dataset, root, tmp_path / "out", ["01"], quiet=True)


def test_epochs_with_holes_are_left_out_and_counted(root, tmp_path, monkeypatch):
    signal = epochs_of().signal.copy()
    signal[7, 2, 50] = np.nan
    monkeypatch.setattr(FakeEpochs, "read", lambda self, root, recording: epochs_of(signal=signal))
    _, trials = made(resolve(Dataset, "fake_epochs"), root, tmp_path / "out")
    assert len(trials) == len(signal) - 1
    assert trials.provenance["runs"][0]["rejected"] == {"samples missing": 1}


def test_noise_normalisation_learns_from_training_images_alone(root, tmp_path):
    scaling = {}
    for whiten in ("mvnn", "mvnn all"):
        dataset = resolve(Dataset, {"name": "fake_epochs", "steps": {"whiten": whiten}})
        path, trials = made(dataset, root, tmp_path / whiten.replace(" ", "-"))
        scaling[whiten] = Scaling.read(path)
        back = scaling[whiten].undo(trials.read(), scaling[whiten].member(trials))
        np.testing.assert_allclose(
            back, 1e-6 * epochs_of().signal[:, :, 20:60], rtol=0.02, atol=2e-8
        )
    from sklearn.covariance import ledoit_wolf
    from sklearn.preprocessing import StandardScaler

    split = resolve(Dataset, "fake_epochs").splits(Fake.stimuli(dataset, root), [])[0]
    source = epochs_of()
    cut = (1e-6 * source.signal[:, :, 20:60]).astype(np.float32).astype(float)
    covariances = []
    for trial, image in zip(cut, source.image):
        if image in split.train:
            scaler = StandardScaler().fit(trial.T)
            shrunk, _ = ledoit_wolf(scaler.transform(trial.T))
            covariances.append(shrunk * scaler.scale_[:, None] * scaler.scale_)
    value, vector = np.linalg.eigh(np.mean(covariances, axis=0))
    expected = (vector / np.sqrt(value)) @ vector.T
    found = scaling["mvnn"].whitener[0]
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    assert not np.allclose(scaling["mvnn all"].whitener, scaling["mvnn"].whitener, rtol=1e-3)


def test_whole_channels_on_disk_equal_mnes_chain(root, tmp_path):
    dataset = resolve(Dataset, {"name": "fake_continuous", "steps": {"bads": "keep"}})
    _, trials = made(dataset, root, tmp_path / "out")
    signal = 1e-6 * np.load(root / "a.npy")[:N_CHANS]
    raw = mne.io.RawArray(signal, mne.create_info(NAMES, 500.0, "eeg"), verbose="error")
    # the bandwidths of MNE's defaults; 30 Hz leaves nothing for decimation to fold
    raw.filter(1.0, 30.0, verbose="error").notch_filter([50.0], verbose="error")
    onset = 1.0 + 0.3 * np.arange(REPEATS * (N_TRAIN + N_TEST))
    start = np.rint(onset * 500).astype(int)
    filtered = raw.get_data()
    kept = ~((onset < 2.1) & (onset + 0.2 > 2.0))
    expected = np.stack([filtered[:, a : a + 100 : 5] for a in start[kept]])
    assert trials.image.tolist() == [f"i{i:02d}" for i in shown()[kept]]
    np.testing.assert_allclose(trials.read(), expected, atol=2e-5 * np.abs(expected).max())
    assert trials.provenance["runs"][0]["rejected"] == {"BAD x": int((~kept).sum())}
    assert trials.provenance["runs"][0]["bad"] == {"Oz1": "marked in the dataset"}


def test_wanted_channels_come_in_order_and_in_si(root):
    signal = np.load(root / "a.npy", mmap_mode="r")
    source = Continuous(signal, 500.0, NAMES, ["eeg"] * N_CHANS, np.zeros((N_CHANS, 3)), factor=2.0)
    rows = source.rows([4, 1])
    assert (len(rows), rows.shape) == (2, (2, signal.shape[1]))
    np.testing.assert_array_equal(rows[0:1], 2 * signal[4:5].astype(np.float32))
    np.testing.assert_array_equal(rows[0:2][1], 2 * signal[1].astype(np.float32))


def test_channels_that_are_not_wanted_are_not_read(root):
    # a file that ends after the third channel still gives the first three
    path = root / "a.npy"
    size = path.stat().st_size
    signal = np.load(path, mmap_mode="r")
    rows = Continuous(signal, 500.0, NAMES, ["eeg"] * N_CHANS, np.zeros((N_CHANS, 3))).rows([2, 0])
    expected = np.load(path)[[2, 0]].astype(np.float32)
    with path.open("r+b") as file:
        file.truncate(size - 2 * signal.shape[1] * signal.itemsize)
    np.testing.assert_array_equal(rows[0:2], expected)


def test_a_recording_with_a_problem_fails_its_subject_alone(root, tmp_path, monkeypatch):
    def recordings(self, root):
        first, second = Fake.recordings(self, root)
        return [
            first,
            Recording("02", "1", "2", root / "c.npy", problem="c.npy: missing; fetch it."),
            second,
        ]

    monkeypatch.setattr(FakeEpochs, "recordings", recordings)
    with pytest.raises(NeurovisError, match=r"1 of 2 subjects failed .*sub-02: c.npy: missing"):
        prepare(resolve(Dataset, "fake_epochs"), root, tmp_path / "out", quiet=True)
    assert [p.parent.name for p in tmp_path.rglob("trials.h5")] == ["sub-01"]


def test_a_subject_is_prepared_again_where_its_files_change(root, tmp_path, monkeypatch):
    table = root / "confounds.tsv"
    table.write_text("a")
    monkeypatch.setattr(
        FakeEpochs, "companions", lambda self, root, r: [table] if r.subject == "02" else []
    )
    dataset = resolve(Dataset, "fake_epochs")
    folder = prepare(dataset, root, tmp_path / "out", quiet=True)
    stamps = {p.parent.name: p.stat().st_mtime_ns for p in folder.glob("sub-*/trials.h5")}
    assert prepare(dataset, root, tmp_path / "out", quiet=True) == folder
    table.write_text("b")
    assert prepare(dataset, root, tmp_path / "out", quiet=True) == folder
    again = {p.parent.name: p.stat().st_mtime_ns for p in folder.glob("sub-*/trials.h5")}
    assert [name for name in stamps if again[name] != stamps[name]] == ["sub-02"]


def test_the_command_takes_recipes_and_options_of_parts(root, tmp_path, capsys):
    words = ["--root", str(root), "--out", str(tmp_path), "--print-config"]
    assert (
        main("fake_epochs", [*words, "--recipe", "paper", "--tmax", "0.25", "validation=0.3"]) == 0
    )
    said = capsys.readouterr().out
    for line in ("recipe: paper", "tmax: 0.25", "whiten: mvnn all", "validation: 0.3"):
        assert line in said
    assert main("fake_epochs", [*words, "--tmx", "1"]) == 2
    assert "did you mean '--tmax'" in capsys.readouterr().err
