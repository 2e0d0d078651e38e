"""Losses of metric learning: numbers worked out by hand, loops over all pairs, and odd shapes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from darkside_cli.losses.metric_learning import batch_softmax_loss, contrastive_loss, triplet_loss

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


def test_tuples_without_negatives() -> None:
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
def test_all_pairs_of_a_tuple_count(
    tuples: int, positives: int, negatives: int, margin: float, seed: int
) -> None:
    """Against a loop over all pairs."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(tuples, 1 + positives + negatives, 3, generator=generator, dtype=torch.float64)
    split = (rows[:, 0], rows[:, 1 : 1 + positives], rows[:, 1 + positives :])
    for batched, by_loop in ((contrastive_loss, _contrastive_loop), (triplet_loss, _triplet_loop)):
        each = batched(*split, margin, reduction="none")
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


def places(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers)


def test_two_tuples_and_a_negative_by_hand() -> None:
    """Similarities over the temperature 0.5: the first anchor's (2, 0, 0), the second one's (0, 1.2, 1.6)."""
    anchors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    others = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    loss = batch_softmax_loss(anchors, others, places(1, 2), places(1, 2, 3), 0.5)
    e = math.exp
    there = [-math.log(e(2) / (e(2) + e(1.6) + e(1.2))), -math.log(e(1.2) / (e(0) + e(1.2) + e(1.6)))]
    back = [-math.log(e(2) / (e(2) + e(0))), -math.log(e(1.2) / (e(1.6) + e(1.2)))]
    expected = [(a + b) / 2 for a, b in zip(there, back, strict=True)]
    assert loss.tolist() == pytest.approx(expected, rel=1e-6)


def test_other_images_of_the_place_do_not_count() -> None:
    """Two tuples of one place, and a negative of it: each anchor has its own positive alone, which is certain."""
    rows = F.normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    loss = batch_softmax_loss(rows[:2], rows[2:], places(7, 7), places(7, 7, 7), 0.1)
    assert loss.tolist() == [0.0, 0.0]


def test_gradients_are_finite_where_images_do_not_count() -> None:
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    unit = F.normalize(rows, dim=1)
    batch_softmax_loss(unit[:3], unit[3:], places(1, 1, 2), places(1, 1, 2), 0.07).sum().backward()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()
    assert rows.grad.abs().max() > 0


def test_a_softmax_of_half_precision_is_computed_in_float32() -> None:
    rows = F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(2)), dim=1)
    exact = batch_softmax_loss(rows[:2], rows[2:], places(1, 2), places(1, 2), 0.07)
    half = rows.bfloat16()
    loss = batch_softmax_loss(half[:2], half[2:], places(1, 2), places(1, 2), 0.07)
    assert loss.dtype == torch.float32
    again = batch_softmax_loss(half[:2].float(), half[2:].float(), places(1, 2), places(1, 2), 0.07)
    assert torch.equal(loss, again)
    assert not torch.equal(loss, exact)
