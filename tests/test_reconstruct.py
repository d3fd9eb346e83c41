"""neurovis generate: pictures follow what was decoded, whoever paints them and whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from conftest import ROOT, write_prepared
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib.externals.loky import get_reusable_executor
from PIL import Image

from neurovis import train
from neurovis.cli import main
from neurovis.config import build, override, to_dict
from neurovis.decoded import Run, choose_target, others
from neurovis.errors import NeurovisError, UsageError
from neurovis.experiment import Experiment
from neurovis.generate import artefact, shards
from neurovis.generate.artefact import Journal, read
from neurovis.images import encoder
from neurovis.parallel import Workers
from neurovis.reconstruct import Reconstruct, reconstruct, seed_of
from neurovis.records import Embeddings, Prediction, Split, Stimuli
from neurovis.spaces import Space
from neurovis.store import is_complete, load_tensors, sha256, working_folder

TOWER = {"name": "conv", "n_virtual": 8, "n_harmonics": 4, "n_hidden": 16, "n_blocks": 1}
TOWER |= {"n_features": 32}
SEEDED = "fakes.painters:Seeded"
SMALL = {"n_hidden": 16, "n_blocks": 1, "n_train_steps": 20, "num_inference_steps": 3}


def paint_pictures(folder: Path) -> None:
    """Pictures whose colours are a function of the planted embeddings."""
    found, stimuli = Embeddings.read(folder / "embeddings.h5"), Stimuli.read(folder / "stimuli.csv")
    weight = np.random.default_rng(3).standard_normal((8, 27))
    for row, vector in enumerate(found.at(stimuli.image)):
        small = (255 / (1 + np.exp(-vector @ weight / 2))).reshape(3, 3, 3).astype(np.uint8)
        Image.fromarray(small).resize((24, 24)).save(stimuli.files(row)[0])
    digest = [sha256(stimuli.files(row)[0]) for row in range(len(stimuli))]
    size, things = [24] * len(stimuli), ("cat", "red fox", "magpie", "kettle", "spoon")
    said = [f"a large {things[row % 5]} by a lake" for row in range(len(stimuli))]
    replace(
        stimuli, sha256=np.array(digest), width=size, height=size, caption=np.array(said)
    ).write(folder / "stimuli.csv")


def trained(root: Path, prepared: Path, **changes) -> Path:
    fields = {
        "name": "tiny",
        "data": {"path": str(prepared)},
        "targets": {
            "image": {"encoder": "planted", "embeddings": str(prepared / "embeddings.h5")},
            "pic": {"encoder": {"name": "pixels", "side": 3}},
        },
        "brain": TOWER,
        "train": {"epochs": 25, "patience": 25, "batch_size": 40, "lr": 3e-3},
        "control": "tower",
        "device": "cpu",
    }
    return train.main(build(Experiment, {**fields, **changes}), root, quiet=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder with a prepared study, whose pictures follow the embeddings."""
    root = tmp_path_factory.mktemp("reconstruct")
    paint_pictures(
        write_prepared(
            root / "prepared" / "planted", n_train=120, n_test=14, repeats=(3, 4), noise=0.3
        )
    )
    return root


@pytest.fixture(scope="module")
def run(root) -> Path:
    return trained(root, root / "prepared" / "planted")


@pytest.fixture
def fresh(run, tmp_path) -> Path:
    """The run in a folder of its own, without reconstructions."""
    shutil.copytree(run, tmp_path / "runs" / run.name, ignore=shutil.ignore_patterns("reconstr*"))
    return tmp_path / "runs" / run.name


@pytest.fixture
def config(root):
    """Make a config of small pictures, from words as they are typed."""

    def make(*words: str) -> Reconstruct:
        prepared = root / "prepared" / "planted"
        # a generator named later would lose what its options say
        named = [f"generator={SEEDED}", *(w for w in words if w.startswith("generator="))]
        first = [named[-1], "generator.size=8", "generator.batch_size=5", "target=image"]
        first += [f"prepared={prepared}", f"embeddings={prepared}/embeddings.h5"]
        words = [w for w in words if not w.startswith("generator=")]
        return build(Reconstruct, override(to_dict(Reconstruct()), [*first, *words]))

    return make


