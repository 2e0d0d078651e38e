"""Losses of metric learning over tuples: an anchor, an image of the same place, images of other places.

Contrastive (Hadsell et al., CVPR 2006) in the form of Radenović et al., TPAMI 2019, eq. 6, which the paper trains
with (margin 0.75 for VGG16, 0.85 for ResNet-101), and triplet (Schroff et al., CVPR 2015).

Both are *sums* over the pairs of a tuple; ``reduction`` says what becomes of several tuples. Everything is computed in
at least float32, also where the descriptors come out of a network that runs in less.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

EPS = 1e-6
"""Added to each component of a difference before its norm is taken, so that equal descriptors have a gradient."""

ANCHOR, POSITIVE, NEGATIVE = -1, 1, 0
"""Targets that mark the images of tuples in one table."""

Reduction = Literal["sum", "mean", "none"]


class Tuples(NamedTuple):
    """Rows of a table of descriptors, by their part in a tuple.

    ``anchor`` (T,) are the anchors' rows; ``other`` (M,) all other rows, ``owner`` (M,) the number of the tuple each
    of them belongs to and ``is_positive`` (M,) whether it shows the anchor's place.
    """

    anchor: Tensor
    other: Tensor
    owner: Tensor
    is_positive: Tensor


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


def contrastive_loss_of_targets(
    descriptors: Tensor, targets: Tensor, margin: float, *, eps: float = EPS, reduction: Reduction = "sum"
) -> Tensor:
    """:func:`contrastive_loss` of tuples in one table, whatever their sizes.

    ``descriptors`` ``(N, D)``; ``targets`` ``(N,)`` is -1 where a tuple begins with its anchor, 1 for images of the
    anchor's place, 0 for others (see :func:`split_targets`, which says what it raises).
    """
    parts = split_targets(targets)
    rows = _at_least_float32(descriptors)
    anchors = rows[parts.anchor[parts.owner]]
    distance = (anchors - rows[parts.other] + eps).square().sum(dim=1).sqrt()
    losses = 0.5 * torch.where(parts.is_positive, distance, (margin - distance).clamp(min=0)).square()
    return _reduced(_per_tuple(losses, parts.owner, len(parts.anchor)), reduction)


def triplet_loss_of_targets(
    descriptors: Tensor, targets: Tensor, margin: float, *, reduction: Reduction = "sum"
) -> Tensor:
    """:func:`triplet_loss` of tuples in one table; arguments as in :func:`contrastive_loss_of_targets`."""
    parts = split_targets(targets)
    rows = _at_least_float32(descriptors)
    distance = (rows[parts.anchor[parts.owner]] - rows[parts.other]).square().sum(dim=1)
    positive, negative = parts.is_positive.nonzero()[:, 0], (~parts.is_positive).nonzero()[:, 0]
    same = parts.owner[positive][:, None] == parts.owner[negative][None, :]
    near, far = same.nonzero(as_tuple=True)
    losses = (distance[positive[near]] - distance[negative[far]] + margin).clamp(min=0)
    return _reduced(_per_tuple(losses, parts.owner[positive[near]], len(parts.anchor)), reduction)


def split_targets(targets: Tensor) -> Tuples:
    """Take ``targets`` ``(N,)`` of -1 (anchor), 1 (positive) and 0 (negative) apart.

    An image belongs to the last anchor before it. Raises ValueError for other values, and for images before the first
    anchor.
    """
    flat = targets.reshape(-1)
    is_anchor, is_positive = flat == ANCHOR, flat == POSITIVE
    if not bool((is_anchor | is_positive | (flat == NEGATIVE)).all()):
        raise ValueError("targets are -1, 1 and 0")
    if len(flat) and not bool(is_anchor[0]):
        raise ValueError("the first target is an anchor's, -1")
    number = is_anchor.long().cumsum(dim=0) - 1
    other = (~is_anchor).nonzero()[:, 0]
    return Tuples(is_anchor.nonzero()[:, 0], other, number[other], is_positive[other])


def _aligned(anchor: Tensor, positive: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``(T, 1, D)``, ``(T, P, D)``, ``(T, K, D)``, in at least float32."""
    several = positive[:, None] if positive.ndim == 2 else positive
    if anchor.ndim != 2 or several.ndim != 3 or negatives.ndim != 3:
        raise ValueError("an anchor is (T, D), a positive (T, D) or (T, P, D), negatives are (T, K, D)")
    if {(len(t), t.shape[-1]) for t in (several, negatives)} != {(len(anchor), anchor.shape[1])}:
        shapes = ", ".join(str(tuple(t.shape)) for t in (anchor, positive, negatives))
        raise ValueError(f"anchor, positive and negatives do not fit together: {shapes}")
    return (
        _at_least_float32(anchor)[:, None],
        _at_least_float32(several),
        _at_least_float32(negatives),
    )


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _distance(anchor: Tensor, other: Tensor, eps: float) -> Tensor:
    return (anchor - other + eps).square().sum(dim=2).sqrt()


def _per_tuple(losses: Tensor, owner: Tensor, tuples: int) -> Tensor:
    return losses.new_zeros(tuples).index_add(0, owner, losses)


def _reduced(losses: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return losses
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    raise ValueError(f"reduction is sum, mean or none, not {reduction!r}")
