"""The picture world: what it contains, that it is reproducible, and that only the concept tells."""

import hashlib
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from neurovis.errors import NeurovisError
from neurovis.world import backdrops
from neurovis.world.concepts import TRAITS, families
from neurovis.world.drawing import COLOURS, VIVID, finish, new_canvas
from neurovis.world.scenes import (
    _plural,
    _sketch,
    concept,
    concepts,
    held_out,
    render,
    sample_kin,
    sample_scene,
    semantics,
    write_pictures,
)

NAMES = [c.name for c in concepts()]
SOME = NAMES[::41]  # one or two of most families


def test_many_named_concepts_in_a_hierarchy():
    assert len(NAMES) >= 400
    assert len(set(NAMES)) == len(NAMES)
    assert all(re.fullmatch(r"[a-z][a-z -]*", name) for name in NAMES)
    assert len({c.family for c in concepts()}) >= 20
    assert len({c.superclass for c in concepts()}) >= 8
    assert min(Counter(c.family for c in concepts()).values()) >= 8
    of = {}
    for c in concepts():
        assert of.setdefault(c.family, c.superclass) == c.superclass


@pytest.mark.parametrize("family", families().values(), ids=lambda f: f.name)
def test_tables_hold_only_parameters_that_the_family_knows(family):
    for name, own in family.table.items():
        allowed = {*family.defaults, *TRAITS, "shows"}
        assert set(own) <= allowed, f"{name}: {set(own) - allowed}"
        for key, value in {**family.defaults, **own}.items():
            if key.endswith("_c"):
                assert set((VIVID if value == "vivid" else value).split()) <= set(COLOURS), name
            if key in TRAITS:
                assert isinstance(value, float), f"{name}.{key}"
    assert set(family.traits) <= set(TRAITS)


def test_held_out_is_fixed_and_spread_over_all_families():
    test = held_out()
    assert test == held_out()
    assert len(test) == len(set(test)) == 200
    assert len(NAMES) - len(test) >= 200
    assert set(test) != set(held_out(seed=1))
    size = Counter(c.family for c in concepts())
    taken = Counter(concept(name).family for name in test)
    for family, n in size.items():
        assert abs(taken[family] - 200 * n / len(NAMES)) <= 1


