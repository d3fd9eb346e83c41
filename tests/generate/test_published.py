"""Published generators: complete small pipelines of the same classes, loaded as the real ones are."""

from __future__ import annotations

import importlib.util
import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.pipelines import PUBLISHED, small

from experiments.benchmarks import generation
from neurovis.config import components, fingerprint, resolve, to_dict
from neurovis.errors import NeurovisError, UsageError
from neurovis.generate.base import Cue, Generator
from neurovis.generate.published import MEMORY, Published
from neurovis.generate.sdxl_ip_adapter import ADAPTER
from neurovis.generate.versatile_diffusion import Mixture, joined
from neurovis.images.snapshots import find, hash_files, to_safetensors, variants
from neurovis.listing import listing

N = 3


@pytest.fixture(scope="session")
def options(tmp_path_factory) -> dict[str, dict]:
    """Options that load each back end from a small folder."""
    return {name: small(name, tmp_path_factory.mktemp(name)) for name in PUBLISHED}


@pytest.fixture(scope="session")
def painters(options) -> dict:
    """Each back end, ready to paint."""
    return {name: resolve(Generator, value).build() for name, value in options.items()}


def vectors(width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N, width)).astype(np.float32)


def rough(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (N, 20, 20, 3), dtype=np.uint8)


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest difference of each row, in levels of 255."""
    return np.abs(a.astype(int) - b).reshape(len(a), -1).max(1)


def test_every_published_generator_is_here():
    found = {name for name, cls in components(Generator).items() if issubclass(cls, Published)}
    assert found == set(PUBLISHED)


# ---- painting


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_loads_and_paints(name, options, painters):
    config, painter = resolve(Generator, options[name]), painters[name]
    seen = painter.paint(Cue(vectors(painter.width)), np.arange(N))
    assert seen.shape == (N, config.size, config.size, 3)
    assert seen.dtype == np.uint8
    assert painter.size == config.size
    assert (seen.reshape(N, -1).std(1) > 5).all()
    assert re.fullmatch("[0-9a-f]{64}", painter.weights)
    assert json.loads(json.dumps(painter.details))["precision"] == "float32"
    assert set(painter.details["licence"]) == {one.repository for one in config.needs()}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("low", [False, True])
def test_a_picture_depends_on_its_own_row_alone(name, low, options, painters):
    painter = painters[name]
    config = resolve(Generator, options[name])
    if low and not config.starts_from_low:
        pytest.skip("it starts from noise alone")
    cue = Cue(vectors(painter.width), rough() if low else None)
    seeds = np.array([5, 6, 7])
    together = painter.paint(cue, seeds)
    assert np.array_equal(painter.paint(cue, seeds), together)
    # a product of matrices may round otherwise in another batch
    alone = resolve(Generator, options[name] | {"batch_size": 1}).build().paint(cue, seeds)
    assert apart(alone, together).max() <= 2
    # what stands beside a row, and where it stands, do not matter
    order = np.array([2, 0, 1])
    turned = Cue(cue.vector[order], None if cue.low is None else cue.low[order])
    assert apart(painter.paint(turned, seeds[order]), together[order]).max() <= 2
    other = painter.paint(cue, np.array([5, 8, 7]))
    assert (apart(other, together) > 10).tolist() == [False, True, False]


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_it_is_told_changes_the_picture(name, options, painters):
    painter, config = painters[name], resolve(Generator, options[name])
    cue, seeds = Cue(vectors(painter.width)), np.zeros(N, int)
    plain = painter.paint(cue, seeds)
    changed = cue.vector.copy()
    changed[1] = -3 * changed[1]
    moved = apart(painter.paint(Cue(changed), seeds), plain)
    assert moved[1] > 2
    assert moved[[0, 2]].max() <= 2
    if config.reads_text:
        text = ("", "cat", "")
        moved = apart(painter.paint(Cue(cue.vector, text=text), seeds), plain)
        assert moved[1] > 0
        assert moved[[0, 2]].max() <= 2
    if config.starts_from_low:
        first = painter.paint(Cue(cue.vector, rough()), seeds)
        second = painter.paint(Cue(cue.vector, rough(1)), seeds)
        assert apart(first, second).min() > 2
        assert apart(first, plain).min() > 2


@pytest.mark.parametrize("name", [n for n in PUBLISHED if n != "unclip"])
def test_strength_is_the_share_of_steps_from_a_rough_picture(name, options):
    config = resolve(Generator, options[name] | {"n_steps": 5, "strength": 0.4})
    pipe, _ = config.load()
    painter, calls = config.painter(pipe), []
    unet = pipe.image_unet if name == "versatile_diffusion" else pipe.unet
    unet.register_forward_pre_hook(lambda *_: calls.append(1))
    vector = vectors(painter.width)
    painter.paint(Cue(vector, rough()), np.arange(N))
    assert len(calls) == 2
    painter.paint(Cue(vector), np.arange(N))
    assert len(calls) == 2 + 5


@pytest.mark.parametrize("name", PUBLISHED)
def test_ways_to_save_memory_change_no_picture(name, options, painters):
    painter = painters[name]
    cue, seeds = Cue(vectors(painter.width)), np.arange(N)
    plain = painter.paint(cue, seeds)
    slices = {"vae_slicing": False} if name != "kandinsky" else {}
    slices |= {"attention_slicing": True} if name != "sdxl_ip_adapter" else {}
    for extra in (slices, {"memory": "80gb"}, {"offload": "sequential"}):
        config = resolve(Generator, options[name] | extra)
        assert apart(config.build().paint(cue, seeds), plain).max() <= 2
        assert fingerprint(config) == fingerprint(resolve(Generator, options[name]))


@pytest.mark.parametrize("name", PUBLISHED)
def test_models_that_wait_elsewhere_change_no_picture(name, options, painters):
    """With the CPU as the device to go to; layer by layer (sequential) asks for a real GPU."""
    config = resolve(Generator, options[name])
    pipe, _ = config.load()
    painter = config.painter(pipe)
    pipe.enable_model_cpu_offload(device="cpu")
    for low in [None, rough()] if config.starts_from_low else [None]:
        cue = Cue(vectors(painter.width), low)
        made = [one.paint(cue, np.arange(N)) for one in (painter, painters[name])]
        assert apart(*made).max() <= 2


def test_the_adapter_paints_as_one_embedding_at_a_time_does(options):
    """Against diffusers' own pipeline, which takes one embedding for all prompts."""
    from diffusers import StableDiffusionXLPipeline

    value = options["sdxl_ip_adapter"]
    for guidance in (0.0, 4.0):
        config = resolve(Generator, value | {"guidance": guidance})
        cue = Cue(vectors(generation.SMALL_DIM))
        ours = config.build().paint(cue, np.arange(N))
        pipe = StableDiffusionXLPipeline.from_pretrained(value["source"])
        pipe.load_ip_adapter(value["adapter"], "sdxl_models", ADAPTER.split("/")[1],
                             image_encoder_folder=None)  # fmt: skip
        pipe.set_progress_bar_config(disable=True)
        for row in range(N):
            embedding = torch.from_numpy(cue.vector[row])[None, None]
            if guidance > 1:
                embedding = torch.cat([torch.zeros_like(embedding), embedding])
            theirs = pipe(
                "", ip_adapter_image_embeds=[embedding], num_inference_steps=2, height=32, width=32,
                guidance_scale=guidance, generator=torch.Generator().manual_seed(row), output_type="np",
            ).images  # fmt: skip
            assert apart((255 * theirs).round(), ours[row : row + 1]).max() <= 2


