"""The images of a training: found by folder and by list, and told about before it begins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from golden import DATA
from PIL import Image

from darkside_cli.config.load import resolve
from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.unpaired import UnpairedConfig, UnpairedImages
from darkside_cli.datasets.unpaired_sets import ImageCache, UnpairedSet, open_set, tell_common_part
from darkside_cli.errors import ConfigError, MissingAssetError, UsageError
from darkside_cli.events import Event, ItemFailed, Notice
from darkside_cli.images.settings import AugmentConfig

MakeImage = Callable[..., Path]


def opened(
    tmp_path: Path, source: Path | None, heard: list[Event] | None = None, **config: Any
) -> UnpairedSet:
    root = config.pop("root", DataRoot(tmp_path / "root", "test"))
    options = UnpairedConfig(day=source, **{"crop_px": 32, "augment": AugmentConfig(flip=True), **config})
    return open_set("day", options, root, (lambda _: None) if heard is None else heard.append)


def notices(heard: list[Event], level: str) -> list[str]:
    return [event.message for event in heard if isinstance(event, Notice) and event.level == level]


def test_folder(tmp_path: Path, make_image: MakeImage) -> None:
    for name in ("b10.png", "b9.jpg", "sub/c.png", "notes.txt"):
        if name.endswith("txt"):
            (tmp_path / "f" / name).write_text("x")
        else:
            make_image(tmp_path / "f" / name, 40, 36)
    heard: list[Event] = []
    images = opened(tmp_path, tmp_path / "f", heard)
    assert [path.name for path in images.paths] == ["b9.jpg", "b10.png"]
    assert images.sizes == ((40, 36), (40, 36))
    assert notices(heard, "info") == ["2 day pictures, sides of 36 to 40 px"]
    assert notices(heard, "warning") == []
    assert len(opened(tmp_path, tmp_path / "f", recursive=True)) == 3


def test_names_in_lists(tmp_path: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole names, names from the list's folder, from the working directory, and of published images."""
    cid = "0123456789abcdef0123456789abcdef"
    published = tmp_path / "root" / "data" / "train" / "retrieval-SfM-120k" / "ims"
    places = [
        tmp_path / "elsewhere" / "a b.png",
        tmp_path / "lists" / "sub" / "b.png",
        tmp_path / "cwd" / "c.png",
        published / "ef" / "cd" / "ab" / cid,
    ]
    for number, path in enumerate(places):
        make_image(path.with_name(path.name + ".png"), 40, 40, seed=number).rename(path)
    (tmp_path / "cwd").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "cwd")
    names = [places[0], "sub/b.png", "c.png", f"ef/cd/ab/{cid}", cid]
    (tmp_path / "lists" / "day.txt").write_text("\r\n".join(map(str, names)) + "\n\n")
    images = opened(tmp_path, tmp_path / "lists" / "day.txt")
    assert [path.resolve() for path in images.paths] == [*places, places[3]]
    assert not images.unusable

    (tmp_path / "lists" / "other.txt").write_text("b.png\n")
    assert opened(tmp_path, tmp_path / "lists" / "other.txt", images=tmp_path / "lists" / "sub").paths == (
        places[1],
    )


def test_published_lists(tmp_path: Path) -> None:
    """Where the data root has them, they need not be named."""
    folder = tmp_path / "root" / "data" / "train" / "retrieval-SfM-120k"
    (folder / "dataset").mkdir(parents=True)
    for name in ("train_day.txt", "train_night.txt"):
        (folder / "dataset" / name).write_text((DATA / "files" / "sfm" / name).read_text())
    (folder / "ims").symlink_to(DATA / "files" / "sfm" / "ims")
    data = UnpairedImages(
        UnpairedConfig(crop_px=32, size=3), seed=0, root=DataRoot(tmp_path / "root", "test")
    )
    assert (len(data.day), len(data.night)) == (19, 7)
    assert [len(batch) for batch in data.epoch(0)] == [1, 1, 1]


def put_city(root: Path, make_image: Callable[..., Path]) -> Path:
    """Lists and images where the embedded city has them."""
    folder = root / "data" / "train" / "nightfall"
    (folder / "dataset").mkdir(parents=True)
    for what in ("day", "night"):
        cids = [f"{what[0].encode().hex()}{number:030x}" for number in range(3)]
        for number, cid in enumerate(cids):
            path = folder / "ims" / cid[-2:] / cid[-4:-2] / cid[-6:-4] / cid
            made = make_image(path.with_name(f"{cid}.png"), 40, 40, seed=number)
            made.rename(path)
        names = [f"../ims/{cid[-2:]}/{cid[-4:-2]}/{cid[-6:-4]}/{cid}" for cid in cids[:2]]
        (folder / "dataset" / f"train_{what}.txt").write_text("\n".join([*names, cids[2]]))
    return folder


