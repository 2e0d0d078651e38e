from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from darkside_cli.methods.cyclegan import ImagePool


def numbered(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1)


def test_full_only_when_size_images_came() -> None:
    pool = ImagePool(3)
    assert torch.equal(pool.query(numbered(1, 2)), numbered(1, 2))
    assert len(pool) == 2
    assert torch.equal(pool.query(numbered(3)), numbered(3))
    assert len(pool) == 3


def test_size_0_passes_through() -> None:
    pool = ImagePool(0)
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    given = pool.query(images)
    assert torch.equal(given, images)
    assert not given.requires_grad
    assert len(pool) == 0


def test_images_kept_are_not_the_callers() -> None:
    pool = ImagePool(1)
    image = numbered(1)
    pool.query(image)
    image.fill_(9)
    given = {pool.query(numbered(2)).item() for _ in range(20)}
    assert given == {1.0, 2.0}


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(1, 5),
    batches=st.lists(st.integers(1, 3), min_size=1, max_size=20),
    seed=st.integers(0, 99),
)
def test_nothing_is_made_up_or_lost(size: int, batches: list[int], seed: int) -> None:
    pool = ImagePool(size, seed=seed)
    came: list[float] = []
    for count in batches:
        images = numbered(*range(len(came), len(came) + count))
        came += images.flatten().tolist()
        given = pool.query(images)
        assert given.shape == images.shape
        assert set(given.flatten().tolist()) <= set(came)
    assert len(pool) == min(size, len(came))


@pytest.mark.parametrize("size", [0, 1, 4])
def test_goes_on_as_if_never_stopped(size: int) -> None:
    pool = ImagePool(size, seed=3)
    for i in range(10):
        pool.query(numbered(2 * i, 2 * i + 1))
    state = copy.deepcopy(pool.state_dict())
    resumed = ImagePool(size, seed=8)
    resumed.load_state_dict(state)
    for i in range(10, 20):
        batch = numbered(2 * i, 2 * i + 1)
        assert torch.equal(pool.query(batch), resumed.query(batch))
