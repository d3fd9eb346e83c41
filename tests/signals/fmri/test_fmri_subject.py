"""Responses to ``trials.h5``: order, standardisation, selection, what is stored, bounded memory."""

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurovis.errors import NeurovisError
from neurovis.parallel import Workers
from neurovis.records import Split, Stimuli, Trials
from neurovis.signals.fmri.steps import FmriSteps
from neurovis.signals.fmri.subject import Responses, read_voxels, write_fmri_subject
from neurovis.signals.fmri.voxels import Voxels, noise_ceiling, noise_snr, reliability
from neurovis.signals.sources import Recording
from neurovis.signals.standardise import Scaling

TRAIN, TEST, RUNS, VOXELS = 15, 5, 4, 60
IMAGES = [f"im{i:02d}" for i in range(TRAIN + TEST)]
RECORDINGS = [
    Recording("01", f"{1 + r // 2}", f"{r % 2 + 1:02d}", Path(f"run{r}.nii.gz"))
    for r in range(RUNS)
]
VISIBLE = 40  # voxels that respond to the images


def voxels(space=""):
    index = np.argwhere(np.ones((5, 4, 3), bool))
    return Voxels(
        [f"v{i:07d}" for i in range(VOXELS)],
        index / 100,
        {"V1": np.arange(VOXELS) < 20, "odd": np.arange(VOXELS) % 2 == 1},
        index,
        (5, 4, 3),
        np.eye(4),
        space,
    )


def planted(run):
    """Images and signals of one run: each training image once, each test image twice."""
    rng = np.random.default_rng(run)
    image = rng.permutation(np.r_[np.arange(TRAIN), np.tile(np.arange(TRAIN, TRAIN + TEST), 2)])
    pattern = np.random.default_rng(99).standard_normal((TRAIN + TEST, VOXELS))
    pattern[:, VISIBLE:] = 0
    noise = rng.standard_normal((len(image), VOXELS))
    return image, (10 * run + (1 + run) * (pattern[image] + 0.7 * noise)).astype(np.float32)


def read(root, recording, wanted):
    run = int(recording.file.name[3])
    image, signal = planted(run)
    column = [int(name[1:]) for name in wanted.name]
    return Responses(
        signal[:, column], np.array(IMAGES)[image], 4.0 * np.arange(len(image)),
        tsnr=np.arange(VOXELS)[column] + run, sfreq=0.5, unit="%", notes=(f"note {run}",),
    )  # fmt: skip


def broken(root, recording, wanted):
    found = read(root, recording, wanted)
    if recording.file.name == "run2.nii.gz":
        found.signal[3, 7] = np.nan
        found.signal[:, 8] = 5.0
    found.signal[:, 9] = 1.0
    return found


@pytest.fixture
def stimuli():
    n = len(IMAGES)
    sets = ["train"] * TRAIN + ["test"] * TEST
    return Stimuli(IMAGES, [f"{i}.png" for i in IMAGES], [""] * n, [1] * n, [1] * n, IMAGES, sets)


SPLIT = Split(IMAGES[:12], IMAGES[12:TRAIN], IMAGES[TRAIN:])


def made(folder, stimuli, reader=read, steps=None, workers=None, space="", split=SPLIT, **options):
    folder.mkdir(parents=True, exist_ok=True)
    log = write_fmri_subject(
        folder, steps=steps or FmriSteps(**options), recordings=RECORDINGS, voxels=voxels(space),
        read=reader, root=folder, stimuli=stimuli, split=split, name="planted", workers=workers,
        quiet=True,
    )  # fmt: skip
    return Trials.open(folder / "trials.h5"), log


def everything():
    parts = [planted(run) for run in range(RUNS)]
    return np.concatenate([p[0] for p in parts]), np.stack([p[1] for p in parts])


