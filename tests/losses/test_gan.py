"""Losses of the GAN methods: numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from darkside_cli.losses.gan import (
    adversarial_loss,
    discriminator_loss,
    distillation_loss,
    edge_loss,
    patch_nce_loss,
)

SCORES = torch.tensor([[0.0, 2.0], [1.0, -1.0]])


def test_least_squares_targets_are_0_for_real_and_1_for_fake() -> None:
    assert adversarial_loss(SCORES, real=True).item() == pytest.approx((0 + 4 + 1 + 1) / 4)
    assert adversarial_loss(SCORES, real=False).item() == pytest.approx((1 + 1 + 0 + 4) / 4)


def test_cross_entropy_has_the_same_targets() -> None:
    scores = torch.tensor([math.log(3.0)])  # a sigmoid of 3/4
    assert adversarial_loss(scores, real=True, kind="vanilla").item() == pytest.approx(math.log(4))
    assert adversarial_loss(scores, real=False, kind="vanilla").item() == pytest.approx(math.log(4 / 3))


def test_scales_are_added_up() -> None:
    small = torch.tensor([3.0])
    both = adversarial_loss([SCORES, small], real=True)
    assert both.item() == pytest.approx(1.5 + 9)


def test_generators_gradient_draws_scores_towards_real() -> None:
    scores = torch.tensor([0.5, -0.25], requires_grad=True)
    adversarial_loss(scores, real=True).backward()
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad, torch.tensor([0.5, -0.25]))


def test_half_precision_scores_give_a_full_precision_loss() -> None:
    loss = adversarial_loss(SCORES.bfloat16(), real=True)
    assert loss.dtype == torch.float32
    assert loss.item() == 1.5


def test_discriminators_loss_is_the_mean_of_its_terms() -> None:
    assert discriminator_loss(torch.tensor(1.0), torch.tensor(4.0)).item() == 2.5


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="lsgan, vanilla, hinge"):
        adversarial_loss(SCORES, real=True, kind="wgan")  # type: ignore[arg-type]


Loss = Callable[[Tensor, Tensor], Tensor]


@pytest.mark.parametrize("loss", [edge_loss, distillation_loss])
def test_mean_absolute_difference_and_gradient_to_the_first_only(loss: Loss) -> None:
    ours = torch.tensor([[0.5, 1.0]], requires_grad=True)
    theirs = torch.tensor([[1.0, 0.25]], requires_grad=True)
    value = loss(ours, theirs)
    assert value.item() == pytest.approx((0.5 + 0.75) / 2)
    value.backward()
    assert theirs.grad is None
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, torch.tensor([[-0.5, 0.5]]))


def test_two_patches_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    keys = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    # Row 0: positive 1, negatives 0.6 and the diagonal's -10; row 1: positive 0.8, negatives 0 and -10.
    expected = [
        -math.log(math.exp(2.0) / (math.exp(2.0) + math.exp(1.2) + math.exp(-20))),
        -math.log(math.exp(1.6) / (math.exp(1.6) + math.exp(0.0) + math.exp(-20))),
    ]
    losses = patch_nce_loss(queries, keys, temperature=0.5)
    torch.testing.assert_close(losses, torch.tensor(expected))


def test_replaced_diagonal_counts_at_high_temperatures() -> None:
    one = torch.tensor([[1.0]])
    # The only negative is the -10 that stands for the positive.
    loss = patch_nce_loss(one, one, temperature=10.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1.1)))


def test_keys_get_no_gradient() -> None:
    queries = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    keys = queries.detach().clone().requires_grad_()
    patch_nce_loss(queries, keys).mean().backward()
    assert keys.grad is None
    assert queries.grad is not None
    assert queries.grad.abs().sum() > 0


@settings(max_examples=25, deadline=None)
@given(groups=st.integers(1, 4), n=st.integers(1, 6), seed=st.integers(0, 1000))
def test_groups_are_as_separate_calls(groups: int, n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    queries, keys = F.normalize(torch.randn(2, groups * n, 5, generator=generator), dim=2)
    together = patch_nce_loss(queries, keys, groups=groups)
    apart = [patch_nce_loss(q, k) for q, k in zip(queries.split(n), keys.split(n), strict=True)]
    torch.testing.assert_close(together, torch.cat(apart))


def test_precision_is_full_under_autocast() -> None:
    generator = torch.Generator().manual_seed(1)
    queries, keys = F.normalize(torch.randn(2, 16, 8, generator=generator), dim=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = patch_nce_loss(queries, keys)
    assert torch.equal(half, patch_nce_loss(queries, keys))


def test_uneven_groups() -> None:
    with pytest.raises(ValueError, match="5 patches cannot be cut into 2"):
        patch_nce_loss(torch.zeros(5, 2), torch.zeros(5, 2), groups=2)
