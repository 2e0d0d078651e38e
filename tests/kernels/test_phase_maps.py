"""Maps in column phases: convolutions of every odd size against torch's, in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from darkside_cli.kernels import phase_maps
from darkside_cli.kernels.phase_maps import PhaseMap, convolve, into, into_pooled
from darkside_cli.kernels.winograd import WinogradConvolution

TILES = [(2, 2), (2, 4), (4, 4)]


def new_map(height: int, width: int, channels: int, tile: tuple[int, int]) -> PhaseMap:
    """A map in memory that is full of NaN, as memory may be."""
    memory = torch.full((PhaseMap.size(height, width, channels, tile) + 5,), torch.nan)
    return PhaseMap(height, width, channels, tile, memory)


def filled(x: torch.Tensor, tile: tuple[int, int]) -> PhaseMap:
    """Map with the values of ``x`` (1, C, H, W)."""
    _, channels, height, width = x.shape
    result = new_map(height, width, channels, tile)
    inner = result.part(0, height)
    for column in range(width):
        inner[column % tile[1], :, column // tile[1]] = x[0, :, :, column].T
    result.finish()
    return result


@settings(max_examples=60, deadline=None)
@given(
    tile=st.sampled_from(TILES),
    height=st.integers(1, 21),
    width=st.integers(1, 27),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 6)),
    pooled=st.booleans(),
    tiles_per_band=st.sampled_from([1, 2, 3, 64]),
    seed=st.integers(0, 9),
)
def test_convolution_relu_and_pooling(
    tile: tuple[int, int],
    height: int,
    width: int,
    channels: tuple[int, int],
    pooled: bool,
    tiles_per_band: int,
    seed: int,
) -> None:
    """However the map is cut into bands, and whatever its memory held before."""
    if pooled and min(height, width) < 2:
        return
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, channels[0], height, width, generator=generator)
    weight = torch.randn(channels[1], channels[0], 3, 3, generator=generator)
    bias = torch.randn(channels[1], generator=generator)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1).relu()
    if pooled:
        expected = F.max_pool2d(expected, 2)
    target = new_map(expected.shape[2], expected.shape[3], channels[1], tile)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phase_maps, "TILES_PER_BAND", tiles_per_band)
        finish = into_pooled(target, bias) if pooled else into(target, bias)
        convolve(filled(x, tile), WinogradConvolution(weight, tile), finish)
    target.finish()
    torch.testing.assert_close(target.to_plain().double(), expected, atol=2e-4, rtol=1e-4)
    # Everything around is zero: the next convolution reads it.
    around = target.values.clone()
    around[:, 1 : 1 + target.height, 1:-1] = 0
    assert (around == 0).all()
    surplus = target.width % tile[1]
    if surplus:
        assert (target.values[surplus:, :, -2] == 0).all()


def test_plain_copy_is_channels_last_for_torch() -> None:
    x = torch.randn(1, 3, 5, 9)
    y = filled(x, (4, 4)).to_plain()
    torch.testing.assert_close(y, x, atol=0, rtol=0)
    assert y.is_contiguous(memory_format=torch.channels_last)
