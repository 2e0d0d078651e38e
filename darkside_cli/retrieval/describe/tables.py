"""Tables of descriptors (N, D): which rows are there (broken images are NaN), and their scores, tile by tile.

A matrix product rounds by the shape of its operands. With tiles of one shape, the last one filled up, an image has the
same score wherever in the database it stands, and copies of an image have equal scores, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darkside_cli.errors import UsageError

#: Descriptors, one a row: NumPy (memory-mapped as well) or PyTorch, of any floating type.
Descriptors = NDArray[Any] | Tensor

# Scores (Q x rows) of one tile: threads wait for one another after each, and a GPU wants large launches, but
# more than this gains nothing. Descriptor values (rows x D) of one tile bound the buffers.
_CPU_SCORES, _CPU_VALUES = 1 << 22, 1 << 24
_DEVICE_SCORES, _DEVICE_VALUES = 1 << 24, 1 << 26
_FEWEST_ROWS, _MOST_ROWS = 256, 1 << 17
# torch's isfinite makes several tables of its argument's size.
_VALUES = 1 << 20
#: What rounding to fp16 or bf16 may change of a length of 1.
_SLACK = 0.02


def finite_rows(rows: Tensor) -> Tensor:
    """Which rows (N,) of a table (N, D) are finite, looked at a block at a time."""
    return torch.cat([part.isfinite().all(dim=1) for part in torch.split(rows, _height(rows))])


def stretched_rows(rows: NDArray[np.float32]) -> int:
    """How many rows of a table (N, D) are finite and neither of unit length nor zeros."""
    found = 0
    for first in range(0, len(rows), _height(rows)):
        part = rows[first : first + _height(rows)]
        with np.errstate(all="ignore"):
            square = np.einsum("nd,nd->n", part, part, dtype=np.float64)
        length = np.sqrt(square[np.isfinite(square)])
        found += int(((np.abs(length - 1) > _SLACK) & (length > 0)).sum())
    return found


def missing_as_nan(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (N, D) with all of a row NaN of which any number is not finite: an infinite one would come first.

    Gives the very ``rows`` if all are finite, else a copy.
    """
    finite = finite_rows(torch.from_numpy(rows)).numpy()
    return rows if finite.all() else np.where(finite[:, None], rows, np.float32(np.nan))


def _height(rows: Descriptors) -> int:
    return max(1, _VALUES // max(1, rows.shape[1]))


def check_descriptors(descriptors: Descriptors, what: str, dim: int | None = None) -> None:
    """Raise UsageError, naming ``what``, unless it is a (N, ``dim``) table of floating-point numbers."""
    if descriptors.ndim != 2:
        raise UsageError(
            f"{what} have the shape {tuple(descriptors.shape)}",
            hint="descriptors are a table, one row an image",
        )
    floating = (
        descriptors.is_floating_point()
        if isinstance(descriptors, Tensor)
        else np.issubdtype(descriptors.dtype, np.floating)
    )
    if not floating:
        raise UsageError(
            f"{what} are of type {descriptors.dtype}", hint="descriptors are floating-point numbers"
        )
    if dim is not None and descriptors.shape[1] != dim:
        transposed = "they seem to be stored one column an image: transpose them"
        raise UsageError(
            f"{what} have {descriptors.shape[1]} dimensions, the queries {dim}",
            hint=transposed if descriptors.shape[0] == dim else "extract both with the same model",
        )


def as_float32(descriptors: Descriptors) -> Tensor:
    """Give the same numbers as a float32 tensor; memory is shared if it is float32 and may be written to."""
    if isinstance(descriptors, Tensor):
        return descriptors.detach().to(torch.float32)
    if descriptors.dtype != np.float32 or not descriptors.flags.writeable:
        # PyTorch warns of tensors on memory that must not be written to, so that is copied too.
        descriptors = np.array(descriptors, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(descriptors))


def take(descriptors: Descriptors, rows: NDArray[np.int64]) -> Descriptors:
    """The ``rows`` (n,) of a table, as it is: NumPy or PyTorch, on its device."""
    if isinstance(descriptors, Tensor):
        return descriptors[torch.from_numpy(rows).to(descriptors.device)]
    return descriptors[rows]


def default_rows(queries: int, dim: int, device: torch.device, known_total: int | None) -> int:
    """Rows of a tile: a power of two that keeps scores and buffers small, not far above ``known_total``."""
    scores, values = (_CPU_SCORES, _CPU_VALUES) if device.type == "cpu" else (_DEVICE_SCORES, _DEVICE_VALUES)
    rows = min(scores // max(1, queries), values // max(1, dim), _MOST_ROWS)
    if known_total is not None:
        rows = min(rows, 2 * known_total - 1)
    return 1 << max(rows, _FEWEST_ROWS).bit_length() - 1


class TileScorer:
    """Scores of all ``queries`` (Q, D), float32 on the device that does the work, against tiles of ``rows`` rows."""

    def __init__(self, queries: Tensor, rows: int) -> None:
        self.queries, self.rows = queries, rows
        self._scores = torch.empty((len(queries), rows), dtype=torch.float32, device=queries.device)

    def tiles(self, parts: Iterable[Descriptors]) -> Iterator[tuple[int, Tensor]]:
        """Index of the first image and scores (Q, n) of tile after tile, n at most ``rows``.

        ``parts`` (N_i, D) follow one another. Those of at least a tile are scored where they are; what they leave,
        and smaller parts, are gathered until they make a tile or a larger part comes. The scores are valid until the
        next tile is asked for. Raises UsageError if a part does not fit the queries.
        """
        dim = self.queries.shape[1]
        buffer = torch.zeros((self.rows, dim), dtype=torch.float32)
        first = held = 0
        for part in parts:
            check_descriptors(part, "the descriptors", dim)
            if held and len(part) >= self.rows:
                # Filling the tile up would leave all later tiles across the borders of parts, to be copied.
                yield first, self._score(buffer)[:, :held]
                first, held = first + held, 0
            start = 0
            while start < len(part):
                if held == 0 and len(part) - start >= self.rows:
                    yield first, self._score(as_float32(part[start : start + self.rows]))
                    first, start = first + self.rows, start + self.rows
                    continue
                taken = part[start : start + self.rows - held]
                buffer[held : held + len(taken)] = as_float32(taken)
                held, start = held + len(taken), start + len(taken)
                if held == self.rows:
                    yield first, self._score(buffer)
                    first, held = first + held, 0
        if held:
            yield first, self._score(buffer)[:, :held]

    def _score(self, tile: Tensor) -> Tensor:
        return torch.mm(self.queries, tile.to(self.queries.device).T, out=self._scores)
