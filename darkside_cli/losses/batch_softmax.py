"""Softmax over a batch: which image of the batch shows the anchor's place?

Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, eq. 4, both ways as in Radford et al.,
ICML 2021: every other image of the batch is a negative, so that a network with random weights learns in a fraction of
the steps that pairs with a margin take it. Not in the paper, which begins with ImageNet features.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def batch_softmax_loss(
    anchors: Tensor, others: Tensor, anchor_places: Tensor, other_places: Tensor, temperature: float
) -> Tensor:
    """Loss (T,) of each tuple of a batch, the mean of two cross entropies, in at least float32.

    ``anchors`` ``(T, D)`` and ``others`` ``(N, D)`` have unit length; the first T of ``others`` are the anchors'
    positives, the rest negatives. ``anchor_places`` ``(T,)`` and ``other_places`` ``(N,)`` are numbers of places:
    further images of an anchor's place are neither right nor wrong for it. One cross entropy picks the positive of an
    anchor from ``others``, the other one the anchor of a positive from ``anchors``.
    """
    count = len(anchors)
    rows, columns = _at_least_float32(anchors), _at_least_float32(others)
    similarity = rows @ columns.T / temperature
    own = torch.eye(count, len(others), dtype=torch.bool, device=similarity.device)
    ambiguous = (anchor_places[:, None] == other_places[None, :]) & ~own
    similarity = similarity.masked_fill(ambiguous, -torch.inf)
    right = torch.arange(count, device=similarity.device)
    there = F.cross_entropy(similarity, right, reduction="none")
    back = F.cross_entropy(similarity[:, :count].T, right, reduction="none")
    return (there + back) / 2


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
