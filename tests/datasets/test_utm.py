"""Folders of images whose names say where they were taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from utm_folders import utm_name, write_utm_folder

from darkside_cli.datasets.ground_truth import GroundTruthError
from darkside_cli.datasets.utm import (
    Station,
    Stations,
    find_set,
    ground_truth_of_utm,
    refuse_half,
    station_of,
)
from darkside_cli.errors import UsageError

SF_XL = (
    "@0549117.79@4178318.66@10@S@037.75050@-122.44223@yjIzQJKVNSbJLFYUG1fJ6A@@210@@@@201311@@.jpg"  # its own
)


def test_what_a_name_says() -> None:
    assert station_of(SF_XL) == Station(549117.79, 4178318.66, 210)
    assert station_of("some/@folder@/@1.5@-2@@.jpg") == Station(1.5, -2, None)
    assert station_of("note@1@2@.jpg") == Station(1, 2, None)  # as VPR-methods-evaluation takes it
    for name in ("day.jpg", "@1.jpg", "@one@2@.jpg", "@nan@2@.jpg", "@inf@2@.jpg", "@1@2/day.jpg"):
        assert station_of(name) is None


def test_near_is_by_distance_and_the_distance_itself_is_near() -> None:
    places = np.array([[0, 25], [25, 0], [15, 20], [15, 20.001], [-7, 24], [500000, 25]], dtype=np.float64)
    database = Stations(tuple("abcdef"), places, np.full(6, np.nan))
    asked = Stations(("q", "r"), np.array([[0.0, 0.0], [500000.0, 0.0]]), np.full(2, np.nan))
    assert [found.tolist() for found in asked.near(database, 25)] == [[0, 1, 2, 4], [5]]
    rng = np.random.default_rng(0)
    many, some = (rng.integers(0, 300, (n, 2)).astype(np.float64) for n in (200, 50))
    found = Stations(("",) * 50, some, some[:, 0]).near(Stations(("",) * 200, many, many[:, 0]), 25)
    for place, numbers in zip(some, found, strict=True):
        expected = np.flatnonzero(((many - place) ** 2).sum(axis=1) <= 625)
        np.testing.assert_array_equal(numbers, expected)


def test_the_set_is_found_in_the_folder_or_in_a_part_of_it(tmp_path: Path) -> None:
    one = [utm_name(0, 0)]
    assert find_set(tmp_path) is None
    write_utm_folder(
        tmp_path / "msls", {f"{p}/{s}": one for p in ("train", "val") for s in ("database", "queries")}
    )
    write_utm_folder(tmp_path / "pitts/images/test", {"database": one, "queries": one, "queries_night": one})
    assert find_set(tmp_path / "msls") == tmp_path / "msls/val"
    assert find_set(tmp_path / "msls", parts=("train",)) == tmp_path / "msls/train"
    assert find_set(tmp_path / "msls/train") == tmp_path / "msls/train"
    assert find_set(tmp_path / "pitts", queries=["queries_night"]) == tmp_path / "pitts/images/test"
    truth = ground_truth_of_utm(tmp_path / "pitts/images/test")
    assert (truth.name, truth.image_root) == ("pitts/test", (tmp_path / "pitts/images/test").resolve())
    write_utm_folder(tmp_path / "two", {f"{p}/{s}": one for p in "ab" for s in ("database", "queries")})
    with pytest.raises(UsageError, match="several sets: a, b"):
        find_set(tmp_path / "two")


def test_folders_of_places_are_left_to_themselves(tmp_path: Path) -> None:
    write_utm_folder(
        tmp_path, {f"{p}/{s}": ["1.jpg"] for p in "ab" for s in ("day", "night", "queries", "database")}
    )
    assert find_set(tmp_path, queries=["night"], database=["day"]) is None
    assert find_set(tmp_path, queries=["queries"], database=["database"]) is None
    refuse_half(tmp_path)
    refuse_half(tmp_path, queries=["dusk"], database=["day"])


def test_what_is_no_such_set_is_told(tmp_path: Path) -> None:
    far = write_utm_folder(tmp_path / "far", {"database": [utm_name(0, 0)], "queries": [utm_name(300, 400)]})
    with pytest.raises(GroundTruthError, match=r"within 25 m: the nearest is 500 m away") as error:
        ground_truth_of_utm(far)
    assert "--positive-dist" in (error.value.hint or "")
    assert ground_truth_of_utm(far, within_m=500).queries[0].groups["ok"] == (0,)
    write_utm_folder(far, {"database": ["plain.jpg"]})
    with pytest.raises(
        GroundTruthError, match=r"1 of 2 images in .*database do not say .* database/plain\.jpg"
    ) as error:
        ground_truth_of_utm(far)
    assert "@UTM_east@UTM_north@" in (error.value.hint or "")
    (tmp_path / "empty/queries").mkdir(parents=True)
    (tmp_path / "empty/database").mkdir()
    with pytest.raises(GroundTruthError, match="queries has no images"):
        ground_truth_of_utm(tmp_path / "empty")
    write_utm_folder(tmp_path / "half", {"test/database": [utm_name(0, 0)], "test/night": [utm_name(0, 0)]})
    assert find_set(tmp_path / "half") is None
    with pytest.raises(UsageError, match="half/test has no folder queries, only database"):
        refuse_half(tmp_path / "half")
    # As SVOX has it: a gallery in place of a database.
    (tmp_path / "half/test/gallery").mkdir()
    with pytest.raises(UsageError, match="has no folder queries, only database, gallery"):
        refuse_half(tmp_path / "half")
    (tmp_path / "half/test/gallery").rmdir()
    with pytest.raises(UsageError, match="has no folder dusk, only database, night"):
        refuse_half(tmp_path / "half", queries=["dusk", "night"])
