"""Arrays of every kind of file become records; what does not fit is refused with both sides named."""

from __future__ import annotations

import json
import pickle

import h5py
import numpy as np
import pytest

from neurovis.cli import main
from neurovis.errors import NeurovisError, UsageError
from neurovis.imports import import_embeddings, import_prediction, import_trials, read_options
from neurovis.records import Embeddings, Prediction, Trials, opened

RNG = np.random.default_rng(0)
VECTOR = RNG.standard_normal((6, 5)).astype(np.float32)
SIGNAL = RNG.standard_normal((6, 3, 4)).astype(np.float32)
IDS = [f"cat_{i:02d}" for i in range(6)]


def save(path, array):
    """Write one array in the format of the file's name."""
    import torch
    from safetensors.numpy import save_file

    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, vectors=array)
    elif path.suffix == ".pt":
        torch.save({"nested": {"vectors": torch.from_numpy(array.copy())}, "note": "x"}, path)
    elif path.suffix == ".safetensors":
        save_file({"vectors": array}, path)
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps({"vectors": array}))
    else:
        with h5py.File(path, "w") as file:
            file["group/vectors"] = array
            file["image"] = np.array(IDS, dtype=object)
    return path


def write_ids(path):
    if path.suffix == ".json":
        path.write_text(json.dumps(IDS))
    elif path.suffix == ".csv":
        path.write_text("row,image\n" + "".join(f"{i},{name}\n" for i, name in enumerate(IDS)))
    elif path.suffix == ".npy":
        np.save(path, np.array(IDS))
    else:
        path.write_text("\n".join(IDS) + "\n\n")
    return path


FORMATS = ("npy", "npz", "pt", "safetensors", "pkl", "h5")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("ids", ["txt", "csv", "json", "npy"])
def test_embeddings(tmp_path, suffix, ids):
    file = save(tmp_path / f"clip.{suffix}", VECTOR)
    path = import_embeddings(
        file, write_ids(tmp_path / f"ids.{ids}"), tmp_path / "out", encoder="c"
    )
    assert path == tmp_path / "out" / "embeddings.h5"
    found = Embeddings.read(path)
    np.testing.assert_array_equal(found.at(IDS), VECTOR)
    assert found.encoder["name"] == "c"
    assert str(tmp_path) not in json.dumps(found.encoder)


@pytest.mark.parametrize("suffix", FORMATS)
def test_trials(tmp_path, suffix):
    file = save(tmp_path / f"signal.{suffix}", SIGNAL)
    path = import_trials(
        file, IDS, tmp_path, sfreq=100, tmin=-0.1, modality="eeg", subject="02", quiet=True,
        channel_names=["O1", "Oz", "O2"],
    )  # fmt: skip
    with opened(path) as trials:
        np.testing.assert_array_equal(trials.read(), SIGNAL)
        assert trials.image.tolist() == IDS
        assert trials.channel_name.tolist() == ["O1", "Oz", "O2"]
        assert set(trials.channel_type) == {"eeg"}
        np.testing.assert_allclose(trials.times, [-0.1, -0.09, -0.08, -0.07])
        assert (trials.subject, trials.unit, trials.modality) == ("02", "1", "eeg")


@pytest.mark.parametrize("suffix", FORMATS)
def test_prediction(tmp_path, suffix):
    file = save(tmp_path / f"said.{suffix}", VECTOR)
    found = Prediction.read(import_prediction(file, IDS, tmp_path, target="clip", n_averaged=80))
    np.testing.assert_array_equal(found.vector["clip"], VECTOR)
    assert found.n_averaged.tolist() == [80] * 6


def test_columns_of_the_ids_are_used(tmp_path):
    file = save(tmp_path / "signal.npy", SIGNAL)
    lines = ["image,session,run,set,onset"]
    lines += [
        f"{name},1,{i // 3},{'test' if i > 3 else 'train'},{i / 2}" for i, name in enumerate(IDS)
    ]
    (tmp_path / "ids.csv").write_text("\n".join(lines))
    path = import_trials(
        file, tmp_path / "ids.csv", tmp_path, sfreq=100, tmin=0, modality="meg", quiet=True
    )
    with opened(path) as trials:
        assert trials.run.tolist() == list("000111")
        assert trials.set.tolist() == ["train"] * 4 + ["test"] * 2
        np.testing.assert_array_equal(trials.onset, np.arange(6) / 2)
    (tmp_path / "rows.csv").write_text(
        "image,subject,n_averaged\n"
        + "\n".join(f"{name},0{i % 2},{i + 1}" for i, name in enumerate(IDS))
    )
    said = import_prediction(save(tmp_path / "p.npy", VECTOR), tmp_path / "rows.csv", tmp_path)
    assert Prediction.read(said).subject.tolist() == ["00", "01"] * 3
    assert Prediction.read(said).n_averaged.tolist() == [1, 2, 3, 4, 5, 6]


