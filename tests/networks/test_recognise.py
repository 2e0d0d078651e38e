"""Networks that are made without drawing their weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from darkside_cli.networks.recognise import Uninitialised


@pytest.mark.parametrize("limits", [(-2.0, 2.0), (0.03, 0.1)])
def test_numbers_that_are_drawn_until_they_are_within_limits(limits: tuple[float, float]) -> None:
    """torch draws again while any is outside, and what is in memory that nobody drew may be anything."""
    tensor = torch.full((4, 4), 1e9)
    drawn: list[str] = []

    class Counting(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            drawn.append(func.__name__)
            assert len(drawn) < 100, "it draws for ever"
            result = func(*args, **(kwargs or {}))
            return result.fill_(1e9) if func.__name__ == "empty_like" else result

    with Uninitialised(), Counting():
        assert torch.nn.init.trunc_normal_(tensor, std=0.02, a=limits[0], b=limits[1]) is tensor
    assert limits[0] <= tensor.min()
    assert tensor.max() <= limits[1]
