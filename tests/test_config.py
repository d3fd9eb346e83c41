"""Configs: families, nearest right names, fingerprints, overrides, YAML."""

from __future__ import annotations

import json
import string
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pydantic
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from neurovis import listing
from neurovis.brain.base import BrainEncoder
from neurovis.config import (
    Config,
    Family,
    build,
    components,
    fingerprint,
    how,
    load_yaml,
    override,
    resolve,
    to_dict,
    write_yaml,
)
from neurovis.errors import UsageError
from neurovis.experiment import Experiment
from neurovis.losses.base import Loss


class Shelf(Family, family="shelves of the tests"):
    """A family of the tests."""


class Box(Shelf, name="box"):
    """A component with one field of each kind."""

    size: pydantic.PositiveInt = 3
    colours: tuple[str, ...] = ("red",)
    device: str = how("cpu")


class Stack(Shelf, name="stack"):
    """A component that holds others."""

    top: Shelf = pydantic.Field("box", validate_default=True)
    rest: tuple[Shelf, ...] = ()


class Nameless(Shelf):
    """A component from outside, found by its module."""

    weight: float = 1.0


NEEDED = {
    "images": {
        "model": "resnet18", "encoder": "gabor", "parts": ["gabor", "color"], "source": "org/repo"
    },
    "readouts": {"content": "about"},
}  # fmt: skip


def every_component() -> list:
    families = [listing.family(name) for name in listing.HOME]
    return [
        pytest.param(root, name, id=f"{root.family}-{name}")
        for root in families
        for name in components(root)
    ]


def made(root, name):
    """A component with its defaults, and a value for each field that has none."""
    fields = components(root)[name].model_fields
    needed = {k: NEEDED[root.family][k] for k, field in fields.items() if field.is_required()}
    return resolve(root, {"name": name, **needed})


@pytest.mark.parametrize(("root", "name"), every_component())
def test_every_component_comes_back_from_its_plain_data(root, name):
    component = made(root, name)
    data = to_dict(component)
    assert data["name"] == name
    assert json.loads(json.dumps(data)) == data
    assert resolve(root, data) == component
    assert fingerprint(resolve(root, data)) == fingerprint(component)


@pytest.mark.parametrize(("root", "name"), every_component())
def test_every_component_is_documented(root, name):
    cls = components(root)[name]
    assert cls.__doc__
    assert cls.__doc__.strip() != (root.__doc__ or "").strip()
    # one word per field, in its own docstring or in those of the classes that it extends
    text = " ".join(base.__doc__ or "" for base in cls.__mro__ if issubclass(base, Family))
    for field in cls.model_fields:
        assert field in text, f"{cls.__name__}.{field} is not in the docstring"


@pytest.mark.parametrize(("root", "name"), every_component())
def test_a_misspelt_field_of_any_component_is_refused(root, name):
    with pytest.raises(UsageError, match="option 'surely_not_a_field' is unknown"):
        resolve(root, {"name": name, "surely_not_a_field": 1})


def test_components_are_found_by_name_mapping_or_themselves():
    assert resolve(Shelf, "box") == Box()
    assert resolve(Shelf, {"name": "box", "size": 5}) == Box(size=5)
    box = Box(size=2)
    assert resolve(Shelf, box) is box
    assert Stack(top={"name": "box", "size": 7}).top.size == 7
    assert Stack(rest=["box", {"name": "stack"}]).rest == (Box(), Stack())
    assert list(components(Shelf)) == ["box", "stack"]


