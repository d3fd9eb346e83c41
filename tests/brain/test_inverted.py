"""The inverted tower starts as the Gaussian discriminant, and sees training images as it will see new ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurovis.brain.base import REGRESSION, Shape
from neurovis.brain.inverted import Inverted, half_power

CHANS, TIMES, N_FOLDS = 5, 8, 4
OUTPUTS = {"image": 3, "colour": 2}
CUT = 3
SUBJECTS = ("01", "02")
PRESENT = torch.ones(len(SUBJECTS), CHANS, dtype=torch.bool)


def shape(subjects=SUBJECTS) -> Shape:
    position = np.full((CHANS, 3), np.nan)
    names = tuple(f"C{i}" for i in range(CHANS))
    return Shape(TIMES, 100.0, names, ("eeg",) * CHANS, position, subjects, OUTPUTS)


def toy(n_images: int = 300, repeats: int = 3, seed: int = 0, level: float = 0.15) -> dict:
    """Trials of a linear response in noise that is correlated in space and in time."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n_images, sum(OUTPUTS.values()))).astype(np.float32)
    item = np.repeat(np.arange(n_images), repeats)
    out = {"truth": z[item], "fold": item % N_FOLDS, "signal": []}
    for _ in SUBJECTS:
        weight = rng.standard_normal((z.shape[1], CHANS, TIMES))
        space = rng.standard_normal((CHANS, CHANS)) * 0.4 + np.eye(CHANS)
        time = np.tril(0.6 ** np.abs(np.subtract.outer(np.arange(TIMES), np.arange(TIMES))))
        noise = space @ rng.standard_normal((len(item), CHANS, TIMES)) @ time.T
        signal = level * np.tensordot(z[item], weight, 1) + noise + 2
        out["signal"].append(signal.astype(np.float32))
    return out


def started(data: dict, apart: bool = False, **options):
    torch.manual_seed(0)
    config = Inverted(**{"n_folds": N_FOLDS, "n_hidden": 8, **options})
    tower = config.build(shape())
    roots = tower.start(
        trials=lambda n: np.array_split(data["signal"][n], 3),
        truth=lambda n: data["truth"],
        fold=lambda n: data["fold"],
        apart=apart,
    )
    return tower.eval(), roots


@pytest.fixture(scope="module")
def data():
    return toy()


@pytest.fixture(scope="module")
def tower(data):
    return started(data)[0]


def discriminant(signal: np.ndarray, z: np.ndarray, new: np.ndarray, n_averaged: int) -> np.ndarray:
    """Slope of the log likelihood along each feature, with dense matrices and plain least squares.

    Features are put in the metric that their evoked signals give them.
    """
    x = signal.reshape(len(signal), -1).astype(np.float64)
    design = np.column_stack([np.ones(len(z)), z]).astype(np.float64)
    weight = np.linalg.lstsq(design, x, rcond=None)[0]
    covariance = np.cov((x - design @ weight).T) / n_averaged
    sharp = np.linalg.solve(covariance, weight[1:].T).T
    slope = (new.reshape(len(new), -1) - x.mean(0)) @ sharp.T
    value, vector = np.linalg.eigh(sharp @ weight[1:].T)
    return slope @ (vector / np.sqrt(value)) @ vector.T


def test_subjects_apart_start_as_each_would_alone(data):
    """Filters, and the image side that goes with them, are those of a tower of one subject."""
    both, roots = started(data, apart=True)
    for number, who in enumerate(SUBJECTS):
        torch.manual_seed(0)
        alone = Inverted(n_folds=N_FOLDS, n_hidden=8).build(shape((who,)))
        own = alone.start(
            trials=lambda _, n=number: np.array_split(data["signal"][n], 3),
            truth=lambda _: data["truth"],
            fold=lambda _: data["fold"],
        )
        for name, root in own.items():
            np.testing.assert_allclose(roots[name][number], root, rtol=1e-5, atol=1e-6)
        for name in ("filters", "offset", "crossed", "regression"):
            found = getattr(both, name)[number]
            torch.testing.assert_close(found, getattr(alone, name)[0], rtol=1e-4, atol=1e-5)
    _, mean = started(data)
    assert mean["image"].shape == (CUT, CUT)


def test_filters_are_the_gaussian_discriminant():
    """So many trials that both ways find the same."""
    data = toy(3000, repeats=2, level=0.06)
    # one metric serves all subjects, so both subjects are the same here
    data["signal"][1] = data["signal"][0]
    tower, _ = started(data)
    new = toy(30, seed=7)["signal"][0]
    for columns in (slice(0, CUT), slice(CUT, None)):
        # each target is encoded on its own: the others' responses are part of its noise
        expected = discriminant(data["signal"][0], data["truth"][:, columns], new, 4)
        said = tower.features(torch.from_numpy(new), 0).numpy()[:, columns]
        assert np.corrcoef(said.ravel(), expected.ravel())[0, 1] > 0.985
        for one, two in zip(said.T, expected.T):
            assert np.corrcoef(one, two)[0, 1] > 0.97


def test_filtered_signals_name_the_image(data, tower):
    rows = data["fold"] == 0
    for number in range(len(SUBJECTS)):
        fold = torch.from_numpy(data["fold"][rows])
        x = tower.features(torch.from_numpy(data["signal"][number][rows]), number, fold).numpy()
        truth = data["truth"][rows]
        agree = [np.corrcoef(a, b)[0, 1] for a, b in zip(x.T, truth.T)]
        assert min(agree) > 0.1
        assert np.mean(agree) > 0.3


