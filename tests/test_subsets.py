"""Parts of the training data: chronological, nested, and honest about what standardised them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import write_prepared

from neurovis.batches import Data, Recordings, View
from neurovis.errors import NeurovisError
from neurovis.records import Trials, opened
from neurovis.subsets import Limit, elapsed, natural, sessions, standardisation


def rewrite(path: Path, provenance: dict | None = None, **columns) -> None:
    """Write trials again with other columns."""
    with opened(path) as old:
        fields = {k: v for k, v in vars(old).items() if k != "signal"}
        block = columns.pop("signal", None)
        block = old.read() if block is None else block
    fields |= columns
    if provenance is not None:
        fields["provenance"] = provenance
    Trials(block, **fields).write(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two subjects, three sessions named 1, 2 and 10 of two runs each."""
    folder = write_prepared(tmp_path_factory.mktemp("subsets") / "p", n_train=60, n_test=6)
    for path in folder.glob("sub-*/trials.h5"):
        with opened(path) as old:
            n = len(old)
        place = np.arange(n) % 6
        rewrite(
            path,
            session=np.array(["10", "1", "2"])[place % 3],
            run=np.array(["1", "2"])[place // 3],
            onset=5 + 2.0 * (np.arange(n) // 6),
        )
    return folder


def recordings_of(folder: Path, **options) -> Recordings:
    return Recordings(Data(path=str(folder), **options))


def test_ten_comes_after_two():
    assert natural(["10", "2", "1"]) == ["1", "2", "10"]
    assert natural(["ses10", "ses9", "a", "ses9b"]) == ["a", "ses9", "ses9b", "ses10"]


def test_the_first_sessions_train_and_all_are_tested(folder):
    recordings = recordings_of(folder, sessions=2)
    split = recordings.folds[0]
    for number, trials in enumerate(recordings.trials):
        assert sessions(trials) == ["1", "2", "10"]
        for side in ("train", "validation"):
            rows = recordings.rows(split, side, number)
            assert set(trials.session[rows]) == {"1", "2"}
            kept = trials.session[split.rows(side, trials)] != "10"
            np.testing.assert_array_equal(rows, split.rows(side, trials)[kept])
        assert set(trials.session[recordings.rows(split, "test", number)]) == {"1", "2", "10"}
    assert recordings.about.startswith("first 2 sessions (what the signals were standardised with")
    recordings.close()


def test_more_sessions_or_images_than_there_are_are_refused(folder):
    recordings = recordings_of(folder, sessions=4)
    with pytest.raises(NeurovisError, match=r"at most 3 .*sub-01.*found 4"):
        recordings.items(recordings.folds[0], "train")
    recordings.close()
    recordings = recordings_of(folder, n_train_images=500)
    with pytest.raises(NeurovisError, match=r"at most 50 .*found 500"):
        recordings.items(recordings.folds[0], "train")
    recordings.close()


def test_images_are_nested_and_the_same_for_all_subjects(folder):
    before: set = set()
    for n in (5, 10, 25, 50):
        recordings = recordings_of(folder, n_train_images=n)
        split = recordings.folds[0]
        per_subject = []
        for number, trials in enumerate(recordings.trials):
            rows = recordings.rows(split, "train", number)
            per_subject.append(set(trials.image[rows]))
            held = set(trials.image[recordings.rows(split, "validation", number)])
            assert len(held) == int(np.ceil(n / 50 * len(split.validation)))
        assert per_subject[0] == per_subject[1]
        assert len(per_subject[0]) == n
        assert before < per_subject[0]
        before = per_subject[0]
        assert len(recordings.rows(split, "test", 0)) == 6 * 4
        recordings.close()


def test_minutes_count_recording_without_pauses(folder):
    with opened(folder / "sub-01" / "trials.h5") as trials:
        end = elapsed(trials)
        length = trials.signal.shape[2] / trials.sfreq
        total = 0.0
        for session in ("1", "2", "10"):
            for run in ("1", "2"):
                rows = (trials.session == session) & (trials.run == run)
                onset = trials.onset[rows]
                np.testing.assert_allclose(end[rows], total + onset - onset[0] + length)
                total += onset[-1] - onset[0] + length
        limit = Limit(minutes=total / 2 / 60)
        split = recordings_of(folder).folds[0]
        rows = limit.rows(split, "train", trials)
        assert (end[rows] <= total / 2).all()
        assert len(rows) == (end[split.rows("train", trials)] <= total / 2).sum() > 0
        assert set(trials.session[rows]) == {"1", "2"}


@pytest.mark.parametrize(
    ("steps", "limit", "scale", "words"),
    [
        ({"scaling": "robust", "scope": "subject", "whiten": "none"}, Limit(), "stored", ""),
        (
            {"scaling": "robust", "scope": "subject", "whiten": "none"},
            Limit(sessions=1),
            "stored",
            "standardised with all training trials, unused ones among them",
        ),
        (
            {"scaling": "robust", "scope": "subject", "whiten": "none"},
            Limit(sessions=1),
            "used",
            "",
        ),
        (
            {"scaling": "robust", "scope": "subject", "whiten": "training"},
            Limit(sessions=1),
            "used",
            "whitened with training trials that are not used",
        ),
        (
            {"scaling": "session z", "scope": "session", "whiten": "none"},
            Limit(sessions=1),
            "stored",
            "test trials of other sessions standardised with those sessions' training trials",
        ),
        (
            {"scaling": "session z", "scope": "session", "whiten": "none"},
            Limit(images=9),
            "used",
            "standardised with their session's training trials, unused ones among them",
        ),
        ({"scaling": "constant", "whiten": "none"}, Limit(images=9), "stored", ""),
        (
            None,
            Limit(images=9),
            "stored",
            "what the signals were standardised with is not recorded",
        ),
    ],
)
def test_what_standardisation_saw_is_said(steps, limit, scale, words):
    zeros = np.zeros((1, 1, 2), np.float32)
    provenance = {"steps": steps} if steps else {}
    trials = Trials(
        zeros, ["a"], ["1"], ["1"], ["t"], [0.0], ["c"], ["eeg"], np.zeros((1, 3)), 100.0, 0.0,
        "eeg", "1", "01", provenance=provenance,
    )  # fmt: skip
    assert standardisation(trials, limit, scale) == words


def test_channels_are_standardised_with_the_trials_that_are_used(folder):
    plain = recordings_of(folder, sessions=1)
    scaled = recordings_of(folder, sessions=1, scale="used")
    from_disk = recordings_of(folder, sessions=1, scale="used", memory=0)
    split = plain.folds[0]
    for number in range(2):
        rows = plain.rows(split, "train", number)
        used = plain.read(number, rows).astype(np.float64)
        center, spread = used.mean((0, 2)), used.std((0, 2))
        expected = (plain.read(number, np.arange(30)) - center[:, None]) / spread[:, None]
        np.testing.assert_allclose(scaled.read(number, np.arange(30)), expected, atol=2e-5)
        np.testing.assert_allclose(from_disk.read(number, np.arange(30)), expected, atol=2e-5)
        # what is not used has no say
    for one in (plain, scaled, from_disk):
        one.close()


@pytest.mark.parametrize("scale", ["whitened", "aligned"])
def test_whitened_channels_are_uncorrelated_over_the_trials_that_are_used(folder, scale):
    plain = recordings_of(folder, n_train_images=30)
    white = recordings_of(folder, n_train_images=30, scale=scale)
    split = plain.folds[0]
    for number in range(2):
        rows = plain.rows(split, "train", number)
        used = plain.read(number, rows).astype(np.float64)
        flat = np.moveaxis(used, 1, 0).reshape(12, -1)
        flat = flat - flat.mean(1, keepdims=True)
        before = np.corrcoef(flat)
        flat = np.moveaxis(white.read(number, rows).astype(np.float64), 1, 0).reshape(12, -1)
        after = np.cov(flat)
        np.testing.assert_allclose(flat.mean(1), 0, atol=1e-4)
        # the mean response to all pictures goes, or stays
        evoked = np.abs(white.read(number, rows).mean(0)).max()
        assert evoked < 1e-4 if scale == "aligned" else evoked > 0.1
        off = ~np.eye(12, dtype=bool)
        assert np.abs(before[off]).max() > 0.2
        # what shrinkage towards equal variances leaves
        assert np.abs(after[off]).max() < 0.3 * np.abs(before[off]).max()
        # one symmetric matrix for all trials, those not used too
        root = white._standard[number][1].astype(np.float64)
        np.testing.assert_allclose(root, root.T, atol=1e-5)
        some = np.arange(40)
        center = used.mean(0) if scale == "aligned" else used.mean((0, 2))[:, None]
        expected = np.einsum("dc,nct->ndt", root, plain.read(number, some) - center)
        np.testing.assert_allclose(white.read(number, some), expected, atol=1e-4)
    plain.close()
    white.close()


def test_standardising_with_what_is_used_undoes_one_scale_per_channel(folder, tmp_path):
    other = tmp_path / "p"
    shutil.copytree(folder, other)
    gain = np.linspace(0.5, 3, 12)[:, None].astype(np.float32)
    for path in other.glob("sub-*/trials.h5"):
        with opened(path) as old:
            block = old.read()
        rewrite(path, signal=block * gain + 7 * gain)
    a, b = (recordings_of(f, n_train_images=10, scale="used") for f in (folder, other))
    np.testing.assert_allclose(a.read(0, np.arange(20)), b.read(0, np.arange(20)), atol=1e-4)
    a.close()
    b.close()


def test_a_view_is_what_loading_its_subjects_alone_gives(folder, tmp_path):
    other = tmp_path / "p"
    shutil.copytree(folder, other)
    path = other / "sub-02" / "trials.h5"
    with opened(path) as old:
        block, names = old.read(), old.channel_name.copy()
        kinds, places = old.channel_type, old.channel_position
    order = np.random.default_rng(0).permutation(12)[:10]
    names[order[2]] = "ONLY02"
    rewrite(path, signal=block[:, order], channel_name=names[order], channel_type=kinds[order],
            channel_position=places[order])  # fmt: skip
    base = recordings_of(other)
    for subjects in ((0,), (1,)):
        for scale in ("stored", "used"):
            names_ = tuple(base.subjects[i] for i in subjects)
            alone = recordings_of(other, subjects=names_, scale=scale)
            whole = recordings_of(other, scale=scale)
            view = View(whole, subjects)
            assert view.channel_name == alone.channel_name
            np.testing.assert_array_equal(view.present, alone.present)
            for number in range(len(subjects)):
                np.testing.assert_allclose(
                    view.read(number, np.arange(9)), alone.read(number, np.arange(9)), atol=1e-5
                )
            alone.close()
            whole.close()
    # seen in the channels of the other: what that one lacks is left out, what is missing is absent
    view = View(base, (1,), layout=(0,))
    assert view.channel_name == tuple(f"MEG{i:03d}" for i in range(12))
    assert view.present.sum() == 9
    assert (view.read(0, np.arange(5))[:, ~view.present[0]] == 0).all()
    at = {str(n): i for i, n in enumerate(names[order])}
    for i in np.flatnonzero(view.present[0]):
        stored = block[:5][:, order][:, at[view.channel_name[i]]]
        np.testing.assert_array_equal(view.read(0, np.arange(5))[:, i], stored)
    base.close()


def test_the_provenance_that_preprocessing_writes_is_understood(folder, tmp_path):
    other = tmp_path / "p"
    shutil.copytree(folder, other)
    steps = {"scaling": "robust", "scope": "subject", "whiten": "none"}
    for path in other.glob("sub-*/trials.h5"):
        with h5py.File(path, "a") as file:
            file.attrs["provenance"] = json.dumps({"steps": steps})
    recordings = recordings_of(other, sessions=1)
    assert recordings.about == (
        "first 1 session (standardised with all training trials, unused ones among them)"
    )
    recordings.close()
    recordings = recordings_of(other, sessions=1, scale="used")
    assert recordings.about == "first 1 session"
    recordings.close()
    recordings = recordings_of(other)
    assert recordings.about == ""
    recordings.close()