def test_configs_do_not_change():
    with pytest.raises(pydantic.ValidationError):
        Box().size = 4


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("bix", "'bix' is unknown; did you mean 'box'. Known: box, stack"),
        ({"name": "box", "sizze": 4}, "Box option 'sizze' is unknown; did you mean 'size'"),
        ({"name": "stack", "top": {"name": "box", "colour": 1}}, "did you mean 'colours'"),
        ({"name": "stack", "top": "stick"}, "did you mean 'stack'"),
        ({"name": "box", "size": "big"}, r"Box\.size: .*integer.*found 'big'"),
        ({"name": "box", "size": 0}, r"Box\.size: .*greater than 0, found 0"),
        ({"size": 4}, "a mapping with a 'name'"),
        (7, "a name or a mapping, found 7"),
        (["box"], "a name or a mapping"),
        ("test_config:Stacks", "expected a subclass"),
        ("not_a_package.at_all:Thing", "cannot be imported"),
        ("pathlib.no:Path", "cannot be imported"),
        ("os.path:join", "is no Shelf"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest(value, said):
    if value == "test_config:Stacks":
        value = "neurovis.errors:UsageError"
    with pytest.raises(UsageError, match=said):
        resolve(Shelf, value)


def test_a_class_from_outside_the_package_is_named_by_its_module(tmp_path, monkeypatch):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "shelves.py").write_text(
        "from test_config import Shelf\n\n\n"
        "class Mine(Shelf):\n    size: int = 1\n\n\n"
        "class Named(Shelf, name='named'):\n    size: int = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    mine = resolve(Shelf, {"name": "outside.shelves:Mine", "size": 4})
    assert mine.size == 4
    assert to_dict(mine) == {"name": "outside.shelves:Mine", "size": 4}
    assert resolve(Shelf, to_dict(mine)) == mine
    assert Stack(top=to_dict(mine)).top == mine
    named = resolve(Shelf, "outside.shelves:Named")
    assert to_dict(named)["name"] == "named"
    Shelf.members.pop("named")


def test_a_nameless_component_can_be_made():
    assert Nameless(weight=2).weight == 2
    assert resolve(Shelf, to_dict(Nameless(weight=2))) == Nameless(weight=2)


def test_a_name_is_taken_once():
    with pytest.raises(UsageError, match="the name 'box' is taken"):

        class Other(Shelf, name="box"):
            """Another box."""

    assert components(Shelf)["box"] is Box


# ---- fingerprints


def test_a_fingerprint_sees_what_and_not_how():
    assert fingerprint(Box()) == fingerprint(Box(device="cuda"))
    assert fingerprint(Box()) != fingerprint(Box(size=4))
    assert fingerprint(Stack(top=Box(device="x"))) == fingerprint(Stack())
    assert fingerprint(Stack(top=Box(size=9))) != fingerprint(Stack())
    assert fingerprint(Stack(rest=("box",))) != fingerprint(Stack())
    assert set(fingerprint(Box())) <= set(string.hexdigits)
    assert len(fingerprint(Box())) == 12


HOW = ("device", "precision", "compile", "data.path", "data.memory", "tensorboard")


def every_field() -> list:
    """Each field of an experiment and its sections, with another valid value."""
    other = {
        "brain": "braindecode",
        "loss": "clip",
        "baseline": {"name": "ridge", "n_penalties": 3},
        "targets": {"image": {"encoder": "hog"}},
        "predict.repeats": (2,),
        "data.subjects": ("07",),
        "data.tmin": 0.1,
        "data.tmax": 0.2,
        "data.sessions": 1,
        "data.n_train_images": 5,
        "train.average": "all",
        "train.augment": ("smooth",),
        "subjects": "single",
        "protocol": "last",
        "version": 0,
    }
    default = Experiment()
    found = []
    for name in Experiment.model_fields:
        section = getattr(default, name)
        inner = type(section).model_fields if name in ("data", "train", "predict") else {}
        for key in [f"{name}.{k}" for k in inner] or [name]:
            found.append(pytest.param(key, other.get(key), id=key))
    return found


@pytest.mark.parametrize(("key", "value"), every_field())
def test_every_option_of_an_experiment_is_fingerprinted_unless_it_says_how(key, value):
    default = Experiment()
    owner: Any = default
    *parents, last = key.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    choices = get_args(type(owner).model_fields[last].annotation)
    choices = [word for one in choices for word in get_args(one) or (one,)]
    old = getattr(owner, last)
    if value is None and isinstance(old, str) and old in choices:
        value = next(choice for choice in choices if choice != old)
    elif value is None:
        value = (
            old + "x" if isinstance(old, str) else old / 2 if isinstance(old, float) else old + 1
        )
        value = 0.25 if value == 0 and isinstance(old, float) else value
    data: Any = {last: value}
    for parent in reversed(parents):
        data = {parent: data}
    changed = build(Experiment, data)
    extra = type(owner).model_fields[last].json_schema_extra
    is_how = bool(extra and extra.get("how"))
    assert is_how == (key in HOW)
    assert (fingerprint(changed) == fingerprint(default)) == is_how


def test_long_arrays_are_fingerprinted_whole():
    first = np.array([f"image {i}" for i in range(5000)])
    second = first.copy()
    second[2500] = "another"
    assert fingerprint(first) != fingerprint(second)
    assert fingerprint(first) == fingerprint(first.tolist())
    assert fingerprint(np.float64(0.5)) == fingerprint(0.5)
    assert fingerprint(Path("a") / "b") == fingerprint("a/b")


def test_what_has_no_plain_form_is_no_part_of_a_fingerprint():
    with pytest.raises(TypeError):
        fingerprint(object())


def test_fingerprints_are_the_same_in_every_process():
    code = "from neurovis.config import fingerprint; print(fingerprint({'b': 1, 'a': {2.5: [3, 'é']}}))"
    run = [sys.executable, "-c", code]
    found = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.strip() == fingerprint({"a": {2.5: (3, "é")}, "b": 1})


# ---- YAML and overrides

keys = st.text(string.ascii_letters, min_size=1, max_size=5)
plain = st.none() | st.booleans() | st.integers() | st.text(string.printable, max_size=5)
trees = st.dictionaries(keys, plain | st.dictionaries(keys, plain, max_size=3), max_size=4)


@given(trees)
def test_yaml_comes_back_as_it_was(tree):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        write_yaml(path, tree)
        assert load_yaml(path) == tree


@given(trees, keys, keys, st.integers())
def test_overrides_reach_any_depth_and_leave_the_input(tree, first, second, value):
    before = json.dumps(tree)
    place = tree.get(first)
    if place is None or isinstance(place, dict | str):
        done = override(tree, [f"{first}.{second}={value}"])
        assert done[first][second] == value
        if isinstance(place, str):
            assert done[first]["name"] == (value if second == "name" else place)
    else:
        with pytest.raises(UsageError, match="holds a value, not options"):
            override(tree, [f"{first}.{second}={value}"])
    assert json.dumps(tree) == before


def test_override_values_are_yaml():
    done = override({}, ["a=1e-3", "b=[1, 2]", "c={x: 1}", "d=no thing", "e=", "f=a=b", "g=true"])
    assert done["b"] == [1, 2]
    assert done["c"] == {"x": 1}
    assert done["d"] == "no thing"
    assert done["e"] is None
    assert done["f"] == "a=b"
    assert done["g"] is True
    assert build(Experiment, override({}, ["train.lr=1e-3"])).train.lr == 1e-3


@pytest.mark.parametrize("word", ["train.epochs", "=5", "epochs 5", "a=[1, 2"])
def test_overrides_that_are_none_are_refused(word):
    with pytest.raises(UsageError, match="override"):
        override({}, [word])


def test_yaml_files_that_are_none_are_refused(tmp_path):
    path = tmp_path / "e.yaml"
    with pytest.raises(UsageError, match="no such file"):
        load_yaml(path)
    path.write_text("a: 1\nb: [1, 2\n")
    with pytest.raises(UsageError, match="not valid YAML at line 3"):
        load_yaml(path)
    path.write_text("- a\n- b\n")
    with pytest.raises(UsageError, match="expected a mapping of options, found list"):
        load_yaml(path)
    path.write_bytes(b"name: f\xe9t\xe9\n")
    with pytest.raises(UsageError, match="not valid YAML"):
        load_yaml(path)
    path.write_text("a: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(UsageError, match="not valid YAML"):
        load_yaml(path)


def test_experiments_refuse_what_does_not_exist():
    for data, said in [
        ({"traain": {}}, "Experiment option 'traain' is unknown; did you mean 'train'"),
        ({"train": {"epoch": 3}}, "Train option 'epoch' is unknown; did you mean 'epochs'"),
        ({"brain": "convs"}, "brain 'convs' is unknown; did you mean 'conv'"),
        ({"loss": {"name": "clip_mse", "weigght": 1}}, "did you mean 'weight'"),
        ({"train": {"epochs": 0}}, r"Experiment\.train\.epochs: .*greater than 0"),
        ({"version": 2}, "version 2, this neurovis reads up to 1"),
        ({"targets": {"image": {"encoder": "hog", "center": 1}}}, "did you mean 'centre'"),
        ({"loss": {"name": "sum", "parts": ["clip"], "weights": [1, 1]}}, "one weight per part"),
    ]:
        with pytest.raises(UsageError, match=said):
            build(Experiment, data)
    assert build(Experiment, {"targets": {"image": "hog"}}).targets["image"].encoder == "hog"


def test_families_do_not_share_their_components():
    assert not set(Loss.members.values()) & set(BrainEncoder.members.values())
    assert Config not in Loss.members.values()
