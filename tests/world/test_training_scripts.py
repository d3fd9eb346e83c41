"""The scripts that train the image world's networks: each learns, is written, read back, and goes on where it stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from experiments.world import clip, diffusion, dino, loop, pictures, vae
from neurovis.generate import world as generator
from neurovis.images import encoder
from neurovis.images import world as networks
from neurovis.world import scenes

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def drawings():
    """Six concepts, twelve pictures of each: six to train on, six held out."""
    concepts = pictures.known()[::80][:6]
    made, said = [], []
    for concept in concepts:
        sampled = [scenes.sample_scene(concept.name, 1000 + e) for e in range(12)]
        made.append(np.stack([scenes.render(scene, pictures.SIZE) for scene in sampled]))
        said.append(tuple(scene.caption for scene in sampled))
    return pictures.Drawings(tuple(concepts), made, said)


@pytest.fixture(scope="module")
def kin(drawings):
    """Eight pictures of each of these concepts' families, of things without a name."""
    families, made, said = [c.family for c in drawings.concept], [], []
    for concept in drawings.concept:
        sampled = [scenes.sample_kin(concept.family, (concept.name,), k) for k in range(8)]
        made.append(np.stack([scenes.render(scene, pictures.SIZE) for scene in sampled]))
        said.append(tuple(scene.caption for scene in sampled))
    return pictures.Kin(tuple(families), made, said)


def test_nothing_that_a_study_tests_on_is_drawn(tmp_path, monkeypatch):
    known, test = pictures.known(), set(scenes.held_out(200))
    assert len(known) == 423
    assert not test & {concept.name for concept in known}
    chosen = known[:2]
    monkeypatch.setattr(pictures, "known", lambda: chosen)
    monkeypatch.setattr(pictures, "N_TRAIN", 2)
    monkeypatch.setattr(pictures, "N_HELD", 1)
    made = pictures.draw(tmp_path, n_jobs=1)
    again = pictures.draw(tmp_path, n_jobs=1)
    assert [p.shape for p in made.picture] == [(3, 64, 64, 3)] * 2
    for one, two in zip(made.picture, again.picture):
        np.testing.assert_array_equal(one, two)
    monkeypatch.setattr(pictures, "N_KIN", 2)
    kin, again = (pictures.draw_kin(tmp_path / "kin", n_jobs=1) for _ in range(2))
    assert kin.family == tuple(dict.fromkeys(c.family for c in chosen))
    assert kin.caption == again.caption
    np.testing.assert_array_equal(kin.picture[0], again.picture[0])
    scene = scenes.sample_scene(chosen[1].name, pictures.FIRST + 2)
    assert made.caption[1][2] == scene.caption
    near = scenes.render(scene, 64).astype(float)
    assert np.abs(near - made.picture[1][2]).mean() < 6


def test_pictures_of_a_batch_are_those_asked_for(drawings):
    concept, exemplar = drawings.some(np.random.default_rng(0), 6)
    assert sorted(concept) == list(range(6))
    assert set(exemplar) <= set(range(drawings.n_train))
    assert list(drawings.held) == list(range(6, 12))
    one = drawings.at(concept, exemplar)[2]
    expected = drawings.picture[concept[2]][exemplar[2]].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(one, expected, atol=1e-6)


