"""Encoding models against what was planted in simulated brains, at their default signal-to-noise ratio.

    python -m experiments.benchmarks.encoding_truth --folder DIR
    python -m experiments.benchmarks.encoding_truth --folder DIR --modality meg

Simulates and preprocesses one person, fits encoding models and prints one table. fMRI (4,000 training pictures
shown twice, 200 test pictures shown twelve times; in V2, what is shown changes how voxels answer to looks): the
family of features that drives each region, the places that voxels look at, and what the semantic readout gains
over the factorised one. MEG: the family that drives each sensor at each time. Families are the features that
drive the simulation, by stage, so that they can say what was planted; readouts of maps see pictures alone.

Targets count where the true ceiling of mean test responses is above 0.1: the correlation with the noiseless
response, which the simulation knows; of the ceilings that repeats tell it is told how far they are from it.
The family of a target is that under which training responses are likeliest. Beside it: how often the planted one
predicts test responses best, and how often it would ("limit") if each family's predictions were the best that
noiseless training responses could teach. What is complete in the folder is not done again.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from neurovis.config import build, resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.encode.ceilings import correlate_columns
from neurovis.encode.experiment import Encode
from neurovis.encode.run import encode
from neurovis.prepare import prepare
from neurovis.records import Embeddings, Split, opened
from neurovis.store import dataset, open_h5, read_h5, read_json
from neurovis.world.betas import voxel_model
from neurovis.world.cortex import MAPS, RESPONSES
from neurovis.world.features import STAGES
from neurovis.world.observers import linear_response, rows_of, sensor_model
from neurovis.world.simulate import simulate

MODULATED = "V2"
CEILING = 0.1
DESIGNS: dict[str, dict[str, Any]] = {
    "fmri": {"n_exemplars": 20, "n_test": 200, "test_repeats": 12, "n_runs": 52},
    "meg": {},
}
SMALL = {"n_train_concepts": 12, "n_exemplars": 4, "n_test": 12, "test_repeats": 4, "n_runs": 2, "n_sessions": 1}  # fmt: skip
"""A miniature, to see that all runs."""
FAST = {"n_bootstrap": 200, "n_permutations": 0}


def simulated(folder: Path, modality: str, small: bool) -> Path:
    """The raw recordings."""
    device: dict[str, Any] = {"name": modality}
    if modality == "fmri":
        device["modulated"] = [MODULATED]
        device |= {"voxel_size": 9.0} if small else {}
    elif small:
        device["n_chans"] = 30
    design = {**DESIGNS[modality], **(SMALL if small else {})}
    return simulate(folder / f"{modality}-raw", device, n_subjects=1, quiet=True, **design)


def families(prepared: Path, folder: Path) -> dict[str, dict[str, str]]:
    """The features that drive the simulation as embeddings, one file per stage."""
    known = read_h5(prepared / "sub-01" / "truth.h5", "neurovis-truth", ("z", "image", "feature_stage"))  # fmt: skip
    found = {}
    for stage in STAGES:
        path = folder / f"{prepared.name}-{stage}.h5"
        if not path.is_file():
            vector = known["z"][:, known["feature_stage"] == stage]
            Embeddings(vector, known["image"], {"name": "truth", "stage": stage}).write(path)
        found[stage] = {"embeddings": str(path)}
    return found


def fitted(name: str, prepared: Path, folder: Path, **options: Any) -> Path:
    """The folder of an encoding experiment."""
    plain = {"partition": False, "control": False, "identify": None, "scoring": FAST}
    about = {"name": name, "data": {"path": str(prepared)}, "picture_width": 8, **plain, **options}
    return encode(build(Encode, about), folder, quiet=True)


def arrays(made: Path, names: list[str]) -> list[np.ndarray]:
    """Arrays of the one subject."""
    path = made / "sub-01" / "encoding.h5"
    with open_h5(path, "neurovis-encoding") as file:
        return [dataset(path, file, name)[()] for name in names]


def truth(prepared: Path) -> dict[str, np.ndarray]:
    """What is known of every target: its true ceiling, and what each family could say of it at best.

    Returns
    -------
    dict of array
        ``ceiling`` (target,); ``strength`` (family, target), what noiseless responses depend on;
        ``limit`` (family, target), correlation of the best predictions with mean test responses.
    """
    path = prepared / "sub-01" / "truth.h5"
    split = Split.read(prepared / "split.json")
    known = read_h5(path, "neurovis-truth", ("feature_stage", "bad"))
    with opened(prepared / "sub-01" / "trials.h5") as trials:
        n_targets = int(np.prod(trials.signal.shape[1:]))
        member = np.isin(trials.image, np.array(split.train))
        made = voxel_model(trials, path, np.flatnonzero(member)) if trials.modality == "fmri" else sensor_model(trials, path)  # fmt: skip
        shown = rows_of(made.image, trials.image)
        test = np.unique(trials.image[np.isin(trials.image, np.array(split.test))])
        levels = [made.z[:, known["feature_stage"] == stage] for stage in STAGES]
        strength = linear_response(trials, path, made.image, levels)
        # one pass over trials: sums of signals, and of their products with noiseless responses
        total: dict[str, Any] = dict.fromkeys(("x", "y", "xx", "yy", "xy"), 0.0)
        mean = np.zeros((len(test), n_targets))
        for start in range(0, len(trials), 512):
            rows = np.arange(start, min(start + 512, len(trials)))
            y = _spread(made.signals(rows), trials, known["bad"])
            x = _spread(made.response(shown[rows]), trials, known["bad"])
            for name, one in (("x", x), ("y", y), ("xx", x * x), ("yy", y * y), ("xy", x * y)):
                total[name] = total[name] + one.sum(0, dtype=np.float64)
            use = np.isin(trials.image[rows], test)
            np.add.at(mean, np.searchsorted(test, trials.image[rows][use]), y[use])
        n, n_repeats = len(trials), np.bincount(np.searchsorted(test, trials.image[np.isin(trials.image, test)]))  # fmt: skip
        learn = rows_of(made.image, np.array(split.train))
        judge = rows_of(made.image, test)
        noiseless = _spread(made.response(learn), trials, known["bad"])
    size = (total["xx"] - total["x"] ** 2 / n) * (total["yy"] - total["y"] ** 2 / n)
    r = (total["xy"] - total["x"] * total["y"] / n) / np.sqrt(np.maximum(size, 1e-300))
    single = np.clip(r, 0, 0.999) ** 2
    ratio = single / (1 - single)
    mean /= n_repeats[:, None]
    limit = []
    for level in levels:
        basis, offset = level[learn], level[learn].mean(0)
        weight = np.linalg.lstsq(basis - offset, noiseless - noiseless.mean(0), rcond=None)[0]
        limit.append(correlate_columns((level[judge] - offset) @ weight, mean))
    return {
        "ceiling": ratio / (ratio + np.mean(1 / n_repeats)),
        "strength": np.stack([one.reshape(-1) for one in strength]),
        "limit": np.stack(limit),
    }


def _spread(found: np.ndarray, trials: Any, bad: np.ndarray) -> np.ndarray:
    """Signals (row, target), 0 in bad channels: these hold nothing of their own."""
    n_channels, n_times = trials.signal.shape[1:]
    if found.shape[1] < n_channels:
        whole = np.zeros((len(found), n_channels, n_times), found.dtype)
        whole[:, ~np.isin(trials.channel_name, bad)] = found
        found = whole
    return found.reshape(len(found), -1)


def winners(made: Path, known: dict[str, np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Which family wins each target: by evidence, by test responses, and by these at best; and ceilings."""
    names = [f"systems/ridge@{stage}/pearson" for stage in STAGES]
    *r, family, ceiling = arrays(made, [*names, "best/ridge/family", "ceiling/ncsnr"])
    return [family, np.argmax(r, 0), known["limit"].argmax(0)], ceiling


