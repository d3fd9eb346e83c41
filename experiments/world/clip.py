"""Train ``world:clip``, a small open_clip model of the image world's pictures and captions.

    python -m experiments.world.clip --folder DIR

Comes in: nothing; pictures and captions are drawn. Goes out: ``neurovis/world/weights/clip/`` and its card. Contrastive:
a picture against the captions of its batch, and against the names of all concepts, families and superclasses that it is
trained on ("a kettle", "a kind of vessel"). The 200 concepts that studies test on are never drawn or named. Pictures are
smaller at first. The same command goes on where it was stopped. About an hour on one core.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.world.loop import half, train
from experiments.world.pictures import SIZE, Drawings, draw
from neurovis.images.world import SHIPPED, register_trunk
from neurovis.store import atomic

DIM, CONTEXT, MERGES = 256, 32, 4000
TEXT = {"context_length": CONTEXT, "width": 128, "heads": 4, "layers": 2}
STEPS, BATCH, LR, DECAY, SEED = 2200, 256, 2e-3, 0.05, 0
SMALL, UNTIL = 48, 0.6
"""Pixels of pictures at first, and share of the steps after which they are whole."""
CAPTIONS = 128
"""Pictures of a batch that are compared with captions, in every other step."""
SHARES = {"caption": 0.7, "concept": 1.0, "family": 0.3, "superclass": 0.2}
MEAN, SPREAD, SHIFT = 0.5, 0.25, 4


def tokenizer(merges: Path) -> Any:
    """CLIP's tokenizer with the first of its merges; they are written to `merges`."""
    from open_clip.tokenizer import SimpleTokenizer, default_bpe

    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")
    merges.parent.mkdir(parents=True, exist_ok=True)
    # without a time, so that the same merges are the same file
    merges.write_bytes(gzip.compress("\n".join(lines[: MERGES + 1]).encode(), mtime=0))
    return SimpleTokenizer(bpe_path=str(merges), context_length=CONTEXT)


def settings(vocabulary: int) -> dict[str, Any]:
    """What open_clip builds the model from, and prepares pictures with."""
    vision = {"timm_model_name": register_trunk(), "timm_pool": "avg", "timm_proj": "linear"}
    return {
        "model_cfg": {
            "embed_dim": DIM,
            "custom_text": True,
            "vision_cfg": {**vision, "image_size": SIZE},
            "text_cfg": {**TEXT, "vocab_size": vocabulary},
        },
        "preprocess_cfg": {
            "size": SIZE, "mode": "RGB", "mean": [MEAN] * 3, "std": [SPREAD] * 3,
            "interpolation": "bicubic", "resize_mode": "squash",
        },
    }  # fmt: skip


def mirrored(caption: str) -> str:
    """The caption of the picture in a mirror."""
    for here, there in (("left", "right"), ("right", "left")):
        if f"facing {here}" in caption:
            return caption.replace(f"facing {here}", f"facing {there}")
    return caption


class Prompts:
    """Names of concepts, families and superclasses, and which ones are a concept's."""

    def __init__(self, drawings: Drawings, tokens: Any):
        import torch

        names = [c.name for c in drawings.concept]
        families = sorted({c.family for c in drawings.concept})
        above = sorted({c.superclass for c in drawings.concept})
        self.kinds = {
            "family": [f"a kind of {name}" for name in families],
            "superclass": [f"in general {name}" for name in above],
        }
        found = tokens(
            [f"a {name}" for name in names] + [t for k in self.kinds.values() for t in k]
        )
        self.tokens = found[:, : int((found != 0).sum(1).max())]
        self.truth = {
            "concept": torch.arange(len(names)),
            "family": torch.tensor([families.index(c.family) for c in drawings.concept]),
            "superclass": torch.tensor([above.index(c.superclass) for c in drawings.concept]),
        }
        self.sizes = (len(names), len(families), len(above))

    def split(self, scores: Any) -> dict[str, Any]:
        """Scores (image, prompt) by question."""
        return dict(zip(self.truth, scores.split(self.sizes, dim=1)))


