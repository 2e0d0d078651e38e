"""JPEGs that are made to cost minutes: thousands of scans, thousands of segments of metadata."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image, JpegImagePlugin

from darkside_cli.errors import ImageError
from darkside_cli.images import jpeg
from darkside_cli.images.identify import GuardedStream
from darkside_cli.images.images import read_image
from darkside_cli.images.jpeg import count_scans, read_header


def encoded(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((64, 48)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def many_scans(extra: int) -> bytes:
    """A progressive image whose last scan is there ``extra`` times more."""
    data = encoded(progressive=True)
    end = data.rindex(b"\xff\xd9")
    return data[:end] + data[data.rindex(b"\xff\xda") : end] * extra + data[end:]


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def exif_bytes() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    return exif.tobytes()


def with_segments(segments: bytes) -> bytes:
    """A photograph with EXIF that names its maker, and ``segments`` behind that."""
    data = encoded(exif=exif_bytes())
    begin = data.index(b"\xff\xe1")
    (length,) = struct.unpack(">H", data[begin + 2 : begin + 4])
    return data[: begin + 2 + length] + segments + data[begin + 2 + length :]


def scans(data: bytes, most: int = 10_000) -> int:
    stream = io.BytesIO(data)
    return count_scans(stream, read_header(stream).scan, most)


def test_scans_are_counted() -> None:
    once = scans(encoded(progressive=True))
    assert 2 < once < 20
    assert scans(many_scans(30)) == once + 30
    assert scans(many_scans(30), most=15) == 15
    assert scans(encoded()) == 1
    inside = many_scans(1) + b"\xff\xda" * 99
    assert scans(inside) == once + 1, "what follows the end of the picture is not its scans"


@pytest.mark.parametrize("chunk", [7, 16, 100])
def test_scans_are_counted_across_blocks(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = scans(many_scans(5))
    monkeypatch.setattr(jpeg, "_CHUNK", chunk)
    assert scans(many_scans(5)) == expected


def test_an_image_of_thousands_of_scans_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(self: Image.Image) -> None:
        raise AssertionError("it was decoded")

    (tmp_path / "fair.jpg").write_bytes(many_scans(20))
    assert read_image(tmp_path / "fair.jpg").pixels.shape == (48, 64, 3)
    (tmp_path / "slow.jpg").write_bytes(many_scans(2000))
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", decoded)
    with pytest.raises(ImageError, match="more than 500 scans"):
        read_image(tmp_path / "slow.jpg")


def test_scans_count_by_the_pixels_that_they_go_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(many_scans(40))
    monkeypatch.setattr(jpeg, "MAX_SCANNED_PIXELS", 64 * 48 * 20)
    with pytest.raises(ImageError, match="more than 20 scans"):
        read_image(tmp_path / "a.jpg")


def test_metadata_beyond_measure_is_left_out_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpeg, "MAX_EXIF_BYTES", 20_000)
    more = segment(0xE1, b"Exif\0\0" + bytes(5000)) * 40
    (tmp_path / "a.jpg").write_bytes(with_segments(more))
    image = read_image(tmp_path / "a.jpg")
    assert image.left_out == "37 segments of metadata were left out: it has too many"
    (tmp_path / "plain.jpg").write_bytes(with_segments(b""))
    plain = read_image(tmp_path / "plain.jpg")
    assert plain.left_out is None
    assert (image.pixels == plain.pixels).all()
    assert image.exif == plain.exif is not None


@pytest.mark.parametrize("marker", [0xE1, 0xE5, 0xED, 0xFE])
def test_segments_of_any_kind_have_a_measure(
    marker: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries' readers see no more of them, however many there are."""
    monkeypatch.setattr(jpeg, "MAX_SEGMENTS", 50)
    (tmp_path / "a.jpg").write_bytes(with_segments(segment(marker, b"nothing") * 3000))
    image = read_image(tmp_path / "a.jpg")
    assert image.left_out is not None
    assert image.left_out.startswith("2,9")
    assert image.exif is not None


def test_a_file_of_nothing_but_segments_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "MAX_SEGMENTS", 50)
    monkeypatch.setattr(jpeg, "TOO_MANY_SEGMENTS", 500)
    (tmp_path / "a.jpg").write_bytes(with_segments(segment(0xFE, b"") * 501))
    with pytest.raises(ImageError, match="more than 500 segments of metadata"):
        read_image(tmp_path / "a.jpg")


def test_profiles_of_photographs_are_kept(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (tmp_path / "a.jpg").write_bytes(encoded(icc_profile=profile, exif=exif_bytes(), comment=b"x"))
    image = read_image(tmp_path / "a.jpg")
    assert image.left_out is None
    assert image.icc_profile is not None


@pytest.mark.parametrize("cut", [3, 5, 21, 40, 300])
def test_cut_headers_are_told(cut: int, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(exif=exif_bytes())[:cut])
    with pytest.raises(ImageError, match="JPEG"):
        read_image(tmp_path / "a.jpg")


def test_junk_without_end_is_not_searched(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff" + bytes(3 << 20))
    with pytest.raises(ImageError, match="no marker found"):
        read_image(tmp_path / "a.jpg")


def test_a_decoder_that_asks_for_more_past_the_deadline_gets_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(progressive=True))
    assert read_image(tmp_path / "a.jpg", max_seconds=60).pixels.shape == (48, 64, 3)
    with pytest.raises(ImageError, match="reading it takes longer than 0 s"):
        read_image(tmp_path / "a.jpg", max_seconds=0)


def test_a_stream_with_parts_left_out_reads_as_a_file_without_them() -> None:
    data = bytes(range(200))
    stream = GuardedStream(io.BytesIO(data), 60)
    stream.leave_out([(0, 10), (30, 50)], 100)
    whole = io.BytesIO(data[:10] + data[30:50] + data[100:])
    for place, whence, size in [
        (0, 0, 5),
        (3, 1, 40),
        (25, 0, 10),
        (-8, 2, -1),
        (0, 0, -1),
        (30, 0, 3),
        (500, 0, 2),
    ]:
        assert stream.seek(place, whence) == whole.seek(place, whence)
        assert stream.read(size) == whole.read(size)
        assert stream.tell() == whole.tell()
    assert not hasattr(stream, "fileno")
