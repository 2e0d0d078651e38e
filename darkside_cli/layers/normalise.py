"""Descriptors to unit length."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-6
"""What published retrieval networks and whitenings add to a norm before they divide by it."""


def l2_normalise(x: Tensor, *, dim: int = 1, eps: float = EPS) -> Tensor:
    """``x / (norm(x) + eps)`` along ``dim``; zeros stay zeros."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / (norm + eps)


class L2Normalise(nn.Module):
    """:func:`l2_normalise` as a module."""

    def __init__(self, eps: float = EPS) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``(B, D, …)`` to the same shape, of unit length along ``D``."""
        return l2_normalise(x, eps=self.eps)

    def extra_repr(self) -> str:
        """Show the epsilon."""
        return f"eps={self.eps:g}"
