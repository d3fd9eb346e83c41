"""What a run keeps beside its weights, so that evaluation and report need nothing else.

Comes in: predictions of every system, and the setup they were made from. Goes out: the run's files:
``systems/<system>/``, galleries, spaces, scales, small pictures, evoked responses, stimuli.
"""

from __future__ import annotations

import io
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from neurovis import galleries
from neurovis.config import fingerprint
from neurovis.progress import say
from neurovis.records import Embeddings, Prediction
from neurovis.signals.standardise import keep_scaling
from neurovis.store import new_h5, write_h5, write_json

if TYPE_CHECKING:
    from neurovis.train import Setup

PICTURE_SIZE = 160
TRAINING_PICTURES = 400


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
        found.space.write(folder / "spaces" / f"{name}.safetensors")
    _signals(setup)
    recordings.stimuli.write(folder / "stimuli.csv")
    hierarchy = recordings.folder / "hierarchy.json"
    if hierarchy.is_file():
        write_json(folder / "hierarchy.json", json.loads(hierarchy.read_text(encoding="utf-8")))
    _pictures(setup, shown)
    _evoked(setup)


def _signals(setup: Setup) -> None:
    """Keep what signals must be like for the model: rate, window, channels, preprocessing."""
    import yaml

    recordings, first = setup.recordings, setup.recordings.trials[0]
    shape = recordings.shape({k: v.vector.shape[1] for k, v in setup.vectors.items()})
    if not (setup.folder / "shape.json").is_file():
        save_shape(setup, shape)
    made = yaml.safe_load((recordings.folder / "config.yaml").read_text(encoding="utf-8"))
    for who, trials in zip(recordings.subjects, recordings.trials):
        keep_scaling(trials, setup.folder / "scaling" / f"{who}.h5")
    names, has = np.array(recordings.channel_name), recordings.present
    data = {
        "dataset": str(made.get("name", "")),
        "preprocessing": made,
        "modality": first.modality,
        "unit": first.unit,
        "channels": {who: names[row].tolist() for who, row in zip(recordings.subjects, has)},
    }
    write_json(
        setup.folder / "signals.json", {"format": "neurovis-signals", "format_version": 1, **data}
    )


def _joined(blocks: list[Prediction]) -> Prediction:
    first = blocks[0]
    vector = {k: np.concatenate([b.vector[k] for b in blocks]) for k in first.vector}
    names = ("image", "subject", "n_averaged", "recording")
    columns = {k: np.concatenate([getattr(b, k) for b in blocks]) for k in names}
    spread = None
    if all(b.spread for b in blocks):
        spread = {k: np.concatenate([b.spread[k] for b in blocks]) for k in first.spread}
    rows = first.rows if len(blocks) == 1 else fingerprint([b.rows for b in blocks])
    return Prediction(vector, **columns, model=first.model, spread=spread, rows=rows)


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
