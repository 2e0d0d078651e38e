from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from golden import fill_
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import noise
from torch.nn import functional as F

import darkside_cli.methods.translate as translating
from darkside_cli.errors import CheckpointError, ConfigError
from darkside_cli.interop.gandtr_write import save_gandtr
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.kernels import prepare
from darkside_cli.kernels.fast_generator import FastGuidedGenerator
from darkside_cli.methods.export import export_generator
from darkside_cli.methods.network_options import ResnetGeneratorOptions
from darkside_cli.methods.task import make_network
from darkside_cli.methods.translate import Translator
from darkside_cli.networks.configs import GuidedGeneratorConfig
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.guided import GuidedGenerator, guided_filter, relight, shrink
from darkside_cli.networks.recognise import recognise_state, shapes_of
from darkside_cli.networks.weights import Checkpoint, save_checkpoint

TINY = GuidedGeneratorConfig(ngf=2, n_blocks=1, working_px=24, guide_radius_px=2)


def made(config: GuidedGeneratorConfig = TINY) -> GuidedGenerator:
    return fill_(GuidedGenerator(config), 3).eval()


def saved(folder: Path, config: GuidedGeneratorConfig = TINY) -> Checkpoint:
    path = save_checkpoint(
        folder / "g.safetensors", made(config), architecture="guided_generator", config=config
    )
    return open_checkpoint(path)


@given(st.integers(8, 90), st.integers(8, 90))
@settings(max_examples=25, deadline=None)
def test_any_size_comes_out_as_it_went_in(height: int, width: int) -> None:
    night = made()(noise(1, 3, height, width))
    assert night.shape == (1, 3, height, width)
    assert night.abs().max() <= 1


@pytest.mark.parametrize(
    ("size", "working", "expected"),
    [((60, 90), 30, (20, 30)), ((90, 60), 30, (30, 20)), ((7, 700), 50, (8, 50)), ((10, 20), 40, (20, 40))],
)
def test_the_longer_side_becomes_the_working_size(
    size: tuple[int, int], working: int, expected: tuple[int, int]
) -> None:
    assert shrink(noise(1, 3, *size), working).shape[-2:] == expected


def test_shrinking_averages() -> None:
    board = torch.ones(1, 1, 32, 32)
    board[..., ::2] = -1
    torch.testing.assert_close(shrink(board, 16), torch.zeros(1, 1, 16, 16))


@pytest.mark.parametrize("times", [6, 7, 13, 40])
def test_large_images_are_averaged_as_well(times: int) -> None:
    """Stripes of 3 pixels are finer than what the network sees: nearly nothing may be left of them."""
    stripes = torch.ones(1, 1, 24 * times, 16 * times)
    stripes[..., torch.arange(16 * times) % 3 == 0] = -1
    small = shrink(stripes, 24)
    assert small.shape[-2:] == (24, 16)
    assert (small - 1 / 3).abs()[..., 1:-1].max() < 0.2
    grain = shrink(noise(1, 1, 24 * times, 16 * times), 24)
    assert grain.std() < 0.577 / 4, "of sixteen values at least the mean is taken"


def test_up_to_three_times_what_is_averaged_nothing_is_halved_first() -> None:
    x = noise(1, 3, 140, 80)
    direct = F.interpolate(x, size=(48, 28), mode="bilinear")
    assert torch.equal(shrink(x, 24), F.avg_pool2d(direct, 2))


def test_it_is_the_resnet_generator_and_the_filter() -> None:
    network, x = made(), noise(2, 3, 50, 38)
    plain = ResnetGenerator(TINY).eval()
    plain.load_state_dict(network.state_dict())
    small = shrink(x, 24)
    target = plain(small)[..., :24, :18]
    expected = guided_filter(x, small, target, radius=2, eps=TINY.guide_eps).clamp(-1, 1)
    torch.testing.assert_close(network(x), expected)


def test_gains_leave_a_share_of_each_colours_light() -> None:
    config = replace(TINY, output="gain", max_gain=1.0)
    network = made(config)
    torch.nn.init.zeros_(network.model[-2].weight)
    network.model[-2].bias.data = torch.atanh(torch.tensor([0.0, 0.5, -0.5]))
    day = noise(1, 3, 20, 24)
    share = torch.tensor([0.5, 0.75, 0.25]).view(1, 3, 1, 1)
    # An affine change of colour, which the filter passes but for what eps takes.
    torch.testing.assert_close(network(day), (day + 1) * share - 1, atol=0.02, rtol=0)
    none = torch.full_like(day, -1.0)
    assert torch.equal(relight(day, none, 2.0), none)
    assert torch.equal(relight(none, day, 2.0), none), "black stays black"
    torch.testing.assert_close(relight(day, torch.zeros(1), 2.0), day)


def test_windows_may_be_narrower_while_it_learns() -> None:
    narrow, wide = made(replace(TINY, guide_radius_px=1)), made(replace(TINY, guide_radius_px=3))
    both = made(replace(TINY, guide_radius_px=3, training_radius_px=1))
    x = noise(1, 3, 30, 40)
    assert torch.equal(both(x), wide(x))
    assert torch.equal(both.train()(x), narrow.train()(x))
    assert not torch.equal(both(x), wide.train()(x))


