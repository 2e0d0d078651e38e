"""Learned whitenings: small ones by hand, what defines them on random data, blocks, broken rows, deficient data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.errors import UsageError
from darkside_cli.events import Event, Notice
from darkside_cli.networks.weights import Whitening
from darkside_cli.retrieval.whitening import learn_whitening as module
from darkside_cli.retrieval.whitening.learn_whitening import learn_whitening, pca_whitening, shrinkage


def messages(told: list[Event]) -> list[str]:
    return [event.message for event in told if isinstance(event, Notice)]


def test_lw_by_hand() -> None:
    """Pairs differ by 2 along x and by 1 along y, by turns: S = diag(2, 1/2), so P0 = diag(1/sqrt 2, sqrt 2)."""
    rows = np.array([[0, 0], [2, 0], [0, 10], [0, 9]], dtype=np.float64)
    told: list[Event] = []
    whitening = learn_whitening(rows, np.array([0, 2]), np.array([1, 3]), emit=told.append)
    np.testing.assert_allclose(whitening.mean, [0, 5])  # of the queries
    # What is left varies most along y, so that comes first.
    unmixed = (rows - [0, 5]) / [np.sqrt(2), 1 / np.sqrt(2)]
    values, vectors = np.linalg.eigh(unmixed.T @ unmixed)
    np.testing.assert_allclose(
        np.abs(whitening.projection), np.abs(vectors[:, ::-1].T / [np.sqrt(2), 1 / np.sqrt(2)])
    )
    assert values[1] > values[0]
    assert np.abs(whitening.projection[0]).argmax() == 1
    assert whitening.metadata == {"method": "lw", "pairs": 2, "images": 4, "added_to_diagonal": 0.0}
    assert told == []


def test_pca_by_hand() -> None:
    rows = np.array([[3, 1], [3, -1], [-3, 1], [-3, -1]], dtype=np.float32) + np.float32(5)
    whitening = pca_whitening(rows)
    np.testing.assert_allclose(whitening.mean, [5, 5])
    np.testing.assert_allclose(whitening.projection, [[1 / 3, 0], [0, 1]], atol=1e-12)
    # A sixth of it all, eigenvalues are 1/4 and 1/36: both are pulled towards 1 by the second
    shrunk = pca_whitening(rows / 6, shrink=2)
    first, second = (35 / 36 * value + 1 / 36 for value in (1 / 4, 1 / 36))
    np.testing.assert_allclose(shrunk.projection, np.diag([first**-0.5, second**-0.5]), atol=1e-5)
    with pytest.raises(UsageError, match="unit length"):
        pca_whitening(rows, shrink=1)


def test_pca_of_weighted_rows_is_that_of_repeated_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    rows, times = rng.normal(size=(30, 4)), rng.integers(1, 5, 30)
    rows[7] = np.nan
    expected = pca_whitening(np.repeat(rows, times, axis=0))
    monkeypatch.setattr("darkside_cli.retrieval.whitening.learn_whitening._BLOCK_VALUES", 4 * 7)
    found = pca_whitening(rows, weights=3.0 * times)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-12)
    np.testing.assert_allclose(found.projection, expected.projection, atol=1e-9)
    assert found.metadata["images"] == 29


@given(seed=st.integers(0, 2**31), dim=st.integers(1, 8), images=st.integers(20, 60))
@settings(max_examples=50, deadline=None)
def test_what_defines_lw(seed: int, dim: int, images: int) -> None:
    """Differences of pairs have the identity for covariance; descriptors a diagonal scatter that decreases."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(images, dim)) * rng.uniform(0.5, 2, dim)
    query, positive = rng.permutation(images)[: 2 * (images // 2)].reshape(2, -1)
    whitening = learn_whitening(rows, query, positive)
    difference = (rows[query] - rows[positive]) @ whitening.projection.T
    np.testing.assert_allclose(difference.T @ difference / len(query), np.eye(dim), atol=1e-8)
    projected = (rows - whitening.mean) @ whitening.projection.T
    scatter = projected.T @ projected
    np.testing.assert_allclose(scatter, np.diag(np.diag(scatter)), atol=1e-7 * scatter.max())
    assert (np.diff(np.diag(scatter)) <= 1e-9 * scatter.max()).all()
    assert (whitening.projection[np.arange(dim), np.abs(whitening.projection).argmax(axis=1)] > 0).all()


@pytest.fixture(params=[1 << 22, 40])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_BLOCK_VALUES", request.param)
    return iter(())


@pytest.mark.usefixtures("_blocks")
def test_blocks_and_broken_rows() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 6))
    query, positive = np.arange(0, 30), np.arange(30, 60)
    whole = learn_whitening(rows, query, positive)
    pca = pca_whitening(rows)
    more = np.concatenate([rows, np.full((2, 6), np.nan)])
    told: list[Event] = []
    again = learn_whitening(more, np.append(query, [60, 3]), np.append(positive, [4, 61]), emit=told.append)
    np.testing.assert_allclose(again.projection, whole.projection, rtol=1e-9)
    np.testing.assert_allclose(pca_whitening(more).projection, pca.projection, rtol=1e-9)
    assert messages(told) == ["2 of 62 images have no descriptor and are passed over"]
    assert (again.metadata["pairs"], again.metadata["images"]) == (30, 60)