@pytest.mark.parametrize("name", ["nightfall", "Nightfall"])
def test_the_embedded_city_by_name(tmp_path: Path, make_image: Callable[..., Path], name: str) -> None:
    folder = put_city(tmp_path / "root", make_image)
    config = UnpairedConfig(day=Path(name), night=Path(name), crop_px=32, size=3)
    data = UnpairedImages(config, seed=0, root=DataRoot(tmp_path / "root", "test"))
    assert (len(data.day), len(data.night)) == (3, 3)
    assert all(path.is_relative_to(folder) for path in (*data.day.paths, *data.night.paths))
    assert not {path.name for path in data.day.paths} & {path.name for path in data.night.paths}
    assert not data.day.unusable


def test_the_published_lists_by_name(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="published list of day pictures"):
        opened(tmp_path, Path("retrieval-SfM-120k"))


def test_a_city_that_is_not_there(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    with pytest.raises(MissingAssetError, match="list of nightfall of day pictures is not at") as caught:
        opened(tmp_path, Path("nightfall"))
    assert "darkside download nightfall brings it" in str(caught.value.hint)
    folder = put_city(tmp_path / "root", make_image)
    shutil.rmtree(folder / "ims")
    with pytest.raises(MissingAssetError, match="3 of 3 day pictures are not there") as caught:
        opened(tmp_path, Path("nightfall"))
    assert caught.value.hint == "darkside download nightfall brings them"


def test_a_folder_comes_before_a_name(
    tmp_path: Path, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_city(tmp_path / "root", make_image)
    make_image(tmp_path / "cwd" / "nightfall" / "own.png", 40, 40)
    monkeypatch.chdir(tmp_path / "cwd")
    assert [path.name for path in opened(tmp_path, Path("nightfall")).paths] == ["own.png"]


def test_published_lists_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="published list of day pictures") as caught:
        opened(tmp_path, None)
    assert "darkside download day-night-lists retrieval-sfm-120k" in str(caught.value.hint)
    folder = tmp_path / "root" / "data" / "train" / "retrieval-SfM-120k" / "dataset"
    folder.mkdir(parents=True)
    (folder / "train_day.txt").write_text("a/b/c\n" * 5)
    with pytest.raises(
        MissingAssetError, match=r"5 of 5 day pictures are not there: .* and 2 more"
    ) as caught:
        opened(tmp_path, None)
    assert "darkside download retrieval-sfm-120k" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing", None, "there is no list or folder"),
        ("empty.txt", "\n \n", "there are no day pictures"),
        ("a.jpg", "x", "is a picture"),
    ],
)
def test_what_is_no_set(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        opened(tmp_path, tmp_path / name)
    assert caught.value.hint


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no day pictures") as caught:
        opened(tmp_path, tmp_path)
    assert "recursive" in str(caught.value.hint)


def test_missing_images(tmp_path: Path, make_image: MakeImage) -> None:
    for number in range(5):
        make_image(tmp_path / f"{number}.png", 40, 40)
    (tmp_path / "day.txt").write_text("".join(f"{number}.png\n" for number in range(9)))
    heard: list[Event] = []
    images = opened(tmp_path, tmp_path / "day.txt", heard)
    (warning,) = notices(heard, "warning")
    assert warning.startswith("4 of 9 day pictures are not there: ")
    assert warning.endswith(f"{tmp_path / '7.png'} and 1 more")
    assert set(images.unusable) == {5, 6, 7, 8}
    (tmp_path / "0.png").unlink()
    with pytest.raises(MissingAssetError, match="5 of 9") as caught:
        opened(tmp_path, tmp_path / "day.txt")
    assert "data.images" in str(caught.value.hint)


def test_broken_headers(tmp_path: Path, make_image: MakeImage) -> None:
    for number in range(5):
        make_image(tmp_path / f"{number}.png", 40, 40)
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "2.png").write_bytes(b"no picture at all, but long enough")
    heard: list[Event] = []
    images = opened(tmp_path, tmp_path, heard)
    failed = {event.source.name: event.reason for event in heard if isinstance(event, ItemFailed)}
    assert set(failed) == {"1.png", "2.png"}
    assert failed["1.png"] == "the file is empty"
    assert images.broken == 2
    (tmp_path / "3.png").write_bytes(b"")
    with pytest.raises(UsageError, match="3 of 5 day pictures cannot be read"):
        opened(tmp_path, tmp_path)


def test_sizes_are_upright_and_shrunk(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (200, 100)).save(tmp_path / "a.jpg", exif=exif)
    assert opened(tmp_path, tmp_path).sizes == ((100, 200),)
    assert opened(tmp_path, tmp_path, max_size_px=50).sizes == ((25, 50),)
    assert opened(tmp_path, tmp_path, max_size_px=None).sizes == ((100, 200),)


