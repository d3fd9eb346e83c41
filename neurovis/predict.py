"""From fitted models to the run's files: predictions for the same test rows by every system.

Comes in: a fitted tower, a closed-form baseline, the truth of a simulated set where there is one. Goes
out: ``systems/<system>/prediction.h5`` or ``similarity.h5``, and what evaluation and report need to
stand alone: gallery, pictures, evoked responses, stimuli.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from neurovis import galleries
from neurovis.batches import Item, Recordings, shuffled
from neurovis.brain.base import REGRESSION
from neurovis.confidence import calibrated
from neurovis.config import fingerprint
from neurovis.decoder import SPREAD
from neurovis.errors import NeurovisError
from neurovis.norms import Norms, write_norms
from neurovis.progress import progress, say
from neurovis.records import Embeddings, Prediction, Split
from neurovis.store import new_h5, save_tensors, write_h5, write_json

if TYPE_CHECKING:
    from neurovis.experiment import Predict
    from neurovis.train import Setup

PICTURE_SIZE = 160
TRAINING_PICTURES = 400


@dataclass
class Rows:
    """Test rows: single trials, and averages of repeats.

    Parameters
    ----------
    items : list of Item
    image, subject, recording : array of str (row,)
    """

    items: list[Item]
    image: np.ndarray
    subject: np.ndarray
    recording: np.ndarray

    @property
    def n_averaged(self) -> np.ndarray:
        """Number of trials of each row."""
        return np.array([len(rows) for _, rows in self.items])


def test_rows(recordings: Recordings, split: Split, options: Predict, seed: int) -> Rows:
    """Choose which test trials are averaged: the same rows for every system.

    All single trials; then, for each number of repeats k, `draws` random choices of k per image and
    subject, and one choice where k is the number that all images have.
    """
    items, images = recordings.items(split, "test", single=True)
    if not items:
        raise NeurovisError(
            f"split: no test trial is among {', '.join(recordings.subjects)}, expected some; "
            "check that the split's ids are those of trials.h5."
        )
    images = list(images)
    if split.unit == "image":
        grouped, names = recordings.items(split, "test")
        most = min(len(rows) for _, rows in grouped)
        powers = [2**i for i in range(1, 12) if 2**i < most]
        wanted = sorted(set(options.repeats or (*powers, most)) - {1})
        if wanted and wanted[-1] > most:
            raise NeurovisError(
                f"predict.repeats: expected at most {most} (the repeats that every test image has), "
                f"found {wanted[-1]}."
            )
        generator = np.random.default_rng([seed, 7])
        for k in wanted:
            for _ in range(1 if k == most else options.draws):
                for (subject, rows), image in zip(grouped, names):
                    chosen = np.sort(generator.choice(rows, k, replace=False))
                    items.append((subject, chosen))
                    images.append(str(image))
    subject = np.array([recordings.subjects[s] for s, _ in items], dtype=str)
    names = [trials.recording for trials in recordings.trials]
    found = [np.unique(names[s][rows]) for s, rows in items]
    recording = np.array([f[0] if len(f) == 1 else "" for f in found], dtype=str)
    return Rows(items, np.array(images), subject, recording)


test_rows.__test__ = False  # not a test, whatever pytest thinks of its name


def heads(setup: Setup, model: Any, items: list[Item], fold: Any = None) -> dict[str, Any]:
    """What every head of a tower says of items: tensors (item, dim) on the CPU.

    Several processes share the items, each is computed once, and all processes have all of them.
    `fold` says which part of the training data each item belongs to, for towers that are cross-fitted.
    """
    import torch

    world, parts = setup.world, {}
    mine = np.array_split(np.arange(len(items)), world.size)[world.rank]
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(mine), 256):
            rows = mine[start : start + 256]
            block = [items[i] for i in rows]
            subject = torch.tensor([s for s, _ in block])
            present = torch.from_numpy(setup.recordings.present)[subject]
            signal = torch.from_numpy(setup.recordings.averages(block))
            batch = [signal, subject, present]
            batch += [] if fold is None else [fold[rows]]
            said = model(*(t.to(setup.device) for t in batch))
            for name, value in said.items():
                parts.setdefault(name, []).append(value.float().cpu())
    said = {name: torch.cat(values) for name, values in parts.items()}
    return world.joined(said, mine, len(items))


def tower(setup: Setup, model: Any, rows: Rows, system: str = "tower") -> Prediction:
    """Prediction of a trained tower; its projected gallery is kept beside it.

    Several folds share one gallery, so there the projection moves to the brain's side.
    """
    said, sure = _say(setup, model, rows)
    vector, spread = {k: said[k] for k in setup.vectors}, None
    # written by the first process, and read by it
    if setup.world.first and _held_path(setup, system).is_file():
        held = Prediction.read(_held_path(setup, system))
        gallery = partial(_gallery, setup, model)
        spread = calibrated(held, gallery, sure, rows.n_averaged)
    model.to("cpu")
    shown = np.unique(rows.image)
    if not setup.fold and setup.experiment.projection != "none" and setup.world.first:
        for name, found in setup.vectors.items():
            place = setup.folder / "systems" / system / (setup.gallery or "gallery")
            path = place / f"{name}.h5"
            Embeddings(_gallery(setup, model, name, shown), shown, found.encoder).write(path)
    return _prediction(setup, vector, rows, spread)


def _say(setup: Setup, model: Any, rows: Rows, fold: Any = None) -> tuple[dict, dict]:
    """Vectors (row, dim) of rows per target and regression head, and spreads (row,) per target."""
    import torch

    average, items = setup.experiment.predict.average, rows.items
    if average == "prediction":
        single = np.flatnonzero(rows.n_averaged == 1)
        items, fold = _singles(rows), None if fold is None else fold[single]
    said = heads(setup, model, items, fold)
    vector, spread = {}, {}
    with torch.inference_mode():
        for name in setup.vectors:
            own = model.back(name, said[name].to(setup.device)) if setup.fold else said[name]
            vector[name] = own.cpu().numpy()
            width = said.get(name + SPREAD, torch.zeros(len(own), 1))
            spread[name] = np.exp(width[:, 0].numpy().astype(np.float64))
            if name + REGRESSION in said:
                vector[name + REGRESSION] = said[name + REGRESSION].numpy()
    if average == "prediction":
        vector = {k: _averaged(v, rows) for k, v in vector.items()}
        # independent trials: how sure one is of each adds up
        sure = {k: _averaged(1 / v, rows) * rows.n_averaged for k, v in spread.items()}
        spread = {k: 1 / v for k, v in sure.items()}
    return vector, spread


def _gallery(setup: Setup, model: Any, name: str, images: np.ndarray) -> np.ndarray:
    """Vectors (image, dim) as they are compared with predictions."""
    import torch

    vector = setup.vectors[name].at(images)
    if setup.fold:
        return vector
    with torch.inference_mode():
        place = next(model.parameters()).device
        return model.project(name, torch.from_numpy(vector).to(place)).cpu().numpy()


def hold(setup: Setup, model: Any, system: str, items: list[Item], fold: Any = None) -> None:
    """Keep what a tower says of validation rows, single trials and means: ``validation.h5``.

    It is kept when the tower was fitted, because only then a cross-fitted tower can judge each
    validation image through filters that were learned without it. Norms come from the same rows.
    """
    if setup.split.unit != "image":
        return
    several = [i for i, (_, rows) in enumerate(items) if len(rows) > 1]
    whole = [
        (i, (s, rows[k : k + 1])) for i, (s, rows) in enumerate(items) for k in range(len(rows))
    ]
    whole += [(i, items[i]) for i in several]
    place, chosen = [i for i, _ in whole], [item for _, item in whole]
    recordings = setup.recordings
    image = np.array([recordings.trials[s].image[rows[0]] for s, rows in chosen])
    subject = np.array([recordings.subjects[s] for s, _ in chosen])
    rows = Rows(chosen, image, subject, np.zeros(len(chosen), str))
    said, spread = _say(setup, model, rows, None if fold is None else fold[place])
    if not setup.world.first:
        return
    vector = {k: said[k] for k in setup.vectors}
    _prediction(setup, vector, rows, spread).write(_held_path(setup, system))
    train = setup.truth(np.array(setup.split.train))
    use = rows.n_averaged > 1 if several else rows.n_averaged == 1
    if min(use.sum(), len(setup.split.train)) > 1:
        norms = {k: Norms.of(train[k.partition("@")[0]], v[use]) for k, v in said.items()}
        write_norms(
            setup.folder / "systems" / system / f"norms{setup.fold}{setup.part}.safetensors", norms
        )


def _held_path(setup: Setup, system: str) -> Any:
    return setup.folder / "systems" / system / f"validation{setup.fold}{setup.part}.h5"


def _singles(rows: Rows) -> list[Item]:
    return [item for item in rows.items if len(item[1]) == 1]


def _averaged(single: np.ndarray, rows: Rows) -> np.ndarray:
    """Mean of single trials' vectors for every row."""
    place = {(s, r[0]): i for i, (s, r) in enumerate(_singles(rows))}
    return np.stack([single[[place[s, r] for r in group]].mean(0) for s, group in rows.items])


