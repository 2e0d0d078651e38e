from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import gaussian_noise as noise
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.kernels.residual_trunk import ResidualTrunk
from darkside_cli.kernels.row_convolution import RawMap

TILES = list(itertools.product((2, 4), (2, 4)))
Block = tuple[nn.Conv2d, nn.Module, nn.Conv2d, nn.Module]


def block(channels: int, norm: str, seed: int) -> Block:
    torch.manual_seed(seed)

    def pair() -> tuple[nn.Conv2d, nn.Module]:
        layer = nn.BatchNorm2d(channels).eval() if norm == "batch" else nn.InstanceNorm2d(channels)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = torch.randn(channels)
            layer.running_var = torch.rand(channels) + 0.5
            nn.init.normal_(layer.bias)
        return nn.Conv2d(channels, channels, 3), layer

    return (*pair(), *pair())


def by_definition(x: Tensor, blocks: list[Block], padding: str) -> Tensor:
    """``x`` (1, C, H, W) float64."""

    def padded(y: Tensor) -> Tensor:
        return F.pad(y, (1, 1, 1, 1), mode="constant" if padding == "zero" else padding)

    for first, first_norm, second, second_norm in blocks:
        for module in (first, first_norm, second, second_norm):
            module.double()
        y = first_norm(first(padded(x))).relu()
        x = x + second_norm(second(padded(y)))
        for module in (first, first_norm, second, second_norm):
            module.float()
    return x.detach()


def run(trunk: ResidualTrunk, x: RawMap) -> Tensor:
    height, width, channels = x.sums.shape
    shape = trunk.buffer_shape(height, width, channels)
    # What the last image left behind must not matter.
    buffers = [torch.full(shape, float("nan")) for _ in range(4)]
    out = torch.full((height, width, channels), float("nan"))
    trunk(x, buffers, out)
    return out


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_blocks_are_those_of_the_definition(tile: tuple[int, int], padding: str, norm: str) -> None:
    blocks = [block(3, norm, seed) for seed in range(3)]
    scale, shift = noise(3, seed=1), noise(3, seed=2)
    x = RawMap(noise(11, 14, 3), scale, shift)
    dense = (x.sums.double() * scale + shift).relu().permute(2, 0, 1)[None]
    out = run(ResidualTrunk(blocks, padding=padding, tile=tile), x)
    expected = by_definition(dense, blocks, padding)
    torch.testing.assert_close(out.permute(2, 0, 1)[None].double(), expected, atol=5e-4, rtol=1e-3)


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(2, 40),
    width=st.integers(2, 150),
    channels=st.integers(1, 4),
    tile=st.sampled_from(TILES),
    padding=st.sampled_from(["reflect", "replicate", "zero"]),
)
def test_any_size(height: int, width: int, channels: int, tile: tuple[int, int], padding: str) -> None:
    blocks = [block(channels, "batch", 0)]  # instance norm of a few pixels would magnify rounding
    x = RawMap(noise(height, width, channels), None, None, relu=False)
    out = run(ResidualTrunk(blocks, padding=padding, tile=tile), x)
    expected = by_definition(x.sums.permute(2, 0, 1)[None].double(), blocks, padding)
    torch.testing.assert_close(out.permute(2, 0, 1)[None].double(), expected, atol=1e-4, rtol=1e-4)


def test_the_input_stays_as_it_is() -> None:
    sums = noise(9, 9, 2)
    before = sums.clone()
    run(ResidualTrunk([block(2, "instance", 0)], padding="reflect", tile=(2, 2)), RawMap(sums, None, None))
    assert torch.equal(sums, before)


def test_no_block_is_refused() -> None:
    with pytest.raises(ValueError, match="block"):
        run(ResidualTrunk([], padding="reflect", tile=(2, 2)), RawMap(noise(4, 4, 2), None, None))
