"""Diverse anchors: by hand, against the quadratic way on random pools with ties, and the limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from obvious_mining import exact_rows, obvious_anchors

from darkside_cli.errors import UsageError
from darkside_cli.retrieval.mining import anchors
from darkside_cli.retrieval.mining.anchors import diverse_anchors, window
from darkside_cli.retrieval.mining.draws import TorchDraws


def at_angles(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_by_hand() -> None:
    """Five directions; half of what is left is chosen from, the most similar fifth not, no draws."""
    pool = at_angles(0, 10, 40, 80, 120)
    # From 0: similar to 10, 40, 80, 120 in this order. 4 are left: places 2 to 3 of 4, so of 120, 80, 40, 10 it is 40.
    # Then 10 has 10 (to 0), 80 has 40 (to 40), 120 has 80: of 120, 80, 10 places 1 to 2 of 3: 80.
    found = diverse_anchors(pool, 3, similar_exclude=0.2, similar_include=0.5)
    assert [window(left, 0.2, 0.5) for left in (4, 3)] == [(2, 3), (1, 2)]
    assert found.positions.tolist() == [0, 2, 3]
    np.testing.assert_allclose(found.similarities, np.cos(np.deg2rad([40, 40])), rtol=1e-6)


def test_windows() -> None:
    assert window(70, 0.2, 0.8) == (13, 56)  # 1 - 0.8 is a little less than 0.2
    assert window(10, 0, 1) == (0, 10)
    assert window(1, 0.2, 0.8) == (0, 1)
    assert window(10, 1, 1) == (0, 1)
    assert window(10, 0.5, 0.2) == (4, 5)  # nothing between: the last one below is taken


def test_every_image_is_chosen_once() -> None:
    pool = np.repeat(at_angles(0, 90), 10, axis=0)  # copies: as similar to a chosen one as it is to itself
    found = diverse_anchors(pool, 20, similar_exclude=0, similar_include=1)
    assert sorted(found.positions.tolist()) == list(range(20))


def test_one_anchor_is_the_first() -> None:
    found = diverse_anchors(at_angles(30, 20), 1)
    assert found.positions.tolist() == [0]
    assert found.similarities.shape == (0,)


def test_too_many_anchors_and_broken_images() -> None:
    with pytest.raises(UsageError, match="3 anchors cannot be chosen from 2"):
        diverse_anchors(at_angles(0, 1), 3)
    with pytest.raises(UsageError, match="no descriptor"):
        diverse_anchors(np.array([[1, 0], [np.nan, 0]], dtype=np.float32), 1)


POOLS = {
    "rows": st.integers(1, 60),
    "dim": st.integers(1, 12),
    "levels": st.sampled_from([None, 1, 3]),
    "exclude": st.sampled_from([0, 0.1, 0.2, 0.5, 1]),
    "include": st.sampled_from([0, 0.5, 0.8, 1]),
    "share": st.floats(0, 1),
    "shuffle": st.booleans(),
    "seed": st.integers(0, 2**31),
}


def check(
    rows: int,
    dim: int,
    levels: int | None,
    exclude: float,
    include: float,
    share: float,
    shuffle: bool,
    seed: int,
) -> None:
    pool = exact_rows(np.random.default_rng(seed), rows, dim, levels=levels)
    count = max(1, round(share * rows))
    expected, similar = obvious_anchors(pool, count, exclude, include, draws(seed) if shuffle else None)
    for table in (pool, torch.from_numpy(pool), pool.astype(np.float64)):
        found = diverse_anchors(
            table,
            count,
            similar_exclude=exclude,
            similar_include=include,
            draws=draws(seed) if shuffle else None,
        )
        assert found.positions.tolist() == expected
        assert found.similarities.tolist() == similar


def draws(seed: int) -> TorchDraws:
    return TorchDraws(torch.Generator().manual_seed(seed))


@given(**POOLS)
@settings(max_examples=100, deadline=None)
def test_equal_to_the_quadratic_way(**drawn: object) -> None:
    check(**drawn)  # type: ignore[arg-type]


@given(**POOLS)
@settings(max_examples=60, deadline=None)
def test_the_way_of_a_gpu_is_equal(**drawn: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anchors, "_choose", anchors._choose_on_device)
        check(**drawn)  # type: ignore[arg-type]


def test_bands_and_threads_change_nothing() -> None:
    """More rows than a band has, on one thread and on two."""
    pool = torch.from_numpy(exact_rows(np.random.default_rng(0), 6000, 16))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(diverse_anchors(pool, 40, draws=draws(1)).positions.tolist())
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1] == obvious_anchors(pool.numpy(), 40, 0.2, 0.8, draws(1))[0]


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    pool = exact_rows(np.random.default_rng(0), 3000, 64)
    found = diverse_anchors(pool, 200, draws=draws(1), device="cuda")
    assert found.positions.tolist() == diverse_anchors(pool, 200, draws=draws(1)).positions.tolist()
