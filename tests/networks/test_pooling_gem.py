from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.networks.pooling import GeM


def test_root_mean_square() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 5.0], [5.0, 5.0]]]])
    torch.testing.assert_close(GeM(p=2)(x), torch.tensor([[math.sqrt(30 / 4), 5.0]]))


def test_negative_values_count_as_epsilon() -> None:
    x = torch.tensor([[[[-3.0, -1.0]]], [[[-3.0, 1.0]]]])
    torch.testing.assert_close(GeM(p=1, eps=1e-6)(x), torch.tensor([[1e-6], [(1 + 1e-6) / 2]]))


def test_every_channel_its_own_exponent() -> None:
    gem = GeM(channels=2)
    assert gem.p.shape == (2,)
    with torch.no_grad():
        gem.p.copy_(torch.tensor([1.0, 2.0]))
    x = torch.tensor([1.0, 3.0]).expand(4, 2, 5, 2)
    torch.testing.assert_close(gem(x), torch.tensor([2.0, math.sqrt(5)]).expand(4, 2))


def test_the_exponent_is_learned() -> None:
    """d/dp of ((1^p + 2^p) / 2)^(1/p) at p = 2, by differences in float64."""
    gem = GeM(p=2)
    gem(torch.tensor([[[[1.0, 2.0]]]])).sum().backward()
    assert gem.p.grad is not None

    def mean(p: float) -> float:
        return ((1 + 2**p) / 2) ** (1 / p)

    assert gem.p.grad.item() == pytest.approx((mean(2 + 1e-5) - mean(2 - 1e-5)) / 2e-5, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_small_values_in_half_precision_do_not_vanish(dtype: torch.dtype) -> None:
    """0.004^3 is below what float16 can hold."""
    pooled = GeM(p=3)(torch.full((1, 1, 2, 2), 0.004, dtype=dtype))
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(0.004, rel=0.01)


def test_double_precision_is_kept() -> None:
    assert GeM()(torch.ones(1, 1, 2, 2, dtype=torch.float64)).dtype == torch.float64


def test_shown_with_its_exponent() -> None:
    assert repr(GeM(p=2.5)) == "GeM(p=2.5, eps=1e-06)"
    assert repr(GeM(channels=7)) == "GeM(channels=7, eps=1e-06)"
    with torch.device("meta"):
        assert repr(GeM()) == "GeM(channels=1, eps=1e-06)"


values = st.lists(st.floats(0.01, 10), min_size=1, max_size=12)


@given(values, st.floats(1, 8), st.floats(1, 8))
@settings(deadline=None)
def test_between_mean_and_maximum_and_growing_with_p(numbers: list[float], p: float, q: float) -> None:
    x = torch.tensor(numbers, dtype=torch.float64).view(1, 1, 1, -1)
    lower, upper = (GeM(p=power).double()(x).item() for power in sorted((p, q)))
    slack = 1e-6
    assert x.mean().item() * (1 - slack) <= lower <= upper * (1 + slack) <= x.max().item() * (1 + 2 * slack)
