import os
import shutil
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from fakes.eeg_imagenet import (
    COARSE,
    IMAGES,
    LABELS,
    N_CHANS,
    PEAK,
    PER_CLASS,
    content,
    pattern,
    trial,
    write_eeg_imagenet,
)

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials
from neurovis.store import read_json

eeg_imagenet = load_datasets()["eeg_imagenet"]
module = sys.modules[eeg_imagenet.__module__]
UNTOUCHED = {"sfreq": None, "tmin": 0.0, "tmax": 0.5, "scaling": "none", "clamp": None}


def made(root, out, subject=None, **options):
    dataset = resolve(Dataset, {"name": "eeg_imagenet", **options})
    return prepare(dataset, root, out, subject=subject, quiet=True)


def opened(folder, subject):
    return Trials.open(folder / f"sub-{subject}" / "trials.h5")


def stems(images):
    return [name.removesuffix(".JPEG") for name in images]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_eeg_imagenet(tmp_path_factory.mktemp("imagenet"))


@pytest.fixture(scope="module")
def untouched(root, tmp_path_factory):
    return made(root, tmp_path_factory.mktemp("out"), steps=UNTOUCHED)


def test_trials_are_the_owners_in_their_order(untouched):
    trials = opened(untouched, "00")
    assert trials.image.tolist() == stems(IMAGES)
    assert trials.signal.shape == (len(IMAGES), N_CHANS, 500)
    assert (trials.sfreq, trials.tmin, trials.unit) == (1000.0, 0.0, "V")
    assert np.isnan(trials.onset).all()
    for row in (0, 61, 249):
        np.testing.assert_allclose(
            trials.read([row])[0], trial(0, row)[:, :500], rtol=1e-5, atol=1e-11
        )
    blocks = trials.run.tolist()
    assert blocks == [f"block{1 + i // PER_CLASS:02d}" for i in range(len(IMAGES))]
    unknown = np.isnan(trials.channel_position).any(axis=1)
    assert trials.channel_name[unknown].tolist() == ["CB1", "CB2"]


def test_a_failed_class_is_absent_and_told(untouched):
    trials = opened(untouched, "02")
    assert trials.image.tolist() == stems(i for i in IMAGES if not i.startswith(LABELS[3]))
    notes = read_json(untouched / "sub-02" / "qc.json")["runs"][0]["notes"]
    assert any(note.startswith("1 of 5 classes are absent") for note in notes)
    assert not any(
        "absent" in note for note in read_json(untouched / "sub-00" / "qc.json")["runs"][0]["notes"]
    )


def test_the_default_chain_keeps_image_and_time(root, tmp_path):
    trials = opened(made(root, tmp_path, "0", steps={"scaling": "none", "clamp": None}), "00")
    assert trials.signal.shape == (len(IMAGES), N_CHANS, 100)
    at = int(np.argmin(np.abs(trials.times - PEAK)))
    found = trials.read()[:, :, at]
    like = np.corrcoef(found, pattern().T)[: len(IMAGES), len(IMAGES) :]
    assert like.argmax(axis=1).tolist() == list(range(len(IMAGES)))
    strength = np.abs(trials.read()).mean(axis=(0, 1))
    assert trials.times[strength.argmax()] == pytest.approx(PEAK, abs=0.004)


def test_leakage_is_told_everywhere(root, tmp_path, capsys):
    folder = made(root, tmp_path, "0")
    assert "time alone tells the class" in capsys.readouterr().err
    assert "time leaks class" in Split.read(folder / "split.json").protocol
    notes = read_json(folder / "sub-00" / "qc.json")["runs"][0]["notes"]
    assert any("block design" in note for note in notes)
    assert "block design" in (folder / "sub-00" / "qc.html").read_text()


def test_the_planted_drift_does_leak(untouched):
    """The warning is true of the fake: before any picture could act, the mean tells the block."""
    signal = opened(untouched, "00").read()[:, :, :50].mean(axis=(1, 2))
    block = np.arange(len(IMAGES)) // PER_CLASS
    assert np.corrcoef(signal, block)[0, 1] > 0.99


def test_whole_classes_are_held_out_whatever_is_there(root, tmp_path):
    folder = made(root, tmp_path, "0")
    split, stimuli = Split.read(folder / "split.json"), Stimuli.read(folder / "stimuli.csv")
    held = {image.split("_")[0] for image in split.test}
    assert len(held) == 1
    assert len(split.test) == PER_CLASS
    assert not held & {i.split("_")[0] for i in split.train + split.validation}
    assert set(stimuli.concept) == set(LABELS)
    assert stimuli.path[0][0].endswith(
        f"imageNet_images/{stimuli.concept[0]}/{stimuli.image[0]}.JPEG"
    )
    coarse = Split.read(made(root, tmp_path, "0", granularity="coarse") / "split.json")
    assert {i.split("_")[0] for i in coarse.train + coarse.validation + coarse.test} == set(COARSE)
    order = sorted(LABELS, key=lambda name: module.draw(0, name))
    assert held == set(order[:1])
    assert {i.split("_")[0] for i in coarse.test} == {next(n for n in order if n in COARSE)}


