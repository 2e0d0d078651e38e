"""Exact search against a matrix product and a stable sort, ties included, whatever the tiles and parts are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from darkside_cli.errors import UsageError
from darkside_cli.retrieval.describe.tables import TileScorer, default_rows
from darkside_cli.retrieval.search.device_ranking import DeviceRankCounter, DeviceTopK
from darkside_cli.retrieval.search.index import scan

CPU = torch.device("cpu")


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Descriptors of small integers: dot products are exact in any order of summation, and many are equal."""
    dim = draw(st.integers(1, 5))
    values = st.integers(-2, 2).map(float)
    queries = draw(hnp.arrays(np.float32, (draw(st.integers(1, 4)), dim), elements=values))
    database = draw(hnp.arrays(np.float32, (draw(st.integers(1, 25)), dim), elements=values))
    indices = st.lists(st.integers(0, len(database) - 1), unique=True, max_size=8)
    missing = draw(st.sets(st.integers(0, len(database) - 1), max_size=2))
    database[list(missing)] = np.nan
    return queries, database, [np.array(draw(indices), dtype=int) for _ in queries]


def stable_order(queries: np.ndarray, database: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        scores = queries @ database.T
    return np.argsort(-np.where(np.isnan(scores), -np.inf, scores), axis=1, kind="stable")


@settings(deadline=None)
@given(problems(), st.integers(1, 30), st.integers(0, 30), st.lists(st.integers(0, 25), max_size=4))
def test_search_is_a_stable_sort(
    problem: tuple[np.ndarray, np.ndarray, list[np.ndarray]], block: int, k: int, cuts: list[int]
) -> None:
    queries, database, listed = problem
    # What is listed stays in the database, the rest may come later and in any parts.
    known = max((int(own.max()) + 1 for own in listed if len(own)), default=0)
    more = np.split(database[known:], sorted(min(cut, len(database) - known) for cut in cuts))
    found = scan(queries, database[:known], listed=listed, k=k, more=iter(more), block=block)

    order = stable_order(queries, database)
    place = np.argsort(order, axis=1)
    assert [ranks.tolist() for ranks in found.ranks] == [
        place[row, own].tolist() for row, own in enumerate(listed)
    ]
    assert found.top_indices.tolist() == order[:, :k].tolist()
    assert found.scanned == len(database)


@settings(deadline=None)
@given(problems(), st.integers(1, 30), st.integers(0, 30))
def test_counting_on_a_device_gives_the_same(
    problem: tuple[np.ndarray, np.ndarray, list[np.ndarray]], block: int, k: int
) -> None:
    queries, database, listed = problem
    scores = torch.from_numpy(queries) @ torch.from_numpy(database).T
    own = [scores[row, torch.from_numpy(indices)].numpy() for row, indices in enumerate(listed)]
    counter, top = DeviceRankCounter(listed, own, CPU), DeviceTopK(len(queries), k, CPU)
    for first in range(0, len(database), block):
        counter.update(scores[:, first : first + block], first)
        top.update(scores[:, first : first + block], first)
    expected = scan(queries, database, listed=listed, k=k)
    assert [ranks.tolist() for ranks in counter.ranks()] == [ranks.tolist() for ranks in expected.ranks]
    assert top.indices.tolist() == expected.top_indices.tolist()
    np.testing.assert_array_equal(top.scores, expected.top_scores)


def random_descriptors(count: int, dim: int, seed: int) -> np.ndarray:
    table = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    return table


@pytest.mark.parametrize("queries", [1, 3, 40])
@pytest.mark.parametrize("block", [None, 64, 1000])
def test_copies_of_an_image_have_equal_scores_wherever_they_stand(queries: int, block: int | None) -> None:
    rng = np.random.default_rng(1)
    originals, probes = random_descriptors(150, 96, 2), random_descriptors(queries, 96, 3)
    source = rng.permutation(np.repeat(np.arange(len(originals)), 7))
    database = originals[source]
    listed = [rng.choice(len(database), 50, replace=False) for _ in range(queries)]
    found = scan(probes, database, listed=listed, k=len(database), block=block)
    for row, own in enumerate(listed):
        # Copies stand together, in the order of the database.
        listed_source = source[found.top_indices[row]].reshape(len(originals), 7)
        assert (listed_source == listed_source[:, :1]).all()
        assert (np.diff(found.top_indices[row].reshape(len(originals), 7), axis=1) > 0).all()
        assert np.argsort(found.top_indices[row])[own].tolist() == found.ranks[row].tolist()


def test_no_image_comes_before_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that rounds the same product otherwise each time does not move a listed image."""
    exact, calls = TileScorer._score, 0

    def noisy(self: TileScorer, tile: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return exact(self, tile).mul_(1 + calls * 1e-6)

    database = np.random.default_rng(0).permutation(400).astype(np.float32)[:, None] + 1
    order = np.argsort(-database[:, 0])
    monkeypatch.setattr(TileScorer, "_score", noisy)
    found = scan(np.ones((1, 1), np.float32), database, listed=[np.arange(400)], k=400, block=64)
    assert calls > 7
    assert found.ranks[0].tolist() == np.argsort(order).tolist()
    assert found.top_indices[0].tolist() == order.tolist()


@pytest.mark.parametrize(
    "kind", ["float16", "float64", "readonly", "fortran", "tensor", "half tensor", "memmap"]
)
def test_descriptors_of_any_kind(kind: str, tmp_path: Any) -> None:
    queries = random_descriptors(3, 16, 0)
    plain = (
        random_descriptors(500, 16, 1).astype(np.float16).astype(np.float32)
    )  # all kinds hold them exactly
    listed = [[0, 499], [250], [3, 2, 1]]
    database: Any = plain
    if kind.startswith("float"):
        database = plain.astype(kind)
    elif kind == "readonly":
        database = plain.copy()
        database.flags.writeable = False
    elif kind == "fortran":
        database = np.asfortranarray(plain)
    elif kind == "memmap":
        np.save(tmp_path / "d.npy", plain)
        database = np.load(tmp_path / "d.npy", mmap_mode="r")
    elif kind.endswith("tensor"):
        database = torch.from_numpy(plain).to(torch.float16 if kind.startswith("half") else torch.float32)
    expected = scan(queries, plain, listed=listed, k=5, block=64)
    found = scan(queries, database, listed=listed, k=5, block=64)
    np.testing.assert_array_equal(found.top_indices, expected.top_indices)
    np.testing.assert_array_equal(found.top_scores, expected.top_scores)
    assert [r.tolist() for r in found.ranks] == [r.tolist() for r in expected.ranks]


def test_short_forms() -> None:
    queries, database = np.eye(2, 3, dtype=np.float32), np.eye(3, dtype=np.float32)
    assert [r.tolist() for r in scan(queries, database, listed=[[2, 0], [1]]).ranks] == [[2, 0], [0]]
    found = scan(queries, database, k=2)
    indices, scores = found.top_indices, found.top_scores
    assert indices.tolist() == [[0, 1], [1, 0]]
    assert scores.tolist() == [[1, 0], [1, 0]]


def test_small_parts_are_gathered_and_large_ones_scored_in_place() -> None:
    read = 0

    def parts() -> Any:
        nonlocal read
        for length in (30, 5, 7, 40, 0, 3):
            read += 1
            yield np.ones((length, 8), np.float32)

    scorer = TileScorer(torch.ones(2, 8), 16)
    seen = [(first, scores.shape[1], read) for first, scores in scorer.tiles(parts())]
    # 30 = 16 + 14; 5 fill that up and leave 3; with 7 these are 10, closed by the 40 = 16 + 16 + 8; 8 and 3
    # remain. No more parts are read than a tile needs.
    assert seen == [(0, 16, 1), (16, 16, 2), (32, 10, 4), (42, 16, 4), (58, 16, 4), (74, 11, 6)]


def test_tiles_fit_caches_and_small_databases() -> None:
    assert default_rows(70, 512, CPU, None) == 32768
    assert default_rows(1, 2048, CPU, None) * 2048 * 4 <= 64 << 20
    assert default_rows(100_000, 512, CPU, None) == 256
    for total in (0, 1, 18, 255, 256, 257, 5000):
        rows = default_rows(4, 512, CPU, total)
        assert rows == 256 or total <= rows < 2 * total
    assert default_rows(70, 512, torch.device("cuda"), None) > default_rows(70, 512, CPU, None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"queries": np.ones((2, 5), np.float32)}, "4 dimensions, the queries 5"),
        ({"database": np.ones((4, 7), np.float32)}, "transpose them"),
        ({"queries": np.ones(4, np.float32)}, r"the queries have the shape \(4,\)"),
        ({"database": np.ones((7, 4), int)}, "of type int64"),
        ({"listed": [[0]]}, "lists for 1 queries, but 2 queries"),
        ({"listed": [[0], [7]]}, "image 7 is listed, but the database has 7"),
        ({"listed": [[0], [-1]]}, "image -1 is listed"),
        ({"queries": np.array([[1, 1, 1, 1], [1, np.nan, 1, 1]], np.float32)}, "query 1 has no descriptor"),
        ({"queries": np.full((2, 4), np.inf, np.float32)}, "query 0 .* so are 1 others"),
        ({"k": -1}, "k is -1"),
        ({"block": 0}, "block 0"),
        ({"more": [np.ones((3, 5), np.float32)]}, "5 dimensions, the queries 4"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], problem: str) -> None:
    arguments: dict[str, Any] = {
        "queries": np.ones((2, 4), np.float32),
        "database": np.ones((7, 4), np.float32),
        "listed": [[0], [1]],
        **change,
    }
    with pytest.raises(UsageError, match=problem):
        scan(**arguments)


def test_nothing_to_search_or_ask() -> None:
    queries, nothing = np.ones((2, 4), np.float32), np.ones((0, 4), np.float32)
    found = scan(queries, nothing, k=3)
    assert (found.scanned, found.top_indices.shape) == (0, (2, 0))
    found = scan(nothing, queries, listed=[], k=3)
    assert (found.scanned, found.ranks, found.top_indices.shape) == (2, (), (0, 2))


@pytest.mark.gpu
def test_gpu_gives_the_same_ranks() -> None:
    queries, database = random_descriptors(20, 64, 0), random_descriptors(20_000, 64, 1)
    # Integers, so that both devices round alike.
    queries, database = np.round(queries * 20), np.round(database * 20)
    listed = [np.random.default_rng(row).choice(20_000, 100, replace=False) for row in range(20)]
    on_cpu = scan(queries, database, listed=listed, k=50)
    for block in (None, 3000):
        for place in (database, torch.from_numpy(database).cuda()):
            on_gpu = scan(queries, place, listed=listed, k=50, block=block, device="cuda")
            assert [r.tolist() for r in on_gpu.ranks] == [r.tolist() for r in on_cpu.ranks]
            np.testing.assert_array_equal(on_gpu.top_indices, on_cpu.top_indices)
            np.testing.assert_array_equal(on_gpu.top_scores, on_cpu.top_scores)
