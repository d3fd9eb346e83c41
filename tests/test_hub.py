"""Hub: what was saved predicts what the run predicted, bit by bit, and its card hides and claims nothing."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import socket
from pathlib import Path
from typing import ClassVar

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from conftest import write_prepared
from test_train import TOWER, experiment

from neurovis import cli, hub, predict, train
from neurovis.batches import Recordings
from neurovis.brain.base import BrainEncoder
from neurovis.config import components, load_yaml, write_yaml
from neurovis.errors import NeurovisError, UsageError
from neurovis.evaluate import evaluate_run
from neurovis.hub import from_pretrained, push, save_pretrained
from neurovis.manifest import read_manifest
from neurovis.records import Embeddings, Prediction, Split, opened
from neurovis.store import load_tensors, read_json, save_tensors, write_json

# what makes each component small; a new one runs with its defaults
SMALL = {"conv": TOWER, "inverted": {"name": "inverted", "n_hidden": 8, "n_folds": 2}}
NEED = {"braindecode": {"name": "braindecode", "model": "EEGNet"}}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The order of sums depends on the number of threads; bits are compared here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Two subjects of whom the second lacks two channels, with windows that every tower takes."""
    folder = tmp_path_factory.mktemp("hub") / "p"
    write_prepared(folder, n_train=30, n_test=8, repeats=(1, 3), n_times=128)
    path = folder / "sub-02" / "trials.h5"
    with opened(path) as trials:
        keep = np.r_[1:5, 6:12]
        signal = trials.read()[:, keep]
        fields = {n: getattr(trials, n) for n in ("image", "session", "run", "set", "onset")}
        names = ("channel_name", "channel_type", "channel_position")
        fields |= {n: getattr(trials, n)[keep] for n in names}
        about = ("sfreq", "tmin", "modality", "unit", "subject", "dataset")
        fields |= {n: getattr(trials, n) for n in about}
        made = type(trials)(signal, **fields)
    made.write(path)
    return folder


def run_of(prepared, out, brain, **changes):
    changes = {"train": {"epochs": 1}, **changes}
    run = train.main(experiment(prepared, brain=brain, **changes), out, quiet=True)
    evaluate_run(run, quiet=True)
    return run


def predicted_again(model, run, prepared) -> dict[str, np.ndarray]:
    """The run's own test rows through a loaded model, from the signals on disk."""
    config = experiment(prepared)
    recordings = Recordings(config.data)
    rows = predict.test_rows(recordings, recordings.folds[0], config.predict, 0)
    signal = recordings.averages(rows.items)
    first = recordings.trials[0]
    said = model.predict(signal, recordings.channel_name, first.sfreq, first.tmin, rows.subject)
    recordings.close()
    return said


