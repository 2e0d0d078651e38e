"""A ResNet of bottlenecks on the CPU: norms folded in, 3x3 convolutions by Winograd's minimal filtering.

1x1 convolutions are matrix products. What a block does is done band by band, so that the wide maps are read and
written once for each block.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.kernels.bands import for_each_band, scratch
from darkside_cli.kernels.fast_parts import TILE, ByImage, folded, is_plain_3x3
from darkside_cli.kernels.phase_maps import PhaseMap, convolve, into
from darkside_cli.kernels.winograd import WinogradConvolution

if TYPE_CHECKING:
    from torchvision.models.resnet import Bottleneck

_POSITIONS_PER_BAND = 1024
_WIDE_POSITIONS = 256


def is_bottleneck_resnet(features: nn.Sequential) -> bool:
    """Whether these are the features of a ResNet that :class:`FastResNet` can do: plain bottlenecks, no groups."""
    stages = list(features)[4:]
    blocks = [block for stage in stages if isinstance(stage, nn.Sequential) for block in stage]
    return (
        len(features) == 8
        and len(blocks) > 0
        and all(isinstance(stage, nn.Sequential) for stage in stages)
        and all(_is_known(block) for block in blocks)
    )


def _is_known(block: Any) -> bool:
    # Who made a bottleneck has imported torchvision, which takes 200 MB that other networks need not pay.
    resnet = sys.modules.get("torchvision.models.resnet")
    if resnet is None or not isinstance(block, resnet.Bottleneck):
        return False
    if block.conv2.stride != (1, 1) and block.downsample is None:
        return False
    return any(is_plain_3x3(block.conv2, stride) for stride in (1, 2)) and all(
        isinstance(norm, nn.BatchNorm2d) for norm in (block.bn1, block.bn2, block.bn3)
    )


class FastResNet(ByImage):
    """A ResNet of bottlenecks. What changes the size is done by torch's convolutions, with norms folded in."""

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        stem, norm, _, self._pooling, *stages = features
        self._stem = _Plain(stem, norm)
        self._stages: list[tuple[_DownBlock | None, list[_Block]]] = []
        for stage in stages:
            blocks: list[Any] = list(stage.children())
            halving = None if blocks[0].conv2.stride == (1, 1) else _DownBlock(blocks.pop(0))
            self._stages.append((halving, [_Block(block) for block in blocks]))

    def _run(self, image: Tensor) -> Tensor:
        x = image[None].contiguous(memory_format=torch.channels_last)
        x = self._pooling(self._stem(x).relu_())
        for halving, blocks in self._stages:
            if halving is not None:
                x = halving(x)
            if blocks:
                x = self._keeping_size(x, blocks)
        return x

    def _keeping_size(self, x: Tensor, blocks: Sequence[_Block]) -> Tensor:
        """Blocks without a stride: ``(1, C, H, W)`` to ``(1, C', H, W)``, channels last in memory."""
        _, channels, height, width = x.shape
        mv, mh = TILE
        tiles = ceil(width / mh)
        plain = x[0].permute(1, 2, 0)
        # In tiles, as the narrow maps are, but row by row and without a border: a band is a matrix as it lies.
        state = torch.zeros(ceil(height / mv) * mv, mh, tiles, channels)
        for phase in range(min(mh, width)):
            columns = plain[:, phase::mh]
            state[:height, phase, : columns.shape[1]].copy_(columns)
        for block in blocks:
            narrow = self._map("narrow", height, width, block.width)
            state = block(state, narrow)
        out = torch.empty(1, height, width, state.shape[-1])
        for phase in range(min(mh, width)):
            columns = out[0, :, phase::mh]
            columns.copy_(state[:height, phase, : columns.shape[1]])
        return out.permute(0, 3, 1, 2)


class _Plain:
    """A convolution with the norm behind it folded in, channels last."""

    def __init__(self, convolution: Any, norm: Any) -> None:
        weight, self._bias = folded(convolution, norm)
        self._weight = weight.contiguous(memory_format=torch.channels_last)
        self._stride, self._padding = convolution.stride, convolution.padding

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self._weight, self._bias, self._stride, self._padding)


