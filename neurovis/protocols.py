"""Who trains and who is tested, and what decides which weights are reported.

Comes in: an experiment's ``subjects`` and ``protocol``. Goes out: the subjects of each training, and
one text that travels as the split's protocol into every score, table and report. What looked at test
trials is `FLAG`-ged in that text, so that no output can say the number without saying this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pydantic

from neurovis.config import Family
from neurovis.errors import NeurovisError, UsageError, unknown
from neurovis.flags import FLAG, PUBLISHED
from neurovis.records import Split
from neurovis.subsets import Limit, standardisation

if TYPE_CHECKING:
    from neurovis.batches import Recordings

# ---- who trains and who is tested ----------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One training: who trains, who is tested with it.

    Parameters
    ----------
    name : str
        End of the names of its files and log lines; empty where there is one training alone.
    train, test : tuple of int
        Numbers of subjects.
    """

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]


class Subjects(Family, family="subjects"):
    """Who trains and who is tested."""

    def parts(self, recordings: Recordings) -> tuple[Part, ...]:
        """Every training that is needed, each from a fresh start."""
        raise NotImplementedError

    @property
    def about(self) -> str:
        """A few words for the protocol; empty for the default."""
        raise NotImplementedError


class Joint(Subjects, name="joint"):
    """One model of all subjects, tested on all of them."""

    def parts(self, recordings: Recordings) -> tuple[Part, ...]:
        """See `Subjects.parts`."""
        everybody = tuple(range(len(recordings.subjects)))
        return (Part("", everybody, everybody),)

    @property
    def about(self) -> str:
        """See `Subjects.about`."""
        return ""


class _InTurn(Subjects):
    """Subjects that are tested in turn.

    Parameters
    ----------
    test : tuple of str
        Those tested; all if empty. The others train where the kind lets them.
    """

    test: tuple[str, ...] = ()

    def _tested(self, recordings: Recordings) -> list[int]:
        for name in self.test:
            if name not in recordings.subjects:
                raise UsageError(unknown("subjects.test", name, recordings.subjects))
        chosen = [i for i, s in enumerate(recordings.subjects) if not self.test or s in self.test]
        for number in chosen:
            if not any(len(recordings.rows(f, "test", number)) for f in recordings.folds):
                raise NeurovisError(
                    f"sub-{recordings.subjects[number]}/trials.h5: expected trials of the split's test "
                    f"side, found none; name the subjects that have some in subjects.test."
                )
        return chosen

    def _others(self, recordings: Recordings, number: int) -> tuple[int, ...]:
        others = tuple(i for i in range(len(recordings.subjects)) if i != number)
        if not others:
            raise NeurovisError(
                f"subjects: expected at least two subjects where one is left out, found sub-"
                f"{recordings.subjects[0]} alone; add subjects to data.subjects, or use subjects=joint."
            )
        return others


class Single(_InTurn, name="single"):
    """One model per subject, each of that subject's channels and trials alone."""

    def parts(self, recordings: Recordings) -> tuple[Part, ...]:
        """See `Subjects.parts`."""
        tested = self._tested(recordings)
        return tuple(Part(f"-{recordings.subjects[i]}", (i,), (i,)) for i in tested)

    @property
    def about(self) -> str:
        """See `Subjects.about`."""
        return "one model per subject"


class LeaveOneOut(_InTurn, name="leave_one_out"):
    """Each subject is tested with a model that never saw a trial of this subject.

    Every model starts afresh; published code that went on from the weights of the subject before is
    inflated (PRIOR_WORK 2.3). Validation is on the training subjects' validation images: their
    responses to the test images are left alone. Channels are those that some training subject has.

    Parameters
    ----------
    unseen : {"mean", "shared"}
        What stands for the subject layer of a subject that was never seen: the mean of the training
        subjects' layers, or one layer that all subjects share from the start.

    Notes
    -----
    What a person answers to any picture differs from person to person, and hides what the picture adds:
    with ``unseen=shared`` and ``data.scale=aligned`` the inverted tower names 47.5 % of a simulated
    subject's pictures among the first five of 200, with ``scale=whitened`` 34.0 %, and trained on the
    subject 77.0 % (averages of twelve repeats, three training subjects, seed 0).
    """

    unseen: Literal["mean", "shared"] = "mean"

    def parts(self, recordings: Recordings) -> tuple[Part, ...]:
        """See `Subjects.parts`."""
        return tuple(
            Part(f"-without-{recordings.subjects[i]}", self._others(recordings, i), (i,))
            for i in self._tested(recordings)
        )

    @property
    def layers(self) -> str:
        """How an unseen subject is decoded, in words."""
        return {
            "mean": "subject layers, if any: mean of the training subjects'",
            "shared": "one layer for all subjects",
        }[self.unseen]

    @property
    def about(self) -> str:
        """See `Subjects.about`."""
        return f"leave one subject out ({self.layers})"


