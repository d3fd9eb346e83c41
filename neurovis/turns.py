"""Trainings of one experiment in turn: who trains, who is tested, and how the two meet.

Comes in: a `Setup` of all subjects. Goes out: one `Turn` per training, whose `Setup` for training holds
the recordings of those who train and of nobody else, so that `fit` cannot see a trial of the subject
left out. A subject that no layer was trained for gets the mean of the training subjects' layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurovis.augment import pick
from neurovis.batches import Item, View
from neurovis.errors import NeurovisError, UsageError
from neurovis.joint import heads, image_side
from neurovis.predict import Rows, by_side, closed, closed_form, examples_of, of_side, tower
from neurovis.progress import say
from neurovis.protocols import LeaveOneOut, New, Part, checked
from neurovis.records import Prediction

if TYPE_CHECKING:
    from neurovis.brain.base import Shape
    from neurovis.train import Setup


@dataclass
class Turn:
    """One training and what it is tested on.

    Parameters
    ----------
    train, test : Setup
        With the recordings of those who train, and of those tested in the channels of `train`.
    rows : Rows
        Test rows, subjects numbered as in `test`.
    tune : Setup, optional
        A second training that goes on from the first, on the little data of a new subject.
    """

    train: Setup
    test: Setup
    rows: Rows
    tune: Setup | None = None

    def tower(self, fit: Callable, system: str, shuffle: bool = False) -> Iterator[Prediction]:
        """Train, and predict the rows with every model that training gives."""
        model = fit(self.train, system, shuffle)
        if self.tune is not None:
            names = subject_tensors(self.train)
            model = stand_in(self.train, model, self.tune)
            if self.tune.experiment.subjects.tune == "subject":
                hold_all_but(model, names, self.tune)
            model = fit(replace(self.tune, begin=model), system, shuffle)
        elif self.test.recordings is not self.train.recordings:
            model = stand_in(self.train, model, self.test)
        number = int(self.test.gallery.rpartition("/")[2]) if self.test.gallery else 0
        for weights in model.versions:
            model.load_state_dict(weights)
            for test, rows in self._sides(model):
                gallery = f"galleries/{number:03d}" if self.test.gallery else ""
                yield tower(replace(test, gallery=gallery), model, rows, system)
                number += 1

    def _sides(self, model: Any) -> Iterator[tuple[Setup, Rows]]:
        """What each image side of a decoder is tested on."""
        if model.n_sides == 1:
            yield self.test, self.rows
            return
        for side, mine in by_side(model, self.rows.items):
            yield of_side(self.test, side), self.rows.some(mine)

    def closed_form(self, brain: Any, system: str, shuffle: bool = False) -> Prediction:
        """Fit a closed form: on the tested subject's own trials where some are given, else on the
        others' pooled."""
        if self.tune is not None:
            return closed_form(self.tune, brain, system, self.rows, shuffle)
        if self.test.recordings is self.train.recordings:
            return closed_form(self.train, brain, system, self.rows, shuffle)
        return pooled(self.train, self.test, brain, system, self.rows, shuffle)


def turns(setup: Setup, rows: Rows) -> Iterator[Turn]:
    """Every training of a fold.

    Parameters
    ----------
    setup : Setup
        Of all subjects.
    rows : Rows
        Test rows of all subjects.
    """
    experiment, base = setup.experiment, setup.recordings
    subjects, protocol = experiment.subjects, experiment.protocol
    parts = checked(base, subjects, protocol)
    sides = len(parts[0].test) if experiment.projection == "own" else 1
    several = len(parts) * protocol.n_models * sides > 1 and not setup.fold
    everybody = tuple(range(len(base.subjects)))
    for number, part in enumerate(parts):
        whole = part.train == everybody
        recordings = base if whole else View(base, part.train)
        train = replace(setup, recordings=recordings, part=part.name)
        place = f"galleries/{number * protocol.n_models:03d}" if several else ""
        test, tune = replace(train, gallery=place), None
        if isinstance(subjects, New):
            tune = _tuning(replace(train, gallery=place), part, base)
            test = replace(test, recordings=tune.recordings, part=tune.part)
        elif part.test != part.train:
            test = replace(test, recordings=View(base, part.test, part.train))
        if protocol.judged == "test":
            train = replace(train, tested=test)
        yield Turn(train, test, _of(rows, part.test, whole), tune)


