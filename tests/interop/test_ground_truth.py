"""Ground truths in the published form: read safely, refused when wrong, written back as they were."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published_ground_truth import to_published, write_published

from darkside_cli.datasets.ground_truth import GroundTruthError, Query, to_document
from darkside_cli.errors import CheckpointError, MissingAssetError
from darkside_cli.interop.ground_truth import from_published, read_ground_truth

PLAIN: dict[str, Any] = {
    "imlist": ["a", "b", "c"],
    "qimlist": ["q", "r"],
    "gnd": [{"ok": [2, 0], "junk": [1], "bbx": None}, {"ok": [], "junk": [], "bbx": [0.5, 1, 10, 20]}],
}
GRADED: dict[str, Any] = {
    "imlist": ["a", "b", "c"],
    "qimlist": ["q"],
    "gnd": [{"bbx": [1.5, 2.0, 30.0, 40.0], "easy": [1], "hard": [], "junk": [0, 2]}],
}


def test_lists() -> None:
    truth = from_published(PLAIN, name="city", images=Path("jpg"))
    assert not truth.graded
    assert truth.database == ("a", "b", "c")
    assert truth.queries == (
        Query("q", {"ok": (2, 0), "junk": (1,)}),
        Query("r", {"ok": (), "junk": ()}, (0.5, 1.0, 10.0, 20.0)),
    )
    assert truth.image_path("a") == Path("jpg/a.jpg")


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16])
def test_arrays_of_any_shape_that_files_have(dtype: type) -> None:
    entry = {
        "easy": np.array([[1]], dtype),  # a column of a MATLAB file
        "hard": np.array([], np.float64),
        "junk": np.array([0, 2], dtype),
        "bbx": np.array([1.5, 2, 30, 40]),
        "query_id": "q",
    }
    found = from_published(
        {"imlist": np.array(["a", "b", "c"]), "qimlist": ("q",), "gnd": np.array([entry])}, name="city"
    )
    assert found == from_published(GRADED, name="city")
    assert all(type(index) is int for query in found.queries for index in query.listed())
    assert all(type(name) is str for name in found.database)


def test_groups_left_out_are_empty() -> None:
    found = from_published({**PLAIN, "gnd": [{"ok": [0]}, {"ok": [1]}]}, name="city")
    assert [query.groups["junk"] for query in found.queries] == [(), ()]


def changed(**changes: Any) -> dict[str, Any]:
    return {**PLAIN, **changes}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (["imlist"], "it needs imlist, qimlist, gnd"),
        ({"imlist": [], "gnd": []}, "it needs imlist, qimlist, gnd"),
        (changed(qimlist=["q"]), "1 queries, but ground truth of 2"),
        (changed(gnd=[[0], [1]]), "not a list of mappings"),
        (changed(imlist="abc"), "imlist is not a list of image names"),
        (changed(imlist=[1, 2]), "imlist is not a list of image names"),
        (changed(gnd=[{"ok": [0]}, {"easy": [0]}]), r"query 1 \(r\) has no ok images"),
        (changed(gnd=[{"junk": [0]}, {"ok": [0]}]), r"query 0 \(q\) has no easy or hard images"),
        (changed(gnd=[{"ok": [0.5]}, {"ok": []}]), r"query 0 \(q\): ok is not a list of indices"),
        (changed(gnd=[{"ok": [[0, 1], [1, 2]]}, {"ok": []}]), "ok is not a list of indices"),
        (changed(gnd=[{"ok": [[0], [1, 2]]}, {"ok": []}]), "ok is not a list of indices"),
        (changed(gnd=[{"ok": "0"}, {"ok": []}]), "ok is not a list of indices"),
        (changed(gnd=[{"ok": [3]}, {"ok": []}]), "index 3, but the database has 3 images"),
        (changed(gnd=[{"ok": [0], "bbx": [1, 2, 3]}, {"ok": []}]), "a box is four numbers"),
        (changed(gnd=[], qimlist=[]), "city has no queries"),
    ],
)
def test_what_is_wrong_is_named(document: Any, problem: str) -> None:
    with pytest.raises(GroundTruthError, match=problem):
        from_published(document, name="city")


def test_what_is_listed_twice_is_let_pass_and_told(tmp_path: Path) -> None:
    """Such files are in the world, and cirtorch scores them."""
    truth = from_published(changed(gnd=[{"ok": [0, 1, 1], "junk": [0]}, {"ok": []}]), name="city")
    assert truth.queries[0].groups == {"ok": (0, 1, 1), "junk": (0,)}
    assert truth.contradictions == (
        "query 0 (q): ok lists image 1 (b) twice",
        "query 0 (q): image 0 (a) is both ok and junk",
    )
    (tmp_path / "own.json").write_text(json.dumps(to_document(truth)))
    with pytest.raises(GroundTruthError, match="ok lists image 1"):
        read_ground_truth(tmp_path / "own.json")  # what a person writes can be corrected


@pytest.mark.parametrize("document", [PLAIN, GRADED], ids=["plain", "graded"])
def test_written_pickle_is_the_published_form(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "city" / "gnd_city.pkl"
    truth = from_published(document, name="city")
    write_published(truth, path)
    assert pickle.loads(path.read_bytes()) == document
    operations = {operation.name: value for operation, value, _ in pickletools.genops(path.read_bytes())}
    assert operations["PROTO"] == 2
    assert not {"GLOBAL", "STACK_GLOBAL", "REDUCE"} & operations.keys()
    assert read_ground_truth(path) == truth
    assert to_published(read_ground_truth(path)) == document


def test_where_images_are(tmp_path: Path) -> None:
    write_published(from_published(PLAIN, name="city"), tmp_path / "gnd_city.pkl")
    assert read_ground_truth(tmp_path / "gnd_city.pkl").image_root == tmp_path
    (tmp_path / "jpg").mkdir()
    found = read_ground_truth(tmp_path / "gnd_city.pkl")
    assert (found.name, found.image_root) == ("city", tmp_path / "jpg")
    other = read_ground_truth(tmp_path / "gnd_city.pkl", name="town", images=Path("photos"))
    assert (other.name, other.image_root) == ("town", Path("photos"))


def test_json_of_both_kinds(tmp_path: Path) -> None:
    truth = from_published(PLAIN, name="city")
    (tmp_path / "gnd_city.json").write_text(json.dumps(PLAIN))
    (tmp_path / "own.json").write_text(json.dumps(to_document(truth, images="photos")))
    assert read_ground_truth(tmp_path / "gnd_city.json") == truth
    own = read_ground_truth(tmp_path / "own.json")
    assert own == truth
    assert own.image_root == tmp_path / "photos"
    assert read_ground_truth(tmp_path / "own.json", images=Path("elsewhere")).image_root == Path("elsewhere")


class _Runs:
    def __reduce__(self) -> Any:
        return os.getcwd, ()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError):
        read_ground_truth(tmp_path / "none.pkl")
    with pytest.raises(MissingAssetError):
        read_ground_truth(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(GroundTruthError, match="is no JSON"):
        read_ground_truth(tmp_path / "broken.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GroundTruthError, match="is no JSON"):
        read_ground_truth(tmp_path / "binary.json")
    (tmp_path / "runs.pkl").write_bytes(pickle.dumps({**PLAIN, "gnd": _Runs()}))
    with pytest.raises(CheckpointError, match="unsafe"):
        read_ground_truth(tmp_path / "runs.pkl")


@pytest.mark.parametrize("gnd", [None, 3, {"ok": [0]}, "ok"])
def test_gnd_that_is_no_list(gnd: Any) -> None:
    with pytest.raises(GroundTruthError, match="city: gnd is not a list of mappings"):
        from_published({**PLAIN, "gnd": gnd}, name="city")


@pytest.mark.parametrize("change", [{"format": "darkside-groundtruth"}, {"format": None}, {}])
def test_json_is_told_what_its_own_form_needs(change: dict[str, Any], tmp_path: Path) -> None:
    """It has the keys of our own form, so the keys of the published one would be no help."""
    document = {**to_document(from_published(PLAIN, name="city")), **change}
    if not change:
        del document["format"]
    (tmp_path / "own.json").write_text(json.dumps(document))
    with pytest.raises(GroundTruthError, match='it needs "format": "darkside-ground-truth"'):
        read_ground_truth(tmp_path / "own.json")
    (tmp_path / "other.json").write_text('{"imlist": []}')
    with pytest.raises(GroundTruthError, match="it needs imlist, qimlist, gnd"):
        read_ground_truth(tmp_path / "other.json")


def test_json_that_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "city.json").write_text(json.dumps(PLAIN), encoding="utf-8-sig")
    assert read_ground_truth(tmp_path / "city.json").database == ("a", "b", "c")
