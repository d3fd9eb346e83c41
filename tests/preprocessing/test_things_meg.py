import json
import re
import shutil
import tempfile
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
from fakes.ctf import channels, write_ds
from fakes.things_meg import (
    EARLY,
    PEAK,
    SFREQ,
    Design,
    events_of,
    onsets,
    response,
    runs_of,
    write_epochs,
    write_things_meg,
)
from PIL import Image

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials
from neurovis.signals.ondisk import OnDisk
from neurovis.signals.standardise import write_trials
from neurovis.signals.subject import write_epochs as write_epochs_of_runs

load_datasets()

DESIGN = Design()
# short filters for short runs, nothing that looks at more than one trial
PLAIN = {
    "l_freq": 1.0,
    "detect": False,
    "scaling": "none",
    "clamp": None,
    "sfreq": 200.0,
    "tmin": -0.1,
}


def dataset(**options):
    return resolve(Dataset, {"name": "things_meg", **options})


def trials_of(root, out, subject="1", **options):
    """What the command writes for one subject, without the pages; the split and the log."""
    data = dataset(**options)
    recordings = [r for r in data.recordings(root) if r.subject == subject]
    stimuli = data.stimuli(root)
    (split,) = data.splits(stimuli, recordings)
    folder = Path(tempfile.mkdtemp(dir=out))
    given = (data.steps, recordings, data.read, root, stimuli, "things_meg", None, True)
    log = write_epochs_of_runs(folder / "epochs.h5", *given)
    write_trials(folder / "trials.h5", data.steps, split, folder / "epochs.h5", log)
    return Trials.open(folder / "trials.h5"), split, log


def shown(design, subject, split="native"):
    """What is kept, in order, straight from the design."""
    table = design.trials(subject)
    test = set(table["category_nr"][table["trial_type"] == "test"])
    keep = table["trial_type"] != "catch"
    if split != "native":
        once_of_test = (table["trial_type"] == "exp") & table["category_nr"].isin(test)
        keep &= ~once_of_test if split != "large" else table["trial_type"] == "exp"
    kept = table[keep]
    return [path.split("/")[-1].removesuffix(".jpg") for path in kept["image_path"]], kept


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = write_things_meg(tmp_path_factory.mktemp("things_meg"))
    write_epochs(root, "1")
    return root


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / "root")


def test_trials_pictures_and_onsets_are_those_of_the_design(root, tmp_path):
    folder = prepare(dataset(steps=PLAIN), root, tmp_path, quiet=True)
    for who in ("1", "2"):
        trials = Trials.open(folder / f"sub-{who}" / "trials.h5")
        names, table = shown(DESIGN, who, "zero-shot")
        assert trials.image.tolist() == names
        assert trials.session.tolist() == [f"{n:02d}" for n in table["session_nr"]]
        assert trials.run.tolist() == [f"{n:02d}" for n in table["run_nr"]]
        assert trials.set.tolist() == [
            "test" if k == "test" else "train" for k in table["trial_type"]
        ]
        assert trials.modality == "meg"
        assert trials.unit == "T"
        assert trials.channel_type[0] == "mag"
        assert "MRO11-1609" not in trials.channel_name
        assert trials.signal.shape[1:] == (19, 220)
        expected = []
        for (session, run), mine in DESIGN.trials(who).groupby(
            ["session_nr", "run_nr"], sort=False
        ):
            sample = onsets(DESIGN, who, session, run, len(mine))
            expected += (sample[mine.index.isin(table.index)] / SFREQ).tolist()
        np.testing.assert_allclose(trials.onset, expected, atol=1e-9)
        # every trial looks like the picture that it is said to be
        number = table["things_image_nr"].astype(int).to_numpy()
        sensors = [f"{name}-1609" for name in DESIGN.sensors]
        patterns = response(number, sensors)[:, np.isin(sensors, trials.channel_name)]
        signal = trials.read()
        at = np.abs(trials.times - PEAK).argmin()
        likeness = np.corrcoef(signal[:, :, at], patterns)[: len(signal), len(signal) :]
        best = number[likeness.argmax(axis=1)]
        np.testing.assert_array_equal(best, number)
        assert likeness[number[:, None] == number].min() > 0.95
        strength = signal.std(axis=1).mean(axis=0)
        assert trials.times[strength.argmax()] == pytest.approx(PEAK, abs=0.005)
    runs = json.loads((folder / "sub-1" / "qc.json").read_text())["runs"]
    said = [" | ".join(run["notes"]) for run in runs]
    early = [
        float(re.search(r"pulses come ([\d.]+) ms before those of events.tsv", n)[1]) for n in said
    ]
    assert np.abs(np.array(early) - 1000 * EARLY).max() < 2
    assert all("2 catch trials left out" in n for n in said)
    light = [re.search(r"UADC016-2104: changes ([+-][\d.]+) ms", n)[1] for n in said]
    assert np.abs(np.array(light, float)).max() < 1


