"""Photographs that are alone in their place: their places, their views, and which pairs they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stub_tuples import write_places

from darkside_cli.datasets.lone_images import with_photographs, with_views
from darkside_cli.datasets.tuples import TupleSet, tuples_of_folder
from darkside_cli.errors import MissingAssetError, UsageError


@pytest.fixture
def tuples(tmp_path: Path) -> TupleSet:
    """Two places of two images, one of one."""
    write_places(tmp_path / "places", 2, 2)
    write_places(tmp_path / "lone", 1, 1)
    (tmp_path / "lone" / "p00").rename(tmp_path / "places" / "alone")
    return tuples_of_folder(tmp_path / "places")


def test_views_of_one_photograph_are_each_others_positives(tuples: TupleSet) -> None:
    seen = with_views(tuples, 3)
    assert with_views(tuples, 0) is tuples
    new = [f"view-{number}/alone/0.png" for number in (1, 2, 3)]
    assert [name for name in seen.names if "alone" in name] == new
    pairs = [
        (seen.names[q], seen.names[p]) for q, p in zip(seen.query_index, seen.positive_index, strict=True)
    ]
    assert pairs[-3:] == [(new[0], new[1]), (new[1], new[2]), (new[2], new[0])]
    assert len(pairs) == tuples.pairs + 3
    assert seen.views == (0, 0, 0, 0, 1, 2, 3)
    assert len(set(seen.clusters.tolist())) == 3
    assert {path.name for path in seen.paths[-3:]} == {"0.png"}
    assert seen.keep(seen.clusters == seen.clusters[-1]).views == (1, 2, 3)


def test_each_photograph_of_a_folder_is_a_place(tuples: TupleSet, tmp_path: Path) -> None:
    write_places(tmp_path / "photographs", 1, 2)
    both = with_photographs(tuples, [tmp_path / "photographs" / "p00"])
    assert both.names[-2:] == ("photographs-1/0.png", "photographs-1/1.png")
    assert len(set(both.clusters.tolist())) == 5
    assert both.pairs == tuples.pairs
    assert len(both.places or ()) == 5
    assert with_views(both, 2).pairs == tuples.pairs + 3 * 2
    with pytest.raises(MissingAssetError):
        with_photographs(tuples, [tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no images"):
        with_photographs(tuples, [tmp_path / "empty"])


def test_positions_are_kept(tuples: TupleSet, tmp_path: Path) -> None:
    write_places(tmp_path / "photographs", 1, 1)
    located = replace(tuples, positions=np.arange(10.0).reshape(5, 2), apart_m=25.0)
    seen = with_views(with_photographs(located, [tmp_path / "photographs"]), 2)
    assert seen.positions is not None
    where = dict(zip(seen.names, seen.positions.tolist(), strict=True))
    assert where["view-1/alone/0.png"] == where["view-2/alone/0.png"] == [0.0, 1.0]
    assert np.isnan(where["view-2/photographs-1/p00/0.png"]).all()


def test_a_folder_of_plain_photographs(tmp_path: Path) -> None:
    write_places(tmp_path, 1, 3)
    folder = tmp_path / "p00"
    with pytest.raises(UsageError, match="no folder"):
        tuples_of_folder(folder)
    tuples = tuples_of_folder(folder, lone=True)
    assert (len(tuples), tuples.pairs, tuples.places) == (3, 0, ("0.png", "1.png", "2.png"))
    assert with_views(tuples, 2).pairs == 6


def test_one_part_of_each_place(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write_places(tmp_path / "written", 1, 2)
        (tmp_path / "places" / place).mkdir(parents=True)
        (tmp_path / "written" / "p00").rename(tmp_path / "places" / place / "day")
    write_places(tmp_path / "written", 1, 1)
    (tmp_path / "written" / "p00").rename(tmp_path / "places" / "there" / "night")
    assert len(tuples_of_folder(tmp_path / "places")) == 5
    day = tuples_of_folder(tmp_path / "places", part="day")
    assert (len(day), day.pairs) == (4, 4)
    # A place without such a folder counts whole.
    night = tuples_of_folder(tmp_path / "places", part="night")
    assert night.names == ("here/day/0.png", "here/day/1.png", "there/night/0.png")
