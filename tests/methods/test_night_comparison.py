from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade_images import image_pixels
from PIL import Image
from stub_features import StubFeatures

from darkside_cli.errors import UsageError
from darkside_cli.events import Event, ItemFailed, Notice
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
    """Which folder it is that has too few."""
    one = tmp_path / "one"
    one.mkdir()
    Image.fromarray(image_pixels(72, 96)).save(one / "a.png")
    with pytest.raises(UsageError, match=r"at least two day photographs \(.*one has 1\)"):
        NightComparison(one, folders[1])
    (one / "b.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"at least two real nights \(.*one has 1 that can be read\)"):
        NightComparison(folders[0], one)
    assert len(NightComparison(*folders, limit=2)._days) == 2


def test_figures_by_chance_are_told_of(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Few photographs of a kind, and files that are both day and night."""

    def told(day: Path, night: Path) -> list[str]:
        events: list[Event] = []
        NightComparison(day, night, emit=events.append)
        return [event.message for event in events if isinstance(event, Notice) and event.level == "warning"]

    (few,) = told(*folders)
    assert few.startswith("3 day photographs and 4 real nights are few")
    monkeypatch.setattr(night_comparison, "_FEW", 4)
    assert told(*folders)[0].startswith("3 day photographs are few")
    monkeypatch.setattr(night_comparison, "_FEW", 3)
    assert told(*folders) == []
    assert told(folders[0], folders[0]) == [f"3 files are both day photograph and real night ({folders[0]})"]
    assert told(folders[0], folders[0] / ".." / "day")[0].startswith("3 files are both")
