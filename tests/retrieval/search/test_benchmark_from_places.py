"""Ground truth from folders of places."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkside_cli.datasets.ground_truth import GroundTruthError, Query
from darkside_cli.errors import MissingAssetError
from darkside_cli.retrieval.search.benchmark import ground_truth_from_places


@pytest.fixture
def city(tmp_path: Path) -> Path:
    for name in (
        "bridge/day/1.jpg",
        "bridge/day/2.PNG",
        "bridge/night/1.jpg",
        "bridge/dusk/1.jpg",
        "bridge/notes.txt",
        "tower/day/sub/1.jpg",
        "tower/night/a.jpg",
        "tower/night/b.jpg",
        "tower/night/.hidden.jpg",
        "tower/night/list.txt",
        "square/day/1.jpg",  # no night: a wrong answer to all
        "cellar/night/1.jpg",  # no day: cannot be asked for
        ".git/day/1.jpg",
        "readme.jpg",
    ):
        path = tmp_path / "city" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "city"


def test_night_asks_for_day(city: Path) -> None:
    truth = ground_truth_from_places(city)
    assert truth.name == "city"
    assert truth.database == (
        "bridge/day/1.jpg",
        "bridge/day/2.PNG",
        "square/day/1.jpg",
        "tower/day/sub/1.jpg",
    )
    assert truth.queries == (
        Query("bridge/night/1.jpg", {"ok": (0, 1), "junk": ()}),
        Query("tower/night/a.jpg", {"ok": (3,), "junk": ()}),
        Query("tower/night/b.jpg", {"ok": (3,), "junk": ()}),
    )
    assert truth.image_path(truth.database[1]) == city.resolve() / "bridge/day/2.PNG"


def test_other_pairs(city: Path) -> None:
    truth = ground_truth_from_places(city, queries=("night", "dusk"), name="dark")
    assert truth.name == "dark"
    assert [query.name for query in truth.queries][:2] == ["bridge/dusk/1.jpg", "bridge/night/1.jpg"]
    reverse = ground_truth_from_places(city, queries="day", database="night")
    assert reverse.database == (
        "bridge/night/1.jpg",
        "cellar/night/1.jpg",
        "tower/night/a.jpg",
        "tower/night/b.jpg",
    )
    assert [query.groups["ok"] for query in reverse.queries] == [(0,), (0,), (2, 3)]


def test_a_query_that_is_in_the_database_is_junk_of_its_own(city: Path) -> None:
    truth = ground_truth_from_places(city, queries="day")
    assert truth.queries[1] == Query("bridge/day/2.PNG", {"ok": (0,), "junk": (1,)})
    assert truth.queries[2] == Query("square/day/1.jpg", {"ok": (), "junk": (2,)})


def test_distractors(city: Path) -> None:
    (city.parent / "world" / "deep").mkdir(parents=True)
    (city.parent / "world" / "z.jpg").touch()
    (city.parent / "world" / "deep" / "y.jpg").touch()
    truth = ground_truth_from_places(city, distractors=[city.parent / "world"])
    assert truth.database[-2:] == ("world/deep/y.jpg", "world/z.jpg")
    assert truth.database[0] == "city/bridge/day/1.jpg"
    assert truth.queries[0].groups["ok"] == (0, 1)
    assert truth.image_path(truth.database[-1]).exists()


def test_names_do_not_depend_on_how_the_folder_is_called(city: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(city / "bridge")
    assert ground_truth_from_places("..") == ground_truth_from_places(city)


def test_wrong_folders_are_told(city: Path) -> None:
    with pytest.raises(MissingAssetError, match="there is no folder"):
        ground_truth_from_places(city / "none")
    with pytest.raises(MissingAssetError, match="there is no folder"):
        ground_truth_from_places(city, distractors=[city / "none"])
    with pytest.raises(GroundTruthError, match="images both in noon and in day"):
        ground_truth_from_places(city, queries="noon")


def test_folders_without_places_are_told_what_would_be_right(tmp_path: Path, city: Path) -> None:
    """A flat folder was told to put its images into <place>/night and <place>/day, but not why."""

    def told(folder: Path) -> GroundTruthError:
        with pytest.raises(GroundTruthError) as caught:
            ground_truth_from_places(folder)
        assert f"{folder}/<place>/night" in str(caught.value.hint)
        assert f"{folder}/<place>/day" in str(caught.value.hint)
        return caught.value

    flat = tmp_path / "flat"
    flat.mkdir()
    assert "no folder in" in told(flat).message
    (flat / "1.jpg").touch()
    assert "has images, but nothing says which of them show the same place" in told(flat).message
    # The two halves, but no places.
    assert "day and night in" in told(city / "bridge").message
    assert "do not say which images show the same place" in told(city / "bridge").message
    # Places whose folders are called otherwise.
    for name in ("noon", "dusk"):
        (tmp_path / "other" / "tower" / name).mkdir(parents=True)
        (tmp_path / "other" / "tower" / name / "1.jpg").touch()
    hint = str(told(tmp_path / "other").hint)
    assert "--query-folder and --database-folder (there are dusk, noon)" in hint
