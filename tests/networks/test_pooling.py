from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from darkside_cli.networks.pooling import (
    L2Normalise,
    MaxPool,
    MeanPool,
    Region,
    RegionalPool,
    RMac,
    l2_normalise,
    region_grid,
)


def test_mac_and_spoc() -> None:
    x = torch.tensor([[[[1.0, -2.0], [3.0, 4.0]], [[-5.0, -6.0], [-7.0, -8.0]]]])
    assert MaxPool()(x).tolist() == [[4.0, -5.0]]
    assert MeanPool()(x).tolist() == [[1.5, -6.5]]


@pytest.mark.parametrize("pool", [MaxPool(), MeanPool(), RMac()])
def test_half_precision_is_pooled_in_single(pool: nn.Module) -> None:
    assert pool(torch.ones(1, 2, 3, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_unit_length_with_epsilon() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    expected = torch.tensor([[3.0, 4.0], [0.0, 0.0]]) / torch.tensor([[5.5], [1.0]])
    torch.testing.assert_close(l2_normalise(x, eps=0.5), expected)
    maps = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    expected = torch.tensor([0.6, 0.8]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    torch.testing.assert_close(L2Normalise()(maps), expected)
    assert repr(L2Normalise()) == "L2Normalise(eps=1e-06)"


def test_grid_of_a_square() -> None:
    """Sides 4, 8/3 and 2: one region, 2 x 2, 3 x 3."""
    assert region_grid(4, 4) == [
        Region(0, 0, 4, 4),
        Region(0, 0, 4, 4),
        *(Region(top, left, 2, 2) for top in (0, 2) for left in (0, 2)),
        *(Region(top, left, 2, 2) for top in (0, 1, 2) for left in (0, 1, 2)),
    ]


def test_grid_of_an_oblong() -> None:
    """Two squares of 4 in a row of 6 overlap by 50 %, three by 75 %: two it is. One more per level then."""
    assert region_grid(4, 6) == [
        Region(0, 0, 4, 6),
        *(Region(0, left, 4, 4) for left in (0, 2)),
        *(Region(top, left, 2, 2) for top in (0, 2) for left in (0, 2, 4)),
        *(Region(top, left, 2, 2) for top in (0, 1, 2) for left in (0, 1, 2, 4)),
    ]


@pytest.mark.parametrize(
    ("long", "count"),
    [
        (10, 1),
        (11, 2),
        (16, 2),  # overlap 40 % exactly
        (17, 2),  # 30 %; three would be 65 %
        (19, 3),  # two would be 10 %, three 55 %
        (20, 3),  # two would be 0 %, three 50 %
        (100, 7),  # never more
    ],
)
def test_regions_on_the_longer_side(long: int, count: int) -> None:
    assert len(region_grid(10, long, levels=1)) == 1 + count


def test_levels_that_would_be_empty_are_left_out() -> None:
    assert region_grid(1, 1) == [Region(0, 0, 1, 1), Region(0, 0, 1, 1)]


sides = st.integers(1, 60)


@given(sides, sides, st.integers(1, 5))
def test_grid_properties(height: int, width: int, levels: int) -> None:
    whole, *squares = region_grid(height, width, levels)
    assert whole == Region(0, 0, height, width)
    for square in squares:
        assert 0 < square.height == square.width <= min(height, width)
        assert 0 <= square.top <= height - square.height
        assert 0 <= square.left <= width - square.width
    largest = [square for square in squares if square.height == min(height, width)]
    assert max(square.top + square.height for square in largest) == height
    assert max(square.left + square.width for square in largest) == width
    turned = {(r.left, r.top, r.width, r.height) for r in region_grid(width, height, levels)}
    assert turned == {(r.top, r.left, r.height, r.width) for r in (whole, *squares)}


def test_rmac_by_hand() -> None:
    """2x2 positions, one level: the whole and one region, which is the whole again."""
    x = torch.tensor([[[[3.0, 0.0], [0.0, 1.0]], [[0.0, 4.0], [2.0, 0.0]]]])
    unit = torch.tensor([[0.6, 0.8]])
    torch.testing.assert_close(RMac(levels=1)(x), 2 * unit)
    # Two levels add the four single positions: sides of 4 // 3 = 1.
    torch.testing.assert_close(RMac(levels=2)(x), 2 * unit + torch.tensor([[2.0, 2.0]]))


def test_regional_pooling_by_hand() -> None:
    x = torch.tensor([[[[3.0, 0.0], [0.0, 1.0]], [[0.0, 4.0], [2.0, 0.0]]]])
    pooled = RegionalPool(MaxPool(), levels=2)(x)
    total = 2 * torch.tensor([[0.6, 0.8]]) + torch.tensor([[2.0, 2.0]])
    torch.testing.assert_close(pooled, total / total.norm(), rtol=1e-5, atol=1e-5)


def test_regions_are_whitened_one_by_one() -> None:
    """The whitening takes (1, 0) to (0, 2) and everything else with it: turned, scaled, then unit length."""
    whiten = nn.Linear(2, 2)
    with torch.no_grad():
        whiten.weight.copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
        whiten.bias.copy_(torch.tensor([0.0, 1.0]))
    pool = RegionalPool(MeanPool(), whiten, levels=1)
    x = torch.stack([torch.full((2, 2), -3.0), torch.full((2, 2), 4.0)])[None]  # unit (-0.6, 0.8)
    torch.testing.assert_close(pool.regions(x), torch.tensor([[[0.0, -1.0], [0.0, -1.0]]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(pool(x), torch.tensor([[0.0, -1.0]]), atol=1e-4, rtol=0)
    assert list(pool.state_dict()) == ["whiten.weight", "whiten.bias"]


@given(st.integers(1, 3), sides, sides)
@settings(deadline=None, max_examples=25)
def test_images_of_a_batch_do_not_mix(batch: int, height: int, width: int) -> None:
    x = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    for pool in (RMac(), RegionalPool(MeanPool())):
        alone = torch.cat([pool(image[None]) for image in x])
        torch.testing.assert_close(pool(x), alone)
    norms = RegionalPool(MaxPool())(x).norm(dim=1).tolist()
    assert all(math.isclose(norm, 1, abs_tol=1e-5) for norm in norms)
