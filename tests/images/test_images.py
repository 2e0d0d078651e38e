from __future__ import annotations

import errno
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from handmade_images import cmyk_profile, exif_block, png, png_chunk
from PIL import ExifTags, Image, ImageCms, ImageFile
from waiting import Process

from darkside_cli.errors import ImageError
from darkside_cli.images import identify, images
from darkside_cli.images.formats import can_write
from darkside_cli.images.images import DecodedImage, read_image, write_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
THUMBNAIL = b"\xff\xd8 the day picture \xff\xd9"
LOSSLESS = ["PNG", "TIFF", "BMP"]
WRITTEN = ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF"]

needs_avif = pytest.mark.skipif(not can_write("AVIF"), reason="this Pillow has no AVIF")
written_formats = pytest.mark.parametrize(
    "format", [pytest.param(name, marks=needs_avif if name == "AVIF" else ()) for name in WRITTEN]
)


def pixels_of(height: int = 20, width: int = 30, seed: int = 0) -> images.Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth_pixels(height: int = 32, width: int = 48) -> images.Pixels:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 5, y * 7, 255 - x * 5], axis=-1).astype(np.uint8)


def encoded(pixels: images.Pixels, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=format, **options)
    return buffer.getvalue()


def reason(path: Path | str) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert os.fspath(path) not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    return caught.value.message


def only(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# Reading


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (33, 2), (30, 20)])
def test_any_size(tmp_path: Path, size: tuple[int, int]):
    pixels = pixels_of(*size)
    (tmp_path / "a").write_bytes(encoded(pixels, "PNG"))
    image = read_image(tmp_path / "a")
    assert image.pixels.dtype == np.uint8
    assert image.pixels.flags.writeable
    assert np.array_equal(image.pixels, pixels)
    assert (image.alpha, image.exif, image.icc_profile, image.format) == (None, None, None, "PNG")


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM", "JPEG2000", "SGI"])
def test_the_name_does_not_matter(tmp_path: Path, format: str):
    (tmp_path / "picture.jpg").write_bytes(encoded(pixels_of(), format))
    image = read_image(os.fspath(tmp_path / "picture.jpg"))
    assert np.array_equal(image.pixels, pixels_of())
    assert image.format == format


