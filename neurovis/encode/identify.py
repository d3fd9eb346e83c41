"""Decoding through encoding: which test image explains a response best, by Bayes' rule.

Comes in: predicted and measured responses of validation and test images. Goes out: identification scores of
the encoding model, of a decoder on the same rows, and of both together. The likelihood is Gaussian;
its covariance comes from validation residuals, split into what repeats average out and what they do not.
All images of the gallery are as likely beforehand. Targets, covariance and the weights of the
combination are learned from training and validation rows alone, and rows are judged one at a time.

References: Kay et al. 2008, doi:10.1038/nature06713; Naselaris et al. 2009,
doi:10.1016/j.neuron.2009.09.006 (Bayesian decoding from encoding models).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurovis.encode.experiment import Identify
from neurovis.encode.responses import Responses
from neurovis.encode.scores import pearson
from neurovis.errors import NeurovisError
from neurovis.evaluate import Answers, read_answers
from neurovis.metrics.retrieval import MedianRank, Top, cosine_blocks, merge_gallery, place
from neurovis.metrics.scoring import score_images
from neurovis.records import Embeddings, Prediction

METRICS = (Top(k=1), Top(k=5), MedianRank())
N_FOLDS = 5
"""Of validation rows, in which weights of a combination are learned."""
MOST_TRIALS = 4000
"""Training trials that the noise of single trials is told from."""


def covariance(
    residual: np.ndarray, deviation: np.ndarray | None, repeats: np.ndarray, n: float,
    shrinkage: float | None = None,
) -> np.ndarray:  # fmt: skip
    """Covariance of a mean of `n` trials about the model's prediction.

    Parameters
    ----------
    residual : array (image, target)
        Measured less predicted means of validation images.
    deviation : array (trial, target) or None
        Single trials less their image's mean, scaled so that their mean square is the noise variance.
    repeats : array (image,)
        Trials behind each residual.
    n : float
    shrinkage : float, optional
        Towards the diagonal; Ledoit and Wolf's for correlations if None.

    Returns
    -------
    array (target, target)
        Positive definite.

    References
    ----------
    Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    spread = residual.std(0).clip(1e-12)
    white = residual / spread
    alpha = ledoit_wolf_shrinkage(white) if shrinkage is None else shrinkage
    whole = white.T @ white / len(white)
    if deviation is not None:
        # the part that further trials average out is taken away and added for n trials
        noise = (deviation / spread).T @ (deviation / spread) / len(deviation)
        value, vector = np.linalg.eigh(whole - noise * np.mean(1 / repeats))
        whole = (vector * value.clip(0)) @ vector.T + noise / n
    diagonal = np.diag(whole).copy()
    whole = (1 - alpha) * whole
    # never singular, however few residuals there are
    whole[np.diag_indices(len(whole))] += alpha * diagonal + 1e-6 * diagonal.mean()
    return whole * spread * spread[:, None]


def likelihood(y: np.ndarray, predicted: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Log likelihood of each response under each image, up to a constant: array (row, image)."""
    root = np.linalg.cholesky(sigma)
    from scipy.linalg import solve_triangular

    a = solve_triangular(root, y.T.astype(np.float64), lower=True).T
    b = solve_triangular(root, predicted.T.astype(np.float64), lower=True).T
    return a @ b.T - 0.5 * (b**2).sum(1) - 0.5 * (a**2).sum(1)[:, None]


def weights(views: list[np.ndarray], shown: np.ndarray) -> np.ndarray:
    """Weights of log likelihoods under which softmax of their sum makes validation rows most likely.

    Parameters
    ----------
    views : list of array (row, image)
    shown : array of int (row,)

    Returns
    -------
    array (view,)
        0 or above.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    rows = np.arange(len(shown))
    size = [np.abs(v - v.mean(1, keepdims=True)).mean() or 1.0 for v in views]
    scaled = [(v - v.mean(1, keepdims=True)) / s for v, s in zip(views, size)]

    def loss(logs: np.ndarray) -> float:
        total = sum(np.exp(w) * v for w, v in zip(logs, scaled))
        return float((logsumexp(total, 1) - total[rows, shown]).mean())

    start = np.zeros(len(views))
    found = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 400, "xatol": 1e-3})
    return np.exp(found.x.clip(-20, 10)) / size


