"""Anti-aliased resampling by two: a fixed binomial blur together with the subsampling or the zero insertion.

Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019, in the two settings that CUT uses.
The kernels are buffers called ``filt``, one copy per channel, and part of the state dict.
"""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.networks.norms import without_autocast


def binomial_kernel(taps: int, *, total: int = 1) -> list[list[float]]:
    """Outer product of two rows of Pascal's triangle, ``taps`` by ``taps``, with sum ``total``.

    ``taps=3`` is ``[1 2 1]`` in each direction, ``taps=4`` is ``[1 3 3 1]``. Plain numbers, exact ones: arithmetic with
    tensors, even repeat, makes torch load its compiler or its symbolic mathematics on the meta device, for seconds.
    """
    row = [comb(taps - 1, k) / 2 ** (taps - 1) for k in range(taps)]
    return [[total * a * b for b in row] for a in row]


class BlurDownsample(nn.Module):
    """Blur with ``[1 2 1]`` and keep every second pixel; the border is reflected.

    State: ``filt`` ``(channels, 1, 3, 3)``, sum 1 per channel.
    """

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("filt", torch.tensor([[binomial_kernel(3)]] * channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, ceil(H / 2), ceil(W / 2))``; both sides must be at least 2."""
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.filt, stride=2, groups=self.channels)


class BlurUpsample(nn.Module):
    """Double both sides: zeros between the pixels, blurred with ``[1 3 3 1]``; the border is repeated.

    With these weights that is bilinear interpolation by two. State: ``filt`` ``(channels, 1, 4, 4)``, sum 4
    per channel, which makes up for the three zeros beside every pixel.
    """

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("filt", torch.tensor([[binomial_kernel(4, total=4)]] * channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, 2 H, 2 W)``."""
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        # padding=3 cuts the repeated border off again: two output pixels, and one of the kernel's reach.
        return F.conv_transpose2d(padded, self.filt, stride=2, padding=3, groups=self.channels)


# Guided filter: what was found out about a small picture, brought to the large one it was made from.

Columns = tuple[Tensor, Tensor, Tensor]


def guided_filter(image: Tensor, small: Tensor, target: Tensor, *, radius: int, eps: float) -> Tensor:
    """Filter ``target`` as ``small`` guides it, at the size of ``image``.

    ``image`` ``(B, 3, H, W)`` is the guide, ``small`` ``(B, 3, h, w)`` the same picture smaller, ``target``
    ``(B, C, h, w)`` what was made of that. Returns ``(B, C, H, W)``; values may go slightly beyond those of ``target``.
    ``radius`` is that of the square windows in pixels of ``small``, ``eps`` (in squares of the guide's unit) what is
    added to the guide's variances: where it varies less, the target is smoothed instead of followed. Computed in
    float32 whatever is given, as variances need it.
    """
    with without_autocast(image.device.type):
        slopes, offsets = _coefficients(small.float(), target.float(), radius, eps)
        size = image.shape[-2:]
        guide = image.float()
        parts = []
        for slope, offset in zip(slopes, offsets, strict=True):
            full = F.interpolate(torch.cat([slope, offset], 1), size=size, mode="bilinear")
            parts.append((full[:, :3] * guide).sum(1, keepdim=True) + full[:, 3:])
        return torch.cat(parts, 1).to(target.dtype)


def _coefficients(
    guide: Tensor, target: Tensor, radius: int, eps: float
) -> tuple[list[Tensor], list[Tensor]]:
    """For each channel of ``target``: slopes ``(B, 3, h, w)`` and offset ``(B, 1, h, w)``, smoothed."""
    side = 2 * radius + 1

    def mean(x: Tensor) -> Tensor:
        rows = F.avg_pool2d(x, (1, side), stride=1, padding=(0, radius), count_include_pad=False)
        return F.avg_pool2d(rows, (side, 1), stride=1, padding=(radius, 0), count_include_pad=False)

    r, g, b = guide.chunk(3, 1)
    mean_guide, mean_target = mean(guide), mean(target)
    mean_r, mean_g, mean_b = mean_guide.chunk(3, 1)
    products = mean(torch.cat([r * r, r * g, r * b, g * g, g * b, b * b], 1))
    means = torch.cat(
        [
            mean_r * mean_r,
            mean_r * mean_g,
            mean_r * mean_b,
            mean_g * mean_g,
            mean_g * mean_b,
            mean_b * mean_b,
        ],
        1,
    )
    rr, rg, rb, gg, gb, bb = (products - means).chunk(6, 1)
    matrix = (rr + eps, rg, rb, gg + eps, gb, bb + eps)
    slopes, offsets = [], []
    for one, mean_one in zip(_channels(target), _channels(mean_target), strict=True):
        together = mean(guide * one) - mean_guide * mean_one
        slope = torch.cat(solve_symmetric(matrix, tuple(together.chunk(3, 1))), 1)
        slopes.append(mean(slope))
        offsets.append(mean(mean_one - (slope * mean_guide).sum(1, keepdim=True)))
    return slopes, offsets


def _channels(x: Tensor) -> list[Tensor]:
    return [x[:, i : i + 1] for i in range(x.shape[1])]


def solve_symmetric(
    matrix: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], right: tuple[Tensor, ...]
) -> Columns:
    """Solve ``M x = right`` for positive definite 3x3 matrices, element by element.

    ``matrix`` has the upper triangle of M (11, 12, 13, 22, 23, 33), ``right`` three right-hand sides, all of one shape,
    which the three parts of x have as well. By M = L D L^T, which stays accurate where M is nearly singular.
    """
    m11, m12, m13, m22, m23, m33 = matrix
    first, second, third = right
    l21, l31 = m12 / m11, m13 / m11
    d2 = m22 - l21 * m12
    l32 = (m23 - l31 * m12) / d2
    d3 = m33 - l31 * m13 - l32 * l32 * d2
    second = second - l21 * first
    third = (third - l31 * first - l32 * second) / d3
    second = second / d2 - l32 * third
    first = first / m11 - l21 * second - l31 * third
    return first, second, third