def _prediction(
    setup: Setup, vector: dict[str, np.ndarray], rows: Rows, spread: dict | None = None
) -> Prediction:
    # a prediction that was selected on test says so wherever it goes
    model = "; ".join(
        filter(None, [fingerprint(setup.experiment), setup.experiment.protocol.about])
    )
    return Prediction(
        vector, rows.image, rows.subject, rows.n_averaged, rows.recording, model, spread
    )


def closed_form(
    setup: Setup, brain: Any, system: str, rows: Rows, shuffle: bool = False
) -> Prediction:
    """Fit a closed-form model per subject on training and validation images; predict the rows.

    It needs no early stopping, so the validation images train it too: the baseline sees all that
    the tower sees.
    """
    recordings = setup.recordings
    widths = {k: v.vector.shape[1] for k, v in setup.vectors.items()}
    items, truth = examples_of(setup, shuffle)
    out = np.empty((len(rows.items), truth.shape[1]), np.float32)
    weights = {}
    subjects = range(len(recordings.subjects))
    for number in progress(subjects, f"fitting {system}{setup.fold}", quiet=setup.quiet):
        mine = [i for i, (subject, _) in enumerate(items) if subject == number]
        asked = [i for i, (subject, _) in enumerate(rows.items) if subject == number]
        if not asked:
            continue
        if not mine:
            raise NeurovisError(
                f"sub-{recordings.subjects[number]}/trials.h5: expected training trials for {system}, "
                "found none; leave the subject out of data.subjects."
            )
        keep = recordings.present[number]
        signal = recordings.averages([items[i] for i in mine])[:, keep]
        model = brain.build(recordings.shape_of(number, widths)).fit(signal, truth[mine])
        for start in range(0, len(asked), 512):
            block = asked[start : start + 512]
            signal = recordings.averages([rows.items[i] for i in block])[:, keep]
            out[block] = model.predict(signal)
        tensors = model.tensors().items()
        weights |= {f"{recordings.subjects[number]}/{k}": v for k, v in tensors}
    return closed(setup, brain, system, weights, out, rows)