def test_the_scale_of_the_adapter_counts(options):
    def paint(scale: float) -> np.ndarray:
        config = resolve(Generator, options["sdxl_ip_adapter"] | {"scale": scale})
        return config.build().paint(Cue(vectors(8)), np.zeros(N, int))

    nothing = paint(0.0)
    assert apart(nothing, nothing[:1].repeat(N, 0)).max() <= 2  # the embedding says nothing
    assert apart(paint(1.0), nothing).min() > 2


def test_joined_attention_is_that_of_diffusers():
    from diffusers.models import DualTransformer2DModel

    torch.manual_seed(0)
    theirs = DualTransformer2DModel(2, 4, in_channels=8, norm_num_groups=4, cross_attention_dim=6)
    image, text = theirs.transformers
    x, token = torch.randn(2, 8, 3, 3), torch.randn(2, 5 + 7, 6)
    theirs.condition_lengths = [5, 7]
    for share in (0.0, 0.4, 1.0):
        theirs.mix_ratio = share
        told = Mixture(torch.tensor([share, share]), 5, (share > 0, share < 1))
        (ours,) = joined(image, text, told)(x, token, encoder_attention_mask=None)
        (expected,) = theirs(x, token, return_dict=False)
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_decoded_text_tokens_stand_for_words(options):
    """Tokens of words, given as a part of the vector, paint as the words do."""
    value = options["versatile_diffusion"]
    words = ("cat", "dog", "x")
    plain = resolve(Generator, value).build()
    with_tokens = resolve(Generator, value | {"text_tokens": True})
    pipe, _ = with_tokens.load()
    said = pipe._encode_text_prompt(list(words), "cpu", 1, False).detach().numpy()
    painter = with_tokens.painter(pipe)
    vector = vectors(plain.width)
    both = np.concatenate([vector, said.reshape(N, -1)], axis=1)
    assert painter.width == both.shape[1]
    expected = plain.paint(Cue(vector, text=words), np.arange(N))
    assert apart(painter.paint(Cue(both), np.arange(N)), expected).max() <= 2


