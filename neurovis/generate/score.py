"""Scores of reconstructions: how alike painted and seen pictures are, with chance and interval.

Comes in: a folder made by ``neurovis generate`` and the metrics to use. Goes out: ``scores.json`` in the
form of a run's, ``per_item.h5`` with one value per row and sample, and a table. Systems share bootstrap
draws over images, so that the brain's lead over the nearest picture and over the floor is paired. Nothing is
chosen by the seen picture: of several samples the mean is scored, and apart from it the one that agrees best
with the decoded embedding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from neurovis import flags
from neurovis.config import to_dict
from neurovis.errors import NeurovisError
from neurovis.generate.artefact import FILE, opened
from neurovis.generate.compared import (
    N_CHANCE,
    N_GROUPS,
    Rows,
    SetValue,
    Values,
    feature_values,
    pixel_values,
    rows_of,
)
from neurovis.generate.measures import Measures, measures
from neurovis.metrics import statistics
from neurovis.metrics.picture_table import picture_table
from neurovis.metrics.scoring import Scored
from neurovis.metrics.statistics import t_quantile
from neurovis.progress import say
from neurovis.records import Score, Split
from neurovis.store import FORMAT_VERSION, provenance, write_h5, write_json

__all__ = ["is_reconstructions", "picture_table", "score_reconstructions"]

MEAN, BEST = "mean of samples", "best sample by agreement"
AGAINST = ("nearest", "floor")
PACKAGES = ("torchvision", "pillow", "scikit-learn")


def is_reconstructions(folder: str | Path) -> bool:
    """Whether a folder holds reconstructions, and not a run."""
    return (Path(folder) / FILE).is_file() and not (Path(folder) / "systems").is_dir()


def score_reconstructions(
    folder: str | Path,
    by: str | dict[str, Any] | Measures = "offline",
    device: str = "auto",
    quiet: bool = False,
) -> list[Score]:
    """Score every system of a folder of reconstructions; write ``scores.json`` and ``per_item.h5`` into it.

    Parameters
    ----------
    folder : path
        ``RUN/reconstructions/<generator>-<fingerprint>``.
    by : str, dict or Measures
        ``offline``, ``published``, or a YAML file of `Measures`.
    device : str
        Where networks run.
    quiet : bool

    Returns
    -------
    list of Score
        Of all systems, then the comparisons (``about["comparison"]``).

    Raises
    ------
    NeurovisError
        If a file is missing or damaged, a feature is NaN (naming the picture), or weights are missing.
    """
    folder, chosen = Path(folder), measures(by)
    with opened(folder) as found:
        seen, about = found.seen, found.about
        if len(seen.image) < 2:
            raise NeurovisError(
                f"{folder / FILE}: expected two seen pictures or more, found {len(seen.image)}; one alone is "
                "told from nothing."
            )
        systems = rows_of(found.systems, seen)
        notes: list[str] = []
        protocol = _protocol(folder, about)
        notes += filter(None, [flags.warning(protocol)])
        values: dict[str, list[Values]] = {name: [] for name in systems}
        sets: dict[str, list[SetValue]] = {name: [] for name in systems}
        encoders: dict[str, Any] = {}
        if chosen.pixels:
            for name, more in pixel_values(chosen.pixels, seen, systems, quiet).items():
                values[name] += more
        for name, feature in chosen.features.items():
            if device != "auto":
                encoder = feature.encoder.model_copy(update={"device": device})
                feature = feature.model_copy(update={"encoder": encoder})
            more, several, encoders[name] = feature_values(
                name, feature, seen, systems, notes, quiet
            )
            for system in systems:
                values[system] += more[system]
                sets[system] += several[system]
        common = {
            "gallery": f"{len(seen.image)} seen pictures",
            "protocol": protocol,
            "target": str(about.get("target", "")),
        }
        _flat_pictures(systems, notes)
    scored = {n: [s for v in values[n] for s in _scored(n, systems[n], v, common)] for n in systems}
    scores = [s.score for some in scored.values() for s in some]
    scores += [_set_score(name, one, common) for name in systems for one in sets[name]]
    comparisons = _comparisons(scored, notes)
    chief = _headline(scores)
    control = _control(scores, chief)
    notes = list(dict.fromkeys(notes))
    say("\n".join(notes), quiet or not notes)
    write_h5(folder / "per_item.h5", "neurovis-per-picture", _per_item(systems, values))
    write_json(
        folder / "scores.json",
        {
            "format": "neurovis-scores",
            "format_version": FORMAT_VERSION,
            "headline": chief,
            "control_at_chance": control["at_chance"] if control else None,
            "control": control,
            "interval": f"{statistics.interval_text(False)}; of sets: jackknife over {N_GROUPS} groups of images",
            "notes": notes,
            "scores": [_entry(score) for score in scores],
            "comparisons": [_entry(score) for score in comparisons],
            "coverage": [],
            "metrics": {
                "name": by if isinstance(by, str) and not Path(by).suffix else "given",
                "pixels": to_dict(chosen.pixels, how_too=False),
                "encoders": encoders,
            },
            "versions": versions(),
            "reconstructions": about,
        },
    )
    return scores + comparisons


def versions() -> dict[str, str]:
    """Versions of the libraries that scores depend on."""
    found = dict(provenance()["versions"])
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _protocol(folder: Path, about: Mapping[str, Any]) -> str:
    """The protocol of the run that was decoded."""
    if said := about.get("protocol"):
        return str(said)
    run = folder.resolve().parent.parent
    return Split.read_folds(run)[0].protocol if list(run.glob("split*.json")) else "not stated"


def _flat_pictures(systems: Mapping[str, Rows], notes: list[str]) -> None:
    """Say how many pictures are of one colour: a generator may refuse to paint."""
    for name, rows in systems.items():
        flat = [i for i in range(len(rows.image)) if _flat(rows.read(i))]
        if flat:
            notes.append(
                f"{len(flat)} rows of {name} hold a picture of one colour, the first of "
                f"{str(rows.image[flat[0]])!r}; its pixels correlate with nothing (pixcorr 0)."
            )


def _flat(pictures: np.ndarray) -> bool:
    return bool((np.ptp(pictures.reshape(len(pictures), -1), axis=1) == 0).any())


def _entry(score: Score) -> dict[str, Any]:
    return replace(score, per_item=[]).to_dict()


def _per_item(
    systems: Mapping[str, Rows], values: Mapping[str, list[Values]]
) -> dict[str, np.ndarray]:
    """Values (row, sample) by system and name, beside what each row is of."""
    out: dict[str, np.ndarray] = {}
    for name, rows in systems.items():
        out |= {f"{name}/{n}": getattr(rows, n) for n in ("image", "subject", "n_averaged")}
        out |= {f"{name}/value/{v.name}": v.value.astype(np.float32) for v in values[name]}
    return out


# ---- values to scores --------------------------------------------------------------------------


def _scored(system: str, rows: Rows, values: Values, common: dict[str, str]) -> list[Scored]:
    """Scores of one metric: each number of averaged trials, each subject, mean and best sample."""
    out = []
    choices: dict[str, np.ndarray] = {MEAN: values.value.mean(axis=1)}
    wrong = values.chance if isinstance(values.chance, np.ndarray) else None
    if rows.agreement is not None and rows.n_samples > 1:
        best = rows.agreement.argmax(axis=1)[:, None]
        choices[BEST] = np.take_along_axis(values.value, best, axis=1)[:, 0]
    for n_averaged, subject, mine in rows.groups():
        images, item = np.unique(rows.image[mine], return_inverse=True)
        counts = statistics.resample_counts(len(images))
        for choice, value in choices.items():
            value, chance = value[mine], values.chance
            draws, mean = statistics.bootstrap_mean(value, item, counts), float(value.mean())
            per_item = np.bincount(item, value) / np.bincount(item)
            limits = statistics.interval(draws)
            if values.step:
                limits = statistics.widen_mean(limits, per_item, values.step)
            limits = min(limits[0], mean), max(limits[1], mean)
            if wrong is not None:
                measured = wrong[mine] if np.isfinite(wrong[mine]).any() else wrong
                chance = np.nanmean(measured)
            about = {"n_averaged": n_averaged, "subject": subject, "n_rows": len(mine)}
            about |= {"samples": rows.n_samples, "choice": choice, "resampled": "image"}
            score = _score(
                system,
                values,
                common,
                about,
                mean,
                float(chance),
                limits,
                len(images),
            )
            score = replace(score, per_item=per_item)
            out.append(Scored(score, draws, images, values.step))
    return out


def _score(
    system: str,
    one: Values | SetValue,
    common: dict[str, str],
    about: dict[str, Any],
    value: float,
    chance: float,
    limits: tuple[float, float],
    n: int,
) -> Score:
    if isinstance(one, SetValue):
        said = "expected of as many pictures drawn as the seen ones were"
    elif isinstance(one.chance, np.ndarray) and "feature" in one.about:
        said = "mean over all other seen pictures"
    elif isinstance(one.chance, np.ndarray):
        said = f"mean over wrong seen pictures, {one.metric.n_wrong} each for {N_CHANCE} images, seed 0"
    else:
        said = "computed from the number of seen pictures"
    about = {"system": system, "target": common["target"], **about, **one.about}
    protocol = common["protocol"]
    if "encoder" in about:
        protocol += f"; looked at through {about['encoder']}"
    return Score(
        value=value,
        n=n,
        chance=chance,
        low=limits[0],
        high=limits[1],
        per_item=np.zeros(0),
        gallery=common["gallery"],
        protocol=protocol,
        higher_is_better=one.metric.higher_is_better,
        name=one.name,
        about={**about, "metric": one.metric.component, "chance_is": said},
    )


def _set_score(system: str, one: SetValue, common: dict[str, str]) -> Score:
    """Score of a set, with Student's interval of the grouped jackknife."""
    g = len(one.left_out)
    error = np.sqrt((g - 1) / g * ((one.left_out - one.left_out.mean()) ** 2).sum())
    half = t_quantile(g - 1) * error
    n_averaged, subject = one.group
    about = {"n_averaged": n_averaged, "subject": subject, "n_rows": len(one.rows)}
    about |= {"choice": MEAN, "resampled": "image"}
    one = replace(one, about={**one.about, "level": "set", "look": one.about["level"]})
    limits = one.value - half, one.value + half
    return _score(system, one, common, about, one.value, one.expected, limits, one.n_pictures)


