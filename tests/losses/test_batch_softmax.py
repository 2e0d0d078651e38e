"""The softmax over a batch, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from darkside_cli.losses.batch_softmax import batch_softmax_loss


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


def test_half_precision_is_computed_in_float32() -> None:
    rows = F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(2)), dim=1)
    exact = batch_softmax_loss(rows[:2], rows[2:], places(1, 2), places(1, 2), 0.07)
    half = rows.bfloat16()
    loss = batch_softmax_loss(half[:2], half[2:], places(1, 2), places(1, 2), 0.07)
    assert loss.dtype == torch.float32
    again = batch_softmax_loss(half[:2].float(), half[2:].float(), places(1, 2), places(1, 2), 0.07)
    assert torch.equal(loss, again)
    assert not torch.equal(loss, exact)
