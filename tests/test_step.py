"""One step: cached gradients are those of the whole batch, whatever is drawn, in little memory."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from conftest import write_prepared
from torch import nn

from neurovis import train
from neurovis.config import build, components
from neurovis.decoder import decoder
from neurovis.distributed import ALONE
from neurovis.experiment import Experiment
from neurovis.losses.base import Loss
from neurovis.records import Prediction
from neurovis.step import Batch, backward, unmoved_statistics

N, CHANNELS, TIMES, DIM = 13, 4, 10, 6


class Tower(nn.Module):
    """A tower without statistics over the batch; each of its heads says something else."""

    def __init__(self, dropout: float = 0.0, norm: bool = False, width: int = 8):
        super().__init__()
        self.conv = nn.Conv1d(CHANNELS, width, 3)
        self.norm = nn.BatchNorm1d(width) if norm else nn.GroupNorm(2, width)
        self.drop = nn.Dropout(dropout)
        self.heads = nn.ModuleList([nn.Linear(width, DIM), nn.Linear(width, DIM)])

    def forward(self, signal, subject, present):
        signal = signal * present[:, :, None] * (1 + subject[:, None, None])
        x = self.drop(torch.tanh(self.norm(self.conv(signal)))).mean(2)
        return dict(zip(("image", "image@regression"), (head(x) for head in self.heads)))


def batch_of(most: int, n: int = N, dtype=torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(1)
    signal = torch.randn(n, CHANNELS, TIMES, generator=generator, dtype=dtype)
    target = torch.randn(n, DIM, generator=generator, dtype=dtype)
    subject = torch.arange(n) % 2
    present = torch.ones(n, CHANNELS, dtype=torch.bool)
    image = torch.arange(n) % max(2, n - 3)  # some images come twice
    return Batch(
        [signal, subject, present], {"image": target}, image, ALONE.shares(n, most), seed=3
    )


def modules(loss: str = "clip_mse", dtype=torch.float64, **about) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    config = build(Experiment, {"loss": loss}).loss
    model = decoder(Tower(**about), {"image": DIM}, "linear", config.spread).to(dtype)
    return model, config.build().to(dtype)


def gradients(model: nn.Module, loss_of: nn.Module) -> dict[str, torch.Tensor | None]:
    named = [*model.named_parameters("model"), *loss_of.named_parameters("loss")]
    return {name: None if p.grad is None else p.grad.clone() for name, p in named}


def same(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert (value is None) == (second[name] is None), name
        if value is not None:
            torch.testing.assert_close(value, second[name], rtol=1e-6, atol=1e-12, msg=name)


@pytest.mark.parametrize("loss", components(Loss))
@pytest.mark.parametrize("most", [1, 4, 6, N, 50])
def test_cached_gradients_are_those_of_the_whole_batch(loss, most):
    if loss == "sum":
        loss = {"name": "sum", "parts": ["clip", "cosine"]}
    model, loss_of = modules(loss)
    wanted, said = backward(model, loss_of, batch_of(0), ALONE, nullcontext())
    expected = gradients(model, loss_of)
    model, loss_of = modules(loss)
    found, whole = backward(model, loss_of, batch_of(most), ALONE, nullcontext())
    for name, value in whole.items():
        torch.testing.assert_close(value, said[name])
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        assert not value.requires_grad
        torch.testing.assert_close(value, wanted[name])
    same(gradients(model, loss_of), expected)
    assert any(g is not None and g.abs().max() > 1e-4 for g in expected.values())


def test_plain_accumulation_is_not_the_same():
    """What the cache is for: the mean over parts knows the negatives of its part alone."""
    model, loss_of = modules("clip")
    backward(model, loss_of, batch_of(0), ALONE, nullcontext())
    expected = gradients(model, loss_of)
    model, loss_of = modules("clip")
    whole = batch_of(0)
    for rows in np.array_split(np.arange(N), 3):
        inputs = [tensor[rows] for tensor in whole.inputs]
        target = {"image": whole.target["image"][rows]}
        part = Batch(inputs, target, whole.image[rows], ALONE.shares(len(rows)), 3)
        backward(model, loss_of, part, ALONE, nullcontext())
    name = "model.tower.conv.weight"
    off = gradients(model, loss_of)[name] / 3 - expected[name]
    assert off.norm() > 0.05 * expected[name].norm()


def test_both_passes_draw_the_same():
    """Dropout: as if the parts had passed once and their graphs had been kept."""
    found = modules(dropout=0.5)
    backward(*found, batch_of(4), ALONE, nullcontext())
    model, loss_of = wanted = modules(dropout=0.5)
    forward, kept = model.tower.forward, []

    def once(*inputs):  # the second pass gets what the first one said, with its graph
        if len(kept) < 4:
            with torch.enable_grad():
                kept.append(forward(*inputs))
            return kept[-1]
        said = kept[len(kept) - 4]
        kept.append(said)
        return said

    model.tower.forward = once
    backward(model, loss_of, batch_of(4), ALONE, nullcontext())
    same(gradients(*found), gradients(*wanted))
    other = modules(dropout=0.5)
    changed = batch_of(4)
    changed.seed = 4
    backward(*other, changed, ALONE, nullcontext())
    name = "model.tower.conv.weight"
    assert not torch.allclose(gradients(*other)[name], gradients(*found)[name])


def test_statistics_are_those_of_the_parts_and_move_once():
    model, loss_of = modules(norm=True)
    backward(model, loss_of, batch_of(5), ALONE, nullcontext())
    norm = model.tower.norm
    expected = nn.BatchNorm1d(8).double()
    whole = batch_of(5)
    for (rows,) in whole.shares:
        expected(model.tower.conv(whole.inputs[0][rows] * (1 + whole.inputs[1][rows, None, None])))
    assert int(norm.num_batches_tracked) == 3
    torch.testing.assert_close(norm.running_mean, expected.running_mean)
    torch.testing.assert_close(norm.running_var, expected.running_var)
    before = norm.running_mean.clone()
    with unmoved_statistics(model):
        model.tower(*whole.inputs)
        assert not torch.equal(norm.running_mean, before)
    assert torch.equal(norm.running_mean, before)


def test_a_head_that_no_loss_asks_costs_nothing():
    model, loss_of = modules("clip")
    backward(model, loss_of, batch_of(4), ALONE, nullcontext())
    assert model.tower.heads[0].weight.grad is not None
    assert model.tower.heads[1].weight.grad is None


def peak(most: int, n: int) -> int:
    """Most bytes that graphs keep for the way back at any time."""
    live = [0, 0]

    class Held:
        def __init__(self, tensor):
            self.tensor, self.size = tensor, tensor.numel() * tensor.element_size()
            live[0] += self.size
            live[1] = max(live)

        def __del__(self):
            live[0] -= self.size

    model, loss_of = modules("mse", torch.float32, width=64)
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        backward(model, loss_of, batch_of(most, n, torch.float32), ALONE, nullcontext())
    return live[1]


def test_a_batch_of_4096_takes_the_memory_of_its_parts():
    whole, parts, small = peak(0, 4096), peak(128, 4096), peak(0, 128)
    assert parts < whole / 20
    # on top of a part: the signals of all rows are views, what the loss keeps is small
    assert parts < 3 * small


def test_a_run_in_parts_is_the_run_in_one(tmp_path):
    folder = write_prepared(tmp_path / "p", n_train=30, n_test=6)
    said = []
    for most in (0, 10):
        config = build(
            Experiment,
            {
                "data": {"path": str(folder)},
                "targets": {
                    "image": {"encoder": "planted", "embeddings": str(folder / "embeddings.h5")}
                },
                "brain": {"name": "inverted", "n_hidden": 8, "dropout": 0.0},
                "train": {"epochs": 3, "batch_size": 30, "micro_batch": most},
                "control": "none",
                "device": "cpu",
            },
        )
        run = train.main(config, tmp_path, quiet=True)
        said.append(Prediction.read(run / "systems" / "tower" / "prediction.h5").vector["image"])
    np.testing.assert_allclose(said[0], said[1], rtol=1e-3, atol=1e-4)
    assert len(list((tmp_path / "runs").iterdir())) == 2
