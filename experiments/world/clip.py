"""Train ``world:clip``, a small open_clip model of the image world's pictures and captions.

    python -m experiments.world.clip --folder DIR

Comes in: nothing; pictures and captions are drawn. Goes out: ``neurovis/world/weights/clip/`` and its card. Contrastive:
a picture against the captions of its batch, and against the names of all concepts, families and superclasses that it is
trained on ("a kettle", "a kind of vessel"). Half of the pictures show things without a name, made of parts of two known
concepts ("a small kind of vessel by a lake"), so that a kind is more than a list of concepts. The 200 concepts that studies test
on are never drawn or named. The same command goes on where it was stopped. About two hours on one core.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.world.loop import fast, half, train
from experiments.world.pictures import SIZE, Drawings, Kin, draw, draw_kin
from neurovis.images.world import SHIPPED, register_trunk
from neurovis.store import atomic

DIM, CONTEXT, MERGES = 256, 32, 4000
TEXT = {"context_length": CONTEXT, "width": 128, "heads": 4, "layers": 2}
STEPS, BATCH, LR, DECAY, SEED = 4200, 256, 2e-3, 0.05, 0
SMALL, UNTIL = 48, 0.6
"""Pixels of pictures at first, and share of the steps after which they are whole."""
CAPTIONS = 128
"""Pictures of a batch that are compared with captions, in every other step."""
SHARES = {"caption": 0.7, "concept": 1.0, "family": 0.6, "superclass": 0.2}
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
        self.families = families = sorted({c.family for c in drawings.concept})
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


def fit(
    drawings: Drawings, kin: Kin, folder: Path, tokens: Any, steps: int = STEPS, model: Any = None
) -> Any:
    """Train; give the model. An earlier `model` is trained on."""
    import open_clip
    import torch
    from torch.nn import functional

    torch.manual_seed(SEED)
    about = settings(tokens.vocab_size)["model_cfg"]
    vision, text = about["vision_cfg"], about["text_cfg"]
    model = model or open_clip.CustomTextCLIP(about["embed_dim"], vision, text)
    model.visual.to(memory_format=torch.channels_last)
    prompts = Prompts(drawings, tokens)
    texts = [[[tokens(list(c)), tokens([mirrored(s) for s in c])] for c in captions]
             for captions in (drawings.caption, kin.caption)]  # fmt: skip
    at = [prompts.families.index(name) for name in kin.family]
    family = prompts.truth["family"], torch.tensor(at)
    above = dict(zip(prompts.truth["family"].tolist(), prompts.truth["superclass"].tolist()))
    above = torch.tensor([above[i] for i in range(len(prompts.families))])

    def loss(step: int, rng: np.random.Generator) -> Any:
        half = BATCH // 2
        named, other = drawings.some(rng, half), kin.some(rng, half)
        mirror = rng.random(2 * half) < 0.5
        size = SMALL if step < UNTIL * steps else SIZE
        images = np.concatenate([drawings.at(*named), kin.at(*other)])
        with fast():
            seen = model.encode_image(see(images, mirror, rng, size))
        seen = functional.normalize(seen.float(), dim=-1)
        scale = model.logit_scale.exp().clamp(max=60)
        parts = {}
        if step % 2:
            n = min(CAPTIONS, BATCH) // 2
            rows = [*range(n), *range(half, half + n)]
            said = [texts[0][c][int(m)][e] for c, e, m in zip(*named, mirror)][:n]
            said += [texts[1][f][int(m)][e] for f, e, m in zip(*other, mirror[half:])][:n]
            said = torch.stack(said)
            said = say(model, said[:, : int((said != 0).sum(1).max())])
            scores = scale * seen[rows] @ said.T
            same = torch.arange(len(rows))
            ways = [functional.cross_entropy(s, same) for s in (scores, scores.T)]
            parts["caption"] = sum(ways) / 2
        # words cost as much as pictures: their vectors are learned in every other step
        with torch.set_grad_enabled(bool(step % 2)):
            words = say(model, prompts.tokens)
        scores = prompts.split(scale * seen @ words.T)
        which = torch.from_numpy(named[0])
        kinds = torch.cat([family[0][which], family[1][torch.from_numpy(other[0])]])
        parts["concept"] = functional.cross_entropy(
            scores["concept"][:half], which, label_smoothing=0.05
        )
        parts["family"] = functional.cross_entropy(scores["family"], kinds)
        parts["superclass"] = functional.cross_entropy(scores["superclass"], above[kinds])
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

- Trained by `experiments/world/clip.py` for {steps:,} steps of {batch} pictures on drawings and captions, half of 423 concepts, half of
  things without a name that mix the parts of two of them. The 200 concepts that simulated studies test on were neither drawn nor
  named, nor was anything used that a simulated brain responds with.
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
    kin = draw_kin(options.folder / "kin")
    model = fit(drawings, kin, options.folder / "clip", tokens)
    write(model, drawings, tokens, options.out)


if __name__ == "__main__":
    main()