def same(first: Path, second: Path) -> None:
    """Pictures and all that goes with them are the same, byte by byte."""
    a, b = read(first), read(second)
    assert set(a.systems) == set(b.systems)
    for name, one in a.systems.items():
        other = b.systems[name]
        for column in artefact.ROWS:
            x, y = getattr(one, column), getattr(other, column)
            assert (x is None) == (y is None)
            np.testing.assert_array_equal(x, y, err_msg=f"{name}/{column}")
    np.testing.assert_array_equal(a.seen.picture, b.seen.picture)


def likeness(found, system: str) -> float:
    """Mean correlation between painted and seen pictures over pixels, every sample by itself."""
    one = found.systems[system]
    seen = found.seen.at(one.image).reshape(len(one), -1)
    flat = one.picture.reshape(*one.picture.shape[:2], -1)
    return float(np.mean([np.corrcoef(a, b)[0, 1] for rows, b in zip(flat, seen) for a in rows]))


# ---- what is painted


def test_pictures_follow_what_was_decoded_and_the_floor_does_not(run, config):
    made = reconstruct(run, config("generator=linear"), quiet=True)
    assert made.parent == run / "reconstructions"
    assert made.name.startswith("linear-")
    assert {p.name for p in made.iterdir()} == {
        "config.yaml", "provenance.json", "pictures.h5", "cues.h5", "priors",
    }  # fmt: skip
    found = read(made)
    split = Split.read(run / "split.json")
    assert set(found.systems) == {"brain", "nearest", "ceiling", "floor"}
    assert set(found.seen.image) == set(split.test)
    for name, n, k in (("brain", 28, 2), ("nearest", 28, 1), ("floor", 28, 1), ("ceiling", 14, 1)):
        one = found.systems[name]
        assert one.picture.shape == (n, k, 8, 8, 3)
        assert set(one.image) == set(split.test)
        assert set(one.subject) == ({"all"} if name == "ceiling" else {"01", "02"})
        assert set(one.n_averaged) == ({0} if name == "ceiling" else {4})
        assert one.seconds["paint"] > 0
    like = {name: likeness(found, name) for name in found.systems}
    assert like["ceiling"] > 0.9
    assert like["brain"] > 0.4
    assert like["floor"] < 0.5 * like["brain"]
    assert like["nearest"] > like["floor"]
    before, after = found.about["gap"]["before"], found.about["gap"]["after"]
    assert after["cosine"] > 0.4
    assert after["distance"] < before["distance"]
    assert found.about["prior"]["fits"][0]["explained"] > 0.1
    assert found.about["floor"].startswith("decoded by the control")
    assert set(found.about["latency"]) == {"prior", "paint"}
    assert found.about["protocol"] == "clean"


def test_the_nearest_picture_is_a_training_picture(run, root, config):
    found = read(reconstruct(run, config("generator=linear"), quiet=True))
    prepared, split = root / "prepared" / "planted", Split.read(run / "split.json")
    from neurovis.generate.training import pictures_of

    stimuli = Stimuli.read(prepared / "stimuli.csv")
    paths = [stimuli.files(int(i))[0] for i in stimuli.index([*split.train, *split.validation])]
    known = {p.tobytes() for p in pictures_of(paths, 8)}
    assert all(row[0].tobytes() in known for row in found.systems["nearest"].picture)
    tests = {p.tobytes() for p in found.seen.picture}
    assert not tests & known


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_others_are_other_images_of_the_same_subject(data):
    names = data.draw(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=6, unique=True))
    k = data.draw(st.integers(1, 3))
    image = np.array([n for n in names for _ in range(2 * k)])
    subject = np.array(["x", "y"] * (k * len(names)))
    found = others(image, subject, data.draw(st.integers(0, 9)))
    assert (image[found] != image).all()
    assert (subject[found] == subject).all()
    assert sorted(found.tolist()) == list(range(len(image)))