def test_pairs_too_few_for_a_factor() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 10))
    told: list[Event] = []
    whitening = learn_whitening(rows, np.arange(4), np.arange(4, 8), emit=told.append)
    assert np.isfinite(whitening.projection).all()
    first, second = messages(told)
    assert first.startswith("4 pairs are few for 10 dimensions")
    assert second == "the pairs' covariance is not positive definite: 1e-10 was added to its diagonal"
    assert whitening.metadata["added_to_diagonal"] == 1e-10
    # The directions in which no pair differs are those blown up: by 1e5.
    assert np.linalg.norm(whitening.projection, 2) == pytest.approx(1e5, rel=1e-3)


def places(rng: np.random.Generator, count: int, spread: np.ndarray) -> np.ndarray:
    """Two unit descriptors (2, count, D) of each of ``count`` places; views of one differ along ``spread`` (D,)."""
    centres = rng.normal(size=(count, len(spread)))
    views = centres + rng.normal(size=(2, count, len(spread))) * spread
    return views / np.linalg.norm(views, axis=2, keepdims=True)


def found(views: np.ndarray, whitening: Whitening | None) -> float:
    """Share of the first views whose nearest second view is of the same place."""
    one, other = views if whitening is None else (views - whitening.mean) @ whitening.projection.T
    one, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (one, other))
    return float(((one @ other.T).argmax(axis=1) == np.arange(len(one))).mean())


@pytest.mark.parametrize("seed", range(5))
def test_the_covariance_of_few_pairs_is_shrunk(seed: int) -> None:
    """60 pairs in 64 dimensions: as published hardly any place is found again, shrunk nearly all are."""
    rng = np.random.default_rng(seed)
    spread = 4 / np.sqrt(1 + np.arange(64))
    few, test = places(rng, 60, spread), places(rng, 300, spread)
    rows, pairs = few.reshape(120, 64), (np.arange(60), np.arange(60, 120))
    told: list[Event] = []
    shrunk = learn_whitening(rows, *pairs, shrink=True, emit=told.append)
    (message,) = messages(told)
    assert "their covariance was shrunk by" in message
    assert 0 < shrunk.metadata["shrunk"] < 1
    assert shrunk.metadata["added_to_diagonal"] == 0
    plain, published = found(test, None), found(test, learn_whitening(rows, *pairs))
    assert published < 0.3 < plain < 0.8 < found(test, shrunk)


def test_enough_pairs_are_not_shrunk() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 6))
    pairs = np.arange(30), np.arange(30, 60)
    shrunk, plain = (learn_whitening(rows, *pairs, shrink=shrink) for shrink in (True, False))
    np.testing.assert_array_equal(shrunk.projection, plain.projection)
    assert "shrunk" not in shrunk.metadata


def test_how_far_to_shrink() -> None:
    assert shrinkage(np.zeros((3, 3)), 2) == 0
    assert shrinkage(np.eye(3), 2) == 1
    # By hand, D = 2, diag(3, 1): squares 10, trace 4, apart 2; ((1 - 1) * 10 + 16) / ((n + 1 - 1) * 2) = 8 / n.
    assert shrinkage(np.diag([3.0, 1.0]), 16) == pytest.approx(0.5)


def test_as_much_is_added_as_it_takes() -> None:
    """Rounding leaves eigenvalues a little below zero: the larger the covariance, the more has to be added."""
    rows = 1e5 * np.random.default_rng(0).normal(size=(50, 10))
    told: list[Event] = []
    whitening = learn_whitening(rows, np.arange(4), np.arange(4, 8), emit=told.append)
    assert whitening.metadata["added_to_diagonal"] > 1e-10
    assert f"{whitening.metadata['added_to_diagonal']:.0e} was added" in messages(told)[-1]


def test_copies_as_pairs() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3))
    whitening = learn_whitening(rows, np.arange(10), np.arange(10))
    np.testing.assert_allclose(
        np.linalg.svd(whitening.projection, compute_uv=False), 1e5, rtol=1e-6
    )  # nothing differs: only 1e-10 on the diagonal


def test_pca_of_few_descriptors() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float32)
    told: list[Event] = []
    whitening = pca_whitening(rows, emit=told.append)
    assert whitening.projection.shape == (4, 10)
    assert messages(told) == ["5 descriptors differ in 4 of 10 dimensions only: the whitening gives 4"]
    whitened = (rows - whitening.mean) @ whitening.projection.T
    np.testing.assert_allclose(whitened.T @ whitened / 5, np.eye(4), atol=1e-5)
    assert pca_whitening(rows / 10, shrink=3).projection.shape == (10, 10)


def test_what_cannot_be_learned_from() -> None:
    rows = np.random.default_rng(0).normal(size=(6, 3))
    none = np.empty(0, dtype=np.int64)
    with pytest.raises(UsageError, match="none of 0 pairs"):
        learn_whitening(rows, none, none)
    with pytest.raises(UsageError, match="none of 1 pairs"):
        learn_whitening(np.where(np.arange(6)[:, None] == 1, np.nan, rows), np.array([0]), np.array([1]))
    with pytest.raises(UsageError, match="no pairs"):
        learn_whitening(rows, np.array([0, 1]), np.array([1]))
    for wrong in (-1, 6):
        with pytest.raises(UsageError, match="without a row"):
            learn_whitening(rows, np.array([0]), np.array([wrong]))
    for table in (rows[0], rows.astype(int), rows[:0], rows[:, :0]):
        with pytest.raises(UsageError, match="a table"):
            pca_whitening(table)
    with pytest.raises(UsageError, match="too few"):
        pca_whitening(rows[:1])
    with pytest.raises(UsageError, match="the same"):
        pca_whitening(np.ones((4, 3)))
    for shrink in (0, 4):
        with pytest.raises(UsageError, match="shrinkage"):
            pca_whitening(rows, shrink=shrink)