def identify(
    options: Identify,
    responses: Responses,
    system: str,
    test: np.ndarray,
    held: np.ndarray,
    protocol: str,
) -> dict[str, Any]:
    """Score identification of test images.

    Parameters
    ----------
    options : Identify
    responses : Responses
    system : str
        Name of the encoding model.
    test : array (image, target)
        What it predicts of test images.
    held : array (image, target)
        What it predicts of validation images that it did not learn from.
    protocol : str

    Returns
    -------
    dict
        ``scores``, ``notes``, and ``arrays`` for ``encoding.h5``.
    """
    known, notes = ~responses.constant, []
    y_held = responses.y[responses.n_train :]
    quality = np.where(known, pearson(held, y_held), -np.inf)
    n_targets = min(options.n_targets, int(known.sum()))
    use = np.sort(np.argsort(-quality, kind="stable")[:n_targets])
    if n_targets < options.n_targets:
        notes.append(
            f"sub-{responses.subject}: identification uses {n_targets} targets, as no more of them vary."
        )
    residual = (y_held - held)[:, use]
    repeats = _repeats(responses, "validation")
    deviation = _deviation(responses, use)
    gallery, shown = responses.test_image, np.arange(len(responses.test_image))
    n = 1 / np.mean(1 / responses.repeats)
    sigma = covariance(residual, deviation, repeats, n, options.shrinkage)
    whole = likelihood(responses.test[:, use], test[:, use], sigma)
    scores, arrays = [], {"identify/target": use, "identify/similarity": whole}
    about = {"subject": responses.subject, "target": "response", "n_targets": n_targets}
    common = {"gallery": f"{len(gallery)} test images (shown image)", "protocol": protocol}

    def add(name: str, similarity: np.ndarray, image: np.ndarray, item: np.ndarray, k: int) -> None:
        above, tied = place(similarity, item)
        more = {**about, "system": name, "n_averaged": k, "n_rows": len(image)}
        metrics = [m for m in METRICS if m.fits(len(gallery))]
        found = score_images(metrics, image, above, tied, len(gallery), {**common, "about": more})
        scores.extend(one.score for one in found)

    most = int(responses.repeats.max())
    add(system, whole, gallery, shown, most)
    rows = responses.rows["test"]
    if most > 1:
        single = covariance(residual, deviation, repeats, 1, options.shrinkage)
        image = responses.trial_image[rows]
        order = np.argsort(gallery)
        item = order[np.searchsorted(gallery, image, sorter=order)]
        said = np.concatenate(
            [
                likelihood(responses.read_trials(rows[i : i + 1024])[:, use], test[:, use], single)
                for i in range(0, len(rows), 1024)
            ]
        )
        add(system, said, image, item, 1)
    if options.decoder:
        held_said = _of_others(options, responses, held, n_targets)
        # weights are learned from means of as many trials as validation has, and so is what they weigh:
        # a decoder's similarities do not grow with the trials behind them
        own = covariance(residual, deviation, repeats, 1 / np.mean(1 / repeats), options.shrinkage)
        alike = likelihood(responses.test[:, use], test[:, use], own)
        try:
            decoded, both, note = _beside(options, responses, alike, held_said)
        except NeurovisError as error:
            notes.append(f"identification beside the decoder: {error}")
        else:
            add(f"decoder {options.system}", decoded, gallery, shown, most)
            if both is not None:
                add(f"{system} + {options.system}", both, gallery, shown, most)
            notes += [note] if note else []
    return {"scores": scores, "notes": notes, "arrays": arrays}


def _of_others(
    options: Identify, responses: Responses, held: np.ndarray, n_targets: int
) -> np.ndarray:
    """Log likelihood of validation rows, by targets and covariance that other rows chose.

    Targets that are best on the very rows that they judge would seem to tell more than they do.

    Returns
    -------
    array (image, image)
    """
    y, known = responses.y[responses.n_train :], ~responses.constant
    repeats = _repeats(responses, "validation")
    n = 1 / np.mean(1 / repeats)
    said = np.zeros((len(y), len(y)))
    for rows in np.array_split(np.random.default_rng(0).permutation(len(y)), N_FOLDS):
        others = np.setdiff1d(np.arange(len(y)), rows)
        quality = np.where(known, pearson(held[others], y[others]), -np.inf)
        use = np.sort(np.argsort(-quality, kind="stable")[:n_targets])
        residual = (y - held)[np.ix_(others, use)]
        sigma = covariance(residual, _deviation(responses, use), repeats[others], n, options.shrinkage)  # fmt: skip
        said[rows] = likelihood(y[np.ix_(rows, use)], held[:, use], sigma)
    return said


