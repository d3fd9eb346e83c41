"""The file of reconstructions: what goes in comes out, what is damaged is named, nothing is lost."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurovis.errors import NeurovisError
from neurovis.generate.artefact import (
    SYSTEMS,
    Journal,
    Painted,
    Reconstructions,
    Seen,
    Table,
    gather,
    opened,
    read,
    write,
)


def painted(rng, n=5, k=2, side=4, extra=True) -> Painted:
    more = {}
    if extra:
        more["low"] = rng.integers(0, 256, (n, 3, 5, 3), np.uint8)
        more["caption"] = [f"a thing é {i}" for i in range(n)]
        more["agreement"] = rng.uniform(-1, 1, (n, k))
    return Painted(
        rng.integers(0, 256, (n, k, side, side, 3), np.uint8),
        [f"image{i % 3}" for i in range(n)],
        [f"{i % 2}" for i in range(n)],
        rng.integers(1, 9, n),
        rng.integers(0, 2**62, (n, k)),
        **more,
        seconds={"paint": 1.5},
    )


def seen(rng) -> Seen:
    pictures = rng.integers(0, 256, (3, 6, 6, 3), np.uint8)
    return Seen(pictures, [f"image{i}" for i in range(3)])


def same(a: Painted, b: Painted) -> None:
    for field in dataclasses.fields(Painted):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert (x is None) == (y is None), field.name
        np.testing.assert_array_equal(x, y, err_msg=field.name)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sets(st.sampled_from(SYSTEMS), min_size=1), st.booleans())
def test_what_is_written_is_read(tmp_path_factory, seed, systems, extra):
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("a") / "pictures.h5"
    made = {name: painted(rng, rng.integers(1, 6), extra=extra) for name in systems}
    found = Reconstructions(made, seen(rng), {"generator": "x", "gap": {"before": 1.0}})
    write(path, found)
    back = read(path.parent)
    assert back.about == found.about
    assert set(back.systems) == systems
    for name in systems:
        same(back.systems[name], made[name])
    np.testing.assert_array_equal(back.seen.picture, found.seen.picture)
    ids = ["image2", "image0"]
    np.testing.assert_array_equal(back.seen.at(ids), found.seen.picture[[2, 0]])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_rows_kept_in_any_order_and_size_are_the_rows_written_at_once(
    tmp_path_factory, seed, sizes
):
    rng = np.random.default_rng(seed)
    folder, n = tmp_path_factory.mktemp("b"), sum(sizes)
    one, journal = painted(rng, n), Journal(folder / "brain")
    order = np.split(rng.permutation(n), np.cumsum(sizes)[:-1])
    names = ("picture", "low", "caption", "agreement")
    for rows in order:
        journal.add(rows, 0.25, **{name: getattr(one, name)[rows] for name in names})
    np.testing.assert_array_equal(journal.done(), np.arange(n))
    table = Table(one.image, one.subject, one.n_averaged, one.seed)
    gather(folder / "p.h5", {"brain": (table, journal, {"load": 2.0})}, seen(rng), {"a": 1})
    back = read(folder / "p.h5").systems["brain"]
    same(dataclasses.replace(back, seconds=one.seconds), one)
    assert back.seconds == {"load": 2.0, "paint": 0.25 * len(sizes)}


def test_pictures_stay_on_disk_one_row_a_chunk(tmp_path):
    rng = np.random.default_rng(0)
    one = painted(rng)
    write(tmp_path / "pictures.h5", Reconstructions({"brain": one}, seen(rng)))
    with opened(tmp_path) as found:
        picture = found.systems["brain"].picture
        assert isinstance(picture, h5py.Dataset)
        assert picture.chunks == (1, *one.picture.shape[1:])
        same(found.systems["brain"].take([3, 0, 3]), one.take([3, 0, 3]))


def test_a_damaged_batch_is_painted_again_and_a_missing_one_is_named(tmp_path):
    rng = np.random.default_rng(1)
    one, journal = painted(rng, 4), Journal(tmp_path / "brain")
    for rows in ([0, 1], [2, 3]):
        journal.add(np.array(rows), picture=one.picture[rows])
    path = sorted(journal.folder.glob("*.npz"))[1]
    path.write_bytes(path.read_bytes()[:-100])
    assert journal.done().tolist() == [0, 1]
    assert not path.exists()
    table = Table(one.image, one.subject, one.n_averaged, one.seed)
    with pytest.raises(NeurovisError, match=r"2 of 4 rows of brain are not painted"):
        gather(tmp_path / "p.h5", {"brain": (table, journal, {})}, seen(rng), {})
    assert not (tmp_path / "p.h5").exists()
    journal.add(np.array([2, 3]), picture=one.picture[2:, :, :2])
    with pytest.raises(NeurovisError, match="one size"):
        gather(tmp_path / "p.h5", {"brain": (table, journal, {})}, seen(rng), {})


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(tmp_path, share):
    rng = np.random.default_rng(2)
    path = tmp_path / "pictures.h5"
    write(path, Reconstructions({"brain": painted(rng)}, seen(rng)))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(NeurovisError, match=r"pictures\.h5.*(truncated|damaged)"):
        read(path)


def test_the_pictures_of_a_run_are_not_its_reconstructions(tmp_path):
    from neurovis.store import new_h5

    with new_h5(tmp_path / "pictures.h5", "neurovis-pictures") as file:
        file["jpeg"] = np.zeros(3)
    with pytest.raises(NeurovisError, match="expected reconstructions"):
        read(tmp_path)
    with pytest.raises(NeurovisError, match="no such file"):
        read(tmp_path / "absent.h5")


def test_what_does_not_fit_is_refused(tmp_path):
    rng = np.random.default_rng(3)
    one = painted(rng)
    for change, words in (
        ({"picture": one.picture.astype(np.float32)}, "uint8"),
        ({"picture": one.picture[:, 0]}, "sample"),
        ({"image": one.image[1:]}, "Painted.image"),
        ({"seed": one.seed[:, :1]}, "Painted.seed"),
        ({"low": one.low[1:]}, "Painted.low"),
        ({"agreement": np.full((5, 2), np.nan)}, "NaN"),
    ):
        with pytest.raises(NeurovisError, match=words):
            dataclasses.replace(one, **change)
    with pytest.raises(NeurovisError, match="did you mean 'brain'"):
        Reconstructions({"brian": one}, seen(rng))
    with pytest.raises(NeurovisError, match="'image2', expected that picture"):
        Reconstructions({"brain": one}, Seen(seen(rng).picture[:2], ["image0", "image1"]))
    with pytest.raises(NeurovisError, match="each once"):
        Seen(seen(rng).picture, ["a", "a", "b"])
    with pytest.raises(NeurovisError, match="did you mean 'image0'"):
        seen(rng).at(["imag0"])
    with pytest.raises(NeurovisError, match="is NaN"):
        write(tmp_path / "p.h5", Reconstructions({"brain": one}, seen(rng), {"x": float("nan")}))
    assert not list(tmp_path.iterdir())
