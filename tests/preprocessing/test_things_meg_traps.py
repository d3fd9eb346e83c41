"""What is wrong with a copy of the dataset, and what is said of it."""

import shutil
import tempfile
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
from fakes.things_meg import (
    SFREQ,
    Design,
    edit,
    events_of,
    runs_of,
    write_epochs,
    write_things_meg,
)

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.prepare import main
from neurovis.records import Trials
from neurovis.signals.standardise import write_trials
from neurovis.signals.subject import write_epochs as write_epochs_of_runs

load_datasets()

SENSORS = ("MLO11", "MRO11", "MZO01", "MLF11")
DESIGN = Design(concepts=12, tested=2, catch=1, runs=(1,), sensors=SENSORS)
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
    for recording in recordings:
        if recording.problem:
            raise NeurovisError(recording.problem)
    stimuli = data.stimuli(root)
    (split,) = data.splits(stimuli, recordings)
    folder = Path(tempfile.mkdtemp(dir=out))
    given = (data.steps, recordings, data.read, root, stimuli, "things_meg", None, True)
    log = write_epochs_of_runs(folder / "epochs.h5", *given)
    write_trials(folder / "trials.h5", data.steps, split, folder / "epochs.h5", log)
    return Trials.open(folder / "trials.h5"), split, log


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = write_things_meg(tmp_path_factory.mktemp("things_meg"), design=DESIGN)
    write_epochs(root, "1")
    return root


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / "root")


def test_a_test_concept_in_training_is_refused(root):
    data = dataset(source="epochs")
    stimuli = data.stimuli(root)
    concept = stimuli.concept.copy()
    concept[np.flatnonzero(stimuli.set == "train")[0]] = concept[stimuli.set == "test"][0]
    object.__setattr__(stimuli, "concept", concept)
    with pytest.raises(NeurovisError, match=r"concept .* (in|is in) .*test"):
        data.splits(stimuli, [])


def test_epochs_refuse_what_their_owners_settled(root, tmp_path):
    with pytest.raises(NeurovisError, match="l_freq"):
        trials_of(root, tmp_path, source="epochs", steps={"l_freq": 1.0})
    with pytest.raises(UsageError, match="source=bids"):
        dataset(source="epochs", onsets="trigger")


def test_disagreeing_numbers_are_left_out_reported_and_refused_beyond_the_tolerance(copy, tmp_path):
    def swap(table):
        first = table.index[table["trial_type"] != "catch"][:2]
        values = table["value"].copy()
        values[first] = values[first[::-1]].to_numpy()
        return table.assign(value=values)

    path = events_of(copy, session=2)
    before = pd.read_csv(path, sep="\t")
    edit(path, swap)
    trials, _, log = trials_of(copy, tmp_path, split="native", steps=PLAIN)
    table = DESIGN.trials("1").query("trial_type != 'catch'")
    names = [Path(path).stem for path in table["image_path"]]
    gone = np.flatnonzero(table["session_nr"] == 2)[:2]
    assert trials.image.tolist() == np.delete(names, gone).tolist()
    rows = np.flatnonzero((before["trial_type"] != "catch").to_numpy())[:2]
    assert (
        f"2 trials left out whose picture the two tables name differently: {rows[0]}, {rows[1]}"
        in log.runs[1]["notes"]
    )
    with pytest.raises(
        NeurovisError,
        match=r"ses-02_task-main_run-01_events.tsv: 2 of 15 image numbers .* at most 1",
    ):
        trials_of(copy, tmp_path, split="native", steps=PLAIN, tolerance=1)


def test_the_documented_tolerance_is_the_default(tmp_path):
    design = Design(concepts=40, sessions=(1,), runs=(1,), sensors=SENSORS)
    root = write_things_meg(tmp_path / "root", ("1",), design)
    edit(events_of(root), lambda t: t.assign(value=np.roll(t["value"], 1)))
    with pytest.raises(NeurovisError, match=r"of 46 image numbers .* expected at most 20"):
        trials_of(root, tmp_path, steps=PLAIN)


def test_events_and_pulses_that_disagree(copy, tmp_path):
    path = events_of(copy, session=2)
    shift = lambda t, by: (t["sample"].astype(int) + by * (t.index == 5)).astype(int)  # noqa: E731
    edit(path, lambda t: t.assign(sample=shift(t, 240), onset=shift(t, 240) / SFREQ))
    with pytest.raises(NeurovisError, match=r"ses-02.*run-01.*trial 5 .*are not the same trials"):
        trials_of(copy, tmp_path, steps=PLAIN)
    edit(path, lambda t: t.assign(sample=shift(t, -240)))
    with pytest.raises(NeurovisError, match=r"line 7: onset and sample are 240 samples apart"):
        trials_of(copy, tmp_path, steps=PLAIN)
    edit(path, lambda t: t.assign(onset=shift(t, 0) / SFREQ).drop(index=3))
    with pytest.raises(NeurovisError, match=r"has 14 trials, sample_attributes_P1.csv names 15"):
        trials_of(copy, tmp_path, steps=PLAIN)
    edit(
        copy / "sourcedata" / "sample_attributes_P1.csv",
        lambda t: t.drop(index=t.index[(t["session_nr"] == "2") & (t["run_nr"] == "1")][3]),
    )
    with pytest.raises(
        NeurovisError, match=r"UPPT001 has 15 pulses of 64, events.tsv has 14 trials"
    ):
        trials_of(copy, tmp_path, steps=PLAIN)


