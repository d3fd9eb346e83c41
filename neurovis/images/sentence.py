"""Sentence encoders by name: what a frozen language model says of each picture's caption or concept.

Comes in: the words that `Stimuli` hold. Goes out: one vector per stimulus, the mean of the model's last
hidden states over the text. Long descriptions are read window by window, so that none is cut off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydantic

from neurovis.device import choose_device
from neurovis.errors import NeurovisError, missing_package
from neurovis.images.base import Encoder, ImageEncoder
from neurovis.images.text import OpenClipText
from neurovis.images.weights import hash_weights, load_errors
from neurovis.records import Stimuli


class Sentence(ImageEncoder, name="sentence"):
    """A sentence encoder of the Hugging Face hub, or of a local folder in its format.

    Parameters
    ----------
    model : str
        Such as ``sentence-transformers/all-mpnet-base-v2``, or ``local-dir:FOLDER``.
    template : str
        As of ``open_clip_text``; the default is the caption alone.
    window : int
        Tokens read at a time, at most what the model was made for.

    References
    ----------
    Reimers & Gurevych 2019, arXiv 1908.10084 (mean over tokens)
    """

    of_pictures: ClassVar[bool] = False

    model: str = pydantic.Field(min_length=1)
    template: str = "{caption}"
    window: int = pydantic.Field(256, ge=8)

    @pydantic.field_validator("template")
    @classmethod
    def _check(cls, value: str) -> str:
        return OpenClipText._check(value)

    @property
    def label(self) -> str:
        return f"sentence-{Path(self.model).name}"

    def identity(self, weights: str) -> dict[str, Any]:
        identity = super().identity(weights)
        return identity | ({"model": "local-dir"} if self._local else {})

    @property
    def _local(self) -> bool:
        return self.model.startswith("local-dir:")

    def texts(self, stimuli: Stimuli) -> list[str]:
        """What is said of each stimulus; words that are missing are counted in the error."""
        return OpenClipText(model="any", template=self.template).texts(stimuli)

    def build(self) -> Encoder:
        """Load the model; ``prepare`` takes a text and gives its vector."""
        import torch

        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise missing_package("transformers", "generate") from error
        place = self.model.removeprefix("local-dir:")
        options: dict[str, Any] = {"local_files_only": self._local}
        try:
            words = AutoTokenizer.from_pretrained(place, **options)
            model = AutoModel.from_pretrained(place, use_safetensors=True, **options)
        except load_errors() as error:
            reason = " ".join(str(error).split())[:150]
            raise NeurovisError(
                f"encoder {self.label}: the model is not there and cannot be fetched ({reason}); run `hf download "
                f"{place}` where there is a network, or give local-dir:FOLDER."
            ) from error
        device = choose_device(self.device)
        model = model.eval().requires_grad_(False).to(device)
        most = min(
            self.window, getattr(model.config, "max_position_embeddings", self.window + 2) - 2
        )

        def prepare(text: str) -> np.ndarray:
            cut = {"truncation": True, "max_length": most, "return_overflowing_tokens": True}
            total, count = 0.0, 0
            with torch.inference_mode():
                for part in words(text, **cut)["input_ids"]:
                    given = torch.tensor([part], device=device)
                    said = model(input_ids=given).last_hidden_state[0].float().cpu()
                    total, count = total + said.sum(0), count + len(part)
            return (total / count).numpy()

        settings = {"window": most, "tokenizer": type(words).__name__}
        return Encoder(prepare, lambda vectors: vectors, hash_weights(model, settings))
