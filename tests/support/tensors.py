"""Tensors that tests feed to networks."""

from __future__ import annotations

import torch
from torch import Tensor


def noise(*shape: int, seed: int = 1) -> Tensor:
    """Uniform noise in [-1, 1), as normalised images have it; the same for the same ``seed``."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def gaussian_noise(*shape: int, seed: int = 0) -> Tensor:
    """Noise of mean 0 and variance 1; the same for the same ``seed``."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
