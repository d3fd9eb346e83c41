"""Pictures changed before an encoder sees them: blurred, coarse, noisy, cropped.

Comes in: an opened RGB picture. Goes out: another of the same size, the same each time. `Viewed` puts a
view before any encoder of pictures; which view it was is part of what the embeddings record.

References: blur as a prior on what a brain signal can tell: arXiv 2503.04207 (UBP); embeddings averaged
over views: arXiv 2511.06836 (NeuroBridge).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic

from neurovis.config import Family, to_dict
from neurovis.errors import UsageError
from neurovis.images.base import Encoder, ImageEncoder

if TYPE_CHECKING:
    from PIL.Image import Image


class View(Family, family="views"):
    """A fixed change of a picture."""

    @property
    def label(self) -> str:
        """Short name for folders and for the gallery's text, with what differs from the default."""
        changed = [
            f"{key}={getattr(self, key):g}"
            for key, field in type(self).model_fields.items()
            if getattr(self, key) != field.default
        ]
        return "-".join([self.component, *changed])

    def __call__(self, picture: Image) -> Image:
        """Change a picture.

        Parameters
        ----------
        picture : PIL.Image.Image
            Mode RGB; not modified.

        Returns
        -------
        PIL.Image.Image
            Of the same size and mode.
        """
        from PIL import Image

        pixels = self.change(np.asarray(picture, np.float32))
        return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), "RGB")

    def change(self, pixels: np.ndarray) -> np.ndarray:
        """Change pixels: array (height, width, 3) float32, 0..255, to the same shape."""
        raise NotImplementedError


class Plain(View, name="plain"):
    """The picture as it is."""

    def change(self, pixels: np.ndarray) -> np.ndarray:
        return pixels


class Blur(View, name="blur"):
    """Gaussian blur of the whole picture.

    Parameters
    ----------
    kernel : int
        Width of the kernel in pixels, odd; 51 in UBP.
    sigma : float
        Standard deviation in pixels; 0 takes 0.15 x kernel + 0.35, the rule of OpenCV and torchvision
        for a kernel without one, on which UBP's code relies.
    reference : int
        Length of a picture's shorter side for which these are pixels; for other sizes they are scaled
        with it. UBP blurs pictures of 224 x 224. 0 never scales.

    References
    ----------
    Wu et al. 2025, arXiv 2503.04207.
    """

    kernel: int = pydantic.Field(51, ge=3)
    sigma: float = pydantic.Field(0.0, ge=0)
    reference: int = pydantic.Field(224, ge=0)

    @pydantic.field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise UsageError(f"blur.kernel: expected an odd number of pixels, found {value}.")
        return value

    def weights(self, shorter: int) -> np.ndarray:
        """Kernel for a picture with this shorter side: array (tap,), sums to 1."""
        scale = shorter / self.reference if self.reference else 1.0
        sigma = (self.sigma or 0.15 * self.kernel + 0.35) * scale
        radius = max(1, round((self.kernel - 1) / 2 * scale))
        taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        return taps / taps.sum()

    def change(self, pixels: np.ndarray) -> np.ndarray:
        from scipy.ndimage import correlate1d

        taps = self.weights(min(pixels.shape[:2]))
        rows = correlate1d(pixels, taps, axis=0, mode="mirror")
        return correlate1d(rows, taps, axis=1, mode="mirror")


