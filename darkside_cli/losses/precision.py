"""Losses are computed in float32 at least, whatever precision the networks run in."""

from __future__ import annotations

import torch
from torch import Tensor

_HALVES = (torch.float16, torch.bfloat16)


def widened(values: Tensor) -> Tensor:
    """Half-precision ``values`` in float32, others as they are."""
    return values.float() if values.dtype in _HALVES else values
