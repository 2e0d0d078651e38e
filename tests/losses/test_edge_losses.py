from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from darkside_cli.losses.edge import distillation_loss, edge_loss

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
