"""From descriptors to figures: hand-made lists, distractors, top images, and what does not fit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranks import ranks_in_list

from darkside_cli.datasets.ground_truth import GroundTruth, Query
from darkside_cli.errors import UsageError
from darkside_cli.metrics.protocols import score_ranks
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.search.score import TopImage, score, score_lines

NAMES = ("a", "b", "c", "d", "e")
# One query along the first axis: the database comes in the order b, d, a, e, c.
QUERIES = np.array([[1.0, 0.0]], np.float32)
DATABASE = np.array([[0.5, 1], [0.9, 1], [0.1, 1], [0.8, 1], [0.3, 1]], np.float32)
PLAIN = GroundTruth("city", NAMES, (Query("q", {"ok": (3, 2), "junk": (1,)}),))
GRADED = GroundTruth("city", NAMES, (Query("q", {"easy": (3,), "hard": (2,), "junk": (1,)}),))


def test_plain_ground_truth_by_hand() -> None:
    result = score(DATABASE, QUERIES, PLAIN, kappas=(1, 2, 10))
    (only,) = result.protocols
    # Without junk: d a e c; the relevant ones are first and last.
    assert only.mean_average_precision == pytest.approx((1 + 1) / 4 + (1 / 3 + 1 / 2) / 4)
    assert only.mean_precisions == (1.0, 0.5, 0.5)
    assert only.recalls == (1.0, 1.0, 1.0)
    assert (result.dataset, result.queries, result.database_size, result.distractors) == (
        "city",
        ("q",),
        5,
        0,
    )
    assert result.protocol("ok") is only
    assert result.top is None


def test_graded_ground_truth_by_hand() -> None:
    result = score(DATABASE, QUERIES, GRADED)
    # Easy and hard each leave the other's image out: d a e and a e c.
    assert result.protocol("easy").mean_average_precision == 1.0
    assert result.protocol("hard").mean_average_precision == pytest.approx((0 + 1 / 3) / 2)
    assert result.protocol("medium").mean_average_precision == pytest.approx(
        (1 + 1) / 4 + (1 / 3 + 1 / 2) / 4
    )


def test_distractors_come_between_and_after_equal_ones() -> None:
    def distractors() -> Iterator[np.ndarray]:
        yield np.array([[0.85, 0], [0.8, 0]], np.float32)
        yield np.array([[0.2, 0]], np.float32)

    result = score(DATABASE, QUERIES, PLAIN, distractors=distractors(), top=8)
    assert result.distractors == 3
    assert result.top is not None
    # The distractor that scores like d comes after it.
    assert [image.name for image in result.top[0]] == ["b", None, "d", None, "a", "e", None, "c"]
    # Without junk d is second, c seventh.
    assert result.protocols[0].mean_average_precision == pytest.approx((0 + 1 / 2) / 4 + (1 / 6 + 2 / 7) / 4)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_distractors_from_a_file(suffix: str, tmp_path: Path) -> None:
    more = np.random.default_rng(0).standard_normal((300, 2)).astype(np.float32)
    (np.save if suffix == ".npy" else np.savez)(tmp_path / f"more{suffix}", more)
    file = open_descriptors(tmp_path / f"more{suffix}")
    result = score(DATABASE, QUERIES, PLAIN, distractors=file.blocks(70), top=305, block=64)
    assert result == score(DATABASE, QUERIES, PLAIN, distractors=[more], top=305, block=64)
    assert result.distractors == file.count == 300


def test_top_images_say_what_they_are() -> None:
    result = score(DATABASE, QUERIES, PLAIN, top=3)
    assert result.top is not None
    (images,) = result.top
    assert [image.group for image in images] == ["junk", "ok", None]
    assert images[1] == TopImage(index=3, name="d", score=float(DATABASE[3, 0]), group="ok")


def test_document_is_json() -> None:
    second = Query("r", {"ok": (), "junk": ()})
    truth = GroundTruth("city", NAMES, (*PLAIN.queries, second))
    result = score(DATABASE, np.repeat(QUERIES, 2, axis=0), truth, kappas=(1, 2))
    document = json.loads(json.dumps(result.to_document(per_query=True), allow_nan=False))
    assert document["queries"] == 2
    assert document["protocols"]["ok"]["queries_judged"] == 1
    assert document["protocols"]["ok"]["mP"] == {"1": 1.0, "2": 0.5}
    assert document["protocols"]["ok"]["recall"] == {"1": 1.0, "2": 1.0}
    assert document["protocols"]["ok"]["per_query"][1] == {"name": "r", "AP": None, "P": [None, None]}
    assert "per_query" not in result.to_document()["protocols"]["ok"]


@pytest.mark.parametrize(
    ("database", "queries", "problem"),
    [
        (DATABASE[:4], QUERIES, "5 database images, but there are 4 descriptors"),
        (DATABASE, np.repeat(QUERIES, 2, axis=0), "1 queries, but there are 2 descriptors"),
    ],
)
def test_numbers_of_descriptors_have_to_fit(database: np.ndarray, queries: np.ndarray, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        score(database, queries, PLAIN)


def test_images_without_descriptor_come_last() -> None:
    database = DATABASE.copy()
    database[3] = np.nan
    result = score(database, QUERIES, PLAIN, top=5)
    assert result.top is not None
    assert [image.name for image in result.top[0]] == ["b", "a", "e", "c", "d"]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.booleans())
def test_same_as_judging_the_whole_sorted_list(seed: int, others: int, graded: bool) -> None:
    rng = np.random.default_rng(seed)
    database, queries, more = (
        rng.integers(-3, 4, (count, 4)).astype(np.float32) for count in (25, 3, others)
    )
    entries = []
    for number in range(3):
        a, b, c = np.split(rng.permutation(25)[:12], np.sort(rng.integers(0, 13, 2)))
        groups = {"easy": a, "hard": b, "junk": c} if graded else {"ok": np.concatenate([a, b]), "junk": c}
        entries.append(Query(f"q{number}", {name: tuple(own.tolist()) for name, own in groups.items()}))
    truth = GroundTruth("random", tuple(map(str, range(25))), tuple(entries))
    result = score(database, queries, truth, distractors=np.array_split(more, 3), block=16)

    lists = np.argsort(-(queries @ np.concatenate([database, more]).T), axis=1, kind="stable")
    ranks = [
        {group: ranks_in_list(own_list, np.array(own)) for group, own in query.groups.items()}
        for query, own_list in zip(entries, lists, strict=True)
    ]
    for protocol, found in zip(truth.protocols, result.protocols, strict=True):
        expected = score_ranks(ranks, protocol)
        np.testing.assert_array_equal(found.average_precisions, expected.average_precisions)
        np.testing.assert_array_equal(found.precisions, expected.precisions)
        assert math.isnan(found.mean_average_precision) == (found.judged == 0)
        assert found.recalls == expected.recalls or found.judged == 0


def test_the_published_figure_stands_beside_its_protocol_alone() -> None:
    from darkside_cli.datasets.catalog import TEST_SETS

    groups = {"easy": (0,), "hard": (1,), "junk": ()}
    truth = GroundTruth("roxford5k", ("a", "b"), (Query("q", groups),))
    rows = np.eye(2, dtype=np.float32)
    result = score(rows, rows[:1], truth)
    lines = list(score_lines("m", result, entry=TEST_SETS.get("roxford5k"), published=60.0))
    assert [(line.protocol, line.published, line.difference) for line in lines] == [
        ("easy", None, None),
        ("medium", 60.0, 40.0),
        ("hard", None, None),
    ]
