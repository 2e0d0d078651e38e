"""Losses on edge maps: night keeps the edges of day, and a student sees at night what its teacher sees by day.

Mohwald et al., "Dark Side Augmentation", ICCV 2023: L1 distances, of edge probabilities for the generator and of logits
(before the sigmoid, which has no slope left where the teacher is sure) for the student.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from darkside_cli.losses.precision import widened


def edge_loss(edges: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of edge probabilities ``(B, 1, H, W)``; no gradient to ``target``."""
    return F.l1_loss(widened(edges), widened(target.detach()))


def distillation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of edge logits ``(B, 1, H, W)``; no gradient to ``target``."""
    return F.l1_loss(widened(logits), widened(target.detach()))
