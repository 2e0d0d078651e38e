"""Ground truths: what contradicts itself is refused by name; our JSON says and gives back all there is."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from darkside_cli.datasets.ground_truth import (
    Box,
    GroundTruth,
    GroundTruthError,
    Query,
    from_document,
    to_document,
)
from darkside_cli.metrics import protocols

NAMES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")


def truth(
    *, box: Box | None = None, names: tuple[str, ...] = NAMES, **groups: tuple[int, ...]
) -> GroundTruth:
    return GroundTruth("city", names, (Query("q.jpg", groups, box),))


def test_kind_says_groups_and_protocols() -> None:
    graded = truth(easy=(0,), hard=(), junk=(3,))
    plain = truth(ok=(0,), junk=(3,))
    assert (graded.graded, graded.groups, graded.protocols) == (
        True,
        protocols.GRADED_GROUPS,
        protocols.GRADED,
    )
    assert (plain.graded, plain.groups, plain.protocols) == (False, protocols.PLAIN_GROUPS, protocols.PLAIN)
    assert graded.queries[0].listed() == (0, 3)


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        ({"ok": (4,), "junk": ()}, "ok has the index 4, but the database has 4 images"),
        ({"ok": (), "junk": (-1,)}, "junk has the index -1"),
        ({"ok": (1, 2, 1), "junk": ()}, r"ok lists image 1 \(b.jpg\) twice"),
        ({"ok": (1, 2), "junk": (0, 2)}, r"image 2 \(c.jpg\) is both ok and junk"),
        ({"easy": (1,), "hard": (1,), "junk": ()}, r"image 1 \(b.jpg\) is both easy and hard"),
        ({"easy": (1,), "junk": ()}, "it has the groups easy, junk, not easy, hard, junk"),
        ({"ok": (1,), "junk": (), "hard": ()}, "it has the groups ok, junk, hard, not ok, junk"),
        ({}, "it has the groups none"),
    ],
)
def test_contradictions_are_named(groups: dict[str, Any], problem: str) -> None:
    with pytest.raises(GroundTruthError, match=rf"city, query 0 \(q.jpg\): .*{problem}"):
        truth(**groups)


def test_lenient_ones_tell_what_is_listed_twice() -> None:
    groups = {"ok": (1, 2, 1), "junk": (2, 0, 0, 0)}
    found = GroundTruth(
        "city", NAMES, (Query("p.jpg", {"ok": (0,), "junk": ()}), Query("q.jpg", groups)), lenient=True
    )
    assert found.contradictions == (
        "query 1 (q.jpg): ok lists image 1 (b.jpg) twice",
        "query 1 (q.jpg): image 2 (c.jpg) is both ok and junk",
        "query 1 (q.jpg): junk lists image 0 (a.jpg) twice",
    )
    assert truth(ok=(0,), junk=(3,)).contradictions == ()
    with pytest.raises(GroundTruthError, match="index 4"):
        GroundTruth("city", NAMES, (Query("q.jpg", {"ok": (4,), "junk": ()}),), lenient=True)


@pytest.mark.parametrize(
    "box",
    [
        (5.0, 0.0, 5.0, 9.0),
        (0.0, 9.0, 5.0, 1.0),
        (0.0, 0.0, float("nan"), 9.0),
        (0.0, 0.0, 1.0, float("inf")),
    ],
)
def test_box_is_not_empty(box: Box) -> None:
    with pytest.raises(GroundTruthError, match="left, top, right, bottom"):
        truth(ok=(0,), junk=(), box=box)


def test_names_occur_once_and_there_are_queries() -> None:
    with pytest.raises(GroundTruthError, match=r"the database image 'a.jpg' twice"):
        truth(ok=(0,), junk=(), names=("a.jpg", "b.jpg", "a.jpg"))
    with pytest.raises(GroundTruthError, match="city has no queries"):
        GroundTruth("city", NAMES, ())


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("db_000", "db_000.jpg"),
        ("day/db_000.png", "day/db_000.png"),
        ("st.pauls_000013", "st.pauls_000013.jpg"),
        ("v1.5", "v1.5.jpg"),
        ("x.JPEG", "x.JPEG"),
    ],
)
def test_image_path(name: str, file: str) -> None:
    where = GroundTruth("city", (name,), (Query("q", {"ok": (0,), "junk": ()}),), image_root=Path("root"))
    assert where.image_path(name) == Path("root") / file


def test_ground_truth_can_be_handed_to_another_process() -> None:
    whole = truth(ok=(0,), junk=(3,), box=(0.0, 0.0, 4.0, 5.0))
    assert pickle.loads(pickle.dumps(whole)) == whole


def test_image_path_needs_a_root() -> None:
    with pytest.raises(ValueError, match="does not say where"):
        truth(ok=(0,), junk=()).image_path("a.jpg")


# Our JSON

DOCUMENT: dict[str, Any] = {
    "format": "darkside-ground-truth",
    "version": 1,
    "name": "my-city",
    "images": "photos",
    "database": ["day/bridge.jpg", "day/tower.jpg", "day/tower2.jpg"],
    "queries": [
        {"name": "night/tower.jpg", "ok": ["day/tower.jpg", "day/tower2.jpg"]},
        {"name": "night/bridge.jpg", "ok": [0], "junk": [2], "box": [10, 20, 300, 400]},
    ],
}


def test_json_is_read() -> None:
    found = from_document(DOCUMENT, name="file", folder=Path("home"))
    assert found.name == "my-city"
    assert found.database == ("day/bridge.jpg", "day/tower.jpg", "day/tower2.jpg")
    assert found.queries == (
        Query("night/tower.jpg", {"ok": (1, 2), "junk": ()}),
        Query("night/bridge.jpg", {"ok": (0,), "junk": (2,)}, (10.0, 20.0, 300.0, 400.0)),
    )
    assert found.image_path(found.queries[0].name) == Path("home/photos/night/tower.jpg")


@pytest.mark.parametrize("kind", ["plain", "graded"])
def test_json_round_trip(kind: str) -> None:
    first, second = (
        ({"ok": (1, 0), "junk": ()}, {"ok": (), "junk": (2,)})
        if kind == "plain"
        else ({"easy": (), "hard": (3,), "junk": ()}, {"easy": (1,), "hard": (), "junk": (0, 2)})
    )
    box = (0.5, 1.0, 20.25, 30.0)
    written = GroundTruth("city", NAMES, (Query("q", first), Query("r", second, box)))
    text = json.dumps(to_document(written, images="jpg"))
    read = from_document(json.loads(text), name="file", folder=Path("home"))
    assert read == written
    assert read.image_root == Path("home/jpg")


def changed(**changes: Any) -> dict[str, Any]:
    return {**DOCUMENT, **changes}


def with_query(**query: Any) -> dict[str, Any]:
    return changed(queries=[{"name": "q.jpg", **query}])


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "file is no ground truth"),
        (changed(format="other"), "file is no ground truth"),
        (changed(version=2), "version 2 of the format"),
        (changed(version="1"), r"""version '1' of the format \("version": 1 is known here\)"""),
        (changed(databse=[]), r"unknown key 'databse' \(did you mean database\?\)"),
        (changed(database="a.jpg"), "database is not a list of image names"),
        (changed(queries={}), "queries is not a list of objects"),
        (changed(name=3), "name and images are not both text"),
        (changed(queries=[{"ok": []}]), "query 0 has no name"),
        (with_query(okay=[0]), r"query 0: unknown key 'okay' \(did you mean ok\?\)"),
        (
            with_query(ok=["day/towr.jpg"]),
            r"'day/towr.jpg' is not in the database \(did you mean day/tower.jpg\?\)",
        ),
        (with_query(ok=[1.0]), r"\(q.jpg\): ok has 1.0"),
        (with_query(ok=[True]), r"\(q.jpg\): ok has True"),
        (with_query(ok=0), r"\(q.jpg\): ok is not a list"),
        (with_query(ok=[], box=[1, 2, 3]), "a box is four numbers"),
        (with_query(ok=[7]), "index 7, but the database has 3"),
        (with_query(easy=[0], ok=[1]), "has ok images, where there are queries with easy or hard ones"),
    ],
)
def test_mistakes_in_json_are_named(document: Any, problem: str) -> None:
    with pytest.raises(GroundTruthError, match=problem):
        from_document(document, name="file")