def test_features_are_those_of_the_working_size() -> None:
    network, x = made(), noise(1, 3, 50, 38)
    expected = ResnetGenerator.features(network, shrink(x, 24), [0, 4, 10])
    for one, other in zip(network.features(x, [0, 4, 10]), expected, strict=True):
        assert torch.equal(one, other)
    night, features = network.forward_with_features(x, [0, 4, 10])
    torch.testing.assert_close(night, network(x))
    for one, other in zip(features, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, about its compiler
def test_traced_by_the_compiler_it_is_the_same() -> None:
    network = made(replace(TINY, output="gain", training_radius_px=1)).train()
    traced = torch.compile(network, backend="aot_eager", fullgraph=True, dynamic=False)
    for size in [(40, 32), (200, 170)]:
        x = noise(1, 3, *size)
        torch.testing.assert_close(traced(x), network(x), atol=1e-4, rtol=0)
    torch._dynamo.reset()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_prepared_for_inference_it_is_the_same(precision: str) -> None:
    config = replace(TINY, ngf=8, norm="batch", antialias_up=True)
    network = made(config)
    prepared = prepare(network, device="cpu", precision=precision)
    x = noise(2, 3, 61, 83)
    with torch.no_grad():
        torch.testing.assert_close(
            prepared(x), network(x), atol=1e-4 if precision == "fp32" else 5e-2, rtol=0
        )
    if precision == "fp32":
        assert isinstance(prepared, FastGuidedGenerator)


def test_files_say_what_it_is(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path)
    assert checkpoint.architecture == "guided_generator"
    assert checkpoint.config == TINY
    found = recognise_state(shapes_of(made().state_dict()))
    assert found is not None
    assert found[0] == "resnet_generator", "weights alone do not tell"
    with pytest.raises(CheckpointError, match="gandtr does not have") as refused:
        save_gandtr(tmp_path / "g.pth", checkpoint)
    assert ".safetensors" in str(refused.value.hint)


@pytest.mark.parametrize("size_px", [None, (50, 70)])
def test_onnx_takes_the_sizes_that_it_takes(size_px: tuple[int, int] | None, tmp_path: Path) -> None:
    exported = export_generator(saved(tmp_path), tmp_path / "g.onnx", size_px=size_px)
    assert exported.difference is not None
    assert exported.difference <= 1e-4
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    for size in [(8, 8), (33, 120), (120, 24), (320, 480)] if size_px is None else [size_px]:
        x = noise(1, 3, *size)
        (night,) = session.run(["translated"], {"image": x.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(night, made()(x).numpy(), atol=1e-4)


@pytest.mark.parametrize("size", [(301, 450), (9, 700), (1200, 40)])
def test_onnx_halves_large_images_too(size: tuple[int, int], tmp_path: Path) -> None:
    exported = export_generator(saved(tmp_path), tmp_path / "g.onnx", check=False)
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    x = noise(1, 3, *size)
    (night,) = session.run(["translated"], {"image": x.numpy()})
    with torch.no_grad():
        expected = made()(x).numpy()
    # The runtime rounds the coordinates of odd sides; a level of 256 is 8e-3, aliasing would be 1e-1.
    np.testing.assert_allclose(night, expected, atol=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"working_px": 4},
        {"guide_radius_px": 0},
        {"training_radius_px": 0},
        {"guide_eps": 0.0},
        {"in_channels": 1},
        {"output": "x"},
        {"max_gain": 0.0},
    ],
)
def test_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        GuidedGeneratorConfig(**wrong)


def test_options_choose_it() -> None:
    given: dict[str, Any] = {
        "ngf": 2,
        "n_blocks": 1,
        "working_px": 32,
        "output": "gain",
        "max_gain": 1.5,
        "guide_radius_px": 3,
        "training_radius_px": 1,
        "guide_eps": 0.01,
    }
    options = ResnetGeneratorOptions(**given)
    assert not options.idle()
    network = make_network(options)
    assert isinstance(network, GuidedGenerator)
    assert network.config == GuidedGeneratorConfig(**given)
    assert type(make_network(ResnetGeneratorOptions(ngf=2, n_blocks=1))) is ResnetGenerator


def test_a_gain_without_a_working_size_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a working_px"):
        ResnetGeneratorOptions(output="gain")


@pytest.mark.parametrize(
    ("given", "idle"),
    [
        ({}, []),
        ({"guide_radius_px": 8, "max_gain": 1.0}, ["max_gain", "guide_radius_px"]),
        ({"training_radius_px": 2, "guide_eps": 0.1}, ["training_radius_px", "guide_eps"]),
        ({"working_px": 96, "guide_radius_px": 8, "max_gain": 1.0}, ["max_gain"]),
        ({"working_px": 96, "output": "gain", "max_gain": 1.0, "guide_eps": 0.1}, []),
    ],
)
def test_what_makes_no_difference_is_known(given: dict[str, Any], idle: list[str]) -> None:
    needed = "output = gain" if "working_px" in given else "working_px"
    assert ResnetGeneratorOptions(**given).idle() == dict.fromkeys(idle, needed)


def test_the_networks_own_memory_counts_for_small_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    translator = Translator(made())
    own, photograph = 15 * 2 * 24 * 12, 64 * 16 * 8
    free = own + photograph - 1
    monkeypatch.setattr(translating, "free_memory", lambda device: free)
    with pytest.raises(MemoryError, match="8x16"):
        translator.translate(np.zeros((1, 16, 8, 3), np.uint8))
    free += 1
    assert translator.translate(np.zeros((1, 16, 8, 3), np.uint8)).shape == (1, 16, 8, 3)
