"""Which descriptors are there: broken images are rows of NaN."""

from __future__ import annotations

import torch
from torch import Tensor

# torch's isfinite makes several tables of its argument's size.
_VALUES = 1 << 20


def finite_rows(rows: Tensor) -> Tensor:
    """Which rows (N,) of a table (N, D) are finite, looked at a block at a time."""
    height = max(1, _VALUES // max(1, rows.shape[1]))
    return torch.cat([part.isfinite().all(dim=1) for part in torch.split(rows, height)])