@given(st.integers(1, len(NAMES) - len(families())), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_held_out_gives_as_many_as_asked(n, seed):
    assert len(set(held_out(n, seed))) == n


@pytest.mark.parametrize("n", [0, -3, len(NAMES)])
def test_held_out_refuses_what_leaves_nothing(n):
    with pytest.raises(NeurovisError, match="held_out: n must be"):
        held_out(n)


def test_unknown_concept_names_the_nearest():
    with pytest.raises(NeurovisError, match="did you mean 'red fox'"):
        concept("red foxx")
    with pytest.raises(NeurovisError, match="exemplar and seed must be 0 or more, found -1"):
        sample_scene("red fox", -1)
    with pytest.raises(NeurovisError, match="16 to 4096 pixels, found 4"):
        render(sample_scene("red fox", 0), 4)


PRINT = """
import hashlib
from neurovis.world.scenes import render, sample_scene, semantics
scenes = [sample_scene(name, 3, 1) for name in {names!r}]
digest = hashlib.sha256(b"".join(render(s, 48).tobytes() for s in scenes))
digest.update(repr([(s.caption, s.attributes) for s in scenes]).encode())
print(digest.hexdigest())
"""


def test_another_process_draws_the_same_pictures():
    names = SOME[:6]
    scenes = [sample_scene(name, 3, 1) for name in names]
    here = hashlib.sha256(b"".join(render(s, 48).tobytes() for s in scenes))
    here.update(repr([(s.caption, s.attributes) for s in scenes]).encode())
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": "7"}
    out = subprocess.run(
        [sys.executable, "-c", PRINT.format(names=names)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert out.stdout.strip() == here.hexdigest()


def test_importing_the_world_loads_no_heavy_package():
    check = (
        "import sys, neurovis.world.scenes; "
        "print(sorted({'torch', 'mne', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    out = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, env=environment
    )
    assert out.stdout.strip() == "[]"


def test_every_concept_draws_and_differs_from_all_others():
    seen = {}
    for name in NAMES:
        picture = render(sample_scene(name, 0), 32)
        assert picture.shape == (32, 32, 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 12, f"{name} is nearly blank"
        other = seen.setdefault(picture.tobytes(), name)
        assert other == name, f"{name} looks like {other}"


def test_exemplars_and_seeds_differ():
    for name in SOME:
        pictures = [render(sample_scene(name, e, s), 32) for e, s in ((0, 0), (1, 0), (0, 1))]
        assert len({p.tobytes() for p in pictures}) == 3


@given(st.sampled_from(NAMES), st.integers(0, 200))
@settings(max_examples=30, deadline=None)
def test_a_scene_is_the_same_picture_at_every_size(name, exemplar):
    scene = sample_scene(name, exemplar)
    small = render(scene, 96).astype(float)
    large = Image.fromarray(render(scene, 192)).resize((96, 96), Image.Resampling.BOX)
    large = np.asarray(large, float)
    assert np.abs(small - large).mean() < 9
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.95


def test_objects_fill_a_fair_part_of_the_frame():
    """Against the same place without the object, a fair share of pixels changes."""
    shares = []
    for name in NAMES[::5]:
        scene = sample_scene(name, 2)
        before = render(scene, 48).astype(int)
        changed = np.abs(before - place_alone(scene)).sum(2) > 24
        shares.append(changed.mean())
    assert np.median(shares) > 0.15
    assert np.quantile(shares, 0.05) > 0.05


def place_alone(scene, size=48):
    """The scene's place painted with the same chance, without objects."""
    a = scene.attributes
    light = backdrops.LIGHTS[a["light"]]
    _, rng = _sketch(scene)
    canvas, factor = new_canvas(size)
    backdrops.paint_backdrop(canvas, a["background"], a["light"], rng)
    return finish(canvas, factor, [], a["light_side"], light.tint, light.dim).astype(int)


def test_how_a_thing_is_shown_does_not_depend_on_what_it_is():
    """Nuisances explain no more of the concept than chance: one-way F statistics stay near 1."""
    names, n = NAMES[::4], 40
    scenes = [[sample_scene(name, e) for e in range(n)] for name in names]
    k = len(names)
    for key in (
        "hue",
        "colour",
        "size",
        "x",
        "y",
        "pose",
        "tilt",
        "mirrored",
        "count",
        "light_side",
    ):
        values = np.array([[s.attributes[key] for s in row] for row in scenes], float)
        between = n * values.mean(1).var(ddof=1)
        within = values.var(axis=1, ddof=1).mean()
        spread = np.sqrt(2 / (k - 1) + 2 / (k * (n - 1)))
        assert abs(between / within - 1) < 4.5 * spread, key
    for key, known in (("background", backdrops.BACKDROPS), ("light", backdrops.LIGHTS)):
        labels = list(known)
        table = np.zeros((k, len(labels)))
        for i, row in enumerate(scenes):
            for s in row:
                table[i, labels.index(s.attributes[key])] += 1
        expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
        assert (table.sum(0) > 0).all()
        chi2, dof = ((table - expected) ** 2 / expected).sum(), (k - 1) * (len(labels) - 1)
        assert abs(chi2 - dof) < 4.5 * np.sqrt(2 * dof), key


def test_captions_say_what_is_there():
    for name in NAMES:
        for exemplar in range(4):
            scene = sample_scene(name, exemplar)
            a = scene.attributes
            if a["count"] == 1:
                assert name in scene.caption
            else:
                assert scene.caption.split()[0] == {2: "two", 3: "three", 4: "four"}[a["count"]]
                assert _plural(name) in scene.caption
            assert backdrops.BACKDROPS[a["background"]][1] in scene.caption
            assert scene.caption.endswith(backdrops.LIGHTS[a["light"]].phrase)
            assert ("facing left" in scene.caption) <= bool(a["mirrored"])


def test_kin_have_the_parts_of_two_concepts_and_no_name():
    members = [c for c in concepts() if c.family == "bird"][:4]
    names = tuple(c.name for c in members)
    scene = sample_kin("bird", names, 3)
    assert scene == sample_kin("bird", names, 3)
    assert scene.concept == "kind of bird"
    assert "of bird" in scene.caption
    assert all(name not in scene.caption for name in names)
    parts = [
        {k for k, v in scene.known.parameters.items() if c.parameters.get(k) == v} for c in members
    ]
    whole = set(scene.known.parameters)
    assert any(one | other == whole for one in parts for other in parts)
    assert len({str(sample_kin("bird", names, k).known.parameters) for k in range(9)}) > 4
    assert render(scene, 32).std() > 5
    with pytest.raises(NeurovisError, match=r"expected concepts of the family fish, found \['"):
        sample_kin("fish", names, 0)


def test_plurals():
    known = {
        "red fox": "red foxes", "mouse": "mice", "clownfish": "clownfish", "pony": "ponies",
        "vase of flowers": "vases of flowers", "snowy owl": "snowy owls", "scissors": "scissors",
        "tomato": "tomatoes", "loaf of bread": "loaves of bread", "school bus": "school buses",
        "donkey": "donkeys", "wine glass": "wine glasses", "die": "dice",
    }  # fmt: skip
    assert {name: _plural(name) for name in known} == known


def test_meaning_follows_the_hierarchy():
    codes = np.stack([semantics(name) for name in NAMES])
    assert codes.shape == (len(NAMES), 32)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(codes.std(0), 1, atol=1e-4)
    family = np.array([c.family for c in concepts()])
    kind = np.array([c.superclass for c in concepts()])
    alike = np.corrcoef(codes)
    same = family[:, None] == family
    related = (kind[:, None] == kind) & ~same
    np.fill_diagonal(same, False)
    assert alike[same].mean() > alike[related].mean() + 0.2
    assert alike[related].mean() > alike[kind[:, None] != kind].mean() + 0.1
    np.fill_diagonal(alike, -1)
    assert alike.max() < 0.9999, "two concepts mean the same"
    assert np.linalg.matrix_rank(codes) == 32


def test_meaning_cannot_be_changed_by_a_caller():
    semantics("oak")[:] = 0
    assert np.abs(semantics("oak")).max() > 0


def features(picture):
    """Orientation and colour statistics over a coarse grid: what a simple observer sees."""
    grey = picture.mean(2)
    dy, dx = np.gradient(grey)
    angle = ((np.arctan2(dy, dx) % np.pi) / np.pi * 8).astype(int) % 8
    energy = np.hypot(dx, dy)
    cells = []
    for rows in np.array_split(np.arange(len(grey)), 4):
        for columns in np.array_split(np.arange(len(grey)), 4):
            at = np.ix_(rows, columns)
            cells.append(np.bincount(angle[at].ravel(), energy[at].ravel(), 8))
            cells.append(picture[at].mean((0, 1)))
    return np.concatenate(cells)


def test_simple_features_tell_families_apart():
    """Nearest class mean on ridge-whitened features: far above chance, so pictures are learnable."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.preprocessing import StandardScaler

    chosen = ["bird", "tree", "car", "insect", "garment", "table or lamp"]
    train, test = [], []
    for label, family in enumerate(chosen):
        for c in [c for c in concepts() if c.family == family][:10]:
            for e in range(8):
                x = features(render(sample_scene(c.name, e), 48).astype(float))
                (train if e < 6 else test).append((x, label))
    scale = StandardScaler().fit([x for x, _ in train])
    model = RidgeClassifier(alpha=300.0).fit(
        scale.transform([x for x, _ in train]), [y for _, y in train]
    )
    guess = model.predict(scale.transform([x for x, _ in test]))
    per_family = [np.mean(guess[[y == k for _, y in test]] == k) for k in range(len(chosen))]
    assert np.mean(per_family) > 2.2 / len(chosen)


def test_write_pictures_resumes_and_refuses(tmp_path):
    plan = [("red fox", 0, "train"), ("red fox", 1, "train"), ("double-decker bus", 4, "test")]
    stimuli = write_pictures(tmp_path, plan, size=32, quiet=True)
    assert list(stimuli.image) == ["red_fox_000", "red_fox_001", "double-decker_bus_004"]
    assert stimuli.path[0] == ("mammal/red_fox_000.png",)
    assert list(stimuli.set) == ["train", "train", "test"]
    assert "red fox" in stimuli.caption[0]
    files = [stimuli.files(i)[0] for i in range(3)]
    for file, (name, exemplar, _), digest in zip(files, plan, stimuli.sha256, strict=True):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
        with Image.open(file) as picture:
            np.testing.assert_array_equal(picture, render(sample_scene(name, exemplar), 32))
    whole, untouched = files[0].read_bytes(), files[1].stat().st_mtime_ns
    files[0].write_bytes(whole[: len(whole) // 2])  # as a full disk would leave it
    files[2].unlink()
    again = write_pictures(tmp_path, plan, size=32, quiet=True)
    assert list(again.sha256) == list(stimuli.sha256)
    assert files[0].read_bytes() == whole
    assert files[1].stat().st_mtime_ns == untouched
    assert not list(tmp_path.rglob(".*"))
    larger = write_pictures(tmp_path, plan, size=48, quiet=True)  # another size is drawn anew
    with Image.open(larger.files(1)[0]) as picture:
        assert picture.size == (48, 48)
    reseeded = write_pictures(tmp_path, plan, size=48, quiet=True, seed=5)
    assert list(reseeded.sha256) != list(larger.sha256)
    with pytest.raises(NeurovisError, match="'red_fox_000' is in the plan more than once"):
        write_pictures(tmp_path, [plan[0], plan[0]], quiet=True)
    with pytest.raises(NeurovisError, match="the plan is empty"):
        write_pictures(tmp_path, [], quiet=True)
    with pytest.raises(NeurovisError, match="did you mean"):
        write_pictures(tmp_path, [("oack", 0, "train")], quiet=True)


def test_two_processes_write_what_one_writes(tmp_path):
    plan = [(name, 0, "train") for name in SOME]
    one = write_pictures(tmp_path / "one", plan, size=32, quiet=True)
    two = write_pictures(tmp_path / "two", plan, size=32, n_jobs=2, quiet=True)
    assert list(one.sha256) == list(two.sha256)


def test_a_picture_costs_little_more_than_its_pixels():
    """Drawing 96 px stays within a small multiple of what Pillow takes to enlarge one."""
    scenes = [sample_scene(name, 0) for name in NAMES[::8]]
    canvas = Image.effect_noise((96, 96), 50)

    def seconds(work):
        start = time.process_time()
        work()
        return time.process_time() - start

    def reference():
        for _ in scenes:
            canvas.resize((384, 384), Image.Resampling.BICUBIC)

    def drawing():
        for scene in scenes:
            render(scene, 96)

    drawing()
    ratio = min(seconds(drawing) for _ in range(3)) / min(seconds(reference) for _ in range(3))
    assert ratio < 12
