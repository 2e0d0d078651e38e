from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import noise
from torch import Tensor, nn

from darkside_cli.kernels import dispatch
from darkside_cli.kernels.dispatch import PlainNetwork, prepare
from darkside_cli.kernels.fast_generator import FastGenerator
from darkside_cli.networks.configs import ResnetGeneratorConfig, UnetGeneratorConfig
from darkside_cli.networks.generator import ResidualBlock, ResnetGenerator
from darkside_cli.networks.unet import UnetGenerator

TINY = ResnetGeneratorConfig(ngf=4, n_blocks=2)
TILES = sorted(set(dispatch.TILES.values()))


def generator(config: ResnetGeneratorConfig = TINY, seed: int = 0) -> ResnetGenerator:
    torch.manual_seed(seed)
    network = ResnetGenerator(config).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features)
            module.running_var = torch.rand(module.num_features) + 0.5
            nn.init.normal_(module.bias)
    return network


@torch.no_grad()
def exact(network: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = deepcopy(network).double()(x.double())
    return y


configs = st.builds(
    ResnetGeneratorConfig,
    in_channels=st.integers(1, 4),
    out_channels=st.integers(1, 4),
    ngf=st.integers(1, 5),
    n_blocks=st.integers(1, 3),
    norm=st.sampled_from(["instance", "batch"]),
    antialias_down=st.booleans(),
    antialias_up=st.booleans(),
    dropout=st.booleans(),
    padding=st.sampled_from(["reflect", "replicate", "zero"]),
)


@settings(deadline=None, max_examples=15)
@given(
    config=configs,
    batch=st.integers(1, 3),
    height=st.integers(8, 44),
    width=st.integers(8, 70),
    tile=st.sampled_from(TILES),
)
def test_same_as_the_plain_network(
    config: ResnetGeneratorConfig, batch: int, height: int, width: int, tile: tuple[int, int]
) -> None:
    network = generator(config)
    x = noise(batch, config.in_channels, height, width)
    y = FastGenerator(network, tile)(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), exact(network, x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("tile", "times"), [((2, 2), 3.0), ((4, 2), 5.0), ((4, 4), 10.0)])
def test_rounding_is_near_that_of_the_plain_network(tile: tuple[int, int], times: float) -> None:
    network = generator(ResnetGeneratorConfig(ngf=16, n_blocks=6))
    x = noise(1, 3, 48, 48)
    expected = exact(network, x)
    with torch.no_grad():
        plain = network(x)

    def error(y: Tensor) -> float:
        return float((y.double() - expected).abs().mean())

    assert error(FastGenerator(network, tile)(x)) < times * error(plain)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_images_of_one_colour(value: float, norm: str) -> None:
    """Nothing varies but through rounding, which instance norm magnifies in the plain network just so."""
    network = generator(ResnetGeneratorConfig(ngf=4, n_blocks=2, norm=norm))
    x = torch.full((1, 3, 40, 44), value)
    y = prepare(network, device="cpu")(x)
    assert y.isfinite().all()
    assert y.abs().max() <= 1
    if norm == "batch":
        torch.testing.assert_close(y.double(), exact(network, x), atol=1e-5, rtol=1e-4)


def test_images_of_a_batch_do_not_touch() -> None:
    network = prepare(generator(), device="cpu")
    x = noise(3, 3, 33, 47)
    together = network(x)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], network(x[i : i + 1]), atol=1e-6, rtol=0)
    assert network(x[:0]).shape == (0, 3, 36, 48)


def test_image_after_image_of_any_size() -> None:
    """Memory is kept from image to image: nothing of the last one may show."""
    network, plain = prepare(generator(), device="cpu"), generator()
    for height, width in [(64, 64), (17, 90), (64, 64), (70, 16), (17, 90)]:
        x = noise(1, 3, height, width, seed=height)
        torch.testing.assert_close(network(x).double(), exact(plain, x), atol=2e-5, rtol=1e-4)


def test_results_are_not_overwritten_by_the_next_image() -> None:
    network = prepare(generator(), device="cpu")
    first = network(noise(1, 3, 32, 32))
    kept = first.clone()
    network(noise(1, 3, 32, 32, seed=2))
    assert torch.equal(first, kept)


def test_inputs_that_are_not_contiguous_float32() -> None:
    network = prepare(generator(), device="cpu")
    x = noise(1, 3, 30, 40)
    expected = network(x)
    assert torch.equal(network(x.contiguous(memory_format=torch.channels_last)), expected)
    assert torch.equal(network(x.double()), expected)
    assert torch.equal(network(noise(1, 3, 30, 80)[..., :40]), network(noise(1, 3, 30, 80)[..., :40].clone()))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(threads: int) -> None:
    network, x = generator(), noise(1, 3, 48, 50)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        y = prepare(network, device="cpu")(x)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(y.double(), exact(network, x), atol=2e-5, rtol=1e-4)


