from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from handmade_images import exif_block, tiff
from PIL import ExifTags, Image

from darkside_cli.images.exif import carried_exif, orientation_of

THUMBNAIL = b"\xff\xd8 the day picture \xff\xd9"
MAKER_NOTE = b"a preview of the day picture, too"


def camera_jpeg(orientation: int = 6, order: str = ">") -> Image.Image:
    block = exif_block(orientation, size_px=(40, 30), thumbnail=THUMBNAIL, maker_note=MAKER_NOTE, order=order)
    return reopened(Image.new("RGB", (40, 30)), "JPEG", exif=block)


def reopened(image: Image.Image, format: str, **options: object) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    result = Image.open(buffer)
    result.load()
    return result


def parsed(block: bytes | None) -> Image.Exif:
    assert block is not None
    exif = Image.Exif()
    exif.load(block)
    return exif


@pytest.mark.parametrize("order", [">", "<"])
def test_what_when_and_where_is_kept(order: str):
    image = camera_jpeg(order=order)
    # The handmade block has what the test says it loses.
    assert image.getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == len(THUMBNAIL)
    exif = parsed(carried_exif(image, (30, 40)))
    assert exif[0x010F] == "Maker"
    assert exif[0x0132] == "2019:07:01 12:30:00"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert details[0x9003] == "2019:07:01 12:29:58"
    assert float(details[0x829A]) == 1 / 250
    assert details[0x8827] == 200
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert (gps[1], gps[3]) == ("N", "E")
    assert [float(part) for part in gps[2]] == [50, 5, 30]
    assert [float(part) for part in gps[4]] == [14, 25, 0]


def test_orientation_is_reset_and_size_is_the_new_one():
    image = camera_jpeg(orientation=6)
    assert orientation_of(image) == 6
    exif = parsed(carried_exif(image, (30, 40)))
    assert exif[0x0112] == 1
    assert exif.get_ifd(ExifTags.IFD.Exif)[0xA002] == 30
    assert exif.get_ifd(ExifTags.IFD.Exif)[0xA003] == 40


def test_no_image_of_the_day_is_left():
    block = carried_exif(camera_jpeg(), (30, 40))
    assert block is not None
    assert b"day picture" not in block
    assert not parsed(block).get_ifd(ExifTags.IFD.IFD1)


def test_tags_of_the_file_itself_are_not_carried():
    day = [
        (0x010F, 2, b"Maker\0"),
        (0x8649, 7, b"an editor's preview of the day picture"),
        (0x02BC, 1, b"<xmp/>"),
    ]
    image = Image.open(io.BytesIO(tiff(2, 2, [8], 1, bytes(4), extra=day)))  # type: ignore[arg-type]
    image.load()
    exif = parsed(carried_exif(image, (2, 2)))
    assert {tag: exif[tag] for tag in exif} == {0x010F: "Maker", 0x0112: 1}


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_other_formats_have_exif_too(format: str):
    source = carried_exif(camera_jpeg(), (40, 30))
    image = reopened(Image.new("RGB", (40, 30)), format, exif=source)
    exif = parsed(carried_exif(image, (40, 30)))
    assert exif.get_ifd(ExifTags.IFD.Exif)[0x9003] == "2019:07:01 12:29:58"
    assert [float(part) for part in exif.get_ifd(ExifTags.IFD.GPSInfo)[2]] == [50, 5, 30]


def test_no_exif_is_none():
    image = reopened(Image.new("RGB", (4, 3)), "JPEG")
    assert carried_exif(image, (4, 3)) is None
    assert orientation_of(image) == 1


def test_only_an_orientation_is_nothing_to_carry():
    exif = Image.Exif()
    exif[0x0112] = 3
    image = reopened(Image.new("RGB", (4, 3)), "JPEG", exif=exif)
    assert orientation_of(image) == 3
    assert carried_exif(image, (4, 3)) is None


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_senseless_orientation_is_upright(value: int):
    exif = Image.Exif()
    exif[0x0112] = value
    assert orientation_of(reopened(Image.new("RGB", (4, 3)), "JPEG", exif=exif)) == 1


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_damaged_exif_never_stops_a_photograph():
    whole = exif_block(6, size_px=(40, 30), thumbnail=THUMBNAIL, maker_note=MAKER_NOTE)
    rng = np.random.default_rng(0)
    damaged = [whole[:length] for length in range(6, len(whole), 5)]
    for _ in range(200):
        block = bytearray(whole)
        for at in rng.integers(6, len(block), 4):
            block[at] = rng.integers(256)
        damaged.append(bytes(block))
    seen = set()
    for block in damaged:
        image = Image.new("RGB", (4, 3))
        image.info["exif"] = block
        assert orientation_of(image) in range(1, 9)
        carried = carried_exif(image, (4, 3))
        seen.add(carried is None)
        if carried is not None:
            parsed(carried)
            reopened(Image.new("RGB", (4, 3)), "JPEG", exif=carried)
    assert seen == {True, False}


def test_reading_exif_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        carried_exif(camera_jpeg(), (30, 40))