def say(model: Any, tokens: Any) -> Any:
    """Unit vectors of texts that are shorter than the context."""
    from torch.nn import functional

    whole, n = model.text.attn_mask, tokens.shape[1]
    model.text.attn_mask = whole[:n, :n]
    found = functional.normalize(model.encode_text(tokens), dim=-1)
    model.text.attn_mask = whole
    return found


def see(images: np.ndarray, mirror: np.ndarray, rng: np.random.Generator, size: int) -> Any:
    """Pictures (image, 3, y, x) in 0..1 as training shows them: moved a little, some in a mirror."""
    import torch
    from torch.nn import functional

    x = torch.from_numpy(images)
    x = torch.where(torch.from_numpy(mirror)[:, None, None, None], x.flip(3), x)
    x = functional.pad(x, [SHIFT] * 4, mode="replicate")
    place = rng.integers(0, 2 * SHIFT + 1, (len(x), 2))
    x = torch.stack([one[:, a : a + SIZE, b : b + SIZE] for one, (a, b) in zip(x, place)])
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, (len(x), 1, 1, 1)).astype(np.float32))
    if size < SIZE:
        x = functional.interpolate(x, (size, size), mode="bilinear", antialias=True)
    return plain((x - MEAN) * gain + MEAN)


def plain(x: Any) -> Any:
    """Pictures as the network takes them."""
    import torch

    return ((x - MEAN) / SPREAD).contiguous(memory_format=torch.channels_last)


def fit(drawings: Drawings, folder: Path, tokens: Any, steps: int = STEPS) -> Any:
    """Train; give the model."""
    import open_clip
    import torch
    from torch.nn import functional

    torch.manual_seed(SEED)
    about = settings(tokens.vocab_size)["model_cfg"]
    vision, text = about["vision_cfg"], about["text_cfg"]
    model = open_clip.CustomTextCLIP(about["embed_dim"], vision, text)
    model.visual.to(memory_format=torch.channels_last)
    prompts = Prompts(drawings, tokens)
    texts = [[tokens(list(c)), tokens([mirrored(s) for s in c])] for c in drawings.caption]

    def loss(step: int, rng: np.random.Generator) -> Any:
        concept, exemplar = drawings.some(rng, BATCH)
        mirror = rng.random(BATCH) < 0.5
        size = SMALL if step < UNTIL * steps else SIZE
        seen = see(drawings.at(concept, exemplar), mirror, rng, size)
        seen = functional.normalize(model.encode_image(seen), dim=-1)
        scale = model.logit_scale.exp().clamp(max=60)
        parts = {}
        if step % 2:
            rows = list(zip(concept, exemplar, mirror))[:CAPTIONS]
            said = torch.stack([texts[c][int(m)][e] for c, e, m in rows])
            said = say(model, said[:, : int((said != 0).sum(1).max())])
            scores = scale * seen[: len(rows)] @ said.T
            same = torch.arange(len(rows))
            ways = [functional.cross_entropy(s, same) for s in (scores, scores.T)]
            parts["caption"] = sum(ways) / 2
        # words cost as much as pictures: their vectors are learned in every other step
        with torch.set_grad_enabled(bool(step % 2)):
            named = say(model, prompts.tokens)
        which = torch.from_numpy(concept)
        for question, scores in prompts.split(scale * seen @ named.T).items():
            smooth = 0.05 if question == "concept" else 0.0
            truth = prompts.truth[question][which]
            parts[question] = functional.cross_entropy(scores, truth, label_smoothing=smooth)
        return sum(SHARES[name] * part for name, part in parts.items())

    train(folder, {"model": model}, steps, LR, DECAY, loss, seed=SEED)
    return model.eval()


