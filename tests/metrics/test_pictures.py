"""Every metric of pictures against another implementation, to 1e-6, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.ndimage import gaussian_filter
from scipy.spatial import distance
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity
from sklearn.metrics import pairwise
from sklearn.neighbors import NearestNeighbors

from neurovis.config import components, resolve
from neurovis.errors import NeurovisError, UsageError
from neurovis.metrics.base import Metric
from neurovis.metrics.diversity import spread
from neurovis.metrics.frechet import frechet
from neurovis.metrics.kernel_distance import kernel_distance
from neurovis.metrics.pairs import Pairs
from neurovis.metrics.picture import FeatureMetric, PictureMetric, PixelMetric, SetMetric
from neurovis.metrics.pixcorr import pixcorr
from neurovis.metrics.set_coverage import set_coverage
from neurovis.metrics.ssim import ssim
from neurovis.metrics.two_way import per_reconstruction, per_seen
from neurovis.resize import bilinear

RNG = np.random.default_rng(0)
REGISTERED = {n: c for n, c in components(Metric).items() if issubclass(c, PictureMetric)}


def smooth(n: int, height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    """Pictures (n, height, width, 3) uint8 of soft blobs."""
    noise = np.random.default_rng(seed).standard_normal((n, height, width, 3))
    soft = gaussian_filter(noise, (0, 5, 5, 0))
    return (128 + 600 * soft).clip(0, 255).astype(np.uint8)


def some_pairs(n: int = 12, rows: int = 30, dim: int = 40, seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    seen = rng.standard_normal((n, dim)).astype(np.float32) + 3
    shown = rng.permutation(np.arange(rows) % n)
    painted = 0.3 * seen[shown] + rng.standard_normal((rows, dim)).astype(np.float32)
    return Pairs(seen, painted, shown, [f"im{i}" for i in range(n)], np.arange(rows) % 3)


# ---- references, one per component --------------------------------------------------------------


def resized(picture: np.ndarray) -> np.ndarray:
    return bilinear(picture[None], 256, 425)[0]


def pixcorr_by_numpy(metric, seen, painted):
    return np.corrcoef(resized(seen).ravel(), resized(painted).ravel())[0, 1]


def ssim_by_skimage(metric, seen, painted):
    columns = {"channel_axis": -1} if metric.variant == "columns" else {}
    return structural_similarity(
        rgb2gray(resized(seen)),
        rgb2gray(resized(painted)),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        **columns,
    )


def two_way_by_loops(metric, pairs):
    r = np.array([[stats.pearsonr(a, b)[0] for b in pairs.seen] for a in pairs.painted])
    out = []
    for j, own in enumerate(pairs.shown):
        if metric.direction == "reconstruction":
            others = [r[j, i] for i in range(len(pairs.seen)) if i != own]
        else:
            rows = np.arange(len(r))
            same = (pairs.group == pairs.group[j]) & (pairs.shown != own)
            others = [r[k, own] for k in rows[same]]
        out.append(sum(other < r[j, own] for other in others) / len(others))
    return np.array(out)


def distance_by_scipy(metric, pairs):
    return np.array(
        [distance.correlation(pairs.seen[i], p) for i, p in zip(pairs.shown, pairs.painted)]
    )


def identify_by_neighbours(metric, pairs):
    tree = NearestNeighbors(n_neighbors=metric.k, metric="cosine").fit(pairs.seen)
    nearest = tree.kneighbors(pairs.painted, return_distance=False)
    return (nearest == pairs.shown[:, None]).any(axis=1).astype(float)


def frechet_by_sqrtm(metric, seen, painted):
    first, second = np.cov(seen, rowvar=False), np.cov(painted, rowvar=False)
    root = linalg.sqrtm(first @ second)
    shift = seen.mean(axis=0) - painted.mean(axis=0)
    return shift @ shift + np.trace(first + second - 2 * root.real)


def kernel_by_sklearn(metric, seen, painted):
    kernel = lambda a, b: pairwise.polynomial_kernel(a, b, degree=3, coef0=1)  # noqa: E731
    n, m = len(seen), len(painted)
    among = [kernel(x, x)[~np.eye(len(x), dtype=bool)].sum() for x in (seen, painted)]
    return among[0] / (n * (n - 1)) + among[1] / (m * (m - 1)) - 2 * kernel(seen, painted).mean()


def coverage_by_neighbours(metric, seen, painted):
    tree = NearestNeighbors(n_neighbors=metric.k + 1).fit(seen)
    radius = tree.kneighbors(seen)[0][:, -1]
    nearest = NearestNeighbors(n_neighbors=1).fit(painted).kneighbors(seen)[0][:, 0]
    return (nearest <= radius).mean()


def diversity_by_pdist(metric, seen, painted):
    return (
        distance.pdist(painted, "correlation").mean() / distance.pdist(seen, "correlation").mean()
    )


REFERENCES = {
    "pixcorr": (pixcorr_by_numpy, [{}]),
    "ssim": (ssim_by_skimage, [{}, {"variant": "columns"}]),
    "two_way": (two_way_by_loops, [{}, {"direction": "seen"}]),
    "correlation_distance": (distance_by_scipy, [{}]),
    "identify": (identify_by_neighbours, [{}, {"k": 4}]),
    "frechet": (frechet_by_sqrtm, [{}]),
    "kernel_distance": (kernel_by_sklearn, [{}]),
    "set_coverage": (coverage_by_neighbours, [{}, {"k": 2}]),
    "diversity": (diversity_by_pdist, [{}]),
}
CASES = [
    pytest.param(
        resolve(Metric, {"name": n, **o}), reference, id="-".join([n, *map(str, o.values())])
    )
    for n, (reference, options) in REFERENCES.items()
    for o in options
]


def test_every_metric_of_pictures_has_a_reference():
    assert set(REFERENCES) == set(REGISTERED)


@pytest.mark.parametrize(("metric", "reference"), CASES)
def test_it_equals_the_reference(metric, reference):
    if isinstance(metric, PixelMetric):
        noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        cases = [*smooth(3), *smooth(1, 40, 90, 1), *smooth(1, 300, 300, 2), noise]
        cases += [np.full((64, 64, 3), 255, np.uint8)] if metric.component == "ssim" else []
        cases[0][:30] = 255  # half of it without any variance
        for seen, painted in zip(cases, [*cases[1:], cases[0]]):
            found = metric.compare(metric.prepare(seen), metric.prepare(painted))
            assert found == pytest.approx(reference(metric, seen, painted), abs=1e-6)
    elif isinstance(metric, FeatureMetric):
        pairs = some_pairs()
        np.testing.assert_allclose(metric.values(pairs), reference(metric, pairs), atol=1e-6)
    else:
        seen, painted = RNG.standard_normal((2, 60, 6)) * [[[1.0]], [[0.7]]]
        for some in (painted, painted[:40] + 1, seen):
            found = metric.of_sets(seen, some)
            assert found == pytest.approx(reference(metric, seen, some), abs=1e-6)


def test_the_published_ssim_depends_on_the_version_as_recorded():
    """Plain SSIM and that along columns are different numbers, the latter higher, for smooth pictures."""
    seen, painted = smooth(2)
    assert ssim(seen, painted) < ssim(seen, painted, columns=True) - 0.001


# ---- edges ---------------------------------------------------------------------------------------


def test_the_same_picture_is_perfect_and_one_colour_says_nothing():
    picture, gray = smooth(1)[0], np.full((64, 64, 3), 90, np.uint8)
    assert pixcorr(picture, picture) == pytest.approx(1, abs=1e-9)
    assert pixcorr(picture, 255 - picture) == pytest.approx(-1, abs=1e-9)
    assert ssim(picture, picture) == pytest.approx(1, abs=1e-9)
    assert ssim(gray, gray) == ssim(gray, gray, columns=True) == pytest.approx(1, abs=1e-9)
    assert pixcorr(picture, gray) == pixcorr(gray, picture) == pixcorr(gray, gray) == 0


@pytest.mark.parametrize("name", [n for n, c in REGISTERED.items() if issubclass(c, FeatureMetric)])
def test_identical_features_are_perfect(name):
    metric = resolve(Metric, name)
    seen = RNG.standard_normal((9, 30)).astype(np.float32)
    pairs = Pairs(seen, seen, np.arange(9), [str(i) for i in range(9)])
    expected = 1.0 if metric.higher_is_better else 0.0
    np.testing.assert_allclose(metric.values(pairs), expected, atol=1e-7)


def test_sets_of_the_same_are_alike():
    seen = RNG.standard_normal((80, 5))
    assert frechet(seen, seen) == pytest.approx(0, abs=1e-9)
    assert kernel_distance(seen, seen) < 0  # unbiased: shared pictures count as pairs across
    assert set_coverage(seen, seen) == 1
    assert spread(np.ones((4, 6))) == 1


def test_frechet_with_more_dims_than_pictures_equals_its_definition():
    seen, painted = RNG.standard_normal((2, 8, 20))
    metric = resolve(Metric, "frechet")
    assert frechet(seen, painted) == pytest.approx(
        frechet_by_sqrtm(metric, seen, painted), abs=1e-5
    )


def test_who_always_paints_the_same_wins_nothing():
    """Equal features tie exactly, whatever the order of sums, and ties are lost."""
    n = 300
    seen = RNG.standard_normal((n, 700)).astype(np.float32)
    same = np.repeat(RNG.standard_normal((1, 700)).astype(np.float32), n, axis=0)
    pairs = Pairs(seen, same, np.arange(n), [str(i) for i in range(n)])
    assert (per_seen(pairs) == 0).all()
    # every place is taken once: 0, 1, ... n - 1 others below, so the mean is exactly chance
    assert sorted(per_reconstruction(pairs) * (n - 1)) == pytest.approx(list(range(n)))
    twins = Pairs(np.repeat(seen[:1], 4, axis=0), seen[:4], np.arange(4), list("abcd"))
    assert (per_reconstruction(twins) == 0).all()


def test_features_without_variation_correlate_with_nothing():
    pairs = some_pairs(6, 6)
    painted = pairs.painted.copy()
    painted[2] = 0.1  # not a whole number: its mean rounds
    pairs = Pairs(pairs.seen, painted, pairs.shown, pairs.image)
    assert pairs.flat.tolist() == [False, False, True, False, False, False]
    assert per_reconstruction(pairs)[2] == per_seen(pairs)[2] == 0
    assert resolve(Metric, "correlation_distance").values(pairs)[2] == 1
    zero = Pairs(pairs.seen, 0 * painted, pairs.shown, pairs.image)
    assert resolve(Metric, "identify").values(zero) == pytest.approx(1 / 6)  # ties share


@pytest.mark.parametrize("name", ["two_way", "identify"])
def test_blocks_change_nothing(name, monkeypatch):
    metric = resolve(Metric, name)
    whole = metric.values(some_pairs(20, 50))
    monkeypatch.setattr("neurovis.metrics.pairs.BLOCK_BYTES", 1000)
    monkeypatch.setattr("neurovis.metrics.pairs.KEEP_BYTES", 0)
    np.testing.assert_array_equal(metric.values(some_pairs(20, 50)), whole)


def test_chance_of_a_distance_is_that_of_all_wrong_pairs():
    pairs = some_pairs()
    metric = resolve(Metric, "correlation_distance")
    expected = [
        np.mean([distance.correlation(pairs.seen[i], p) for i in range(12) if i != own])
        for own, p in zip(pairs.shown, pairs.painted)
    ]
    np.testing.assert_allclose(metric.mismatched(pairs), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["frechet", "set_coverage", "kernel_distance", "diversity"])
def test_what_a_perfect_set_gets_is_what_it_gets_on_average(name):
    metric = resolve(Metric, name)
    rng = np.random.default_rng(3)
    found = []
    for _ in range(30):
        seen, painted = rng.standard_normal((2, 100, 4))
        found.append(metric.of_sets(seen, painted) - metric.expected(seen, 100))
    assert abs(np.mean(found)) < 4 * stats.sem(found) + 0.01


def test_two_way_is_at_chance_for_unrelated_pictures_and_knows_its_direction():
    seen, painted = RNG.standard_normal((2, 200, 20)).astype(np.float32)
    pairs = Pairs(seen, painted, np.arange(200), [str(i) for i in range(200)])
    for direction in ("reconstruction", "seen"):
        metric = resolve(Metric, {"name": "two_way", "direction": direction})
        assert metric.values(pairs).mean() == pytest.approx(0.5, abs=0.08)
        assert metric.title(200) == f"2-way per {direction} of 200"


def test_bad_features_are_one_sentence():
    seen, painted = np.ones((2, 3, 4))
    seen[1, 2] = np.nan
    with pytest.raises(NeurovisError, match="NaN or infinity for the seen picture of 'b'"):
        Pairs(seen, painted, [0, 1, 2], list("abc"))
    with pytest.raises(NeurovisError, match="for the painted picture of 'c'"):
        Pairs(painted, seen, [0, 2, 1], list("abc"))
    with pytest.raises(NeurovisError, match=r"found \(3, 4\), \(3, 5\)"):
        Pairs(painted, np.ones((3, 5)), [0, 1, 2], list("abc"))
    with pytest.raises(NeurovisError, match="expected shown pictures 0 to 2, found 0 to 3"):
        Pairs(painted, painted, [0, 1, 3], list("abc"))
    with pytest.raises(NeurovisError, match="two seen pictures or more, found 1"):
        per_reconstruction(Pairs(painted[:1], painted, [0, 0, 0], ["a"]))
    with pytest.raises(NeurovisError, match="two images in each group of rows or more, found 1"):
        per_seen(Pairs(painted, painted, [0, 0, 0], list("abc")))
    with pytest.raises(NeurovisError, match="features all alike"):
        resolve(Metric, "diversity").of_sets(np.array([[1.0, 2]] * 3), painted)
    with pytest.raises(UsageError, match="variant"):
        resolve(Metric, {"name": "ssim", "variant": "old"})


@pytest.mark.parametrize("name", [n for n, c in REGISTERED.items() if issubclass(c, SetMetric)])
def test_sets_say_how_many_pictures_they_need(name):
    metric = resolve(Metric, name)
    assert metric.least(10) >= 50
    assert (metric.least(2048) > 4000) is (name == "frechet")
