"""What a decoded vector allows: as the mixture of Gaussians itself says, and better than one Gaussian where images are of kinds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from neurovis.generate.posterior import Images, Posterior, estimator
from neurovis.generate.regression import WIDTHS, Known, regress


def test_it_is_the_mean_of_what_a_decoded_vector_allows():
    """Against conditioning the joint Gaussian of embeddings and decoded vectors, noise known."""
    rng = np.random.default_rng(1)
    n, dim, out, slope, spread = 60_000, 4, 3, 0.4, 0.7
    root, way = rng.standard_normal((dim, dim)), rng.standard_normal((dim, out))
    vector = rng.standard_normal((n, dim)) @ root + 2
    embedding = vector @ way + 0.5 * rng.standard_normal((n, out)) - 1
    said = slope * vector + spread * rng.standard_normal((n, dim)) + 5
    found = Posterior(Images(vector[::2], embedding[::2]), said[1::2], vector[1::2]).tensors()
    cov = root.T @ root
    expected = np.linalg.solve(slope**2 * cov + spread**2 * np.eye(dim), slope * cov @ way)
    np.testing.assert_allclose(found["weight"], expected, atol=0.03)
    made = estimator(found)(said)
    np.testing.assert_allclose(made.mean(0), embedding.mean(0), atol=0.02)
    error = ((made - embedding) ** 2).mean()
    for scale in (0.9, 1.1):
        other = (made - made.mean(0)) * scale + made.mean(0)
        assert ((other - embedding) ** 2).mean() > error


@pytest.mark.parametrize("width", [0.0, 0.3, 0.7, 0.95, 1.0])
def test_images_are_gaussians_of_the_shape_of_all(width):
    """Against every image's Gaussian by itself, conditioned on a decoded vector and weighed by its density."""
    rng = np.random.default_rng(2)
    n, dim, out, n_held = 25, 3, 4, 4000
    vector = rng.standard_normal((n, dim)) @ rng.standard_normal((dim, dim)) + 1
    embedding = np.tanh(vector) @ rng.standard_normal((dim, out)) + 2
    held = rng.standard_normal((n_held, dim))
    noise_root = np.diag([0.5, 1.0, 2.0]) + 0.2
    said = 0.8 * held + rng.standard_normal((n_held, dim)) @ noise_root + 3
    posterior = Posterior(Images(vector, embedding), said, held)
    asked = said[:6]
    made = posterior(asked, width)
    kept = {name: np.float32(value) for name, value in posterior.tensors(width).items()}
    np.testing.assert_allclose(estimator(kept)(asked), made, atol=1e-4)  # as it is stored
    # what it learned of the decoder is nearly what was planted; the noise itself is that of its own axes
    noise = np.linalg.inv(posterior.axes @ posterior.axes.T)
    np.testing.assert_allclose(noise, noise_root.T @ noise_root, atol=0.25)
    np.testing.assert_allclose(posterior.start, 3 + 0.8 * vector.mean(0), atol=0.1)
    slope = ((held - held.mean(0)) * (said - said.mean(0))).sum() / (
        (held - held.mean(0)) ** 2
    ).sum()
    x, z = vector - vector.mean(0), embedding - embedding.mean(0)
    joint = np.cov(np.hstack([x, z]), rowvar=False, bias=True) * width**2
    tt, tz = joint[:dim, :dim], joint[:dim, dim:]
    moved = np.sqrt(1 - width**2)
    total = slope**2 * tt + noise
    for row, answer in zip(asked, made):
        at = [posterior.start + slope * moved * one for one in x]
        weight = np.array([multivariate_normal(m, total).pdf(row) for m in at])
        means = [
            embedding.mean(0) + moved * b + (row - m) @ np.linalg.solve(total, slope * tz)
            for m, b in zip(at, z)
        ]
        np.testing.assert_allclose(answer, weight @ np.array(means) / weight.sum(), rtol=1e-8)


def test_few_rows_do_not_make_noise_look_small():
    """With fewer rows than dims a sample covariance has directions without any noise."""
    rng = np.random.default_rng(2)
    dim = 30
    vector = rng.standard_normal((2000, dim))
    draw = lambda x: x + 3 * rng.standard_normal(x.shape)  # noqa: E731
    held, test = rng.standard_normal((20, dim)), rng.standard_normal((2000, dim))
    posterior = Posterior(Images(vector, vector), draw(held), held)
    error = ((posterior(draw(test)) - test) ** 2).mean()
    assert error < 1.1 * 0.9  # the least there is: 9 / (9 + 1)


@pytest.mark.parametrize("width", [0.5, 1.0])
def test_a_decoder_that_says_nothing_is_asked_for_a_direction_all_the_same(width):
    rng = np.random.default_rng(3)
    vector, held = rng.standard_normal((50, 5)), rng.standard_normal((20, 5))
    for said in (-held, np.zeros_like(held)):
        found = Posterior(Images(vector, vector), said, held).tensors(width)
        assert all(np.isfinite(value).all() for value in found.values())
        assert np.abs(found["weight"]).max() < 10 or not said.any()


def kinds(seed: int, spread: float) -> tuple[Known, np.ndarray, np.ndarray]:
    """Images of twelve kinds, or of none where `spread` is 1; decoded ones and their embeddings to be found."""
    rng = np.random.default_rng(seed)
    dim, out = 6, 8
    centre, way = rng.standard_normal((12, dim)), rng.standard_normal((dim, out))

    def draw(n: int) -> np.ndarray:
        own = rng.standard_normal((n, dim))
        return np.sqrt(1 - spread**2) * centre[rng.integers(12, size=n)] + spread * own

    decode = lambda x: x + 0.6 * rng.standard_normal(x.shape)  # noqa: E731
    train, held, test = draw(400), draw(120), draw(200)
    image = np.array([f"i{i:03d}" for i in range(len(held))])
    known = Known(train @ way, decode(held), held @ way, image, aimed=train, meant=held)
    return known, decode(test), test @ way


def test_validation_images_say_how_wide_images_are_taken():
    """Kinds make images narrow, and what is said is better by it; where there are none one Gaussian is right."""
    known, said, true = kinds(0, 0.3)
    tensors, held = regress(known)
    assert tensors["width"] < 0.8
    assert tensors["error"] == pytest.approx(((held - known.true) ** 2).mean(), rel=1e-5)
    linear = Posterior(Images(known.aimed, known.train), known.said, known.meant)
    error = lambda made: ((made - true) ** 2).mean()  # noqa: E731
    assert error(estimator(tensors)(said)) < 0.85 * error(linear(said))
    plain, *_ = kinds(1, 1.0)
    assert regress(plain)[0]["width"] >= 0.8


def test_of_widths_that_are_alike_the_widest_is_taken():
    """By the rule of one standard error over images, computed here from each width by itself."""
    known, *_ = kinds(2, 0.6)
    images = np.unique(known.image)
    fold = np.random.default_rng(0).permutation(len(images)) % 5  # an image a row here
    errors = []
    for width in WIDTHS:
        error = np.empty(len(images))
        for number in range(5):
            rows = fold == number
            fit = Posterior(Images(known.aimed, known.train), known.said[~rows], known.meant[~rows])
            error[rows] = ((fit(known.said[rows], width) - known.true[rows]) ** 2).mean(1)
        errors.append(error)
    best = min(errors, key=np.mean)
    allowed = [
        width
        for width, error in zip(WIDTHS, errors)
        if (error - best).mean() <= (error - best).std(ddof=1) / np.sqrt(len(images))
    ]
    assert regress(known)[0]["width"] == max(allowed)
