"""Hard negatives: by hand, against full sorts on random pools with ties, and what cannot be mined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from obvious_mining import exact_rows, obvious_negatives

from darkside_cli.errors import UsageError
from darkside_cli.retrieval.mining.negatives import Apart, hard_negatives, negative_distances

# One dimension: the score of an image is its number.
QUERY = np.ones((1, 1), dtype=np.float32)
POOL = np.array([[9], [8], [7], [6], [5], [4]], dtype=np.float32)


def test_by_hand() -> None:
    # 9 is of the query's place, 7 of the same place as 8
    found = hard_negatives(QUERY, np.array([3]), POOL, np.array([3, 1, 1, 2, 4, 2]), 3)
    assert found.positions.tolist() == [[1, 3, 4]]
    assert found.scores.tolist() == [[8, 6, 5]]


def test_what_was_taken_near_the_query_is_no_negative() -> None:
    """8 is 20 m away from the query, 7 exactly 25 m, 6 further; nobody knows where 5 was taken."""
    pool = np.array([[0, 0], [12, 16], [0, 25], [0, 25.01], [np.nan, np.nan], [999, 0]])
    apart = Apart(np.zeros((1, 2)), pool, 25)
    for block in (1, 4, 6):
        found = hard_negatives(QUERY, np.array([0]), POOL, np.arange(6), 3, apart=apart, block=block)
        assert found.positions.tolist() == [[3, 4, 5]]
    with pytest.raises(UsageError, match=r"4 hard negatives are needed.* shows only 3"):
        hard_negatives(QUERY, np.array([0]), POOL, np.arange(6), 4, apart=apart)


def test_equal_scores_come_in_the_order_of_the_pool() -> None:
    pool = np.ones((6, 1), dtype=np.float32)
    for block in (1, 2, 6):
        found = hard_negatives(QUERY, np.array([0]), pool, np.array([0, 2, 2, 1, 1, 3]), 2, block=block)
        assert found.positions.tolist() == [[1, 3]]


def test_too_few_places_are_counted() -> None:
    clusters = np.array([3, 1, 1, 2, 1, 2])
    assert hard_negatives(QUERY, np.array([7]), POOL, clusters, 3).positions.tolist() == [[0, 1, 3]]
    with pytest.raises(UsageError, match=r"pool of 6 images shows only 2 \(") as raised:
        hard_negatives(QUERY, np.array([3]), POOL, clusters, 3)
    assert raised.value.message.startswith("3 hard negatives are needed")
    assert "at most 2" in str(raised.value.hint)


def test_none_are_wanted() -> None:
    found = hard_negatives(QUERY, np.array([0]), POOL, np.zeros(6, dtype=np.int64), 0)
    assert found.positions.shape == found.scores.shape == (1, 0)
    assert hard_negatives(QUERY[:0], np.empty(0, dtype=np.int64), POOL, np.zeros(6), 2).positions.shape == (
        0,
        2,
    )
    with pytest.raises(UsageError, match="-1 negatives"):
        hard_negatives(QUERY, np.array([0]), POOL, np.zeros(6), -1)


def test_images_without_a_descriptor() -> None:
    clusters = np.arange(6)
    for wrong in (np.nan, np.inf):
        pool = POOL.copy()
        pool[4] = wrong
        with pytest.raises(UsageError, match="negative pool has no descriptor"):
            hard_negatives(QUERY, np.array([9]), pool, clusters, 1, block=2)
        with pytest.raises(UsageError, match="anchor has no descriptor"):
            hard_negatives(pool[4:5], np.array([9]), POOL, clusters, 1)


def test_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match="6 descriptors, but 5 clusters"):
        hard_negatives(QUERY, np.array([0]), POOL, np.arange(5), 1)
    with pytest.raises(UsageError, match="dimensions"):
        hard_negatives(np.ones((1, 2), dtype=np.float32), np.array([0]), POOL, np.arange(6), 1)


@given(
    queries=st.integers(1, 12),
    rows=st.integers(1, 80),
    dim=st.integers(1, 6),
    clusters=st.integers(1, 12),
    count=st.integers(1, 5),
    levels=st.sampled_from([None, 1, 2]),
    block=st.sampled_from([None, 1, 3, 7, 64]),
    by_place=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=120, deadline=None)
def test_equal_to_full_sorts(
    queries: int,
    rows: int,
    dim: int,
    clusters: int,
    count: int,
    levels: int | None,
    block: int | None,
    by_place: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    pool, probe = (exact_rows(rng, n, dim, levels=levels) for n in (rows, queries))
    of_pool, of_query = (rng.integers(-3, clusters - 3, n) for n in (rows, queries))
    if by_place:  # all images of a place in a row: blocks of a single place
        of_pool = np.sort(of_pool)
    expected = obvious_negatives(probe, of_query, pool, of_pool, count)
    if any(len(found) < count for found in expected):
        fewest = min(len(np.setdiff1d(of_pool, cluster)) for cluster in of_query)
        with pytest.raises(UsageError, match=rf"only {fewest} \("):
            hard_negatives(probe, of_query, pool, of_pool, count, block=block)
        return
    found = hard_negatives(probe, of_query, pool, of_pool, count, block=block)
    assert found.positions.tolist() == expected
    np.testing.assert_array_equal(found.scores, np.take_along_axis(probe @ pool.T, found.positions, axis=1))
    for cluster, own in zip(of_query, of_pool[found.positions], strict=True):
        assert cluster not in own
        assert len(set(own.tolist())) == count


def test_a_place_that_fills_whole_tiles() -> None:
    """Each query's best images, hundreds of them, are of its own place or of one other."""
    rng = np.random.default_rng(0)
    pool = exact_rows(rng, 3000, 4)
    clusters = np.where(np.arange(3000) < 1400, 0, np.where(np.arange(3000) < 2800, 1, np.arange(3000)))
    probe = exact_rows(rng, 5, 4)
    pool[:2800] += 2 * probe[0]
    of_query = np.zeros(5, dtype=np.int64)
    for block in (256, 1000, 3000):
        found = hard_negatives(probe, of_query, pool, clusters, 4, block=block)
        assert found.positions.tolist() == obvious_negatives(probe, of_query, pool, clusters, 4)


def test_a_pool_on_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pool, probe = exact_rows(rng, 500, 8), exact_rows(rng, 7, 8)
    clusters, of_query = rng.integers(0, 30, 500), rng.integers(0, 30, 7)
    np.save(tmp_path / "pool.npy", pool)
    mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
    found = hard_negatives(probe, of_query, mapped, clusters, 5, block=64)
    assert found.positions.tolist() == obvious_negatives(probe, of_query, pool, clusters, 5)
    for table in (mapped, torch.from_numpy(pool)):
        distances = negative_distances(probe, table, found.positions)
        by_hand = np.linalg.norm(probe[:, None].astype(np.float64) - pool[found.positions] + 1e-6, axis=2)
        np.testing.assert_allclose(distances, by_hand, rtol=1e-6)


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    rng = np.random.default_rng(0)
    pool, probe = exact_rows(rng, 4000, 64), exact_rows(rng, 300, 64)
    clusters, of_query = rng.integers(0, 100, 4000), rng.integers(0, 100, 300)
    found = hard_negatives(probe, of_query, pool, clusters, 5, device="cuda")
    assert found.positions.tolist() == obvious_negatives(probe, of_query, pool, clusters, 5)
