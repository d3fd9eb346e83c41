"""From predictions to what is kept of a subject: numbers per target, means per group, tests, partition.

Comes in: `Responses` and what each system predicted of the test images. Goes out: a `Scored` per subject.
Every system is scored with the same bootstrap draws and permutations, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurovis.encode import scores
from neurovis.encode.evidence import likeliest
from neurovis.encode.experiment import Scoring
from neurovis.encode.responses import Responses
from neurovis.metrics.statistics import interval, resample_counts
from neurovis.records import Score

MEASURES = ("pearson", "r2", "pearson_normalised", "r2_normalised")


@dataclass(frozen=True)
class System:
    """One readout on some families.

    Parameters
    ----------
    readout : str
    families : tuple of str
    shuffled : bool
        The control.
    """

    readout: str
    families: tuple[str, ...]
    shuffled: bool = False

    @property
    def name(self) -> str:
        """``readout@family+family``."""
        return f"{self.readout}@{'+'.join(self.families)}" + ("@shuffled" if self.shuffled else "")


@dataclass(frozen=True, eq=False)
class Said:
    """What a system predicted, and what was found of each target.

    Parameters
    ----------
    test : array (image, target)
    per_target : dict of array (target, ...)
    """

    test: np.ndarray
    per_target: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scored:
    """Everything kept of one subject's scores.

    Parameters
    ----------
    arrays : dict of array
        For ``encoding.h5``: ``systems/<name>/pearson`` (target,) and so on.
    scores : list of Score
        Means over targets of each group.
    draws : dict of array (draw,)
        Of each mean, by (system, group, measure).
    counts : dict
        Why targets are left out, by group.
    """

    arrays: dict[str, np.ndarray]
    scores: list[Score]
    draws: dict[tuple[str, str, str], np.ndarray]
    counts: dict[str, dict[str, int]]


def chosen(responses: Responses, options: Scoring) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Targets that enter means (target,), and those left out by reason."""
    ceiling = responses.ceiling.get(options.ceiling)
    out = {"constant": responses.constant}
    known = ~responses.constant
    none = np.zeros_like(known)
    out["ceiling at or below 0"] = known & (ceiling <= 0) if ceiling is not None else none
    if responses.chosen_on != "none":
        low = responses.chosen_by <= options.min_ceiling
        out[f"ceiling at or below {options.min_ceiling:g}"] = (
            known & ~out["ceiling at or below 0"] & low
        )
    left = np.any(list(out.values()), axis=0)
    return ~left, out


def score(
    responses: Responses, said: Mapping[System, Said], options: Scoring, protocol: str
) -> Scored:
    """Score every system of one subject.

    Parameters
    ----------
    responses : Responses
    said : dict of Said
    options : Scoring
    protocol : str

    Returns
    -------
    Scored
    """
    keep, reasons = chosen(responses, options)
    groups = responses.groups()
    n_times = responses.shape[1]
    y = responses.test
    counts = resample_counts(len(y), options.n_bootstrap)
    ceiling = responses.ceiling.get(options.ceiling)
    shares = None if ceiling is None else np.where(keep, ceiling, 1.0).clip(1e-6)
    arrays: dict[str, np.ndarray] = {"chosen": keep, "constant": responses.constant}
    arrays["chosen_by"] = responses.chosen_by
    arrays |= {f"ceiling/{k}": v for k, v in responses.ceiling.items()}
    made: list[Score] = []
    kept: dict[tuple[str, str, str], np.ndarray] = {}
    tallies = {
        name: {why: int((member & bad).sum()) for why, bad in reasons.items()}
        | {"scored": int((member & keep).sum()), "all": int(member.sum())}
        for name, member in groups.items()
    }
    in_group = {name: (member & keep) for name, member in groups.items() if (member & keep).any()}
    singles: dict[str, list[tuple[System, np.ndarray, np.ndarray]]] = {}
    for system, one in said.items():
        r, explained = scores.pearson(one.test, y), scores.r2(one.test, y)
        place = f"systems/{system.name}"
        draws = np.empty((len(counts), y.shape[1]), np.float32)
        means = {
            (g, m): np.zeros(len(counts)) for g in in_group for m in MEASURES[: 4 if shares is not None else 2]
        }  # fmt: skip
        curve = np.zeros((len(counts), n_times))
        alive = ~responses.constant
        per_time = np.bincount(np.arange(y.shape[1]) % n_times, alive, n_times)
        for block, of_r, of_r2 in scores.bootstrap(one.test, y, counts):
            draws[:, block] = of_r
            values = {"pearson": of_r, "r2": of_r2}
            if shares is not None:
                values["pearson_normalised"] = of_r / np.sqrt(shares[block])
                values["r2_normalised"] = of_r2 / shares[block]
            for (group, measure), total in means.items():
                member = in_group[group][block]
                if member.any():
                    total += values[measure][:, member].sum(1, dtype=np.float64)
            if n_times > 1:
                time = np.eye(n_times, dtype=np.float32)[
                    np.arange(block.start, block.stop) % n_times
                ]
                curve += (of_r * alive[block]) @ time
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        found = {"pearson": r, "r2": explained, "low": low, "high": high}
        if shares is not None:
            found["pearson_normalised"] = np.where(keep, r / np.sqrt(shares), 0)
            found["r2_normalised"] = np.where(keep, explained / shares, 0)
        if options.n_permutations:
            p, p_max = np.ones(len(r)), np.ones(len(r))
            p[alive], p_max[alive] = scores.permutation(
                one.test[:, alive], y[:, alive], options.n_permutations
            )
            fixed = np.ones(len(r))
            fixed[alive] = scores.corrected(p[alive], p_max[alive], options.correction)
            found |= {"p": p, "p_corrected": fixed}
        found |= one.per_target
        arrays |= {f"{place}/{k}": np.asarray(v) for k, v in found.items()}
        if n_times > 1:
            curve /= np.maximum(per_time, 1)
            value = np.bincount(np.arange(len(r)) % n_times, r * alive, n_times)
            value /= np.maximum(per_time, 1)
            low, high = np.quantile(curve, [0.025, 0.975], axis=0)
            limits = np.minimum(low, value), np.maximum(high, value)
            arrays[f"{place}/time"] = np.stack([value, *limits])
        for (group, measure), total in means.items():
            member = in_group[group]
            total /= member.sum()
            kept[system.name, group, measure] = total
            made.append(
                _score(system, group, measure, float(found[measure][member].mean()), total, responses,
                       tallies[group], options, protocol, found, member)
            )  # fmt: skip
        if len(system.families) == 1 and not system.shuffled:
            singles.setdefault(system.readout, []).append((system, r, draws))
    for readout, several in singles.items():
        if len(several) > 1:
            evidence = [said[s].per_target.get("log_evidence") for s, _, _ in several]
            if all(one is not None for one in evidence):
                winner, sure = likeliest(evidence)
            else:
                winner, sure = scores.best([r for _, r, _ in several], [d for _, _, d in several])
            arrays |= {f"best/{readout}/family": winner, f"best/{readout}/share": sure}
    arrays |= _parts(said, arrays)
    arrays["n_averaged"] = responses.repeats
    return Scored(arrays, made, kept, tallies)


