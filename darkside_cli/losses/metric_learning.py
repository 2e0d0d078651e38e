"""Losses of metric learning over tuples: an anchor, an image of the same place, images of other places.

- Contrastive (Hadsell et al., CVPR 2006) in the form of Radenović et al., TPAMI 2019, eq. 6, which the paper trains
  with (margin 0.75 for VGG16, 0.85 for ResNet-101), and triplet (Schroff et al., CVPR 2015). Both are *sums* over the
  pairs of a tuple; ``reduction`` says what becomes of several tuples.
- Softmax over a batch: which image of the batch shows the anchor's place? Oord et al., "Representation Learning with
  Contrastive Predictive Coding", 2018, eq. 4, both ways as in Radford et al., ICML 2021: every other image of the batch
  is a negative, so that a network with random weights learns in a fraction of the steps that pairs with a margin take
  it. Not in the paper, which begins with ImageNet features.

Everything is computed in at least float32, also where the descriptors come out of a network that runs in less.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from darkside_cli.losses import at_least_float32

EPS = 1e-6
"""Added to each component of a difference before its norm is taken, so that equal descriptors have a gradient."""

Reduction = Literal["sum", "mean", "none"]


def contrastive_loss(
    anchor: Tensor,
    positive: Tensor,
    negatives: Tensor,
    margin: float,
    *,
    eps: float = EPS,
    reduction: Reduction = "sum",
) -> Tensor:
    """``sum_p d(a, p)^2 / 2 + sum_n max(margin - d(a, n), 0)^2 / 2`` with ``d(x, y) = |x - y + eps|``.

    ``anchor`` ``(T, D)``; ``positive`` ``(T, D)`` or, for several each, ``(T, P, D)``; ``negatives`` ``(T, K, D)``.
    Gives a scalar, the sum or mean over tuples, or with ``reduction`` "none" the loss of every tuple ``(T,)``.

    Raises ValueError for shapes that do not fit together.
    """
    anchor, positive, negatives = _aligned(anchor, positive, negatives)
    losses = 0.5 * _distance(anchor, positive, eps).square().sum(dim=1)
    losses = losses + 0.5 * (margin - _distance(anchor, negatives, eps)).clamp(min=0).square().sum(dim=1)
    return _reduced(losses, reduction)


def triplet_loss(
    anchor: Tensor, positive: Tensor, negatives: Tensor, margin: float, *, reduction: Reduction = "sum"
) -> Tensor:
    """``sum max(|a - p|^2 - |a - n|^2 + margin, 0)`` over all pairs of a positive and a negative.

    Shapes, reduction and errors as in :func:`contrastive_loss`.
    """
    anchor, positive, negatives = _aligned(anchor, positive, negatives)
    near = (anchor - positive).square().sum(dim=2)
    far = (anchor - negatives).square().sum(dim=2)
    losses = (near[:, :, None] - far[:, None, :] + margin).clamp(min=0).sum(dim=(1, 2))
    return _reduced(losses, reduction)


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
    rows, columns = at_least_float32(anchors), at_least_float32(others)
    similarity = rows @ columns.T / temperature
    own = torch.eye(count, len(others), dtype=torch.bool, device=similarity.device)
    ambiguous = (anchor_places[:, None] == other_places[None, :]) & ~own
    similarity = similarity.masked_fill(ambiguous, -torch.inf)
    right = torch.arange(count, device=similarity.device)
    there = F.cross_entropy(similarity, right, reduction="none")
    back = F.cross_entropy(similarity[:, :count].T, right, reduction="none")
    return (there + back) / 2


def _aligned(anchor: Tensor, positive: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``(T, 1, D)``, ``(T, P, D)``, ``(T, K, D)``, in at least float32."""
    several = positive[:, None] if positive.ndim == 2 else positive
    if anchor.ndim != 2 or several.ndim != 3 or negatives.ndim != 3:
        raise ValueError("an anchor is (T, D), a positive (T, D) or (T, P, D), negatives are (T, K, D)")
    if {(len(t), t.shape[-1]) for t in (several, negatives)} != {(len(anchor), anchor.shape[1])}:
        shapes = ", ".join(str(tuple(t.shape)) for t in (anchor, positive, negatives))
        raise ValueError(f"anchor, positive and negatives do not fit together: {shapes}")
    return (
        at_least_float32(anchor)[:, None],
        at_least_float32(several),
        at_least_float32(negatives),
    )


def _distance(anchor: Tensor, other: Tensor, eps: float) -> Tensor:
    return (anchor - other + eps).square().sum(dim=2).sqrt()


def _reduced(losses: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return losses
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    raise ValueError(f"reduction is sum, mean or none, not {reduction!r}")