def _comparisons(scored: Mapping[str, list[Scored]], notes: list[str]) -> list[Score]:
    """The brain's values less those of the nearest picture and of the floor, paired by image."""
    out = []
    for other in AGAINST:
        if "brain" not in scored or other not in scored:
            continue
        known = {(*s.key, s.score.about["choice"]): s for s in scored[other]}
        what = f"brain - {other}"
        for first in scored["brain"]:
            second = known.get((*first.key, first.score.about["choice"]))
            if second is None and first.score.about["choice"] == BEST:
                second = known.get((*first.key, MEAN))
                # several samples without agreement would be compared with a choice among as many
                if second is not None and second.score.about["samples"] > 1:
                    continue
            if second is None:
                continue
            if not np.array_equal(first.item, second.item):
                notes.append(f"{what} left out for some rows: both painted other images.")
                continue
            out.append(_less(first, second, what))
    return out


def _less(first: Scored, second: Scored, what: str) -> Score:
    one, two = first.score, second.score
    per_item = one.per_item - two.per_item
    limits = statistics.compare(first.draws, second.draws)
    if first.step:
        limits = statistics.widen_difference(limits, per_item, first.step)
    about = {**one.about, "comparison": what, "chance_is": "no difference"}
    return replace(
        one,
        value=one.value - two.value,
        chance=0.0,
        low=limits[0],
        high=limits[1],
        per_item=per_item,
        about=about,
    )