def _parts(said: Mapping[System, Said], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Partition of variance of every readout that was fitted to enough combinations."""
    explained: dict[str, dict[tuple[str, ...], np.ndarray]] = {}
    for system in said:
        if not system.shuffled:
            found = arrays[f"systems/{system.name}/r2"]
            explained.setdefault(system.readout, {})[system.families] = found
    out = {}
    for readout, some in explained.items():
        whole = max(some, key=len)
        needed = scores.subsets(whole)
        if len(whole) > 1 and all(part in some for part in needed):
            for name, value in scores.partition(some, whole).items():
                out[f"partition/{readout}/{name}"] = value
    return out


def _score(
    system: System, group: str, measure: str, value: float, draws: np.ndarray, responses: Responses,
    tally: dict[str, int], options: Scoring, protocol: str, found: dict[str, Any], member: np.ndarray,
) -> Score:  # fmt: skip
    low, high = interval(draws)
    about: dict[str, Any] = {
        "system": system.name, "readout": system.readout, "families": list(system.families),
        "shuffled": system.shuffled, "subject": responses.subject, "group": group,
        "n_targets": tally["scored"], "left_out": {k: v for k, v in tally.items() if k not in ("scored", "all")},
        "resampled": "image",
    }  # fmt: skip
    if measure.endswith("normalised"):
        about["ceiling"] = options.ceiling
    if "p_corrected" in found:
        significant = found["p_corrected"][member] < options.alpha
        about["n_significant"] = int(significant.sum())
        about["correction"] = options.correction
    return Score(
        value=value,
        n=len(responses.test_image),
        chance=0.0,
        low=min(low, value),
        high=max(high, value),
        per_item=np.zeros(0),
        gallery=f"no gallery: responses to {len(responses.test_image)} test images, mean of "
        f"{_span(responses.repeats)} trials each",
        protocol=protocol,
        higher_is_better=True,
        name=measure,
        about=about,
    )


def _span(repeats: np.ndarray) -> str:
    low, high = int(repeats.min()), int(repeats.max())
    return str(low) if low == high else f"{low} to {high}"


def compare(
    scored: Scored, first: System, second: System, measure: str, responses: Responses, protocol: str
) -> list[Score]:
    """Paired differences between two systems in every group: first less second."""
    out = []
    values = {(s.about["system"], s.about["group"]): s for s in scored.scores if s.name == measure}
    for (name, group), one in values.items():
        other = values.get((second.name, group))
        if name != first.name or other is None:
            continue
        draws = scored.draws[name, group, measure] - scored.draws[second.name, group, measure]
        low, high = interval(draws)
        value = one.value - other.value
        about = {k: one.about[k] for k in ("subject", "group", "n_targets", "resampled")}
        about |= {"system": name, "comparison": f"{first.name} - {second.name}"}
        out.append(
            Score(value, one.n, 0.0, min(low, value), max(high, value), np.zeros(0), one.gallery,
                  protocol, True, measure, about)
        )  # fmt: skip
    return out


def pairs(systems: list[System]) -> list[tuple[System, System]]:
    """Systems to compare: readouts on the same families, and families under the same readout."""
    real = [s for s in systems if not s.shuffled]
    alone = [s for s in real if len(s.families) == 1]
    found = []
    for i, first in enumerate(real):
        for second in real[i + 1 :]:
            if first.families == second.families and first.readout != second.readout:
                found.append((second, first))
    for i, first in enumerate(alone):
        for second in alone[i + 1 :]:
            if first.readout == second.readout and first.families != second.families:
                found.append((first, second))
    return found
