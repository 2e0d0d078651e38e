"""Photographs sorted from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import darkside_cli
from darkside_cli.datasets.sorting import Sorted
from darkside_cli.errors import UsageError
from darkside_cli.events import Event
from darkside_cli.jobs.sort import sort


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name, level in {"a.png": 200, "b.png": 10}.items():
        Image.fromarray(np.full((20, 30, 3), level, np.uint8)).save(tmp_path / "photos" / name)
    return Path("photos")


def test_what_is_found_comes_back_and_is_told(images: Path) -> None:
    events: list[Event] = []
    result = darkside_cli.sort(images, output="lists", emit=events.append)
    assert result.counts == {"day": 1, "dusk": 0, "night": 1}
    assert [image.light for image in result.images] == ["day", "night"]
    assert [event for event in events if isinstance(event, Sorted)] == list(result.images)
    assert result.lists == (Path("lists/day.txt"), Path("lists/dusk.txt"), Path("lists/night.txt"))
    assert result.document()["pictures"][0]["input"] == images / "a.png"


def test_what_cannot_be_meant_is_refused(images: Path) -> None:
    for options, words in [
        ({"move": True, "link": True}, "give one of --move"),
        ({"output": images / "a.png"}, "is not a folder"),
        ({"colour": 1}, "unknown option 'colour'"),
    ]:
        with pytest.raises(UsageError, match=words):
            sort(images, **options)
    Path("empty").mkdir()
    with pytest.raises(UsageError, match="no images in empty"):
        sort("empty")
    assert sort([]).images == ()
