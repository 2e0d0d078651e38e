"""What is said of descriptors that are missing, of odd length or of another image than was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darkside_cli.datasets.ground_truth import GroundTruth, Query
from darkside_cli.errors import UsageError
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.describe.tables import missing_as_nan, stretched_rows
from darkside_cli.retrieval.describe.write import write_descriptors
from darkside_cli.retrieval.search.benchmark import BenchmarkRows
from darkside_cli.retrieval.search.evaluate import rows_from_file, without_broken_queries
from darkside_cli.retrieval.search.nearest import nearest
from darkside_cli.retrieval.search.score import score
from darkside_cli.retrieval.search.warnings import (
    Distractors,
    of_index,
    of_result,
    of_rows,
    of_truth,
)

EYE = np.eye(3, dtype=np.float32)
TRUTH = GroundTruth(
    "city",
    ("a", "b"),
    (Query("q", {"ok": (0,), "junk": ()}), Query("r", {"ok": (1,), "junk": ()}, (0.0, 0.0, 5.0, 5.0))),
)


def test_lengths() -> None:
    """Unit length but for what half precision rounds; zeros have no direction, and missing rows are told elsewhere."""
    rows = np.stack([EYE[0], EYE[0] * 1.01, EYE[1] * 1.1, EYE[1] * 0.5, 0 * EYE[0], EYE[2] * np.nan])
    rows[0] = np.array([0.6, 0.8, 0]).astype(np.float16)
    assert stretched_rows(rows) == 2
    assert stretched_rows(np.full((2, 3), 1e30, np.float32)) == 2
    assert stretched_rows(np.empty((0, 3), np.float32)) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_wholly_finite_is_no_descriptor(value: float) -> None:
    database, queries = EYE[:2].copy(), EYE[:2].copy()
    database[1, 2] = queries[0, 1] = value
    rows = BenchmarkRows(database, queries)
    assert len(rows.failed(TRUTH)) == 2
    assert rows.failed(TRUTH) == ("b", "q")
    asked, left = without_broken_queries(TRUTH, rows)
    assert [query.name for query in asked.queries] == ["r"]
    result = score(left.database, left.queries, asked)  # b, which has no descriptor, comes last: rank 1 of 2
    assert result.protocols[0].mean_average_precision == 0.25


def test_an_infinite_number_does_not_come_first(tmp_path: Path) -> None:
    """b is infinitely far in a direction that q has a part in; b and nothing else is without a descriptor."""
    table = np.array([[1, 0, 0], [0, np.inf, 0], [0.8, 0.6, 0], [0, 1, 0]], np.float32)
    assert missing_as_nan(table[[0, 2]].copy()).tolist() == table[[0, 2]].tolist()
    np.testing.assert_array_equal(np.isnan(missing_as_nan(table)).all(axis=1), [False, True, False, False])
    assert np.isinf(table[1, 1]), "what was given stays as it is"
    write_descriptors(tmp_path / "x.npz", ["a", "b", "q", "r"], [table], 3)
    rows = rows_from_file(TRUTH, tmp_path / "x.npz")
    assert score(rows.database, rows.queries, TRUTH).protocols[0].average_precisions == (1.0, 0.25)
    stored = open_descriptors(tmp_path / "x.npz")
    indices, scores = nearest(stored, table[2:3], 3)
    assert indices.tolist() == [[2, 0, 3]]
    assert scores[0].tolist() == pytest.approx([1, 0.8, 0.6])
    np.save(tmp_path / "far.npy", table[1:2])
    far = Distractors(open_descriptors(tmp_path / "far.npy"))
    assert all(np.isnan(block).all() for block in far.blocks())


def test_rows_of_a_file(tmp_path: Path) -> None:
    names = ["a", "b", "q", "r@0,0,5,5", "r"]
    write_descriptors(tmp_path / "x.npz", names, [EYE[[0, 1, 0, 1, 2]]], 3)
    rows = rows_from_file(TRUTH, tmp_path / "x.npz")
    assert rows.whole == ()
    np.testing.assert_array_equal(rows.queries[1], EYE[1])
    assert list(of_rows("x", TRUTH, rows)) == []
    write_descriptors(tmp_path / "y.npz", [*names[:3], "r"], [2 * EYE[[0, 1, 0, 1]]], 3)
    rows = rows_from_file(TRUTH, tmp_path / "y.npz")
    assert rows.whole == ("r",)
    length, part = of_rows("y.npz", TRUTH, rows)
    assert (length.level, length.message.partition(":")[2][:39]) == (
        "warning",
        " 4 descriptors are not of unit length: ",
    )
    assert "1 queries by plain names (r)" in part.message


def test_distractors(tmp_path: Path) -> None:
    table = np.stack([EYE[0], 3 * EYE[1], EYE[1] * np.nan])
    np.save(tmp_path / "more.npy", table)
    more = Distractors(open_descriptors(tmp_path / "more.npy"))
    with pytest.raises(UsageError, match=r"more\.npy has descriptors of 3 dimensions, small of 2"):
        more.require_dim(2, "small")
    more.require_dim(3, "other")
    for _ in range(2):  # read once for each data set
        np.testing.assert_array_equal(np.concatenate(list(more.blocks())), table)
        missing, length = (notice.message for notice in more.warnings())
        assert "1 of 3 distractors have no finite descriptor" in missing
        assert "1 descriptors are not of unit length" in length
    np.save(tmp_path / "none.npy", table[:0])
    none = Distractors(open_descriptors(tmp_path / "none.npy"))
    assert sum(len(block) for block in none.blocks()) == 0
    assert [notice.message for notice in none.warnings()] == [
        f"{tmp_path / 'none.npy'} has no descriptors: there are no distractors"
    ]


def test_an_index_of_another_program(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.stack([EYE[0], 3 * EYE[1]]))
    (notice,) = of_index(open_descriptors(tmp_path / "x.npy"))
    assert "1 descriptors are not of unit length: scores are scalar products, not cosines" in notice.message
    np.save(tmp_path / "x.npy", EYE)
    assert list(of_index(open_descriptors(tmp_path / "x.npy"))) == []


def test_truths_and_results() -> None:
    groups = {"ok": (0, 1), "junk": (0, 1)}
    odd = GroundTruth(
        "odd", ("a", "b"), tuple(Query(name, groups) for name in "qrs"), lenient=True
    )  # two of each
    told = [notice.message for notice in of_truth(odd)]
    assert len(told) == 4
    assert (
        told[0]
        == "odd, query 0 (q): image 0 (a) is both ok and junk; scored as cirtorch's evaluation scores it"
    )
    assert told[3] == "odd: and 3 more such images"
    assert list(of_truth(TRUTH)) == []
    empty = GroundTruth("none", ("a",), (Query("q", {"ok": (), "junk": ()}),))
    (notice,) = of_result(score(EYE[:1], EYE[:1], empty))
    assert notice.message == "none: no query has a right image in the ground truth: nothing to judge"
    assert list(of_result(score(EYE[:2], EYE[:2], TRUTH))) == []