def test_one_image_alone_has_no_floor():
    with pytest.raises(NeurovisError, match="leave floor out"):
        others(np.array(["a", "a"]), np.array(["1", "1"]), 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 9), st.text(max_size=4), st.text(max_size=4), st.integers(0, 9))
def test_a_seed_is_a_function_of_seed_image_subject_and_sample(seed, image, subject, sample):
    found = seed_of(seed, image, subject, sample)
    assert 0 <= found < 2**48
    assert found == seed_of(seed, image, subject, sample)
    assert found != seed_of(seed + 1, image, subject, sample)
    assert found != seed_of(seed, image, subject, sample + 1)
    assert seed_of(seed, image + "/", subject, sample) != seed_of(
        seed, image, "/" + subject, sample
    )


def test_without_a_control_the_floor_is_other_images(root, fresh, config):
    shutil.rmtree(fresh / "systems" / "shuffled")
    found = read(reconstruct(fresh, config("generator=linear"), quiet=True))
    assert found.about["floor"].startswith("decoded embeddings of other images")
    brain, floor = found.systems["brain"], found.systems["floor"]
    swapped = others(floor.image, floor.subject, 0)
    np.testing.assert_array_equal(floor.picture[:, 0], brain.picture[swapped][:, 0])


# ---- priors, spaces, targets


def test_a_generator_takes_the_embeddings_of_another_encoder(fresh, config):
    words = ["generator=fakes.painters:Colors", "generator.noise=0", "embeddings=''"]
    found = read(reconstruct(fresh, config(*words), quiet=True))
    assert found.about["takes"]["name"] == "color"
    assert found.about["target"] == "image"
    assert found.about["prior"]["fits"][0]["explained"] > 0.1
    assert likeness(found, "brain") > 0.3
    ready, one = encoder(found.about["takes"]).build(), found.systems["brain"]
    assert found.systems["nearest"].agreement.shape == (28, 1)
    with h5py.File(next(fresh.glob("reconstructions/*/cues.h5"))) as file:
        cue = file["brain/vector"][3, 0]
    said = ready.embed(ready.prepare(Image.fromarray(one.picture[3, 1]))[None])[0]
    cosine = said @ cue / np.linalg.norm(said) / np.linalg.norm(cue)
    assert one.agreement[3, 1] == pytest.approx(cosine, abs=1e-5)
    with pytest.raises(NeurovisError, match="use prior=regression"):
        reconstruct(fresh, config(*words, "prior=none"), quiet=True)
    with pytest.raises(NeurovisError, match=r"takes those of .*color"):
        reconstruct(fresh, config(*words[:2]), quiet=True)


def test_a_run_that_was_trained_on_other_weights_is_refused(fresh, config):
    """As after an update that ships new weights: its space would be applied to vectors of another one."""
    path = fresh / "spaces" / "pic.safetensors"
    space = Space.read(path)
    words = ["target=pic", "generator=fakes.painters:Colors", "embeddings=''"]
    named = {"name": "beside", "parts": [{"name": "pixels", "weights_sha256": "0" * 64}]}
    replace(space, encoder=named).write(path)
    with pytest.raises(
        NeurovisError, match=r"'pic' was learned with other weights .*train it again"
    ):
        reconstruct(fresh, config(*words), quiet=True)
    assert not list(fresh.glob("reconstructions/*/pictures.h5"))


