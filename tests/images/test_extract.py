"""Embedding a whole set of stimuli: once, resumable, and never a wrong picture."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from PIL import Image

from neurovis.errors import NeurovisError
from neurovis.images import embed, encoder, extract, open_picture
from neurovis.records import Embeddings, Stimuli
from neurovis.store import sha256


def write_stimuli(folder, n=12, checksums=True, seed=0):
    rng = np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True)
    for i in range(n):
        pixels = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48, 40)).save(folder / "pictures" / f"{i:02d}.png")
    paths = [f"pictures/{i:02d}.png" for i in range(n)]
    sha = [sha256(folder / p) if checksums else "" for p in paths]
    images = [f"thing_{i:02d}" for i in range(n)]
    stimuli = Stimuli(images, paths, sha, [48] * n, [40] * n, ["thing"] * n, ["train"] * n)
    stimuli.write(folder / "stimuli.csv")
    return Stimuli.read(folder / "stimuli.csv")


@pytest.fixture
def count(monkeypatch):
    """Files opened by `embed`, in order."""
    opened = []

    def counting(data, name):
        opened.append(name.name)
        return open_picture(data, name)

    monkeypatch.setattr(extract, "open_picture", counting)
    return opened


def test_vectors_are_the_encoder_s(tmp_path):
    stimuli = write_stimuli(tmp_path)
    folder = embed("gabor+color", tmp_path / "stimuli.csv", tmp_path, batch_size=5, quiet=True)
    assert folder.parent == tmp_path / "embeddings"
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.yaml", "embeddings.h5", "provenance.json",
    ]  # fmt: skip
    found = Embeddings.read(folder / "embeddings.h5")
    built = encoder("gabor+color").build()
    images = np.stack([built.prepare(open_picture(stimuli.files(i)[0])) for i in range(12)])
    np.testing.assert_array_equal(found.vector, built.embed(images))
    np.testing.assert_array_equal(found.image, stimuli.image)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert found.encoder == config
    config.pop("weights_sha256", None)
    assert encoder(config) == encoder("gabor+color")


def test_batch_size_and_checksums_do_not_matter(tmp_path):
    with_sums, without = (write_stimuli(tmp_path / str(c), checksums=c) for c in (True, False))
    one = embed("pixels", with_sums, tmp_path / "a", batch_size=1, quiet=True)
    other = embed("pixels", without, tmp_path / "b", batch_size=7, quiet=True)
    assert one.name == other.name
    rows = [Embeddings.read(f / "embeddings.h5").vector for f in (one, other)]
    np.testing.assert_array_equal(*rows)


def test_nothing_is_run_twice(tmp_path, count):
    stimuli = write_stimuli(tmp_path)
    first = embed("pixels", stimuli.take(range(8)), tmp_path, quiet=True)
    assert len(count) == 8
    assert embed("pixels", stimuli.take(range(8)), tmp_path, quiet=True) == first
    assert len(count) == 8
    second = embed("pixels", stimuli, tmp_path, quiet=True)
    assert sorted(count[8:]) == [f"{i:02d}.png" for i in range(8, 12)]
    fresh = embed("pixels", stimuli, tmp_path / "fresh", quiet=True)
    rows = [Embeddings.read(f / "embeddings.h5").vector for f in (second, fresh)]
    np.testing.assert_array_equal(*rows)
    # another encoder shares nothing
    del count[:]
    embed({"name": "pixels", "side": 4}, stimuli, tmp_path, quiet=True)
    assert len(count) == 12


def test_equal_pictures_under_two_ids_are_run_once(tmp_path, count):
    stimuli = write_stimuli(tmp_path, n=3)
    shutil.copy(tmp_path / "pictures/00.png", tmp_path / "pictures/copy.png")
    twice = Stimuli(
        ["a", "b"], ["pictures/00.png", "pictures/copy.png"], ["", ""],
        [48] * 2, [40] * 2, ["x"] * 2, ["train"] * 2, folder=stimuli.folder,
    )  # fmt: skip
    found = Embeddings.read(embed("pixels", twice, tmp_path, quiet=True) / "embeddings.h5")
    assert len(count) == 1
    np.testing.assert_array_equal(found.vector[0], found.vector[1])


def test_a_category_is_the_mean_of_its_files(tmp_path):
    single = write_stimuli(tmp_path, n=5)
    groups = [(0, 1, 2), (3, 4)]
    paths = [tuple(single.path[i][0] for i in group) for group in groups]
    Stimuli(
        ["faces", "houses"], paths, ["", ""], [48] * 2, [40] * 2, ["face", "house"], ["train"] * 2
    ).write(tmp_path / "categories.csv")
    each = Embeddings.read(embed("pixels", single, tmp_path, quiet=True) / "embeddings.h5")
    folder = embed("pixels", tmp_path / "categories.csv", tmp_path, quiet=True)
    found = Embeddings.read(folder / "embeddings.h5").at(["faces", "houses"])
    expected = [each.vector[list(group)].mean(axis=0) for group in groups]
    np.testing.assert_allclose(found, expected, atol=1e-6)


SLOW = """
import sys, time
from neurovis.images import extract, base
from neurovis.images.classical import Gabor

