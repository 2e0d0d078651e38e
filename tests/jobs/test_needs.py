"""Of the published tuples only what will be opened is asked for."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from darkside_cli.errors import MissingAssetError
from darkside_cli.events import ignore
from darkside_cli.jobs.needs import obtain_tuples
from darkside_cli.jobs.request import Getting
from darkside_cli.retrieval.training_sets import TupleNeed

SFM, WHITEN = "retrieval-sfm-120k", "retrieval-sfm-120k-whiten"
FOLDER = Path("data/train/retrieval-SfM-120k")


def ids(first: int) -> list[str]:
    return [f"{number:032x}" for number in range(first, first + 4)]


def pairs(first: int) -> dict[str, object]:
    return {"cids": ids(first), "cluster": [0, 0, 1, 1], "qidxs": [0, 2], "pidxs": [1, 3]}


def put_databases(root: Path) -> None:
    """Images 0 to 3 to train on, 4 to 7 to validate on, 8 to 11 to whiten with."""
    for name, content in (
        ("retrieval-SfM-120k", {"train": pairs(0), "val": pairs(4)}),
        ("retrieval-SfM-120k-whiten", pairs(8)),
    ):
        path = root / "data" / "train" / name / f"{name}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(content))


def put_images(root: Path, *numbers: int) -> None:
    for cid in (f"{number:032x}" for number in numbers):
        path = root / FOLDER / "ims" / cid[-2:] / cid[-4:-2] / cid[-6:-4] / cid
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")


def missing(root: Path, *needs: TupleNeed) -> str:
    """What is asked for; nothing is empty."""
    try:
        obtain_tuples(Getting(data_dir=root, offline=True), needs, emit=ignore)
    except MissingAssetError as error:
        return str(error)
    return ""


def test_of_nothing_there_all_that_is_opened_is_asked_for_at_once(tmp_path: Path) -> None:
    told = missing(tmp_path, TupleNeed(SFM, ("train",)), TupleNeed(WHITEN))
    assert "retrieval-SfM-120k.pkl" in told
    assert "retrieval-SfM-120k-whiten.pkl" in told
    assert "ims" in told
    assert f"darkside download {SFM} {WHITEN}" in told


def test_no_need_is_no_question(tmp_path: Path) -> None:
    assert missing(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_other_databases_are_not_asked_for(tmp_path: Path) -> None:
    told = missing(tmp_path, TupleNeed(SFM, ("train",)))
    assert "whiten" not in told
    put_databases(tmp_path)
    (tmp_path / FOLDER / "retrieval-SfM-120k.pkl").unlink()
    put_images(tmp_path, *range(8, 12))
    assert missing(tmp_path, TupleNeed(WHITEN)) == ""
    assert "retrieval-SfM-120k.pkl" in missing(tmp_path, TupleNeed(WHITEN), TupleNeed(SFM))


def test_images_elsewhere_are_not_asked_for(tmp_path: Path) -> None:
    put_databases(tmp_path)
    need = TupleNeed(SFM, ("train", "val"))
    assert f"{SFM} (ims" in missing(tmp_path, need)
    assert missing(tmp_path, TupleNeed(SFM, ("train", "val"), with_images=False)) == ""


@pytest.mark.parametrize(
    ("needs", "numbers", "complete"),
    [
        ((TupleNeed(SFM, ("train",)),), range(4), True),
        ((TupleNeed(SFM, ("train",)),), range(2), True),  # the others are named when the set is opened
        ((TupleNeed(SFM, ("train",)),), range(1), False),
        ((TupleNeed(SFM, ("train", "val")),), range(4), False),
        ((TupleNeed(SFM, ("train", "val")),), range(8), True),
        ((TupleNeed(SFM, ("val",)),), range(4, 8), True),
        ((TupleNeed(SFM, ("train",)), TupleNeed(WHITEN)), range(4), False),
        ((TupleNeed(SFM, ("train",)), TupleNeed(WHITEN)), (*range(4), *range(8, 12)), True),
    ],
)
def test_images_of_what_is_opened_are_enough(
    tmp_path: Path, needs: tuple[TupleNeed, ...], numbers: range, complete: bool
) -> None:
    put_databases(tmp_path)
    put_images(tmp_path, *numbers)
    assert (missing(tmp_path, *needs) == "") is complete


def test_where_cirtorch_has_the_database_it_is_not_asked_for(tmp_path: Path) -> None:
    put_databases(tmp_path)
    path = tmp_path / "data" / "train" / "retrieval-SfM-120k-whiten" / "retrieval-SfM-120k-whiten.pkl"
    path.rename(tmp_path / FOLDER / path.name)
    put_images(tmp_path, *range(8, 12))
    assert missing(tmp_path, TupleNeed(WHITEN)) == ""


def test_a_tree_that_is_complete_is_not_looked_through(tmp_path: Path) -> None:
    put_databases(tmp_path)
    for number in range(256):
        (tmp_path / FOLDER / "ims" / f"{number:02x}").mkdir(parents=True)
    assert missing(tmp_path, TupleNeed(SFM, ("train",))) == ""