def test_repeats_as_the_published_sets_store_them(tmp_path):
    """A pickled dict of (image, repeat, channel, time) with names and times, more than one block."""
    data = RNG.standard_normal((70, 4, 2, 10))
    times = np.linspace(-0.2, 0.7, 10)
    record = {"preprocessed_eeg_data": data, "ch_names": ["Oz", "O1"], "times": times}
    np.save(tmp_path / "eeg.npy", record, allow_pickle=True)
    ids = [f"i{k}" for k in range(70)]
    path = import_trials(tmp_path / "eeg.npy", ids, tmp_path, modality="eeg", quiet=True)
    with opened(path) as trials:
        assert len(trials) == 280
        assert trials.image.tolist() == np.repeat(ids, 4).tolist()
        np.testing.assert_allclose(trials.read(), data.reshape(280, 2, 10), rtol=1e-6)
        assert trials.channel_name.tolist() == ["Oz", "O1"]
        assert trials.sfreq == pytest.approx(10)
        assert trials.tmin == pytest.approx(-0.2)
    # samples cut from the data and not from the times: the times say nothing
    record["preprocessed_eeg_data"] = data[..., 2:]
    np.save(tmp_path / "eeg.npy", record, allow_pickle=True)
    with pytest.raises(NeurovisError, match="does not say sfreq; give sfreq"):
        import_trials(tmp_path / "eeg.npy", ids, tmp_path, modality="eeg", quiet=True)


@pytest.mark.filterwarnings("ignore:This filename", "ignore:The inplace keyword")
def test_epochs_of_mne(tmp_path):
    import mne
    import pandas as pd

    info = mne.create_info(["Oz", "O1", "STI"], 200.0, ["eeg", "eeg", "stim"])
    info.set_montage("biosemi64")
    events = np.stack([np.arange(6) * 300, np.zeros(6, int), [1, 2, 1, 2, 1, 2]], axis=1)
    data = RNG.standard_normal((6, 3, 50)) * 1e-6
    names = {"house": 1, "face": 2}
    epochs = mne.EpochsArray(data, info, events, -0.1, names, verbose="error")
    epochs.save(tmp_path / "x-epo.fif", fmt="double", verbose="error")
    with opened(import_trials(tmp_path / "x-epo.fif", None, tmp_path, quiet=True)) as trials:
        np.testing.assert_allclose(trials.read(), data[:, :2], rtol=1e-6)
        assert trials.image.tolist() == ["house", "face"] * 3
        assert (trials.sfreq, trials.unit, trials.modality) == (200, "V", "eeg")
        assert trials.tmin == pytest.approx(-0.1)
        assert np.isfinite(trials.channel_position).all()
    epochs.metadata = pd.DataFrame({"image": IDS})
    epochs.save(tmp_path / "named.fif", verbose="error", overwrite=True)
    with opened(import_trials(tmp_path / "named.fif", None, tmp_path, quiet=True)) as trials:
        assert trials.image.tolist() == IDS
    cut = (tmp_path / "x-epo.fif").read_bytes()
    (tmp_path / "cut-epo.fif").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(NeurovisError, match=r"cut-epo\.fif: expected MNE epochs"):
        import_trials(tmp_path / "cut-epo.fif", None, tmp_path, quiet=True)


def test_vectors_by_id(tmp_path):
    import torch

    torch.save({name: torch.from_numpy(v) for name, v in zip(IDS, VECTOR)}, tmp_path / "by_id.pt")
    everything = Embeddings.read(import_embeddings(tmp_path / "by_id.pt", None, tmp_path))
    np.testing.assert_array_equal(everything.at(IDS), VECTOR)
    some = Embeddings.read(import_embeddings(tmp_path / "by_id.pt", IDS[3:1:-1], tmp_path))
    assert some.image.tolist() == IDS[3:1:-1]
    with pytest.raises(NeurovisError, match="did you mean 'cat_0"):
        import_embeddings(tmp_path / "by_id.pt", ["cat_0"], tmp_path)


