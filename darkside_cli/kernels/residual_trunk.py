"""The residual blocks of a generator by Winograd's minimal filtering, without a pass of their own for norm or border.

Each convolution's task takes a few rows of tiles: it loads the rows before, normalises them (or adds them to the
block's input), puts the border on, convolves, and leaves raw sums and moments behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from darkside_cli.kernels.bands import for_each_band, scratch
from darkside_cli.kernels.row_convolution import Moments, Norm, RawMap, normalise
from darkside_cli.kernels.winograd import WinogradConvolution

TILES_PER_BAND = 64
Load = Callable[[int, int, Tensor], None]
"""Writes rows first to last - 1 to a tensor (last - first, phases, tiles, C)."""


@dataclass(frozen=True)
class Layer:
    """One of a block's convolutions and the norm behind it."""

    convolution: WinogradConvolution
    norm: Norm


def _outside(padding: str, size: int) -> tuple[int, int] | None:
    """Which rows (columns) stand at -1 and at ``size``; None for zeros."""
    if padding == "reflect":
        return 1, size - 2
    if padding == "replicate":
        return 0, size - 1
    return None


class ResidualTrunk:
    """``x + norm(conv(relu(norm(conv(x)))))`` for each of ``blocks``.

    Each block is (first convolution, first norm, second convolution, second norm); ``padding`` is "reflect",
    "replicate" or "zero"; ``tile`` as for :class:`WinogradConvolution`.
    """

    def __init__(
        self,
        blocks: Sequence[tuple[nn.Conv2d, nn.Module, nn.Conv2d, nn.Module]],
        *,
        padding: str,
        tile: tuple[int, int],
    ) -> None:
        self.padding, self.tile = padding, tile

        def layer(convolution: nn.Conv2d, norm: nn.Module) -> Layer:
            return Layer(WinogradConvolution(convolution.weight, tile), Norm(norm, convolution.bias))

        self.blocks = [(layer(*block[:2]), layer(*block[2:])) for block in blocks]

    def buffer_shape(self, height: int, width: int, channels: int) -> tuple[int, int, int, int]:
        """Shape of a map of this size in column phases, its sides rounded up to whole tiles."""
        mv, mh = self.tile
        return ceil(height / mv) * mv, mh, ceil(width / mh), channels

    def __call__(self, x: RawMap, buffers: Sequence[Tensor], out: Tensor) -> None:
        """From ``x`` to ``out``, both ``(H, W, C)``; ``buffers`` are four tensors of :meth:`buffer_shape`."""
        height, width, _ = x.sums.shape
        state, other, first_sums, second_sums = buffers
        mh = self.tile[1]
        pending: tuple[Tensor | None, Tensor | None] | None = None

        for first, second in self.blocks:
            if pending is None:
                load = _from_map(x, mh)
            else:
                load = _residual(state, second_sums, *pending)
                state, other = other, state
            moments = self._convolve(first, load, first_sums, (height, width), keep=state)
            load = _normalised(first_sums, *first.norm.of(moments))
            moments = self._convolve(second, load, second_sums, (height, width), keep=None)
            pending = second.norm.of(moments)
        if pending is None:
            raise ValueError("a trunk needs a block")
        load = _residual(state, second_sums, *pending)
        rows = max(1, 2 * TILES_PER_BAND // state.shape[2])

        def band(number: int) -> None:
            low, high = number * rows, min((number + 1) * rows, height)
            (spare,) = scratch("trunk", (high - low, *state.shape[1:]))
            load(low, high, spare)
            for phase in range(min(mh, width)):
                columns = out[low:high, phase::mh]
                columns.copy_(spare[:, phase, : columns.shape[1]])

        for_each_band(ceil(height / rows), band)

    def _convolve(
        self, layer: Layer, load: Load, sums: Tensor, size: tuple[int, int], *, keep: Tensor | None
    ) -> Moments | None:
        """Convolve what ``load`` gives into ``sums``; what was loaded is kept in ``keep``."""
        height, width = size
        mv, mh = self.tile
        tiles = sums.shape[2]
        tile_rows = sums.shape[0] // mv
        repeat = max(1, min(TILES_PER_BAND // tiles, tile_rows // (4 * torch.get_num_threads())))
        moments = layer.norm.moments()

        def band(number: int) -> None:
            first = number * repeat * mv
            n = min(repeat * mv, sums.shape[0] - first)
            s, spare = scratch(
                "trunk", (mh, n + 2, tiles + 2, layer.convolution.in_channels), (n, *sums.shape[1:])
            )
            low, high = max(first - 1, 0), min(first + n + 1, height)
            load(low, high, s[:, low - first + 1 : high - first + 1, 1:-1].transpose(0, 1))
            self._border(s, first, height, width)
            if keep is not None:
                last = min(first + n, height)
                keep[first:last].copy_(s[:, 1 : 1 + last - first, 1:-1].transpose(0, 1))
            out = sums[first : first + n]
            layer.convolution.rows(s, out)
            if moments is not None:
                valid = min(n, height - first)
                absent = out[:valid, width % mh :, -1] if width % mh else None
                moments.add(out[:valid], spare[:valid], absent=absent)

        for_each_band(ceil(tile_rows / repeat), band)
        return moments

    def _border(self, s: Tensor, first: int, height: int, width: int) -> None:
        """Fill what ``s`` (rows ``first - 1`` on, columns ``-mh`` on, of the map) has beyond the map."""
        mh = self.tile[1]
        surplus = width % mh
        if surplus:  # columns that only fill up the last tile
            s[surplus:, :, -2].zero_()
            s[0, :, -1].zero_()
        columns = _outside(self.padding, width)
        for column, source in zip((-1, width), columns or (None, None), strict=True):
            target = s[column % mh, :, column // mh + 1]
            if source is None:
                target.zero_()
            else:
                target.copy_(s[source % mh, :, source // mh + 1])
        rows = _outside(self.padding, height)
        for row in [*range(first - 1, 0), *range(height, first - 1 + s.shape[1])]:
            if rows is None or row > height:
                s[:, row - first + 1].zero_()
            else:
                s[:, row - first + 1].copy_(s[:, (rows[0] if row < 0 else rows[1]) - first + 1])


def _from_map(x: RawMap, mh: int) -> Load:
    def load(first: int, last: int, out: Tensor) -> None:
        for phase in range(mh):
            columns = x.sums[first:last, phase::mh]
            target = out[:, phase, : columns.shape[1]]
            normalise(columns, x.scale, x.shift, target)
            if x.relu:
                target.clamp_min_(0)

    return load


def _normalised(sums: Tensor, scale: Tensor | None, shift: Tensor | None) -> Load:
    def load(first: int, last: int, out: Tensor) -> None:
        normalise(sums[first:last], scale, shift, out)
        out.clamp_min_(0)

    return load


def _residual(state: Tensor, sums: Tensor, scale: Tensor | None, shift: Tensor | None) -> Load:
    def load(first: int, last: int, out: Tensor) -> None:
        if scale is None or shift is None:
            torch.add(state[first:last], sums[first:last], out=out)
        else:
            torch.addcmul(state[first:last], sums[first:last], scale, out=out)
            out.add_(shift)

    return load