def test_words_are_those_nearest_to_what_was_decoded_and_told_to_who_reads(fresh, config):
    towers = ["world:clip_text", "world:clip_text+caption"]
    words = ["generator=fakes.painters:Reader", "embeddings=''", f"words=[{', '.join(towers)}]"]
    folder = reconstruct(fresh, config(*words), quiet=True)
    found, run = read(folder), Run(fresh, config(*words).prepared, "")
    stimuli, train = run.stimuli, set(run.split.train)
    captions = sorted({c for i, c in zip(stimuli.image, stimuli.caption) if str(i) in train})
    with h5py.File(folder / "cues.h5") as file:
        cues = {name: file[f"{name}/vector"][:, 0] for name in ("brain", "ceiling", "floor")}
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    for name, cue in cues.items():
        one = found.systems[name]
        for tower, texts in zip(towers, (sorted(set(stimuli.concept.tolist())), captions)):
            ready = encoder(tower).build()
            said = [f"a {t.replace('_', ' ')}" if tower == towers[0] else t for t in texts]
            vector = ready.embed(np.stack([ready.prepare(text) for text in said]))
            cosine = unit(cue) @ unit(vector).T
            best = np.array(texts)[cosine.argmax(1)].tolist()
            if tower == towers[0]:
                assert one.word[:, 0].tolist() == best
                share = np.exp((cosine - cosine.max(1, keepdims=True)) / ready.temperature)
                share = 1 / share.sum(1)
                np.testing.assert_allclose(one.probability[:, 0], share, rtol=1e-3)
            else:
                assert one.caption.tolist() == best
        told = [zlib.crc32(text.encode()) % 256 for text in one.caption.tolist()]
        assert one.picture[:, 0, 0, 0, 0].tolist() == told
    assert found.about["words"] == ["world-clip_text-concept", "world-clip_text-caption"]
    for name in ("world:clip", "{name: world_clip_text, template: '{concept} {caption}'}"):
        with pytest.raises(UsageError, match="words: expected a text tower that reads concepts or"):
            reconstruct(fresh, config(*words[:2], f"words=[{name!r}]"), quiet=True)
    with pytest.raises(NeurovisError, match="take the text tower of the model whose images"):
        reconstruct(fresh, config("generator=linear", words[2]), quiet=True)


def test_without_a_prior_directions_are_taken_as_they_are(run, config):
    words = ["generator=linear", "prior=none", "baselines=[]"]
    made = reconstruct(run, config(*words), quiet=True)
    tensors = load_tensors(made / "priors" / "tower.safetensors")
    import h5py

    with h5py.File(made / "cues.h5") as file:
        cue = file["brain/vector"][:, 0]
    length = np.linalg.norm(cue - tensors["origin"].numpy(), axis=1)
    np.testing.assert_allclose(length, tensors["norms/norm"].numpy()[0], rtol=1e-4)
    said = Prediction.read(run / "systems" / "tower" / "prediction.h5")
    from neurovis.spaces import run_spaces

    ((space, _),) = run_spaces(run, "tower", "image")
    raw = Embeddings.read(config().embeddings).at(Split.read(run / "split.json").test)
    # inner products with images are those by which the run retrieves, up to the length of a row
    rows = said.n_averaged == 4
    retrieved = said.vector["image"][rows] @ space.apply(raw).T
    mine = (cue - tensors["origin"].numpy()) @ (raw - tensors["origin"].numpy()).T
    each = [np.corrcoef(a, b)[0, 1] for a, b in zip(retrieved, mine)]
    np.testing.assert_allclose(each, 1, atol=1e-4)


def test_the_target_is_the_one_that_the_generator_takes(run, root):
    found = Run(run, str(root / "prepared" / "planted"))
    pixels = encoder({"name": "pixels", "side": 3})
    assert choose_target(found, "tower", "", (pixels,)) == "pic"
    assert choose_target(found, "tower", "image", (pixels,)) == "image"
    for takes in ((), (encoder("gabor"),)):
        with pytest.raises(UsageError, match="the run has image, pic, and the generator takes"):
            choose_target(found, "tower", "", takes)
    with pytest.raises(UsageError, match="did you mean 'image'"):
        choose_target(found, "tower", "imag", ())
    with pytest.raises(UsageError, match="did you mean 'tower'"):
        choose_target(found, "towr", "image", ())
    assert choose_target(found, "ridge", "pic", ()) == "pic"


