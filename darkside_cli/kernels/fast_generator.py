"""The ResNet generator on the CPU: matrix products over bands of rows (:mod:`darkside_cli.kernels.bands`).

Its residual blocks run by Winograd's minimal filtering.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from darkside_cli.kernels.bands import Memory, in_team
from darkside_cli.kernels.residual_trunk import ResidualTrunk
from darkside_cli.kernels.row_convolution import (
    DownConvolution,
    FirstConvolution,
    LastConvolution,
    Norm,
    RawMap,
    UpConvolution,
)
from darkside_cli.networks.generator import N_RESAMPLINGS, ResidualBlock, ResnetGenerator
from darkside_cli.networks.guided import GuidedGenerator, guided

T = TypeVar("T", bound=nn.Module)
MINIMUM_PX = 16
"""Sides below this go through the plain network."""


class FastGenerator(nn.Module):
    """A ResNet generator on the CPU, in float32. ``tile`` is that of :class:`WinogradConvolution`.

    Anti-aliased resampling is left to the generator's own modules.
    """

    def __init__(self, generator: ResnetGenerator, tile: tuple[int, int]) -> None:
        super().__init__()
        self.config = config = generator.config
        self.input_multiple, self.input_minimum_px = generator.input_multiple, generator.input_minimum_px
        self.plain = deepcopy(generator.model).cpu().float().eval().requires_grad_(False)
        modules = list(self.plain)
        blocks = [i for i, module in enumerate(modules) if isinstance(module, ResidualBlock)]
        self._encoder, self._decoder = modules[: blocks[0]], modules[blocks[-1] + 1 :]
        self._memory = Memory()
        layers = [
            _with_next(each.conv_block, nn.Conv2d) for each in modules if isinstance(each, ResidualBlock)
        ]
        self._trunk = ResidualTrunk(
            [(*first, *second) for first, second in layers], padding=config.padding, tile=tile
        )
        if not config.antialias_down:
            (first, norm), *downs = _with_next(self._encoder, nn.Conv2d)
            self._first, self._first_norm = FirstConvolution(first), Norm(norm, first.bias)
            self._downs = [(DownConvolution(each), Norm(norm, each.bias)) for each, norm in downs]
        if not config.antialias_up:
            ups = _with_next(self._decoder, nn.ConvTranspose2d)
            self._ups = [(UpConvolution(each), Norm(norm, each.bias)) for each, norm in ups]
            self._last = LastConvolution(_with_next(self._decoder, nn.Conv2d)[-1][0])

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] to ``(B, C', H', W')``, sides rounded up to a multiple of 4, in float32."""
        height, width = x.shape[-2:]
        # Compilers get modules to trace, and make of them what they can.
        if min(height, width) < MINIMUM_PX or torch.compiler.is_compiling():
            with torch.no_grad():
                y: Tensor = self.plain(x.float())
                return y
        plain_parts = self.config.antialias_down or self.config.antialias_up
        with self._memory.lock:
            if plain_parts:  # torch's own layers are to have all threads
                return self._translate(x)
            return in_team(lambda: self._translate(x))

    def _translate(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        up = 2**N_RESAMPLINGS
        # Buffers outlive this call, so they must not be inference tensors if the next caller is in another mode.
        with torch.inference_mode(False), torch.no_grad():
            self._memory.of_size(height, width)
            out = torch.empty(
                x.shape[0], self.config.out_channels, -(-height // up) * up, -(-width // up) * up
            )
            for image, target in zip(x, out, strict=True):
                self._decode(self._refine(self._encode(image.float())), target)
        return out

    def _encode(self, image: Tensor) -> RawMap:
        """``(C, H, W)`` to a map of a quarter of the sides."""
        if self.config.antialias_down:
            y = image[None].contiguous()
            for module in self._encoder:
                y = module(y)
            return RawMap(y[0].permute(1, 2, 0).contiguous(), None, None, relu=False)
        height, width = image.shape[-2:]
        sums = self._memory.get("outer", height, width, self._first.out_channels)
        moments = self._first_norm.moments()
        self._first(image, sums, moments)
        x = RawMap(sums, *self._first_norm.of(moments))
        for level, (down, norm) in enumerate(self._downs):
            height, width = -(-height // 2), -(-width // 2)
            sums = self._memory.get(f"level {level}", height, width, down.out_channels)
            moments = norm.moments()
            down(x, sums, moments)
            x = RawMap(sums, *norm.of(moments))
        return x

    def _refine(self, x: RawMap) -> RawMap:
        height, width, channels = x.sums.shape
        shape = self._trunk.buffer_shape(height, width, channels)
        out = self._memory.get("trunk", height, width, channels)
        self._trunk(x, [self._memory.get(f"trunk {i}", *shape) for i in range(4)], out)
        return RawMap(out, None, None, relu=False)

    def _decode(self, x: RawMap, target: Tensor) -> None:
        """Map of a quarter of the sides to ``target`` ``(C, H, W)``."""
        if self.config.antialias_up:
            y = x.sums.permute(2, 0, 1)[None].contiguous()
            for module in self._decoder:
                y = module(y)
            target.copy_(y[0])
            return
        for level, (up_convolution, norm) in zip(reversed(range(N_RESAMPLINGS)), self._ups, strict=True):
            height, width = 2 * x.sums.shape[0], 2 * x.sums.shape[1]
            name = f"level {level - 1}" if level else "outer"
            sums = self._memory.get(name, height, width, up_convolution.out_channels)
            moments = norm.moments()
            up_convolution(x, sums, moments)
            x = RawMap(sums, *norm.of(moments))
        self._last(x, target)


class FastGuidedGenerator(nn.Module):
    """A guided generator on the CPU: its network as :class:`FastGenerator`, the filter as it is."""

    def __init__(self, generator: GuidedGenerator, tile: tuple[int, int]) -> None:
        super().__init__()
        self.config = generator.config
        self.input_multiple, self.input_minimum_px = generator.input_multiple, generator.input_minimum_px
        self.network = FastGenerator(generator, tile)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [-1, 1] to ``(B, C', H, W)``, in float32."""
        with torch.no_grad():
            return guided(x.float(), self.config, self.network)


def _with_next(modules: Iterable[nn.Module], kind: type[T]) -> list[tuple[T, nn.Module]]:
    """Modules of a kind, each with the one behind it."""
    return [(module, behind) for module, behind in pairwise(modules) if isinstance(module, kind)]
