"""Every model of braindecode as a tower, and weights of its foundation models from local files."""

from __future__ import annotations

import socket
from dataclasses import replace

import numpy as np
import pytest
import torch

from neurovis.brain.base import BrainEncoder, Shape
from neurovis.brain.braindecode import _alone
from neurovis.config import fingerprint, resolve, to_dict
from neurovis.errors import NeurovisError
from neurovis.store import save_tensors

# models warn of channels that they were not pretrained on
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TEN_TWENTY = ("Fp1", "Fp2", "C3", "C4", "P3", "P4", "O1", "O2")
BENDR = ("FP1", "FP2", "F7", "F3", "FZ", "F4", "F8", "T7", "C3", "CZ", "C4", "T8", "T5", "P3", "PZ")
BENDR += ("P4", "T6", "O1", "O2", "SCALE")
NOT = {
    "EEGModuleMixin": "what models inherit from, no model",
    "TCN": "a block of other models, without a number of samples",
    "REVE": "needs a file of positions, which it looks for in the network",
}
# n_chans, n_times, sfreq and options of the models that do not take any
FITS: dict[str, dict] = {
    "AttnSleep": {"n_chans": 1, "options": {"d_model": 16, "n_attn_heads": 4}},
    "BENDR": {"names": BENDR},
    "CBraMod": {"n_times": 400, "sfreq": 200.0},
    "EMG2QwertyNet": {"n_chans": 32, "n_times": 2100, "sfreq": 2000.0},
    "HybridNet": {"n_times": 1000},
    "InterpolatedLaBraM": {"n_times": 400, "sfreq": 200.0},
    "LUNA": {"n_times": 480},
    "Labram": {"n_times": 400, "sfreq": 200.0},
    "MetaNeuromotorHand": {"n_chans": 16, "n_times": 24000, "sfreq": 2000.0},
    "NeuroPose": {"n_chans": 16},
    "SensingDynamics": {"n_chans": 16, "n_times": 2000, "sfreq": 2000.0},
    "VEMG2Pose": {"n_chans": 16, "n_times": 2000, "sfreq": 2000.0},
}
HUGE = {
    "ZUNA",
    "InterpolatedBENDR",
    "BENDR",
    "DANCE",
    "EEGPT",
    "InterpolatedEEGPT",
    "MetaNeuromotorHand",
}


def models() -> list:
    import braindecode.models

    found = vars(braindecode.models).items()
    names = sorted(name for name, value in found if isinstance(value, type))
    assert set(NOT) | set(FITS) | HUGE <= set(names)
    marks = {name: [pytest.mark.slow] for name in HUGE}
    marks |= {name: [pytest.mark.skip(reason=why)] for name, why in NOT.items()}
    return [pytest.param(name, marks=marks.get(name, [])) for name in names]


def make_shape(n_chans=8, n_times=512, sfreq=128.0, names=(), **outputs):
    names = tuple(names) or (TEN_TWENTY if n_chans == 8 else tuple(f"C{i}" for i in range(n_chans)))
    rng = np.random.default_rng(0)
    position = rng.standard_normal((len(names), 3))
    position *= 0.09 / np.linalg.norm(position, axis=1, keepdims=True)
    return Shape(
        n_times, sfreq, names, ("eeg",) * len(names), position.astype(np.float32), ("01",),
        outputs or {"image": 3, "text": 2},
    )  # fmt: skip


def tower_of(model, shape, **more):
    torch.manual_seed(0)
    config = {"name": "braindecode", "model": model, "accept_noncommercial": True, **more}
    return resolve(BrainEncoder, config).build(shape)


@pytest.mark.parametrize("model", models())
def test_every_model_is_a_tower(model):
    fits = dict(FITS.get(model, {}))
    options = fits.pop("options", {})
    shape = make_shape(**fits)
    tower = tower_of(model, shape, options=options)
    assert tower.training
    signal = torch.randn(2, shape.n_chans, shape.n_times, generator=torch.manual_seed(1))
    batch = (
        signal,
        torch.zeros(2, dtype=torch.int64),
        torch.ones(2, shape.n_chans, dtype=torch.bool),
    )
    said = tower(*batch)
    assert {name: tuple(v.shape) for name, v in said.items()} == {"image": (2, 3), "text": (2, 2)}
    sum((v**2).sum() for v in said.values()).backward()
    slopes = [p.grad for p in tower.parameters() if p.grad is not None]
    assert slopes
    assert all(bool(torch.isfinite(slope).all()) for slope in slopes)