def test_trials_are_z_scores_by_training_trials_of_their_run(tmp_path, stimuli):
    trials, log = made(tmp_path / "a", stimuli)
    image, signal = everything()
    assert trials.signal.shape == (RUNS * 25, VOXELS, 1)
    assert trials.image.tolist() == [IMAGES[i] for i in image]
    assert trials.recording[[0, 30, 60, 99]].tolist() == [r.name for r in RECORDINGS]
    assert trials.set[:25].tolist() == ["train" if i < TRAIN else "test" for i in image[:25]]
    assert trials.onset[26] == 4.0
    assert (trials.modality, trials.unit, trials.sfreq) == ("fmri", "1", 0.5)
    assert set(trials.channel_type) == {"voxel"}
    assert trials.channel_name[3] == "sub-01/v0000003"
    training = image.reshape(RUNS, 25) < 12
    expected = np.concatenate(
        [(s - s[t].mean(axis=0)) / s[t].std(axis=0) for s, t in zip(signal, training)]
    )
    np.testing.assert_allclose(trials.read()[..., 0], expected, rtol=2e-4, atol=2e-4)
    scaling = Scaling.read(tmp_path / "a" / "trials.h5")
    assert scaling.by == "recording"
    undone = scaling.undo(trials.read(), scaling.member(trials))
    np.testing.assert_allclose(undone[..., 0], np.concatenate(signal), rtol=1e-4, atol=1e-4)
    with h5py.File(tmp_path / "a" / "trials.h5") as file:
        assert file["repeat"][:].max() == 7
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["trials.h5"]
    assert log.summary()["repeats"] == {"train": {"4": 15}, "test": {"8": 5}}
    assert [run["notes"] for run in log.runs] == [[f"note {i}"] for i in range(RUNS)]
    assert made(tmp_path / "b", stimuli, space="MNI")[0].channel_name[3] == "v0000003"


def test_other_scopes_and_all_trials(tmp_path, stimuli):
    _image, signal = everything()
    kinds = {
        "run": signal,
        "session": signal.reshape(2, 50, VOXELS),
        "subject": signal.reshape(1, 100, VOXELS),
    }
    for kind, parts in kinds.items():
        trials, _ = made(tmp_path / kind, stimuli, standardise=kind, learn="all")
        expected = [(s - s.mean(axis=0)) / s.std(axis=0) for s in parts]
        np.testing.assert_allclose(trials.read()[..., 0], np.concatenate(expected), atol=1e-4)
        scaling = Scaling.read(tmp_path / kind / "trials.h5")
        undone = scaling.undo(trials.read(), scaling.member(trials))
        np.testing.assert_allclose(undone[..., 0], np.concatenate(signal), rtol=1e-4, atol=1e-4)
    trials, _ = made(tmp_path / "none", stimuli, standardise="none")
    np.testing.assert_array_equal(trials.read()[..., 0], np.concatenate(signal))
    assert trials.unit == "%"
    assert not FmriSteps(standardise="none").learns
    assert not FmriSteps(learn="all").learns
    assert FmriSteps(learn="all", n_voxels=3).learns


def test_test_trials_change_nothing_that_is_learned(tmp_path, stimuli):
    def louder(root, recording, wanted):
        found = read(root, recording, wanted)
        held = np.isin(found.image, IMAGES[12:])
        found.signal[held] = 50 * np.random.default_rng(5).standard_normal(found.signal[held].shape)
        return found

    for options in ({}, {"n_voxels": 10}, {"standardise": "session"}, {"reliability": 0.3}):
        same, _ = made(tmp_path / "a", stimuli, **options)
        loud, _ = made(tmp_path / "b", stimuli, louder, **options)
        assert same.channel_name.tolist() == loud.channel_name.tolist()
        rows = np.flatnonzero(np.isin(same.image, IMAGES[:12]))
        np.testing.assert_array_equal(same.read(rows), loud.read(rows))
        assert np.abs(same.read() - loud.read()).max() > 1


def test_voxels_are_chosen_by_region_and_reliability(tmp_path, stimuli):
    trials, log = made(tmp_path / "a", stimuli, roi=("V1", "-odd"))
    assert trials.channel_name.tolist() == [f"sub-01/v{i:07d}" for i in range(0, 20, 2)]
    np.testing.assert_array_equal(log.stated["tsnr"], np.arange(0, 20, 2) + 1.5)
    most, log = made(tmp_path / "b", stimuli, n_voxels=VISIBLE)
    assert [int(n[-7:]) for n in most.channel_name] == list(range(VISIBLE))
    assert log.summary()["dropped"] == ["20 voxels: not among the most reliable"]
    some, _ = made(tmp_path / "c", stimuli, reliability=0.3)
    assert [int(n[-7:]) for n in some.channel_name] == list(range(VISIBLE))
    with pytest.raises(NeurovisError, match=r"no voxel reaches 0.99, the best is 0"):
        made(tmp_path / "d", stimuli, reliability=0.99)
    many, log = made(tmp_path / "e", stimuli, n_voxels=1000)
    assert len(many.channel_name) == VOXELS
    assert "n_voxels asks for 1000, there are 60" in log.notes