def test_a_loop_that_was_stopped_ends_like_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "EVERY", 3)

    def run(folder, stop=None):
        torch.manual_seed(0)
        module = torch.nn.Linear(4, 1)
        average = loop.Average(module, 0.9)

        def loss(step, rng):
            if step == stop:
                raise KeyboardInterrupt
            x = torch.from_numpy(rng.standard_normal((8, 4)).astype(np.float32))
            return (module(x) - x.sum(1, keepdim=True) + 0.1 * torch.randn(8, 1)).square().mean()

        modules = {"module": module, "average": average.mean}
        loop.train(tmp_path / folder, modules, 10, 0.05, 0.01, loss, average.update)
        return module, average.mean

    whole, mean = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stop=7)
    resumed, resumed_mean = run("stopped")
    for one, two in ((whole, resumed), (mean, resumed_mean)):
        torch.testing.assert_close(one.weight, two.weight, rtol=0, atol=0)
    log = (tmp_path / "stopped" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [3, 6, 9, 10]


def test_the_rate_rises_and_falls():
    rate = [loop.one_cycle(100)(step) for step in range(100)]
    assert np.argmax(rate) == 7
    assert rate[0] < 0.2
    assert rate[-1] == pytest.approx(0.02, abs=1e-3)


@pytest.fixture(scope="module")
def tiny_clip(drawings, kin, tmp_path_factory):
    """A world:clip trained for a moment, and its folder."""
    folder = tmp_path_factory.mktemp("weights")
    patch = pytest.MonkeyPatch()
    patch.setattr(clip, "BATCH", 12)
    patch.setattr(clip, "LR", 5e-3)
    tokens = clip.tokenizer(folder / "clip" / "merges.txt.gz")
    model = clip.fit(drawings, kin, folder / "training", tokens, steps=60)
    clip.write(model, drawings, tokens, folder / "clip")
    patch.undo()
    return folder, model, tokens


def test_clip_learns_and_is_read_like_any_other(drawings, tiny_clip, monkeypatch, capsys):
    folder, model, tokens = tiny_clip
    monkeypatch.setattr(networks, "SHIPPED", folder)
    found = encoder("world:clip").build()
    images = drawings.at(np.arange(6), np.zeros(6, int))
    told = found.embed(((images - 0.5) / 0.25).astype(np.float32))
    with torch.inference_mode():
        direct = model.encode_image(clip.plain(torch.from_numpy(images))).numpy()
    np.testing.assert_allclose(told, direct, atol=1e-4)
    assert clip.judge(model, drawings, tokens)["concept"] > 100 / 6 + 15
    card = (folder / "clip" / "README.md").read_text()
    assert "423 concepts" in card
    texts = tokens(["a dog", "a small red ball in a garden"])
    with torch.inference_mode():
        whole = torch.nn.functional.normalize(model.encode_text(texts), dim=-1)
        short = clip.say(model, texts[:, : int((texts != 0).sum(1).max())])
    torch.testing.assert_close(whole, short, atol=1e-5, rtol=1e-5)


def test_a_mirror_turns_what_a_caption_says():
    assert clip.mirrored("a dog facing left on a lawn") == "a dog facing right on a lawn"
    assert clip.mirrored("a dog facing right") == "a dog facing left"
    assert clip.mirrored("the left bank") == "the left bank"


def test_dino_learns_without_labels_and_is_read_like_any_other(drawings, tmp_path, monkeypatch):
    monkeypatch.setattr(dino, "BATCH", 8)
    monkeypatch.setattr(dino, "SHAPE", {**dino.SHAPE, "depth": 2, "embed_dim": 32})
    network = dino.fit(drawings, tmp_path / "training", steps=3).eval()
    goal = torch.nn.functional.normalize(torch.randn(8, 5), dim=-1)
    scores = (goal @ goal.T / dino.TEMPERATURE).softmax(-1)
    expected = -scores.diagonal().log().mean()
    torch.testing.assert_close(dino.agreement(3 * goal, 2 * goal), expected)
    assert dino.agreement(goal.roll(1, 0), goal) > expected
    assert len(dino.probe(network, drawings, n=2)) == 2
    monkeypatch.setattr(
        "sys.argv", ["dino", "--folder", str(tmp_path), "--out", str(tmp_path / "dino")]
    )
    monkeypatch.setattr(dino, "draw", lambda folder: drawings)
    monkeypatch.setattr(dino, "STEPS", 3)
    monkeypatch.setattr(dino.probe, "__defaults__", (2,))
    dino.main()
    monkeypatch.setattr(networks, "SHIPPED", tmp_path)
    found = encoder("world:dino@layer1").build()
    images = ((drawings.at(np.arange(6), np.zeros(6, int)) - 0.5) / 0.25).astype(np.float32)
    assert found.embed(images).shape == (6, 32)


@pytest.fixture(scope="module")
def tiny_vae(drawings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    patch = pytest.MonkeyPatch()
    patch.setattr(vae, "BATCH", 4)
    model = vae.fit(drawings, folder / "training", steps=8).eval()
    vae.write(model, drawings, folder / "vae")
    patch.undo()
    return folder, model


def test_the_autoencoder_is_read_back_and_draws(drawings, tiny_vae, monkeypatch):
    folder, model = tiny_vae
    monkeypatch.setattr(networks, "SHIPPED", folder)
    networks.read_vae.cache_clear()
    found = encoder("world:vae").build()
    images = drawings.at(np.arange(6), np.zeros(6, int)) * 2 - 1
    latents = found.embed(images)
    assert latents.shape == (6, 4 * 16 * 16)
    drawn = encoder("world:vae").pictures(latents)
    with torch.inference_mode():
        direct = model.decode(model.encode(torch.from_numpy(images)).latent).sample.numpy()
    assert np.abs(drawn.astype(int) - networks.as_pictures(direct)).max() <= 1
    # moments are those of the held-out pictures
    every = np.concatenate(
        [drawings.at(np.arange(6), np.full(6, e)) * 2 - 1 for e in drawings.held]
    )
    spread = found.embed(every.astype(np.float32)).reshape(-1, 4, 256)
    np.testing.assert_allclose(spread.mean((0, 2)), 0, atol=0.02)
    np.testing.assert_allclose(spread.std((0, 2)), 1, atol=0.02)
    networks.read_vae.cache_clear()


def test_rough_latents_are_what_a_linear_estimate_keeps():
    rng = np.random.default_rng(0)
    latents = (rng.standard_normal((4000, 3)) * [3.0, 1.0, 0.2] + 1).astype(np.float32)
    rough, mean, deviation = diffusion.rough_maker(latents)
    np.testing.assert_allclose(mean, 1, atol=0.2)
    assert deviation == pytest.approx(np.sqrt((9 + 1 + 0.04) / 3), rel=0.05)
    x = torch.from_numpy(latents)
    torch.manual_seed(0)
    said = rough(x, torch.ones(len(x)) / deviation).numpy() - 1
    # an unbiased linear estimate of x from itself under noise: regression on it has slope 1
    for axis, spread in enumerate((3.0, 1.0)):
        kept = spread**2 / (spread**2 + 1)
        slope = np.cov(said[:, axis], latents[:, axis])[0, 1] / said[:, axis].var()
        assert slope == pytest.approx(1, abs=0.1)
        assert said[:, axis].var() == pytest.approx(kept * spread**2, rel=0.1)


def test_the_diffusion_learns_is_read_back_and_paints(
    drawings, tiny_clip, tiny_vae, tmp_path, monkeypatch
):
    monkeypatch.setattr(diffusion, "BATCH", 8)
    monkeypatch.setattr(diffusion, "WIDTHS", (32, 32))
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 256)).astype(np.float16)
    latents = rng.standard_normal((40, 1024)).astype(np.float16)
    model = diffusion.fit(vectors, latents, tmp_path / "training", steps=3).eval()
    for name, folder in (("clip", tiny_clip[0]), ("vae", tiny_vae[0])):
        (tmp_path / name).symlink_to(folder / name)
    monkeypatch.setattr(networks, "SHIPPED", tmp_path)
    networks.read_vae.cache_clear()
    generator.read_unet.cache_clear()
    monkeypatch.setattr(diffusion, "judge", lambda *_: {"first": 1.0, "chosen": 2.0, "best_of": 4})
    diffusion.write(model, drawings, tmp_path / "diffusion")
    painter = generator.World(steps=2).build()
    assert (painter.width, painter.size) == (256, 64)
    from neurovis.generate.base import Cue

    cue = Cue(rng.standard_normal((3, 256)).astype(np.float32))
    seeds = np.array([5, 6, 7])
    painted = painter.paint(cue, seeds)
    assert painted.shape == (3, 64, 64, 3)
    alone = painter.paint(Cue(cue.vector[1:2]), seeds[1:2])
    np.testing.assert_array_equal(painted[1:2], alone)
    low = rng.integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    assert (painter.paint(Cue(cue.vector, low), seeds) != painted).any()
    seen = diffusion.seen(drawings, tmp_path / "seen")
    assert [part.shape for part in seen] == [(36, 256), (36, 1024)]
    networks.read_vae.cache_clear()
    generator.read_unet.cache_clear()


