"""Losses over tuples: numbers worked out by hand, two ways of giving the same tuples, and odd shapes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from darkside_cli.losses.contrastive import (
    contrastive_loss,
    contrastive_loss_of_targets,
    split_targets,
    triplet_loss,
    triplet_loss_of_targets,
)

# A right triangle on a 3-4-5 grid: the positive is 0.3 away, the negatives 0.4 and 0.5.
ANCHOR = torch.tensor([[0.0, 0.0]])
POSITIVE = torch.tensor([[0.3, 0.0]])
NEGATIVES = torch.tensor([[[0.0, 0.4], [0.3, 0.4]]])


def test_contrastive_by_hand() -> None:
    # 0.3^2 / 2 + (0.7 - 0.4)^2 / 2 + (0.7 - 0.5)^2 / 2
    loss = contrastive_loss(ANCHOR, POSITIVE, NEGATIVES, 0.7, eps=0)
    assert loss.item() == pytest.approx(0.045 + 0.045 + 0.02)


def test_negatives_beyond_the_margin_cost_nothing() -> None:
    negatives = NEGATIVES.clone().requires_grad_()
    loss = contrastive_loss(ANCHOR, POSITIVE, negatives, 0.45, eps=0)
    assert loss.item() == pytest.approx(0.045 + 0.05**2 / 2)
    loss.backward()
    # d/dn of (m - |n|)^2 / 2 is -(m - |n|) n / |n| for the first, nothing for the one that is far enough
    torch.testing.assert_close(negatives.grad, torch.tensor([[[0.0, -0.05], [0.0, 0.0]]]))


def test_triplet_by_hand() -> None:
    # 0.09 - 0.16 + 0.1 and 0.09 - 0.25 + 0.1
    assert triplet_loss(ANCHOR, POSITIVE, NEGATIVES, 0.1).item() == pytest.approx(0.03)
    assert triplet_loss(ANCHOR, POSITIVE, NEGATIVES, 0.2).item() == pytest.approx(0.13 + 0.04)


def test_equal_descriptors_have_a_gradient_that_is_finite() -> None:
    anchor = torch.zeros(1, 4, requires_grad=True)
    contrastive_loss(anchor, torch.zeros(1, 4), torch.zeros(1, 1, 4), 0.7).backward()
    assert anchor.grad is not None
    assert anchor.grad.isfinite().all()


def test_half_precision_is_computed_in_float32() -> None:
    given = (ANCHOR, POSITIVE, NEGATIVES)
    halves = [t.bfloat16() for t in given]
    loss = contrastive_loss(*halves, 0.7)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, contrastive_loss(*(t.float() for t in halves), 0.7))
    assert contrastive_loss(*(t.double() for t in given), 0.7).dtype == torch.float64


def test_several_positives_and_reductions() -> None:
    anchor, negatives = ANCHOR.repeat(2, 1), NEGATIVES.repeat(2, 1, 1)
    positives = torch.tensor([[[0.3, 0.0], [0.0, 0.1]], [[0.0, 0.0], [0.0, 0.2]]])
    of_negatives = 0.045 + 0.02
    each = contrastive_loss(anchor, positives, negatives, 0.7, eps=0, reduction="none")
    expected = [0.045 + 0.005 + of_negatives, 0.02 + of_negatives]
    assert each.tolist() == pytest.approx(expected)
    assert contrastive_loss(anchor, positives, negatives, 0.7, eps=0).item() == pytest.approx(sum(expected))
    mean = contrastive_loss(anchor, positives, negatives, 0.7, eps=0, reduction="mean")
    assert mean.item() == pytest.approx(sum(expected) / 2)
    with pytest.raises(ValueError, match="reduction"):
        contrastive_loss(anchor, positives, negatives, 0.7, reduction="max")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("anchor", "positive", "negatives"),
    [
        ((2, 3), (2, 3), (3, 5, 3)),
        ((2, 3), (2, 4), (2, 5, 3)),
        ((2, 3), (2, 3), (2, 3)),
        ((3,), (3,), (5, 3)),
        ((2, 3), (1, 3), (2, 5, 3)),
    ],
)
def test_shapes_that_do_not_fit(
    anchor: tuple[int, ...], positive: tuple[int, ...], negatives: tuple[int, ...]
) -> None:
    for loss in (contrastive_loss, triplet_loss):
        with pytest.raises(ValueError, match="anchor"):
            loss(torch.zeros(anchor), torch.zeros(positive), torch.zeros(negatives), 0.5)


def test_targets_are_taken_apart() -> None:
    parts = split_targets(torch.tensor([-1.0, 1, 0, 0, -1, 0, 1]))
    assert parts.anchor.tolist() == [0, 4]
    assert parts.other.tolist() == [1, 2, 3, 5, 6]
    assert parts.owner.tolist() == [0, 0, 0, 1, 1]
    assert parts.is_positive.tolist() == [True, False, False, False, True]
    for wrong in ([1, -1, 0], [-1, 2]):
        with pytest.raises(ValueError, match="target"):
            split_targets(torch.tensor(wrong))


def test_tuples_without_negatives() -> None:
    table, targets = torch.cat([ANCHOR, POSITIVE]), torch.tensor([-1, 1])
    assert contrastive_loss_of_targets(table, targets, 0.7, eps=0).item() == pytest.approx(0.045)
    assert triplet_loss_of_targets(table, targets, 0.7).item() == 0
    none = torch.zeros(1, 0, 2)
    assert contrastive_loss(ANCHOR, POSITIVE, none, 0.7, eps=0).item() == pytest.approx(0.045)
    assert triplet_loss(ANCHOR, POSITIVE, none, 0.7).item() == 0


@given(
    tuples=st.integers(1, 4),
    positives=st.integers(0, 3),
    negatives=st.integers(0, 4),
    margin=st.floats(0.1, 2.0),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_both_ways_of_giving_tuples_agree(
    tuples: int, positives: int, negatives: int, margin: float, seed: int
) -> None:
    """Also with the order of the images in a tuple shuffled, and against a loop over all pairs."""
    generator = torch.Generator().manual_seed(seed)
    dim = 3
    rows = torch.randn(tuples, 1 + positives + negatives, dim, generator=generator, dtype=torch.float64)
    kinds = torch.tensor([-1] + [1] * positives + [0] * negatives)
    order = [
        torch.cat(
            [torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(len(kinds) - 1, generator=generator)]
        )
        for _ in range(tuples)
    ]
    table = torch.cat([rows[i][order[i]] for i in range(tuples)])
    targets = torch.cat([kinds[own] for own in order])
    split = (rows[:, 0], rows[:, 1 : 1 + positives], rows[:, 1 + positives :])
    for batched, listed, by_loop in (
        (contrastive_loss, contrastive_loss_of_targets, _contrastive_loop),
        (triplet_loss, triplet_loss_of_targets, _triplet_loop),
    ):
        each = batched(*split, margin, reduction="none")
        torch.testing.assert_close(listed(table, targets, margin, reduction="none"), each)
        torch.testing.assert_close(
            each, torch.stack([by_loop(*(t[i] for t in split), margin) for i in range(tuples)])
        )


def _contrastive_loop(anchor: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> Tensor:
    total = 0.0
    for row in positives:
        total += math.dist(anchor.tolist(), (row - 1e-6).tolist()) ** 2 / 2
    for row in negatives:
        total += max(margin - math.dist(anchor.tolist(), (row - 1e-6).tolist()), 0.0) ** 2 / 2
    return torch.tensor(total, dtype=torch.float64)


def _triplet_loop(anchor: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> Tensor:
    total = 0.0
    for near in positives:
        for far in negatives:
            distances = (math.dist(anchor.tolist(), row.tolist()) ** 2 for row in (near, far))
            total += max(next(distances) - next(distances) + margin, 0.0)
    return torch.tensor(total, dtype=torch.float64)
