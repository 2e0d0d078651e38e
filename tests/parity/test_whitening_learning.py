"""Learned whitenings against the recorded ones: up to the sign of rows, and what no sign changes."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from golden import DATA, Array, Case, load_case

from darkside_cli.events import Event, Notice
from darkside_cli.interop.safe_pickle import load_pickle
from darkside_cli.interop.whitening import read_whitening, write_published_whitening
from darkside_cli.networks.weights import Whitening
from darkside_cli.retrieval.whitening.learn_whitening import learn_whitening, pca_whitening

INVARIANTS = "PtP, gram, P_S_Pt"


@pytest.fixture(scope="module")
def case() -> Case:
    return load_case("whitening_learning")


@pytest.fixture(scope="module")
def rows(case: Case) -> Array:
    return np.ascontiguousarray(case.arrays["X"].T)


@pytest.fixture(scope="module")
def lw(case: Case, rows: Array) -> Whitening:
    return learn_whitening(rows, case.arrays["qidxs"], case.arrays["pidxs"])


def assert_same_rows(case: Case, actual: Array, expected: Array) -> None:
    """Equal up to the sign of each row."""
    assert case.entry["tolerance"]["P rows"] == "up to sign per row, rtol 1e-6"
    assert actual.shape == expected.shape
    signs = np.sign((actual * expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(actual * signs, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def apply(whitening: Whitening, rows: Array) -> Array:
    """Whitened rows (N, K) in float64."""
    projected = (rows - whitening.mean) @ whitening.projection.T
    return projected / (np.linalg.norm(projected, axis=1, keepdims=True) + 1e-6)


def test_lw(case: Case, rows: Array, lw: Whitening) -> None:
    np.testing.assert_allclose(lw.mean, case.arrays["lw_m"][:, 0], rtol=1e-12)
    assert_same_rows(case, lw.projection, case.arrays["lw_P"])
    case.assert_close(lw.projection.T @ lw.projection, case.arrays["lw_PtP"], INVARIANTS)
    assert lw.metadata["added_to_diagonal"] == 0
    difference = rows[case.arrays["qidxs"]] - rows[case.arrays["pidxs"]]
    within = difference.T @ difference / len(difference)
    case.assert_close(lw.projection @ within @ lw.projection.T, case.arrays["lw_P_S_Pt"], INVARIANTS)


def test_lw_applied(case: Case, rows: Array, lw: Whitening) -> None:
    whitened = apply(lw, rows)
    assert_same_rows(case, whitened.T, case.arrays["lw_applied"])
    case.assert_close(whitened @ whitened.T, case.arrays["lw_applied_gram"], INVARIANTS)
    fewer = case.arrays["lw_applied_dim"]
    assert_same_rows(case, apply(lw.reduced(len(fewer)), rows).T, fewer)


def test_pca(case: Case, rows: Array) -> None:
    pca = pca_whitening(rows)
    np.testing.assert_allclose(pca.mean, case.arrays["pca_m"][:, 0], rtol=1e-12, atol=1e-15)
    assert_same_rows(case, pca.projection, case.arrays["pca_P"])
    case.assert_close(pca.projection.T @ pca.projection, case.arrays["pca_PtP"], INVARIANTS)
    whitened = apply(pca, rows)
    case.assert_close(whitened @ whitened.T, case.arrays["pca_applied_gram"], INVARIANTS)


def test_pca_with_shrinkage(case: Case, rows: Array) -> None:
    pca = pca_whitening(rows, shrink=case.params["shrink"])
    assert_same_rows(case, pca.projection, case.arrays["pca_shrink_P"])
    case.assert_close(pca.projection.T @ pca.projection, case.arrays["pca_shrink_PtP"], INVARIANTS)


def test_the_stage_whitens_what_a_network_gives(case: Case, rows: Array) -> None:
    """Descriptors come in float32 there; the numbers are worked out in float64."""
    whitening = learn_whitening(rows.astype(np.float32), case.arrays["qidxs"], case.arrays["pidxs"])
    case.assert_close(whitening.mean[:, None], case.arrays["stage_m"], INVARIANTS)
    case.assert_close(whitening.projection.T @ whitening.projection, case.arrays["stage_PtP"], INVARIANTS)
    assert whitening.metadata["pairs"] == case.params["stage_metadata"]["vectors_total"]


def test_too_few_pairs(case: Case, rows: Array) -> None:
    told: list[Event] = []
    few = slice(case.params["pairs_deficient"])
    whitening = learn_whitening(rows, case.arrays["qidxs"][few], case.arrays["pidxs"][few], emit=told.append)
    messages = [event.message for event in told if isinstance(event, Notice)]
    assert any("not positive definite" in message for message in messages)
    assert whitening.metadata["added_to_diagonal"] > 0
    # What was added is the smallest eigenvalue of (P^T P)^-1, in the directions in which no pair differs.
    ours, recorded = (
        1 / np.linalg.eigvalsh(product).max()
        for product in (whitening.projection.T @ whitening.projection, case.arrays["deficient_PtP"])
    )
    assert np.round(np.log10(ours)) == np.round(np.log10(recorded))


@pytest.mark.parametrize("name", ["whitening_learned.pkl", "whitening_learned_numpy1.pkl"])
def test_recorded_files(case: Case, rows: Array, name: str) -> None:
    stored = read_whitening(DATA / "files" / name)
    np.testing.assert_array_equal(stored.mean, case.arrays["stage_m"][:, 0])
    ours = learn_whitening(rows.astype(np.float32), case.arrays["qidxs"], case.arrays["pidxs"])
    assert_same_rows(case, ours.projection, stored.projection)


def test_written_in_the_published_format(lw: Whitening, tmp_path: Path) -> None:
    path = write_published_whitening(tmp_path / "lw.pkl", lw)
    for stored in (load_pickle(path), pickle.loads(path.read_bytes())):
        assert stored.keys() == {"m", "P"}
        assert stored["m"].shape == (lw.in_dim, 1)
        np.testing.assert_array_equal(stored["m"][:, 0], lw.mean)
        np.testing.assert_array_equal(stored["P"], lw.projection)
    named = [
        argument for opcode, argument, _ in pickletools.genops(path.read_bytes()) if opcode.name == "GLOBAL"
    ]
    assert "numpy.core.multiarray _reconstruct" in named
    again = read_whitening(path)
    np.testing.assert_array_equal(again.projection, lw.projection)
    assert [each.name for each in tmp_path.iterdir()] == ["lw.pkl"]