def _repeats(responses: Responses, side: str) -> np.ndarray:
    """Trials of each image of a side, in the order of its images: array of int (image,)."""
    image = responses.trial_image[responses.rows[side]]
    names = responses.image[responses.n_train :] if side == "validation" else responses.test_image
    found, n = np.unique(image, return_counts=True)
    count = dict(zip(found.tolist(), n.tolist()))
    return np.array([count[name] for name in names.tolist()])


def _deviation(responses: Responses, use: np.ndarray) -> np.ndarray | None:
    """Single training trials about their image's mean; None where no image was repeated."""
    rows = responses.rows["train"]
    image = responses.trial_image[rows]
    _, item, n = np.unique(image, return_inverse=True, return_counts=True)
    rows = rows[n[item] > 1]
    rows = rows[np.argsort(responses.trial_image[rows], kind="stable")][:MOST_TRIALS]
    image = responses.trial_image[rows]
    _, first, n = np.unique(image, return_index=True, return_counts=True)
    if len(n) < 10:
        return None
    signal = responses.read_trials(rows)[:, use].astype(np.float64)
    mean = np.add.reduceat(signal, first) / n[:, None]
    # a mean of k trials takes a k-th of the variance with it
    size = np.sqrt(n / np.maximum(n - 1, 1))
    return ((signal - np.repeat(mean, n, 0)) * np.repeat(size, n)[:, None])[np.repeat(n > 1, n)]


def _beside(
    options: Identify, responses: Responses, whole: np.ndarray, held_said: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """What a decoder says of the same rows, and both together: arrays (image, image)."""
    run = Path(options.decoder)
    answers, _ = read_answers(run)
    some = [one for one in answers if one.system == options.system]
    one = next((a for a in some if a.target == "all"), some[0] if some else None)
    if one is None:
        raise NeurovisError(
            f"{run}: has no system {options.system!r}, expected one of "
            f"{', '.join(sorted({a.system for a in answers}))}; name another in identify.system."
        )
    decoded = _aligned(one, responses, run)
    folder, who = run / "systems" / options.system, responses.subject
    # one model for all subjects, or one for each
    names = ["", f"-new-{who}", f"-without-{who}", f"-{who}"]
    paths = [folder / f"validation{name}.h5" for name in names]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return decoded, None, (
            f"{options.system} of {run.name} keeps no validation predictions: not combined, as weights "
            "would have to be chosen on test images."
        )  # fmt: skip
    held_image = responses.image[responses.n_train :]
    prediction = Prediction.read(path)
    pairs = []
    for target, vector in prediction.vector.items():
        if one.target in ("all", target):
            found = Embeddings.read(path.with_suffix("") / f"{target}.h5")
            pairs.append((vector, merge_gallery(held_image, found.at(held_image))[1]))
    similarity = np.concatenate([block for _, block in cosine_blocks(pairs)])
    rows = _rows(prediction.image, prediction.subject, prediction.n_averaged, held_image, responses)
    shown = np.arange(len(held_image))
    first, second = weights([held_said, similarity[rows]], shown)
    return decoded, first * whole + second * decoded, ""


def _aligned(one: Answers, responses: Responses, run: Path) -> np.ndarray:
    """Similarities of this subject's means over all repeats, in the order of its test images."""
    similarity = np.concatenate([block for _, block in one.blocks()])
    gallery = {image: i for i, image in enumerate(one.gallery.tolist())}
    lacking = [i for i in responses.test_image.tolist() if i not in gallery]
    if lacking:
        raise NeurovisError(
            f"{run}: its gallery lacks image {lacking[0]!r}; use a run on the same prepared data."
        )
    rows = _rows(one.image, one.subject, one.n_averaged, responses.test_image, responses)
    return similarity[rows][:, [gallery[i] for i in responses.test_image.tolist()]]


def _rows(
    image: np.ndarray,
    subject: np.ndarray,
    n_averaged: np.ndarray,
    wanted: np.ndarray,
    responses: Responses,
) -> np.ndarray:
    """Rows of the most trials averaged of each wanted image of this subject."""
    best: dict[str, tuple[int, int]] = {}
    for row in np.flatnonzero(subject == responses.subject):
        name, n = str(image[row]), int(n_averaged[row])
        if name not in best or n > best[name][0]:
            best[name] = (n, int(row))
    lacking = [name for name in wanted.tolist() if name not in best]
    if lacking:
        raise NeurovisError(
            f"predictions: none of image {lacking[0]!r} for sub-{responses.subject}; use a run on the same "
            "prepared data and subjects."
        )
    return np.array([best[name][1] for name in wanted.tolist()])
