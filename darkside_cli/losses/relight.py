"""Losses of a relighting generator: what must stay of the day, and where light may be.

All take images ``(B, 3, H, W)`` RGB in [0, 1] and give scalars; the day gets no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from darkside_cli.images.tensors import box_mean, luminance

_WINDOW_PX = 15
_VISIBLE = 4e-5
"""Mean squared gradient below which there is nothing to see: differences of a 160th of the range."""
_LAMP_PX = 9
_LAMP_SHARE = 0.08
"""How much light there may be, on the average, in a window of so many pixels: a lamp, but no ball of light."""
_DARK_SKY = 0.14
_CLOUDS = 0.5
"""How much less edges count in the sky."""


def gradients(images: Tensor) -> Tensor:
    """Differences to the right and downwards, ``(B, 2, H, W)``, divided by their root mean square all around."""
    y = luminance(images)
    right, down = F.pad(y[..., 1:] - y[..., :-1], (0, 1)), F.pad(y[..., 1:, :] - y[..., :-1, :], (0, 0, 0, 1))
    both = torch.cat([right, down], 1)
    around = box_mean(both.square().sum(1, keepdim=True), _WINDOW_PX)
    return both / torch.sqrt(around + _VISIBLE)


def lost_edges(night: Tensor, day: Tensor, sky: Tensor | None = None) -> Tensor:
    """How much weaker the night's edges are than the day's, each in its surroundings; edges that are new are free.

    Weighted by the day's edges: 0 if none is weaker, 1 if all are gone. Which side is brighter makes no difference.
    Clouds may fade: edges within the ``sky`` (:func:`sky_mask`) count less.
    """
    with torch.no_grad():
        by_day = gradients(day)
        strength = by_day.norm(dim=1, keepdim=True)
        wanted = strength.clamp(max=3)
        weight = wanted if sky is None else wanted * (1 - _CLOUDS * sky)
    along = (by_day * gradients(night)).sum(1, keepdim=True).abs() / (strength + 1e-4)
    lost: Tensor = (F.relu(wanted - along) * weight).mean() / (wanted * weight).mean().clamp(min=1e-3)
    return lost


@torch.no_grad()
def foliage_mask(day: Tensor) -> Tensor:
    """How green each pixel is, ``(B, 1, H, W)`` in [0, 1]."""
    red, green, blue = day.chunk(3, 1)
    return torch.sigmoid((green - torch.maximum(red, blue) - 0.06) * 80)


def lit_sky(night: Tensor, light: Tensor, sky: Tensor) -> Tensor:
    """Light in the sky: lamps (``light``, linear), what is brighter than a night sky, and what is redder than blue.

    ``sky`` is that of :func:`sky_mask`.
    """
    too_bright = F.relu(night - _DARK_SKY).mean(1, keepdim=True)
    too_red = F.relu(night[:, :1] - night[:, 2:])
    return (sky * (light.sum(1, keepdim=True) + too_bright + too_red)).mean()


def large_lamps(light: Tensor) -> Tensor:
    """Where added ``light`` ``(B, 3, H, W)`` fills a window more than lamps and windows do."""
    return F.relu(box_mean(light.amax(1, keepdim=True), _LAMP_PX) - _LAMP_SHARE).mean()