# ---- weights from files


OPTIONS = {"n_times": 400, "sfreq": 200.0}


def pretrained(folder, ending, model="Labram", change=lambda tensors: tensors):
    """A file of weights of the same model with another last layer."""
    inner = tower_of(model, make_shape(**OPTIONS, task=7)).inner
    with torch.no_grad():
        for weight in inner.parameters():
            weight.normal_()
    tensors = change({k: v.clone() for k, v in inner.state_dict().items()})
    path = folder / f"weights{ending}"
    if ending == ".safetensors":
        save_tensors(path, tensors)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in tensors.items()}, "epoch": 3}, path)
    return path, tensors


@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_a_foundation_model_starts_from_a_local_file(tmp_path, ending):
    path, tensors = pretrained(tmp_path, ending)
    tower = tower_of("Labram", make_shape(**OPTIONS), weights=str(path))
    fresh = tower_of("Labram", make_shape(**OPTIONS))
    own = tower.inner.state_dict()
    body = [k for k in own if not k.startswith("final_layer")]
    assert len(body) > 20
    for name in body:
        torch.testing.assert_close(own[name], tensors[name])
    last = tower.inner.final_layer.weight
    assert last.shape[0] == 5
    assert torch.equal(last, fresh.inner.final_layer.weight)


def test_a_last_layer_that_fits_is_taken(tmp_path):
    inner = tower_of("EEGNet", make_shape()).inner
    with torch.no_grad():
        inner.final_layer.conv_classifier.weight.fill_(0.25)
    save_tensors(tmp_path / "a.safetensors", inner.state_dict())
    tower = tower_of("EEGNet", make_shape(), weights=str(tmp_path / "a.safetensors"))
    assert bool((tower.inner.final_layer.conv_classifier.weight == 0.25).all())


def test_tensors_that_do_not_fit_are_named(tmp_path):
    def change(tensors):
        names = [k for k in tensors if k.startswith("blocks.0")]
        tensors["colour"] = tensors.pop(names[0])
        tensors[names[1]] = torch.zeros(2, 2)
        return tensors

    path, _ = pretrained(tmp_path, ".safetensors", change=change)
    with pytest.raises(NeurovisError) as error:
        tower_of("Labram", make_shape(**OPTIONS), weights=str(path))
    said = str(error.value)
    assert "3 of" in said
    assert "missing: blocks.0" in said
    assert "unknown: colour" in said
    assert "of another shape: blocks.0" in said
    assert "(2, 2) instead of" in said


def test_files_that_are_no_weights_are_refused(tmp_path):
    shape = make_shape()
    with pytest.raises(NeurovisError, match="no such file"):
        tower_of("EEGNet", shape, weights=str(tmp_path / "none.pt"))
    (tmp_path / "text.pt").write_text("not weights at all")
    with pytest.raises(NeurovisError, match="expected tensors that torch saved"):
        tower_of("EEGNet", shape, weights=str(tmp_path / "text.pt"))

    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(NeurovisError, match="expected tensors that torch saved"):
        tower_of("EEGNet", shape, weights=str(tmp_path / "evil.pt"))


def test_the_path_of_weights_is_no_part_of_a_fingerprint():
    configs = [
        resolve(BrainEncoder, {"name": "braindecode", "weights": path}) for path in ("", "a.pt")
    ]
    assert fingerprint(configs[0]) == fingerprint(configs[1])
    assert to_dict(configs[1])["weights"] == "a.pt"


def test_towers_are_built_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setenv("MNE_DATA", str(tmp_path))  # where that model looks first
    with _alone(), socket.socket() as one, pytest.raises(OSError, match="asks for the network"):
        one.connect(("127.0.0.1", 9))
    with pytest.raises(NeurovisError, match=r"REVE.* does not fit"):
        tower_of("REVE", make_shape())
    with socket.socket() as one, pytest.raises(OSError, match="refused"):
        one.connect(("127.0.0.1", 1))


def test_a_model_that_needs_other_samples_says_so():
    with pytest.raises(NeurovisError, match=r"'CBraMod' does not fit 8 channels x 512 times"):
        tower_of("CBraMod", make_shape())
    shape = replace(make_shape(), n_times=400)
    assert tower_of("CBraMod", shape) is not None
