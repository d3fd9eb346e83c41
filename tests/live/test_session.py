"""What a session leaves is read back, is decided again to the same, and survives a sudden end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from itertools import pairwise

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_run import REPLAY, Tiny, decisions
from live_run import tiny as make

from neurovis.errors import NeurovisError, UsageError
from neurovis.live.decode import load
from neurovis.live.items import Block, Options
from neurovis.live.player import recording
from neurovis.live.session import Recorder, Session, decide_again

PART = 200 * 20 * 4 * 4  # four seconds


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Tiny:
    return make(tmp_path_factory)


def about(options: Options) -> dict:
    plain = {"warm": options.warm, "early": list(options.early), "average": options.average}
    return {"options": plain | {"back": options.back}, "session": "01", "run": "tiny"}


def record(tiny: Tiny, folder, seed: int, stop: float = 30.0) -> list:
    """A session with every fault: random portions, losses, late markers, channels without numbers."""
    rng, made = np.random.default_rng(seed), []
    options = Options(warm=5.0, early=(0.2, 0.4))
    recorder = Recorder(
        folder, tiny.recipe, {**about(options), "bads": list(tiny.played.bads)}, 200.0, PART
    )
    engine = tiny.engine(lambda item: (made.append(item), recorder(item)), options)
    signal, n = tiny.signal.copy(), round(stop * 200)
    signal[2000:2030, 3] = np.nan
    keep = np.r_[0:2600, 2610:3000, 4200:n]
    late = rng.integers(0, 300, len(tiny.events(stop))) * (rng.random(len(tiny.events(stop))) < 0.2)
    order = sorted(
        (onset + more / 200, label, onset) for (label, onset), more in zip(tiny.events(stop), late)
    )
    begin = 0
    while begin < len(keep):
        part = keep[begin : begin + int(rng.integers(1, 60))]
        begin += len(part)
        engine.feed(signal[part], tiny.stamps[part])
        while order and order[0][0] * 200 <= part[-1]:
            _, label, onset = order.pop(0)
            engine.mark(label, 100 + onset)
    engine.end()
    recorder.close()
    return made


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 99), st.floats(0.1, 5))
def test_a_session_is_decided_again_to_the_same(tiny, tmp_path_factory, seed, seconds):
    folder = tmp_path_factory.mktemp("session") / "one"
    made = record(tiny, folder, seed)
    again = decide_again(folder, tiny.recipe, tiny.decoder, seconds)
    assert again == decisions(made)
    assert len(again) > 50
    stored = Session(folder).decisions()
    assert stored == [json.loads(json.dumps(d.to_dict())) for d in again]


def test_the_recording_is_a_recording(tiny, tmp_path):
    made = record(tiny, tmp_path / "one", 0)
    files = sorted((tmp_path / "one").glob("*_raw.fif"))
    assert len(files) == 7
    assert not list((tmp_path / "one").glob("tail-*"))
    raws = [mne.io.read_raw_fif(path, verbose="error") for path in files]
    assert raws[0].ch_names == list(tiny.recipe.names)
    assert set(raws[0].get_channel_types()) == {"mag"}
    assert raws[0].info["sfreq"] == 200
    blocks = [item for item in made if isinstance(item, Block)]
    n = sum(b.signal.shape[1] for b in blocks)
    assert sum(raw.n_times for raw in raws) == n
    order = [tiny.played.names.index(name) for name in tiny.recipe.names]
    assert np.array_equal(raws[0].get_data(), tiny.signal[: raws[0].n_times, order].T.astype(float))
    said = [(a["description"], a.get("ch_names", ())) for raw in raws for a in raw.annotations]
    assert ("BAD_missing", ()) in said
    assert ("missing", (tiny.played.names[3],)) in said
    # the silence of six seconds is no part of it
    assert any(a.last_samp + 1201 == b.first_samp for a, b in pairwise(raws))


def test_a_session_can_be_played_to_the_same(tiny, tmp_path):
    record(tiny, tmp_path / "one", 1)
    played = recording(str(tmp_path / "one"))
    signal = np.concatenate([part for _, part in played.pieces(0, played.n_times, 77)])
    order = [tiny.played.names.index(name) for name in played.names]
    assert np.isnan(signal[2600:2610]).all()
    assert np.isnan(signal[3000:4200]).all()
    assert np.isnan(signal[2000:2030, played.names.index(tiny.played.names[3])]).all()
    measured = np.r_[0:2000, 2030:2600, 4200 : len(signal)]
    assert np.array_equal(signal[measured], tiny.signal[: len(signal)][measured][:, order])
    assert sorted(played.label.tolist()) == sorted(
        e.marker.label for e in Session(tmp_path / "one").events()
    )


SUDDEN = """
    import sys
    import numpy as np
    sys.path[:0] = [{tests!r}, {live!r}]
    from pathlib import Path
    from neurovis.live.items import Block
    from neurovis.live.recipe import Recipe
    from neurovis.live.session import Recorder
    from neurovis.signals.chain import Steps
    recipe = Recipe(Steps(), ("a", "b"), ("eeg", "eeg"), np.zeros((2, 3)))
    recorder = Recorder({folder!r}, recipe, {{}}, 100.0, part=2 * 4 * 1000)
    for start in range(0, 2500, 10):
        rows = np.arange(start, start + 10, dtype=np.float32)
        recorder(Block(start, np.stack([rows, -rows])))
    while not (Path({folder!r}) / "tail-2000.f32").is_file() or (
        (Path({folder!r}) / "tail-2000.f32").stat().st_size < 2 * 4 * 500
    ):
        pass
    print("written", flush=True)
    sys.stdin.read()