@pytest.mark.parametrize("low", ["pic", "{name: pixels, side: 2}"])
def test_a_rough_picture_is_decoded_and_kept(run, config, low):
    words = ["generator=linear", "generator.low_weight=1", f"low={low}"]
    found = read(reconstruct(run, config(*words), quiet=True))
    side = 3 if low == "pic" else 2
    for name in ("brain", "floor", "ceiling"):
        one = found.systems[name]
        assert one.low.shape == (len(one), side, side, 3)
    assert found.systems["nearest"].low is None
    assert found.about["low"]["name"] == "pixels"
    assert likeness(found, "brain") > 0.3
    assert likeness(found, "ceiling") > 0.5
    assert likeness(found, "floor") < 0.5 * likeness(found, "brain")
    plain = read(reconstruct(run, config("generator=linear"), quiet=True))
    assert not np.array_equal(plain.systems["brain"].picture, found.systems["brain"].picture)


def test_samples_of_a_diffusion_prior_differ_by_their_seeds(run, config):
    words = ["generator=linear", "samples=3", "baselines=[ceiling]"]
    words += [f"prior={json.dumps({'name': 'diffusion', **SMALL})}"]
    found = read(reconstruct(run, config(*words), quiet=True)).systems
    brain = found["brain"].picture
    assert not np.array_equal(brain[:, 0], brain[:, 1])
    assert len(np.unique(found["brain"].seed)) == found["brain"].seed.size
    more = read(reconstruct(run, config(*words, "samples=1"), quiet=True)).systems["brain"]
    np.testing.assert_array_equal(more.picture[:, 0], brain[:, 0])
    other = read(reconstruct(run, config(*words, "seed=1"), quiet=True)).systems["brain"]
    assert not np.array_equal(other.picture, brain)


# ---- other kinds of runs


def test_each_subject_has_a_prior_of_its_own(root, config):
    run = trained(root, root / "prepared" / "planted", name="each", subjects="single")
    made = reconstruct(run, config("generator=linear"), quiet=True)
    names = {p.name for p in (made / "priors").iterdir()}
    assert names == {
        "tower-01.safetensors", "tower-02.safetensors",
        "shuffled-01-dealt.safetensors", "shuffled-02-dealt.safetensors",
    }  # fmt: skip
    found = read(made)
    assert [fit["part"] for fit in found.about["prior"]["fits"]] == ["-01", "-02"]
    assert likeness(found, "brain") > 0.4
    run_ = Run(run, str(root / "prepared" / "planted"))
    decoded = run_.decoded("tower", "image", None)
    for part in decoded.parts:
        assert set(decoded.prediction.subject[part.rows]) == {part.name.strip("-")}
        assert part.held.name == f"validation{part.name}.h5"
        assert set(Prediction.read(part.held).subject) == {part.name.strip("-")}


