"""What a tower is computed on: chosen by what there is, or refused in a sentence."""

from __future__ import annotations

import pytest
import torch

from neurovis import device
from neurovis.brain.base import Shape
from neurovis.brain.conv import Conv
from neurovis.decoder import decoder
from neurovis.distributed import World
from neurovis.errors import UsageError


@pytest.fixture
def processor(monkeypatch):
    """A CPU that can do these things."""

    def can(**found: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)

    return can


def test_a_cpu_computes_in_float32_unless_asked_and_able(processor):
    cpu = torch.device("cpu")
    processor(avx512_bf16=True)
    assert device.choose_precision("auto", cpu) == torch.float32
    assert device.choose_precision("float32", cpu) == torch.float32
    assert device.choose_precision("bfloat16", cpu) == torch.bfloat16
    processor(avx512_bf16=False, avx2=True)
    assert device.choose_precision("auto", cpu) == torch.float32
    with pytest.raises(UsageError, match=r"precision: bfloat16 was asked for.*use precision=auto"):
        device.choose_precision("bfloat16", cpu)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float32"), ((9, 0), "bfloat16")])
def test_a_gpu_computes_in_what_it_has_units_for(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert device.choose_precision("auto", torch.device("cuda")) == getattr(torch, expected)


def test_each_process_takes_a_gpu_of_its_own(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert device.choose_device("auto") == torch.device("cuda")
    monkeypatch.setattr(device, "here", lambda: World(1, 4))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device.choose_device("auto") == torch.device("cuda", 1)
    assert taken == [torch.device("cuda", 1)]
    assert device.choose_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match=r"found 2 for process 3 .*--nproc-per-node 2"):
        device.choose_device("auto")


def tower():
    shape = Shape(
        n_times=20, sfreq=100.0, channel_name=("a", "b", "c"), channel_type=("eeg",) * 3,
        channel_position=torch.eye(3).numpy() * 0.1, subjects=("01", "02"), outputs={"image": 4},
    )  # fmt: skip
    config = Conv(
        n_virtual=4,
        n_harmonics=2,
        n_hidden=4,
        n_blocks=1,
        n_features=4,
        dropout=0,
        spatial_dropout=0,
    )
    torch.manual_seed(0)
    return decoder(config.build(shape), {"image": 4}, "none").eval()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler's own
def test_a_compiled_tower_says_the_same_and_keeps_its_names():
    plain, fast = tower(), tower()
    device.compile_tower(fast, quiet=True)
    assert plain.state_dict().keys() == fast.state_dict().keys()
    for n in (5, 5, 7):
        batch = torch.randn(n, 3, 20), torch.arange(n) % 2, torch.ones(n, 3, dtype=torch.bool)
        torch.testing.assert_close(plain(*batch), fast(*batch), rtol=1e-4, atol=1e-5)
    for model in (plain.train(), fast.train()):
        sum(said.square().sum() for said in model(*batch).values()).backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), fast.named_parameters()):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5, msg=name)
    for (name, a), (_, b) in zip(plain.named_buffers(), fast.named_buffers()):
        torch.testing.assert_close(a, b, msg=name)


@pytest.mark.filterwarnings("ignore")
def test_where_compiling_fails_it_is_said_once_and_training_goes_on(monkeypatch, capsys):
    plain, fast = tower(), tower()
    compile_ = torch.compile

    def broken(module, inputs):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda f: compile_(f, backend=broken))
    device.compile_tower(fast)
    batch = torch.randn(5, 3, 20), torch.arange(5) % 2, torch.ones(5, 3, dtype=torch.bool)
    for _ in range(2):
        torch.testing.assert_close(plain(*batch), fast(*batch))
    said = capsys.readouterr().err
    assert said.count("torch.compile failed, going on without it: ") == 1
    assert "no compiler here" in said