def agreement(data: dict, tower, crossed: bool) -> float:
    """Mean correlation of filtered training signals with the labels they were learned with."""
    fold = torch.from_numpy(data["fold"]) if crossed else None
    found = []
    for number, signal in enumerate(data["signal"]):
        x = tower.features(torch.from_numpy(signal), number, fold).numpy()
        found += [np.corrcoef(a, b)[0, 1] for a, b in zip(x.T, data["truth"].T)]
    return float(np.mean(found))


def test_a_row_is_filtered_by_what_was_learned_without_it(data):
    """Where labels say nothing, filters that saw a row still agree with its label.

    Crossed ones do only as far as the prior goes that all parts share.
    """
    crossed, seen = [], []
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(300)
        wrong = {**data, "truth": data["truth"].reshape(300, 3, -1)[order].reshape(900, -1)}
        tower, _ = started(wrong)
        crossed.append(agreement(wrong, tower, True))
        seen.append(agreement(wrong, tower, False))
    assert min(seen) > 0.1
    assert abs(np.mean(crossed)) < 0.5 * np.mean(seen)


def test_training_uses_crossed_filters_and_new_trials_all_of_them(data, tower):
    signal = torch.from_numpy(data["signal"][0][:40])
    fold = torch.from_numpy(data["fold"][:40])
    crossed = tower.features(signal, 0, fold)
    for part in range(N_FOLDS):
        rows = fold == part
        own = signal[rows].flatten(1) @ tower.crossed[0, part] - tower.crossed_offset[0, part]
        torch.testing.assert_close(crossed[rows], own, rtol=1e-4, atol=1e-4)
    whole = signal.flatten(1) @ tower.filters[0] - tower.offset[0]
    torch.testing.assert_close(tower.features(signal, 0), whole, rtol=1e-4, atol=1e-4)
    assert (crossed - whole).abs().max() > 0.01
    subject = torch.zeros(40, dtype=torch.long)
    with torch.inference_mode():
        said = tower(signal, subject, PRESENT[subject])
        seen = tower(signal, subject, PRESENT[subject], fold)
    assert set(said) == {name + end for name in OUTPUTS for end in ("", REGRESSION)}
    assert (said["image"] - seen["image"]).abs().max() > 0.01
    # what is trained starts by saying the filtered signal
    joined = torch.cat([said[name] for name in OUTPUTS], 1)
    torch.testing.assert_close(joined, whole, rtol=1e-4, atol=1e-4)


def test_the_regression_head_starts_in_the_units_of_the_targets(data, tower):
    for number in range(len(SUBJECTS)):
        rows = np.flatnonzero(data["fold"] == 2)
        subject = torch.full((len(rows),), number)
        with torch.inference_mode():
            said = tower(
                torch.from_numpy(data["signal"][number][rows]),
                subject,
                PRESENT[subject],
                torch.from_numpy(data["fold"][rows]),
            )
        guess = torch.cat([said[name + REGRESSION] for name in OUTPUTS], 1).numpy()
        truth = data["truth"][rows]
        assert ((guess - truth) ** 2).mean() < 0.97 * truth.var()


def test_subjects_have_filters_of_their_own_in_any_order_of_rows(data, tower):
    signal = torch.from_numpy(np.concatenate([s[:6] for s in data["signal"]]))
    subject = torch.tensor([0] * 6 + [1] * 6)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        plain = tower(signal, subject, PRESENT[subject])["image"]
        mixed = tower(signal[order], subject[order], PRESENT[subject])["image"]
        swapped = tower(signal, 1 - subject, PRESENT[subject])["image"]
    torch.testing.assert_close(mixed, plain[order])
    assert (swapped - plain).abs().max() > 0.1


def test_weights_come_back_and_say_the_same(data, tower):
    again = Inverted(n_folds=N_FOLDS, n_hidden=8).build(shape())
    again.load_state_dict(tower.state_dict())
    subject = torch.tensor([0, 1] * 5)
    signal = torch.from_numpy(data["signal"][0][:10])
    with torch.inference_mode():
        one, two = (t.eval()(signal, subject, PRESENT[subject]) for t in (tower, again))
    for name in one:
        assert torch.equal(one[name], two[name])
    # only training needs the crossed filters, so they are not stored
    assert not any("crossed" in name for name in tower.state_dict())


def test_a_part_without_trials_is_no_obstacle(data):
    """Fewer images than parts leave some parts empty."""
    few = {**data, "fold": np.minimum(data["fold"], 1)}
    tower, roots = started(few)
    assert torch.isfinite(tower.crossed).all()
    assert [root.shape for root in roots.values()] == [(w, w) for w in OUTPUTS.values()]


def test_half_power_is_the_square_root():
    rng = np.random.default_rng(0)
    block = rng.standard_normal((6, 4))
    root, inverse = half_power(block.T @ block)
    np.testing.assert_allclose(root @ root, block.T @ block, atol=1e-9)
    np.testing.assert_allclose(root @ inverse, np.eye(4), atol=1e-9)
    flat, back = half_power(np.diag([1.0, 0.0]))
    assert np.isfinite(back).all()
    np.testing.assert_allclose(np.diag(flat), [1, np.sqrt(1e-3)])