class New(LeaveOneOut, name="new"):
    """A new subject with little data: a model of the other subjects, then tuned on the new one's.

    Parameters
    ----------
    images : int, optional
        Training images of the new subject, and the same share of the validation images; see `Limit`.
    minutes : float, optional
        Or the first so many minutes of the new subject's recording; both limit where both are given.
    tune : {"all", "subject"}
        Which weights are tuned: all, or the subject layer alone (running statistics of normalisation
        follow the new subject in both).
    epochs : int, optional
        Of tuning; ``train.epochs`` if not given.
    lr : float, optional
        Of tuning; ``train.lr`` if not given.
    """

    images: pydantic.PositiveInt | None = 100
    minutes: pydantic.PositiveFloat | None = None
    tune: Literal["all", "subject"] = "all"
    epochs: pydantic.PositiveInt | None = None
    lr: pydantic.PositiveFloat | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _minutes_alone(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("minutes") is not None and "images" not in value:
            return {**value, "images": None}
        return value

    @pydantic.model_validator(mode="after")
    def _some_limit(self) -> New:
        if self.images is None and self.minutes is None:
            raise UsageError(
                "subjects.new: expected images or minutes of the new subject to tune on, found "
                "neither; set subjects.images=100, or minutes."
            )
        return self

    @property
    def limit(self) -> Limit:
        """What of the new subject's training data is used."""
        return Limit(images=self.images, minutes=self.minutes)

    @property
    def about(self) -> str:
        """See `Subjects.about`."""
        tuned = {"all": "all weights", "subject": "the subject layer"}[self.tune]
        return f"new subject: model of the others ({self.layers}), {tuned} tuned on {self.limit}"


# ---- what decides which weights are reported -----------------------------------------------------


class Protocol(Family, family="protocols"):
    """What decides which weights are reported."""

    judged: ClassVar[str] = "validation"
    """Whose trials judge an epoch: ``validation``, ``nothing``, ``test`` or ``others``, which are the
    training subjects' responses to the test images."""
    stops: ClassVar[bool] = True
    """Whether training stops once judgements no longer gain."""

    @property
    def by(self) -> str:
        """Column of the log that judges, less is better (``loss``) or more (``top1``, ``top5``)."""
        return "loss"

    @property
    def n_models(self) -> int:
        """Number of models whose scores are averaged."""
        return 1

    @property
    def about(self) -> str:
        """A few words for the protocol; empty for the default."""
        raise NotImplementedError


class Clean(Protocol, name="clean"):
    """The epoch with the least loss on validation images; training stops where that no longer falls."""

    @property
    def about(self) -> str:
        """See `Protocol.about`."""
        return ""


class Last(Protocol, name="last"):
    """All epochs on training and validation images, the last epoch's weights: nothing is selected.

    As the linear projector with blurred targets is trained within subjects (arXiv 2503.04207), without
    its stop on the training loss.
    """

    judged: ClassVar[str] = "nothing"
    stops: ClassVar[bool] = False

    @property
    def about(self) -> str:
        """See `Protocol.about`."""
        return f"{PUBLISHED}: last epoch without validation, nothing selected"


class MeanOfLast(Protocol, name="mean_of_last"):
    """Scores of the last epochs' models, averaged: the ablations of arXiv 2403.07721 (ten epochs).

    Parameters
    ----------
    n_epochs : int
    """

    judged: ClassVar[str] = "nothing"
    stops: ClassVar[bool] = False
    n_epochs: pydantic.PositiveInt = 10

    @property
    def n_models(self) -> int:
        """See `Protocol.n_models`."""
        return self.n_epochs

    @property
    def about(self) -> str:
        """See `Protocol.about`."""
        return (
            f"{PUBLISHED}: mean of the scores of the last {self.n_epochs} epochs without validation, "
            "nothing selected"
        )


class BestOnTest(Protocol, name="best_on_test"):
    """Every epoch is scored on the test trials and the best one reported: to reproduce, not to trust.

    By top-1 the figures of arXiv 2403.07721, by loss the checkpoints of arXiv 2511.06836. Validation
    images train too.

    Parameters
    ----------
    metric : {"top1", "top5", "loss"}
    """

    judged: ClassVar[str] = "test"
    stops: ClassVar[bool] = False
    metric: Literal["top1", "top5", "loss"] = "top1"

    @property
    def by(self) -> str:
        """See `Protocol.by`."""
        return self.metric

    @property
    def about(self) -> str:
        """See `Protocol.about`."""
        return f"{FLAG}: epoch selected on the test trials by {self.metric}, {PUBLISHED}"


class BestOnOthersTest(Protocol, name="best_on_others_test"):
    """Training stops by the training subjects' responses to the test images.

    As arXiv 2503.04207 does between subjects: the test images, not the test trials, take part.
    Validation images train too.
    """

    judged: ClassVar[str] = "others"

    @property
    def about(self) -> str:
        """See `Protocol.about`."""
        return (
            f"{FLAG}: epoch selected on the training subjects' responses to the test images, "
            f"{PUBLISHED}"
        )


# ---- in words --------------------------------------------------------------------------------------


def described(
    split: Split, subjects: Subjects, protocol: Protocol, recordings: Recordings
) -> Split:
    """The split as a run keeps it: its protocol says who trained, on how much, and what was selected.

    With joint training, all data and the clean protocol the split stays as it is.
    """
    flagged = protocol.about.startswith(FLAG)
    # a flagged run never carries the word
    name = [] if flagged and split.protocol == "clean" else [split.protocol]
    words = [protocol.about, *name] if flagged else [*name, protocol.about]
    words += [subjects.about, recordings.about]
    if isinstance(subjects, LeaveOneOut):
        words.append(_own_scale(subjects, recordings))
    return replace(split, protocol="; ".join(word for word in words if word))


def _own_scale(subjects: LeaveOneOut, recordings: Recordings) -> str:
    """Unlabelled data of the held-out subject that preprocessing learned from."""
    steps = [trials.provenance.get("steps") for trials in recordings.trials]
    steps = [one if isinstance(one, dict) else {} for one in steps]
    if not all("scaling" in one for one in steps):
        return "how signals of the subject left out were standardised is not recorded"
    learned = any(one["scaling"] not in ("none", "constant") for one in steps)
    learned |= any(one.get("whiten", "none") != "none" for one in steps)
    scale = recordings.scale
    if not learned and scale == "stored":
        return ""
    if isinstance(subjects, New) and scale != "stored":
        said = (standardisation(t, subjects.limit, scale) for t in recordings.trials)
        return ", ".join(dict.fromkeys(filter(None, said)))
    what = {"whitened": "whitened", "aligned": "centred and whitened"}.get(scale, "standardised")
    return f"signals of the subject left out {what} with its own training trials, all of them"


def checked(recordings: Recordings, subjects: Subjects, protocol: Protocol) -> tuple[Part, ...]:
    """Trainings of an experiment, refused where there is nothing to train or test on."""
    parts = subjects.parts(recordings)
    if protocol.judged == "others" and not isinstance(subjects, LeaveOneOut):
        raise UsageError(
            "protocol: best_on_others_test needs training subjects besides the one tested, found "
            f"subjects={subjects.component}; use best_on_test, or subjects=leave_one_out."
        )
    if isinstance(subjects, New) and protocol.judged == "others":
        raise UsageError(
            "protocol: best_on_others_test cannot judge the tuning of a new subject; use clean or last."
        )
    for part in parts:
        trained = [recordings.rows(f, "train", i) for f in recordings.folds for i in part.train]
        if part.name and not any(map(len, trained)):
            names = ", ".join(recordings.subjects[i] for i in part.train)
            raise NeurovisError(
                f"split: no training trial is among {names}, expected some to train on; check the "
                "split's ids and data.subjects."
            )
    return parts