@pytest.mark.parametrize("split", ["zero-shot", "small", "native", "large"])
def test_splits(root, tmp_path, split):
    trials, sides, _ = trials_of(root, tmp_path, source="epochs", split=split)
    stimuli = dataset(source="epochs", split=split).stimuli(root)
    assert trials.image.tolist() == shown(DESIGN, "1", split)[0]
    repeated = set(shown(DESIGN, "1")[1].query("trial_type == 'test'")["image_path"])
    repeated = {path.split("/")[-1].removesuffix(".jpg") for path in repeated}
    concept = dict(zip(stimuli.image, stimuli.concept))
    of_test = {name.rsplit("_", 1)[0] for name in repeated}
    assert len(of_test) == 4
    learned = {concept[i] for i in (*sides.train, *sides.validation)}
    if split == "native":
        assert set(sides.test) == repeated
        assert of_test <= learned
        assert len(learned) == 16
        assert sides.protocol == "clean, native"
    elif split == "large":
        assert {concept[i] for i in sides.test} == of_test
        assert len(sides.test) == 8
        assert not set(sides.test) & repeated
        assert not learned & of_test
    else:
        assert set(sides.test) == repeated
        assert not learned & of_test
        assert len(learned) == 12
    rows = sides.rows("test", trials)
    assert len(rows) == 8
    assert set(trials.set[rows]) == {"test"}


def test_pulses_as_onsets(root, tmp_path):
    written, *_ = trials_of(root, tmp_path, steps=PLAIN)
    pulses, _, log = trials_of(root, tmp_path, onsets="trigger", steps=PLAIN)
    expected = []
    for ds, (_, mine) in zip(
        runs_of(root, "1"), DESIGN.trials("1").groupby(["session_nr", "run_nr"], sort=False)
    ):
        raw = mne.io.read_raw_ctf(ds, verbose="error")
        found = mne.find_events(raw, "UPPT001", verbose="error")
        assert set(found[:-1, 2]) == {64}
        assert found[-1, 2] == 32
        kept = mine.index.isin(shown(DESIGN, "1", "zero-shot")[1].index)
        expected += (found[:-1, 0][kept] / SFREQ).tolist()
    np.testing.assert_allclose(pulses.onset, expected, atol=1e-9)
    assert pulses.image.tolist() == written.image.tolist()
    peak = lambda t: t.times[t.read().std(axis=1).mean(axis=0).argmax()]  # noqa: E731
    assert peak(pulses) - peak(written) == pytest.approx(0.15, abs=0.006)
    assert all("onsets: the pulses of UPPT001" in run["notes"][0] for run in log.runs)
    later, *_ = trials_of(root, tmp_path, onsets="trigger", steps={**PLAIN, "lag": -0.15})
    np.testing.assert_allclose(later.onset, np.array(expected) + 0.15, atol=1e-9)


def test_owners_recipe_equals_their_steps_in_mne(root, tmp_path):
    trials, *_ = trials_of(root, tmp_path, recipe="owners", steps={"baseline": None})
    file = runs_of(root, "1")[0]
    raw = mne.io.read_raw_ctf(file, preload=True, verbose="error").drop_channels("MRO11-1609")
    raw.filter(0.1, 40, verbose="error")
    table = pd.read_csv(events_of(root), sep="\t")
    table = table[table["trial_type"] != "catch"]
    events = np.c_[table["sample"], 0 * table["sample"], 1 + 0 * table["sample"]]
    epochs = mne.Epochs(
        raw,
        events,
        tmin=-0.1,
        tmax=1.3,
        picks="mag",
        baseline=None,
        decim=6,
        preload=True,
        verbose="error",
    )
    first = np.flatnonzero((trials.session == "01") & (trials.run == "01"))
    expected = epochs.get_data(copy=False)
    assert trials.signal.shape[1:] == expected.shape[1:] == (19, 281)
    np.testing.assert_allclose(trials.times, epochs.times, atol=1e-9)
    assert np.abs(trials.read(first) - expected).max() < 1e-4 * expected.std()