def share(found: np.ndarray) -> str:
    """A share in percent; a dash of none."""
    return f"{100 * found.mean():.0f} %" if len(found) else "–"


def by_family(raw: Path, folder: Path) -> tuple[Path, dict[str, Any], Path]:
    """Prepared trials, what was planted in them, and banded ridge on all families."""
    whole = prepare(resolve(Dataset, "synthetic"), raw, folder, quiet=True)
    made = fitted(
        "families", whole, folder, features=families(whole, folder),
        readouts={"ridge": {"name": "banded_ridge"}},
    )  # fmt: skip
    return whole, truth(whole), made


def fmri(folder: Path, small: bool) -> None:
    """Families, fields and what content changes."""
    raw = simulated(folder, "fmri", small)
    whole, known, made = by_family(raw, folder)
    won, told = winners(made, known)
    use = known["ceiling"] > CEILING
    apart = np.median(np.abs(told - known["ceiling"]))
    print(f"voxels above a true ceiling of {CEILING}: {use.sum()} of {len(use)}; ceilings that repeats tell are "
          f"off by {apart:.3f} (median)")  # fmt: skip
    maps = {"encoder": {"name": "maps"}}
    quick = {"n_centres": 5} if small else {}
    looks = fitted(
        "fields", whole, folder, features={"maps": maps},
        readouts={"gaussian": {"name": "gaussian", **quick}},
    )  # fmt: skip
    centre, spread, names = arrays(looks, [f"systems/gaussian@maps/{k}" for k in ("field_centre", "field_spread")] + ["channel_name"])  # fmt: skip
    true = _centres(whole, names)
    away, middle = np.linalg.norm(4 * centre - true, axis=1), np.linalg.norm(true, axis=1)
    rows = [
        (
            "region",
            "planted",
            "voxels",
            "family right",
            "by test",
            "limit",
            "field off by",
            "middle off by",
        )
    ]
    right = np.zeros((len(won), 0), bool)
    for region, (shares, _) in RESPONSES.items():
        (member,) = arrays(made, [f"region/{region}"])
        mine, planted = use & member.astype(bool), int(np.argmax(shares))
        here = np.stack([one[mine] == planted for one in won])
        right = np.concatenate([right, here], 1)
        off = [f"{np.median(x[mine]):.2f}°" if region in MAPS and mine.any() else "–" for x in (away, middle)]  # fmt: skip
        rows.append((region, STAGES[planted], str(mine.sum()), *map(share, here), *off))  # fmt: skip
    mine = use & np.isfinite(middle)
    off = [f"{np.median(x[mine]):.2f}°" if mine.any() else "–" for x in (away, middle)]
    rows.append(("all", "", str(use.sum()), *map(share, right), *off))
    table(rows)
    if mine.any():
        sure = mine & (spread <= np.median(spread[mine]))
        print(f"fields of the half that is surest of its own: off by {np.median(away[sure]):.2f}°")
    _content(raw, folder, small)


