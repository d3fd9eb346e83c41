"""Train ``world:kinds``, which says of a picture of the image world what kind of thing is in it.

    python -m experiments.world.kinds --folder DIR
    python -m experiments.world.kinds --folder DIR --hold 10        what it is worth for things it never saw

Comes in: nothing; pictures are drawn from the world. Goes out: ``neurovis/world/weights/kinds.safetensors`` and
its card. A perceptron on features without weights learns family, superclass and concept from pictures of the 423
concepts that no study tests on; the 200 others are never drawn. With ``--hold K`` every K-th concept is left
out as well, and judges; nothing is written then. The same command goes on where it was stopped. About
ten minutes on one core.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.images.kinds import SIZE, WEIGHTS, Kinds, read_out
from neurovis.progress import progress
from neurovis.store import atomic
from neurovis.world import scenes

FIRST, N_TRAIN, N_HELD = 1000, 80, 6
"""Exemplars: studies take the first ones, training those from `FIRST` on; the last ones of these judge."""
WIDTHS = (512, 256)
BATCH, EPOCHS, LR, DECAY, SEED = 256, 10, 1e-3, 0.1, 0
NOISE, DROPOUT, SMOOTHING = 0.5, 0.5, 0.1
SHARES = {"family": 1.0, "superclass": 0.5, "concept": 0.3}
"""Weight of each question; the concept helps in training and is not kept."""


def concepts() -> list[Any]:
    """Those that no study tests on."""
    test = set(scenes.held_out(200))
    return [concept for concept in scenes.concepts() if concept.name not in test]


def features_of(folder: Path) -> np.ndarray:
    """Features (concept, exemplar, feature) of pictures drawn for it; goes on where it was stopped."""
    known, encoder = concepts(), Kinds()
    n = N_TRAIN + N_HELD
    done, parts = folder / "features", []
    done.mkdir(parents=True, exist_ok=True)
    for concept in progress(known, "drawing"):
        file = done / f"{concept.name.replace(' ', '_')}.npy"
        if not file.is_file():
            pictures = []
            for e in range(FIRST, FIRST + n):
                # as studies show them: drawn larger and reduced
                large = scenes.render(scenes.sample_scene(concept.name, e), 2 * SIZE)
                pictures.append(large.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3)) / 255)
            stack = np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2), np.float32)
            with atomic(file) as partial, partial.open("wb") as stream:
                np.save(stream, encoder.plain(stack))
        parts.append(np.load(file))
    return np.stack(parts)


def labels() -> dict[str, tuple[list[str], np.ndarray]]:
    """Per question the answers there are and the one of each concept."""
    known = concepts()
    said = {
        "family": [c.family for c in known],
        "superclass": [c.superclass for c in known],
        "concept": [c.name for c in known],
    }
    out = {}
    for question, names in said.items():
        answers, which = np.unique(names, return_inverse=True)
        out[question] = answers.tolist(), which
    return out


def train(features: np.ndarray, use: np.ndarray) -> dict[str, np.ndarray]:
    """Weights after training on the concepts of `use` (bool per concept)."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(SEED)
    shown = features[use, :N_TRAIN].reshape(-1, features.shape[2])
    mean, spread = shown.mean(0), shown.std(0) + 1e-3
    x = torch.from_numpy((shown - mean) / spread)
    asked = {q: (len(names), which[use]) for q, (names, which) in labels().items()}
    truth = {q: torch.from_numpy(np.repeat(w, N_TRAIN)) for q, (_, w) in asked.items()}
    first, second = nn.Linear(x.shape[1], WIDTHS[0]), nn.Linear(*WIDTHS)
    drop = nn.Dropout(DROPOUT)
    body = nn.Sequential(first, nn.GELU(), drop, second, nn.GELU(), nn.Dropout(0.2))
    heads = nn.ModuleDict({q: nn.Linear(WIDTHS[1], n) for q, (n, _) in asked.items()})
    weights = [*body.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=LR, weight_decay=DECAY)
    rng = np.random.default_rng(SEED)
    n_batches = len(x) // BATCH
    total = EPOCHS * n_batches

    def rate(step: int) -> float:
        return min(1.0, (step + 1) / (0.05 * total)) * (1 + math.cos(math.pi * step / total)) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    for epoch in range(EPOCHS):
        order = np.array_split(rng.permutation(len(x)), n_batches)
        for rows in progress(order, f"epoch {epoch + 1} of {EPOCHS}"):
            rows = torch.from_numpy(rows)
            seen = body(x[rows] + NOISE * torch.randn(len(rows), x.shape[1]))
            loss = sum(
                SHARES[q]
                * functional.cross_entropy(head(seen), truth[q][rows], label_smoothing=SMOOTHING)
                for q, head in heads.items()
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    out = {"mean": mean, "spread": spread}
    layers = {"first": first, "second": second}
    layers |= {q: head for q, head in heads.items() if q != "concept"}
    for name, layer in layers.items():
        out[f"{name}.weight"] = layer.weight.detach().numpy()
        out[f"{name}.bias"] = layer.bias.detach().numpy()
    return out


def judge(weights: dict[str, np.ndarray], features: np.ndarray, use: np.ndarray) -> dict:
    """Share of exemplars never trained on whose family and superclass come first."""
    shown = features[use, N_TRAIN:]
    said = read_out(weights, shown.reshape(-1, shown.shape[2]))
    asked, begin, scores = labels(), 0, {"n": shown.shape[0] * shown.shape[1]}
    for question in ("family", "superclass"):
        names, which = asked[question]
        block = said[:, begin : begin + len(names)]
        right = block.argmax(1) == np.repeat(which[use], shown.shape[1])
        scores[question] = 100 * float(right.mean()), len(names)
        begin += len(names)
    return scores


CARD = """# world:kinds

What kind of thing is in a picture of neurovis' procedural image world: probabilities of {families} families and {superclasses}
superclasses, from a perceptron ({widths} hidden units) on features without weights (colour, Gabor energy, HOG).

- Trained by `python -m experiments.world.kinds` on {n_train:,} drawn pictures of {n_concepts} concepts. The 200 concepts that
  simulated studies test on are not among them, nor is anything that a simulated brain responds with.
- Exemplars never trained on (n = {n:,}): family {family:.1f} % (chance {family_chance:.1f}), superclass {superclass:.1f} %
  (chance {superclass_chance:.1f}).
- Concepts never trained on (every tenth left out of a training of its own, n = {n_new:,}): family {family_new:.1f} %,
  superclass {superclass_new:.1f} %.
- It knows drawings of this world alone, no photographs. {megabytes:.1f} MB in half precision. Licence: BSD-3-Clause.
"""


def main() -> None:
    """Draw, train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="for the pictures' features")
    parser.add_argument("--hold", type=int, help="leave out every so-manieth concept, and judge")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    from safetensors.numpy import save

    features = features_of(options.folder)
    everything = np.ones(len(features), bool)
    held = np.arange(len(features)) % (options.hold or 10) == 3
    new = judge(train(features, ~held), features, held)
    print(f"concepts never trained on: {new}")
    if options.hold:
        return
    weights = train(features, everything)
    weights = {name: value.astype(np.float16) for name, value in weights.items()}
    scores = judge(weights, features, everything)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic(options.out) as partial:
        partial.write_bytes(save(weights))
    card = CARD.format(
        families=scores["family"][1],
        superclasses=scores["superclass"][1],
        widths=" and ".join(map(str, WIDTHS)),
        n_train=len(features) * N_TRAIN,
        n_concepts=len(features),
        n=scores["n"],
        family=scores["family"][0],
        superclass=scores["superclass"][0],
        family_chance=100 / scores["family"][1],
        superclass_chance=100 / scores["superclass"][1],
        n_new=new["n"],
        family_new=new["family"][0],
        superclass_new=new["superclass"][0],
        megabytes=options.out.stat().st_size / 1e6,
    )
    options.out.with_suffix(".md").write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
