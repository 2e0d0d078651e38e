from __future__ import annotations

import math

import pytest
import torch

from darkside_cli.losses.adversarial import adversarial_loss, discriminator_loss

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
    with pytest.raises(ValueError, match="lsgan, vanilla"):
        adversarial_loss(SCORES, real=True, kind="hinge")  # type: ignore[arg-type]
