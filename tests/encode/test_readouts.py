"""Every readout finds what was planted for it; each resumes, and none writes NaN."""

from __future__ import annotations

import numpy as np
import pytest

from neurovis.config import components, resolve
from neurovis.encode import descent, fields
from neurovis.encode.cores import Cnn, turning
from neurovis.encode.descent import concordance
from neurovis.encode.features import Features, Source
from neurovis.encode.readouts.base import Problem, Readout
from neurovis.encode.scores import pearson
from neurovis.errors import NeurovisError, UsageError
from neurovis.records import Embeddings

SIDE, N = 8, 420
OPTIONS = {
    "banded_ridge": {"n_draws": 3},
    "ridge": {},
    "gaussian": {"n_centres": 9, "sizes": [0.25, 0.4]},
    "factorised": {"n_centres": 9, "sizes": [0.25, 0.4], "train": {"epochs": 2}},
    "semantic": {"content": "about", "n_centres": 9, "sizes": [0.25, 0.4], "train": {"epochs": 1}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Smooth maps of three channels, a vector of content, and where targets look."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    image = np.array([f"i{i:03d}" for i in range(N)])
    maps = rng.standard_normal((N, 3, SIDE, SIDE)).astype(np.float32)
    about = rng.standard_normal((N, 4)).astype(np.float32)
    tokens = maps.reshape(N, 3, -1).transpose(0, 2, 1)
    Embeddings(tokens, image, {}).write(folder / "maps.h5")
    Embeddings(about, image, {}).write(folder / "about.h5")
    centre = np.array([[-0.5, 0.5], [0.5, 0.5], [0.0, -0.5], [0.5, -0.25]])
    weight = rng.standard_normal((4, 3))
    return {"folder": folder, "image": image, "maps": maps, "about": about, "centre": centre,
            "weight": weight}  # fmt: skip


def respond(world, gain=0.0, noise=0.3, seed=1):
    """Responses (image, target): Gaussian windows; content changes their gain."""
    rng = np.random.default_rng(seed)
    mask = fields.windows(world["centre"], np.full(4, 0.3), SIDE)
    seen = np.einsum("nck,tk->ntc", world["maps"].reshape(N, 3, -1), mask)
    change = 1 + gain * np.tanh(2 * world["about"][:, :1])
    y = change * np.einsum("ntc,tc->nt", seen, world["weight"])
    y = y / y.std(0)
    return (y + noise * rng.standard_normal(y.shape) + 2).astype(np.float32)


def problem(world, y, tmp_path, names=("maps",), n=320, name="fit", **more):
    paths = {k: Source(k, Features(), world["folder"] / f"{k}.h5") for k in names}
    image = world["image"][:n]
    options = {"seed": 0, "device": "cpu", "folder": tmp_path, "name": name, "made_by": "test"}
    return Problem(paths, image, y[:n], 3 * n // 4, image, **{**options, **more})


def make(name, **options):
    return resolve(Readout, {"name": name, **OPTIONS[name], **options})


def test_every_readout_is_tested():
    assert set(OPTIONS) == set(components(Readout))


@pytest.mark.parametrize("name", OPTIONS)
def test_every_readout_predicts_other_images(world, tmp_path, name):
    y = respond(world)
    names = ("maps", "about") if name == "semantic" else ("maps",)
    readout = make(name)
    fitted = readout.fit(problem(world, y, tmp_path, names))
    test = world["image"][320:]
    said = fitted.predict(test)
    assert said.shape == (100, 4)
    assert said.dtype == np.float32
    assert (pearson(said, y[320:]) > 0.6).all()
    # offsets, too: predictions are on the responses' scale
    np.testing.assert_allclose(said.mean(0), y[320:].mean(0), atol=0.3)
    assert fitted.tensors
    assert all(len(v) == 4 for v in fitted.per_target.values())
    if readout.maps:
        assert np.abs(fitted.per_target["field_centre"] - world["centre"]).max() < 0.3


def test_joint_parts_sum_to_the_prediction(world, tmp_path):
    y = respond(world)
    fitted = make("banded_ridge").fit(problem(world, y, tmp_path, ("maps", "about"), hold=True))
    test = world["image"][320:]
    parts = fitted.parts(test)
    assert list(parts) == ["maps", "about"]
    offset = fitted.predict(test) - sum(parts.values())
    np.testing.assert_allclose(offset, np.broadcast_to(offset[:1], offset.shape), atol=1e-4)
    assert fitted.per_target["share"].shape == (4, 2)
    # what drives the responses is what predictions are made of, whatever the share that was tried
    assert (parts["maps"].var(0) > 4 * parts["about"].var(0)).all()
    assert fitted.per_target["share"][:, 0].mean() > 0.6
    # held-out predictions come from weights that did not learn from them
    assert fitted.held.shape == (80, 4)
    inside = pearson(fitted.predict(world["image"][240:320]), y[240:320])
    assert (pearson(fitted.held, y[240:320]) < inside).all()


def test_folds_instead_of_validation(world, tmp_path):
    y = respond(world)
    fitted = make("ridge", choose=4).fit(problem(world, y, tmp_path))
    assert (pearson(fitted.predict(world["image"][320:]), y[320:]) > 0.8).all()
    with pytest.raises(UsageError, match="two folds or more"):
        make("ridge", choose=1)


def test_gradients_reach_features(world, tmp_path):
    import torch

    y = respond(world)
    fitted = make("ridge").fit(problem(world, y, tmp_path, ("about",)))
    vector = torch.from_numpy(world["about"][:5]).requires_grad_()
    said = fitted.gradient(vector)
    np.testing.assert_allclose(said.detach().numpy(), fitted.predict(world["image"][:5]), atol=1e-5)
    said[:, 0].sum().backward()
    assert vector.grad.abs().sum() > 0


def test_content_helps_where_it_was_planted_and_not_elsewhere(world, tmp_path):
    train = {"epochs": 12, "patience": 12, "lr": 0.01, "batch_size": 32}
    test, gains = world["image"][320:], {}
    for gain in (0.0, 0.9):
        y = respond(world, gain, noise=0.2)
        plain = make("factorised", train=train).fit(problem(world, y, tmp_path, name=f"f{gain}"))
        about = ("maps", "about")
        moved = make("semantic", train=train).fit(
            problem(world, y, tmp_path, about, name=f"s{gain}")
        )
        r = [pearson(one.predict(test), y[320:]).mean() for one in (plain, moved)]
        gains[gain] = r[1] - r[0]
    assert gains[0.9] > 0.05
    assert abs(gains[0.0]) < 0.02


def test_content_is_found_in_noise(world, tmp_path):
    # by far too few and too noisy images for descent: what is alike for all channels is found nevertheless
    test, gains = world["image"][320:], {}
    for gain in (0.0, 0.9):
        y, clean = respond(world, gain, noise=2.0), respond(world, gain, noise=0.0)
        kinds = {"factorised": ("maps",), "semantic": ("maps", "about")}
        r = {}
        for name, families in kinds.items():
            readout = make(name, train={"epochs": 0})
            fitted = readout.fit(problem(world, y, tmp_path, families, name=f"{name}{gain}"))
            r[name] = pearson(fitted.predict(test), clean[320:]).mean()
        gains[gain] = r["semantic"] - r["factorised"]
    assert gains[0.9] > 0.03
    assert abs(gains[0.0]) < 0.02


def test_a_kill_goes_on_to_the_same_weights(world, tmp_path, monkeypatch):
    y = respond(world)
    options = {"train": {"epochs": 3, "patience": 9}, "start": "flat"}
    whole = make("factorised", **options).fit(problem(world, y, tmp_path / "a"))
    monkeypatch.setattr(descent, "CHECKPOINT_SECONDS", 0)
    real, calls = descent.backward, []

    def killed(*args):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(descent, "backward", killed)
    monkeypatch.setattr(descent.Checkpoint, "due", lambda self, seconds: True)
    (tmp_path / "b").mkdir()
    with pytest.raises(KeyboardInterrupt):
        make("factorised", **options).fit(problem(world, y, tmp_path / "b"))
    monkeypatch.setattr(descent, "backward", real)
    again = make("factorised", **options).fit(problem(world, y, tmp_path / "b"))
    for name, tensor in whole.tensors.items():
        np.testing.assert_allclose(again.tensors[name], tensor, atol=1e-6)


def test_a_network_is_learned_from_pixels(world, tmp_path):
    y = respond(world, noise=0.1)
    core = Features(core=Cnn(n_blocks=1, n_features=8, stride=1))
    source = Source("maps", core, world["folder"] / "maps.h5")
    image = world["image"][:320]
    task = Problem({"maps": source}, image, y[:320], 240, image, 0, "cpu", tmp_path, "core", "test")
    train = {"epochs": 25, "patience": 25, "lr": 0.02, "batch_size": 32}
    fitted = make("factorised", train=train).fit(task)
    assert pearson(fitted.predict(world["image"][320:]), y[320:]).mean() > 0.3
    assert any(name.startswith("network.") for name in fitted.tensors)


@pytest.mark.parametrize("rotations", [4, 8])
def test_a_turned_picture_gives_turned_maps(rotations):
    import torch

    torch.manual_seed(0)
    first, second = turning(2, 3, 3, rotations, True), turning(3, 4, 3, rotations, False)
    picture = torch.randn(1, 2, 9, 9)
    quarter = rotations // 4

    def maps(x):
        return second(first(x).relu()).unflatten(1, (4, rotations))

    with torch.no_grad():
        plain, turned = maps(picture), maps(picture.rot90(1, (2, 3)))
    expected = plain.rot90(1, (3, 4))
    found = [float((turned.roll(k * quarter, 2) - expected).abs().max()) for k in (1, -1)]
    assert min(found) < 1e-4 < max(found)


def test_concordance_by_its_definition():
    import torch

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 30, 3))
    b = b + a
    found = concordance(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    for k in range(3):
        r = np.corrcoef(a[:, k], b[:, k])[0, 1]
        below = a[:, k].var() + b[:, k].var() + (a[:, k].mean() - b[:, k].mean()) ** 2
        assert found[k] == pytest.approx(2 * r * a[:, k].std() * b[:, k].std() / below)


def test_constant_targets_are_masked(world, tmp_path):
    y = respond(world)
    y[:, 1] = 7
    train = {"epochs": 1, "loss": "mse_ccc"}
    fitted = make("factorised", train=train).fit(problem(world, y, tmp_path))
    said = fitted.predict(world["image"][320:])
    assert np.isfinite(said).all()
    assert (pearson(said, y[320:])[[0, 2, 3]] > 0.6).all()


def test_what_has_no_maps_is_refused(world, tmp_path):
    with pytest.raises(UsageError, match="square of tokens"):
        make("gaussian").fit(problem(world, respond(world), tmp_path, ("about",)))
    with pytest.raises(UsageError, match="add larger ones"):
        make("gaussian", sizes=[0.01]).fit(problem(world, respond(world), tmp_path))


def test_stopping_needs_validation(world, tmp_path):
    y = respond(world)
    one = problem(world, y, tmp_path)
    one = Problem(**{**{f: getattr(one, f) for f in one.__dataclass_fields__}, "n_train": 320})
    with pytest.raises(NeurovisError, match="validation is empty"):
        make("factorised").fit(one)


def test_a_loss_that_is_no_number_is_named(world, tmp_path):
    with pytest.raises(NeurovisError, match="lower the rate"):
        make("factorised", train={"epochs": 3, "lr": 1e30}).fit(
            problem(world, respond(world), tmp_path)
        )


def test_places_and_windows():
    where = fields.places(4)
    assert where[0].tolist() == [-0.75, 0.75]  # the upper left comes first
    mask = fields.windows(np.array([[0.0, 0.0]]), np.array([0.5]), 4)
    assert mask.sum() == pytest.approx(1)
    assert mask[0, 5] == pytest.approx(mask[0, 10])


def test_windows_are_weighed_by_their_evidence():
    rng = np.random.default_rng(4)
    n, side = 40, 4
    maps = rng.standard_normal((n, 2, side, side)).astype(np.float32)
    centre = np.array([[-0.5, 0.5], [0.5, 0.5], [0.0, -0.5]])
    size = np.array([0.3, 0.5, 0.7])
    masks = fields.windows(centre, size, side)
    seen = np.einsum("nck,wk->wnc", maps.reshape(n, 2, -1), masks)
    y = np.stack([seen[0] @ [1, -1] + 0.5 * rng.standard_normal(n), rng.standard_normal(n)], 1)
    images = np.arange(n)
    found = fields.search(lambda rows: maps[rows], images, y.astype(np.float32), centre, size)
    middle = y - y.mean(0)
    log = np.empty((3, len(fields.PENALTIES), 2))
    for w, x in enumerate(seen - seen.mean(1, keepdims=True)):
        unit = np.linalg.eigvalsh(x.T @ x).mean()
        for p, penalty in enumerate(fields.PENALTIES * unit):
            # responses are normal, and their variance is what suits them best
            covariance = np.eye(n) + x @ x.T / penalty
            power = np.einsum("nt,nm,mt->t", middle, np.linalg.inv(covariance), middle)
            log[w, p] = -0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * (n - 1) * np.log(power)
    weight = np.exp(log - log.max((0, 1))).sum(1)
    weight /= weight.sum(0)
    np.testing.assert_allclose(found.mean_centre, weight.T @ centre, atol=2e-3)
    np.testing.assert_allclose(found.mean_size, weight.T @ size, atol=2e-3)
    away = ((centre - (weight.T @ centre)[:, None]) ** 2).sum(2)
    np.testing.assert_allclose(found.spread**2, (weight.T * away).sum(1), atol=2e-3)
    top = log.max(1).argmax(0)
    np.testing.assert_array_equal(found.centre, centre[top])
    # what is planted is found, and noise is not thrown about
    assert found.spread[0] < 0.1 < found.spread[1]


def test_what_is_held_out_saw_no_choice(world, tmp_path):
    """Many targets of noise: predictions of validation rows must not fit them by the choice of penalties."""
    rng = np.random.default_rng(5)
    y = rng.standard_normal((320, 3000)).astype(np.float32)
    fitted = make("ridge").fit(problem(world, y, tmp_path, ("about",), hold=True))
    said, truth = fitted.held, y[240:]
    inner = ((said - said.mean(0)) * (truth - truth.mean(0))).sum() / truth.var(0).sum() / 80
    assert abs(inner) < 1.5e-3
