"""Ranks counted in blocks against a stable sort of all scores, ties and missing scores included."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ranks import rank_relevant, ranks_in_list

from darkside_cli.metrics.protocols import NOT_FOUND
from darkside_cli.metrics.ranking import RankCounter, TopK


def test_ranks_by_hand() -> None:
    scores = np.array([[0.5, 0.9, 0.5, 0.1, 0.5, 0.9]], dtype=np.float32)
    # 1 and 5 first, then 0, 2, 4 by their index, then 3.
    for width in (1, 2, 4, 6):
        blocks = [scores[:, i : i + width] for i in range(0, 6, width)]
        (ranks,) = rank_relevant(blocks, [np.array([4, 3, 1, 0, 5, 2])])
        assert ranks.tolist() == [4, 5, 0, 2, 1, 3]


def test_missing_scores_come_last() -> None:
    nan, low = np.nan, -np.inf
    scores = np.array([[nan, 0.1, low, nan, 0.2]], dtype=np.float32)
    (ranks,) = rank_relevant([scores[:, :2], scores[:, 2:]], [np.arange(5)])
    assert ranks.tolist() == [2, 1, 3, 4, 0]


@st.composite
def score_tables(draw: st.DrawFn) -> np.ndarray:
    """Few different values, so that ties are everywhere; some minus infinity, some missing, both zeros."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 30)))
    values = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.25, 0.5, np.inf, np.nan])
    return draw(hnp.arrays(np.float32, shape, elements=values))


def stable_order(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-np.where(np.isnan(scores), -np.inf, scores), axis=1, kind="stable")


def split(scores: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    return np.split(scores, sorted(cut % (scores.shape[1] + 1) for cut in cuts), axis=1)


@settings(deadline=None)
@given(score_tables(), st.lists(st.integers(0, 30), max_size=5), st.randoms(use_true_random=False))
def test_counting_is_sorting(scores: np.ndarray, cuts: list[int], random: Random) -> None:
    size = scores.shape[1]
    listed = [np.array(random.sample(range(size), random.randint(0, size)), dtype=int) for _ in scores]
    ranks = rank_relevant(split(scores, cuts), listed)
    place = np.argsort(stable_order(scores), axis=1)
    for row, (own, found) in enumerate(zip(listed, ranks, strict=True)):
        assert found.tolist() == place[row, own].tolist()


@settings(deadline=None)
@given(score_tables(), st.lists(st.integers(0, 30), max_size=5), st.integers(0, 35))
def test_first_k_are_those_of_a_sort(scores: np.ndarray, cuts: list[int], k: int) -> None:
    top = TopK(len(scores), k)
    first = 0
    for block in split(scores, cuts):
        top.update(block, first)
        first += block.shape[1]
    order = stable_order(scores)[:, :k]
    assert top.indices.tolist() == order.tolist()
    expected = np.take_along_axis(np.where(np.isnan(scores), -np.inf, scores), order, axis=1)
    np.testing.assert_array_equal(top.scores, expected)


def test_queries_may_be_counted_apart() -> None:
    scores = np.random.default_rng(0).random((5, 20), dtype=np.float32)
    listed = [np.array([3, 7, 19])] * 5
    own = [scores[row, indices] for row, indices in enumerate(listed)]
    counter = RankCounter(listed, own)
    for first in (12, 0):  # in any order
        part = scores[:, first : first + (8 if first else 12)]
        counter.update(part[:2], first)
        counter.update(part[2:], first, first_query=2)
    for found, expected in zip(counter.ranks(), rank_relevant([scores], listed), strict=True):
        assert found.tolist() == expected.tolist()


def test_double_precision_is_kept() -> None:
    scores = np.array([[1.0, 1.0 + 1e-12, 1.0]])
    (ranks,) = rank_relevant([scores], [np.array([0, 1, 2])])
    assert ranks.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("ranking", "listed", "expected"),
    [
        ([3, 0, 2, 1], [0, 1, 3], [1, 3, 0]),
        ([3, 9], [0, 9, 4, 3], [NOT_FOUND, 1, NOT_FOUND, 0]),
        ([], [5], [NOT_FOUND]),
        ([1, 2], [], []),
    ],
)
def test_ranks_in_a_given_list(ranking: list[int], listed: list[int], expected: list[int]) -> None:
    found = ranks_in_list(np.array(ranking, dtype=np.int32), np.array(listed, dtype=int))
    assert found.tolist() == expected
