"""Guided filter: what was found out about a small picture, brought to the large one it was made from.

He, Sun and Tang, "Guided Image Filtering", TPAMI 2013, with a guide in colour (section 3.4) and the coefficients
enlarged as in He and Sun, "Fast Guided Filter", 2015; as a layer that gradients pass through as in Wu et al., "Fast
End-to-End Trainable Guided Filter", CVPR 2018. Around every pixel the output is an affine function of the guide's three
colours, which is also what Levin et al. (closed-form matting, 2008) and Luan et al. (deep photo style transfer, 2017)
take photographs to be: no edge appears that the guide does not have, and between the two sides of one there is nothing
but what lies between.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from darkside_cli.layers.autocast import without_autocast

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