# ---- presets and what is said


def test_presets_are_those_of_the_papers():
    atm = resolve(Generator, "sdxl_ip_adapter")
    assert (atm.preset, atm.n_steps, atm.guidance, atm.strength, atm.scale) == (
        "atm2024",
        4,
        0,
        0.5,
        1,
    )
    assert atm.source == "stabilityai/sdxl-turbo"
    brain = resolve(Generator, "versatile_diffusion")
    assert (brain.n_steps, brain.guidance, brain.strength, brain.text_share) == (50, 7.5, 0.75, 0.4)
    assert (brain.scheduler, brain.eta) == ("ddim", 0)
    mindeye = resolve(Generator, {"name": "versatile_diffusion", "preset": "mindeye1"})
    assert (mindeye.n_steps, mindeye.guidance, mindeye.scheduler) == (20, 3.5, "unipc")


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_given_wins_over_the_preset_and_comes_back(name):
    cls = components(Generator)[name]
    for preset in cls.presets:
        made = resolve(Generator, {"name": name, "preset": preset, "guidance": 2.25})
        assert made.guidance == 2.25
        assert made.n_steps == cls.presets[preset]["n_steps"]
        assert resolve(Generator, to_dict(made)) == made
        assert set(cls.unverified) <= set(cls.presets)
    assert resolve(Generator, {"name": name, "memory": "80gb"}).batch_size == 16
    assert resolve(Generator, {"name": name, "memory": "80gb", "batch_size": 3}).batch_size == 3
    with pytest.raises(UsageError, match=r"preset of .* 'nobody' is unknown"):
        resolve(Generator, {"name": name, "preset": "nobody"})


