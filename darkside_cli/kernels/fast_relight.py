"""A relighting generator on the CPU: its maps as they are, and what they do to a large image in bands of rows.

At full size each pixel goes through some forty small operations. Done for the whole image one after the other, each
waits for memory; done for a band of rows, what one wrote is in the cache for the next.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.kernels.bands import for_each_band
from darkside_cli.networks.guided import coefficients
from darkside_cli.networks.layers import without_autocast
from darkside_cli.networks.light import smooth, to_linear, to_srgb
from darkside_cli.networks.relight import LOG_GAIN, RelightGenerator, dark_sky, shrunk

_BAND_VALUES = 1 << 16
"""Pixels of a band: about a megabyte of floats in all, which a core's cache holds."""


class FastRelight(nn.Module):
    """``generator`` in eval mode, in float32. Its :attr:`controls` go on being looked at."""

    def __init__(self, generator: RelightGenerator) -> None:
        super().__init__()
        self.generator = generator
        self.config = generator.config
        self.input_multiple, self.input_minimum_px = generator.input_multiple, generator.input_minimum_px

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [-1, 1] to as much, as :meth:`RelightGenerator.forward` does up to rounding."""
        config, controls = self.config, self.generator.chosen
        day = ((x.float() + 1) / 2).clamp_(0, 1)
        height, width = day.shape[-2:]
        small = shrunk(day, config.working_px)
        with without_autocast("cpu"):
            code = self.generator.code(x)
            maps = self.generator.maps(small.to(memory_format=torch.channels_last), code)
            log_gain, emission = dark_sky(small, *maps)
            gain = log_gain - controls.darkness * math.log(2)
            slopes, offsets = coefficients(small * 2 - 1, gain, config.guide_radius_px, config.guide_eps)
            small_maps = torch.cat([*slopes, *offsets, smooth(emission) * controls.lights], 1).contiguous()
        with torch.inference_mode(False):  # or the threads of the bands could not write into it
            night = torch.empty(day.shape)
        rows = max(1, _BAND_VALUES // width)

        def work(band: int) -> None:
            top, bottom = band * rows, min(height, (band + 1) * rows)
            there = between_rows(small_maps, top, bottom, height, width)
            part = day[..., top:bottom, :]
            guide, light = part * 2 - 1, to_linear(part)
            for channel in range(3):
                slope = there[:, 3 * channel : 3 * channel + 3]
                full = (slope * guide).sum(1).add_(there[:, 9 + channel]).clamp_(*LOG_GAIN)
                light[:, channel].mul_(full.exp_()).add_(there[:, 12 + channel])
            night[..., top:bottom, :] = to_srgb(light.clamp_(max=1)).mul_(2).sub_(1)

        for_each_band(-(-height // rows), work)
        return night


def between_rows(maps: Tensor, top: int, bottom: int, height: int, width: int) -> Tensor:
    """Rows ``top`` to ``bottom`` of ``maps`` ``(B, C, h, w)`` enlarged to ``height`` and ``width``, bilinearly."""
    least = maps.shape[-2]
    at = ((torch.arange(top, bottom) + 0.5) * (least / height) - 0.5).clamp_(min=0)
    above = at.floor().long().clamp_(max=least - 1)
    below = (above + 1).clamp_(max=least - 1)
    share = (at - above).view(1, 1, -1, 1)
    rows = maps[:, :, above].lerp_(maps[:, :, below], share.to(maps.dtype))
    return (
        F.interpolate(rows, size=(bottom - top, width), mode="bilinear") if width != rows.shape[-1] else rows
    )
