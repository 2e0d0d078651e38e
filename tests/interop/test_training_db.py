"""Published databases of tuples: the parity set's, hand-made ones, damaged ones."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkside_cli.errors import CheckpointError, MissingAssetError, UnknownNameError
from darkside_cli.interop.training_db import read_training_db

GOOD = {
    "cids": ["0123456789abcdef0123456789abcdef", "f" * 32, "e" * 32],
    "cluster": [4, 4, 7],
    "qidxs": [0],
    "pidxs": [1],
}


def write(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def test_one_for_whitening(tmp_path: Path) -> None:
    tuples = read_training_db(write(tmp_path / "whiten.pkl", GOOD))
    assert tuples.name == "whiten"
    assert tuples.names == tuple(GOOD["cids"])
    assert tuples.paths[0] == tmp_path / "ims" / "ef" / "cd" / "ab" / GOOD["cids"][0]
    assert tuples.clusters.tolist() == [4, 4, 7]
    assert (tuples.query_index.tolist(), tuples.positive_index.tolist()) == ([0], [1])
    assert tuples.boxes is None
    elsewhere = read_training_db(tmp_path / "whiten.pkl", split="val", images=Path("pictures"))
    assert elsewhere.paths[1] == Path("pictures/ff/ff/ff") / ("f" * 32)


def test_splits_and_arrays(tmp_path: Path) -> None:
    arrays = {key: np.array(value) if key != "cids" else value for key, value in GOOD.items()}
    val = {**arrays, "qidxs": np.array([[1]]), "pidxs": np.array([[0]]), "bbxs": [None, [1, 2, 3, 4.5], None]}
    path = write(tmp_path / "db.pkl", {"train": {**arrays, "bbxs": [None] * 3}, "val": val, "comment": "x"})
    train = read_training_db(path)
    assert train.name == "db/train"
    assert train.boxes is None
    found = read_training_db(path, split="val")
    assert found.query_index.tolist() == [1]
    assert found.boxes == (None, (1.0, 2.0, 3.0, 4.5), None)
    with pytest.raises(UnknownNameError, match="'test'"):
        read_training_db(path, split="test")


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"cids": []},
        {"train": {"cids": []}},
        {**GOOD, "cids": [1, 2, 3]},
        {**GOOD, "cids": "abc"},
        {**GOOD, "cluster": [1, 2]},
        {**GOOD, "pidxs": [1, 2]},
        {**GOOD, "pidxs": [3]},
        {**GOOD, "qidxs": [-1]},
        {**GOOD, "qidxs": [0.5]},
        {**GOOD, "cluster": np.zeros((3, 3), dtype=int)},
        {**GOOD, "bbxs": [(1, 2, 3, 4)]},
        {**GOOD, "bbxs": [(1, 2), None, None]},
        {**GOOD, "bbxs": [("a", "b", "c", "d"), None, None]},
        {**GOOD, "bbxs": 5},
    ],
)
def test_what_is_no_database(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError):
        read_training_db(write(tmp_path / "x.pkl", content))


class _Call:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self._path,))


def test_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="refused as unsafe"):
        read_training_db(write(tmp_path / "x.pkl", {**GOOD, "more": _Call(tmp_path / "ran")}))
    assert not (tmp_path / "ran").exists()
    with pytest.raises(MissingAssetError):
        read_training_db(tmp_path / "y.pkl")
