from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import gaussian_noise as noise
from torch import Tensor
from torch.nn import functional as F

from darkside_cli.kernels.winograd import POINTS, WinogradConvolution, minimal_filter

SIZES = sorted(POINTS)
TILES = list(itertools.product(SIZES, SIZES))


def test_two_outputs_by_hand() -> None:
    # Points 0, 1, -1 and infinity: four products where a sum by definition takes six.
    at, g, bt = minimal_filter(2)
    assert at.tolist() == [[1, 1, 1, 0], [0, 1, -1, 1]]
    assert g.tolist() == [[-1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]
    assert bt.tolist() == [[-1, 0, 1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
    signal, taps = torch.tensor([1.0, 2, 3, 4]).double(), torch.tensor([1.0, 10, 100]).double()
    assert (at @ ((g @ taps) * (bt @ signal))).tolist() == [321, 432]


numbers = st.floats(-100, 100, width=32)


@settings(deadline=None, max_examples=50)
@given(data=st.data(), m=st.sampled_from(SIZES))
def test_minimal_filters_filter(data: st.DataObject, m: int) -> None:
    at, g, bt = minimal_filter(m)
    signal = torch.tensor(data.draw(st.lists(numbers, min_size=m + 2, max_size=m + 2)), dtype=torch.float64)
    taps = torch.tensor(data.draw(st.lists(numbers, min_size=3, max_size=3)), dtype=torch.float64)
    expected = F.conv1d(signal.view(1, 1, -1), taps.view(1, 1, -1)).flatten()
    torch.testing.assert_close(at @ ((g @ taps) * (bt @ signal)), expected, rtol=1e-12, atol=1e-9)


def test_there_are_no_other_sizes() -> None:
    with pytest.raises(KeyError):
        minimal_filter(3)


def in_phases(x: Tensor, mh: int) -> Tensor:
    """(rows, columns, C) to (mh, rows, tiles, C)."""
    return x.reshape(x.shape[0], -1, mh, x.shape[2]).permute(2, 0, 1, 3).contiguous()


def in_columns(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(1, 2)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize(
    ("repeat", "tiles", "channels", "outputs"), [(1, 1, 1, 1), (1, 5, 3, 4), (3, 2, 4, 3)]
)
def test_rows_are_those_of_the_convolution(
    tile: tuple[int, int], repeat: int, tiles: int, channels: int, outputs: int
) -> None:
    mv, mh = tile
    weight = noise(outputs, channels, 3, 3)
    x = noise(repeat * mv + 2, mh * (tiles + 2), channels)
    expected = F.conv2d(x.permute(2, 0, 1)[None].double(), weight.double())[0].permute(1, 2, 0)
    phases = in_phases(x, mh)
    # Of the tiles before and behind only the nearest column counts.
    phases[: mh - 1, :, 0] = float("nan")
    phases[1:, :, -1] = float("nan")
    y = torch.full((repeat * mv, mh, tiles, outputs), float("nan"))
    WinogradConvolution(weight, tile).rows(phases, y)
    ours = in_columns(y).double()
    torch.testing.assert_close(ours, expected[:, mh - 1 : mh - 1 + mh * tiles], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("tile", "times"), [((2, 2), 2.5), ((4, 2), 5), ((4, 4), 10)])
def test_rounding_is_a_small_multiple_of_the_direct_sums(tile: tuple[int, int], times: float) -> None:
    mv, mh = tile
    weight = noise(64, 64, 3, 3) / 24
    x = noise(2 * mv + 2, mh * 10, 64)
    planar = x.permute(2, 0, 1)[None]
    exact = F.conv2d(planar.double(), weight.double())[0].permute(1, 2, 0)
    direct = F.conv2d(planar, weight)[0].permute(1, 2, 0)
    y = torch.empty(2 * mv, mh, 8, 64)
    WinogradConvolution(weight, tile).rows(in_phases(x, mh), y)
    kept = slice(mh - 1, mh - 1 + 8 * mh)

    def error(values: Tensor) -> float:
        return float((values.double() - exact[:, kept]).square().mean().sqrt())

    assert error(in_columns(y)) < times * error(direct[:, kept])