def judge(model: Any, drawings: Drawings, tokens: Any) -> dict[str, float]:
    """Zero-shot accuracy on exemplars never trained on, %, and captions found among 100."""
    import torch
    from torch.nn import functional

    prompts, right, at = Prompts(drawings, tokens), {}, np.arange(len(drawings))
    n, found = len(drawings.held), 0
    with torch.inference_mode():
        named = say(model, prompts.tokens)
        for exemplar in drawings.held:
            seen = [
                functional.normalize(model.encode_image(plain(torch.from_numpy(images))), dim=-1)
                for images in np.array_split(drawings.at(at, np.full(len(at), exemplar)), 4)
            ]
            seen = torch.cat(seen)
            for question, scores in prompts.split(seen @ named.T).items():
                hits = scores.argmax(1) == prompts.truth[question]
                right[question] = right.get(question, 0) + float(hits.float().mean()) / n
            texts = say(model, tokens([captions[exemplar] for captions in drawings.caption]))
            for rows in np.array_split(at, 4):
                scores = seen[rows] @ texts[rows].T
                found += int((scores.argmax(1) == torch.arange(len(rows))).sum())
    scores = {question: 100 * value for question, value in right.items()}
    return {**scores, "caption": 100 * found / (n * len(at)), "n": n * len(at)}


CARD = """# world:clip

A small open_clip model of neurovis' image world: a residual network ({vision:.2f} M weights) on pictures of {size} pixels and a
transformer ({text:.2f} M) on captions, in one space of {dim} dimensions.

- Trained by `experiments/world/clip.py` for {steps:,} steps of {batch} pictures on drawings and captions of 423 concepts. The 200
  concepts that simulated studies test on were neither drawn nor named, nor was anything used that a simulated brain responds with.
- Zero-shot on exemplars never trained on (n = {n:,}): concept {concept:.1f} % (chance 0.2), family {family:.1f} % ({family_chance:.1f}),
  superclass {superclass:.1f} % ({superclass_chance:.1f}); the caption among about 106: {caption:.1f} % (0.9).
- It knows drawings of this world alone, no photographs. {megabytes:.1f} MB in half precision. Licence: BSD-3-Clause;
  `merges.txt.gz` holds the first {merges:,} merges of CLIP's vocabulary (MIT).
"""


def write(model: Any, drawings: Drawings, tokens: Any, out: Path) -> None:
    """Weights in half precision, settings, card with scores of what is shipped."""
    from safetensors.torch import save_file

    rounded = half(model)
    model.load_state_dict(rounded)
    scores = judge(model, drawings, tokens)
    (out / "open_clip_config.json").write_text(
        json.dumps(settings(tokens.vocab_size), indent=2) + "\n"
    )
    kinds = Prompts(drawings, tokens).kinds
    (out / "kinds.json").write_text(json.dumps(kinds, indent=2) + "\n")
    with atomic(out / "open_clip_model.safetensors") as partial:
        save_file(rounded, partial)
    count = lambda part: sum(p.numel() for p in part) / 1e6  # noqa: E731
    vision = count(model.visual.parameters())
    card = CARD.format(
        vision=vision, text=count(model.parameters()) - vision, size=SIZE, dim=DIM, steps=STEPS,
        batch=BATCH, merges=MERGES, family_chance=100 / len({c.family for c in drawings.concept}),
        superclass_chance=100 / len({c.superclass for c in drawings.concept}),
        megabytes=(out / "open_clip_model.safetensors").stat().st_size / 1e6, **scores,
    )  # fmt: skip
    (out / "README.md").write_text(card, encoding="utf-8")
    print(card)


def main() -> None:
    """Draw, train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="for pictures and checkpoints")
    parser.add_argument("--out", type=Path, default=SHIPPED / "clip")
    options = parser.parse_args()
    drawings = draw(options.folder / "drawings")
    tokens = tokenizer(options.out / "merges.txt.gz")
    model = fit(drawings, options.folder / "clip", tokens)
    write(model, drawings, tokens, options.out)


if __name__ == "__main__":
    main()
