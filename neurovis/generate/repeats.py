"""How much of what is said of a trial is noise: from repeats of validation images.

Comes in: decoded vectors of single trials. Goes out: their covariance about the mean of their image's repeats.
Test images are averaged over more trials than validation images have; what decoded vectors tell of an image is the
same there, and their noise less. A map that is fitted to validation rows would shrink for noise that is not there.
"""

from __future__ import annotations

import numpy as np


def between_repeats(
    vector: np.ndarray, image: np.ndarray, subject: np.ndarray
) -> np.ndarray | None:
    """Covariance (dim, dim) of what is said of single trials about the mean of their image's repeats.

    None where no image was shown twice.
    """
    _, code, count = np.unique(
        np.stack([image, subject]), axis=1, return_inverse=True, return_counts=True
    )
    code = code.ravel()
    free = int((count - 1).sum())
    if not len(vector) or not free:
        return None
    mean = np.zeros((len(count), vector.shape[1]))
    np.add.at(mean, code, vector)
    around = vector - (mean / count[:, None])[code]
    return around.T @ around / free
