"""Images to night from Python: what comes back, what is skipped, what is refused, what is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import darkside_cli
from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.errors import DarksideError, MissingAssetError, NoSpaceError, UsageError
from darkside_cli.events import Event, ImageReady, ItemFailed, Notice, RunStarted
from darkside_cli.jobs.request import make
from darkside_cli.jobs.translate import TranslateRequest, run, translate

MakeImage = Callable[..., Path]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKSIDE_HOME", environment["DARKSIDE_HOME"])


def test_a_list_of_images_becomes_night(make_image: MakeImage, generator_file: Path, tmp_path: Path) -> None:
    names = [make_image(tmp_path / f"{i}.jpg", 24, 16, seed=i).name for i in range(2)]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    events: list[Event] = []
    result = darkside_cli.translate([*names, "broken.png"], model=generator_file, emit=events.append)
    assert (result.done, result.skipped, result.failed) == (2, 0, 1)
    assert [image.target for image in result.images] == [Path("night/0.jpg"), Path("night/1.jpg"), None]
    assert result.images[0].size_px == (24, 16)
    assert "not an image" in str(result.images[2].error)
    assert result.model == str(generator_file)
    assert [event.model for event in events if isinstance(event, RunStarted)] == [str(generator_file)]
    assert [event.target for event in events if isinstance(event, ImageReady)] == [
        Path("night/0.jpg"),
        Path("night/1.jpg"),
    ]
    again = translate(names, model=generator_file)
    assert (again.done, again.skipped) == (0, 2)
    assert again.document()["images"][0] == {
        "input": Path("0.jpg"),
        "output": Path("night/0.jpg"),
        "size": [24, 16],
        "seconds": 0,
        "skipped": True,
    }


def test_the_embedded_generator_is_the_default_and_says_so(make_image: MakeImage, tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    events: list[Event] = []
    result = translate("a.png", output="out.webp", emit=events.append)
    assert result.model == "darkside-night"
    assert result.images[0].target == Path("out.webp")
    assert any(isinstance(event, Notice) and "using darkside-night" in event.message for event in events)


def test_contents_come_and_go_in_memory(make_image: MakeImage, generator_file: Path, tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.jpg", 24, 16)
    request = TranslateRequest(model=str(generator_file), content=image.read_bytes(), in_memory=True)
    encoded = run(request).encoded
    assert encoded is not None
    assert not (tmp_path / "night").exists()
    translate(image, model=generator_file)
    assert bytes(encoded) == (tmp_path / "night" / "a.jpg").read_bytes()
    named = run(TranslateRequest(model=str(generator_file), content=image.read_bytes()))
    assert str(named.images[0].target).startswith("night/stdin-")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "hedgnan"}, "unknown model 'hedgnan'"),
        ({"to": "dusk"}, "unknown time of day"),
        ({"model": "hedngan", "to": "day"}, "translates day to night, not to day"),
        ({"direction": "night2day", "model": "hedngan"}, "a night2day generator does not translate to night"),
        ({"format": "pgn"}, "did you mean png"),
        ({"output": "a.jpg", "suffix": "_n"}, "--suffix does not go with -o a.jpg"),
        ({"output": "a.jpg", "format": "png"}, "--format does not go with -o a.jpg"),
        ({"quality": 101}, "quality must be"),
        ({"sise": 1}, "unknown option 'sise'"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_the_request_is_made(
    options: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        make(TranslateRequest, "a.png", **options)


def test_missing_things_are_told_after_wrong_usage(make_image: MakeImage, tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="no images in none"):
        translate("none", model="nowhere.pth")
    with pytest.raises(MissingAssetError, match=r"nowhere\.pth"):
        translate("a.png", model="nowhere.pth")
    with pytest.raises(MissingAssetError, match="hedngan") as caught:
        translate("a.png", model="hedngan")
    assert [asset.name for asset in caught.value.assets] == ["hedngan"]
    with pytest.raises(UsageError, match="is one file, and 2 images came in"):
        translate(["a.png", "b.png"], output="night.jpg")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is not a folder"):
        translate("a.png", output="file")
    assert translate([]).document() == {
        "model": None,
        "images": [],
        "done": 0,
        "skipped": 0,
        "failed": 0,
        "seconds": 0,
    }


def test_a_full_disk_says_what_was_done(
    make_image: MakeImage, generator_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [make_image(tmp_path / f"{i}.png", seed=i) for i in range(3)]

    def write_one(path: Path, data: bytes, **kwargs: object) -> None:
        if path.name != "0.png":
            raise OSError(28, "No space left on device", str(path))
        write_bytes_atomic(path, data)

    monkeypatch.setattr("darkside_cli.images.images.write_bytes_atomic", write_one)
    with pytest.raises(NoSpaceError) as caught:
        translate(names, model=generator_file, workers=1)
    assert caught.value.result.done == 1
    with Image.open(tmp_path / "night" / "0.png") as image:
        image.load()


def test_a_folder_that_cannot_be_made_is_told_once(
    make_image: MakeImage, generator_file: Path, tmp_path: Path
) -> None:
    names = [make_image(tmp_path / f"{i}.jpg", 24, 16, seed=i).name for i in range(3)]
    events: list[Event] = []
    with pytest.raises(UsageError, match=r"folder 0\.jpg/night cannot be made: not a directory"):
        translate(names, model=generator_file, output="0.jpg/night", emit=events.append)
    assert not any(isinstance(event, (RunStarted, ItemFailed)) for event in events)


def test_no_folder_is_left_where_nothing_could_be_done(make_image: MakeImage, tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(b"no weights")
    with pytest.raises(DarksideError):
        translate(make_image(tmp_path / "a.jpg", 24, 16), model="net.pth", output="some/where")
    assert not (tmp_path / "some").exists()
