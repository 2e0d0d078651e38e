from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade_images import image_pixels
from PIL import Image
from stub_features import StubFeatures

from darkside_cli.errors import UsageError
from darkside_cli.events import Event, ItemFailed
from darkside_cli.methods import night_comparison
from darkside_cli.methods.night_comparison import NightComparison


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(night_comparison, "ImageFeatures", StubFeatures)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    day, night = tmp_path / "day", tmp_path / "night"
    (day / "inner").mkdir(parents=True)
    night.mkdir()
    for number, name in enumerate(("a.jpg", "inner/b_1.png", "c.png")):
        Image.fromarray(image_pixels(72, 96, number)).save(day / name)
    for number in range(4):
        Image.fromarray(image_pixels(80, 90, number) // 5).save(night / f"{number}.png")
    return day, night


def test_rows_are_scored_alike_whoever_made_them(folders: tuple[Path, Path], tmp_path: Path) -> None:
    day, night = folders
    made = tmp_path / "made"
    (made / "inner").mkdir(parents=True)
    for name, written in (("a.jpg", "a_night.png"), ("inner/b_1.png", "inner/b_1.png"), ("c.png", "c-x.png")):
        Image.fromarray(np.asarray(Image.open(day / name)) // 4).save(made / written)
    compare = NightComparison(day, night, pictures=2)
    compare.add("quarter", "model", lambda _, pixels: pixels // 4)
    found = compare.made_in(made)
    assert {path.name: translation.name for path, translation in found.items()} == {
        "a.jpg": "a_night.png", "b_1.png": "b_1.png", "c.png": "c-x.png",
    }  # fmt: skip
    compare.add("made", "translations", lambda path, _: compare.open(found[path]), list(found))
    compare.add("day", "reference", lambda _, pixels: pixels)
    model, translations, as_they_are = compare.rows
    assert model.scores == pytest.approx(dict(translations.scores))
    assert model.images == 3
    assert len(model.pictures) == 2
    assert model.scores["kernel_distance"] < as_they_are.scores["kernel_distance"]
    assert as_they_are.scores["edge_agreement"] == pytest.approx(1)
    assert compare.nights == 4
    assert compare.floor is not None
    assert compare.failed == []


def test_broken_files_are_told_once_and_left_out(folders: tuple[Path, Path], tmp_path: Path) -> None:
    day, night = folders
    (day / "broken.jpg").write_bytes(b"no image")
    told: list[Event] = []
    compare = NightComparison(day, night, emit=told.append)
    for name in "one", "two":
        compare.add(name, "reference", lambda _, pixels: pixels)
    assert [row.images for row in compare.rows] == [3, 3]
    assert [event.source.name for event in told if isinstance(event, ItemFailed)] == ["broken.jpg"]
    with pytest.raises(UsageError, match="fewer than two translations"):
        compare.made_in(night)


def test_too_few_photographs(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for day, night in ((tmp_path / "empty", folders[1]), (folders[0], tmp_path / "empty")):
        with pytest.raises(UsageError, match="at least two day photographs and two real nights"):
            NightComparison(day, night)
    assert len(NightComparison(*folders, limit=2)._days) == 2
