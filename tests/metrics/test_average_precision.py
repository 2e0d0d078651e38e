"""Average precision, precision and recall against answers worked out by hand, and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.metrics.protocols import average_precision, precision_at, recall_at, without_junk


@pytest.mark.parametrize(
    ("ranks", "relevant", "expected"),
    [
        ([0], 1, 1.0),
        ([0, 1, 2], 3, 1.0),
        # Precision is 0 before rank 1 and 1/2 with it.
        ([1], 1, 1 / 4),
        # First: 1 before, 1 with it. Second: 1/2 before, 2/3 with it. Each is half of the recall.
        ([0, 2], 2, ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2),
        # The third relevant image is not in the list: its third of the recall is lost.
        ([0, 2], 3, ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 3),
        ([], 2, 0.0),
    ],
)
def test_average_precision_by_hand(ranks: list[int], relevant: int, expected: float) -> None:
    assert average_precision(np.array(ranks, dtype=int), relevant) == pytest.approx(expected, rel=1e-15)


def test_nothing_relevant_is_no_number() -> None:
    nothing = np.array([], dtype=int)
    assert math.isnan(average_precision(nothing, 0))
    assert np.isnan(precision_at(nothing, 0, (1, 5))).all()


def test_junk_moves_later_images_up() -> None:
    # 0 1 2 3 4 5 6 with junk at 1, 2 and 5: 0 3 4 6 become 0 1 2 3.
    assert without_junk(np.array([6, 0, 4]), np.array([5, 1, 2])).tolist() == [0, 2, 3]
    assert without_junk(np.array([3]), np.array([], dtype=int)).tolist() == [3]


def test_precision_divides_by_the_last_relevant_place() -> None:
    ranks = np.array([0, 2])
    # Among the first 1: one. Among the first 2: one. From 3 on, the place of the last one: two of three.
    assert precision_at(ranks, 2, (1, 2, 3, 10)).tolist() == [1.0, 0.5, 2 / 3, 2 / 3]
    assert precision_at(np.array([], dtype=int), 2, (1, 10)).tolist() == [0.0, 0.0]


def test_recall_asks_for_one_relevant_image() -> None:
    assert recall_at(np.array([4, 9]), (1, 4, 5, 10)).tolist() == [False, False, True, True]
    assert recall_at(np.array([], dtype=int), (1, 10)).tolist() == [False, False]


@st.composite
def labelled_lists(draw: st.DrawFn) -> list[str]:
    return draw(st.lists(st.sampled_from(["relevant", "junk", "wrong"]), min_size=1, max_size=40))


def _walk_down(labels: list[str], kappas: tuple[int, ...]) -> tuple[float, list[float], list[bool]]:
    """The metrics as their definitions read, walking down the list image by image."""
    kept = [label for label in labels if label != "junk"]
    total = kept.count("relevant")
    area, hits, before = 0.0, 0, 1.0
    for place, label in enumerate(kept, start=1):
        if label == "relevant":
            hits += 1
            area += (before + hits / place) / 2 / total
        before = hits / place
    last = max(place for place, label in enumerate(kept, start=1) if label == "relevant")
    precisions = [kept[: min(k, last)].count("relevant") / min(k, last) for k in kappas]
    return area, precisions, ["relevant" in kept[:k] for k in kappas]


@settings(deadline=None)
@given(labelled_lists(), st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_same_as_walking_down_the_list(labels: list[str], kappas: list[int]) -> None:
    relevant, junk = (
        np.array([i for i, own in enumerate(labels) if own == label], int) for label in ("relevant", "junk")
    )
    ranks = without_junk(relevant, junk)
    if len(relevant) == 0:
        assert math.isnan(average_precision(ranks, 0))
        return
    area, precisions, recalls = _walk_down(labels, tuple(kappas))
    assert average_precision(ranks, len(relevant)) == pytest.approx(area, rel=1e-12)
    np.testing.assert_allclose(precision_at(ranks, len(relevant), kappas), precisions, rtol=1e-15)
    assert recall_at(ranks, kappas).tolist() == recalls