def test_guidance_goes_beyond_what_is_said_alone_and_keeps_its_contrast():
    """Against the definition, with a network that says how much it was told."""
    from types import SimpleNamespace

    torch.manual_seed(0)
    x, rough, told = torch.randn(3, 16, 8, 8), torch.randn(3, 16, 8, 8), torch.randn(3, 256)

    def unet(both, t, encoder_hidden_states, class_labels):
        first, low = both.chunk(2, dim=1)
        said = 0.1 * t * first + low + class_labels.mean(1)[:, None, None, None]
        return SimpleNamespace(sample=said + encoder_hidden_states.std((1, 2))[:, None, None, None])

    def say(low, vector):
        tokens = vector.reshape(3, 8, 32)
        return unet(torch.cat([x, low], 1), 2, tokens, vector).sample

    with_it, alone = say(rough, told), say(torch.zeros_like(rough), torch.zeros_like(told))
    ask = lambda guidance, rescale: generator._guided(  # noqa: E731
        unet, x, rough, 2, told, guidance, rescale
    )
    torch.testing.assert_close(ask(1, 0.7), with_it)
    torch.testing.assert_close(ask(0, 0.0), alone)
    plain = ask(3, 0.0)
    torch.testing.assert_close(plain, alone + 3 * (with_it - alone))
    kept = ask(3, 1.0)
    torch.testing.assert_close(kept.std((1, 2, 3)), with_it.std((1, 2, 3)))
    torch.testing.assert_close(ask(3, 0.7), 0.7 * kept + 0.3 * plain)


def test_folding_is_undone():
    latents = torch.randn(2, 1024)
    torch.testing.assert_close(generator.unfold(generator.fold(latents)), latents)
    # neighbours on the map stand in one place
    maps = latents.reshape(2, 4, 16, 16)
    torch.testing.assert_close(generator.fold(latents)[:, :4, 0, 0], maps[:, 0, :2, :2].flatten(1))