@pytest.mark.parametrize("name", sorted(components(BrainEncoder)))
def test_every_tower_predicts_the_same_bits(name, prepared, tmp_path):
    brain = SMALL.get(name) or NEED.get(name) or {"name": name}
    run = run_of(prepared, tmp_path, brain)
    folder = save_pretrained(run, tmp_path / "model")
    model = from_pretrained(folder)
    expected = Prediction.read(run / "systems" / "tower" / "prediction.h5")
    said = predicted_again(model, run, prepared)
    assert said.keys() == expected.vector.keys()
    for target, vector in said.items():
        np.testing.assert_array_equal(vector, expected.vector[target])
    # pictures come to the space of the predictions, too
    raw = Embeddings.read(prepared / "embeddings.h5")
    own = run / "systems" / "tower" / "gallery" / "image.h5"
    gallery = Embeddings.read(own if own.is_file() else run / "gallery" / "image.h5")
    found = model.gallery("image", raw.at(gallery.image), raw.encoder)
    np.testing.assert_allclose(found, gallery.vector, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def saved(prepared, tmp_path_factory):
    """A run of the small conv tower and the folder that was saved of it."""
    out = tmp_path_factory.mktemp("saved")
    run = run_of(prepared, out, TOWER, control="baseline")
    return run, save_pretrained(run, out / "my-decoder", "cc-by-4.0")


def test_channels_are_found_by_name_and_windows_cut(saved, prepared):
    model = from_pretrained(saved[1])
    with opened(prepared / "sub-01" / "trials.h5") as trials:
        signal, names = trials.read(np.arange(9)), trials.channel_name.tolist()
        expected = model.predict_trials(trials, np.arange(9))["image"]
    about = {"sfreq": 100.0, "tmin": 0.0, "subject": "01"}
    order = np.random.default_rng(0).permutation(12)
    extra = np.concatenate([signal[:, order], signal[:, :1]], axis=1)
    moved = [*(names[i] for i in order), "EOG"]
    np.testing.assert_array_equal(model.predict(extra, moved, **about)["image"], expected)
    longer = np.pad(signal, ((0, 0), (0, 0), (7, 20)), mode="reflect")
    cut = model.predict(longer, names, 100.0, -0.07, "01")["image"]
    np.testing.assert_array_equal(cut, expected)
    # an absent channel is marked, whatever stands in its place
    fewer = model.predict(signal[:, 2:], names[2:], **about)["image"]
    assert np.isfinite(fewer).all()
    assert (fewer != expected).any()
    # a channel that the subject lacked in training counts for nothing
    second = model.predict(signal, names, 100.0, 0.0, "02")["image"]
    signal[:, [0, 5]] += 100
    np.testing.assert_array_equal(model.predict(signal, names, 100.0, 0.0, "02")["image"], second)


def test_what_does_not_fit_is_one_sentence(saved, prepared):
    model = from_pretrained(saved[1])
    signal = np.zeros((2, 12, 128), np.float32)
    names, good = list(model.channel_name), (100.0, 0.0, "01")
    for change, said in (
        ((signal, names, 250.0, 0.0, "01"), "expected 100 Hz as in training, found 250 Hz"),
        ((signal, names, 100.0, 0.5, "01"), "128 samples from 0 to 1.27 s, found 128 from 0.5 s"),
        ((signal[:, :, 1:], names, *good), "found 127 from 0 s"),
        ((signal, names, 100.0, 0.004, "01"), "cut the epochs"),
        ((signal, names[1:], *good), r"\(trial, channel=11, time\)"),
        ((signal, [f"x{n}" for n in names], *good), "none is one that the model knows"),
        ((signal, ["a", "a", *names[2:]], *good), "appears twice"),
        ((signal + np.nan, names, *good), "NaN or infinity in trial 0"),
        ((signal, names, 100.0, 0.0, "03"), "subject '03' is unknown"),
        ((signal, names, 100.0, 0.0), "expected one of 01, 02, found none"),
        ((signal, names, 100.0, 0.0, ["01"]), r"one per trial \(2\), found 1"),
    ):
        with pytest.raises(NeurovisError, match=said):
            model.predict(*change)
    with pytest.raises(UsageError, match="target 'clip' is unknown"):
        model.gallery("clip", np.ones((1, 8)))
    with pytest.raises(NeurovisError, match="expected vectors with 8 dims"):
        model.gallery("image", np.ones((1, 9)))
    with pytest.raises(
        NeurovisError, match=r"another encoder \(name is 'other', expected 'planted'"
    ):
        model.gallery("image", np.ones((1, 8)), {"name": "other"})
    with opened(prepared / "sub-01" / "trials.h5") as trials:
        object.__setattr__(trials, "unit", "T")
        with pytest.raises(NeurovisError, match=r"Trials.unit: expected '1' .* found 'T'"):
            model.predict_trials(trials)


def test_the_card_holds_every_score_with_all_that_is_needed_to_read_it(saved):
    run, folder = saved
    loaded = huggingface_hub.ModelCard.load(folder / "README.md")
    front = loaded.data.to_dict()
    assert front["library_name"] == "neurovis"
    assert front["license"] == "cc-by-4.0"
    data = read_json(run / "scores.json")
    head = data["headline"]
    own = {
        (s["name"], s["about"]["n_averaged"]): s
        for s in data["scores"]
        if (s["about"]["system"], s["about"]["subject"]) == ("tower", "all")
    }
    (index,) = front["model-index"]
    metrics = index["results"][0]["metrics"]
    assert len(metrics) == len(own) > 6
    for metric in metrics:
        score, args = own[metric["type"], metric["args"]["n_averaged"]], metric["args"]
        assert metric["value"] == pytest.approx(score["value"], abs=1e-6)
        for name in ("n", "chance", "low", "high", "gallery", "protocol"):
            assert args[name] == pytest.approx(score[name], abs=1e-6)
    text = loaded.text
    first = own[head["metric"], head["n_averaged"]]
    assert f"| {head['metric']} | {first['value']:.4g} | {first['low']:.4g} to " in text
    for system in ("ridge", "shuffled"):
        assert f"| {system} | all |" in text
    assert "| tower | 01 |" in text
    for words in ("Gallery: 8 test images (shown image)", "Protocol: clean", "Intended use"):
        assert words in text
    assert "128 samples at 100 Hz" in text
    assert "- method: arXiv 2310.19812" in text


def test_nothing_private_is_in_the_folder(saved, tmp_path):
    run, folder = saved
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert names == {*hub.FILES, "model.safetensors", "spaces/image.safetensors"}
    text = "".join((folder / n).read_text() for n in hub.FILES)
    assert socket.gethostname() not in text or len(socket.gethostname()) <= 5
    assert str(run.parents[1]) not in text
    assert "host" not in read_json(folder / "provenance.json")
    for words, what in (
        ("/srv/people/somebody/data.h5", "a path near"),
        ("hf_" + "a" * 30, "found a secret;"),
    ):
        copy = tmp_path / what.split()[1]
        shutil.copytree(run, copy)
        config = load_yaml(copy / "config.yaml")
        write_yaml(copy / "config.yaml", {**config, "note": words})
        with pytest.raises(NeurovisError, match=f"config.yaml: expected nothing private.*{what}"):
            save_pretrained(copy, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_the_snippet_of_the_card_runs(saved, monkeypatch):
    _, folder = saved
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    monkeypatch.chdir(folder.parent)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(code, "card", "exec"), {})
    assert said.getvalue() == "{'image': (2, 8)}\n"


def of_terms(prepared, tmp_path) -> Path:
    """A model of recordings whose owners have terms."""
    folder = tmp_path / "terms"
    shutil.copytree(prepared, folder)
    write_yaml(folder / "config.yaml", {"name": "nsd"})
    run = run_of(folder, tmp_path, "ridge")
    return save_pretrained(run, tmp_path / "with-terms")


class Remote(huggingface_hub.HfApi):
    """The Hub at the edge of the network: repositories are folders."""

    root: Path
    calls: ClassVar[list] = []

    def create_repo(self, repo_id, *, private=None, exist_ok=False, **rest):
        Remote.calls.append(("create", repo_id, private, exist_ok, self.token))
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, **rest):
        paths = [
            p.relative_to(folder_path).as_posix()
            for p in Path(folder_path).rglob("*")
            if p.is_file()
        ]
        for path in huggingface_hub.utils.filter_repo_objects(paths, allow_patterns=allow_patterns):
            target = self.root / repo_id / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(folder_path) / path, target)
        Remote.calls.append(("upload", repo_id))