class Slow(Gabor, name="slow"):
    def features(self, images):
        time.sleep(0.15)
        print("batch", flush=True)
        return super().features(images)

extract.FLUSH_SECONDS = 0
extract.embed({"name": "slow"}, sys.argv[1], sys.argv[2], batch_size=3, quiet=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_resumed_gives_the_same_bytes(tmp_path, how):
    write_stimuli(tmp_path, n=18)
    (tmp_path / "slow.py").write_text(SLOW)

    def start(out):
        words = [sys.executable, tmp_path / "slow.py", tmp_path / "stimuli.csv", tmp_path / out]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    whole = start("whole")
    whole.communicate(timeout=60)
    killed = start("killed")
    for _ in range(3):
        killed.stdout.readline()
    killed.send_signal(how)
    killed.communicate(timeout=60)
    assert killed.returncode != 0
    assert not list((tmp_path / "killed").glob("*/*/embeddings.h5"))
    blocks = list((tmp_path / "killed").rglob("blocks/*.h5"))
    assert blocks
    again = start("killed")
    out, _ = again.communicate(timeout=60)
    assert again.returncode == 0
    assert out.count("batch") <= 6 - len(blocks)
    one, two = (
        next((tmp_path / d).glob("embeddings/*/embeddings.h5")) for d in ("whole", "killed")
    )
    assert one.parent.name == two.parent.name
    assert Embeddings.read(one).vector.tobytes() == Embeddings.read(two).vector.tobytes()
    assert not list(two.parent.glob("blocks*"))


def test_a_damaged_block_is_made_anew(tmp_path, monkeypatch, capsys):
    stimuli = write_stimuli(tmp_path, n=6)
    monkeypatch.setattr(extract, "FLUSH_SECONDS", 0)
    bad = tmp_path / "pictures/05.png"
    data = bad.read_bytes()
    bad.write_bytes(b"another")
    with pytest.raises(NeurovisError, match=r"05\.png"):
        embed("pixels", stimuli, tmp_path, batch_size=2, quiet=True)
    blocks = sorted(tmp_path.rglob("blocks/*.h5"))
    assert len(blocks) == 2
    blocks[0].write_bytes(blocks[0].read_bytes()[:100])
    bad.write_bytes(data)
    folder = embed("pixels", stimuli, tmp_path, batch_size=2)
    assert "embedded again" in capsys.readouterr().err
    fresh = embed("pixels", stimuli, tmp_path / "fresh", quiet=True)
    rows = [Embeddings.read(f / "embeddings.h5").vector for f in (folder, fresh)]
    np.testing.assert_array_equal(*rows)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "no such picture"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "found another content"),
        (lambda path: Image.new("RGB", (9, 9)).save(path), "found another content"),
    ],
)
def test_a_changed_picture_is_named(tmp_path, spoil, says):
    stimuli = write_stimuli(tmp_path, n=4)
    spoil(tmp_path / "pictures/02.png")
    with pytest.raises(NeurovisError, match=says) as error:
        embed("pixels", stimuli, tmp_path, quiet=True)
    assert "02.png" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no picture", None, "16-bit"])
def test_a_damaged_picture_is_named(tmp_path, content):
    write_stimuli(tmp_path, n=2, checksums=False)
    path = tmp_path / "pictures/01.png"
    if content == "16-bit":
        Image.fromarray(np.full((9, 9), 40000, np.uint16)).save(path)
    else:
        path.write_bytes(path.read_bytes()[:-60] if content is None else content)
    with pytest.raises(NeurovisError, match=r"01\.png: expected") as error:
        embed("pixels", tmp_path / "stimuli.csv", tmp_path, quiet=True)
    assert "\n" not in str(error.value)


def test_moved_weights_are_the_same_encoder(tmp_path, count):
    import timm
    from safetensors.torch import save_file

    stimuli = write_stimuli(tmp_path, n=4)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "one/w.safetensors")
    first = embed(f"timm:test_vit/{tmp_path}/one/w.safetensors@0.5", stimuli, tmp_path, quiet=True)
    shutil.move(tmp_path / "one/w.safetensors", tmp_path / "two/w.safetensors")
    again = embed(f"timm:test_vit/{tmp_path}/two/w.safetensors@0.5", stimuli, tmp_path, quiet=True)
    assert first == again
    assert len(count) == 4
    tokens = embed(
        f"timm:test_vit/{tmp_path}/two/w.safetensors+tokens", stimuli, tmp_path, quiet=True
    )
    assert Embeddings.read(tokens / "embeddings.h5").vector.shape == (4, 100, 64)
    assert str(tmp_path) not in (tokens / "config.yaml").read_text()


def test_decoding_runs_ahead_but_not_far():
    from concurrent.futures import ThreadPoolExecutor

    done = []
    with ThreadPoolExecutor(4) as pool:
        results = extract._ahead(pool, lambda i: done.append(i) or i, list(range(100)), 10)
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        time.sleep(0.1)
        assert len(done) <= 15
        assert list(results) == list(range(5, 100))
