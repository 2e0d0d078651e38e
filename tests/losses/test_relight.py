"""Losses of the relighting generator, by numbers that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darkside_cli.losses import relight as losses


def checkered(side: int = 32, cell: int = 4) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return ((rows // cell + columns // cell) % 2).float().expand(1, 3, side, side) * 0.6 + 0.2


def test_no_edge_is_lost_where_the_day_is_only_dimmed_or_turned_over() -> None:
    day = checkered()
    assert losses.lost_edges(day * 0.25, day) == pytest.approx(0, abs=0.01)
    assert losses.lost_edges(1 - day, day) == pytest.approx(0, abs=1e-3), "which side is brighter is free"
    assert losses.lost_edges(torch.full_like(day, 0.1), day) == pytest.approx(1, abs=1e-3)


def test_new_edges_are_free() -> None:
    day = torch.full((1, 3, 32, 32), 0.5)
    assert losses.lost_edges(checkered(), day) == 0


def test_edges_are_compared_with_their_surroundings_and_give_the_day_no_gradient() -> None:
    day = checkered().requires_grad_()
    night = (checkered() * 0.5).requires_grad_()
    losses.lost_edges(night, day).backward()
    assert day.grad is None
    assert night.grad is not None
    # Half of the image dimmed to an eighth keeps its edges, since they are judged by what is around them.
    dimmed = checkered()
    dimmed[..., 16:] *= 0.125
    flat = checkered()
    flat[..., 16:] = 0.5
    assert losses.lost_edges(dimmed, checkered()) < 0.4 * losses.lost_edges(flat, checkered())


def test_light_in_the_sky_counts_and_elsewhere_does_not() -> None:
    night, none = torch.full((1, 3, 16, 16), 0.1), torch.zeros(1, 3, 16, 16)
    sky = torch.zeros(1, 1, 16, 16)
    sky[..., :4, :] = 1
    lamp = none.clone()
    lamp[..., 15, 3] = 1
    assert losses.lit_sky(night, lamp, sky) == 0
    lamp[..., 1, 3] = 1
    assert losses.lit_sky(night, lamp, sky) == pytest.approx(3 / 256)
    bright = torch.full_like(night, 0.24)
    assert losses.lit_sky(bright, none, sky) == pytest.approx(0.1 * 4 / 16)
    brown = night.clone()
    brown[:, 2] = 0
    assert losses.lit_sky(brown, none, sky) == pytest.approx(0.1 * 4 / 16)


def test_leaves_are_green() -> None:
    image = torch.tensor([[0.2, 0.5, 0.2], [0.5, 0.5, 0.5], [0.6, 0.4, 0.1]]).T.view(1, 3, 1, 3)
    leaf, grey, brick = losses.foliage_mask(image).flatten().tolist()
    assert leaf > 0.99
    assert grey < 0.3
    assert brick < 0.01


def test_a_small_lamp_is_free_and_a_ball_of_light_is_not() -> None:
    light = torch.zeros(1, 3, 40, 40)
    light[..., 20:22, 20:23] = 1.0  # 6 of 81 pixels
    assert losses.large_lamps(light) == 0
    light[..., 10:30, 10:30] = 1.0
    assert losses.large_lamps(light) > 0.2
