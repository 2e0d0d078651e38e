"""Which descriptors are there (broken images are rows of NaN), and which are not of unit length."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# torch's isfinite makes several tables of its argument's size.
_VALUES = 1 << 20
#: What rounding to fp16 or bf16 may change of a length of 1.
_SLACK = 0.02


def finite_rows(rows: Tensor) -> Tensor:
    """Which rows (N,) of a table (N, D) are finite, looked at a block at a time."""
    height = max(1, _VALUES // max(1, rows.shape[1]))
    return torch.cat([part.isfinite().all(dim=1) for part in torch.split(rows, height)])


def stretched_rows(rows: NDArray[np.float32]) -> int:
    """How many rows of a table (N, D) are finite and neither of unit length nor zeros."""
    height = max(1, _VALUES // max(1, rows.shape[1]))
    found = 0
    for first in range(0, len(rows), height):
        part = rows[first : first + height]
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
    if finite.all():
        return rows
    cleaned = rows.copy()
    cleaned[~finite] = np.nan
    return cleaned
