from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import noise
from torch import nn

from darkside_cli.errors import ConfigError, UsageError
from darkside_cli.networks.configs import UnetGeneratorConfig
from darkside_cli.networks.unet import SkipLevel, UnetGenerator, recognise

TINY = UnetGeneratorConfig(num_downs=5, ngf=1)


def seeded(config: UnetGeneratorConfig) -> UnetGenerator:
    torch.manual_seed(0)
    return UnetGenerator(config).eval()


def test_a_level_hands_its_input_on_beside_the_result() -> None:
    level = SkipLevel(2, 4, "batch").eval()
    for module in level.modules():
        if isinstance(module, nn.ConvTranspose2d):
            nn.init.zeros_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data = torch.tensor([3.0, -1.0])
    x = noise(1, 2, 4, 6)
    y = level(x)
    assert torch.equal(y[:, :2], x)
    assert torch.equal(y[:, 2:], torch.tensor([3.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 6))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_leaky_relus_in_place_would_give_the_same(norm: str) -> None:
    ours = seeded(UnetGeneratorConfig(num_downs=5, ngf=2, norm=norm))
    x = noise(2, 3, 64, 32)
    expected = ours(x)
    for module in ours.modules():
        if isinstance(module, nn.LeakyReLU):
            module.inplace = True
    with torch.no_grad():
        assert torch.equal(ours(x), expected)


def test_output_has_the_size_of_the_input() -> None:
    output = seeded(TINY)(noise(2, 3, 32, 96))
    assert output.shape == (2, 3, 32, 96)
    assert output.abs().max() <= 1


def test_sides_that_do_not_fit_are_refused_with_the_next_step() -> None:
    with pytest.raises(UsageError, match="40x32 pixels do not fit") as raised:
        seeded(TINY)(noise(1, 3, 32, 40))
    assert raised.value.hint == "pad or crop the sides to multiples of 32"


def test_dropout_sits_in_the_widest_levels_but_the_innermost() -> None:
    network = seeded(UnetGeneratorConfig(num_downs=7, ngf=1, dropout=True))
    places = [name for name, module in network.named_modules() if isinstance(module, nn.Dropout)]
    widest = "model.model.1" + ".model.3" * 3
    assert places == [f"{widest}.model.3.model.7", f"{widest}.model.7"]
    x = noise(1, 3, 128, 128)
    assert torch.equal(network(x), network(x))


@settings(deadline=None, max_examples=40)
@given(
    config=st.builds(
        UnetGeneratorConfig,
        in_channels=st.integers(1, 4),
        out_channels=st.integers(1, 4),
        num_downs=st.integers(5, 9),
        ngf=st.integers(1, 5),
        norm=st.sampled_from(["instance", "batch"]),
    )
)
def test_configuration_is_recognised_from_the_shapes(config: UnetGeneratorConfig) -> None:
    with torch.device("meta"):
        state = UnetGenerator(config).state_dict()
    assert recognise({key: tuple(tensor.shape) for key, tensor in state.items()}) == config


def test_others_are_not_recognised() -> None:
    assert recognise({}) is None
    shallow = {"model.model.0.weight": (4, 3, 4, 4), "model.model.3.weight": (8, 3, 4, 4)}
    assert recognise(shallow) is None


def test_gradients_reach_every_parameter() -> None:
    network = seeded(TINY).train()
    (network(noise(2, 3, 64, 64)) * noise(2, 3, 64, 64)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_too_few_levels_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_downs must be a whole number from 5 to 12"):
        UnetGeneratorConfig(num_downs=4)
