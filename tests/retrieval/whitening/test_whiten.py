"""Descriptors of sets of tuples, computed and found in files; whitenings learned of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stub_describer import StubDescriber, expected_row

from darkside_cli.datasets.tuples import TupleSet, tuples_of_folder
from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.events import Event, ItemFailed, Notice
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.describe.write import write_descriptors
from darkside_cli.retrieval.whitening.learn_whitening import learn_whitening
from darkside_cli.retrieval.whitening.whiten import (
    WhiteningSource,
    describe_tuples,
    find_tuples,
    in_words,
    learn,
    source_from_file,
    source_from_model,
    write,
)

MakeImage = Callable[..., Path]


@pytest.fixture
def places(tmp_path: Path, make_image: MakeImage) -> Path:
    for number, name in enumerate(("a/1.png", "a/2.png", "b/1.png", "b/2.png", "b/3.png")):
        make_image(tmp_path / "places" / name, 20 + 5 * number, 24, seed=number)
    return tmp_path / "places"


def test_described(places: Path, tmp_path: Path) -> None:
    tuples = tuples_of_folder(places)
    expected = np.array([expected_row(path) for path in tuples.paths])
    np.testing.assert_allclose(describe_tuples(tuples, StubDescriber()), expected, rtol=1e-5)
    boxed = replace(tuples, boxes=((0, 0, 8, 6), None, None, None, None))
    assert describe_tuples(boxed, StubDescriber())[0, 3:].tolist() == [8, 6]

    kept, first, second = tmp_path / "rows.h5", StubDescriber(), StubDescriber()
    np.testing.assert_allclose(describe_tuples(tuples, first, keep=kept), expected, rtol=1e-5)
    np.testing.assert_allclose(describe_tuples(tuples, second, keep=kept), expected, rtol=1e-5)
    assert first.batches
    assert second.batches == []


def test_broken_images_have_no_row(places: Path, tmp_path: Path) -> None:
    tuples = tuples_of_folder(places)
    data = tuples.paths[1].read_bytes()
    tuples.paths[1].write_bytes(data[: len(data) // 2])
    for keep in (None, tmp_path / "rows.npz"):
        told: list[Event] = []
        rows = describe_tuples(tuples, StubDescriber(), keep=keep, emit=told.append)
        assert np.isnan(rows).all(axis=1).tolist() == [False, True, False, False, False]
        assert [event.source for event in told if isinstance(event, ItemFailed)] == [tuples.paths[1]]


def stored(path: Path, names: list[str]) -> Path:
    rows = np.arange(len(names), dtype=np.float32)[:, None] + np.zeros((1, 3), dtype=np.float32)
    return write_descriptors(path, names, [rows], 3)


def test_found_by_name(places: Path, tmp_path: Path) -> None:
    tuples = tuples_of_folder(places)
    exact = open_descriptors(stored(tmp_path / "x.npz", [*reversed(tuples.names), "other.png"]))
    assert find_tuples(tuples, exact)[:, 0].tolist() == [4, 3, 2, 1, 0]
    # Short names: "3" is one image's in both, "1" and "2" are two images'.
    told: list[Event] = []
    some = [tuples.names[2], tuples.names[3], "elsewhere/3.jpg"]
    rows = find_tuples(tuples, open_descriptors(stored(tmp_path / "y.npz", some)), emit=told.append)
    np.testing.assert_array_equal(rows[:, 0], [np.nan, np.nan, 0, 1, 2])
    (notice,) = told
    assert isinstance(notice, Notice)
    assert notice.message.endswith("has no descriptor of a/1.png, a/2.png: 6 of 8 pairs are left")
    with pytest.raises(UsageError, match="images are called 'zzz' in it"):
        find_tuples(tuples, open_descriptors(stored(tmp_path / "z.npz", ["zzz"])))
    np.save(tmp_path / "plain.npy", np.ones((5, 3), dtype=np.float32))
    with pytest.raises(UsageError, match="has no names"):
        find_tuples(tuples, open_descriptors(tmp_path / "plain.npy"))


def test_whitening_of_a_model(places: Path, tmp_path: Path) -> None:
    tuples = tuples_of_folder(places)
    (places / "a" / "0.png").write_bytes(b"broken")
    told: list[Event] = []
    options = ExtractOptions(image_size_px=16)
    source = source_from_model(StubDescriber(), tuples_of_folder(places), options=options, emit=told.append)
    assert sum(isinstance(event, ItemFailed) for event in told) == 1
    assert source.tuples is not None
    assert source.tuples.names == tuples.names
    whitening = learn(source)
    plain = learn_whitening(source.descriptors, source.tuples.query_index, source.tuples.positive_index)
    np.testing.assert_array_equal(whitening.projection, plain.projection)
    assert whitening.metadata["learned_from"]["places"] == 2
    assert whitening.metadata["descriptors"] == {"model": "stub", "fingerprint": "stub-1.0", "image_size": 16}
    pairs = source.tuples.pairs
    assert (
        in_words(whitening)
        == f"whitening of 5 to 5 dimensions, learned from {pairs} pairs and 5 images of places"
    )
    for name in ("w.safetensors", "w.pkl"):
        again = read_whitening(write(tmp_path / name, whitening))
        np.testing.assert_array_equal(again.projection, whitening.projection)
        np.testing.assert_array_equal(again.mean, whitening.mean)
    with pytest.raises(UsageError, match="no images"):
        source_from_model(StubDescriber(), None)
    empty = TupleSet("none", (), (), np.empty(0), np.empty(0), np.empty(0))
    with pytest.raises(DarksideError, match="no two images"):
        source_from_model(StubDescriber(), empty)


def test_whitening_of_a_file(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32) / 4
    metadata = {"model": "m", "whiten": True, "else": 1}
    path = write_descriptors(tmp_path / "x.h5", [f"{i}" for i in range(30)], [rows], 4, metadata=metadata)
    told: list[Event] = []
    source = source_from_file(path, None, emit=told.append)
    assert [event.message for event in told if isinstance(event, Notice)] == [
        f"{path} holds descriptors that are whitened already: extract them with --no-whiten"
    ]
    whitening = learn(source, method="pca", shrink=2)
    assert whitening.metadata["learned_from"] == {"name": str(path), "images": 30}
    assert whitening.metadata["descriptors"] == {"model": "m"}
    assert "pairs" not in in_words(whitening)
    with pytest.raises(UsageError, match="learned from pairs"):
        learn(source)


def test_few_pairs_are_shrunk_unless_told_otherwise() -> None:
    """The default of people's whitenings; 0 is the published way."""
    rows = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
    names = tuple(f"{n}.png" for n in range(8))
    tuples = TupleSet(
        "few", names, tuple(map(Path, names)), np.arange(8) // 2, np.arange(0, 8, 2), np.arange(1, 8, 2)
    )
    source = WhiteningSource("few", rows, tuples)
    default, plain = learn(source), learn(source, shrink=0)
    assert (default.metadata["shrunk"] > 0, default.metadata["added_to_diagonal"]) == (True, 0)
    assert ("shrunk" in plain.metadata, plain.metadata["added_to_diagonal"]) == (False, 1e-10)


def test_places_of_many_images_can_count_less() -> None:
    """Of places at 0 (four images) and at 3 (one): the mean is 3/5 by images, 3/2 by places, 1 halfway."""
    rows = np.array([[0.0], [0.0], [0.0], [0.0], [3.0]])
    source = WhiteningSource("made", rows, places=np.array([7, 7, 7, 7, 2]))
    for balance, mean in ((0.0, 0.6), (1.0, 1.5), (0.5, 1.0)):
        whitening = learn(source, method="pca", balance=balance)
        np.testing.assert_allclose(whitening.mean, [mean])
        assert whitening.metadata.get("balance", 0.0) == balance
    with pytest.raises(UsageError, match="of one place"):
        learn(replace(source, places=None), method="pca", balance=1.0)