# Pillow's numbers for "how the stored image has to be turned", applied the other way round.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, format: str, orientation: int):
    upright = pixels_of()
    alpha = pixels_of(seed=1)[..., :1]
    stored = np.ascontiguousarray(STORED[orientation](np.concatenate([upright, alpha], axis=-1)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    lossless = {"lossless": True, "exact": True} if format == "WEBP" else {}
    Image.fromarray(stored).save(tmp_path / "a", format=format, exif=exif, **lossless)
    image = read_image(tmp_path / "a")
    assert np.array_equal(image.pixels, upright)
    assert image.alpha is not None
    assert np.array_equal(image.alpha, alpha[..., 0])
    kept = Image.Exif()
    kept.load(image.exif or b"")
    assert (kept[0x0112], kept[0x010F]) == (1, "Maker")


def test_first_frame_of_several(tmp_path: Path):
    frames = [Image.fromarray(np.full((6, 8, 3), level, np.uint8)) for level in (10, 200)]
    for format in ("GIF", "PNG", "TIFF", "WEBP", "MPO"):
        options = {"lossless": True} if format == "WEBP" else {"quality": 100} if format == "MPO" else {}
        frames[0].save(tmp_path / format, format=format, save_all=True, append_images=frames[1:], **options)
        with Image.open(tmp_path / format) as check:
            assert getattr(check, "n_frames", 1) == 2, format
        image = read_image(tmp_path / format)
        assert (image.pixels == 10).all(), format
        assert image.format == ("JPEG" if format == "MPO" else format)


def test_profiles(tmp_path: Path):
    (tmp_path / "rgb").write_bytes(encoded(pixels_of(), "PNG", icc_profile=SRGB))
    assert read_image(tmp_path / "rgb").icc_profile == SRGB
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(
        tmp_path / "cmyk", format="JPEG", icc_profile=cmyk_profile(50)
    )
    image = read_image(tmp_path / "cmyk")
    assert image.icc_profile is None
    assert np.abs(image.pixels.astype(int) - 119).max() <= 1


def test_max_size_shrinks_with_lanczos_from_all_pixels(tmp_path: Path):
    pixels = pixels_of(300, 400)
    (tmp_path / "a").write_bytes(encoded(pixels, "JPEG", quality=95))
    expected = Image.open(tmp_path / "a").convert("RGB")
    expected.thumbnail((40, 40), Image.Resampling.LANCZOS, reducing_gap=None)
    small = read_image(tmp_path / "a", max_size_px=40).pixels
    assert small.shape == (30, 40, 3)
    assert np.array_equal(small, np.asarray(expected))
    drafted = Image.open(tmp_path / "a")
    drafted.thumbnail((40, 40), Image.Resampling.LANCZOS)
    assert not np.array_equal(small, np.asarray(drafted))  # what Pillow does unless told


def test_max_size_never_enlarges_and_takes_alpha_along(tmp_path: Path):
    rgba = np.concatenate([pixels_of(), pixels_of(seed=1)[..., :1]], axis=-1)
    Image.fromarray(rgba).save(tmp_path / "a", format="PNG")
    assert read_image(tmp_path / "a", max_size_px=30).pixels.shape == (20, 30, 3)
    assert read_image(tmp_path / "a", max_size_px=1000).pixels.shape == (20, 30, 3)
    image = read_image(tmp_path / "a", max_size_px=15)
    assert image.pixels.shape == (10, 15, 3)
    assert image.alpha is not None
    assert image.alpha.shape == (10, 15)
    assert read_image(tmp_path / "a", max_size_px=1).pixels.shape == (1, 1, 3)
    with pytest.raises(ValueError, match="at least 1"):
        read_image(tmp_path / "a", max_size_px=0)


def test_max_size_is_of_the_upright_image(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels_of(20, 40)).save(tmp_path / "a", format="PNG", exif=exif)
    assert read_image(tmp_path / "a", max_size_px=20).pixels.shape == (20, 10, 3)


def test_sixteen_bits_survive_max_size(tmp_path: Path):
    Image.fromarray(np.full((8, 8), 0x8080, np.uint16)).save(tmp_path / "a", format="PNG")
    assert (read_image(tmp_path / "a", max_size_px=4).pixels == 128).all()


# What is no image


def test_things_that_are_no_files(tmp_path: Path):
    assert reason(tmp_path / "none.jpg") == "no such file"
    assert reason(tmp_path / "none" / "none.jpg") == "no such file"
    (tmp_path / "file").write_bytes(b"")
    assert reason(tmp_path / "file" / "none.jpg") == "no such file"
    assert reason(tmp_path / "file") == "the file is empty"
    assert reason(tmp_path) == "it is a folder, not an image"
    assert reason("a\0b.jpg") == "no file can have this name"
    assert reason(tmp_path / ("x" * 300)) == "the file name is too long"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
def test_pipes_sockets_devices_and_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert reason(tmp_path / "pipe.jpg") == "it is a pipe, not a file"
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        assert reason(tmp_path / "socket.jpg") == "it is a socket, not a file"
    assert reason("/dev/null") == "it is a device, not a file"
    (tmp_path / "link.jpg").symlink_to("nowhere")
    assert reason(tmp_path / "link.jpg") == "it is a symbolic link to a file that does not exist"
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    assert reason(tmp_path / "circle.jpg") == "its symbolic links go round in a circle"
    (tmp_path / "a").write_bytes(encoded(pixels_of(), "PNG"))
    (tmp_path / "good.jpg").symlink_to("a")
    assert np.array_equal(read_image(tmp_path / "good.jpg").pixels, pixels_of())


def test_unreadable_file(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(encoded(pixels_of(), "PNG"))
    (tmp_path / "a.png").chmod(0)
    if os.access(tmp_path / "a.png", os.R_OK):
        pytest.skip("this user may read everything")
    assert reason(tmp_path / "a.png") == "permission denied"


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.EACCES, "permission denied"), (errno.EIO, "input/output error")]
)
def test_file_that_the_system_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: str
):
    (tmp_path / "a.png").write_bytes(encoded(pixels_of(), "PNG"))

    def refuse(self: Path, *arguments: object) -> None:
        raise OSError(number, os.strerror(number), os.fspath(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert reason(tmp_path / "a.png") == expected


class FailingDisk(io.BytesIO):
    """A file that can be read up to byte 1000."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() + (1 << 30 if size is None or size < 0 else size) > 1000:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)


def test_disk_that_fails_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = encoded(pixels_of(100, 100), "BMP")
    (tmp_path / "a.bmp").write_bytes(data)
    monkeypatch.setattr(images, "open_regular_file", lambda path: FailingDisk(data))
    assert reason(tmp_path / "a.bmp") == "input/output error"


def test_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert reason(tmp_path) == "the folder cannot be read: permission denied"


@pytest.mark.parametrize("length", [1, 2, 3, 4, 8, 12, 16, 17, 100, 5000])
def test_bytes_that_are_no_image(tmp_path: Path, length: int):
    rng = np.random.default_rng(length)
    (tmp_path / "a.jpg").write_bytes(rng.integers(0, 256, length, dtype=np.uint8).tobytes())
    assert reason(tmp_path / "a.jpg") == "it is not an image of a format that can be read"
    (tmp_path / "a.jpg").write_bytes(b"<html>404 not found</html>" * length)
    assert reason(tmp_path / "a.jpg") == "it is not an image of a format that can be read"
    (tmp_path / "a.jpg").write_bytes(bytes(length))
    reason(tmp_path / "a.jpg")


def test_heif_is_called_by_its_name(tmp_path: Path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    assert "HEIF" in reason(tmp_path / "a.heic")


def test_no_program_is_run_for_postscript(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    assert reason(tmp_path / "a.jpg") == "it is not an image of a format that can be read"


CUT = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "packbits"}),
    ("BMP", {}),
    ("GIF", {}),
    ("PPM", {}),
    ("JPEG2000", {}),
    ("JPEG2000", {"no_jp2": True}),
    pytest.param("AVIF", {}, marks=needs_avif),
]


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize(("format", "options"), CUT)
def test_a_file_cut_anywhere_is_refused_or_lost_no_pixel(
    tmp_path: Path, format: str, options: dict[str, object]
):
    data = encoded(smooth_pixels(), format, **options)
    (tmp_path / "a").write_bytes(data)
    whole = read_image(tmp_path / "a").pixels
    refused = 0
    for length in range(0, len(data), 1 if len(data) < 1500 else 3):
        (tmp_path / "a").write_bytes(data[:length])
        try:
            image = read_image(tmp_path / "a")
        except ImageError:
            refused += 1
        else:
            assert np.array_equal(image.pixels, whole)  # only what follows the pixels is missing
            assert length > len(data) - 24
    assert refused > 0


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize(("format", "options"), CUT)
def test_damaged_bytes_are_an_image_error_or_an_image(
    tmp_path: Path, format: str, options: dict[str, object]
):
    data = encoded(smooth_pixels(), format, **options)
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            damaged[at] = rng.integers(256)
        (tmp_path / "a").write_bytes(damaged)
        try:
            image = read_image(tmp_path / "a")
        except ImageError:
            continue
        assert image.pixels.ndim == 3


def test_cut_files_say_so(tmp_path: Path):
    for format in ("JPEG", "PNG", "BMP", "GIF"):
        data = encoded(pixels_of(100, 100), format)
        (tmp_path / "a").write_bytes(data[: len(data) // 2])
        assert reason(tmp_path / "a") == f"the {format} file is cut short"


def test_truncated_files_stay_refused():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


# Size limits


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "BMP", "PPM", "JPEG2000"])
@pytest.mark.filterwarnings("error")
def test_pillows_own_limit_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str):
    (tmp_path / "a").write_bytes(encoded(smooth_pixels(), format))
    expected = read_image(tmp_path / "a").pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert np.array_equal(read_image(tmp_path / "a").pixels, expected)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.filterwarnings("error")
def test_large_tiffs_of_any_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, compression: str | None
):
    image = Image.fromarray(smooth_pixels())
    image = image.convert("L").convert(mode) if mode in ("I;16", "F") else image.convert(mode)
    image.save(tmp_path / "a", format="TIFF", compression=compression)
    expected = read_image(tmp_path / "a").pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert np.array_equal(read_image(tmp_path / "a").pixels, expected)


def test_our_limit_is_checked_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bomb = png(30_000, 30_000, 8, 2, b"")
    (tmp_path / "a").write_bytes(bomb)
    assert reason(tmp_path / "a") == "its 30000x30000 pixels are more than the limit of 500,000,000"
    (tmp_path / "b").write_bytes(encoded(pixels_of(20, 30), "PNG"))
    monkeypatch.setattr(identify, "MAX_PIXELS", 600)
    assert read_image(tmp_path / "b").pixels.shape == (20, 30, 3)
    monkeypatch.setattr(identify, "MAX_PIXELS", 599)
    assert "limit" in reason(tmp_path / "b")


def test_text_bomb_in_a_png(tmp_path: Path):
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9))
    (tmp_path / "a").write_bytes(png(1, 1, 8, 2, b"\0\x01\x02\x03", text))
    assert "PNG" in reason(tmp_path / "a")


def test_out_of_memory_is_an_image_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a").write_bytes(encoded(pixels_of(), "PNG"))

    def exhausted(image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(images, "to_rgb", exhausted)
    assert reason(tmp_path / "a") == "not enough memory to decode it"


def test_many_threads_decode_the_same(tmp_path: Path):
    for n in range(16):
        (tmp_path / f"{n}").write_bytes(encoded(pixels_of(40, 50, seed=n), "PNG"))
    with ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(lambda n: read_image(tmp_path / f"{n % 16}"), range(64)))
    assert all(
        np.array_equal(image.pixels, pixels_of(40, 50, seed=n % 16)) for n, image in enumerate(decoded)
    )


# Writing


@written_formats
def test_written_files_are_read_back(tmp_path: Path, format: str):
    pixels = pixels_of() if format in LOSSLESS else smooth_pixels()
    write_image(tmp_path / "new" / f"a.{format.lower()}", pixels)
    image = read_image(tmp_path / "new" / f"a.{format.lower()}")
    assert image.format == format
    if format in LOSSLESS:
        assert np.array_equal(image.pixels, pixels)
    else:
        assert np.abs(image.pixels.astype(int) - pixels).mean() < 4
    assert only(tmp_path / "new") == [f"a.{format.lower()}"]


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.Jpg", "a.tif", "a.TIFF", "a.PNG"])
def test_format_is_that_of_the_suffix(tmp_path: Path, name: str):
    write_image(tmp_path / name, pixels_of())
    suffix = name.split(".")[1].lower()
    assert read_image(tmp_path / name).format == {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())


def test_format_can_be_given(tmp_path: Path):
    write_image(tmp_path / "a.data", pixels_of(), format="PNG")
    assert read_image(tmp_path / "a.data").format == "PNG"


@written_formats
def test_alpha_exif_and_profile_go_where_the_format_has_them(tmp_path: Path, format: str):
    pixels = smooth_pixels()
    alpha = pixels_of(*pixels.shape[:2], seed=3)[..., 0]
    block = exif_block(1, size_px=(48, 32), thumbnail=THUMBNAIL, maker_note=b"note")
    Image.fromarray(pixels).save(tmp_path / "day.jpg", exif=block, icc_profile=SRGB)
    day = read_image(tmp_path / "day.jpg")
    like = DecodedImage(day.pixels, alpha, day.exif, day.icc_profile, day.format)
    write_image(tmp_path / "night", 255 - pixels, like=like, format=format)
    night = read_image(tmp_path / "night")
    if format in ("JPEG", "BMP"):
        assert night.alpha is None
    else:
        assert night.alpha is not None
        error = np.abs(night.alpha.astype(int) - alpha)
        assert error.max() <= (5 if format == "AVIF" else 0)
    if format in LOSSLESS:
        assert np.array_equal(night.pixels, 255 - pixels)  # not laid over any background
    if format == "BMP":
        assert (night.exif, night.icc_profile) == (None, None)
        return
    assert night.icc_profile == SRGB
    exif = Image.Exif()
    exif.load(night.exif or b"")
    assert exif[0x0132] == "2019:07:01 12:30:00"
    assert exif.get_ifd(ExifTags.IFD.Exif)[0x9003] == "2019:07:01 12:29:58"
    assert [float(part) for part in exif.get_ifd(ExifTags.IFD.GPSInfo)[2]] == [50, 5, 30]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_translation_is_upright_and_has_no_day_thumbnail(tmp_path: Path, format: str):
    block = exif_block(6, size_px=(30, 20), thumbnail=THUMBNAIL, maker_note=THUMBNAIL)
    Image.fromarray(pixels_of(20, 30)).save(tmp_path / "day.jpg", exif=block)
    assert b"day picture" in (tmp_path / "day.jpg").read_bytes()
    day = read_image(tmp_path / "day.jpg")
    assert day.pixels.shape == (30, 20, 3)
    write_image(tmp_path / "night", day.pixels, like=day, format=format)
    assert b"day picture" not in (tmp_path / "night").read_bytes()
    with Image.open(tmp_path / "night") as night:
        assert night.size == (20, 30)
        assert night.getexif().get(0x0112, 1) == 1
    again = read_image(tmp_path / "night")
    assert again.pixels.shape == (30, 20, 3)


def test_exif_too_large_for_jpeg_is_left_out(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    like = DecodedImage(pixels_of(), exif=exif.tobytes())
    write_image(tmp_path / "a.jpg", pixels_of(), like=like)
    assert read_image(tmp_path / "a.jpg").exif is None
    write_image(tmp_path / "a.png", pixels_of(), like=like)
    assert read_image(tmp_path / "a.png").exif is not None


def test_profile_larger_than_a_jpeg_segment(tmp_path: Path):
    profile = SRGB.ljust(200_000, b"\0")
    write_image(tmp_path / "a.jpg", pixels_of(), like=DecodedImage(pixels_of(), icc_profile=profile))
    assert read_image(tmp_path / "a.jpg").icc_profile == profile


def jpeg_sampling(path: Path) -> list[tuple[int, int]]:
    """Horizontal and vertical sampling factors of the components, from the frame header (ITU T.81, B.2.2)."""
    data = path.read_bytes()
    at = 2
    while data[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return [(data[at + 11 + 3 * n] >> 4, data[at + 11 + 3 * n] & 15) for n in range(data[at + 9])]


@pytest.mark.parametrize(
    ("quality", "luma"), [(100, (1, 1)), (95, (1, 1)), (90, (1, 1)), (89, (2, 2)), (1, (2, 2))]
)
def test_jpeg_keeps_full_colour_from_quality_90(tmp_path: Path, quality: int, luma: tuple[int, int]):
    write_image(tmp_path / "a.jpg", pixels_of(), quality=quality)
    assert jpeg_sampling(tmp_path / "a.jpg") == [luma, (1, 1), (1, 1)]


@pytest.mark.parametrize("format", ["JPEG", "WEBP", pytest.param("AVIF", marks=needs_avif)])
def test_quality_is_a_matter_of_size(tmp_path: Path, format: str):
    sizes = []
    for quality in (1, 50, 95, 100):
        write_image(tmp_path / "a", pixels_of(60, 60), format=format, quality=quality)
        sizes.append((tmp_path / "a").stat().st_size)
    assert sizes == sorted(set(sizes))


def test_png_compression(tmp_path: Path):
    noise = np.random.default_rng(0).normal(40, 3, (200, 200, 3)).clip(0, 255).astype(np.uint8)
    sizes = {}
    for level in (None, 0, 1, 6):
        write_image(tmp_path / "a.png", noise, compress_level=level)
        assert np.array_equal(read_image(tmp_path / "a.png").pixels, noise)
        sizes[level] = (tmp_path / "a.png").stat().st_size
    assert sizes[0] > noise.size
    assert sizes[None] < sizes[1]
    assert sizes[None] < 1.03 * sizes[6]


def test_arrays_that_are_no_images(tmp_path: Path):
    for pixels in (pixels_of()[..., 0], pixels_of().astype(float), pixels_of()[:0], pixels_of()[..., :2]):
        with pytest.raises(ValueError, match="pixels must be"):
            write_image(tmp_path / "a.png", pixels)  # type: ignore[arg-type]
    for quality in (0, 101):
        with pytest.raises(ValueError, match="quality"):
            write_image(tmp_path / "a.png", pixels_of(), quality=quality)
    with pytest.raises(ValueError, match="alpha"):
        write_image(
            tmp_path / "a.png", pixels_of(), like=DecodedImage(pixels_of(), np.zeros((2, 2), np.uint8))
        )
    assert only(tmp_path) == []


def test_views_are_written_as_they_look(tmp_path: Path):
    pixels = pixels_of()[::-2, ::3]
    write_image(tmp_path / "a.png", pixels)
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, pixels)


# What cannot be written


def refusal(path: Path, pixels: images.Pixels | None = None, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        write_image(path, pixels_of() if pixels is None else pixels, **options)  # type: ignore[arg-type]
    assert caught.value.message.count(os.fspath(path)) == 1
    return caught.value.message.split(os.fspath(path))[1]


def test_formats_that_cannot_be_written(tmp_path: Path):
    for name in ("a.gif", "a.heic", "a"):
        assert "no image format that can be written" in refusal(tmp_path / name)
    assert "no image format that can be written" in refusal(tmp_path / "a.png", format="PDF")
    assert only(tmp_path) == []


@pytest.mark.parametrize(("name", "width"), [("a.webp", 16_384), ("a.jpg", 65_536)])
def test_images_too_wide_for_their_format(tmp_path: Path, name: str, width: int):
    assert f"does not take this image of {width}x1" in refusal(
        tmp_path / name, np.zeros((1, width, 3), np.uint8)
    )
    assert only(tmp_path) == []


def test_things_in_the_way(tmp_path: Path):
    (tmp_path / "a.png").mkdir()
    assert refusal(tmp_path / "a.png") == ": a folder of that name is in the way"
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(ImageError, match="cannot write"):
        write_image(tmp_path / "file" / "a.png", pixels_of())
    assert refusal(tmp_path / ("x" * 300 + ".png")) == ": the file name is too long"
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert only(tmp_path) == ["a.png", "file"]


def test_folder_that_may_not_be_written_to(tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o555)
    if os.access(tmp_path / "closed", os.W_OK):
        pytest.skip("this user may write everywhere")
    assert refusal(tmp_path / "closed" / "a.png") == ": permission denied"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, ": no space left on the disk"),
        (errno.EACCES, ": permission denied"),
        (errno.EROFS, ": the disk is read-only"),
        (errno.EIO, ": input/output error"),
    ],
)
def test_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: str):
    (tmp_path / "a.png").write_bytes(b"old")

    def write_some(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(bytes(data)[:100])
        raise OSError(number, os.strerror(number), os.fspath(self))

    monkeypatch.setattr(Path, "write_bytes", write_some)
    assert refusal(tmp_path / "a.png") == expected
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert only(tmp_path) == ["a.png"]


FULL_DISK = """
import resource, signal, sys
import numpy as np
from darkside_cli.images.images import write_image
from darkside_cli.errors import ImageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
for suffix in sys.argv[2:]:
    try:
        write_image(f"{sys.argv[1]}/a.{suffix}", pixels)
    except ImageError as error:
        print(suffix, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_files_that_outgrow_what_the_system_allows(tmp_path: Path):
    suffixes = ["png", "jpg", "tif", "bmp", "webp"]
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, os.fspath(tmp_path), *suffixes],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == suffixes
    assert all("file too large" in line for line in lines)
    assert only(tmp_path) == []


STOPPED = """
import os, sys
from pathlib import Path
import numpy as np
from darkside_cli.images.images import write_image
def half(self, data):
    with self.open("wb") as file:
        file.write(bytes(data)[: len(data) // 2])
    print("half", flush=True)
    sys.stdin.read()
Path.write_bytes = half
write_image(sys.argv[1], np.zeros((50, 50, 3), np.uint8))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_kill_in_the_middle_of_a_write_leaves_no_partial_image(tmp_path: Path):
    with Process(
        [sys.executable, "-c", STOPPED, os.fspath(tmp_path / "a.png")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
    assert not (tmp_path / "a.png").exists()
    assert all(name.startswith(".") for name in only(tmp_path))


def test_out_of_memory_while_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def exhausted(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "save", exhausted)
    assert refusal(tmp_path / "a.png") == ": not enough memory to encode it"


def test_an_interrupt_while_encoding_goes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_image(tmp_path / "a.png", pixels_of())
    assert only(tmp_path) == []


def test_pixels_as_they_are_stored(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "turned.png", exif=exif)
    assert read_image(tmp_path / "turned.png").pixels.shape == (4, 2, 3)
    assert read_image(tmp_path / "turned.png", upright=False).pixels.shape == (2, 4, 3)
