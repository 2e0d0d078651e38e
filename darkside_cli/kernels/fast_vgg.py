"""A VGG's convolutions on the CPU by Winograd's minimal filtering, ReLU and pooling done while sums are cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.kernels.bands import for_each_band, scratch
from darkside_cli.kernels.fast_parts import TILE, ByImage, folded, is_plain_3x3
from darkside_cli.kernels.phase_maps import PhaseMap, convolve, into, into_pooled
from darkside_cli.kernels.winograd import WinogradConvolution

_PIXELS_PER_BAND = 4096


@dataclass(frozen=True)
class VggLayer:
    """A 3x3 convolution with its bias, ReLU behind it, and perhaps a 2x2 max pooling."""

    weight: Tensor
    bias: Tensor
    pooled: bool


def vgg_layers(features: nn.Sequential) -> list[VggLayer] | None:
    """Layers of a VGG, with or without batch norms; None if it is no such network."""
    layers: list[VggLayer] = []
    modules = list(features)
    while modules:
        convolution, norm = modules.pop(0), None
        if not is_plain_3x3(convolution):
            return None
        if modules and isinstance(modules[0], nn.BatchNorm2d):
            norm = modules.pop(0)
        if not modules or not isinstance(modules.pop(0), nn.ReLU):
            return None
        pooled = bool(modules) and isinstance(modules[0], nn.MaxPool2d)
        if pooled and not _halves(modules.pop(0)):
            return None
        layers.append(VggLayer(*folded(convolution, norm), pooled))  # type: ignore[arg-type]
    # The first convolution is done otherwise, and does not pool.
    return layers if layers and not layers[0].pooled else None


def _halves(module: nn.Module) -> bool:
    return isinstance(module, nn.MaxPool2d) and (
        module.kernel_size in (2, (2, 2))
        and module.stride in (2, (2, 2))
        and module.padding in (0, (0, 0))
        and module.dilation in (1, (1, 1))
        and not module.ceil_mode
    )


class FastVgg(ByImage):
    """A VGG's convolutions."""

    def __init__(self, layers: Sequence[VggLayer]) -> None:
        super().__init__()
        first, *rest = layers
        self._first = first.weight.permute(1, 2, 3, 0).flatten(0, 2).contiguous(), first.bias
        self._rest = [(WinogradConvolution(layer.weight, TILE), layer.bias, layer.pooled) for layer in rest]

    def _run(self, image: Tensor) -> Tensor:
        x = self._begin(image)
        for number, (convolution, bias, pooled) in enumerate(self._rest):
            height, width = (x.height // 2, x.width // 2) if pooled else (x.height, x.width)
            y = self._map("even" if number % 2 else "odd", height, width, convolution.out_channels)
            convolve(x, convolution, into_pooled(y, bias) if pooled else into(y, bias))
            y.finish()
            x = y
        return x.to_plain()

    def _begin(self, image: Tensor) -> PhaseMap:
        """First convolution, from ``image`` ``(C, H, W)``, as a matrix product of gathered 3x3 windows."""
        weight, bias = self._first
        channels, height, width = image.shape
        target = self._map("even", height, width, len(bias))
        padded = F.pad(image, (1, 1, 1, 1)).contiguous()
        plane, line, _ = padded.stride()
        rows, mh = max(1, _PIXELS_PER_BAND // width), TILE[1]

        def band(number: int) -> None:
            first = number * rows
            n = min(rows, height - first)
            windows = padded.as_strided(
                (channels, 3, 3, n, width), (plane, line, 1, line, 1), padded.storage_offset() + first * line
            )
            columns, sums = scratch("first", (channels, 3, 3, n, width), (n, width, len(bias)))
            columns.copy_(windows)
            torch.mm(columns.view(-1, n * width).t(), weight, out=sums.view(n * width, -1))
            place = target.part(first, first + n)
            for phase in range(min(mh, width)):
                own = sums[:, phase::mh]
                to = place[phase, :, : own.shape[1]]
                torch.add(own, bias, out=to)
                to.clamp_min_(0)

        for_each_band(ceil(height / rows), band)
        target.finish()
        return target