def _headline(scores: list[Score]) -> dict[str, Any]:
    """Which score speaks for the reconstructions; fixed by rule, never by its value.

    The brain (or the first system), all subjects, the most trials averaged, the mean of samples; two-way
    identification per reconstruction by the last high-level encoder named, else the first metric.
    """
    systems = list(dict.fromkeys(s.about["system"] for s in scores))
    system = "brain" if "brain" in systems else systems[0]
    some = [s for s in scores if s.about["system"] == system and s.about["choice"] == MEAN]
    n_averaged = max(s.about["n_averaged"] for s in some)
    some = [s for s in some if (s.about["n_averaged"], s.about["subject"]) == (n_averaged, "all")]
    two_way = [s for s in some if s.name.startswith("2-way per reconstruction")]
    high = [s for s in two_way if s.about["level"] == "high"]
    chosen = (high or two_way or some)[-1 if high else 0]
    about = {"system": system, "subject": "all", "n_averaged": n_averaged, "choice": MEAN}
    return {**about, "target": chosen.about["target"], "metric": chosen.name}


def _control(scores: list[Score], chief: dict[str, Any]) -> dict[str, Any] | None:
    """Whether the floor's interval holds chance, by the headline's metric."""
    for score in scores:
        same = all(score.about[k] == chief[k] for k in ("subject", "n_averaged", "choice"))
        if score.about["system"] == "floor" and same and score.name == chief["metric"]:
            numbers = {
                name: getattr(score, name) for name in ("value", "low", "high", "chance", "n")
            }
            held = score.low <= score.chance <= score.high
            return {"at_chance": held, "metric": score.name, **numbers}
    return None