class Fovea(Blur, name="fovea"):
    """Blur that grows from the middle outwards, as acuity falls away from where one looks.

    A pixel at distance d from the middle is ``w x sharp + (1 - w) x blurred`` with
    ``w = peak exp(-decay d / d_max)``, d_max being the distance of the corners.

    Parameters
    ----------
    kernel, sigma, reference
        As in `Blur`.
    peak : float
        Weight of the sharp picture in the middle; .5 in UBP.
    decay : float
        3 in UBP.
    """

    peak: float = pydantic.Field(0.5, ge=0, le=1)
    decay: float = pydantic.Field(3.0, ge=0)

    def change(self, pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        y = np.arange(height)[:, None] - (height - 1) / 2
        x = np.arange(width)[None, :] - (width - 1) / 2
        distance = np.hypot(y, x)
        sharp = self.peak * np.exp(-self.decay * distance / max(distance.max(), 1e-9))
        blurred = super().change(pixels)
        return blurred + np.float32(sharp[..., None]) * (pixels - blurred)


class LowResolution(View, name="low_resolution"):
    """Fewer pixels: shrunk by averaging, enlarged again smoothly.

    Parameters
    ----------
    side : int
        Pixels that the shorter side keeps (published values: unverified).
    """

    side: int = pydantic.Field(32, ge=1)

    def change(self, pixels: np.ndarray) -> np.ndarray:
        return _resampled(pixels, self.side, "BICUBIC")


class Mosaic(View, name="mosaic"):
    """Even squares of the mean colour.

    Parameters
    ----------
    side : int
        Squares along the shorter side (published values: unverified).
    """

    side: int = pydantic.Field(16, ge=1)

    def change(self, pixels: np.ndarray) -> np.ndarray:
        return _resampled(pixels, self.side, "NEAREST")


def _resampled(pixels: np.ndarray, side: int, back: str) -> np.ndarray:
    """Shrink by averaging until the shorter side has `side` pixels, and enlarge again."""
    from PIL import Image

    picture = Image.fromarray(pixels.astype(np.uint8), "RGB")
    scale = side / min(picture.size)
    if scale >= 1:
        return pixels
    small = tuple(max(1, round(n * scale)) for n in picture.size)
    coarse = picture.resize(small, Image.Resampling.BOX)
    return np.asarray(coarse.resize(picture.size, Image.Resampling[back]), np.float32)


class Noise(View, name="noise"):
    """Gaussian noise on every pixel and colour, the same for the same picture.

    Parameters
    ----------
    deviation : float
        Standard deviation as a share of the range of a pixel (published values: unverified).
    seed : int
    """

    deviation: float = pydantic.Field(0.1, gt=0)
    seed: int = 0

    def change(self, pixels: np.ndarray) -> np.ndarray:
        # the picture seeds its noise: no order of work and no other picture changes it
        digest = hashlib.sha256(f"{self.seed}/".encode() + pixels.tobytes()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        extra = generator.standard_normal(pixels.shape, np.float32)
        return pixels + np.float32(255 * self.deviation) * extra


class Crop(View, name="crop"):
    """A part of the picture, enlarged to the size of the whole.

    Parameters
    ----------
    share : float
        Length of the part's sides relative to the picture's.
    x, y : float
        Where it lies: 0 is left or top, 0.5 the middle, 1 right or bottom.
    """

    share: float = pydantic.Field(0.8, gt=0, le=1)
    x: float = pydantic.Field(0.5, ge=0, le=1)
    y: float = pydantic.Field(0.5, ge=0, le=1)

    def change(self, pixels: np.ndarray) -> np.ndarray:
        from PIL import Image

        height, width = pixels.shape[:2]
        w, h = self.share * width, self.share * height
        left, top = self.x * (width - w), self.y * (height - h)
        picture = Image.fromarray(pixels.astype(np.uint8), "RGB")
        box = (left, top, left + w, top + h)
        return np.asarray(
            picture.resize(picture.size, Image.Resampling.BICUBIC, box=box), np.float32
        )


class Viewed(ImageEncoder, name="viewed"):
    """An encoder that sees every picture through a view.

    Parameters
    ----------
    encoder : str, dict or ImageEncoder
    view : View
    """

    encoder: ImageEncoder
    view: View = "blur"

    @pydantic.field_validator("encoder", mode="before")
    @classmethod
    def _named(cls, value: Any) -> ImageEncoder:
        from neurovis.images.names import encoder

        return encoder(value)

    @pydantic.model_validator(mode="after")
    def _of_pictures(self) -> Viewed:
        if not self.encoder.of_pictures:
            raise UsageError(
                f"viewed: {self.encoder.label} looks at no picture, expected an encoder of pictures; "
                "leave the view out."
            )
        return self

    @property
    def label(self) -> str:
        return f"{self.encoder.label}-{self.view.label}"

    def build(self) -> Encoder:
        """Make the encoder behind the view."""
        # where it runs is said of the whole
        inner = self.encoder.model_copy(update={"device": self.device}).build()
        return Encoder(
            lambda picture: inner.prepare(self.view(picture)), inner.embed, inner.weights
        )

    def identity(self, weights: str) -> dict[str, Any]:
        own = {"name": self.component, "view": to_dict(self.view, how_too=False)}
        return own | {"encoder": self.encoder.identity(weights)}


def altered(encoder: dict[str, Any]) -> str:
    """What to say of a gallery that is not plain pictures; starts with ``; ``, or is empty.

    Parameters
    ----------
    encoder : dict
        As `Embeddings` record it.
    """
    if isinstance(encoder.get("targets"), dict):
        said = {name: altered(one) for name, one in encoder["targets"].items()}
        return "".join(f"{text} [{name}]" for name, text in said.items() if text)
    about = encoder.get("target") or {}
    if about.get("gallery") == "plain":
        return f"; plain pictures, trained on {' and '.join(about['trained'])}"
    if encoder.get("name") == "views":
        return f"; mean over views {', '.join(_label(view) for view in encoder['views'])}"
    if encoder.get("name") == "viewed":
        return f"; pictures seen through {_label(encoder['view'])}"
    if encoder.get("name") == "open_clip_text":
        return f"; texts {encoder['template']!r}"
    return ""


def _label(view: dict[str, Any]) -> str:
    options = [f"{k}={v}" for k, v in view.items() if k != "name"]
    return f"{view['name']} ({', '.join(options)})" if options else str(view["name"])