@pytest.mark.parametrize("scheduler", ["ddim", "unipc"])
def test_both_schedulers_paint(scheduler, options):
    value = options["versatile_diffusion"] | {"scheduler": scheduler, "n_steps": 4}
    painter = resolve(Generator, value).build()
    for low in (None, rough()):
        assert painter.paint(Cue(vectors(painter.width), low), np.arange(N)).std() > 5
    assert painter.details["scheduler"].lower().startswith(scheduler)


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_licence_size_and_memory_are_said_before_anything_is_loaded(name, monkeypatch):
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda _: pytest.fail("it looked something up")
    )
    for preset in components(Generator)[name].presets:
        config = resolve(Generator, {"name": name, "preset": preset})
        text = config.statement()
        for one in config.needs():
            assert (
                f"{one.repository}: about {one.gigabytes:.1f} GB to fetch; licence: {one.licence}"
                in text
            )
            assert f"hf download {one.repository}" in text
        for memory in MEMORY:
            assert f"memory, preset {memory}: " in text
        assert ("unverified" in text) == (preset in config.unverified)
    assert re.search(r"fetch [\d.]+ GB; licence: \w", components(Generator)[name].about())


def test_the_list_of_generators_says_what_weights_cost():
    together = listing("generators")
    for name in PUBLISHED:
        cls = components(Generator)[name]
        assert cls.about() in together
        alone = [line.strip() for line in listing("generators", name).splitlines()]
        assert set(map(str.strip, cls().statement().splitlines())) <= set(alone)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_architecture_at_full_size(name):
    from neurovis.generate.versatile_diffusion import pipeline_of

    with torch.device("meta"):
        pipe = generation.MAKE[name](small=False)
        if name == "versatile_diffusion":
            pipe = pipeline_of(pipe.components)
    count = {
        part: sum(p.numel() for p in module.parameters())
        for part, module in pipe.components.items()
        if isinstance(module, torch.nn.Module)
    }
    if name == "sdxl_ip_adapter":
        with torch.device("meta"):
            added = generation.adapter(pipe.unet, 1024)
        count["unet"] += sum(tensor.numel() for tensor in added.values())
    count.pop("image_normalizer", None)
    said: dict[str, int] = {}
    for one in resolve(Generator, name).needs():
        for part, millions in one.parts.items():
            said[part] = said.get(part, 0) + millions
    assert said == {part: pytest.approx(n / 1e6, abs=1) for part, n in count.items()}