def _centres(prepared: Path, names: np.ndarray) -> np.ndarray:
    """Planted centres (voxel, xy), degrees; NaN outside the maps."""
    found = read_h5(prepared / "sub-01" / "truth.h5", "neurovis-truth", ("channel_name", "responds", "field_centre"))  # fmt: skip
    place = {n: i for i, n in enumerate(found["channel_name"][found["responds"]].tolist())}
    return found["field_centre"][[place[str(n).rsplit("/", 1)[-1]] for n in names.tolist()]]


def _content(raw: Path, folder: Path, small: bool) -> None:
    """The semantic readout against the factorised one, where content was planted and where not."""
    plain = resolve(Dataset, "synthetic")
    steps = plain.fmri.model_copy(update={"roi": ("V1", MODULATED)})
    part = plain.model_copy(update={"fmri": steps})
    prepared = prepare(part, raw, folder, quiet=True)
    quick = {"n_centres": 5, "train": {"epochs": 1}} if small else {}
    made = fitted(
        "content", prepared, folder,
        features={"maps": {"encoder": {"name": "maps"}}, "kinds": "world:clip_kinds"},
        readouts={
            "factorised": {"name": "factorised", "families": ["maps"], **quick},
            "semantic": {"name": "semantic", "families": ["maps"], "content": "kinds", **quick},
        },
    )  # fmt: skip
    rows = [
        ("region", "content planted", "factorised", "semantic less factorised", "95 % interval")
    ]
    data = read_json(made / "encoding.json")
    plainly = {s["about"]["group"]: s["value"] for s in data["scores"]
               if s["name"] == data["comparisons"][0]["name"] and s["about"]["system"] == "factorised@maps"}  # fmt: skip
    for one in data["comparisons"]:
        group = one["about"]["group"]
        if group != "all":
            rows.append((group, "yes" if group == MODULATED else "no", f"{plainly[group]:.3f}", f"{one['value']:+.3f}",
                         f"{one['low']:+.3f} to {one['high']:+.3f}"))  # fmt: skip
    table(rows)


def meg(folder: Path, small: bool) -> None:
    """The family that drives each sensor at each time."""
    _, known, made = by_family(simulated(folder, "meg", small), folder)
    won, told = winners(made, known)
    (times,) = arrays(made, ["times"])
    use, planted = known["ceiling"] > CEILING, known["strength"].argmax(0)
    apart = np.median(np.abs(told - known["ceiling"]))
    print(f"sensors at times above a true ceiling of {CEILING}: {use.sum()} of {len(use)}; ceilings that repeats "
          f"tell are off by {apart:.3f} (median)")  # fmt: skip
    when = np.arange(len(use)) % len(times)
    rows = [
        ("ms", "sensors", *(f"{s} planted" for s in STAGES), "family right", "by test", "limit")
    ]
    for low in range(0, 600, 100):
        mine = use & (times[when] >= low / 1000) & (times[when] < (low + 100) / 1000)
        shares = [share(planted[mine] == k) for k in range(len(STAGES))]
        right = [share((one == planted)[mine]) for one in won]
        rows.append((f"{low} to {low + 100}", str(mine.sum()), *shares, *right))
    shares = [share(planted[use] == k) for k in range(len(STAGES))]
    rows.append(("all", str(use.sum()), *shares, *(share((one == planted)[use]) for one in won)))
    table(rows)


def table(rows: list[tuple[str, ...]]) -> None:
    """Print rows in columns."""
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, wide)).rstrip())


def main() -> None:
    """Print one table per modality."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, help="where everything goes; a temporary one if absent"
    )
    parser.add_argument("--modality", choices=tuple(DESIGNS), nargs="*", default=list(DESIGNS))
    parser.add_argument("--small", action="store_true", help="a miniature, to see that all runs")
    options = parser.parse_args()
    load_datasets()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in options.modality:
            {"fmri": fmri, "meg": meg}[name](folder, options.small)


if __name__ == "__main__":
    main()
