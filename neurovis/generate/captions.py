"""Words for what was decoded: the nearest captions or concepts, and what a captioner says of a picture.

Comes in: decoded embeddings and texts in the same model's space, or pictures. Goes out: words, with
probabilities where they are chosen among others. Captions are chosen among those of training pictures;
concepts among all that the study has, those of test pictures included, as retrieval chooses pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from neurovis.config import Config, how
from neurovis.device import choose_device
from neurovis.errors import NeurovisError, UsageError
from neurovis.images.base import Encoder
from neurovis.images.names import encoder
from neurovis.images.snapshots import check, need_packages, quiet, unfit
from neurovis.images.text import OpenClipText
from neurovis.images.weights import load_errors
from neurovis.records import Stimuli

AT_ONCE = 16


@dataclass(frozen=True)
class Said:
    """The likeliest texts of each row.

    Parameters
    ----------
    text : list of list of str (row, k)
        From the likeliest on.
    probability : array (row, k)
        Among all texts that were given.
    """

    text: list[list[str]]
    probability: np.ndarray


def text_vectors(texts: Sequence[str], tower: Encoder) -> np.ndarray:
    """What a text tower says of texts: array (text, dim) float32.

    Parameters
    ----------
    texts : sequence of str
        As they are to be read: a concept within its template.
    tower : Encoder
        A text tower such as `neurovis.images.text.OpenClipText` builds.
    """
    out = []
    for start in range(0, len(texts), AT_ONCE):
        some = [tower.prepare(text) for text in texts[start : start + AT_ONCE]]
        out.append(np.asarray(tower.embed(np.stack(some)), np.float32))
    return np.concatenate(out)


def nearest(
    decoded: np.ndarray,
    vectors: np.ndarray,
    texts: Sequence[str],
    temperature: float | np.ndarray,
    k: int = 5,
) -> Said:
    """The texts that lie nearest to decoded image embeddings, and how likely each is among all.

    Parameters
    ----------
    decoded : array (row, dim)
    vectors : array (text, dim)
        Of `texts`, in the space of the same model.
    texts : sequence of str (text,)
        Each once.
    temperature : float or array (row,)
        Probabilities are softmax(cosine / temperature): the tower's own (``Encoder.temperature``), or
        one that was fitted on validation rows, such as a prediction's ``spread``.
    k : int
        Texts per row.

    Raises
    ------
    NeurovisError
        If shapes do not fit, texts repeat, a vector has no direction or a temperature is not above 0.
    """
    decoded, vectors = np.asarray(decoded, np.float64), np.asarray(vectors, np.float64)
    if decoded.ndim != 2 or vectors.ndim != 2 or decoded.shape[1] != vectors.shape[1]:
        raise NeurovisError(
            f"captions: expected (row, dim) and (text, dim) of one dim, found {decoded.shape} and "
            f"{vectors.shape}; take the text tower of the model whose images are decoded."
        )
    if len(texts) != len(vectors) or len(set(texts)) != len(texts) or not texts:
        raise NeurovisError(
            f"captions: expected a vector for each of some different texts, found {len(vectors)} vectors and "
            f"{len(texts)} texts, {len(set(texts))} of them different; give each text once."
        )
    temperature = np.broadcast_to(np.asarray(temperature, np.float64), len(decoded))
    if not (np.isfinite(temperature) & (temperature > 0)).all():
        raise NeurovisError(
            "captions: expected temperatures above 0, found others; give the text tower's own."
        )
    cosine = _unit(decoded, "decoded embedding") @ _unit(vectors, "text").T / temperature[:, None]
    weight = np.exp(cosine - cosine.max(1, keepdims=True))
    probability = weight / weight.sum(1, keepdims=True)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    return Said(
        [[texts[i] for i in row] for row in order], np.take_along_axis(probability, order, 1)
    )


def reader(name: str | dict[str, Any]) -> OpenClipText:
    """The text tower of a name.

    Raises
    ------
    UsageError
        If it reads no words that pictures come with, or concepts and captions at once.
    """
    found = encoder(name)
    fields = getattr(found, "template", "")
    if not isinstance(found, OpenClipText) or ("{caption}" in fields) == ("{concept}" in fields):
        raise UsageError(
            f"words: expected a text tower that reads concepts or captions, found {found.label}; name one such "
            "as world:clip_text or {name: open_clip_text, model: ViT-B-32, weights: FILE}."
        )
    return found


def words(
    vector: np.ndarray, tower: OpenClipText, stimuli: Stimuli, train: Sequence[str], k: int = 5
) -> dict[str, np.ndarray]:
    """What is said of decoded embeddings.

    Parameters
    ----------
    vector : array (row, dim)
        In the space of the tower's own model.
    tower : OpenClipText
    stimuli : Stimuli
    train : sequence of str
        Images whose captions may be said.
    k : int
        Concepts per row.

    Returns
    -------
    dict of array
        ``caption`` (row,) where the tower reads captions; else ``word`` and ``probability`` (row, k).
    """
    ready, texts = tower.build(), tower.texts(stimuli)
    if "{caption}" in tower.template:
        known = set(train)
        among = {
            text: caption
            for text, caption, image in zip(texts, stimuli.caption, stimuli.image)
            if str(image) in known
        }
    else:
        among = dict(zip(texts, stimuli.concept))
    said = list(among)
    found = nearest(vector, text_vectors(said, ready), said, ready.temperature or 1.0, k)
    named = np.array([[str(among[text]) for text in row] for row in found.text])
    if "{caption}" in tower.template:
        return {"caption": named[:, 0]}
    return {"word": named, "probability": found.probability}


def _unit(vector: np.ndarray, what: str) -> np.ndarray:
    length = np.linalg.norm(vector, axis=1, keepdims=True)
    wrong = ~(np.isfinite(length) & (length > 0))[:, 0]
    if wrong.any():
        raise NeurovisError(
            f"captions: expected vectors with a direction, found {what} {int(wrong.argmax())} to be zero or "
            "no number; mend the model that made it."
        )
    return vector / length


class Captioner(Config):
    """A model of transformers that says of a picture what it shows, such as GIT or BLIP.

    ATM's captions come from GIT, of whose sentences its authors say that they are unstable
    (arXiv 2403.07721); they say what is on a painted picture, not what was seen.

    Parameters
    ----------
    folder : str
        Where the model and its processor were saved, as safetensors.
    n_tokens : int
        Most tokens of a caption.
    device : str
        ``auto``, ``cpu``, ``cuda``, ...
    """

    folder: str = pydantic.Field(min_length=1)
    n_tokens: int = pydantic.Field(20, ge=1)
    device: str = how("auto")

    def build(self) -> Callable[[np.ndarray], list[str]]:
        """Load it; gives a function from pictures (picture, height, width, 3) uint8 to captions.

        Raises
        ------
        NeurovisError
            If the folder does not hold such a model.
        """
        need_packages()
        from transformers import AutoModelForImageTextToText, AutoProcessor

        root = Path(self.folder).expanduser()
        if not root.is_dir():
            raise NeurovisError(
                f"captioner: {self.folder}: no such folder; give one that a captioner was saved to."
            )
        check("captioner", root, ".")
        try:
            with quiet():
                options = {"local_files_only": True, "trust_remote_code": False}
                processor = AutoProcessor.from_pretrained(root, **options)
                model = AutoModelForImageTextToText.from_pretrained(
                    root, use_safetensors=True, **options
                )
        except (*load_errors(), ImportError) as error:
            raise unfit("captioner", root, error) from error
        device = choose_device(self.device)
        model.eval().requires_grad_(False).to(device)

        def caption(pictures: np.ndarray) -> list[str]:
            return [
                text
                for start in range(0, len(pictures), AT_ONCE)
                for text in self._say(processor, model, pictures[start : start + AT_ONCE])
            ]

        return caption

    def _say(self, processor: Any, model: Any, pictures: np.ndarray) -> list[str]:
        import torch
        from PIL import Image

        shown = [Image.fromarray(one) for one in pictures]
        given = processor(images=shown, return_tensors="pt")
        with torch.inference_mode():
            # the likeliest token each time: nothing is drawn
            tokens = model.generate(
                pixel_values=given["pixel_values"].to(model.device),
                max_new_tokens=self.n_tokens,
                do_sample=False,
                num_beams=1,
            )
        said = processor.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(text.split()) for text in said]
