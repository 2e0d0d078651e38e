"""Where the sky is, on images made by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from darkside_cli.networks.sky import least_above, sky_mask


def checkered(side: int = 32, cell: int = 4) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return ((rows // cell + columns // cell) % 2).float().expand(1, 3, side, side) * 0.6 + 0.2


def test_the_least_so_far() -> None:
    x = torch.rand(2, 1, 300, 3)
    assert torch.equal(least_above(x), x.cummin(2).values)


def test_sky_is_smooth_bright_and_goes_all_the_way_up() -> None:
    day = torch.full((1, 3, 48, 48), 0.8)
    day[..., 16:32, :] = checkered(48)[..., 16:32, :] * 0.3  # houses
    sky = sky_mask(day)[0, 0]
    assert sky[:10].min() > 0.8
    assert sky[34:].max() < 0.2, "a bright square below the houses is no sky"
    blue = torch.tensor([0.1, 0.25, 0.6]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    assert sky_mask(blue).min() > 0.5
    assert sky_mask(torch.full((1, 3, 32, 32), 0.1)).max() < 0.05
