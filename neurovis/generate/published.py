"""What the published generators share: presets, memory, what is said before loading, and painting.

Comes in: a config with a preset's settings, and a pipeline of diffusers. Goes out: a `Painter` that
paints batch after batch, each row from noise of its own. A preset is a set of defaults: what is given
beside it wins, and the config that is written down holds every value. Rows do not see each other; only
the rounding of a product of matrices may depend on the size of a batch (a level of 255 or two).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from neurovis.config import how, to_dict
from neurovis.device import choose_device
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.generate.base import Cue, Generator, Painter
from neurovis.images.base import ImageEncoder
from neurovis.images.clip_vision import ClipVision
from neurovis.images.snapshots import (
    check,
    download,
    find,
    load,
    need_packages,
    quiet,
    variants,
)
from neurovis.store import read_json

MEMORY: dict[str, dict[str, Any]] = {
    "16gb": {"offload": "model", "vae_slicing": True, "batch_size": 4},
    "80gb": {"offload": "none", "vae_slicing": True, "batch_size": 16},
}
"""Settings by the memory of the GPU."""
STEPS_DOWN = {
    "batch_size": "a smaller batch_size",
    "vae_slicing": "vae_slicing=true",
    "model": "offload=model",
    "sequential": "offload=sequential",
    "vae_tiling": "vae_tiling=true",
    "attention_slicing": "attention_slicing=true",
}
"""What lowers memory, the cheapest first."""


@dataclass(frozen=True)
class Weights:
    """One repository that a generator needs.

    Parameters
    ----------
    repository : str
        On the Hugging Face hub.
    parts : dict of int
        Millions of parameters by the part that they are in while it paints, counted from the
        architecture.
    licence : str
    gigabytes : float
        To fetch. From the number of parameters and their precision there.
    patterns : tuple of str
        Which of its files.
    note : str
    """

    repository: str
    parts: dict[str, int]
    licence: str
    gigabytes: float
    patterns: tuple[str, ...] = ()
    note: str = ""


class Published(Generator):
    """A published generator behind a pipeline of diffusers.

    Parameters
    ----------
    preset : str
        Whose settings; each of them may be given beside it.
    source : str
        A folder that a pipeline was saved to, or ``ORG/REPO`` in the Hugging Face cache; nothing is
        downloaded.
    n_steps : int
        Denoising steps of a whole run from noise.
    guidance : float
        Classifier-free guidance scale w, 1 or less for none (arXiv 2207.12598 as diffusers counts it).
    size : int
        Pixels along a side.
    precision : {"auto", "float16", "bfloat16", "float32"}
        ``auto``: float16 on a GPU, float32 elsewhere.
    memory : {"16gb", "80gb"}
        Defaults of `batch_size`, `offload` and `vae_slicing` for a GPU of that size.
    offload : {"none", "model", "sequential"}
        What waits in the computer's memory: nothing; the models that are not at work; all but the layer
        at work, which is many times slower. Without meaning on a CPU.
    vae_slicing : bool
        Decode one picture at a time.
    vae_tiling : bool
        Decode a large picture in tiles, whose seams are blended.
    attention_slicing : bool
        Attend in slices.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Settings by name; the first is the default."""

    unverified: ClassVar[dict[str, str]] = {}
    """What of a preset is recalled rather than checked against its paper."""

    parts: ClassVar[tuple[str, ...]] = ()
    """Folders with weights in `source`."""

    autoencoder: ClassVar[str] = "vae"
    reads_text: ClassVar[bool] = True
    """Whether words of a cue do anything."""
    starts_from_low: ClassVar[bool] = False
    """Whether a rough picture may be the start."""

    preset: str = ""
    # the preset's, filled in before these are looked at; zeros are refused
    source: str = pydantic.Field("", min_length=1)
    n_steps: int = pydantic.Field(0, ge=1)
    guidance: float = pydantic.Field(-1.0, ge=0)
    size: int = pydantic.Field(0, ge=8)
    precision: Literal["auto", "float16", "bfloat16", "float32"] = "auto"
    vae_tiling: bool = False
    memory: Literal["16gb", "80gb"] = how("16gb")
    offload: Literal["none", "model", "sequential"] = how("none")
    vae_slicing: bool = how(False)
    attention_slicing: bool = how(False)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict):
            return value
        preset = value.get("preset") or next(iter(cls.presets))
        if preset not in cls.presets:
            raise UsageError(unknown(f"preset of {cls.component}", preset, cls.presets))
        memory = MEMORY.get(value.get("memory", "16gb"), {})
        if cls.autoencoder != "vae":
            memory = memory | {"vae_slicing": False}
        return {**cls.presets[preset], **memory, **value, "preset": preset}

    @pydantic.model_validator(mode="after")
    def _check(self) -> Published:
        name = self.component
        if self.size % 8:
            raise UsageError(f"{name}.size: expected a multiple of 8, found {self.size}; give one.")
        if self.autoencoder != "vae" and (self.vae_slicing or self.vae_tiling):
            raise UsageError(
                f"{name}: its autoencoder knows neither vae_slicing nor vae_tiling; lower batch_size."
            )
        return self

    # ---- said before anything is loaded

    def needs(self) -> tuple[Weights, ...]:
        """The repositories that its preset names."""
        raise NotImplementedError

    def statement(self) -> str:
        """Weights, licence, download and memory, a line each; nothing is loaded or looked up."""
        lines = [f"{self.component}, preset {self.preset}, {self.size} x {self.size} pixels"]
        if self.preset in self.unverified:
            lines.append(f"unverified: {self.unverified[self.preset]}")
        each: dict[str, int] = {}
        for one in self.needs():
            for part, count in one.parts.items():
                each[part] = each.get(part, 0) + count
            lines.append(
                f"{one.repository}: about {one.gigabytes:.1f} GB to fetch; licence: {one.licence}"
                f"{f'; {one.note}' if one.note else ''}"
            )
            lines.append(f"  {download(one.repository, one.patterns)}")
        # two bytes each
        whole, largest = sum(each.values()) / 500, max(each.values()) / 500
        lines.append(f"{sum(each.values()) / 1000:.2f} billion parameters while it paints")
        for name, options in MEMORY.items():
            kept = {"none": whole, "model": largest}[options["offload"]]
            lines.append(
                f"memory, preset {name}: {kept:.1f} GB of weights on the GPU in float16 (offload "
                f"{options['offload']}) beside what {options['batch_size']} pictures at a time take"
            )
        lines.append(f"in the computer's memory: {whole:.1f} GB while it loads")
        return "\n".join(lines)

    @classmethod
    def about(cls) -> str:
        """One line of `statement`, at the default preset."""
        made = cls()
        fetch = sum(one.gigabytes for one in made.needs())
        licences = ", ".join(dict.fromkeys(one.licence for one in made.needs()))
        return f"fetch {fetch:.1f} GB; licence: {licences}"

    # ---- made ready

    def image_encoder(self) -> ImageEncoder:
        """The encoder whose embeddings it takes, from its own folders."""
        return ClipVision(source=self.source, device=self.device)

    def build(self) -> Painter:
        """Load the weights from a folder or the cache, and make it ready to paint."""
        need_packages()
        pipe, weights = self.load()
        return self.painter(pipe, weights)

    def load(self) -> tuple[Any, str]:
        """The pipeline on the CPU, and the SHA-256 of its weights."""
        raise NotImplementedError

    def width(self, pipe: Any) -> int:
        """Numbers in the embedding of one row."""
        raise NotImplementedError

    def run(
        self, pipe: Any, vector: Any, low: Sequence[Any] | None, text: list[str], noise: list[Any]
    ) -> Any:
        """Paint one batch.

        Parameters
        ----------
        pipe : DiffusionPipeline
        vector : tensor (row, dim)
            On the device and in the precision that the pipeline runs in.
        low : list of PIL.Image.Image, optional
            Rough pictures of `size` to start from.
        text : list of str (row,)
        noise : list of torch.Generator (row,)

        Returns
        -------
        array (row, height, width, 3) in [0, 1]
        """
        raise NotImplementedError

    def painter(self, pipe: Any, weights: str = "") -> Painter:
        """A painter around a pipeline of its class, which goes to the device.

        Parameters
        ----------
        pipe : DiffusionPipeline
            On the CPU, in the precision that it runs in.
        weights : str
            SHA-256.
        """
        import torch

        width = self.width(pipe)
        device = choose_device(self.device)
        self._place(pipe, device)

        def paint(cue: Cue, seeds: np.ndarray) -> np.ndarray:
            self.refuse(cue)
            out = []
            for rows in self._batches(len(cue)):
                noise = [torch.Generator().manual_seed(int(seed)) for seed in seeds[rows]]
                vector = torch.from_numpy(np.asarray(cue.vector[rows], np.float32))
                vector = vector.to(device, self._dtype(device))
                low = None if cue.low is None else [self._rough(one) for one in cue.low[rows]]
                text = [""] * len(noise) if cue.text is None else list(cue.text[rows])
                # as the pipelines do; hooks of offloading are made for this, not for inference_mode
                with quiet(), self._says_out_of_memory(len(noise)), torch.no_grad():
                    made = np.asarray(self.run(pipe, vector, low, text, noise))
                if not np.isfinite(made).all():
                    raise NeurovisError(
                        f"{self.component}: expected pictures, found values that are no numbers from "
                        f"row {rows.start} on; use precision=bfloat16 or float32."
                    )
                out.append((made.clip(0, 1) * 255).round().astype(np.uint8))
            return np.concatenate(out)

        details = {
            "settings": to_dict(self, how_too=False),
            "precision": str(self._dtype(device)).removeprefix("torch."),
            "licence": {one.repository: one.licence for one in self.needs()},
            "pipeline": type(pipe).__name__,
            "scheduler": type(pipe.scheduler).__name__,
        }
        return Painter(paint, width, self.size, weights, details)

    # ---- parts of this

    def refuse(self, cue: Cue) -> None:
        """Refuse what would have no effect.

        Raises
        ------
        UsageError
            If the cue holds a rough picture or words that are not looked at.
        """
        if cue.low is not None and not self.starts_from_low:
            raise UsageError(
                f"{self.component}: starts from noise alone; leave the low-level stage out."
            )
        if cue.text is not None and not self.reads_text:
            raise UsageError(f"{self.component}: is told no words; leave words out.")

    def folder(self, one: Weights, source: str) -> Path:
        """Where a repository's files are."""
        return find(self.component, source, one.patterns)

    def look(
        self, folder: Path, one: Weights
    ) -> tuple[dict[str, dict[str, Any]], list[tuple[str, Path]]]:
        """Options to load each part of a folder with, and the files of weights in it.

        Raises
        ------
        NeurovisError
            If the folder holds another pipeline, or weights are missing or pickled.
        """
        name = self.component
        index = folder / "model_index.json"
        there = read_json(index) if index.is_file() else {}
        missing = [part for part in self.parts if part not in there]
        if missing:
            found = there.get("_class_name", "no model_index.json")
            raise NeurovisError(
                f"{name}: {folder}: expected a folder with the parts {', '.join(self.parts)}, found "
                f"{found} without {missing[0]}; give the folder of {one.repository} or one like it."
            )
        get = download(one.repository, one.patterns) if folder.parent.name == "snapshots" else ""
        files = {part: check(name, folder, part, get) for part in self.parts}
        dtype = self._dtype(choose_device(self.device))
        kinds = variants(files, half=dtype.itemsize == 2)
        used = [
            (f"{part}/{p.name.replace('.fp16.', '.')}", p)
            for part, paths in files.items()
            for p in paths
            if (kinds[part] is not None) == (".fp16." in p.name)
        ]
        return {k: {"dtype": dtype} | ({"variant": v} if v else {}) for k, v in kinds.items()}, used

    def pipeline(self, cls: Any, folder: Path, one: Weights) -> tuple[Any, list[tuple[str, Path]]]:
        """A pipeline from a folder that was looked through, and the files of weights in it."""
        options, used = self.look(folder, one)
        # diffusers reads such files of those parts alone that have them
        together = {k: v for some in options.values() for k, v in some.items()}
        return load(self.component, cls, folder, **together), used

    def _dtype(self, device: Any) -> Any:
        import torch

        if self.precision == "auto":
            return torch.float16 if device.type == "cuda" else torch.float32
        return getattr(torch, self.precision)

    def _place(self, pipe: Any, device: Any) -> None:
        pipe.set_progress_bar_config(disable=True)
        auto = getattr(pipe, self.autoencoder)
        if self.vae_slicing:
            auto.enable_slicing()
        if self.vae_tiling:
            auto.enable_tiling()
        if self.attention_slicing:
            pipe.enable_attention_slicing()
        with self._says_out_of_memory(0):
            if self.offload == "none" or device.type == "cpu":
                pipe.to(device)
            elif self.offload == "model":
                pipe.enable_model_cpu_offload(device=device)
            else:
                pipe.enable_sequential_cpu_offload(device=device)

    def _batches(self, n: int) -> Iterator[slice]:
        for start in range(0, n, self.batch_size):
            yield slice(start, min(start + self.batch_size, n))

    def _rough(self, picture: np.ndarray) -> Any:
        from PIL import Image

        return Image.fromarray(picture).resize((self.size, self.size), Image.Resampling.LANCZOS)

    @contextlib.contextmanager
    def _says_out_of_memory(self, n: int) -> Iterator[None]:
        import torch

        try:
            yield
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            # of a CPU, torch says it as a plain error
            full = isinstance(error, torch.OutOfMemoryError | MemoryError)
            if not full and "can't allocate memory" not in str(error):
                raise
            down = self.lower() or ["a smaller size"]
            what = f"paint {n} pictures at a time" if n else "hold the weights"
            then = f" (then {', '.join(down[1:])})" if down[1:] else ""
            raise NeurovisError(
                f"{self.component}: memory is too small to {what}; what was painted before is kept: go "
                f"on with {down[0]}{then}."
            ) from None

    def lower(self) -> list[str]:
        """Options that would take less memory than these, the cheapest first."""
        off = {"batch_size": self.batch_size > 1, "model": self.offload == "none"}
        off["sequential"] = self.offload != "sequential"
        if self.autoencoder == "vae":
            off |= {"vae_slicing": not self.vae_slicing, "vae_tiling": not self.vae_tiling}
        off["attention_slicing"] = not self.attention_slicing
        return [text for key, text in STEPS_DOWN.items() if off.get(key)]


class Started(Published):
    """A published generator that may start from a rough picture.

    Parameters
    ----------
    strength : float
        Share of the steps that are taken where a rough picture is given: 1 forgets it.
    """

    starts_from_low: ClassVar[bool] = True

    strength: float = pydantic.Field(0.0, gt=0, le=1)

    @pydantic.model_validator(mode="after")
    def _check_strength(self) -> Started:
        if int(self.n_steps * self.strength) < 1:
            raise UsageError(
                f"{self.component}.strength: expected at least one of {self.n_steps} steps, found a share "
                f"of {self.strength:g}; raise strength or n_steps."
            )
        return self