def test_lost_signal(tmp_path):
    design = Design(catch=0, sessions=(11,), runs=(5,), sensors=SENSORS)
    root = write_things_meg(tmp_path / "root", ("1",), design)
    (ds,) = runs_of(root, "1")
    raw = mne.io.read_raw_ctf(ds, preload=True, verbose="error")
    raw.pick(["MLO11-1609", "MZO01-1609", "MLF11-1609"], verbose="error")
    assert not raw.get_data(start=round(13.4 * SFREQ), stop=round(13.4 * SFREQ) + 240).any()
    options = {"split": "native", "steps": {**PLAIN, "tmax": 1.4}}
    (kept, *_), (found, *_), (rejected, _, log) = (
        trials_of(root, tmp_path, dropouts=how, **options) for how in ("keep", "median", "reject")
    )
    onset = kept.onset
    over = (onset - 0.1 < 13.6) & (onset + 1.4 > 13.4)
    assert 0 < over.sum() < 3
    assert len(onset) == 20
    np.testing.assert_allclose(rejected.onset, onset[~over])
    assert "0.2 s of lost signal at 13.4 s: reject" in log.runs[0]["notes"]
    # the owners' way, by hand
    data = raw.get_data()
    where = np.abs(raw.times - 13.4).argmin()
    raw._data[:, where : where + 240] = np.median(data, axis=1)[:, None]
    raw.filter(1.0, 40.0, verbose="error")
    filtered = raw.get_data()
    np.testing.assert_allclose(found.onset, onset)
    for signal, start in zip(found.read(), found.onset):
        sample = round(start * SFREQ) - 120
        expected = filtered[:, sample : sample + 6 * found.signal.shape[2] : 6]
        expected = expected - expected[:, :21].mean(axis=1, keepdims=True)
        assert np.abs(signal - expected).max() < 1e-4 * filtered.std()
    assert np.abs(kept.read() - found.read()).max() > 0.01 * filtered.std()


def test_stray_files_and_the_empty_room_are_no_recordings(root):
    found = dataset().recordings(root)
    assert [(r.subject, r.name) for r in found] == [
        (who, f"ses-{s:02d}_run-{r:02d}") for who in ("1", "2") for s in (1, 2) for r in (1,)
    ]


def test_a_missing_run_fails_its_subject_alone(copy, tmp_path, capsys):
    shutil.rmtree(runs_of(copy, "2")[1])
    words = f"--root {copy} --out {tmp_path} --quiet --l-freq 1 --detect false".split()
    assert main("things_meg", words) == 1
    said = capsys.readouterr().err
    assert "1 of 2 subjects failed" in said
    assert said.count("\n") == 1
    assert "sub-BIGMEG2: 1 of 2 runs are missing, first ses-02 run-01" in said
    (partial,) = (tmp_path / "prepared").iterdir()
    assert (partial / "sub-1" / "qc.json").is_file()
    assert not (partial / "sub-2").exists()
    trials, *_ = trials_of(copy, tmp_path, subject="2", sessions=(1,), steps=PLAIN)
    assert set(trials.session) == {"01"}
    with pytest.raises(UsageError, match=r"sample_attributes_P1.csv: sessions '7' is unknown"):
        trials_of(copy, tmp_path, sessions=(7,))


def test_half_of_a_download(copy, tmp_path):
    first, second = runs_of(copy, "1")[:2]
    meg4 = next(first.glob("*_meg.meg4"))
    with meg4.open("r+b") as handle:
        handle.truncate(meg4.stat().st_size - 1000)
    with pytest.raises(NeurovisError, match=r"meg.ds: cannot be read.*fetch"):
        trials_of(copy, tmp_path, steps=PLAIN)
    meg4.unlink()
    with pytest.raises(NeurovisError, match=r"meg.ds: cannot be read.*fetch"):
        trials_of(copy, tmp_path, steps=PLAIN)
    shutil.copytree(second, first, dirs_exist_ok=True)
    events_of(copy).unlink()
    with pytest.raises(NeurovisError, match=r"run-01_meg.ds|run-01_events.tsv"):
        trials_of(copy, tmp_path, steps=PLAIN)


def test_tables_that_name_pictures_wrongly(copy, tmp_path):
    path = copy / "sourcedata" / "sample_attributes_P1.csv"
    whole = path.read_text()
    table = pd.read_csv(path)
    exp = table.index[table["trial_type"] == "exp"][:2]
    cases = (
        (lambda t: t.drop(columns="image_path"), "column 'image_path' is missing"),
        (lambda t: t.assign(trial_type="odd"), "trial_type is 'odd'"),
        (lambda t: t.assign(image_path="images_meg/x.jpg"), "names no picture"),
        (
            lambda t: t.assign(
                things_image_nr=t["things_image_nr"].where(
                    t.index != exp[0], t["things_image_nr"].loc[exp[1]]
                )
            ),
            "expected one picture per number",
        ),
        (
            lambda t: t.assign(
                image_path=t["image_path"].where(t.index != exp[0], t["image_path"].loc[exp[1]])
            ),
            "expected one number per picture",
        ),
        (
            lambda t: pd.concat([t, t.loc[[exp[0]]].assign(trial_type="test")]),
            "is shown as exp and as test",
        ),
    )
    for change, sentence in cases:
        edit(path, change)
        with pytest.raises(NeurovisError, match=sentence):
            trials_of(copy, tmp_path, source="epochs")
        path.write_text(whole)
    path.unlink()
    with pytest.raises(
        NeurovisError, match=r"sample_attributes_P1.csv: no such file.*neurovis fetch"
    ):
        trials_of(copy, tmp_path, source="epochs")