def test_too_small_images(tmp_path: Path, make_image: MakeImage) -> None:
    for number, (width, height) in enumerate([(64, 48), (64, 31), (20, 20), (48, 32)]):
        make_image(tmp_path / f"{number}.png", width, height)
    crop = {"crop_px": (48, 32)}
    heard: list[Event] = []
    assert not opened(tmp_path, tmp_path, heard, **crop).unusable
    (warning,) = notices(heard, "warning")
    assert "2 of 4 day pictures are smaller than the crop of 48x32: " in warning
    assert f"{tmp_path / '1.png'} (64x31), {tmp_path / '2.png'} (20x20); they are enlarged" in warning

    heard.clear()
    assert set(opened(tmp_path, tmp_path, heard, too_small="skip", **crop).unusable) == {1, 2}
    assert "they are passed over" in notices(heard, "warning")[0]
    with pytest.raises(UsageError, match="2 of 4 day pictures are smaller") as caught:
        opened(tmp_path, tmp_path, too_small="refuse", **crop)
    assert "data.too_small" in str(caught.value.hint)
    with pytest.raises(UsageError, match="no day picture is left"):
        opened(tmp_path, tmp_path, too_small="skip", crop_px=100)


def test_skipped_images_are_never_seen(tmp_path: Path) -> None:
    for name in ("day", "night"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40), (255, 255, 255)).save(tmp_path / name / "large.png")
        Image.new("RGB", (31, 40), (0, 0, 0)).save(tmp_path / name / "small.png")
    config = UnpairedConfig(
        day=tmp_path / "day", night=tmp_path / "night", crop_px=32, size=20, too_small="skip"
    )
    root = DataRoot(tmp_path, "test")
    assert all(batch.day.min() == 1 for batch in UnpairedImages(config, seed=0, root=root).epoch(0))
    kept = replace(config, too_small="upscale")
    assert {batch.day.min().item() for batch in UnpairedImages(kept, seed=0, root=root).epoch(0)} == {-1, 1}


def test_few_images_are_told_of(tmp_path: Path, make_image: MakeImage) -> None:
    make_image(tmp_path / "a.png", 40, 40)
    heard: list[Event] = []
    opened(tmp_path, tmp_path, heard, augment=AugmentConfig())
    assert notices(heard, "warning")[0].startswith("1 day pictures are few: data.augment")


def test_uneven_sizes_are_told_of() -> None:
    """Half of a 10 x 20 image is in 10 x 10, and the whole of that in it: (1/2 + 1) / 2 and 1 on average."""
    heard: list[Event] = []

    def of(*sizes: tuple[int, int]) -> UnpairedSet:
        return UnpairedSet("day", tuple(Path(str(n)) for n in range(len(sizes))), sizes)

    tell_common_part(of((10, 20), (10, 10)), of((10, 10)), heard.append)
    assert heard == []
    tell_common_part(of((10, 20), (10, 40)), of((10, 10)), heard.append)
    assert "38% of them on average" in notices(heard, "info")[0]  # (1/2 + 1/4) / 2


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_images(tmp_path: Path, make_image: MakeImage) -> None:
    for number in range(3):
        make_image(tmp_path / f"{number}.png", 40, 40)
    (tmp_path / "1.png").chmod(0)
    heard: list[Event] = []
    opened(tmp_path, tmp_path, heard)
    assert [event for event in heard if isinstance(event, ItemFailed)] == [
        ItemFailed(tmp_path / "1.png", "permission denied")
    ]


def test_configuration() -> None:
    value = resolve(
        UnpairedConfig, overrides=["crop_px=[96,64]", "augment.flip=true", "max_size_px=none"]
    ).value
    assert value.crop_size == (96, 64)
    assert value.augment.flip
    assert value.max_size_px is None
    assert UnpairedConfig().crop_size == (256, 256)
    for wrong in ("scale=[1.0,0.5]", "crop_px=0", "too_small=shrink", "augment.aspect=0.9"):
        with pytest.raises(ConfigError):
            resolve(UnpairedConfig, overrides=[wrong])


def test_cache_keeps_to_its_capacity() -> None:
    cache = ImageCache(1000)
    made = []

    def make(size: tuple[int, int]) -> Callable[[], Image.Image]:
        return lambda: made.append(size) or Image.new("RGB", size)  # type: ignore[func-returns-value]

    for _ in range(2):
        assert cache.get("small", make((10, 20))).size == (10, 20)  # 800 bytes
        assert cache.get("large", make((10, 10))).size == (10, 10)  # 400 more do not fit
        assert cache.get("tiny", make((10, 5))).size == (10, 5)  # 200 do
    assert cache.size == 1000
    assert made == [(10, 20), (10, 10), (10, 5), (10, 10)]
