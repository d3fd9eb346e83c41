import sys

import numpy as np
import pytest
from PIL import Image

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials

lsl_csv = sys.modules[load_datasets()["lsl_csv"].__module__]
SFREQ = 256.0
CHANNELS = ["TP9", "AF7", "AF8", "TP10", "Right AUX"]


def write_recording(path, seed, n_seconds=40, lost=0, jitter=0.004):
    """One recording with a bump 0.2 s after every face, in the files' own format."""
    rng = np.random.default_rng(seed)
    n = int(n_seconds * SFREQ)
    onset = np.arange(256, n - 300, 140)
    kind = rng.integers(1, 3, len(onset))
    times = np.arange(n) / SFREQ
    signal = 5 * rng.standard_normal((5, n))
    for start, marker in zip(onset, kind):
        if marker == 2:
            signal[:4] += 20 * np.exp(-((times - start / SFREQ - 0.2) ** 2) / (2 * 0.03**2))
    marker = np.zeros(n, int)
    stamps = 1000 + times + np.repeat(jitter * rng.standard_normal(-(-n // 12)), 12)[:n]
    keep = np.ones(n, bool)
    if lost:
        keep[5000 : 5000 + lost] = False
    marker[onset] = kind
    # the recorder puts a marker on the row whose stamp is nearest
    for start, value in zip(onset, kind):
        marker[start] = 0
        rows = np.flatnonzero(keep)
        marker[rows[np.abs(stamps[rows] - 1000 - times[start]).argmin()]] = value
    table = np.c_[stamps, signal.T, marker][keep]
    path.parent.mkdir(parents=True, exist_ok=True)
    header = ",".join(["timestamps", *CHANNELS, "Marker0"])
    np.savetxt(
        path, table, delimiter=",", header=header, comments="", fmt=["%.5f"] + ["%.3f"] * 5 + ["%d"]
    )
    return onset / SFREQ


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    for session, run in ((1, 1), (1, 2), (2, 1)):
        write_recording(
            root / "recordings" / f"session{session}" / f"data_{run}.csv", 10 * session + run
        )
    for name in ("houses/a", "houses/b", "faces/c"):
        path = root / "stimuli" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (len(name), ord(name[-1]), 0)).save(path)
    return root


OPTIONS = {
    "name": "lsl_csv",
    "markers": {1: "house", 2: "face"},
    "pictures": {"house": "stimuli/houses/*.png", "face": "stimuli/faces/*.png"},
}


def made(root, out, **options):
    return prepare(resolve(Dataset, {**OPTIONS, **options}), root, out, quiet=True)


def test_recordings_are_left_out_in_turn_and_stimuli_are_categories(root, tmp_path):
    folder = made(root, tmp_path)
    folds = Split.read_folds(folder)
    names = ["ses-1_run-01", "ses-1_run-02", "ses-2_run-01"]
    assert [fold.test[0] for fold in folds] == names
    for fold in folds:
        assert fold.unit == "recording"
        assert sorted([*fold.train, *fold.validation, *fold.test]) == names
        assert len(fold.validation) == 1
    stimuli = Stimuli.read(folder / "stimuli.csv")
    assert stimuli.image.tolist() == ["face", "house"]
    assert stimuli.category.tolist() == [False, True]
    assert all(path.is_file() for i in range(2) for path in stimuli.files(i))
    trials = Trials.open(folder / "sub-01" / "trials.h5")
    assert trials.channel_name.tolist() == CHANNELS[:4]
    assert trials.sfreq == 128.0
    assert np.isfinite(trials.channel_position).all()
    face = trials.read(np.flatnonzero(trials.image == "face")).mean(axis=(0, 1))
    house = trials.read(np.flatnonzero(trials.image == "house")).mean(axis=(0, 1))
    assert trials.times[(face - house).argmax()] == pytest.approx(0.2, abs=0.02)
    # constant scaling: 20 uV of bump are about 2 units
    assert (face - house).max() == pytest.approx(2, abs=0.3)


def test_jittering_stamps_leave_onsets_within_two_milliseconds(tmp_path):
    truth = write_recording(tmp_path / "recordings" / "session1" / "a.csv", 3)
    dataset = resolve(Dataset, OPTIONS)
    (recording,) = dataset.recordings(tmp_path)
    _, events = dataset.read(tmp_path, recording)
    error = events.onset - truth
    assert np.abs(error - error.mean()).max() < 0.5 / SFREQ + 0.004
    assert abs(error.mean()) < 0.002


def test_lost_samples_are_gaps_whose_trials_are_rejected(root, tmp_path):
    truth = write_recording(root / "recordings" / "session2" / "data_1.csv", 21, lost=100)
    folder = made(root, tmp_path)
    trials = Trials.open(folder / "sub-01" / "trials.h5")
    run = trials.provenance["runs"][2]
    lost = int(run["notes"][0].split("; ")[1].split()[0])
    assert abs(lost - 100) <= 2
    assert run["rejected"]["samples missing"] >= 1
    mine = trials.onset[trials.session == "2"]
    assert np.abs(mine[:, None] - truth).min(axis=1).max() < 0.012


def test_a_late_chunk_is_no_loss():
    stamps = np.arange(2000) / SFREQ
    stamps[1000:1030] += np.linspace(0.15, 0.01, 30)
    sample, _ = lsl_csv.regular(stamps, SFREQ)
    assert (np.diff(sample) == 1).all()
    lost = stamps.copy()
    lost[1200:] += 1.0
    sample, _ = lsl_csv.regular(lost, SFREQ)
    assert sample[-1] == 1999 + 256


def test_bad_files_are_named(root, tmp_path):
    path = root / "recordings" / "session1" / "data_2.csv"
    text = path.read_text()
    path.write_text(
        text[: len(text) // 2 - len(text) // 2 % 40 + 3].rsplit("\n", 1)[0] + "\n1012.3,4."
    )
    with pytest.raises(NeurovisError, match=r"data_2.csv: line \d+ is cut short"):
        made(root, tmp_path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(NeurovisError, match=r"data_2.csv: expected the columns timestamps"):
        made(root, tmp_path)
    path.write_bytes(b"\x00\xff\x00")
    with pytest.raises(NeurovisError, match=r"data_2.csv"):
        made(root, tmp_path)


def test_wrong_rate_and_unknown_markers_are_refused(root, tmp_path):
    with pytest.raises(NeurovisError, match=r"advance at 256.* Hz, expected 220 Hz"):
        made(root, tmp_path, sfreq=220.0)
    with pytest.raises(UsageError, match="markers: expected at least two"):
        made(root, tmp_path, markers={})
    with pytest.raises(NeurovisError, match="marker 1 has no category"):
        made(root, tmp_path, markers={2: "face", 3: "house"})
    with pytest.raises(UsageError, match="no picture of 'face'"):
        made(root, tmp_path, pictures={"house": "stimuli/houses/*.png"})


def test_what_learns_from_training_trials_is_refused_with_folds(root, tmp_path):
    with pytest.raises(UsageError, match="fold to fold"):
        made(root, tmp_path, steps={"scaling": "robust"})
    with pytest.raises(UsageError, match="fold to fold"):
        made(root, tmp_path, steps={"whiten": "training"})


def test_one_recording_cannot_be_left_out(root, tmp_path):
    with pytest.raises(NeurovisError, match="found 1 recording, expected at least two"):
        made(root, tmp_path, files="recordings/session2/*.csv")


@pytest.mark.parametrize(
    ("name", "markers", "pictures", "least"),
    [
        ("eeg_faces_houses", {1: "house", 2: "face"}, ("houses/*", "faces/*"), 0.66),
        ("eeg_cats_dogs", {1: "dog", 2: "cat"}, ("nontarget*", "target*"), 0.75),
    ],
)
def test_real_categories_are_told_apart_by_a_plain_linear_method(
    real_data, tmp_path, name, markers, pictures, least
):
    """Shrinkage LDA on means of five samples, recordings left out, nothing tuned."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import roc_auc_score

    if not (real_data / name).is_dir():
        pytest.skip(f"no {name}")
    options = {
        "name": "lsl_csv",
        "markers": markers,
        "pictures": {c: f"stimuli/{p}.jpg" for c, p in zip(markers.values(), pictures)},
    }
    folder = prepare(resolve(Dataset, options), real_data / name, tmp_path, quiet=True)
    trials = Trials.open(folder / "sub-01" / "trials.h5")
    signal = trials.read()
    signal = signal.reshape(*signal.shape[:2], -1, 5).mean(axis=3).reshape(len(signal), -1)
    target = trials.image == sorted(markers.values())[0]
    areas = []
    for fold in Split.read_folds(folder):
        train = np.concatenate([fold.rows("train", trials), fold.rows("validation", trials)])
        test = fold.rows("test", trials)
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        score = model.fit(signal[train], target[train]).decision_function(signal[test])
        areas.append(roc_auc_score(target[test], score))
    assert np.mean(areas) > least