def test_reliability_and_ceiling_are_stored_per_voxel(tmp_path, stimuli, monkeypatch):
    trials, _ = made(tmp_path / "a", stimuli, roi=("-odd",))
    found, stated = read_voxels(tmp_path / "a" / "trials.h5")
    signal = trials.read()[..., 0]
    rows = np.flatnonzero(trials.set == "train")
    expected = reliability(signal[rows], trials.image[rows])
    np.testing.assert_allclose(stated["reliability"], expected, atol=1e-5)
    ncsnr = noise_snr(signal[rows], trials.image[rows])
    np.testing.assert_allclose(stated["ncsnr"], ncsnr, atol=1e-5)
    np.testing.assert_allclose(stated["noise_ceiling"], noise_ceiling(ncsnr), atol=1e-5)
    assert stated["noise_ceiling"][: VISIBLE // 2].min() > 0.3 > np.median(stated["ncsnr"][-10:])
    assert found.name.tolist() == trials.channel_name.tolist()
    np.testing.assert_array_equal(found.index, voxels().index[::2])
    assert found.shape == (5, 4, 3)
    assert found.roi["V1"].sum() == 10
    monkeypatch.setattr("neurovis.signals.fmri.subject.BYTES", 4 * 100 * 7)
    again, _ = made(tmp_path / "b", stimuli, roi=("-odd",))
    np.testing.assert_array_equal(again.read(), trials.read())
    np.testing.assert_allclose(
        read_voxels(tmp_path / "b" / "trials.h5")[1]["reliability"], expected, atol=1e-5
    )


def test_missing_and_constant_voxels_are_dropped_and_counted(tmp_path, stimuli):
    trials, log = made(tmp_path / "a", stimuli, broken)
    kept = [int(name[-7:]) for name in trials.channel_name]
    assert kept == [i for i in range(VOXELS) if i not in (7, 8, 9)]
    said = log.summary()["dropped"]
    assert said == ["1 voxels: missing in some trial", "2 voxels: constant"]
    raw, log = made(tmp_path / "b", stimuli, broken, standardise="none")
    assert [int(n[-7:]) for n in raw.channel_name] == [i for i in range(VOXELS) if i not in (7, 9)]

    def nothing(root, recording, wanted):
        found = read(root, recording, wanted)
        found.signal[0] = np.nan
        return found

    with pytest.raises(NeurovisError, match="all 60 voxels are missing"):
        made(tmp_path / "c", stimuli, nothing)


def test_runs_of_test_images_take_what_the_subject_learned(tmp_path, stimuli):
    def apart(root, recording, wanted):
        found = read(root, recording, wanted)
        mine = np.isin(found.image, IMAGES[TRAIN:]) == (recording.session == "2")
        return Responses(found.signal[mine], found.image[mine], found.onset[mine], unit="%")

    trials, log = made(tmp_path / "a", stimuli, apart)
    (said,) = log.notes
    assert said.startswith(
        "2 of 4 runs have fewer than 10 training trials (ses-2_run-01, ses-2_run-"
    )
    assert said.endswith("mean and SD are those of the subject")
    image, signal = everything()
    flat = signal[:2].reshape(50, VOXELS)[image[:50] < 12]
    test = signal[2:].reshape(50, VOXELS)[image[50:] >= TRAIN]
    expected = (test - flat.mean(axis=0)) / flat.std(axis=0)
    rows = np.flatnonzero(trials.set == "test")
    np.testing.assert_allclose(trials.read(rows)[..., 0], expected, rtol=1e-3, atol=1e-3)
    assert log.measured_on == "training"


def test_images_repeated_in_test_alone_still_give_a_ceiling(tmp_path, stimuli):
    def once(root, recording, wanted):
        found = read(root, recording, wanted)
        run = int(recording.file.name[3])
        own = np.isin(found.image, IMAGES[run:TRAIN:RUNS]) | np.isin(found.image, IMAGES[TRAIN:])
        return Responses(found.signal[own], found.image[own], found.onset[own])

    _, log = made(tmp_path / "a", stimuli, once)
    assert log.measured_on == "test"
    with pytest.raises(NeurovisError, match="reliability: 0 images were shown twice"):
        made(tmp_path / "b", stimuli, once, n_voxels=5)


def test_recordings_that_do_not_fit_are_named(tmp_path, stimuli):
    def slower(root, recording, wanted):
        found = read(root, recording, wanted)
        slow = 0.4 if recording.file.name == "run3.nii.gz" else 0.5
        return Responses(found.signal, found.image, found.onset, sfreq=slow)

    def fewer(root, recording, wanted):
        found = read(root, recording, wanted)
        return Responses(found.signal[:, 1:], found.image, found.onset)

    def strange(root, recording, wanted):
        found = read(root, recording, wanted)
        found.image[2] = "im03"
        return Responses(
            found.signal, np.where(found.image == "im03", "what", found.image), found.onset
        )

    with pytest.raises(NeurovisError, match=r"run3.nii.gz: Hz .* 0.4, expected 0.5 as in run0"):
        made(tmp_path / "a", stimuli, slower)
    with pytest.raises(NeurovisError, match=r"run0.nii.gz: 59 voxels, expected 60"):
        made(tmp_path / "b", stimuli, fewer)
    with pytest.raises(NeurovisError, match=r"run0.nii.gz: Stimuli: image 'what' is not in it"):
        made(tmp_path / "c", stimuli, strange)
    with pytest.raises(NeurovisError, match=r"Responses.image: expected one value for each of 25"):
        Responses(np.zeros((25, 3)), ["a"], np.zeros(25))


def test_files_are_the_same_whoever_works(tmp_path, stimuli):
    made(tmp_path / "a", stimuli)
    made(tmp_path / "b", stimuli, workers=Workers(n_jobs=2))
    assert (tmp_path / "a" / "trials.h5").read_bytes() == (
        tmp_path / "b" / "trials.h5"
    ).read_bytes()


def test_tr_windows_keep_their_time(tmp_path, stimuli):
    def windows(root, recording, wanted):
        found = read(root, recording, wanted)
        signal = found.signal[..., None] * np.array([0.0, 1.0, 0.5], np.float32)
        return Responses(signal, found.image, found.onset, sfreq=0.5, tmin=-2.0, unit="%")

    trials, _ = made(tmp_path / "a", stimuli, windows)
    assert trials.times.tolist() == [-2.0, 0.0, 2.0]
    scaling = Scaling.read(tmp_path / "a" / "trials.h5")
    undone = scaling.undo(trials.read(), scaling.member(trials))
    expected = np.concatenate(everything()[1])
    np.testing.assert_allclose(undone[..., 1], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(undone[..., 2], expected / 2, rtol=1e-3, atol=1e-3)


def test_memory_is_bounded_by_one_recording_and_by_blocks(tmp_path, monkeypatch):
    n_trials, n_voxels, n_runs = 400, 3000, 6
    names = [f"im{i}" for i in range(n_trials // 2)]
    places = Voxels([f"v{i}" for i in range(n_voxels)], np.full((n_voxels, 3), np.nan))

    def betas(root, recording, wanted):
        rng = np.random.default_rng(int(recording.run))
        signal = rng.standard_normal((n_trials, n_voxels), np.float32)
        return Responses(signal, np.repeat(names, 2), np.arange(n_trials))

    n = len(names)
    sets = ["train"] * (n - 1) + ["test"]
    many = Stimuli(names, ["x.png"] * n, [""] * n, [1] * n, [1] * n, names, sets)
    monkeypatch.setattr("neurovis.signals.fmri.subject.BYTES", 1 << 20)
    runs = [Recording("01", "1", str(i), Path(f"{i}.h5")) for i in range(n_runs)]
    tracemalloc.start()
    write_fmri_subject(
        tmp_path, steps=FmriSteps(), recordings=runs, voxels=places, read=betas, root=tmp_path,
        stimuli=many, split=Split(names[:-1], (), names[-1:]), name="many", quiet=True,
    )  # fmt: skip
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one = 4 * n_trials * n_voxels
    assert peak < 2.5 * one < 0.5 * n_runs * one