def examples_of(setup: Setup, shuffle: bool) -> tuple[list[Item], np.ndarray]:
    """Items of training and validation images, and targets side by side: (item, dim)."""
    recordings, split = setup.recordings, setup.split
    items, images = recordings.items(split, "train")
    more, more_images = recordings.items(split, "validation")
    items, images = items + more, np.concatenate([images, more_images])
    if shuffle:
        images = shuffled(images, items, recordings, split, setup.experiment.seed)
    return items, np.concatenate(list(setup.truth(images).values()), axis=1)


def closed(
    setup: Setup, brain: Any, system: str, weights: dict, out: np.ndarray, rows: Rows
) -> Prediction:
    """Keep a closed form's weights; its prediction, cut into targets."""
    name = f"model{setup.fold}{setup.part}.safetensors"
    save_tensors(setup.folder / "systems" / system / name, weights, brain=brain.component)
    widths = {k: v.vector.shape[1] for k, v in setup.vectors.items()}
    parts = np.split(out, np.cumsum(list(widths.values()))[:-1], axis=1)
    return _prediction(setup, dict(zip(widths, parts)), rows)


def limits(setup: Setup, rows: Rows) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Similarities of the two ideal observers, where the prepared folder holds the truth."""
    recordings, split = setup.recordings, setup.split
    truths = [recordings.folder / f"sub-{s}" / "truth.h5" for s in recordings.subjects]
    if split.unit != "image" or not all(path.is_file() for path in truths):
        return
    first = recordings.trials[0]
    value = first.provenance.get("steps", {}).get("value")
    if first.modality == "fmri" and (first.signal.shape[2] != 1 or value == "t"):
        say("no limits: they are known for betas in percent or raw alone", setup.quiet)
        return
    from neurovis.world.observers import observe

    gallery = np.unique(rows.image)
    similarity: dict[str, np.ndarray] = {}
    for number, path in enumerate(truths):
        say(f"observers of sub-{recordings.subjects[number]}", setup.quiet)
        trials = recordings.trials[number]
        seen = [recordings.rows(split, side, number) for side in ("train", "validation")]
        mine = [i for i, (subject, _) in enumerate(rows.items) if subject == number]
        asked = [rows.items[i][1] for i in mine]
        for name, block in observe(trials, path, np.concatenate(seen), asked, gallery).items():
            full = similarity.setdefault(
                name, np.zeros((len(rows.items), len(gallery)), np.float32)
            )
            full[mine] = block
    about = {
        "image": rows.image,
        "subject": rows.subject,
        "n_averaged": rows.n_averaged,
        "recording": rows.recording,
        "gallery": gallery,
    }
    for name, block in similarity.items():
        yield name, {"similarity": block, **about}


def save_shape(setup: Setup, shape: Any) -> None:
    """Keep what the tower was built from beside its weights."""
    write_json(setup.folder / f"shape{setup.part}.json", shape.to_dict())


def finish(setup: Setup, parts: dict[str, list]) -> None:
    """Write predictions of all folds, gallery, pictures, evoked responses and stimuli."""
    folder, recordings = setup.folder, setup.recordings
    for system, blocks in parts.items():
        place = folder / "systems" / system
        if isinstance(blocks[0], Prediction):
            prediction = _joined(blocks)
            prediction.write(place / "prediction.h5")
            if (place / "galleries").is_dir():
                galleries.write(place, [len(block) for block in blocks])
            _reconstructions(setup, system, prediction)
        else:
            write_h5(place / "similarity.h5", "neurovis-similarity", blocks[0])
    tower_weights = sorted((folder / "systems" / "tower").glob("model*.safetensors"))
    for path in tower_weights:
        shutil.copyfile(path, folder / path.name)
        path.unlink()
    shown = np.unique(np.concatenate([p.image for p in parts["tower"]]))
    for name, found in setup.vectors.items():
        Embeddings(found.at(shown), shown, found.encoder).write(folder / "gallery" / f"{name}.h5")
    recordings.stimuli.write(folder / "stimuli.csv")
    hierarchy = recordings.folder / "hierarchy.json"
    if hierarchy.is_file():
        write_json(folder / "hierarchy.json", json.loads(hierarchy.read_text(encoding="utf-8")))
    _pictures(setup, shown)
    _evoked(setup)


def _joined(blocks: list[Prediction]) -> Prediction:
    first = blocks[0]
    vector = {k: np.concatenate([b.vector[k] for b in blocks]) for k in first.vector}
    names = ("image", "subject", "n_averaged", "recording")
    columns = {k: np.concatenate([getattr(b, k) for b in blocks]) for k in names}
    spread = None
    if all(b.spread for b in blocks):
        spread = {k: np.concatenate([b.spread[k] for b in blocks]) for k in first.spread}
    return Prediction(vector, **columns, model=first.model, spread=spread)


def _reconstructions(setup: Setup, system: str, prediction: Prediction) -> None:
    """Pictures that predictions stand for, where the target's vectors are pictures."""
    experiment = setup.experiment
    closed = experiment.brain.closed_form or system == "ridge"
    closed |= system == "shuffled" and experiment.control != "tower"
    told = experiment.loss.component == "mse" and (setup.fold or experiment.projection == "none")
    if not (closed or told):
        return  # similarities alone were learned: lengths and directions mean nothing
    pictures = {
        f"picture/{name}": made
        for name, target in experiment.targets.items()
        if (made := target.pictures(prediction.vector[name])) is not None
    }
    if pictures:
        rows = {n: getattr(prediction, n) for n in ("image", "subject", "n_averaged", "recording")}
        path = setup.folder / "systems" / system / "reconstruction.h5"
        write_h5(path, "neurovis-reconstruction", {**rows, **pictures})