def _tuning(setup: Setup, part: Part, base: Any) -> Setup:
    subjects, options = setup.experiment.subjects, setup.experiment.train
    changes = {k: v for k in ("epochs", "lr") if (v := getattr(subjects, k)) is not None}
    changes["subject_mix"] = 0.0  # there is nobody else
    experiment = setup.experiment.model_copy(update={"train": options.model_copy(update=changes)})
    limit = base.limits[part.test[0]]
    limit = replace(limit, images=subjects.images or limit.images, minutes=subjects.minutes)
    recordings = View(base, part.test, part.train, limit)
    name = part.name.replace("-without-", "-new-")
    for side in ("train", "validation"):
        needed = side == "train" or setup.experiment.protocol.judged == "validation"
        if needed and not len(recordings.rows(setup.split, side, 0)):
            raise NeurovisError(
                f"subjects.new: {subjects.limit} of sub-{recordings.subjects[0]} hold no trial of the "
                f"split's {side} side, expected some; raise subjects.images or minutes."
            )
    return replace(setup, experiment=experiment, recordings=recordings, part=name)


def _of(rows: Rows, test: tuple[int, ...], whole: bool) -> Rows:
    """The rows of some subjects, who are counted anew."""
    if whole:
        return rows
    place = {number: i for i, number in enumerate(test)}
    mine = [i for i, (subject, _) in enumerate(rows.items) if subject in place]
    items = [(place[rows.items[i][0]], rows.items[i][1]) for i in mine]
    return Rows(items, rows.image[mine], rows.subject[mine], rows.recording[mine])


def sides(setup: Setup) -> tuple[list[Item], np.ndarray, list[Item], np.ndarray]:
    """Items that train and items that judge an epoch, with the image of each.

    Where validation does not judge, its images train too. Items that judge may belong to the
    recordings of `Setup.tested`.
    """
    recordings, split = setup.recordings, setup.split
    judged, single = setup.experiment.protocol.judged, setup.experiment.train.average == "none"
    items, images = recordings.items(split, "train", single=single)
    if judged == "validation":
        return items, images, *recordings.items(split, "validation")
    more, more_images = recordings.items(split, "validation", single=single)
    items, images = items + more, np.concatenate([images, more_images])
    if judged == "nothing":
        return items, images, [], np.array([], dtype=str)
    where = setup.tested.recordings if judged == "test" else recordings
    return items, images, *where.items(split, "test")