"""


def test_a_session_that_is_killed_is_read(tmp_path):
    folder = tmp_path / "one"
    code = textwrap.dedent(SUDDEN).format(tests="tests", live="tests/live", folder=str(folder))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "written\n"
        os.kill(process.pid, signal.SIGKILL)
    with (folder / "tail-2000.f32").open("ab") as handle:
        handle.write(b"\x00\x00\x00")  # half a sample
    with (folder / "events.csv").open("a") as handle:
        handle.write("0,a,")
    with (folder / "decisions.jsonl").open("a") as handle:
        handle.write('{"event": 0}\n{"eve')
    session = Session(folder)
    blocks = list(session.blocks(3.0))
    assert np.array_equal(np.concatenate([b.signal[0] for b in blocks]), np.arange(2500))
    assert [b.start for b in blocks][:3] == [0, 300, 600]
    assert session.events() == []
    assert session.decisions() == [{"event": 0}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = mne.io.read_raw_fif(folder / "signal-0002_raw.fif", verbose="error")
    assert (raw.first_samp, raw.n_times) == (1000, 1000)


def test_bad_sessions_are_refused(tiny, tmp_path):
    with pytest.raises(NeurovisError, match=r"no session.json"):
        Session(tmp_path)
    (tmp_path / "session.json").write_text('{"format": "neurovis-live", "format_version": 1}')
    with pytest.raises(NeurovisError, match="no 'sfreq'"):
        Session(tmp_path)
    with pytest.raises(NeurovisError, match="holds a session already"):
        Recorder(tmp_path, tiny.recipe, {}, 100.0)
    record(tiny, tmp_path / "one", 0, 8.0)
    data = json.loads((tmp_path / "one" / "session.json").read_text())
    data["names"][0] = "other"
    (tmp_path / "one" / "session.json").write_text(json.dumps(data))
    with pytest.raises(NeurovisError, match="other channels"):
        decide_again(tmp_path / "one", tiny.recipe, tiny.decoder)


def test_a_disk_that_takes_no_more_is_said(tiny, tmp_path):
    recorder = Recorder(tmp_path / "one", tiny.recipe, {}, 200.0)
    block = Block(0, np.zeros((len(tiny.recipe.names), 10), np.float32))
    recorder._tail = (tmp_path / "full").open("wb")
    recorder._tail.close()  # every write to it fails from now on
    recorder(block)
    deadline = time.monotonic() + 60
    while recorder.failure is None and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(NeurovisError, match="cannot be written on"):
        recorder(block)
    with pytest.raises(NeurovisError, match="not whole"):
        recorder.close()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((REPLAY, "", ""), "--root"),
        (("synthetic", "ROOT", ""), "DATASET/RECORDING"),
        (("sinthetic/x", "ROOT", ""), "did you mean 'synthetic'"),
        (("synthetic/ses-01_run-02", "ROOT", ""), "did you mean 'ses-01_run-01'"),
        ((REPLAY, "ROOT", "07"), "subject '07'"),
    ],
)
def test_recordings_that_are_not_there_are_refused(tiny, words, text):
    with pytest.raises(NeurovisError, match=text):
        recording(*(str(tiny.root) if word == "ROOT" else word for word in words))


def test_whose_model_decodes_has_to_be_said(tiny, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny.run, run)
    with pytest.raises(UsageError, match="subject '09' is unknown"):
        load(run, "09")
    about = json.loads((run / "signals.json").read_text())
    about["channels"]["02"] = about["channels"]["01"]
    (run / "signals.json").write_text(json.dumps(about))
    with pytest.raises(
        UsageError, match=r"--subject: expected one of 01, 02, found none.*--calibrate"
    ):
        load(run)
    (run / "shape.json").rename(run / "shape-without-01.json")
    with pytest.raises(UsageError, match=r"models of people left out \(without-01\)"):
        load(run, "01")
    # a model per subject: each decodes with its own
    (run / "shape-without-01.json").rename(run / "shape-01.json")
    (run / "model.safetensors").rename(run / "model-01.safetensors")
    assert load(run, "01").subject == "01"
    with pytest.raises(UsageError, match=r"subject '02' is unknown.*Known: 01"):
        load(run, "02")
