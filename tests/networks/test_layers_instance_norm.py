"""Instance norm by way of group norm is torch's, with right gradients in any memory order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from darkside_cli.networks.layers import OrderKeepingInstanceNorm2d, keep_memory_order


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("last", [False, True])
def test_it_is_instance_norm(batch: int, last: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)).double()
    image = torch.randn(batch, 3, 12, 11, dtype=torch.float64)
    network(image).square().mean().backward()
    expected = [parameter.grad.clone() for parameter in network.parameters()]
    output = network(image).detach()
    network.zero_grad()
    keep_memory_order(network)
    assert type(network[1]) is OrderKeepingInstanceNorm2d
    if last:
        network.to(memory_format=torch.channels_last)
        image = image.contiguous(memory_format=torch.channels_last)
    features = network[1](network[0](image))
    assert features.is_contiguous(memory_format=torch.channels_last) == last
    torch.testing.assert_close(network(image), output)
    network(image).square().mean().backward()
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)


def test_norms_with_parameters_or_statistics_are_torchs() -> None:
    layer = nn.InstanceNorm2d(2, affine=True, track_running_stats=True)
    keep_memory_order(layer)
    layer(torch.randn(1, 2, 4, 4))
    assert layer.running_var is not None
    assert not torch.equal(layer.running_var, torch.ones(2))