def _pictures(setup: Setup, shown: np.ndarray) -> None:
    """Small JPEGs of the test images and of some training images, for the report."""
    import h5py
    from PIL import Image

    stimuli = setup.recordings.stimuli
    others = stimuli.image[~np.isin(stimuli.image, shown)][:TRAINING_PICTURES]
    images, pictures = [], []
    for image in [*shown, *others]:
        files = stimuli.files(int(stimuli.index(image)[0]))
        if not files or not all(path.is_file() for path in files[:4]):
            continue
        tiles = [Image.open(path).convert("RGB") for path in files[:4]]
        picture = tiles[0] if len(tiles) == 1 else _sheet(tiles)
        picture.thumbnail((PICTURE_SIZE, PICTURE_SIZE))
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=85)
        images.append(str(image))
        pictures.append(np.frombuffer(data.getvalue(), np.uint8))
    if not images:
        say(
            "no picture files found beside stimuli.csv: the report will show ids alone", setup.quiet
        )
        return
    path = setup.folder / "pictures.h5"
    with new_h5(path, "neurovis-pictures") as file:
        file.create_dataset("image", data=images, dtype=h5py.string_dtype())
        jpeg = file.create_dataset("jpeg", len(images), dtype=h5py.vlen_dtype(np.uint8))
        for i, data in enumerate(pictures):
            jpeg[i] = data