def test_owners_epochs_are_read_as_they_are_and_only_when_asked(root, tmp_path):
    folder = prepare(dataset(recipe="neurobridge"), root, tmp_path, ["1"], quiet=True)
    trials = Trials.open(folder / "sub-1" / "trials.h5")
    assert len(Split.read(folder / "split.json").test) == 4
    assert len(Stimuli.read(folder / "stimuli.csv")) == 28
    assert trials.image.tolist() == shown(DESIGN, "1", "zero-shot")[0]
    assert trials.unit == "1"
    assert trials.sfreq == 200
    assert trials.signal.shape[1:] == (19, 200)
    table = shown(DESIGN, "1", "zero-shot")[1]
    assert trials.run.tolist() == [f"{n:02d}" for n in table["run_nr"]]
    epochs = mne.read_epochs(
        root / "derivatives/preprocessed/preprocessed_P1-epo.fif", preload=True, verbose="error"
    )
    assert (epochs.events[:, 2] == 999999).sum() == 8
    expected = epochs.crop(0, 1, verbose="error").get_data(copy=False)[table.index, :, :-1]
    np.testing.assert_allclose(trials.read(), expected, rtol=1e-6)
    data = dataset(source="epochs")
    (recording,) = data.recordings(root)
    found = data.read(root, recording)
    assert isinstance(found.signal, OnDisk)
    assert found.signal._epochs.preload is False
    assert found.signal[3:5].shape == (2, 19, 281)
    assert found.signal[3:5].dtype == np.float32
    same, *_ = trials_of(root, tmp_path, steps={**PLAIN, "l_freq": 0.1, "tmin": 0.0})
    # SDs of the baseline instead of tesla, else the same responses
    at = np.abs(trials.times - PEAK).argmin()
    ours, theirs = same.read()[:, :, at], trials.read()[:, :, at]
    assert (
        min(np.corrcoef(a, b)[0, 1] for a, b in zip(ours / ours.std(0), theirs / theirs.std(0)))
        > 0.8
    )


def test_epochs_at_a_lower_rate_and_of_some_sessions(root, tmp_path):
    trials, *_ = trials_of(root, tmp_path, source="epochs", steps={"sfreq": 100.0})
    whole, *_ = trials_of(root, tmp_path, source="epochs")
    assert trials.sfreq == 100
    assert trials.signal.shape[2] == 110
    smooth = whole.read()[:, :, ::2]
    likeness = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(trials.read(), smooth)]
    assert min(likeness) > 0.95
    one, *_ = trials_of(root, tmp_path, source="epochs", sessions=(2,))
    assert set(one.session) == {"02"}
    assert dataset(sessions="1,2").sessions == dataset(sessions=[1, 2]).sessions == (1, 2)
    assert dataset(sessions=2).sessions == (2,)
    assert one.image.tolist() == whole.image[whole.session == "02"].tolist()


def test_a_part_of_the_epochs_is_missing(copy, tmp_path):
    folder = copy / "derivatives" / "preprocessed"
    parts = sorted(folder.glob("preprocessed_P1-epo*.fif"))
    assert len(parts) > 1
    next(p for p in parts if p.name != "preprocessed_P1-epo.fif").unlink()
    with pytest.raises(NeurovisError, match="preprocessed_P1-epo"):
        trials_of(copy, tmp_path, source="epochs")


def test_pictures_that_are_there(copy):
    data = dataset(source="epochs")
    before = data.stimuli(copy)
    assert before.path[0] == (f"{before.concept[0]}/{before.image[0]}.jpg",)
    assert not before.width.any()
    assert set(before.sha256) == {""}
    (copy / "stimuli" / before.concept[0]).mkdir(parents=True)
    Image.new("RGB", (9, 7)).save(copy / "stimuli" / before.path[0][0])
    after = data.stimuli(copy)
    assert (after.width[0], after.height[0], len(after.sha256[0])) == (9, 7, 64)
    assert {"bat1", "coat_rack", "ferris_wheel"} <= set(after.concept)


