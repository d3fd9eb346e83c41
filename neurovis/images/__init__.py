"""Frozen image encoders: pictures in, vectors or tokens of any layer out.

``encoder("classical").build()`` is ready to run; `embed` does a whole ``stimuli.csv``.
"""

from neurovis.images.base import Encoder, ImageEncoder, open_picture
from neurovis.images.extract import embed
from neurovis.images.names import encoder

__all__ = ["Encoder", "ImageEncoder", "embed", "encoder", "open_picture"]