def _sheet(tiles: list) -> Any:
    """Four pictures of a category in one."""
    from PIL import Image, ImageOps

    half = PICTURE_SIZE // 2
    sheet = Image.new("RGB", (2 * half, 2 * half), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(ImageOps.fit(tile, (half, half)), ((i % 2) * half, (i // 2) * half))
    return sheet


def _evoked(setup: Setup) -> None:
    """Mean response to the test images, per subject."""
    import h5py

    recordings = setup.recordings
    path = setup.folder / "evoked.h5"
    with new_h5(path, "neurovis-evoked") as file:
        for number, subject in enumerate(recordings.subjects):
            trials = recordings.trials[number]
            rows = np.unique(np.concatenate([s.rows("test", trials) for s in recordings.folds]))
            if not len(rows):
                continue
            keep = recordings.present[number]
            total = np.zeros((int(keep.sum()), recordings.n_times))
            square = np.zeros_like(total)
            for start in range(0, len(rows), 256):
                block = recordings.read(number, rows[start : start + 256])[:, keep]
                total += block.sum(0, dtype=np.float64)
                square += (block.astype(np.float64) ** 2).sum(0)
            mean = total / len(rows)
            variance = np.maximum(square / len(rows) - mean**2, 0)
            group = file.create_group(subject)
            group["evoked"] = mean.astype(np.float32)
            group["sem"] = np.sqrt(variance / len(rows)).astype(np.float32)
            names = np.array(recordings.channel_name)[keep].tolist()
            kinds = np.array(recordings.channel_type)[keep].tolist()
            group.create_dataset("channel_name", data=names, dtype=h5py.string_dtype())
            group.create_dataset("channel_type", data=kinds, dtype=h5py.string_dtype())
            group["channel_position"] = recordings.channel_position[keep]
            _voxels(trials, group)
            group.attrs.update(
                {
                    "sfreq": trials.sfreq,
                    "tmin": float(recordings.times[0]),
                    "unit": trials.unit,
                    "n": len(rows),
                    "modality": trials.modality,
                }
            )


def _voxels(trials: Any, group: Any) -> None:
    """What preprocessing stated of the voxels of fMRI, beside their responses."""
    file = getattr(trials.signal, "file", None)
    if file is not None and "voxels" in file:
        file.copy("voxels", group)
