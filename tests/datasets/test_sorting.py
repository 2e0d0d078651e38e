"""Photographs into day, dusk and night: lists, folders, and nothing lost on the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets import sorting
from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.datasets.sorting import Sorted, SortSummary, sort_images
from darkside_cli.datasets.unpaired_config import UnpairedConfig
from darkside_cli.datasets.unpaired_sets import open_set
from darkside_cli.errors import UsageError
from darkside_cli.events import Event, ItemFailed, RunFinished

LEVELS = {"day": 200, "dusk": 84, "night": 10}
Sort = Callable[..., SortSummary]


def image(path: Path, light: str, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 30, 3), LEVELS[light] + shade, dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name, light in {"a.png": "day", "b.jpg": "night", "sub/a.png": "night", "sub/c.png": "dusk"}.items():
        image(folder / name, light)
    return folder


@pytest.fixture
def sort(image_folder: Path, tmp_path: Path) -> Sort:
    def run(*paths: Path, folder: Path | None = tmp_path / "out", **options: Any) -> SortSummary:
        images = expand_inputs(paths or [image_folder], recursive=True, exclude=folder)
        return sort_images(images, folder, **options)

    return run


def listed(folder: Path, light: str) -> list[str]:
    return (folder / f"{light}.txt").read_text().splitlines()


def test_lists(sort: Sort, image_folder: Path, tmp_path: Path) -> None:
    heard: list[Event] = []
    summary = sort(emit=heard.append)
    found = [event for event in heard if isinstance(event, Sorted)]
    assert found == summary.images
    assert summary.counts == {"day": 1, "dusk": 1, "night": 2}
    assert summary.failed == 0
    out = tmp_path / "out"
    assert summary.lists == tuple(out / f"{light}.txt" for light in ("day", "dusk", "night"))
    assert listed(out, "day") == [str(image_folder / "a.png")]
    assert listed(out, "night") == [str(image_folder / "b.jpg"), str(image_folder / "sub" / "a.png")]
    assert [each.source.name for each in found] == ["a.png", "b.jpg", "a.png", "c.png"]
    assert [each.light for each in found] == ["day", "night", "night", "dusk"]
    (end,) = [event for event in heard if isinstance(event, RunFinished)]
    assert (end.done, end.failed) == (4, 0)
    assert sorted(path.name for path in out.iterdir()) == ["day.txt", "dusk.txt", "night.txt"]


def test_lists_are_what_training_takes(sort: Sort, image_folder: Path, tmp_path: Path) -> None:
    """Also where they lie above the images: then names are relative, and all can be moved together."""
    sort(folder=image_folder)
    assert listed(image_folder, "night") == ["b.jpg", str(Path("sub", "a.png"))]
    image_folder.rename(tmp_path / "moved")
    config = UnpairedConfig(night=tmp_path / "moved" / "night.txt", crop_px=16)
    images = open_set("night", config, DataRoot(tmp_path, "test"), lambda _: None)
    assert len(images) == 2
    assert not images.unusable


def test_lists_are_not_replaced_unasked(sort: Sort, image_folder: Path, tmp_path: Path) -> None:
    sort()
    (tmp_path / "out" / "day.txt").write_text("by hand\n")
    with pytest.raises(UsageError, match=r"day\.txt.* are there already") as caught:
        sort()
    assert "--overwrite" in str(caught.value.hint)
    assert listed(tmp_path / "out", "day") == ["by hand"]
    sort(overwrite=True)
    assert listed(tmp_path / "out", "day") == [str(image_folder / "a.png")]


def test_nothing_is_written(sort: Sort, tmp_path: Path) -> None:
    assert sort(folder=None).counts["night"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("placing", ["move", "copy", "link"])
def test_placing(sort: Sort, image_folder: Path, tmp_path: Path, placing: str) -> None:
    contents = {path.name + path.parent.name: path.read_bytes() for path in image_folder.rglob("*.*g")}
    sort(placing=placing)
    out = tmp_path / "out"
    placed = {path.relative_to(out).as_posix() for path in out.rglob("*.*g")}
    assert placed == {"day/a.png", "night/b.jpg", "night/sub/a.png", "dusk/sub/c.png"}
    assert (out / "night" / "sub" / "a.png").read_bytes() == contents["a.pngsub"]
    assert listed(out, "night") == [str(Path("night", "b.jpg")), str(Path("night", "sub", "a.png"))]
    assert (out / "night" / "b.jpg").is_symlink() == (placing == "link")
    assert len(list(image_folder.rglob("*.*g"))) == (0 if placing == "move" else 4)
    assert not list(tmp_path.rglob(".darkside-*"))


@pytest.mark.parametrize("placing", ["move", "copy", "link"])
def test_going_on(sort: Sort, image_folder: Path, tmp_path: Path, placing: str) -> None:
    """What is in its folder already stays and is listed with what comes."""
    sort(image_folder / "a.png", image_folder / "b.jpg", placing=placing)
    sort(placing=placing)
    assert len(listed(tmp_path / "out", "night")) == 2
    assert len(listed(tmp_path / "out", "day")) == 1
    assert len(list(image_folder.rglob("*.*g"))) == (0 if placing == "move" else 4)


@pytest.mark.parametrize("placing", ["move", "copy", "link"])
def test_another_image_in_its_place(sort: Sort, image_folder: Path, tmp_path: Path, placing: str) -> None:
    other = image(tmp_path / "out" / "night" / "b.jpg", "night", shade=5).read_bytes()
    ours = (image_folder / "b.jpg").read_bytes()
    heard: list[Event] = []
    assert sort(placing=placing, emit=heard.append).failed == 1
    (failed,) = [event for event in heard if isinstance(event, ItemFailed)]
    assert "another picture is at" in failed.reason
    assert (tmp_path / "out" / "night" / "b.jpg").read_bytes() == other
    assert (image_folder / "b.jpg").read_bytes() == ours
    assert sort(image_folder, placing=placing, overwrite=True).failed == 0
    assert (tmp_path / "out" / "night" / "b.jpg").read_bytes() == ours
    assert (image_folder / "b.jpg").exists() == (placing != "move")


@pytest.mark.parametrize("placing", ["move", "copy", "link"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_images_that_are_in_place(tmp_path: Path, placing: str, overwrite: bool) -> None:
    """The folder that is sorted is the one that is sorted into: an image must not be replaced by itself."""
    path = image(tmp_path / "night" / "a.png", "night")
    before = path.read_bytes()
    images = expand_inputs([tmp_path / "night"], recursive=True, exclude=None)
    summary = sort_images(images, tmp_path, placing=placing, overwrite=overwrite)  # type: ignore[arg-type]
    assert summary.failed == 0
    assert path.read_bytes() == before
    assert not path.is_symlink()
    assert listed(tmp_path, "night") == [str(Path("night", "a.png"))]


def test_moving_to_another_disk(
    sort: Sort, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def across(self: Path, target: Path) -> Path:
        if self.parent.is_relative_to(image_folder):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", across)
    before = (image_folder / "b.jpg").read_bytes()
    assert sort(placing="move").failed == 0
    assert (tmp_path / "out" / "night" / "b.jpg").read_bytes() == before
    assert not list(image_folder.rglob("*.*g"))


def test_a_disk_that_is_full_loses_nothing(
    sort: Sort, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sorting.shutil, "copy2", full)
    monkeypatch.setattr(Path, "replace", full)
    before = {path: path.read_bytes() for path in image_folder.rglob("*.*g")}
    heard: list[Event] = []
    images = expand_inputs([image_folder], recursive=True, exclude=None)
    with pytest.raises(OSError, match="No space"):  # that of the lists, in the end
        sort_images(images, image_folder.parent / "out", placing="move", emit=heard.append)
    assert {event.reason for event in heard if isinstance(event, ItemFailed)} == {
        f"it cannot be put at {image_folder.parent / 'out' / name}: no space left on the disk"
        for name in ("day/a.png", "night/b.jpg", "night/sub/a.png", "dusk/sub/c.png")
    }
    assert {path: path.read_bytes() for path in image_folder.rglob("*.*g")} == before


def test_moving_a_link_moves_what_it_shows(sort: Sort, image_folder: Path, tmp_path: Path) -> None:
    real = image(tmp_path / "real.png", "night")
    (image_folder / "link.png").symlink_to("../real.png")
    sort(placing="move")
    moved = tmp_path / "out" / "night" / "link.png"
    assert not moved.is_symlink()
    assert moved.read_bytes() == real.read_bytes()
    assert not (image_folder / "link.png").is_symlink()


def test_broken_images(sort: Sort, image_folder: Path, tmp_path: Path) -> None:
    (image_folder / "broken.png").write_bytes(b"nothing of the kind")
    heard: list[Event] = []
    summary = sort(image_folder, image_folder / "missing.png", emit=heard.append)
    assert summary.failed == 2
    assert summary.counts.total() == 4
    assert {event.source.name for event in heard if isinstance(event, ItemFailed)} == {
        "broken.png",
        "missing.png",
    }
    assert not any(
        name.endswith("broken.png") for light in LEVELS for name in listed(tmp_path / "out", light)
    )


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_odd_names(sort: Sort, image_folder: Path, tmp_path: Path) -> None:
    image(image_folder / "one\ntwo.png", "night")
    odd = image(image_folder / "x.png", "day").rename(
        os.fsdecode(os.fsencode(image_folder) + b"/\xff \xc3\xa9.png")
    )
    heard: list[Event] = []
    assert sort(emit=heard.append).failed == 1
    (failed,) = [event for event in heard if isinstance(event, ItemFailed)]
    assert "line break" in failed.reason
    assert os.fsencode(odd) in (tmp_path / "out" / "day.txt").read_bytes().split(b"\n")
    assert sort(folder=tmp_path / "placed", placing="copy").failed == 1
    assert sort(folder=None).failed == 0
