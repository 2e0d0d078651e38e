"""Looking up in descriptor files: the right model, exact order, files without names or model."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_descriptor import WHITENED, small_whitening, write_small_descriptor

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.networks.weights import save_whitening
from darkside_cli.retrieval.describe import descriptor_file
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.descriptor_file import DescriptorFile
from darkside_cli.retrieval.describe.load import load_descriptor
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.describe.write import write_descriptors
from darkside_cli.retrieval.search import index as search_index
from darkside_cli.retrieval.search.nearest import describer_for, nearest


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path / "root", "test")


def unit_rows(count: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def index_file(path: Path, rows: np.ndarray, **metadata: Any) -> DescriptorFile:
    names = [f"{i}.jpg" for i in range(len(rows))]
    write_descriptors(path, names, [rows], rows.shape[1], metadata=metadata)
    return open_descriptors(path)


def made_by(describer: Describer, path: Path) -> DescriptorFile:
    return index_file(
        path, unit_rows(3, describer.dim), **describer.metadata, fingerprint=describer.fingerprint
    )


@pytest.mark.parametrize(
    "settings",
    [{}, {"scales": (1.0,)}, {"whiten": False}, {"dim": 5}, {"clahe": False}],
    ids=["default", "scales", "plain", "dim", "clahe"],
)
def test_queries_are_described_as_the_index_was(
    tmp_path: Path, root: DataRoot, settings: dict[str, Any]
) -> None:
    path = write_small_descriptor(tmp_path / "net.safetensors", clahe={"clip_limit": 1.0, "grid_size": 8})
    describer = load_descriptor(path, root=root, device="cpu", **settings)
    index = made_by(describer, tmp_path / "x.h5")
    again = describer_for(index, root=root, device="cpu")
    assert again.fingerprint == describer.fingerprint
    assert (again.dim, again.scales, str(again.transform)) == (
        describer.dim,
        describer.scales,
        str(describer.transform),
    )


def test_a_whitening_of_its_own_and_a_model_that_moved(tmp_path: Path, root: DataRoot) -> None:
    path = write_small_descriptor(tmp_path / "net.safetensors", whitened=False)
    other = save_whitening(tmp_path / "other.safetensors", small_whitening(seed=4))
    describer = load_descriptor(path, root=root, device="cpu", whiten=other)
    index = made_by(describer, tmp_path / "x.npz")
    assert describer_for(index, root=root, device="cpu").fingerprint == describer.fingerprint
    moved = path.rename(tmp_path / "moved.safetensors")
    with pytest.raises(MissingAssetError, match="was made with") as caught:
        describer_for(index, root=root, device="cpu")
    assert "--model" in str(caught.value.hint)
    assert describer_for(index, moved, root=root, device="cpu").fingerprint == describer.fingerprint


def test_another_model_is_refused(tmp_path: Path, root: DataRoot) -> None:
    path = write_small_descriptor(tmp_path / "net.safetensors")
    another = write_small_descriptor(tmp_path / "another.safetensors", seed=1)
    index = made_by(load_descriptor(path, root=root, device="cpu"), tmp_path / "x.h5")
    with pytest.raises(UsageError, match=r"another model or other weights than .*another"):
        describer_for(index, another, root=root, device="cpu")
    small = index_file(tmp_path / "small.h5", unit_rows(2, WHITENED - 1))
    with pytest.raises(UsageError, match=rf"{WHITENED - 1} dimensions, .* gives {WHITENED}"):
        describer_for(small, path, root=root, device="cpu")
    with pytest.raises(UsageError, match="does not say which model") as caught:
        describer_for(small, root=root, device="cpu")
    assert "--model" in str(caught.value.hint)
    # Nothing is known of such a file: what fits is taken.
    fitting = index_file(tmp_path / "fitting.h5", unit_rows(2, WHITENED))
    assert describer_for(fitting, path, root=root, device="cpu").dim == WHITENED


@pytest.mark.parametrize("kind", ["h5", "npz", "npy"])
def test_exact_order(tmp_path: Path, kind: str) -> None:
    rows, queries = unit_rows(50, 8), unit_rows(4, 8, seed=1)
    rows[7] = np.nan
    rows[20] = rows[3]
    index = index_file(tmp_path / f"x.{kind}", rows)
    indices, scores = nearest(index, queries, 10)
    expected = np.nan_to_num(queries @ rows.T, nan=-9)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, order, axis=1), atol=1e-6)


def test_lists_end_where_the_index_does(tmp_path: Path) -> None:
    rows = np.eye(3, dtype=np.float32)
    rows[1] = np.nan
    index = index_file(tmp_path / "x.h5", rows)
    indices, scores = nearest(index, np.array([[0.6, 0, 0.8]], dtype=np.float32), 10)
    assert indices.tolist() == [[2, 0, -1]]
    np.testing.assert_allclose(scores, [[0.8, 0.6, np.nan]], rtol=1e-6)


def test_small_indexes_and_blocks_take_small_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is put together than the index has, nor than it gives at once."""
    taken: list[int] = []

    class Seen(search_index.TileScorer):
        def __init__(self, queries: torch.Tensor, rows: int) -> None:
            taken.append(rows)
            super().__init__(queries, rows)

    monkeypatch.setattr(search_index, "TileScorer", Seen)
    index = index_file(tmp_path / "x.npz", unit_rows(40, 8))
    expected = nearest(index, unit_rows(2, 8, seed=1), 40)
    monkeypatch.setattr(descriptor_file, "_BLOCK_BYTES", 8 * 32)
    found = nearest(index, unit_rows(2, 8, seed=1), 40)
    assert taken == [256, index.block_rows] == [256, 8]
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


class FlatIndex:
    """As much of FAISS as is used, by NumPy."""

    def __init__(self, dim: int) -> None:
        self.rows = np.empty((0, dim), dtype=np.float32)
        self.ids = np.empty(0, dtype=np.int64)

    def add_with_ids(self, rows: np.ndarray, ids: np.ndarray) -> None:
        assert rows.dtype == np.float32
        assert ids.dtype == np.int64
        self.rows, self.ids = np.concatenate([self.rows, rows]), np.concatenate([self.ids, ids])

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = queries @ self.rows.T
        order = np.argsort(-scores, axis=1)[:, :k]
        absent = ((0, 0), (0, max(0, k - order.shape[1])))
        found = np.pad(np.take_along_axis(scores, order, axis=1), absent, constant_values=-3.4e38)
        return found, np.pad(self.ids[order], absent, constant_values=-1)


def test_faiss_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With FAISS itself where it is installed, else with what stands in for it."""
    try:
        import faiss  # noqa: F401
    except ImportError:
        stand_in = types.SimpleNamespace(IndexFlatIP=FlatIndex, IndexIDMap=lambda index: index)
        monkeypatch.setitem(sys.modules, "faiss", stand_in)  # type: ignore[arg-type]
    rows, queries = unit_rows(40, 8), unit_rows(3, 8, seed=1)
    rows[5] = np.nan
    index = index_file(tmp_path / "x.h5", rows)
    expected_indices, expected_scores = nearest(index, queries, 40)
    indices, scores = nearest(index, queries, 40, backend="faiss")
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    assert (indices[:, -1] == -1).all()


def test_faiss_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)  # type: ignore[arg-type]
    index = index_file(tmp_path / "x.h5", unit_rows(2, 3))
    with pytest.raises(MissingAssetError, match="FAISS is not installed") as caught:
        nearest(index, unit_rows(1, 3), 1, backend="faiss")
    assert "darkside-cli[faiss]" in str(caught.value.hint)