# ---- bad input


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_would_have_no_effect_is_refused(name, options, painters):
    painter, config = painters[name], resolve(Generator, options[name])
    good, seeds = vectors(painter.width), np.arange(N)
    if not config.starts_from_low:
        with pytest.raises(UsageError, match="starts from noise alone"):
            painter(Cue(good, rough()), seeds)
    if not config.reads_text:
        with pytest.raises(UsageError, match="is told no words"):
            painter(Cue(good, text=("a",) * N), seeds)


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_weights_say_the_command_that_fetches_them(name, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    config = resolve(Generator, name)
    first = config.needs()[0].repository
    with pytest.raises(
        NeurovisError, match=f"are not in the Hugging Face cache.*`hf download {first}"
    ):
        config.build()
    with pytest.raises(NeurovisError, match="no such folder of weights"):
        resolve(Generator, {"name": name, "source": "./nowhere/at/all"}).build()


def test_a_folder_in_the_cache_is_found(options, tmp_path, monkeypatch):
    """The layout of the cache, with links to files that are named by their checksum."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    home, commit = tmp_path / "models--sd2-community--stable-diffusion-2-1-unclip", "0" * 40
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    folder = home / "snapshots" / commit
    shutil.copytree(options["unclip"]["source"], folder)
    (home / "blobs").mkdir()
    from neurovis.store import sha256

    for path in folder.rglob("*.safetensors"):
        blob = home / "blobs" / sha256(path)
        path.rename(blob)
        path.symlink_to(blob)
    value = {k: v for k, v in options["unclip"].items() if k != "source"}
    here, there = resolve(Generator, value).build(), resolve(Generator, options["unclip"]).build()
    assert here.weights == there.weights
    # half of a download
    next((folder / "unet").glob("*.safetensors")).unlink()
    with pytest.raises(
        NeurovisError, match=r"unet: its weights are missing.*`hf download sd2-comm"
    ):
        resolve(Generator, value).build()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_missing_extra_is_named(name, options, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "transformers" else real(n, *a)
    )
    with pytest.raises(
        NeurovisError, match=r'transformers is not installed: pip install "neurovis\[gen'
    ):
        resolve(Generator, options[name]).build()


def copied(options: dict, name: str, tmp_path: Path) -> tuple[dict, Path]:
    folder = tmp_path / "copy"
    shutil.copytree(options[name]["source"], folder)
    return options[name] | {"source": str(folder)}, folder


def test_damaged_and_foreign_folders_are_refused(options, tmp_path):
    value, folder = copied(options, "unclip", tmp_path)
    (file,) = (folder / "vae").glob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NeurovisError, match="expected the whole weights of this model"):
        resolve(Generator, value).build()
    wrong = options["unclip"] | {"source": options["kandinsky"]["source"]}
    with pytest.raises(NeurovisError, match="found KandinskyV22Pipeline without"):
        resolve(Generator, wrong).build()
    (tmp_path / "empty").mkdir()
    with pytest.raises(NeurovisError, match=r"found no model_index\.json"):
        resolve(Generator, value | {"source": str(tmp_path / "empty")}).build()


class Trap:
    """Leaves a file behind where a pickle of it is executed."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_pickles_and_code_of_a_folder_are_never_executed(options, tmp_path):
    value, folder = copied(options, "unclip", tmp_path)
    (file,) = (folder / "vae").glob("*.safetensors")
    file.unlink()
    sprung = tmp_path / "sprung"
    (folder / "vae" / "diffusion_pytorch_model.bin").write_bytes(
        pickle.dumps(Trap(sprung), protocol=2)
    )
    with pytest.raises(
        NeurovisError, match=r"vae: expected safetensors, found pickles alone.*to_safet"
    ):
        resolve(Generator, value).build()
    with pytest.raises(NeurovisError, match="to_safetensors"):
        to_safetensors(folder)
    # a part whose class lies in the folder
    value, folder = copied(options, "kandinsky", tmp_path / "more")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "movq" / "mine.py").write_text(f"open({str(sprung)!r}, 'w')\nclass Mine: pass\n")
    index["movq"] = ["mine", "Mine"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(NeurovisError, match="does not load"):
        resolve(Generator, value).build()
    assert not sprung.exists()


def test_pickled_tensors_become_safetensors(options, tmp_path):
    from safetensors.torch import load_file

    value, folder = copied(options, "versatile_diffusion", tmp_path)
    expected = resolve(Generator, options["versatile_diffusion"]).build()
    for file in folder.rglob("*.safetensors"):
        plain = "pytorch_model" if file.stem == "model" else file.stem
        torch.save(load_file(file), file.with_name(f"{plain}.bin"))
        file.unlink()
    with pytest.raises(NeurovisError, match="found pickles alone"):
        resolve(Generator, value).build()
    written = to_safetensors(folder)
    assert sorted(p.parent.name for p in written) == [
        "image_encoder", "image_unet", "text_encoder", "text_unet", "vae"
    ]  # fmt: skip
    assert to_safetensors(folder) == []
    cue = Cue(vectors(expected.width))
    found = resolve(Generator, value).build().paint(cue, np.arange(N))
    assert np.array_equal(found, expected.paint(cue, np.arange(N)))


def test_files_in_half_precision_are_taken_where_they_are_wanted(options, tmp_path):
    from diffusers import StableUnCLIPImg2ImgPipeline

    pipe = StableUnCLIPImg2ImgPipeline.from_pretrained(options["unclip"]["source"])
    pipe.to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    value = options["unclip"] | {"source": str(tmp_path)}
    half = resolve(Generator, value).build()
    assert half.weights != resolve(Generator, options["unclip"]).build().weights
    assert half.paint(Cue(vectors(half.width)), np.arange(N)).std() > 5
    # one part in no such form, as some repositories have it
    (tmp_path / "image_normalizer" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    source = Path(options["unclip"]["source"]) / "image_normalizer"
    shutil.copytree(source, tmp_path / "image_normalizer", dirs_exist_ok=True)
    mixed = resolve(Generator, value).build()
    cue = Cue(vectors(half.width))
    assert apart(mixed.paint(cue, np.arange(N)), half.paint(cue, np.arange(N))).max() <= 2
    both = [Path("a.fp16.safetensors"), Path("a.safetensors")]
    parts = {"a": both, "b": both[:1], "c": both[1:]}
    assert variants(parts, half=True) == {"a": "fp16", "b": "fp16", "c": None}
    assert variants({"a": both, "c": both[1:]}, half=False) == {"a": None, "c": None}
    assert variants(parts, half=False)["b"] == "fp16"


@pytest.mark.parametrize("name", PUBLISHED)
def test_too_little_memory_is_one_sentence_with_what_lowers_it(name, options):
    config = resolve(Generator, options[name])
    pipe, _ = config.load()
    painter = config.painter(pipe)
    unet = pipe.image_unet if name == "versatile_diffusion" else pipe.unet

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    unet.register_forward_pre_hook(full)
    with pytest.raises(
        NeurovisError, match=r"memory is too small to paint 3 pictures.*a smaller batch_size"
    ):
        painter.paint(Cue(vectors(painter.width)), np.arange(N))
    one = resolve(Generator, options[name] | {"batch_size": 1, "offload": "model"})
    assert one.lower()[0].startswith("offload=sequential")


def test_pictures_that_are_no_numbers_are_refused(options):
    config = resolve(Generator, options["unclip"])
    pipe, _ = config.load()
    torch.nn.init.constant_(pipe.unet.conv_out.bias, torch.nan)
    painter = config.painter(pipe)
    with pytest.raises(NeurovisError, match="found values that are no numbers from row 0"):
        painter.paint(Cue(vectors(painter.width)), np.arange(N))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"name": "sdxl_ip_adapter", "n_steps": 1, "strength": 0.5},
            "expected at least one of 1 steps",
        ),
        ({"name": "unclip", "size": 100}, "expected a multiple of 8"),
        ({"name": "sdxl_ip_adapter", "attention_slicing": True}, "would put the adapter"),
        ({"name": "kandinsky", "vae_tiling": True}, "knows neither vae_slicing nor vae_tiling"),
        ({"name": "unclip", "n_steps": 0}, "greater than or equal to 1"),
        ({"name": "unclip", "memory": "12gb"}, "memory"),
    ],
)
def test_options_that_do_not_fit_are_refused(value, said):
    with pytest.raises(UsageError, match=said):
        resolve(Generator, value)


def test_a_decoder_and_a_prior_that_do_not_belong_together_are_refused(options, tmp_path):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    sizes = generation.SMALL_VISION | {"projection_dim": 12}
    tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes))
    tower.save_pretrained(tmp_path / "image_encoder")
    with pytest.raises(NeurovisError, match="expected an image encoder of 8 dims"):
        resolve(Generator, options["kandinsky"] | {"prior": str(tmp_path)}).build()


def test_hashes_of_files_do_not_depend_on_where_they_lie(tmp_path):
    from neurovis.store import sha256

    (tmp_path / "a").write_bytes(b"one")
    named = tmp_path / sha256(tmp_path / "a")
    named.write_bytes(b"one")
    assert hash_files([("x", tmp_path / "a")]) == hash_files([("x", named)])
    assert hash_files([("x", named)]) != hash_files([("y", named)])
    assert find("it", str(tmp_path)) == tmp_path
