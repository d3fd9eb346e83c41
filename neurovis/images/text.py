"""Text targets: what a frozen text tower says of each picture's concept or caption.

Comes in: the words that `Stimuli` hold. Goes out: one vector per stimulus, in the space of the same
model's images. No picture is opened. Pictures that share their words share their vector.
"""

from __future__ import annotations

import string
from typing import Any, ClassVar

import numpy as np
import pydantic

from neurovis.device import choose_device
from neurovis.errors import NeurovisError, UsageError
from neurovis.images.base import Encoder, ImageEncoder
from neurovis.images.networks import OpenClip
from neurovis.images.weights import hash_weights
from neurovis.records import Stimuli

FIELDS = ("concept", "caption")


class OpenClipText(ImageEncoder, name="open_clip_text"):
    """The text tower of an open_clip model; its output is ``encode_text``, not normalised.

    Texts that are longer than the tower's context are cut there, as its tokenizer does.

    Parameters
    ----------
    model : str
        As of ``open_clip``.
    weights : str
        A tag, or a file.
    template : str
        What is said of a picture, with ``{concept}`` (underscores become spaces) or ``{caption}`` in
        it. The default is that of arXiv 2403.07721.
    """

    of_pictures: ClassVar[bool] = False

    model: str = pydantic.Field(min_length=1)
    weights: str = ""
    template: str = "This picture is {concept}"

    @pydantic.field_validator("template")
    @classmethod
    def _check(cls, value: str) -> str:
        try:
            parts = list(string.Formatter().parse(value))
        except ValueError:
            parts = []
        fields = [field for _, field, _, _ in parts if field is not None]
        plain = all(not more and not how for _, field, more, how in parts if field is not None)
        if not fields or not plain or not set(fields) <= set(FIELDS):
            raise UsageError(
                f"open_clip_text.template: expected a text with {{concept}} or {{caption}} in it, found "
                f"{value!r}; write it as 'This picture is {{concept}}'."
            )
        return value

    @property
    def label(self) -> str:
        named = self.clip().label
        fields = [field for field in FIELDS if f"{{{field}}}" in self.template]
        return "-".join([self.component, named.removeprefix("open_clip-"), *fields])

    def identity(self, weights: str) -> dict[str, Any]:
        identity = super().identity(weights)
        named = self.clip().identity("")
        return identity | {key: named[key] for key in ("model", "weights")}

    def clip(self) -> OpenClip:
        """The model that the text tower belongs to."""
        return OpenClip(model=self.model, weights=self.weights)

    def texts(self, stimuli: Stimuli) -> list[str]:
        """What is said of each stimulus.

        Raises
        ------
        NeurovisError
            If the template asks for words that some stimuli do not have, naming the first.
        """
        for field in FIELDS:
            if f"{{{field}}}" in self.template:
                missing = np.flatnonzero([not word.strip() for word in getattr(stimuli, field)])
                if len(missing):
                    raise NeurovisError(
                        f"stimuli.csv: {len(missing)} of {len(stimuli)} images have no {field}, the "
                        f"first is {str(stimuli.image[missing[0]])!r}; fill the column, or use a "
                        "template without it."
                    )
        concepts = [str(concept).replace("_", " ") for concept in stimuli.concept]
        return [
            self.template.format(concept=concept, caption=caption)
            for concept, caption in zip(concepts, stimuli.caption)
        ]

    def build(self) -> Encoder:
        """Load the text tower onto its device; ``prepare`` takes a text."""
        import torch

        device = choose_device(self.device)
        clip = self.clip()
        model, name = clip.create()
        model.visual = torch.nn.Identity()  # the other tower only takes memory
        model.eval().requires_grad_(False).to(device)
        tokens = clip.tokenizer(name)

        def prepare(text: str) -> np.ndarray:
            return tokens([text])[0].numpy()

        def embed(texts: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                said = model.encode_text(torch.from_numpy(texts).to(device), normalize=False)
            return said.float().cpu().numpy()

        settings = {"context_length": tokens.context_length, "tokenizer": type(tokens).__name__}
        temperature = 1 / float(model.logit_scale.exp())
        return Encoder(prepare, embed, hash_weights(model, settings), temperature)
