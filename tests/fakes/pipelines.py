"""Published generators a few channels wide: the same classes with random weights, saved as on the hub.

``small("unclip", folder)`` writes one and gives the options for `neurovis.config.resolve` that load it;
``PUBLISHED`` names those that it can write. What it writes is what the benchmark measures.
"""

from experiments.benchmarks.generation import NAMES as PUBLISHED
from experiments.benchmarks.generation import save_small as small

__all__ = ["PUBLISHED", "small"]