class _DownBlock:
    """A bottleneck with a stride, channels last."""

    def __init__(self, block: Bottleneck) -> None:
        self._path = [_Plain(*pair) for pair in _parts(block)]
        self._shortcut = _Plain(*_shortcut(block))

    def __call__(self, x: Tensor) -> Tensor:
        reduce, middle, expand = self._path
        y = expand(middle(reduce(x).relu_()).relu_())
        return y.add_(self._shortcut(x)).relu_()


class _Block:
    """A bottleneck that keeps the size."""

    def __init__(self, block: Bottleneck) -> None:
        (reduce, self._reduce_bias), (middle, self._middle_bias), (expand, self._bias) = (
            folded(*pair) for pair in _parts(block)
        )
        self._reduce = reduce.flatten(1).t().contiguous()
        self._middle = WinogradConvolution(middle, TILE)
        self._expand = expand.flatten(1).t().contiguous()
        self._shortcut: Tensor | None = None
        if block.downsample is not None:
            shortcut, bias = folded(*_shortcut(block))
            self._shortcut, self._bias = shortcut.flatten(1).t().contiguous(), self._bias + bias
        self.width = self._middle.out_channels

    def __call__(self, state: Tensor, narrow: PhaseMap) -> Tensor:
        """From ``state`` ``(rows, mh, tiles, C)`` to the like; it is overwritten. ``narrow`` is spare memory."""
        _, mh, tiles, channels = state.shape
        rows = max(1, _POSITIONS_PER_BAND // (mh * tiles))
        write = into(narrow, self._reduce_bias)

        def reduce(number: int) -> None:
            first = number * rows
            part = state[first : min(first + rows, narrow.height)]
            (sums,) = scratch("reduced", (*part.shape[:3], self.width))
            torch.mm(part.view(-1, channels), self._reduce, out=sums.view(-1, self.width))
            write(sums, first, 0)

        for_each_band(ceil(narrow.height / rows), reduce)
        narrow.finish()
        target = state
        if self._shortcut is not None:
            target = torch.empty(*state.shape[:3], self._expand.shape[1])

        def expand(sums: Tensor, first: int, left: int) -> None:
            sums.add_(self._middle_bias).clamp_min_(0)
            columns = slice(left, left + sums.shape[2])
            # Rows at a time that stay in the cache with all their channels.
            step = max(1, _WIDE_POSITIONS // (mh * sums.shape[2]))
            for low in range(0, len(sums), step):
                part, own = sums[low : low + step], slice(first + low, first + min(low + step, len(sums)))
                self._expand_into(target[own, :, columns], part, state[own, :, columns])

        convolve(narrow, self._middle, expand)
        return target

    def _expand_into(self, target: Tensor, sums: Tensor, state: Tensor) -> None:
        """``target = relu(sums * expansion + bias + shortcut of state)`` of a few rows."""
        wide = target
        if not target.is_contiguous():
            (wide,) = scratch("expanded", target.shape)
            if self._shortcut is None:
                wide.copy_(target)
        flat = wide.view(-1, wide.shape[-1])
        if self._shortcut is not None:
            torch.mm(state.reshape(-1, state.shape[-1]), self._shortcut, out=flat)
        flat.addmm_(sums.reshape(-1, self.width), self._expand)
        wide.add_(self._bias).clamp_min_(0)
        if wide is not target:
            target.copy_(wide)


def _parts(block: Any) -> list[tuple[Any, Any]]:
    """The bottleneck's convolutions, each with its norm."""
    return [(block.conv1, block.bn1), (block.conv2, block.bn2), (block.conv3, block.bn3)]


def _shortcut(block: Any) -> tuple[Any, Any]:
    """Convolution and norm of the bottleneck's way around."""
    convolution, norm = block.downsample
    return convolution, norm