def test_tokens_half_precision_and_a_single_token(tmp_path):
    import torch

    tokens = torch.from_numpy(RNG.standard_normal((6, 4, 5))).to(torch.bfloat16)
    torch.save(tokens, tmp_path / "tokens.pt")
    found = Embeddings.read(import_embeddings(tmp_path / "tokens.pt", IDS, tmp_path))
    np.testing.assert_array_equal(found.vector, tokens.float().numpy())
    np.save(tmp_path / "one.npy", VECTOR[:, None])
    found = Embeddings.read(import_embeddings(tmp_path / "one.npy", IDS, tmp_path))
    np.testing.assert_array_equal(found.vector, VECTOR)


def test_identical_duplicates_are_merged_and_others_refused(tmp_path):
    ids = [*IDS[:4], IDS[0], IDS[1]]
    twice = VECTOR.copy()
    twice[4:] = twice[:2]
    file = save(tmp_path / "v.npy", twice)
    found = Embeddings.read(import_embeddings(file, ids, tmp_path))
    assert found.image.tolist() == IDS[:4]
    twice[5, 0] += 1
    with pytest.raises(NeurovisError, match=r"'cat_01' has different vectors in rows 1 and 5"):
        import_embeddings(save(tmp_path / "v.npy", twice), ids, tmp_path)


@pytest.mark.parametrize("function", [import_trials, import_embeddings, import_prediction])
@pytest.mark.parametrize("suffix", ["npy", "h5"])
def test_numbers_of_rows_and_ids_are_both_said(tmp_path, function, suffix):
    about = {"sfreq": 1, "tmin": 0, "modality": "eeg"} if function is import_trials else {}
    array = SIGNAL if about else VECTOR
    file = save(tmp_path / f"v.{suffix}", array)
    with pytest.raises(NeurovisError, match="found 6 rows and 5 ids"):
        function(file, IDS[:5], tmp_path / "out", **about)
    assert not list((tmp_path / "out").glob("*.h5"))


@pytest.mark.parametrize("function", [import_trials, import_embeddings, import_prediction])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_row_that_is_not_finite_is_named(tmp_path, function, value):
    about = {"sfreq": 1, "tmin": 0, "modality": "eeg"} if function is import_trials else {}
    array = (SIGNAL if about else VECTOR).astype(np.float64)
    array[4].flat[2] = value
    with pytest.raises(NeurovisError, match=r"in row 4 \(image 'cat_04'\)"):
        function(save(tmp_path / "v.npy", array), IDS, tmp_path / "out", **about)
    assert not list((tmp_path / "out").glob("*"))


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("suffix", ["npy", "npz", "pt", "pkl"])
def test_nothing_in_a_file_runs(tmp_path, suffix):
    import torch

    canary, file = tmp_path / "canary", tmp_path / f"bad.{suffix}"
    if suffix == "npy":
        np.save(file, np.array([Canary(canary)], object), allow_pickle=True)
    elif suffix == "npz":
        np.savez(file, a=np.array([Canary(canary)], object))
    elif suffix == "pt":
        torch.save({"a": Canary(canary)}, file)
    else:
        file.write_bytes(pickle.dumps(Canary(canary)))
    canary.unlink(missing_ok=True)
    for function in (import_embeddings, import_prediction, import_trials):
        with pytest.raises(NeurovisError, match=rf"bad\.{suffix}: expected") as error:
            function(file, IDS, tmp_path / "out")
        assert "\n" not in str(error.value)
    assert not canary.exists()


@pytest.mark.parametrize("suffix", ["npy", "npz", "pt", "safetensors", "h5", "pkl"])
@pytest.mark.parametrize("how", ["cut", "empty", "foreign"])
def test_damaged_files_are_named(tmp_path, suffix, how):
    file = save(tmp_path / f"v.{suffix}", np.zeros((6, 50), np.float32))
    data = file.read_bytes()
    file.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "foreign": b"hello\n" * 9}[how])
    with pytest.raises(NeurovisError, match=rf"v\.{suffix}: ") as error:
        import_embeddings(file, IDS, tmp_path / "out")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ("name\na\n", "ids.csv", "'image' column"),
        ("image,run\na\n", "ids.csv", "whole rows"),
        ('{"a": 1}', "ids.json", "list of ids"),
        ("[1, [2]]", "ids.json", "list of ids"),
        ("[1, ", "ids.json", "UTF-8"),
        (b"\xff\xfe\xfa", "ids.txt", "UTF-8"),
        (None, "ids.txt", "no such file"),
        ("", "ids.txt", "6 rows and 0 ids"),
    ],
)
def test_wrong_ids_are_said(tmp_path, content, name, says):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(NeurovisError, match=says):
        import_embeddings(save(tmp_path / "v.npy", VECTOR), path, tmp_path / "out")


