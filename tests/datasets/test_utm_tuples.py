"""Training tuples of images whose names say where they were taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from utm_folders import utm_name, write_utm_folder

from darkside_cli.datasets.ground_truth import GroundTruthError
from darkside_cli.datasets.lone_images import with_photographs, with_views
from darkside_cli.datasets.tuples import TupleSet
from darkside_cli.datasets.utm_tuples import tuples_of_utm
from darkside_cli.errors import UsageError


def pairs_of(tuples: TupleSet) -> list[tuple[str, str]]:
    names = [name.rpartition("/")[2].split("@")[7] for name in tuples.names]  # their notes
    both = zip(tuples.query_index.tolist(), tuples.positive_index.tolist(), strict=True)
    return sorted((names[query], names[positive]) for query, positive in both)


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """A query at 0 that looks north, and what is around it; one that nothing is near to."""
    database = [
        utm_name(20, 0, heading=50, note="near"),
        utm_name(10, 0, heading=300, note="nearest"),
        utm_name(5, 0, heading=61, note="turned"),
        utm_name(24, 0, note="unknown"),
        utm_name(26, 0, heading=0, note="far"),
        utm_name(600, 0, heading=0, note="elsewhere"),
    ]
    queries = [utm_name(0, 0, heading=0, note="q"), utm_name(1000, 0, note="alone")]
    return write_utm_folder(tmp_path / "city", {"train/database": database, "train/queries": queries})


def test_positives_are_near_and_look_the_same_way(city: Path) -> None:
    tuples = tuples_of_utm(city)
    assert tuples is not None
    assert (tuples.name, len(tuples)) == ("city/train", 8)
    assert pairs_of(tuples) == [("q", "near"), ("q", "nearest"), ("q", "unknown")]
    few, wide = tuples_of_utm(city, positives=1), tuples_of_utm(city, within_m=30, positives=9)
    assert few is not None
    assert wide is not None
    assert pairs_of(few) == [("q", "nearest")]
    assert ("q", "far") in pairs_of(wide)
    assert all(path.is_file() for path in tuples.paths)


def test_without_queries_every_image_is_an_anchor(tmp_path: Path) -> None:
    names = [
        utm_name(x, 0, heading=h, note=n)
        for x, h, n in ((0, 0, "a"), (9, 0, "b"), (9, 180, "c"), (99, 0, "d"))
    ]
    tuples = tuples_of_utm(write_utm_folder(tmp_path / "sf", {"train/37.7": names}))
    assert tuples is not None
    assert pairs_of(tuples) == [("a", "b"), ("b", "a")]
    # b and c were taken at one place, so neither is the other's negative; d's is the only other place.
    assert tuples.fewest_others() == 1
    assert (
        tuples_of_utm(write_utm_folder(tmp_path / "places", {"a": ["1.jpg", utm_name(0, 0)], "b": ["2.jpg"]}))
        is None
    )


def test_parts(city: Path) -> None:
    assert tuples_of_utm(city, split="val") is not None  # what has no such part is taken as it is
    write_utm_folder(city, {"val/database": [utm_name(0, 0)], "val/queries": [utm_name(1, 0)]})
    for split, name in (("val", "city/val"), ("train", "city/train"), (None, "city/train")):
        tuples = tuples_of_utm(city, split=split)
        assert tuples is not None
        assert tuples.name == name


def test_places_are_cells_and_what_is_near_is_of_one_place(tmp_path: Path) -> None:
    """24 and 26 are of two cells; 26 and 49 of one; 24 and 49 are exactly 25 m apart; 500 is of another block."""
    queries = [utm_name(x, 10) for x in (24, 26, 49, 500)]
    tuples = tuples_of_utm(write_utm_folder(tmp_path, {"database": queries, "queries": queries}))
    assert tuples is not None
    order = {name: number for number, name in enumerate(tuples.names)}
    at = np.array([order[f"queries/{name}"] for name in queries])
    assert tuples.clusters[at].tolist() == [0, 1, 1, 2]
    assert [tuples.places[number] for number in tuples.clusters[at]] == ["0/0", "0/0", "0/0", "2/0"]  # type: ignore[index]
    among = tuples.places_among(at.reshape(2, 2))
    assert among.tolist() == [[0, 0], [0, 2]]
    assert tuples.places_among(at[[0, 3]]).tolist() == [0, 2]
    assert tuples.fewest_others() == 1  # 24, 26 and 49 have the cell of 500 alone
    kept = tuples.keep(np.isin(np.arange(len(tuples)), at))
    np.testing.assert_array_equal(kept.positions, tuples.positions[at])  # type: ignore[index]


def test_photographs_and_views_stand_beside_them(city: Path, tmp_path: Path) -> None:
    write_utm_folder(tmp_path, {"more": ["1.jpg"]})
    tuples = tuples_of_utm(city)
    assert tuples is not None
    both = with_views(with_photographs(tuples, [tmp_path / "more"]), 2)
    assert both.positions is not None
    assert np.isnan(both.positions).all(axis=1).sum() == 2  # two views of the photograph
    assert pairs_of(tuples) == [pair for pair in pairs_of(with_views(tuples, 2)) if pair[0] == "q"]


def test_what_cannot_be_learned_from_is_told(city: Path, tmp_path: Path) -> None:
    far = {"database": [utm_name(0, 0)], "queries": [utm_name(300, 0)]}
    with pytest.raises(UsageError, match="no query was taken within 25 m of a database image") as error:
        tuples_of_utm(write_utm_folder(tmp_path / "far", far))
    assert "--positive-dist" in (error.value.hint or "")
    with pytest.raises(UsageError, match="no two images were taken within 25 m of each other"):
        tuples_of_utm(write_utm_folder(tmp_path / "alone", {"": [utm_name(0, 0), utm_name(99, 0)]}))
    write_utm_folder(city / "train/database", {"": ["plain.jpg"]})
    with pytest.raises(GroundTruthError, match=r"1 of 7 images .* such as database/plain\.jpg"):
        tuples_of_utm(city)
    with pytest.raises(GroundTruthError, match=r"1 of 3 images .* such as map\.jpg"):
        tuples_of_utm(write_utm_folder(tmp_path / "mixed", {"": [utm_name(0, 0), utm_name(1, 0), "map.jpg"]}))