def test_recipes_are_the_protocols_of_the_manifest(root, tmp_path):
    cls = load_datasets()["things_meg"]
    assert set(cls.recipes) == set(read_manifest("things-meg").protocols)
    paper, *_ = trials_of(root, tmp_path, recipe="paper", steps={"l_freq": 1.0})
    assert paper.signal.shape[1:] == (20, 181)
    assert paper.sfreq == 120
    assert paper.tmin == -0.5
    assert np.abs(paper.read()).max() <= 5
    assert dataset(recipe="neuralbench").onsets == "trigger"
    assert dataset(recipe="neurobridge").source == "epochs"
    assert dataset(recipe="neurobridge", steps={"tmax": 0.5}).steps.tmin == 0.0
    with pytest.raises(UsageError, match="did you mean 'paper'"):
        dataset(recipe="papr")


def test_every_real_events_file_parses(real_data, tmp_path):
    """The true tables of 20 runs, beside recordings that hold no more than their pulses."""
    source = real_data / "bids_skeletons" / "ds004212"
    root = tmp_path / "ds004212"
    shutil.copytree(source, root, copy_function=shutil.copyfile)
    chs = channels(["MLO11", "MRO11"], references=1, inputs=1)
    rows = []
    files = sorted(root.glob("sub-BIGMEG1/ses-*/meg/sub-*_events.tsv"))
    assert len(files) == 20
    for path in files:
        table = pd.read_csv(path, sep="\t")
        signal = np.zeros((len(chs), 417600), np.float32)
        for start in table["sample"] - 180:
            signal[-1, start : start + 10] = 64
        signal[-1, 415000:415010] = 32
        write_ds(path.with_name(path.name.replace("events.tsv", "meg.ds")), chs, signal, 417600)
        entity = dict(part.split("-") for part in path.stem.split("_")[:-1])
        for _, row in table.iterrows():
            catch = row["trial_type"] == "catch"
            stem = (
                "catch001"
                if catch
                else f"thing{row['things_category_nr']:04.0f}_{row['value']:05.0f}s"
            )
            rows.append(
                (
                    row["trial_type"],
                    row["value"],
                    f"x/{stem}.jpg",
                    int(entity["ses"]),
                    int(entity["run"]),
                )
            )
    names = ["trial_type", "things_image_nr", "image_path", "session_nr", "run_nr"]
    (root / "sourcedata").mkdir()
    attributes = root / "sourcedata" / "sample_attributes_P1.csv"
    pd.DataFrame(rows, columns=names).to_csv(attributes, index=False)
    data = dataset(split="native")
    recordings = data.recordings(root)
    assert [r.problem for r in recordings] == [""] * 20
    stimuli = data.stimuli(root)
    facts = read_manifest("things-meg").facts
    assert (stimuli.set == "test").sum() == facts["n_test_concepts"]
    assert (stimuli.set == "train").sum() == 2 * facts["n_concepts"]
    total = 0
    for recording, path in zip(recordings, files):
        signal, events = data.read(root, recording)
        table = pd.read_csv(path, sep="\t")
        kept = table[table["trial_type"] != "catch"]
        np.testing.assert_allclose(events.onset, kept["onset"])
        assert [image.split("_")[1] for image in events.image] == [
            f"{v:05.0f}s" for v in kept["value"]
        ]
        assert stimuli.index(events.image).size == len(kept)
        assert "pulses come 150.0 ms before" in events.notes[0]
        assert signal.types[:3] == ["misc", "ref_meg", "mag"]
        assert not signal.bads
        total += len(table)
    assert total == 2 * facts["n_trials"] / facts["n_sessions"]


def test_a_plain_script_gives_the_same_numbers(tmp_path):
    """The benchmark's own comparison, on a miniature of one session."""
    from experiments.benchmarks import things_meg as benchmark

    design = Design(sessions=(1,), runs=(1, 2), sensors=("MLO11", "MRO11", "MZO01", "MLF11"))
    root = write_things_meg(tmp_path / "root", ("1",), design)
    with mne.utils.use_log_level("error"):
        benchmark.plain(root, tmp_path)
    benchmark.ours(root, tmp_path)
    worst, count = benchmark.difference(tmp_path)
    assert count == len(shown(design, "1", "zero-shot")[0])
    assert worst < 1e-5
