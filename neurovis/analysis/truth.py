"""What a simulation planted, seen through the levels of an analysis: to judge it, never to train it.

Comes in: the truth beside simulated recordings and a `Layout`. Goes out: for each subject and level how
strongly a noiseless response depends on it, by channel and time, in the units of the trials.
"""

from __future__ import annotations

import numpy as np

from neurovis.analysis.base import Layout
from neurovis.batches import Recordings
from neurovis.progress import say


def planted(recordings: Recordings, layout: Layout, quiet: bool = False) -> dict[str, list]:
    """Planted responses to each level.

    Parameters
    ----------
    recordings : Recordings
    layout : Layout
    quiet : bool

    Returns
    -------
    dict of list of array (channel, time)
        Per subject, then level: root mean square over the fitted images of what is linear in the
        level's vectors. Empty where the truth is not known.
    """
    truths = {s: recordings.folder / f"sub-{s}" / "truth.h5" for s in recordings.subjects}
    if recordings.scale != "stored" or not all(path.is_file() for path in truths.values()):
        return {}
    from neurovis.world.observers import linear_response

    out = {}
    for number, (subject, path) in enumerate(truths.items()):
        rows = np.unique(layout.shown(subject, "fit"))
        levels = [part[rows] for part in layout.parts(layout.vector)]
        found = linear_response(recordings.trials[number], path, layout.image[rows], levels)
        if found is None:
            say("the planted response is not known: channels were whitened", quiet)
            return {}
        channels = layout.channels[subject]
        where = {str(name): i for i, name in enumerate(recordings.trials[number].channel_name)}
        order = [where[recordings.channel_name[i]] for i in channels]
        out[subject] = [_in_time(one[order], recordings, layout) for one in found]
    return out


def _in_time(response: np.ndarray, recordings: Recordings, layout: Layout) -> np.ndarray:
    """The samples that the analysis uses, binned as it bins them."""
    if response.shape[1] == 1:
        return response
    first = recordings.trials[0]
    start = int(np.argmin(np.abs(first.times - recordings.times[0])))
    n_bin = round(layout.step * first.sfreq)
    n = len(layout.times)
    kept = response[:, start : start + n * n_bin]
    return np.sqrt((kept.reshape(len(kept), n, n_bin) ** 2).mean(2))
