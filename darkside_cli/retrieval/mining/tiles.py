"""Descriptors in tiles of one shape, and their scores.

A matrix product rounds by the shape of its operands. With tiles of one shape, the last one filled up, an
image has the same score wherever in the database it stands, and copies of an image have equal scores, bit for
bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from darkside_cli.errors import UsageError

#: Descriptors, one a row: NumPy (memory-mapped as well) or PyTorch, of any floating type.
Descriptors = npt.NDArray[Any] | Tensor

# Scores (Q x rows) of one tile: threads wait for one another after each, and a GPU wants large launches, but
# more than this gains nothing. Descriptor values (rows x D) of one tile bound the buffers.
_CPU_SCORES, _CPU_VALUES = 1 << 22, 1 << 24
_DEVICE_SCORES, _DEVICE_VALUES = 1 << 24, 1 << 26
_FEWEST_ROWS, _MOST_ROWS = 256, 1 << 17


def default_rows(queries: int, dim: int, device: torch.device, known_total: int | None) -> int:
    """Rows of a tile: a power of two that keeps scores and buffers small, not far above ``known_total``."""
    scores, values = (_CPU_SCORES, _CPU_VALUES) if device.type == "cpu" else (_DEVICE_SCORES, _DEVICE_VALUES)
    rows = min(scores // max(1, queries), values // max(1, dim), _MOST_ROWS)
    if known_total is not None:
        rows = min(rows, 2 * known_total - 1)
    return 1 << max(rows, _FEWEST_ROWS).bit_length() - 1


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
        transposed = descriptors.shape[0] == dim
        raise UsageError(
            f"{what} have {descriptors.shape[1]} dimensions, the queries {dim}",
            hint="they seem to be stored one column an image: transpose them"
            if transposed
            else "extract both with the same model",
        )


def as_float32(descriptors: Descriptors) -> Tensor:
    """Give the same numbers as a float32 tensor; memory is shared if it is float32 and may be written to."""
    if isinstance(descriptors, Tensor):
        return descriptors.detach().to(torch.float32)
    if descriptors.dtype != np.float32 or not descriptors.flags.writeable:
        # PyTorch warns of tensors on memory that must not be written to, so that is copied too.
        descriptors = np.array(descriptors, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(descriptors))


class TileScorer:
    """Scores of all queries against tiles of descriptors.

    ``queries`` (Q, D) float32 on the device that shall do the work; ``rows`` is the height of the tiles.
    """

    def __init__(self, queries: Tensor, rows: int) -> None:
        self.queries = queries
        self.rows = rows
        self._scores = torch.empty((len(queries), rows), dtype=torch.float32, device=queries.device)

    def tiles(self, parts: Iterable[Descriptors]) -> Iterator[tuple[int, Tensor]]:
        """Index of the first image and scores (Q, n) of tile after tile, n at most ``rows``.

        ``parts`` (N_i, D) follow one another. Those of at least a tile are scored where they are; what they
        leave, and smaller parts, are gathered until they make a tile or a larger part comes. The scores are
        valid until the next tile is asked for. Raises UsageError if a part does not fit the queries.
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
