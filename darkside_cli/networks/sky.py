"""Where the sky is in an image by day, by its colours, its smoothness and its place: no network, no weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from darkside_cli.images.tensors import box_mean, luminance

_STRICT, _LOOSE = 0.08, 0.17
"""Texture up to which something is certainly sky, and up to which clouds are, where they touch it."""
_STEPS, _STEP_PX = 16, 9
"""How often the sky spreads, and in windows of how many pixels (of two of the image)."""
_GAP_PX = 7
"""Gaps that are closed: outlines of clouds."""
_AROUND_PX, _RIM_PX, _ALIKE, _SOME_SKY = 15, 9, 0.12, 0.02
"""Windows in which the sky's colour is found and its rim looked for; how much that may differ; the least sky."""
_LEAST_SURE = 0.35
"""Below this likelihood nothing is sky; as far below 1, all is."""
_DOUBLINGS = 12
"""Enough for images of 4096 rows."""


@torch.no_grad()
def sky_mask(day: Tensor) -> Tensor:
    """How much each pixel of ``day`` ``(B, 3, H, W)`` in [0, 1] looks like sky, ``(B, 1, H, W)`` in [0, 1].

    It begins where all is smooth, and bright or blue, all the way up; spreads from there, behind branches and over
    clouds; and goes as far as the colours of the sky around do: next to roofs nothing is smooth.
    """
    x = F.avg_pool2d(F.pad(day, (0, day.shape[-1] % 2, 0, day.shape[-2] % 2), mode="replicate"), 2)
    y = luminance(x)
    across, down = (y[..., 1:] - y[..., :-1]).abs(), (y[..., 1:, :] - y[..., :-1, :]).abs()
    edges = F.pad(across, (0, 1)) + F.pad(down, (0, 0, 0, 1))
    texture = box_mean(F.max_pool2d(edges, 3, 1, 1), 3)
    blue = torch.sigmoid((x[:, 2:] - x[:, :1] - 0.04) * 30) * torch.sigmoid((y - 0.2) * 20)
    coloured = torch.maximum(torch.sigmoid((y - 0.45) * 14), blue)
    sky = least_above(box_mean(torch.sigmoid((_STRICT - texture) * 60) * coloured, 3))
    passable = torch.sigmoid((_LOOSE - texture) * 50) * coloured
    for _ in range(_STEPS):
        sky = torch.maximum(sky, torch.minimum(spread(sky, _STEP_PX), passable))
    closed = -spread(-spread(sky, _GAP_PX), _GAP_PX)
    sky = torch.maximum(sky, torch.minimum(closed, coloured))
    around = box_mean(torch.cat([x * sky, sky], 1), _AROUND_PX)
    distance = (x - around[:, :3] / around[:, 3:].clamp(min=1e-4)).square().sum(1, keepdim=True)
    alike = torch.exp(-distance / _ALIKE**2) * (around[:, 3:] > _SOME_SKY)
    sky = ((torch.maximum(sky, spread(sky, _RIM_PX) * alike) - _LEAST_SURE) / (1 - 2 * _LEAST_SURE)).clamp(
        0, 1
    )
    large = F.interpolate(sky, scale_factor=2.0, mode="bilinear")
    return large[..., : day.shape[-2], : day.shape[-1]]


def spread(x: Tensor, side: int) -> Tensor:
    """The largest value of ``x`` ``(B, C, H, W)`` in square windows of an odd ``side``."""
    rows = F.max_pool2d(x, (1, side), stride=1, padding=(0, side // 2))
    return F.max_pool2d(rows, (side, 1), stride=1, padding=(side // 2, 0))


def least_above(x: Tensor) -> Tensor:
    """The least value of each column of ``x`` ``(B, C, H, W)`` from its top down to each row."""
    for doubling in range(_DOUBLINGS):  # torch.cummin is nothing that files of ONNX know
        by = 2**doubling
        x = torch.minimum(x, F.pad(x, (0, 0, by, 0), value=torch.inf)[..., :-by, :])
    return x
