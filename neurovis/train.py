"""Train a brain tower: setup / main / fit, one loop, readable from top to bottom.

    neurovis train experiment.yaml train.epochs=20
    neurovis train experiment.yaml --resume auto        (the default: go on where a run stopped)
    torchrun --nproc-per-node 2 -m neurovis train experiment.yaml

Comes in: an experiment's YAML that names prepared trials, targets, a tower and a loss. Goes out: a run
folder with weights, logs, predictions of tower, baseline and control for the same test rows, and the
limits where the truth is known. Nothing is selected on test data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurovis import turns
from neurovis.ahead import Timed, ahead
from neurovis.augment import SubjectMix, augmented, changes, pick
from neurovis.batches import Examples, Item, Recordings, seed_of, shuffled
from neurovis.checkpoint import Checkpoint
from neurovis.choice import Choice, average_into, measure_norms, norms, restore, use
from neurovis.config import build, load_yaml
from neurovis.device import choose_device, choose_precision, compile_tower
from neurovis.distributed import ALONE, World, here, job, normalise_together
from neurovis.errors import NeurovisError
from neurovis.experiment import Experiment, Train
from neurovis.joint import paired, refuse_folds
from neurovis.levels import Truth
from neurovis.log import Bar, Log, require_tensorboard
from neurovis.losses.base import mix_signals
from neurovis.losses.finite import diverged
from neurovis.progress import say
from neurovis.protocols import checked, described
from neurovis.records import Embeddings, Split
from neurovis.step import Batch, backward
from neurovis.store import (
    artefact,
    artefact_path,
    is_complete,
    load_tensors,
    remove,
    save_tensors,
    sha256,
    working_folder,
)
from neurovis.validate import validate

CHECKPOINT_SECONDS = 10.0
"""Least time between checkpoints; an interrupted run repeats at most the steps since the last."""


@dataclass
class Setup:
    """What `fit` needs: data on one side, vectors to reach on the other.

    `part` ends the names of one training's files where there are several, `gallery` is where its
    projected gallery goes, `side` whose image side makes it; `tested` judges epochs where test trials do,
    `begin` is a decoder to go on from.
    """

    experiment: Experiment
    recordings: Recordings
    split: Split
    fold: str
    vectors: dict[str, Embeddings]
    folder: Path
    device: Any
    quiet: bool
    world: World = ALONE
    levels: dict[str, tuple[Embeddings, ...]] = field(default_factory=dict)
    """What the tower is trained on where that is not `vectors`, level by level."""
    part: str = ""
    gallery: str = ""
    side: int = 0
    tested: Setup | None = None
    begin: Any = None

    def truth(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Vectors of images per target, as predictions are compared with them: array (image, dim)."""
        return {name: found.at(images) for name, found in self.vectors.items()}

    def aims(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Vectors of images per target, as models are trained on them: array (image, dim)."""
        middle = {name: some[len(some) // 2] for name, some in self.levels.items()}
        return {name: found.at(images) for name, found in (self.vectors | middle).items()}


def train(
    path: str | Path,
    overrides: list[str] | tuple[str, ...] = (),
    out: str | Path = ".",
    resume: bool = True,
    quiet: bool = False,
) -> Path:
    """Train what a YAML describes; a complete run is returned as it is.

    Parameters
    ----------
    path : path
        Of the experiment's YAML.
    overrides : list of str
        ``key.sub=value``.
    out : path
        The run goes to ``<out>/runs/<name>-<fingerprint>/``.
    resume : bool
        Go on from the checkpoint of an interrupted run.
    quiet : bool

    Returns
    -------
    Path
        The run folder.
    """
    return main(build(Experiment, load_yaml(path, overrides)), Path(out), resume, quiet)


@job()
def main(experiment: Experiment, out: Path, resume: bool = True, quiet: bool = False) -> Path:
    """Run an experiment from prepared trials to predictions; of several processes the first writes."""

    from neurovis import keep

    world = here()
    quiet = quiet or not world.first
    if experiment.tensorboard:
        require_tensorboard()
    recordings = Recordings(experiment.data)
    checked(recordings, experiment.subjects, experiment.protocol)
    inputs = {"prepared": recordings.identity}
    # given by path, which is no part of the experiment: their content is
    inputs |= {
        f"embeddings/{name}": sha256(target.embeddings)
        for name, target in experiment.targets.items()
        if target.embeddings
    }
    if weights := getattr(experiment.brain, "weights", ""):
        inputs["brain/weights"] = sha256(weights)
    folder = artefact_path(out, "runs", experiment.name, experiment, inputs, recordings.subjects)
    try:
        refuse_folds(experiment.projection, len(recordings.folds))
        if world.same(is_complete(folder)):
            say(f"{folder.name}: complete already", quiet)
            return folder
        if not resume and world.first:
            remove(working_folder(folder))
        growing = nullcontext(working_folder(folder))
        if world.first:
            growing = artefact(folder, experiment, inputs, experiment.seed)
        with growing as partial:
            device = choose_device(experiment.device)
            parts: dict[str, list] = {}
            for number, split in enumerate(recordings.folds):
                fold = "" if len(recordings.folds) == 1 else f"-{number + 1:02d}"
                by_recording = split.unit == "recording"
                shown = recordings.items(split, "train")[1] if by_recording else None
                about = recordings.stimuli, split, out, quiet, shown
                with world.first_goes_first():
                    named = experiment.targets.items()
                    vectors = {name: target.vectors(*about) for name, target in named}
                    levels = {k: target.training(*about) for k, target in named if target.trained}
                setup = Setup(
                    experiment,
                    recordings,
                    split,
                    fold,
                    vectors,
                    partial,
                    device,
                    quiet,
                    world,
                    levels,
                )
                for system, prediction in systems(setup):
                    parts.setdefault(system, []).append(prediction)
                if world.first:
                    kept = described(split, experiment.subjects, experiment.protocol, recordings)
                    kept.write(partial / f"split{fold}.json")
            if world.first:
                keep.finish(setup, parts)
    finally:
        recordings.close()
    return folder


def systems(setup: Setup) -> Iterator[tuple[str, Any]]:
    """Fit tower, baseline, control; yield what each says of the same test rows.

    Towers are trained by all processes together; closed forms are fitted by the first alone.
    """
    from neurovis import predict

    experiment, split, first = setup.experiment, setup.split, setup.world.first
    rows = predict.test_rows(setup.recordings, split, experiment.predict, 0)
    rows = rows.by_subject() if experiment.projection == "own" else rows
    for turn in turns.turns(setup, rows):
        if not experiment.brain.closed_form:
            yield from (("tower", said) for said in turn.tower(fit, "tower"))
        elif first:
            yield "tower", turn.closed_form(experiment.brain, "tower")
        if first:
            yield "ridge", turn.closed_form(experiment.baseline, "ridge")
        if experiment.control == "tower" and not experiment.brain.closed_form:
            yield from (("shuffled", said) for said in turn.tower(fit, "shuffled", shuffle=True))
        elif experiment.control != "none" and first:
            yield "shuffled", turn.closed_form(experiment.baseline, "shuffled", shuffle=True)
    if first:
        yield from predict.limits(setup, rows)


def fit(setup: Setup, system: str, shuffle: bool = False) -> Any:
    """Train one tower and return it with its best weights.

    Parameters
    ----------
    setup : Setup
    system : str
        Name in log and folders.
    shuffle : bool
        Permute which image each training or validation item belongs to: the control.

    Returns
    -------
    torch.nn.Module
    """
    import torch

    from neurovis import keep, predict

    experiment, options = setup.experiment, setup.experiment.train
    recordings, split, world = setup.recordings, setup.split, setup.world
    stage = f"{system}{setup.fold}{setup.part}"
    # one seed for all that are trained in turn: a subject's model is the one it gets alone
    seeded = f"{system}{setup.fold}" + ("/tuned" if setup.begin is not None else "")
    choice = Choice(experiment.protocol, options.average_epochs, options.average_epochs_of)
    ends = [f"-{i:02d}" for i in range(experiment.protocol.n_models)]
    folder = setup.folder / "systems" / system
    weights = [
        folder / f"model{setup.fold}{setup.part}{end if len(ends) > 1 else ''}.safetensors"
        for end in ends
    ]
    torch.manual_seed(seed_of(experiment.seed, seeded))
    model, shape = turns.build(setup)
    if setup.begin is not None:
        model = setup.begin
    model = model.to(setup.device)
    loss_of = paired(experiment.loss.build(), experiment.projection).to(setup.device)
    if world.same(all(path.is_file() for path in weights)):
        model.versions = [load_tensors(path) for path in weights]
        model.load_state_dict(model.versions[-1])
        return model
    items, images, held, held_images = turns.sides(setup)
    judge = experiment.protocol.judged
    sides = [mine for _, mine in predict.by_side(model, items)]
    fewest = min(map(len, sides), default=0)
    if min(fewest, options.batch_size, options.micro_batch or options.batch_size) < world.size:
        raise NeurovisError(
            f"train.batch_size, train.micro_batch: expected a row for each of {world.size} processes, "
            f"found {options.batch_size}, {options.micro_batch} and {fewest} training items; use "
            "fewer processes."
        )
    apart = min((len(set(images[mine])) for mine in sides if len(mine)), default=0)
    if experiment.loss.compares and min(apart, options.batch_size) < 2:
        raise NeurovisError(
            f"train.batch_size, loss {experiment.loss.component}: compares images within a batch, expected "
            f"two or more, found batches of {options.batch_size} and {apart} training images; use larger "
            "batches, or a regression loss."
        )
    if not held and judge != "nothing":
        raise NeurovisError(
            f"split{setup.fold}.json: {judge} is empty, expected at least one {split.unit}; "
            "preprocess with a validation part, early stopping needs it."
        )
    if shuffle:
        images = shuffled(images, items, recordings, split, experiment.seed)
        if judge == "validation":
            held_images = shuffled(held_images, held, recordings, split, experiment.seed + 1)
    names = np.unique(recordings.stimuli.image)
    number_of = {image: i for i, image in enumerate(names)}
    numbers = torch.tensor([number_of[image] for image in images])
    truth = Truth(experiment.targets, setup.vectors, setup.levels, images)

    fold = held_fold = None
    if hasattr(model.tower, "start") and setup.begin is None:
        say(f"closed-form start of {stage}", setup.quiet)
        # validation images are one more part: each is judged through filters learned without it
        more = held if judge == "validation" else []
        both = np.concatenate([images, held_images[: len(more)]])
        examples = Examples(recordings, items + more, both, model.tower.n_folds)
        joined = np.concatenate(list(model.starting(setup.aims(both)).values()), axis=1)
        model.begin(
            trials=examples.trials,
            truth=lambda number: joined[examples.item[number]],
            fold=examples.folds,
        )
        fold, held_fold = torch.from_numpy(examples.fold).split([len(items), len(more)])
        held_fold = held_fold if more else None
    # signals are mixed within a subject, and within a part where the tower is cross-fitted
    mixable = np.array([s for s, _ in items]) * len(items) + (0 if fold is None else fold.numpy())
    world.alike(model, loss_of)
    normalise_together(model, world)
    groups = parameter_groups(model, loss_of, options.weight_decay)
    # one pass over the weights: what is large and linear waits for memory most of all
    betas = (options.momentum, 0.999)
    optimiser = torch.optim.AdamW(groups, lr=options.lr, betas=betas, fused=True)
    n_batches = sum(max(1, len(mine) // options.batch_size) for mine in sides)
    n_steps = options.epochs * n_batches
    constant = options.schedule == "constant"
    cosine = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 1.0 if constant else one_cycle(step / n_steps, options.warmup)
    )
    state = {"epoch": 0, "within": 0, "step": 0, "best": math.inf, "since": 0, "sums": {}}
    shadow = {k: v.detach().clone() for k, v in model.state_dict().items()}
    others = None
    if options.subject_mix:
        others = SubjectMix(recordings, items, images, options.average, options.subject_mix)
    checkpoint = Checkpoint(
        setup.folder / f"checkpoint-{stage}.pt",
        f"{setup.folder.name.strip('.').removesuffix('.partial')}, {stage}",
        world,
        {"model": model, "loss": loss_of, "optimiser": optimiser, "schedule": cosine},
    )
    saved = checkpoint.load(setup.device)
    if saved:
        state, shadow, choice.kept = saved["state"], saved["shadow"], saved["kept"]
        truth.load(saved.get("truth", truth.state()))
    log = None
    if world.first:
        log = Log(setup.folder / "log.csv", stage, state["epoch"], experiment.tensorboard)
    precision = choose_precision(experiment.precision, setup.device)
    mixed = torch.autocast(setup.device.type, precision, enabled=precision != torch.float32)
    if experiment.compile:
        compile_tower(model, setup.quiet)
    bar = Bar(options.epochs, state["epoch"], f"training {stage}", setup.quiet)

    def make(planned: tuple) -> Batch:
        number, rows, group, seed = planned
        shares = world.shares(len(rows), options.micro_batch)
        mine = np.concatenate([part[world.rank] for part in shares])
        # drawn for all rows, so that what a row gets does not depend on how many processes there are
        drawn = seed_of(experiment.seed, f"{seeded}/{state['epoch']}/{number}")
        about: dict[str, Any] = {"done": (state["epoch"] * n_batches + number) / n_steps}
        mix = experiment.loss.mix(np.random.default_rng(drawn), mixable[rows], about["done"])
        read = np.arange(len(rows)) if changes(options) or mix else mine
        signal = recordings.averages([group[i] for i in read])
        signal = others.mixed(signal, rows[read], seed) if others else signal
        signal = mix_signals(augmented(signal, options, recordings, seed), mix)
        about |= {"mixed": tuple(map(torch.from_numpy, mix))} if mix else {}
        signal = signal[mine] if len(read) > len(mine) else signal
        subject = torch.tensor([group[i][0] for i in mine])
        inputs = [torch.from_numpy(signal), subject, torch.from_numpy(recordings.present)[subject]]
        inputs += [] if fold is None else [fold[rows[mine]]]
        side = group[0][0] if model.n_sides > 1 else 0
        return Batch(inputs, truth.at(rows), numbers[rows], shares, drawn, about, side)

    patience = options.patience if experiment.protocol.stops else math.inf
    while state["epoch"] < options.epochs and state["since"] < patience:
        epoch, sums = state["epoch"], state["sums"]
        # what is drawn at random follows from seed, epoch and step: a resumed run is the same run
        generator = np.random.default_rng([seed_of(experiment.seed, seeded), epoch])
        planned = plan(items, options, generator, sides)[state["within"] :]
        started = time.perf_counter()
        model.train()
        # closed at once when a step fails: its thread must not outlive the files it reads
        with closing(ahead(make, planned)) as read:
            batches = Timed(read)
            for (_, rows, *_), batch in zip(planned, batches):
                parts, said = backward(model, loss_of, batch, world, mixed)
                truth.learn(rows, said, batch.target, model, batch.side)
                where = f"epoch {epoch + 1}, batch {state['within'] + 1} of {n_batches}"
                if not bool(torch.isfinite(parts["loss"])):
                    shown, value = names[batch.image], float(parts["loss"])
                    raise diverged(stage, "loss", value, where, checkpoint.path, said, shown)
                world.average(p for group in groups for p in group["params"])
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
                if not bool(torch.isfinite(norm)):
                    raise diverged(stage, "gradient", float(norm), where, checkpoint.path)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                cosine.step()
                state["step"], state["within"] = state["step"] + 1, state["within"] + 1
                average_into(shadow, model, options.average_weights, state["step"])
                for name, value in parts.items():
                    sums[name] = sums.get(name, 0.0) + float(value)
                if checkpoint.due(CHECKPOINT_SECONDS):
                    checkpoint.save(
                        state=state, shadow=shadow, kept=choice.kept, truth=truth.state()
                    )
        waited = batches.seconds / (time.perf_counter() - started)

        truth.choose()
        use(model, shadow, options.average_weights)
        report = {}
        if held:
            judged = turns.judged(setup, model)
            report = validate(*judged, loss_of, held, held_images, number_of, held_fold)
        restore(model, options.average_weights)
        if not math.isfinite(report.get("validation_loss", 0.0)):
            value, where = report["validation_loss"], f"epoch {epoch + 1}"
            raise diverged(stage, "validation loss", value, where, checkpoint.path)
        state |= {"epoch": epoch + 1, "within": 0, "sums": {}, "since": state["since"] + 1}
        value = choice.value(report)
        if value < state["best"]:
            state["best"], state["since"] = value, 0
        choice.offer(value, shadow)
        means = {name: value / n_batches for name, value in sums.items()}
        seconds = round(time.perf_counter() - started, 3)
        row = {"step": state["step"], "epoch": epoch + 1, **means, **report}
        if log:
            log.write({**row, "waited": waited, "seconds": seconds})
        text = f", {judge} {report['validation_loss']:.3f}" if report else ""
        bar.step(f"loss {means['loss']:.3f}{text}")
        if checkpoint.due(CHECKPOINT_SECONDS) or not checkpoint.path.is_file():
            checkpoint.save(state=state, shadow=shadow, kept=choice.kept, truth=truth.state())
    bar.close()
    model.versions = choice.weights()
    if options.average_epochs > 1 and norms(model):
        generator = np.random.default_rng(seed_of(experiment.seed, f"{seeded}/norms"))
        for number, mean in enumerate(model.versions):
            model.load_state_dict(mean)
            measure_norms(model, turns.training_batches(setup, items, fold, generator))
            model.versions[number] = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(model.versions[-1])
    if judge == "validation":
        predict.hold(setup, model, system, held, held_fold)
    if log:
        log.close()
        keep.save_shape(setup, shape)
        for path, found in zip(weights, model.versions):
            save_tensors(path, found, brain=experiment.brain.component)
        checkpoint.remove()
    return model


def plan(
    items: list[Item],
    options: Train,
    generator: np.random.Generator,
    sides: list[np.ndarray] | None = None,
) -> list[tuple]:
    """The batches of an epoch: number, rows, what to average for each of them, seed of its own.

    `sides` are the items of each image side where there are several: a batch is of one, so that rows are
    compared with each other in one space, as at test.
    """
    rows = []
    for mine in sides or [np.arange(len(items))]:
        n_batches = max(1, len(mine) // options.batch_size)
        order = mine[generator.permutation(len(mine))]
        rows += [order[i::n_batches] for i in range(n_batches)]
    if sides and len(sides) > 1:
        rows = [rows[i] for i in generator.permutation(len(rows))]
    n_batches = len(rows)
    chosen = [[pick(items[i], options.average, generator) for i in b] for b in rows]
    return list(zip(range(n_batches), rows, chosen, generator.integers(2**32, size=n_batches)))


def one_cycle(done: float, warmup: float) -> float:
    """Share of the largest rate after this share of the steps: linear rise, cosine fall."""
    if done < warmup:
        return 0.04 + 0.96 * done / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warmup) / (1 - warmup)))) + 1e-4


def parameter_groups(model: Any, loss_of: Any, weight_decay: float) -> list[dict]:
    """Weights decay; biases, norms and the temperature do not. A weight may say its own decay."""
    own = [p for p in model.parameters() if hasattr(p, "weight_decay")]
    decay = [p for p in model.parameters() if p.ndim > 1 and not hasattr(p, "weight_decay")]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    rest += [p for p in loss_of.parameters() if p.requires_grad]
    groups = [
        {"params": decay, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return groups + [{"params": [p], "weight_decay": p.weight_decay} for p in own]
