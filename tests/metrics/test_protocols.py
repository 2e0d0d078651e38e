"""Protocols: what each asks for and leaves out, and means over the queries that have something to judge."""

from __future__ import annotations

import math

import numpy as np
import pytest

from darkside_cli.metrics import protocols
from darkside_cli.metrics.protocols import NOT_FOUND, Protocol, score_ranks


def ranks(**groups: list[int]) -> dict[str, np.ndarray]:
    return {group: np.array(own, dtype=int) for group, own in groups.items()}


# A list of ten: hard 0, junk 1, easy 2, wrong 3, easy 4, hard 5, wrong from 6 on.
QUERY = ranks(easy=[4, 2], hard=[0, 5], junk=[1])


@pytest.mark.parametrize(
    ("protocol", "places"),
    [
        (protocols.EASY, [0, 2]),  # without hard and junk: 2 3 4
        (protocols.MEDIUM, [0, 1, 3, 4]),  # without junk: 0 2 3 4 5
        (protocols.HARD, [0, 2]),  # without easy and junk: 0 3 5
    ],
)
def test_what_a_protocol_leaves_out(protocol: Protocol, places: list[int]) -> None:
    score = score_ranks([QUERY], protocol, (1, 3))
    expected = sum(((i / p if p else 1) + (i + 1) / (p + 1)) / 2 for i, p in enumerate(places)) / len(places)
    assert score.mean_average_precision == pytest.approx(expected, rel=1e-15)
    assert score.precisions == ((1.0, sum(p < 3 for p in places) / min(3, places[-1] + 1)),)
    assert score.protocol == protocol.name


def test_queries_without_relevant_images_are_left_out_of_means() -> None:
    nothing = ranks(easy=[], hard=[3], junk=[0])
    score = score_ranks([QUERY, nothing], protocols.EASY)
    alone = score_ranks([QUERY], protocols.EASY)
    assert score.judged == 1
    assert math.isnan(score.average_precisions[1])
    assert np.isnan(score.precisions[1]).all()
    assert score.mean_average_precision == alone.mean_average_precision
    assert score.mean_precisions == alone.mean_precisions
    assert score.recalls == alone.recalls


def test_nothing_to_judge_at_all() -> None:
    score = score_ranks([ranks(ok=[], junk=[1])], protocols.OK)
    assert score.judged == 0
    assert math.isnan(score.mean_average_precision)
    assert np.isnan(score.mean_precisions).all()
    assert np.isnan(score.recalls).all()


def test_images_beyond_the_end_of_a_short_list_cost_recall() -> None:
    score = score_ranks([ranks(ok=[0, NOT_FOUND], junk=[NOT_FOUND])], protocols.OK, (1, 5))
    assert score.mean_average_precision == 0.5
    assert score.mean_precisions == (1.0, 1.0)


def test_means_over_queries() -> None:
    score = score_ranks([ranks(ok=[0]), ranks(ok=[1]), ranks(ok=[6])], protocols.OK, (1, 5, 10))
    assert score.average_precisions == pytest.approx((1, 1 / 4, 1 / 14))
    assert score.mean_average_precision == pytest.approx((1 + 1 / 4 + 1 / 14) / 3)
    assert score.recalls == pytest.approx((1 / 3, 2 / 3, 1))
    # The last one's divisor at 5 is 5, at 10 it is 7.
    assert score.mean_precisions == pytest.approx((1 / 3, (1 + 1 / 2 + 0) / 3, (1 + 1 / 2 + 1 / 7) / 3))


def test_k_is_positive() -> None:
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        score_ranks([QUERY], protocols.EASY, (0, 1))


def test_an_image_both_right_and_junk_as_cirtorch_scores_it() -> None:
    """By hand: A at rank 0 is ok and junk, B at rank 1 is ok, C at rank 3 too.

    cirtorch moves an image up by the junk strictly before it: A stays at 0, B comes to 0 and C to 2. The terms are
    A (1 + 1/1) / 2, B (1 + 2/1) / 2 (at rank 0 the precision before is 1), C (2/2 + 3/3) / 2, over three images.
    """
    score = score_ranks([ranks(ok=[0, 1, 3], junk=[0])], protocols.OK, (1, 2, 5))
    assert score.mean_average_precision == pytest.approx((1 + 1.5 + 1) / 3, rel=1e-15)
    assert score.precisions == ((2.0, 1.0, 1.0),)  # hits up to place k over k: both A and B are at place 1


def test_an_image_listed_twice_is_asked_for_twice_and_found_once() -> None:
    """By hand: of the list (A, A, B), with A at rank 0 and B at 2, two of three are found; junk twice is one."""
    score = score_ranks([ranks(ok=[0, 0, 2], junk=[1, 1])], protocols.OK, (1, 5))
    # B moves up by one image of junk, to rank 1: (1/1 + 2/2) / 2
    assert score.mean_average_precision == pytest.approx((1 + 1) / 3, rel=1e-15)
    graded = score_ranks([ranks(easy=[0], hard=[0, 2], junk=[])], protocols.MEDIUM)
    assert graded.mean_average_precision == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 3, rel=1e-15)