@pytest.fixture
def remote(tmp_path, monkeypatch):
    Remote.root, Remote.calls = tmp_path / "remote", []
    monkeypatch.setattr(huggingface_hub, "HfApi", Remote)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **_: str(Remote.root / name)
    )
    return Remote


def test_push_and_load_again(saved, remote, prepared, tmp_path):
    run, folder = saved
    folder = shutil.copytree(folder, tmp_path / "copy")
    (folder / "notes.txt").write_text("mine alone")
    assert push(folder, "somebody/decoder", token="t") == "https://huggingface.co/somebody/decoder"
    assert remote.calls == [
        ("create", "somebody/decoder", True, True, "t"),
        ("upload", "somebody/decoder"),
    ]
    assert not (remote.root / "somebody/decoder/notes.txt").exists()
    model = from_pretrained("somebody/decoder")
    expected = Prediction.read(run / "systems" / "tower" / "prediction.h5").vector["image"]
    np.testing.assert_array_equal(predicted_again(model, run, prepared)["image"], expected)
    text = (remote.root / "somebody/decoder/README.md").read_text()
    assert 'from_pretrained("somebody/decoder")' in text
    assert "license: cc-by-4.0" in text


def test_the_command_saves_and_pushes(saved, remote, tmp_path, capsys):
    run, folder = saved
    target = tmp_path / "again"
    assert cli.main(["hub", "save", str(run), str(target), "--licence", "cc-by-4.0"]) == 0
    names = {p.relative_to(folder) for p in folder.rglob("*")}
    assert {p.relative_to(target) for p in target.rglob("*")} == names
    assert "license: cc-by-4.0" in (target / "README.md").read_text()
    assert f"Next: neurovis hub push {target} OWNER/NAME" in capsys.readouterr().out
    assert cli.main(["hub", "push", str(target), "somebody/decoder"]) == 0
    assert "https://huggingface.co/somebody/decoder" in capsys.readouterr().out
    assert cli.main(["hub", "push", str(target), "somebody/decoder", "--public"]) == 0
    assert [call[2] for call in remote.calls if call[0] == "create"] == [True, False]
    assert cli.main(["hub", "save", str(run), str(target)]) == 1
    assert "is there already, expected a new folder" in capsys.readouterr().err