def test_calls_from_several_threads() -> None:
    network = prepare(generator(), device="cpu")
    images = [noise(1, 3, 20 + 4 * i, 40, seed=i) for i in range(6)]
    expected = [network(x) for x in images]
    with ThreadPoolExecutor(3) as pool:
        for y, other in zip(pool.map(network, images), expected, strict=True):
            torch.testing.assert_close(y, other, atol=1e-6, rtol=0)


def test_modes_of_the_caller() -> None:
    network = prepare(generator(), device="cpu")
    x = noise(1, 3, 32, 32).requires_grad_()
    outside = network(x)
    assert not outside.requires_grad
    with torch.inference_mode():
        inside = network(noise(1, 3, 32, 32))
    assert torch.equal(inside, outside)
    outside.add_(1)  # an ordinary tensor
    assert torch.equal(network(x), inside)


def test_the_network_given_stays_as_it_is() -> None:
    network = generator(ResnetGeneratorConfig(ngf=4, n_blocks=1, norm="batch")).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    ours = prepare(network, device="cpu")
    y = ours(noise(1, 3, 24, 24))
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    # Evaluation mode is what it does, and with a copy of the weights.
    network.eval()
    torch.testing.assert_close(y.double(), exact(network, noise(1, 3, 24, 24)), atol=2e-5, rtol=1e-4)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(ours(noise(1, 3, 24, 24)), y)


def test_copies_and_pickles_work() -> None:
    network = prepare(generator(), device="cpu")
    x = noise(1, 3, 24, 24)
    y = network(x)
    for copy in (deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(copy(x), y, atol=1e-6, rtol=0)


def test_what_the_translator_asks_networks_for() -> None:
    plain = generator()
    network = prepare(plain, device="cpu")
    assert isinstance(network, FastGenerator)
    assert network.input_multiple == plain.input_multiple
    assert network.input_minimum_px == plain.input_minimum_px
    with pytest.raises(RuntimeError):
        network(noise(1, 3, 3, 40))  # as the plain network answers


# Precisions


def test_bf16_without_matrix_units_takes_larger_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "multiplies_bf16", lambda: False)
    network, x = generator(), noise(1, 3, 40, 40)
    y = prepare(network, device="cpu", precision="bf16")(x)
    assert not torch.equal(y, prepare(network, device="cpu")(x))
    torch.testing.assert_close(y.double(), exact(network, x), atol=1e-4, rtol=1e-4)


def test_bf16_with_matrix_units_is_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "multiplies_bf16", lambda: True)
    network, x = generator(), noise(1, 3, 40, 40)
    ours = prepare(network, device="cpu", precision="bf16")
    assert isinstance(ours, PlainNetwork)
    y = ours(x)
    assert (y.dtype, y.is_contiguous()) == (torch.float32, True)
    error = (y.double() - exact(network, x)).abs().mean()
    assert 1e-4 < error < 0.05
    assert isinstance(prepare(network, device="cpu"), FastGenerator)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_networks(precision: str) -> None:
    torch.manual_seed(0)
    network = UnetGenerator(UnetGeneratorConfig(num_downs=5, ngf=2)).eval()
    x = noise(1, 3, 64, 32)
    y = prepare(network, device="cpu", precision=precision)(x)
    with torch.no_grad():
        torch.testing.assert_close(y, network(x), atol=0.1 if precision == "bf16" else 1e-6, rtol=0)


def test_a_network_in_training_is_copied() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.5))
    ours = prepare(network, device="cpu")
    assert network.training
    assert ours is not network
    x = noise(1, 3, 5, 5)
    torch.testing.assert_close(ours(x), network[0](x))
    assert prepare(network.eval(), device="cpu") is network


def test_every_convolution_of_the_generator_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of torch's own convolutions runs, or speed is lost without anyone noticing."""

    def refuse(*_: object, **__: object) -> Tensor:
        raise AssertionError("a module of the plain network ran")

    network = prepare(generator(), device="cpu")
    for kind in (nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d, ResidualBlock):
        monkeypatch.setattr(kind, "forward", refuse)
    network(noise(1, 3, 32, 32))


@pytest.mark.slow  # of importing the compiler
def test_compilers_get_the_plain_modules() -> None:
    network, x = generator(), noise(1, 3, 32, 32)
    compiled = torch.compile(prepare(network, device="cpu"), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x).double(), exact(network, x), atol=2e-5, rtol=1e-4)
