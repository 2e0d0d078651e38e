"""A ResNet generator that looks at a small image and changes the large one: night at any size, and cheap.

The whole image is shrunk (or enlarged) until its longer side has ``working_px`` pixels, the generator makes night of
that, and a guided filter (:mod:`darkside_cli.networks.layers`; Wu et al., CVPR 2018) brings the change to the
image itself. So the network sees all of a photograph, at the size it was trained at, whatever the size of the file;
structure is the photograph's own, without the patterns that enlarging by a network leaves; and only the filter's time
grows with the photograph (``tests/benchmarks/bench_guided.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from darkside_cli.images.tensors import box_mean
from darkside_cli.networks.configs import GuidedGeneratorConfig
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.layers import without_autocast

#: An image is first brought to so many times the working size and then averaged, so that shrinking does not alias.
OVERSAMPLING = 2

#: Before that, sides of at least so many times that size are halved until they are shorter: at a third, bilinear
#: interpolation still looks at two pixels of three, but at a tenth at two of ten.
HALVED_FROM = 3
_MOST_HALVINGS = 7  # in files of ONNX, which cannot count: for 128 times that


class GuidedGenerator(ResnetGenerator):
    """A ResNet generator at ``working_px`` and a guided filter; keys of the state dict are the ResNet generator's."""

    config: GuidedGeneratorConfig

    #: Measured on the CPU for 1 to 16 megapixels: the network's own share does not grow with the image.
    bytes_per_px = 64

    def __init__(self, config: GuidedGeneratorConfig | None = None) -> None:
        super().__init__(config or GuidedGeneratorConfig())

    def forward(self, x: Tensor) -> Tensor:
        """Translate images.

        ``x`` is ``(B, 3, H, W)`` RGB in [-1, 1], both sides at least 8. Returns ``(B, out_channels, H, W)`` in
        [-1, 1].
        """
        return guided(x, self.config, super().forward, training=self.training)

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """As of :class:`ResnetGenerator`, of the image at its working size."""
        return super().features(shrink(x, self.config.working_px), layers)

    def forward_with_features(self, x: Tensor, layers: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Translate ``x`` and give what :meth:`features` would give for it, in one pass."""
        taken: list[Tensor] = []

        def translate(small: Tensor) -> Tensor:
            night, features = ResnetGenerator.forward_with_features(self, small, layers)
            taken.extend(features)
            return night

        return guided(x, self.config, translate, training=self.training), taken


def guided(
    x: Tensor,
    config: GuidedGeneratorConfig,
    translate: Callable[[Tensor], Tensor],
    *,
    training: bool = False,
) -> Tensor:
    """Let ``translate`` work on ``x`` ``(B, 3, H, W)`` at its working size and bring the result to ``x``'s own size."""
    small = shrink(x, config.working_px)
    target = translate(small)[..., : small.shape[-2], : small.shape[-1]]
    if config.output == "gain":
        target = relight(small, target, config.max_gain)
    full = guided_filter(x, small, target, radius=config.radius_px(training=training), eps=config.guide_eps)
    return full.clamp(-1, 1)


def relight(day: Tensor, gain: Tensor, max_gain: float) -> Tensor:
    """Multiply the light of ``day`` ``(B, 3, H, W)`` in [-1, 1] by ``gain``, -1 for none of it and 1 for ``max_gain``.

    What things reflect stays, what falls on them changes (Land and McCann's Retinex, 1971): a dark branch before a
    night sky is dark, whatever light falls on it. Values may go beyond 1.
    """
    return (day + 1) * (gain + 1) * (max_gain / 2) - 1


def shrink(x: Tensor, working_px: int) -> Tensor:
    """Resize ``(B, C, H, W)`` so that the longer side has ``working_px`` pixels, the other at least 8."""
    height, width = (side * OVERSAMPLING for side in _working_size(x, working_px))
    large = F.interpolate(halved(x, height, width), size=(height, width), mode="bilinear")
    return F.avg_pool2d(large, OVERSAMPLING)


def halved(x: Tensor, height: int, width: int, times: int = HALVED_FROM) -> Tensor:
    """``x`` with sides halved, as often as it takes, that are ``times`` the ``height`` and ``width`` wanted or more."""
    if torch.onnx.is_in_onnx_export():
        wanted = torch.stack([torch.as_tensor(height), torch.as_tensor(width)])
        for _ in range(_MOST_HALVINGS):
            sides = torch.stack([torch.as_tensor(side) for side in x.shape[-2:]])
            sides = torch.where(sides >= times * wanted, sides // 2, sides)
            x = F.interpolate(x, size=(sides[0], sides[1]), mode="bilinear")  # type: ignore[arg-type]
        return x
    while True:
        now = tuple(x.shape[-2:])
        size = tuple(
            side // 2 if side >= times * wanted else side
            for side, wanted in zip(now, (height, width), strict=True)
        )
        if size == now:
            return x
        x = F.interpolate(x, size=size, mode="bilinear")


def _working_size(x: Tensor, working_px: int) -> tuple[int, int]:
    minimum = ResnetGenerator.input_minimum_px
    height, width = x.shape[-2:]
    if torch.onnx.is_in_onnx_export():
        # Sides are tensors then, and are to stay such: files of ONNX take any size.
        sides = torch.stack([torch.as_tensor(height), torch.as_tensor(width)])
        most = sides.max()
        small = torch.clamp((2 * sides * working_px + most) // (2 * most), min=minimum)
        return small[0], small[1]  # type: ignore[return-value]
    return working_size(height, width, working_px)


def working_size(height: int, width: int, working_px: int) -> tuple[int, int]:
    """Height and width that the network sees an image of ``height`` and ``width`` in."""
    longer, minimum = max(height, width), ResnetGenerator.input_minimum_px

    def small(side: int) -> int:
        return max(minimum, (2 * side * working_px + longer) // (2 * longer))

    return small(height), small(width)


def recognise(_: Mapping[str, tuple[int, ...]]) -> None:
    """None: weights alone do not tell a guided generator from a ResNet one; files of ours say so in their header."""


# Guided filter: what was found out about a small image, brought to the large one it was made from.

#: Radius up to which windows are summed pixel by pixel.
_FEW_PX = 4


def guided_filter(image: Tensor, small: Tensor, target: Tensor, *, radius: int, eps: float) -> Tensor:
    """Filter ``target`` as ``small`` guides it, at the size of ``image``.

    ``image`` ``(B, 3, H, W)`` is the guide, ``small`` ``(B, 3, h, w)`` the same image smaller, ``target``
    ``(B, C, h, w)`` what was made of that. Returns ``(B, C, H, W)``; values may go slightly beyond those of ``target``.
    ``radius`` is that of the square windows in pixels of ``small``, ``eps`` (in squares of the guide's unit) what is
    added to the guide's variances: where it varies less, the target is smoothed instead of followed. Computed in
    float32 whatever is given, as variances need it.
    """
    with without_autocast(image.device.type):
        slopes, offsets = coefficients(small.float(), target.float(), radius, eps)
        size = image.shape[-2:]
        guide = image.float()
        parts = []
        for slope, offset in zip(slopes, offsets, strict=True):
            full = F.interpolate(torch.cat([slope, offset], 1), size=size, mode="bilinear")
            parts.append((full[:, :3] * guide).sum(1, keepdim=True) + full[:, 3:])
        return torch.cat(parts, 1).to(target.dtype)


def coefficients(guide: Tensor, target: Tensor, radius: int, eps: float) -> tuple[list[Tensor], list[Tensor]]:
    """For each channel of ``target``: slopes ``(B, 3, h, w)`` and offset ``(B, 1, h, w)``, smoothed."""
    side = 2 * radius + 1

    def mean(x: Tensor) -> Tensor:
        if radius <= _FEW_PX:
            return box_sum(x, radius) / counts
        return box_mean(x, side)

    counts = box_sum(torch.ones_like(guide[:1, :1]), radius) if radius <= _FEW_PX else guide

    def products(x: Tensor) -> Tensor:
        r, g, b = x.chunk(3, 1)
        return torch.cat([r * r, r * g, r * b, g * g, g * b, b * b], 1)

    mean_guide, mean_target = mean(guide), mean(target)
    rr, rg, rb, gg, gb, bb = (mean(products(guide)) - products(mean_guide)).chunk(6, 1)
    matrix = (rr + eps, rg, rb, gg + eps, gb, bb + eps)
    slopes, offsets, n = [], [], target.shape[1]
    for one, mean_one in zip(target.chunk(n, 1), mean_target.chunk(n, 1), strict=True):
        together = mean(guide * one) - mean_guide * mean_one
        slope = torch.cat(solve_symmetric(matrix, tuple(together.chunk(3, 1))), 1)
        slopes.append(mean(slope))
        offsets.append(mean(mean_one - (slope * mean_guide).sum(1, keepdim=True)))
    return slopes, offsets


def box_sum(x: Tensor, radius: int) -> Tensor:
    """Sum of ``x`` ``(B, C, H, W)`` over square windows, zero beyond the border. Four times as fast as pooling."""
    columns = F.pad(x, (radius, radius))
    x = sum_of(columns[..., shift : shift - 2 * radius or None] for shift in range(2 * radius + 1))
    rows = F.pad(x, (0, 0, radius, radius))
    return sum_of(rows[..., shift : shift - 2 * radius or None, :] for shift in range(2 * radius + 1))


def sum_of(parts: Iterable[Tensor]) -> Tensor:
    """Sum of tensors of one shape, from the first to the last."""
    return reduce(torch.add, parts)


def solve_symmetric(
    matrix: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], right: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, Tensor]:
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
