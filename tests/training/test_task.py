from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from darkside_cli.errors import ConfigError
from darkside_cli.training.task import linear_decay


def optimizer(*rates: float) -> Optimizer:
    return SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates], lr=1.0)


def rates(optimizer: Optimizer, scheduler: LRScheduler, epochs: int) -> list[list[float]]:
    found = []
    for _ in range(epochs):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return found


def test_linear_decay_by_hand() -> None:
    sgd = optimizer(4.0, 40.0)
    found = rates(sgd, linear_decay(sgd, epochs=5, decay_epochs=3), 6)
    assert found == [[4.0, 40.0], [4.0, 40.0], [3.0, 30.0], [2.0, 20.0], [1.0, 10.0], [0.0, 0.0]]


@given(epochs=st.integers(1, 200), data=st.data())
def test_linear_decay_never_rises_and_stays_above_zero(epochs: int, data: st.DataObject) -> None:
    decay = data.draw(st.integers(0, epochs))
    factor = linear_decay(optimizer(1.0), epochs=epochs, decay_epochs=decay).lr_lambdas[0]
    factors = [factor(e) for e in range(epochs)]
    assert factors[: epochs - decay] == [1.0] * (epochs - decay)
    assert all(a >= b > 0 for a, b in zip(factors, factors[1:] + factors[-1:], strict=True))
    assert factor(epochs + 5) in (0.0, 1.0)[: 1 + (decay == 0)]


def test_state_goes_on_where_it_was() -> None:
    first, second = optimizer(1.0), optimizer(1.0)
    one, two = (linear_decay(each, epochs=6, decay_epochs=4) for each in (first, second))
    expected = rates(first, one, 6)
    rates(second, two, 3)
    third = optimizer(1.0)
    resumed = linear_decay(third, epochs=6, decay_epochs=4)
    third.load_state_dict(second.state_dict())
    resumed.load_state_dict(two.state_dict())
    assert rates(third, resumed, 3) == expected[3:]


@pytest.mark.parametrize("decay", [-1, 4])
def test_more_decay_than_epochs(decay: int) -> None:
    with pytest.raises(ConfigError, match="of 3 epochs") as caught:
        linear_decay(optimizer(1.0), epochs=3, decay_epochs=decay)
    assert caught.value.hint == "give a number from 0 to 3"