def test_a_closed_form_says_of_each_image_what_it_learned_without_it(root, config):
    run = trained(
        root, root / "prepared" / "planted", name="closed", brain="ridge", projection="none",
        control="baseline",
    )  # fmt: skip
    made = reconstruct(run, config("generator=linear"), quiet=True)
    found = read(made)
    assert likeness(found, "brain") > 0.5
    assert likeness(found, "floor") < 0.4 * likeness(found, "brain")
    assert found.about["floor"].endswith("through the decoder's prior")
    split = Split.read(run / "split.json")
    n = len(split.train) + len(split.validation)
    (fit,) = found.about["prior"]["fits"]
    assert (fit["part"], fit["n_validation_images"]) == ("", n)
    assert fit["explained"] > 0.5
    # one fold of the cross-fit, fitted here
    from neurovis.batches import Data, Recordings
    from neurovis.brain.ridge import Ridge

    prepared = root / "prepared" / "planted"
    source = Run(run, str(prepared), str(prepared / "embeddings.h5"))
    decoded = source.decoded("tower", "image", None)
    held = source.held(decoded, decoded.parts[0], True)
    assert not set(held.image) & set(split.test)
    recordings = Recordings(Data(path=str(prepared)))
    target = source.experiment.targets["image"].model_copy(
        update={"embeddings": str(prepared / "embeddings.h5")}
    )
    truth = target.vectors(recordings.stimuli, source.split, root)
    items, images = recordings.items(source.split, "train")
    more, more_images = recordings.items(source.split, "validation")
    items, images = items + more, np.concatenate([images, more_images])
    names = np.unique(images)
    fold = (np.random.default_rng(0).permutation(len(names)) % 5)[np.searchsorted(names, images)]
    subject = np.array([s for s, _ in items])
    signal = recordings.averages(items)
    inside, asked = (subject == 1) & (fold != 2), (subject == 1) & (fold == 2)
    model = Ridge().build().fit(signal[inside], truth.at(images[inside]))
    expected = model.predict(signal[asked])
    mine = (held.subject == "02") & np.isin(held.image, images[asked])
    order = np.argsort(images[asked])
    np.testing.assert_allclose(
        held.vector["image"][mine][np.argsort(held.image[mine])],
        expected[order],
        rtol=1e-3,
        atol=1e-4,
    )
    recordings.close()


def test_rows_of_fewer_trials_can_be_painted(run, config):
    words = ["generator=linear", "n_averaged=1", "baselines=[nearest]", "samples=1"]
    found = read(reconstruct(run, config(*words), quiet=True))
    assert len(found.systems["brain"]) == 2 * 14 * 4
    assert set(found.systems["brain"].n_averaged) == {1}
    with pytest.raises(UsageError, match="expected one of 1, 2, 4"):
        reconstruct(run, config("n_averaged=3"), quiet=True)


# ---- whoever paints, and whatever happens


def test_one_process_two_and_shards_paint_the_same(fresh, config, monkeypatch, tmp_path):
    wanted = config("baselines=[ceiling]")
    alone = reconstruct(fresh, wanted, quiet=True)
    assert reconstruct(fresh, wanted, quiet=True) == alone  # complete: nothing is painted
    shutil.move(alone, tmp_path / "alone")
    monkeypatch.setattr(shards, "ALONE_SECONDS", 0.0)
    # idle processes that earlier tests left may end just when they are given work
    get_reusable_executor().shutdown(wait=True, kill_workers=True)
    both = reconstruct(fresh, wanted, workers=Workers(n_jobs=2), quiet=True)
    same(both, tmp_path / "alone")
    shutil.rmtree(both)
    for number in (3, 1, 2):
        partial = reconstruct(fresh, wanted, shard=(number, 3), quiet=True)
        assert partial == working_folder(both)
        assert not both.exists()
    made = {p: p.stat().st_mtime_ns for p in partial.glob("rows/*/*.npz")}
    monkeypatch.setattr(shards, "_paint", lambda *_: pytest.fail("painted again"))
    assert reconstruct(fresh, wanted, quiet=True) == both
    assert made
    same(both, tmp_path / "alone")


def test_more_samples_and_other_baselines_change_no_picture(run, config):
    first = read(reconstruct(run, config("samples=1", "baselines=[]"), quiet=True))
    more = read(reconstruct(run, config("samples=3", "baselines=[nearest]"), quiet=True))
    a, b = first.systems["brain"], more.systems["brain"]
    np.testing.assert_array_equal(a.picture, b.picture[:, :1])


KILLED = [sys.executable, "-m", "neurovis.cli", "generate"]