def test_several_arrays_need_a_key(tmp_path):
    np.savez(tmp_path / "two.npz", image=VECTOR, text=VECTOR * 2)
    with pytest.raises(NeurovisError, match=r"image \(6, 5\), text \(6, 5\).*name one with key"):
        import_embeddings(tmp_path / "two.npz", IDS, tmp_path)
    found = Embeddings.read(import_embeddings(tmp_path / "two.npz", IDS, tmp_path, key="text"))
    np.testing.assert_array_equal(found.vector, VECTOR * 2)
    with pytest.raises(NeurovisError, match="did you mean 'text'"):
        import_embeddings(tmp_path / "two.npz", IDS, tmp_path, key="texts")
    both = Prediction.read(import_prediction(tmp_path / "two.npz", IDS, tmp_path))
    assert sorted(both.vector) == ["image", "text"]


@pytest.mark.parametrize(
    ("name", "says"), [("v.mat", "file type '.mat' is unknown"), ("v.npy", "no such file")]
)
def test_unknown_and_missing_files(tmp_path, name, says):
    if name == "v.mat":
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(NeurovisError, match=says):
        import_embeddings(tmp_path / name, IDS, tmp_path)


def test_wrong_channel_names(tmp_path):
    with pytest.raises(NeurovisError, match="expected 3 channel names, found 2"):
        import_trials(
            save(tmp_path / "s.npy", SIGNAL), IDS, tmp_path, sfreq=1, tmin=0, modality="eeg",
            channel_names=["a", "b"],
        )  # fmt: skip


def test_real_clip_features(real_data, tmp_path):
    """The 200 published test vectors, stored with a token dimension of one."""
    file = real_data / "clip_things_test" / "clip_feature_maps_test.npy"
    ids = [f"{i:05d}" for i in range(1, 201)]
    found = Embeddings.read(import_embeddings(file, ids, tmp_path))
    np.testing.assert_array_equal(found.vector, np.load(file).reshape(200, 768))


# ---- options as words


def test_options_are_what_their_annotation_says():
    words = [
        "subject=01",
        "session=2",
        "sfreq=120",
        "tmin=-0.2",
        "channel_names=[1, Cz]",
        "set=test",
    ]
    found = read_options(import_trials, words, quiet=True)
    assert found == {
        "subject": "01",
        "session": "2",
        "sfreq": 120.0,
        "tmin": -0.2,
        "channel_names": ["1", "Cz"],
        "set": "test",
        "quiet": True,
    }
    assert read_options(import_prediction, ["n_averaged=4"], quiet=True) == {"n_averaged": 4}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("sfrq=120", "option 'sfrq' is unknown; did you mean 'sfreq'"),
        ("sfreq=fast", "option sfreq: expected float, found 'fast'"),
        ("channel_names=[a", "option channel_names: expected"),
        ("sfreq", "expected key=value"),
        ("quiet=yes please", "option quiet: expected bool"),
    ],
)
def test_wrong_options_are_said(word, says):
    with pytest.raises(UsageError) as error:
        read_options(import_trials, [word])
    assert says in str(error.value)


def test_the_command_keeps_what_was_typed_and_needs_no_ids_where_the_file_has_them(
    tmp_path, capsys
):
    import mne

    info = mne.create_info(["Fz", "Cz"], 100.0, "eeg")
    events = np.array([[0, 0, 1], [9, 0, 2], [20, 0, 1]])
    epochs = mne.EpochsArray(
        np.random.default_rng(0).standard_normal((3, 2, 20)) * 1e-6,
        info, events, event_id={"cat": 1, "dog": 2}, verbose="error",
    )  # fmt: skip
    epochs.save(tmp_path / "x-epo.fif", verbose="error")
    words = ["import", "trials", str(tmp_path / "x-epo.fif"), "--out", str(tmp_path), "--quiet"]
    assert main([*words, "subject=01", "run=007"]) == 0
    trials = Trials.open(tmp_path / "trials.h5")
    assert (trials.subject, trials.run[0], trials.image.tolist()) == (
        "01",
        "007",
        ["cat", "dog", "cat"],
    )
    trials.close()
    assert main([*words, "subjct=01"]) == 2
    said = capsys.readouterr().err
    assert "did you mean 'subject'" in said
    assert "Traceback" not in said
    np.save(tmp_path / "p.npy", np.ones((2, 3)))
    assert main(["import", "prediction", str(tmp_path / "p.npy"), "--out", str(tmp_path)]) == 1
    assert "give ids" in capsys.readouterr().err
