"""Benchmarks by name, file and folder; descriptors of their images, computed or from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.ground_truth import GroundTruth, Query
from darkside_cli.errors import MissingAssetError, UnknownNameError, UsageError
from darkside_cli.events import Event, ItemFailed
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions
from darkside_cli.retrieval.search.benchmark import BenchmarkRows, open_benchmark
from darkside_cli.retrieval.search.evaluate import describe_benchmark, rows_from_file, without_broken_queries

GOLDEN = Path(__file__).parents[2] / "parity" / "data" / "files"
MakeImage = Callable[..., Path]


class Rows:
    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def result(self) -> np.ndarray:
        return self.rows


class MeanColour:
    """Describes an image by its mean colour."""

    name, dim, precision, fingerprint, asynchronous = "mean", 3, "fp32", "mean-colour", False
    metadata: dict[str, object] = {}

    @staticmethod
    def transform(image: Image.Image) -> Tensor:
        return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).float() / 255

    def submit(self, images: Tensor) -> Rows:
        means = images.mean(dim=(2, 3)).numpy()
        return Rows((means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32))

    def check_size(self, height: int, width: int) -> None: ...

    def batch_size(self, height: int, width: int) -> int:
        return 1

    def release_memory(self) -> None: ...


@pytest.fixture
def truth(tmp_path: Path, make_image: MakeImage) -> GroundTruth:
    for number, name in enumerate(("a", "b", "q")):
        make_image(tmp_path / f"{name}.jpg", 30, 20, seed=number)
    groups = {"ok": (0,), "junk": (1,)}
    queries = (Query("q", groups, (0.0, 0.0, 15.0, 20.0)), Query("b", groups))
    return GroundTruth("tiny", ("a", "b"), queries, image_root=tmp_path)


def test_images_are_described_once_and_queries_are_cropped(truth: GroundTruth, tmp_path: Path) -> None:
    events: list[Event] = []
    rows = describe_benchmark(truth, MeanColour(), emit=events.append)
    assert rows.database.shape == (2, 3)
    assert rows.failed(truth) == ()
    np.testing.assert_array_equal(rows.queries[1], rows.database[1])  # b, asked as a whole, is described once
    assert sum(type(event).__name__ == "ImageReady" for event in events) == 3
    left = MeanColour.transform(Image.open(tmp_path / "q.jpg").crop((0, 0, 15, 20)))[None]
    np.testing.assert_allclose(rows.queries[0], MeanColour().submit(left).result()[0], atol=1e-6)
    # Kept in a file they are the same, and are not computed again.
    kept = describe_benchmark(truth, MeanColour(), keep=tmp_path / "kept" / "rows.h5")
    np.testing.assert_array_equal(kept.queries, rows.queries)
    events.clear()
    again = describe_benchmark(truth, MeanColour(), keep=tmp_path / "kept" / "rows.h5", emit=events.append)
    np.testing.assert_array_equal(again.database, rows.database)
    assert not any(type(event).__name__ == "ImageReady" for event in events)


def test_a_broken_query_is_left_out_and_a_broken_database_image_comes_last(
    truth: GroundTruth, tmp_path: Path
) -> None:
    (tmp_path / "q.jpg").write_bytes(b"nothing")
    events: list[Event] = []
    options = ExtractOptions(on_error="nan")
    rows = describe_benchmark(truth, MeanColour(), options=options, emit=events.append)
    assert [event.source.name for event in events if isinstance(event, ItemFailed)] == ["q.jpg"]
    asked, left = without_broken_queries(truth, rows)
    assert [query.name for query in asked.queries] == ["b"]
    assert left.queries.shape == (1, 3)
    nothing = BenchmarkRows(rows.database, np.full((2, 3), np.nan, np.float32))
    with pytest.raises(UsageError, match="no query of tiny"):
        without_broken_queries(truth, nothing)


def test_orientation_is_the_benchmarks(tmp_path: Path) -> None:
    """Published ground truths count pixels as stored; folders of one's own are looked at upright."""
    root = DataRoot(GOLDEN, "test")
    (tmp_path / "data").symlink_to(GOLDEN)
    root = DataRoot(tmp_path, "test")
    known = open_benchmark("tokyo247", root)
    assert (known.truth.name, known.upright) == ("tokyo247", False)
    assert not open_benchmark(str(GOLDEN / "test" / "roxford5k" / "gnd_roxford5k.pkl"), root).upright
    assert not open_benchmark(str(GOLDEN / "test" / "roxford5k"), root).upright


def test_own_places(tmp_path: Path, make_image: MakeImage) -> None:
    for light in ("day", "night", "dusk"):
        make_image(tmp_path / "places" / "p" / light / "x.png")
    root = DataRoot(tmp_path, "test")
    benchmark = open_benchmark(str(tmp_path / "places"), root)
    assert [query.name for query in benchmark.truth.queries] == ["p/night/x.png"]
    assert benchmark.upright
    other = open_benchmark(str(tmp_path / "places"), root, queries=("night", "dusk"))
    assert len(other.truth.queries) == 2


def test_what_cannot_be_found(tmp_path: Path) -> None:
    root = DataRoot(tmp_path, "test")
    with pytest.raises(MissingAssetError, match="download roxford5k"):
        open_benchmark("roxf", root)
    with pytest.raises(UnknownNameError, match="tokyo247"):
        open_benchmark("tokyo248", root)
    with pytest.raises(MissingAssetError, match="no file or folder"):
        open_benchmark("no/such/folder", root)


def test_rows_are_found_by_name(truth: GroundTruth, tmp_path: Path) -> None:
    table = np.eye(3, dtype=np.float32)
    np.savez(tmp_path / "d.npz", descriptors=table, names=np.array(["jpg/q.jpg", "jpg/b.jpg", "jpg/a.jpg"]))
    rows = rows_from_file(truth, tmp_path / "d.npz")
    np.testing.assert_array_equal(rows.database, table[[2, 1]])
    np.testing.assert_array_equal(rows.queries, table[[0, 1]])
    np.save(tmp_path / "nameless.npy", np.arange(12, dtype=np.float32).reshape(4, 3))
    nameless = rows_from_file(truth, tmp_path / "nameless.npy")
    assert nameless.queries[0].tolist() == [6, 7, 8]
    np.save(tmp_path / "short.npy", table)
    with pytest.raises(UsageError, match="has no names and 3 rows, but tiny has 4"):
        rows_from_file(truth, tmp_path / "short.npy")