def test_terms_of_the_data_are_said_and_must_be_accepted(prepared, remote, tmp_path):
    folder, terms = of_terms(prepared, tmp_path), read_manifest("nsd")
    text = (folder / "README.md").read_text()
    assert terms.licence in text
    assert terms.terms.url in text
    assert f"- data: {terms.citation[0]}" in text
    assert "license: other\nlicense_name: terms-of-the-training-data" in text
    with pytest.raises(NeurovisError, match=r"whose owners ask .* accept_terms=True"):
        push(folder, "somebody/decoder")
    assert remote.calls == []
    push(folder, "somebody/decoder", accept_terms=True)
    assert [call[0] for call in remote.calls] == ["create", "upload"]


def test_failures_of_the_network_are_one_sentence(saved, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(NeurovisError, match=r"could not be fetched .*no route to host"):
        from_pretrained("somebody/absent")
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(NeurovisError, match=r"could not be uploaded .*no route to host"):
        push(shutil.copytree(saved[1], tmp_path / "copy"), "somebody/decoder")
    with pytest.raises(UsageError, match="expected owner/name, found 'decoder'"):
        push(saved[1], "decoder")


def test_a_server_that_is_not_there_is_said(saved, monkeypatch, tmp_path):
    real = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        huggingface_hub, "HfApi", lambda token: real("http://127.0.0.1:9", token=token)
    )
    with pytest.raises(NeurovisError, match=r"could not be uploaded \(\w+: "):
        push(shutil.copytree(saved[1], tmp_path / "copy"), "somebody/decoder", token="t")


def test_damaged_and_foreign_folders_are_refused(saved, tmp_path):
    def changed(change):
        copy = shutil.copytree(saved[1], tmp_path / f"copy{len(list(tmp_path.iterdir()))}")
        change(copy)
        with pytest.raises(NeurovisError) as error:
            from_pretrained(copy)
        assert "\n" not in str(error.value)
        return str(error.value)

    def config(**changes):
        def change(folder):
            write_yaml(folder / "config.yaml", {**load_yaml(folder / "config.yaml"), **changes})

        return change

    def weights(folder):
        tensors = load_tensors(folder / "model.safetensors")
        tensors.pop(sorted(tensors)[0])
        save_tensors(folder / "model.safetensors", tensors)

    assert "version 9, this neurovis reads up to 1" in changed(config(version=9))
    foreign = {"name": "os:PathLike"}
    assert "code that a folder names is not imported" in changed(config(brain=foreign))
    assert "did you mean 'conv'" in changed(config(brain="cnov"))
    assert "joins the targets" in changed(config(projection={"name": "adapter"}))
    assert "weights do not fit the tower 'conv'" in changed(weights)
    shape = lambda f: write_json(f / "shape.json", {"n_times": 3})  # noqa: E731
    assert "shape.json: damaged" in changed(shape)
    cut = lambda f: (f / "model.safetensors").write_bytes(b"no weights")  # noqa: E731
    assert "damaged weights" in changed(cut)
    assert "no model.safetensors" in changed(lambda f: (f / "model.safetensors").unlink())
    with pytest.raises(NeurovisError, match="no such folder, and no owner/name"):
        from_pretrained(tmp_path / "absent")
    with pytest.raises(NeurovisError, match="is there already"):
        save_pretrained(*saved)
    with pytest.raises(NeurovisError, match=r"no complete run, expected provenance.json"):
        save_pretrained(saved[1] / "spaces", tmp_path / "new")
    run = shutil.copytree(saved[0], tmp_path / "unscored")
    (run / "scores.json").unlink()
    with pytest.raises(NeurovisError, match=r"no scores.json in it; run neurovis evaluate"):
        save_pretrained(run, tmp_path / "new")


