from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from darkside_cli.networks.layers import initialise


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.InstanceNorm2d(4),
        nn.ConvTranspose2d(4, 2, 3),
        nn.Linear(2, 5),
    )


def test_normal_draws_in_order_of_registration() -> None:
    net = initialise(network(), "normal", gain=0.5, seed=7)
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.5

    torch.testing.assert_close(net[0].weight.detach(), draw(4, 3, 3, 3))
    torch.testing.assert_close(net[1].weight.detach(), 1 + draw(4))
    torch.testing.assert_close(net[3].weight.detach(), draw(4, 2, 3, 3))
    torch.testing.assert_close(net[4].weight.detach(), draw(5, 2))
    assert all(not net[i].bias.any() for i in (0, 1, 3, 4))


def test_kaiming_has_the_deviation_of_its_fan_in() -> None:
    net = initialise(nn.Conv2d(32, 64, 5), "kaiming", seed=1)
    assert net.weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 25)), rel=0.01)


def test_equal_seeds_make_equal_networks_and_others_not() -> None:
    first, second, other = (initialise(network(), "kaiming", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first[0].weight, second[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)


def test_global_stream_stays() -> None:
    before = torch.random.get_rng_state()
    net = network()
    after_building = torch.random.get_rng_state()
    initialise(net, "kaiming")
    initialise(net, "normal")
    assert torch.equal(torch.random.get_rng_state(), after_building)
    torch.random.set_rng_state(before)


def test_trainable_as_before() -> None:
    net = initialise(network())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert net[0].weight.is_leaf


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="normal, kaiming"):
        initialise(network(), "xavier")  # type: ignore[arg-type]
