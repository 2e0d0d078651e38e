"""Feature maps laid out for Winograd's convolutions: column phases, with a border of zeros around.

Column ``mh * t + p`` of row ``r`` of a map ``(H, W, C)`` is ``values[p, r + 1, t + 1]``. Rows and columns that only
fill up the last tiles, and the border, are zeros, so that a 3x3 convolution reads any part of the map as it lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod

import torch
from torch import Tensor

from darkside_cli.kernels.bands import for_each_band, scratch
from darkside_cli.kernels.winograd import WinogradConvolution

TILES_PER_BAND = 64
"""Tiles that a thread takes at a time: enough for the matrix products, few enough for a core's cache."""

_ROWS_PER_BAND = 8


class PhaseMap:
    """A map of ``height`` x ``width`` positions and ``channels``, in tiles of (mv, mh), in ``memory``.

    ``memory`` is any float32 tensor of at least :meth:`size` numbers; what is in it is not looked at. The border is
    zero from the start, the rest is to be written.
    """

    def __init__(self, height: int, width: int, channels: int, tile: tuple[int, int], memory: Tensor) -> None:
        self.height, self.width, self.channels, self.tile = height, width, channels, tile
        shape = self.shape(height, width, channels, tile)
        self.values = memory[: prod(shape)].view(shape)
        self.tiles = shape[2] - 2
        self.values[:, 0].zero_()
        self.values[:, height + 1 :].zero_()
        self.values[:, :, 0].zero_()
        self.values[:, :, -1].zero_()

    @staticmethod
    def shape(height: int, width: int, channels: int, tile: tuple[int, int]) -> tuple[int, int, int, int]:
        """Shape of ``values``: phases, rows, tiles, channels, with the border."""
        mv, mh = tile
        return mh, ceil(height / mv) * mv + 2, ceil(width / mh) + 2, channels

    @classmethod
    def size(cls, height: int, width: int, channels: int, tile: tuple[int, int]) -> int:
        """How many numbers such a map takes."""
        return prod(cls.shape(height, width, channels, tile))

    def part(self, first: int, last: int, left: int = 0, right: int | None = None) -> Tensor:
        """View of rows ``first`` to ``last - 1``, tiles ``left`` to ``right - 1``: (mh, rows, tiles, C)."""
        right = self.tiles if right is None else right
        return self.values[:, 1 + first : 1 + last, 1 + left : 1 + right]

    def finish(self) -> None:
        """Make the columns that only fill up the last tile zeros; call it when all else is written."""
        surplus = self.width % self.tile[1]
        if surplus:
            self.values[surplus:, :, -2].zero_()

    def to_plain(self) -> Tensor:
        """Copy as ``(1, C, H, W)``, channels last in memory."""
        out = torch.empty(1, self.height, self.width, self.channels)
        mh = self.tile[1]
        inner = self.part(0, self.height)

        def band(number: int) -> None:
            rows = slice(number * _ROWS_PER_BAND, min((number + 1) * _ROWS_PER_BAND, self.height))
            for phase in range(min(mh, self.width)):
                columns = out[0, rows, phase::mh]
                columns.copy_(inner[phase, rows, : columns.shape[1]])

        for_each_band(ceil(self.height / _ROWS_PER_BAND), band)
        return out.permute(0, 3, 1, 2)


Finish = Callable[[Tensor, int, int], None]
"""What is done with a band of raw sums ``(rows, mh, tiles, C)``: they begin at a row and at a tile."""


@dataclass(frozen=True)
class _Band:
    first: int
    rows: int
    left: int
    right: int


def convolve(x: PhaseMap, convolution: WinogradConvolution, finish: Finish) -> None:
    """Convolve ``x``, band by band on all cores, and call ``finish`` with each band of sums.

    Bands begin at even tiles; rows and columns beyond the map are in the sums, too, and mean nothing.
    """
    mv, mh = x.tile
    chunks = ceil(x.tiles / TILES_PER_BAND)
    chunk = -(-ceil(x.tiles / chunks) // 2) * 2
    chunks = ceil(x.tiles / chunk)
    rows = max(1, TILES_PER_BAND // chunk) * mv
    padded = ceil(x.height / mv) * mv

    def band(number: int) -> None:
        first, left = number // chunks * rows, number % chunks * chunk
        n, right = min(rows, padded - first), min(left + chunk, x.tiles)
        (sums,) = scratch("phase maps", (n, mh, right - left, convolution.out_channels))
        convolution.rows(x.values[:, first : first + n + 2, left : right + 2], sums)
        finish(sums, first, left)

    for_each_band(ceil(padded / rows) * chunks, band)


def into(target: PhaseMap, bias: Tensor) -> Finish:
    """Write ``relu(sums + bias)`` to ``target``, which has the size of the map that is convolved."""

    def finish(sums: Tensor, first: int, left: int) -> None:
        last = min(first + sums.shape[0], target.height)
        place = target.part(first, last, left, left + sums.shape[2])
        torch.add(sums[: last - first].transpose(0, 1), bias, out=place)
        place.clamp_min_(0)

    return finish


def into_pooled(target: PhaseMap, bias: Tensor) -> Finish:
    """Write the maxima over 2x2 positions of ``relu(sums + bias)`` to ``target``, of half the size, rounded down."""
    half = target.tile[1] // 2

    def finish(sums: Tensor, first: int, left: int) -> None:
        start, stop = first // 2, min((first + sums.shape[0]) // 2, target.height)
        pairs = sums[: 2 * (stop - start)]
        if not len(pairs):
            return
        rows, columns = scratch(
            "pooling",
            (len(pairs) // 2, *pairs.shape[1:]),
            (len(pairs) // 2, half, *pairs.shape[2:]),
        )
        torch.maximum(pairs[0::2], pairs[1::2], out=rows)
        torch.maximum(rows[:, 0::2], rows[:, 1::2], out=columns)
        # Pooled, a tile has half its columns: two of them, an even and an odd one, make a tile again.
        for odd in (0, 1):
            source = columns[:, :, odd::2].transpose(0, 1)
            count = min(source.shape[2], target.tiles - left // 2)
            place = target.part(start, stop, left // 2, left // 2 + count)[odd * half : (odd + 1) * half]
            torch.add(source[:, :, :count], bias, out=place)
            place.clamp_min_(0)

    return finish