def test_of_several_folds_one_is_chosen(prepared, tmp_path):
    folder = shutil.copytree(prepared, tmp_path / "folds")
    (folder / "split.json").unlink()
    for i in range(2):
        old = Split.read(prepared / "split.json")
        half = len(old.test) // 2
        test = old.test[:half] if i else old.test[half:]
        Split(old.train, old.validation, test).write(folder / f"split-{i + 1:02d}.json")
    run = run_of(folder, tmp_path, TOWER)
    saved = save_pretrained(run, tmp_path / "model")
    with pytest.raises(UsageError, match="from 1 to 2"):
        from_pretrained(saved)
    expected = Prediction.read(run / "systems/tower/prediction.h5")
    recordings = Recordings(experiment(folder).data)
    for i, split in enumerate(recordings.folds, start=1):
        model = from_pretrained(saved, fold=i)
        rows = predict.test_rows(recordings, split, experiment(folder).predict, 0)
        mine = np.isin(expected.image, split.test)
        said = model.predict(
            recordings.averages(rows.items), recordings.channel_name, 100.0, 0.0, rows.subject
        )
        np.testing.assert_array_equal(said["image"], expected.vector["image"][mine])
    recordings.close()


def test_a_tower_of_ones_own_is_given_by_hand(saved):
    _, folder = saved
    brain = components(BrainEncoder)["conv"](**{k: v for k, v in TOWER.items() if k != "name"})
    model = from_pretrained(folder, brain=brain)
    assert model.brain is brain
    assert yaml.safe_load((folder / "config.yaml").read_text())["brain"]["name"] == "conv"
    assert json.loads((folder / "signals.json").read_text())["channels"]["02"] == [
        f"MEG{i:03d}" for i in range(12) if i not in (0, 5)
    ]


def test_a_model_of_ones_own_is_loaded_by_its_subject(prepared, tmp_path):
    """Where each subject has a model, its own rows come out as the run predicted them."""
    brain = {"name": "inverted", "n_hidden": 8, "n_folds": 2}
    run = run_of(prepared, tmp_path, brain, subjects="single", control="none")
    folder = save_pretrained(run, tmp_path / "model")
    expected = Prediction.read(run / "systems" / "tower" / "prediction.h5")
    with pytest.raises(UsageError, match="expected one of 01, 02, as each has a model of its own"):
        from_pretrained(folder)
    for place, who in enumerate(("01", "02")):
        model = from_pretrained(folder, subject=who)
        assert model.subjects == (who,)
        recordings = Recordings(experiment(prepared, data={"subjects": [who]}).data)
        rows = predict.test_rows(recordings, recordings.folds[0], experiment(prepared).predict, 0)
        signal, first = recordings.averages(rows.items), recordings.trials[0]
        said = model.predict(signal, recordings.channel_name, first.sfreq, first.tmin, who)
        recordings.close()
        single = expected.n_averaged == 1
        mine = single & (expected.subject == who)
        found = said["image"][rows.n_averaged == 1]
        np.testing.assert_allclose(found, expected.vector["image"][mine], rtol=1e-5, atol=1e-6)
        gallery = Embeddings.read(
            run / "systems" / "tower" / "galleries" / f"{place:03d}" / "image.h5"
        )
        raw = Embeddings.read(prepared / "embeddings.h5")
        seen = model.gallery("image", raw.at(gallery.image), raw.encoder)
        np.testing.assert_allclose(seen, gallery.vector, rtol=1e-5, atol=1e-6)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert 'from_pretrained("model", subject="01")' in text


def test_one_model_with_an_image_side_per_subject_has_a_gallery_for_each(prepared, tmp_path):
    run = run_of(prepared, tmp_path, SMALL["inverted"], projection="own", control="none")
    model = from_pretrained(save_pretrained(run, tmp_path / "model"))
    raw = Embeddings.read(prepared / "embeddings.h5")
    found = []
    for place, who in enumerate(("01", "02")):
        kept = Embeddings.read(run / f"systems/tower/galleries/{place:03d}/image.h5")
        found.append(model.gallery("image", raw.at(kept.image), raw.encoder, subject=who))
        np.testing.assert_allclose(found[-1], kept.vector, rtol=1e-5, atol=1e-6)
    assert not np.allclose(*found, atol=1e-2)
    with pytest.raises(UsageError, match="expected one of 01, 02, found none"):
        model.gallery("image", raw.vector)
