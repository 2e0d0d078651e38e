"""Losses: pure functions, of the GAN methods and of metric learning."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half-precision ``values`` in float32, others as they are: no loss is computed in less."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
