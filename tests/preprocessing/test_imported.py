"""Epochs that others preprocessed: taken over by import, prepared, trained on; traps refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from neurovis.cli import main
from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.evaluate import read_scores
from neurovis.imports import import_trials
from neurovis.prepare import prepare
from neurovis.records import Embeddings, Split, Stimuli, Trials

load_datasets()
N_CONCEPTS, PER_CONCEPT, N_TEST, N_CHANS, N_TIMES, SFREQ = 15, 4, 12, 6, 30, 100.0
TRAIN = [f"thing{c:02d}_{e:02d}b" for c in range(N_CONCEPTS) for e in range(PER_CONCEPT)]
TEST = [f"other{c:02d}_01s" for c in range(N_TEST)]
VECTOR = dict(zip(TRAIN + TEST, np.random.default_rng(0).standard_normal((72, 5))))


def write(folder, subject="01", session="01", images=None, sets=True, seed=1, **more):
    """Arrays as somebody saved them, a table of ids, and both imported; signal and images."""
    rng = np.random.default_rng(seed)
    images = images or [*TRAIN, *TRAIN, *TEST * 3]
    weight = np.random.default_rng(int(subject)).standard_normal((5, N_CHANS, N_TIMES))
    clean = np.tensordot([VECTOR[i] for i in images], weight, 1)
    signal = 1e-6 * (clean + 0.5 * rng.standard_normal(clean.shape))
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "epochs.npy", signal.astype(np.float32))
    rows = [f"{i},{'test' if i in TEST else 'train'}" for i in images]
    rows = ["image,set", *rows] if sets else ["image", *images]
    (folder / "ids.csv").write_text("\n".join(rows))
    about = {"sfreq": SFREQ, "tmin": -0.1, "modality": "eeg", "unit": "V", **more}
    import_trials(
        folder / "epochs.npy", folder / "ids.csv", folder, subject=subject, session=session,
        quiet=True, **about,
    )  # fmt: skip
    return signal.astype(np.float32), np.array(images)


def paint(folder, names):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number * 3 % 256, number % 256, 7)).save(path)


def made(root, out, **options):
    return prepare(resolve(Dataset, {"name": "imported", **options}), root, out, quiet=True)


PLAIN = {"steps": {"scaling": "none", "clamp": None}}


def test_trials_are_those_that_were_imported(tmp_path):
    root = tmp_path / "mine"
    signal, images = write(root / "sub-01")
    other, _ = write(root / "sub-02", "02", seed=2)
    folder = made(root, tmp_path, **PLAIN)
    for who, expected in (("01", signal), ("02", other)):
        trials = Trials.open(folder / f"sub-{who}" / "trials.h5")
        assert trials.image.tolist() == images.tolist()
        np.testing.assert_array_equal(trials.read(), expected)
        assert (trials.sfreq, trials.tmin, trials.unit) == (SFREQ, -0.1, "V")
        assert (folder / f"sub-{who}" / "qc.html").is_file()
    part = made(root, tmp_path, window=(0.0, 0.15), **PLAIN)
    trials = Trials.open(part / "sub-01" / "trials.h5")
    np.testing.assert_array_equal(trials.read(), signal[:, :, 10:25])
    assert trials.tmin == 0
    scaled = Trials.open(made(root, tmp_path) / "sub-01" / "trials.h5")
    train = scaled.read(scaled.set == "train")
    assert scaled.unit == "1"
    np.testing.assert_allclose(np.median(train, axis=(0, 2)), 0, atol=0.05)


def test_units_are_brought_to_volts_or_refused(tmp_path):
    """Microvolts that pass for volts would be a million times too large."""
    signal, _ = write(tmp_path / "micro", unit="µV")
    trials = Trials.open(made(tmp_path / "micro", tmp_path, **PLAIN) / "sub-01" / "trials.h5")
    assert trials.unit == "V"
    np.testing.assert_allclose(trials.read(), signal * np.float32(1e-6), rtol=1e-6)
    signal, _ = write(tmp_path / "scaled", unit="1")
    trials = Trials.open(made(tmp_path / "scaled", tmp_path, **PLAIN) / "sub-01" / "trials.h5")
    assert trials.unit == "1"
    np.testing.assert_array_equal(trials.read(), signal)
    write(tmp_path / "odd", unit="counts")
    with pytest.raises(NeurovisError, match="its unit is 'counts', expected 1"):
        made(tmp_path / "odd", tmp_path)


def test_the_split_is_the_stated_one_or_whole_concepts(tmp_path):
    write(tmp_path / "a")
    split = Split.read_folds(made(tmp_path / "a", tmp_path))[0]
    assert sorted(split.test) == sorted(TEST)
    assert split.protocol == "clean"
    write(tmp_path / "b", sets=False)
    folder = made(tmp_path / "b", tmp_path, concept=r"([a-z]+\d+)_", held_out=0.2)
    split = Split.read_folds(folder)[0]
    assert split.protocol == "clean, 0.2 of concepts held out"
    kind = lambda images: {image.split("_")[0] for image in images}  # noqa: E731
    assert len(kind(split.test)) == round(0.2 * (N_CONCEPTS + N_TEST))
    assert not kind(split.test) & kind(split.train)
    assert not kind(split.validation) & kind(split.train)
    again = made(tmp_path / "b", tmp_path / "again", concept=r"([a-z]+\d+)_", held_out=0.2)
    assert Split.read_folds(again)[0].test == split.test


def test_pictures_belong_to_images_by_name(tmp_path, capsys):
    root = tmp_path / "mine"
    write(root / "sub-01", images=["thing00_00b", "thing01_00b", "other00_01s"] * 2)
    paint(root / "stimuli", ["thing/thing00_00b.jpg", "other/other00_01s.png", "notes.gif"])
    folder = made(root, tmp_path)
    stimuli = Stimuli.read(folder / "stimuli.csv")
    row = dict(zip(stimuli.image.tolist(), range(3)))
    assert stimuli.files(row["thing00_00b"])[0].samefile(root / "stimuli/thing/thing00_00b.jpg")
    assert stimuli.concept[row["other00_01s"]] == "other"
    assert stimuli.concept[row["thing01_00b"]] == "thing01_00b"
    assert (stimuli.width[row["thing00_00b"]], stimuli.width[row["thing01_00b"]]) == (8, 0)
    said = capsys.readouterr()
    assert (
        "1 of 3 images, such as 'thing01_00b', have no picture under stimuli" in said.out + said.err
    )
    paint(root / "stimuli", ["more/thing00_00b.jpg"])
    with pytest.raises(
        NeurovisError, match=r"may be more/thing00_00b.jpg or thing/thing00_00b.jpg"
    ):
        made(root, tmp_path / "two")


def test_traps_are_refused_by_name(tmp_path):
    root = tmp_path / "copy"
    write(root / "one")
    write(root / "two")
    with pytest.raises(NeurovisError, match=r"subject 01's ses-01_run-01 is in .*one.*, too"):
        made(root, tmp_path)
    write(root / "two", session="02")
    trials = Trials.open(made(root, tmp_path) / "sub-01" / "trials.h5")
    assert dict(zip(*np.unique(trials.session, return_counts=True))) == {"01": 156, "02": 156}

    write(tmp_path / "leak", images=[*TRAIN, *TEST])
    file, ids = (tmp_path / "leak" / name for name in ("epochs.npy", "ids.csv"))
    about = {"sfreq": SFREQ, "tmin": -0.1, "modality": "eeg", "unit": "V", "quiet": True}
    for was, now, said in (
        ("thing03_01b,train", "thing03_00b,test", "in train and in test"),
        ("thing03_00b,test", "thing03_00b,pilot", "in the set 'pilot'"),
    ):
        ids.write_text(ids.read_text().replace(was, now))
        import_trials(file, ids, tmp_path / "leak", **about)
        with pytest.raises(NeurovisError, match=f"'thing03_00b' is {said}"):
            made(tmp_path / "leak", tmp_path)

    write(tmp_path / "bold", modality="fmri")
    with pytest.raises(NeurovisError, match="holds fmri, expected meg or eeg"):
        made(tmp_path / "bold", tmp_path)
    with pytest.raises(NeurovisError, match="found no recording that 'imported' reads"):
        made(tmp_path / "leak", tmp_path, files="*/nothing.h5")


def test_options_that_do_not_fit_are_refused(tmp_path):
    write(tmp_path / "mine")
    with pytest.raises(UsageError, match="set window"):
        resolve(Dataset, {"name": "imported", "steps": {"tmin": 0.0}})
    with pytest.raises(UsageError, match="regular expression with a group"):
        resolve(Dataset, {"name": "imported", "concept": "[a-z]+"})
    with pytest.raises(UsageError, match="does not fit the image"):
        made(tmp_path / "mine", tmp_path, concept=r"(\d+)x")
    with pytest.raises(NeurovisError, match=r"inside the epochs' -0.1 to 0.2 s"):
        made(tmp_path / "mine", tmp_path, window=(0.0, 0.5))
    with pytest.raises(NeurovisError, match="too short to filter"):
        made(tmp_path / "mine", tmp_path, steps={"l_freq": 1.0})


def test_from_arrays_to_scores_by_commands(tmp_path, monkeypatch, capsys):
    """What was planted is found: arrays and vectors that others saved, no picture at hand."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "given")
    images = [*TRAIN, *TEST]
    np.save("vectors.npy", np.float32([VECTOR[image] for image in images]))
    (tmp_path / "ids.txt").write_text("\n".join(images))
    common = ["--quiet", "--out", "mine/sub-01"]
    words = ["sfreq=100", "tmin=-0.1", "modality=eeg", "unit=V"]
    main(["import", "trials", "given/epochs.npy", "--ids", "given/ids.csv", *common, *words])
    main(["import", "embeddings", "vectors.npy", "--ids", "ids.txt", "--out", "mine"])
    main(["preprocess", "imported", "--root", "mine", "--out", "out", "--quiet"])
    (prepared,) = (tmp_path / "out" / "prepared").iterdir()
    assert Embeddings.read("mine/embeddings.h5").vector.shape == (72, 5)
    (tmp_path / "own.yaml").write_text(
        "name: own\ntargets: {image: {encoder: clip, embeddings: mine/embeddings.h5}}\n"
        "brain: {name: ridge}\ncontrol: none\n"
    )
    main(["train", "own.yaml", "--out", "out", "--quiet", f"data.path={prepared}"])
    (run,) = (tmp_path / "out" / "runs").iterdir()
    about = {"system": "tower", "subject": "all", "n_averaged": 3}
    found = [s for s in read_scores(run) if s.name == "top1" and about.items() <= s.about.items()]
    top = next(s for s in found if "comparison" not in s.about)
    assert top.n == N_TEST
    assert top.value > 0.6
    capsys.readouterr()
