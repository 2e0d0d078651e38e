"""Standard input that is an image, a video or a list of names; what first bytes say."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from darkside_cli.datasets import names
from darkside_cli.datasets.names import image_or_names, is_followed, iter_path_tokens
from darkside_cli.errors import ImageError, UsageError
from darkside_cli.images.formats import START_BYTES, can_write, image_suffix, is_video

MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isommp42" + bytes(100)
VIDEOS = {
    "mp4": MP4,
    "mov": b"\0\0\0\x14ftypqt  " + bytes(50),
    "old mov": b"\0\0\0\x08wide\0\0\1\0mdat" + bytes(50),
    "webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01" + bytes(50),
    "avi": b"RIFF\x10\0\0\0AVI LIST" + bytes(50),
    "mpeg": b"\0\0\1\xba\x44" + bytes(50),
}
NAMES = [
    b"a.jpg", b"BM.jpg", b"P5 1.jpg", b"GIF89a-demo.gif", b"II* x.png", b"qoif.png", b"OggS.jpg", b"8BPS", b"MM",
    b"b27_ftyp.jpg", b"RIFF_wave.jpg", "nächtliche Straße.jpg".encode(), b"\xff\xfe.jpg", b"citywide.jpg",
]  # fmt: skip


def encoded(form: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (7, 5), 3).save(buffer, format=form)
    return buffer.getvalue()


class Dripping(io.RawIOBase):
    """A pipe whose writer is slow: three bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._data.read(min(3, len(buffer)))
        buffer[: len(data)] = data
        return len(data)


@pytest.mark.parametrize(
    ("form", "suffix"),
    [("JPEG", ".jpg"), ("PNG", ".png"), ("GIF", ".gif"), ("WEBP", ".webp"), ("TIFF", ".tif"), ("BMP", ".bmp"),
     ("PPM", ".ppm"), ("JPEG2000", ".jp2"), ("SGI", ".sgi"), ("QOI", ".qoi"), ("AVIF", ".avif")],
)  # fmt: skip
def test_images_are_told_by_their_first_bytes_and_come_through_whole(form: str, suffix: str) -> None:
    Image.init()
    if form not in Image.SAVE or (form == "AVIF" and not can_write("AVIF")):
        pytest.skip(f"this Pillow does not write {form}")
    data = encoded(form)
    assert image_suffix(data[:START_BYTES]) == suffix
    assert not is_video(data[:START_BYTES])
    assert image_or_names(io.BytesIO(data))[0] == data
    assert image_or_names(io.BufferedReader(Dripping(data)))[0] == data  # type: ignore[type-var]


@pytest.mark.parametrize("data", VIDEOS.values(), ids=VIDEOS)
def test_videos_are_told_as_such(data: bytes, tmp_path: Path) -> None:
    from darkside_cli.images.images import read_image

    assert is_video(data)
    assert image_suffix(data) is None
    with pytest.raises(UsageError, match="a video") as caught:
        image_or_names(io.BytesIO(data))
    assert "ffmpeg" in (caught.value.hint or "")
    (tmp_path / "clip.jpg").write_bytes(data)
    with pytest.raises(ImageError, match="it is a video") as told:
        read_image(tmp_path / "clip.jpg")
    assert "ffmpeg" in (told.value.hint or "")


@pytest.mark.parametrize("first", NAMES)
def test_names_stay_names_whatever_they_begin_with(first: bytes) -> None:
    names = [first, *NAMES]
    for stream in (io.BytesIO, lambda data: io.BufferedReader(Dripping(data))):
        image, rest = image_or_names(stream(b"".join(name + b"\n" for name in names)))
        assert image is None
        assert [os.fsencode(path) for path in iter_path_tokens(rest, False)] == names
    assert list(iter_path_tokens(image_or_names(io.BytesIO(b""))[1], False)) == []


@pytest.mark.parametrize("data", [b"PK\3\4\x14\0\0\0\x08\0", b"%PDF\0\1", b"\x1f\x8b\x08\0\0\0\0\0\0\3K"])
def test_other_files_are_neither(data: bytes) -> None:
    with pytest.raises(UsageError, match="neither an image"):
        image_or_names(io.BytesIO(data + bytes(60)))


def test_more_than_memory_should_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("PNG")
    monkeypatch.setattr(names, "LARGEST_IMAGE_BYTES", len(data))
    assert image_or_names(io.BytesIO(data))[0] == data
    with pytest.raises(UsageError, match="MiB"):
        image_or_names(io.BytesIO(data + b"x"))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_images_one_after_the_other(form: str) -> None:
    assert not is_followed(encoded(form))
    assert is_followed(encoded(form) * 2)