def training_batches(
    setup: Setup, items: list[Item], fold: Any, generator: np.random.Generator
) -> Iterator[tuple]:
    """Batches of one epoch as a tower takes them, without augmentation."""
    import torch

    options, recordings = setup.experiment.train, setup.recordings
    order = generator.permutation(len(items))
    n_batches = max(1, len(items) // options.batch_size)
    for rows in (order[i::n_batches] for i in range(n_batches)):
        group = [pick(items[i], options.average, generator) for i in rows]
        subject = torch.tensor([s for s, _ in group])
        batch = [torch.from_numpy(recordings.averages(group)), subject]
        batch += [torch.from_numpy(recordings.present)[subject]]
        batch += [] if fold is None else [fold[rows]]
        yield tuple(part.to(setup.device) for part in batch)


def judged(setup: Setup, model: Any) -> tuple[Setup, Any]:
    """Setup and model that judge an epoch: their own, or those of the subject tested."""
    if setup.tested is None or setup.tested.recordings is setup.recordings:
        return setup, model
    return setup.tested, stand_in(setup, model, setup.tested)


def pooled(
    train: Setup, test: Setup, brain: Any, system: str, rows: Rows, shuffle: bool = False
) -> Prediction:
    """Fit one closed-form model on all training subjects' trials together; predict another's rows.

    Rows of all subjects and images stand below each other, in the channels that all of them have. The
    penalty is chosen with all subjects' rows of an image left out together: to predict one from another
    subject's answer to the very same picture is not what is asked.
    """
    recordings, asked = train.recordings, test.recordings
    keep = recordings.present.all(0) & asked.present.all(0)
    if not keep.any():
        raise NeurovisError(
            f"{system}: expected channels that {', '.join((*recordings.subjects, *asked.subjects))} all "
            "have, found none; a closed form of other subjects needs some."
        )
    items, truth = examples_of(train, shuffle)
    widths = {k: v.vector.shape[1] for k, v in train.vectors.items()}
    shape, chosen = asked.shape(widths), np.flatnonzero(keep)
    shape = replace(
        shape,
        channel_name=tuple(shape.channel_name[i] for i in chosen),
        channel_type=tuple(shape.channel_type[i] for i in chosen),
        channel_position=shape.channel_position[chosen],
    )
    say(f"fitting {system}{train.fold}{train.part}", train.quiet)
    # categories are few, and what is new in a recording is not its category
    group = None
    if train.split.unit == "image":
        group = np.array([recordings.trials[s].image[rows[0]] for s, rows in items])
    model = brain.build(shape).fit(recordings.averages(items)[:, keep], truth, group)
    out = np.empty((len(rows.items), truth.shape[1]), np.float32)
    for start in range(0, len(out), 512):
        block = slice(start, start + 512)
        out[block] = model.predict(asked.averages(rows.items[block])[:, keep])
    return closed(train, brain, system, model.tensors(), out, rows)


# ---- one tower, other subjects ---------------------------------------------------------------------


def build(setup: Setup, begin: bool = True) -> tuple[Any, Shape]:
    """A fresh decoder for the subjects of a setup, and what it was built from.

    Without `begin` maps to a common space are left empty, for weights that are put in.
    """
    shape = _shape(setup)
    experiment, n_subjects = setup.experiment, len(shape.subjects)
    if shared(setup):
        shape = _of_subjects(shape, ("all",))
    made = experiment.brain.build(shape)
    made = _sharing(made, n_subjects) if shared(setup) else made
    examples = None
    if begin and not isinstance(experiment.projection, str):
        examples = setup.aims(np.unique(setup.recordings.items(setup.split, "train")[1]))
    return _with_images(setup, made, len(shape.subjects), examples), shape


def _shape(setup: Setup) -> Shape:
    return setup.recordings.shape(heads(_widths(setup), setup.experiment.projection))


def _widths(setup: Setup) -> dict[str, int]:
    return {name: found.vector.shape[1] for name, found in setup.vectors.items()}


def _with_images(setup: Setup, tower: Any, n_subjects: int, examples: Any = None) -> Any:
    experiment = setup.experiment
    side, spread = experiment.projection, experiment.loss.spread
    return image_side(tower, _widths(setup), side, examples, spread=spread, n_subjects=n_subjects)


def shared(setup: Setup) -> bool:
    """Whether all subjects go through one layer."""
    subjects = setup.experiment.subjects
    return isinstance(subjects, LeaveOneOut) and subjects.unseen == "shared"


def _sharing(made: Any, n_subjects: int) -> Any:
    """Let a tower of one subject take the trials of all; the names of its tensors stay."""
    forward = made.forward
    made.forward = lambda signal, subject, *rest: forward(signal, subject * 0, *rest)
    if hasattr(made, "start"):
        start, everybody = made.start, range(n_subjects)
        made.start = lambda trials, truth, fold: start(
            lambda _: (block for n in everybody for block in trials(n)),
            lambda _: np.concatenate([truth(n) for n in everybody]),
            lambda _: np.concatenate([fold(n) for n in everybody]),
        )
    return made


def subject_tensors(setup: Setup) -> dict[str, tuple[str, ...]]:
    """Tensors of a decoder of one subject that exist once per subject.

    Found by building the decoder for one and for two subjects: such a tensor is longer with two, or
    has a twin whose name differs in one part.

    Returns
    -------
    dict
        Name with one subject -> names with two.
    """
    import torch

    shape, brain = _shape(setup), setup.experiment.brain
    with torch.random.fork_rng(devices=[]):
        one, two = (
            _with_images(setup, brain.build(_of_subjects(shape, ("1", "2")[:n])), n).state_dict()
            for n in (1, 2)
        )
    twins, odd = {}, set()
    for name, value in one.items():
        if name in two and two[name].shape != value.shape:
            twins[name] = (name,)
            double = (2 * value.shape[0], *value.shape[1:]) if value.ndim else ()
            odd |= {name} if tuple(two[name].shape) != double else set()
        for other in two.keys() - one.keys():
            pairs = list(zip(name.split("."), other.split(".")))
            same = name.count(".") == other.count(".") and sum(a != b for a, b in pairs) == 1
            if same and {"0", "1"} <= {a for pair in pairs if pair[0] != pair[1] for a in pair}:
                twins[name] = (name, other)
    unknown = two.keys() - one.keys() - {other for names in twins.values() for other in names} | odd
    if unknown:
        raise UsageError(
            f"brain: {_named(setup)!r} keeps {sorted(unknown)[0]!r} for each subject "
            "in a way that has no mean; use subjects=joint, single, or unseen=shared."
        )
    return twins


def _named(setup: Setup) -> str:
    brain = setup.experiment.brain
    return brain.component or type(brain).__name__


def _of_subjects(shape: Shape, subjects: tuple[str, ...]) -> Shape:
    """The same shape for other subjects, who have every channel of it."""
    known = {"present": None} if hasattr(shape, "present") else {}
    return replace(shape, subjects=subjects, **known)


def stand_in(train: Setup, model: Any, test: Setup) -> Any:
    """A decoder of a subject that was not trained: its layers are the mean of the others'.

    Parameters
    ----------
    train : Setup
        What `model` was trained on.
    model : torch.nn.Module
        As `build` made it, with the weights to use.
    test : Setup
        Of the one subject to be decoded.

    Returns
    -------
    torch.nn.Module
        A decoder of one subject; `model` itself where all subjects share their layers.
    """
    import torch

    if shared(train):
        return model
    names, n = subject_tensors(train), len(train.recordings.subjects)
    with torch.random.fork_rng(devices=[]):
        fresh, _ = build(test, begin=False)
    expected = fresh.state_dict()

    def one_subject(state: dict[str, Any]) -> dict[str, Any]:
        out = {}
        for name, value in expected.items():
            if name not in names:
                out[name] = state[name]
                continue
            found = [state[name]]
            if len(names[name]) == 2:  # a twin per subject
                twin = names[name][1].split(".")
                at = next(i for i, (a, b) in enumerate(zip(name.split("."), twin)) if a != b)
                found = [state[".".join([*twin[:at], str(i), *twin[at + 1 :]])] for i in range(n)]
            elif n > 1:
                found = list(found[0].reshape(n, *value.shape))
            if any(one.shape != value.shape for one in found):
                raise NeurovisError(
                    f"brain: {name!r} differs in size between subjects, expected one size for a mean; "
                    "use subjects=joint or single."
                )
            out[name] = torch.stack([one.float() for one in found]).mean(0).to(value.dtype)
        return out

    device = next(iter(model.state_dict().values())).device
    fresh.load_state_dict(one_subject(model.state_dict()))
    fresh.versions = [one_subject(weights) for weights in getattr(model, "versions", [])]
    return fresh.to(device)


def hold_all_but(model: Any, names: Any, setup: Setup) -> None:
    """Let the subject's own tensors train and no other."""
    names = set(names)
    if not any(name in names for name, _ in model.named_parameters()):
        raise UsageError(
            f"subjects.tune: brain {_named(setup)!r} has no subject layer to tune; use tune=all."
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