def test_owners_split(root, tmp_path):
    folder = made(root, tmp_path, "0", recipe="paper")
    split = Split.read(folder / "split.json")
    test = {i for n, i in enumerate(stems(IMAGES)) if n % PER_CLASS >= 30}
    assert set(split.test) == test
    assert set(split.train) | set(split.validation) == set(stems(IMAGES)) - test
    assert split.protocol == "paper; time leaks class (blocks)"
    trials = opened(folder, "00")
    assert trials.signal.shape == (len(IMAGES), N_CHANS, 400)
    assert trials.tmin == 0.04


def test_owners_split_refuses_an_image_on_both_sides(tmp_path):
    found = content((0, 1), {}, PER_CLASS)
    rows = found["dataset"]
    rows[50], rows[99] = rows[99], rows[50]
    torch.save(found, tmp_path / "EEG-ImageNet_1.pth")
    with pytest.raises(
        NeurovisError, match=r"number 50 of its class for one subject and 1 for subject 1"
    ):
        made(tmp_path, tmp_path / "out", recipe="paper")
    assert len(eeg_imagenet().stimuli(tmp_path)) == PER_CLASS


def test_two_parts_are_read_together_but_no_subject_twice(root, tmp_path):
    two = shutil.copytree(root, tmp_path / "two")
    write_eeg_imagenet(two, (8,), {})
    assert [r.subject for r in eeg_imagenet().recordings(two)] == ["00", "02", "08"]
    shutil.copy(two / "EEG-ImageNet_1.pth", two / "EEG-ImageNet.pth")
    with pytest.raises(
        NeurovisError, match="subject 0 is also in EEG-ImageNet_1.pth".replace(".", r"\.")
    ):
        made(two, tmp_path)


def test_signals_stay_on_disk(root):
    file = root / "EEG-ImageNet_1.pth"
    module._read_index.cache_clear()
    tracemalloc.start()
    index = module.read_index(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(index.image) == 2 * len(IMAGES) - PER_CLASS
    assert peak < file.stat().st_size / 20


class Payload:
    def __reduce__(self):
        return (os.system, ("touch /tmp/neurovis-was-here",))


def test_a_crafted_file_runs_nothing(tmp_path):
    torch.save(
        {"dataset": [Payload()], "labels": [], "images": []}, tmp_path / "EEG-ImageNet_1.pth"
    )
    with pytest.raises(NeurovisError, match=r"found posix.system; nothing was run"):
        made(tmp_path, tmp_path / "out")
    assert not os.path.exists("/tmp/neurovis-was-here")


def test_a_truncated_file_is_told(root, tmp_path):
    whole = (root / "EEG-ImageNet_1.pth").read_bytes()
    for share in (0.3, 0.9, 0.9999):
        (tmp_path / "EEG-ImageNet_1.pth").write_bytes(whole[: int(share * len(whole))])
        module._read_index.cache_clear()
        with pytest.raises(NeurovisError, match=r"EEG-ImageNet_1.pth"):
            made(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("labels"), "'labels' is missing, expected the owners' dict"),
        (lambda c: c["dataset"][7].pop("image"), "trial 7 has no 'image'"),
        (lambda c: c["dataset"][7].update(label="n00000000"), "trial 7: label 'n00000000' is not among"),
        (
            lambda c: c["dataset"][7].update(eeg_data=torch.zeros(62, 400)),
            r"trial 7: eeg_data has shape \(62, 400\), expected \(channel=62, time=501\)",
        ),
        (lambda c: c["dataset"][7].update(image=IMAGES[99]), f"image '{stems(IMAGES)[99]}' is of class"),
        (lambda c: c["dataset"].clear(), "found no trial"),
    ],
)  # fmt: skip
def test_other_contents_are_told(tmp_path, change, said):
    found = content((0,), {}, 2 * PER_CLASS)
    change(found)
    torch.save(found, tmp_path / "EEG-ImageNet_1.pth")
    with pytest.raises(NeurovisError, match=said):
        made(tmp_path, tmp_path / "out")


def test_options_that_epochs_do_not_allow(root, tmp_path):
    with pytest.raises(NeurovisError, match=r"steps\.h_freq: the owners cut these recordings"):
        made(root, tmp_path, "0", steps={"h_freq": 40.0})
    with pytest.raises(NeurovisError, match=r"narrow it"):
        made(root, tmp_path, "0", steps={"tmax": 0.7})
    (tmp_path / "empty").mkdir()
    with pytest.raises(NeurovisError, match="fetch them from https://cloud"):
        made(tmp_path / "empty", tmp_path)
    with pytest.raises(UsageError):
        made(root, tmp_path, granularity="medium")


def test_code_and_manifest_agree(root):
    manifest = read_manifest("eeg-imagenet")
    assert manifest.reader == "eeg_imagenet"
    assert set(manifest.protocols) == set(eeg_imagenet.recipes)
    assert set(manifest.splits) == set(eeg_imagenet.model_fields["split"].annotation.__args__)
    assert manifest.terms.flag == "eeg-imagenet"
    assert manifest.fact("n_chans") == len(module.NAMES) == N_CHANS
    assert (root / manifest.expects[0]).is_file()