def test_a_killed_run_goes_on_and_repaints_nothing(fresh, config, tmp_path):
    wanted = config("generator=fakes.painters:Slow", "generator.noise=5", "baselines=[floor]")
    undisturbed = reconstruct(fresh, wanted, quiet=True)
    shutil.move(undisturbed, tmp_path / "undisturbed")
    words = [f"{k}={json.dumps(v)}" for k, v in to_dict(wanted).items()]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    started = subprocess.Popen(
        [*KILLED, str(fresh), *words, "--n-jobs", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    partial, kept = working_folder(undisturbed), []
    deadline = time.monotonic() + 240
    while len(kept) < 3:
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
        kept = sorted(partial.glob("rows/*/*.npz"))
    started.send_signal(signal.SIGKILL)
    started.communicate(timeout=60)
    assert started.returncode == -signal.SIGKILL
    assert not is_complete(undisturbed)
    before = {p: p.stat().st_mtime_ns for p in partial.glob("rows/*/*.npz")}
    assert len(before) >= 3
    painted = []
    plain = shards._paint
    try:
        shards._paint = lambda one: (painted.append(one), plain(one))
        assert reconstruct(fresh, wanted, quiet=True) == undisturbed
    finally:
        shards._paint = plain
    n_batches = 14 + 6  # 28 rows of two samples and 28 of one, five pictures at a time
    assert len(painted) == n_batches - len(before)
    same(undisturbed, tmp_path / "undisturbed")


@pytest.mark.parametrize("error", ["torch", "cpu", "numpy"])
def test_out_of_memory_says_what_lowers_it_and_keeps_what_is_done(fresh, config, error, tmp_path):
    words = ["generator=fakes.painters:Hungry", f"generator.error={error}", "samples=1"]
    words += ["baselines=[]", "generator.lasts=3"]
    said = r"ran out of memory while painting 5 pictures at a time, the 15 rows painted so far are kept; "
    with pytest.raises(NeurovisError, match=said + r"lower generator.batch_size \(now 5\)"):
        reconstruct(fresh, config(*words), quiet=True)
    (partial,) = (fresh / "reconstructions").glob(".*.partial")
    assert len(Journal(partial / "rows" / "brain").done()) == 15
    made = reconstruct(fresh, config(*words, "generator.batch_size=2"), quiet=True)
    assert not partial.exists()
    plain = reconstruct(fresh, config("samples=1", "baselines=[]"), quiet=True)
    np.testing.assert_array_equal(
        read(made).systems["brain"].picture, read(plain).systems["brain"].picture
    )


def test_other_errors_are_not_taken_for_memory(fresh, config):
    words = ["generator=fakes.painters:Hungry", "generator.error=other", "baselines=[]"]
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        reconstruct(fresh, config(*words), quiet=True)


def test_a_full_disk_costs_nothing_that_is_painted(fresh, config, monkeypatch):
    wanted, plain, written = config("baselines=[]"), Path.write_bytes, []

    def full(self, data):
        written.append(self)
        if len(written) > 3:
            raise OSError(28, "No space left on device")
        return plain(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    shut = re.escape("the disk (or this account's share of it) is full; nothing complete was lost")
    # fitted priors are written first
    with pytest.raises(NeurovisError, match=shut):
        reconstruct(fresh, wanted, quiet=True)
    monkeypatch.setattr(Path, "write_bytes", plain)
    (partial,) = (fresh / "reconstructions").glob(".*.partial")
    kept = len(Journal(partial / "rows" / "brain").done())
    assert kept > 0
    assert not list(partial.rglob(".*.partial"))
    assert len(read(reconstruct(fresh, wanted, quiet=True)).systems["brain"]) == 28


# ---- bad input


def test_what_does_not_fit_is_said_before_anything_is_computed(fresh, root, config, tmp_path):
    for words, said in (
        (
            ["generator=fakes.painters:Foreign"],
            "takes embeddings of 12345 dims, found 8 dims of planted",
        ),
        (["generator=fakes.painters:Absent"], "run `hf download somebody/absent"),
        (["low=gabor"], "gabor has no inverse"),
        (["low=nothing"], "'nothing' is unknown"),
        (["target=imaeg"], "did you mean 'image'"),
        (["system=towre"], "did you mean 'tower'"),
        (["embeddings=''"], "give embeddings=PATH"),
        ([f"prepared={tmp_path}"], "was not found in"),
    ):
        with pytest.raises(NeurovisError, match=re.escape(said)):
            reconstruct(fresh, config(*words), quiet=True)
    assert not list(fresh.glob("reconstructions/*-*/pictures.h5"))
    with pytest.raises(NeurovisError, match="found none; give a folder that neurovis train made"):
        reconstruct(tmp_path, config(), quiet=True)
    for shard in ((0, 2), (3, 2)):
        with pytest.raises(UsageError, match="--shard: expected I/N"):
            reconstruct(fresh, config(), shard=shard, quiet=True)


def test_another_prepared_folder_is_refused(fresh, config, tmp_path):
    other = write_prepared(tmp_path / "other", n_train=30, n_test=6, seed=5)
    with pytest.raises(NeurovisError, match="is another prepared folder than the one"):
        reconstruct(fresh, config(f"prepared={other}"), quiet=True)


def test_a_picture_that_is_gone_is_named(root, fresh, config, tmp_path):
    moved = tmp_path / "prepared" / "planted"
    shutil.copytree(root / "prepared" / "planted", moved)
    (moved / "pictures" / "concept00_000.png").unlink()
    with pytest.raises(NeurovisError, match=r"concept00_000\.png: no such picture, and 1 of 134"):
        reconstruct(fresh, config(f"prepared={moved}"), quiet=True)


def test_a_run_without_validation_says_what_is_possible(fresh, config):
    shutil.rmtree(fresh / "systems" / "tower" / "validation")
    (fresh / "systems" / "tower" / "validation.h5").unlink()
    with pytest.raises(NeurovisError, match="found none in the run; use prior=none"):
        reconstruct(fresh, config(), quiet=True)
    found = read(reconstruct(fresh, config("prior=none", "generator=linear"), quiet=True))
    assert likeness(found, "brain") > 0.3


# ---- the command


def test_the_command_paints_resumes_and_says_what_next(fresh, config, capsys):
    words = [f"{k}={json.dumps(v)}" for k, v in to_dict(config("generator=linear")).items()]
    line = ["generate", str(fresh), *words, "--n-jobs", "1"]
    assert main([*line, "--quiet", "--shard", "1/2"]) == 0
    said = capsys.readouterr()
    assert "without --shard" in said.out
    assert said.err == ""
    assert main(line) == 0
    said = capsys.readouterr()
    (made,) = (fresh / "reconstructions").iterdir()
    assert said.out == f"Reconstructions: {made}\nNext: neurovis report {fresh}\n"
    assert "batches are painted already" in said.err
    assert main(line) == 0
    assert "complete already" in capsys.readouterr().err
    stored = yaml.safe_load((made / "config.yaml").read_text())
    assert stored["prepared"] == "planted"  # no folder of one machine
    assert json.loads((made / "provenance.json").read_text())["inputs"].keys() == {
        "prediction", "embeddings",
    }  # fmt: skip


def test_the_printed_config_is_that_config(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["generator=nearest", "generator.size=64", "prior.norms=moments", "samples=3"]
    assert main(["generate", str(run), *words, "--print-config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["generator"]["size"] == 64
    assert printed["prior"] == {"name": "regression", "norms": "moments"}
    assert to_dict(build(Reconstruct, printed)) == printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generator=linaer"], "did you mean 'linear'"),
        (["generator.sise=3"], "did you mean 'size'"),
        (["sampels=3"], "did you mean 'samples'"),
        (["samples=0"], "greater than or equal to 1"),
        (["prior=difusion"], "did you mean 'diffusion'"),
        (["baselines=[cieling]"], "ceiling"),
        (["--shard", "two"], "expected I/N"),
        (["--n-jobs", "0"], "n_jobs"),
    ],
)
def test_wrong_usage_is_one_sentence_with_the_nearest_right_one(words, said, run, capsys):
    assert main(["generate", str(run), *words]) == 2
    text = capsys.readouterr().err
    assert said in text
    assert len(text.splitlines()) == 1
