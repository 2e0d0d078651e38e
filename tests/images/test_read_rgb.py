"""Colours alone out of files: the same as whole photographs have, or faster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade_images import image_pixels
from PIL import Image

from darkside_cli.errors import ImageError
from darkside_cli.images.images import read_image, read_rgb


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("limit", [None, 20])
def test_same_as_the_photograph(tmp_path: Path, mode: str, limit: int | None) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(image_pixels(30, 41)).convert(mode).save(path)
    image = read_rgb(path, max_size_px=limit)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), read_image(path, max_size_px=limit).pixels)


def test_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image_pixels(300, 410)).save(tmp_path / "a.jpg", exif=exif)
    assert read_rgb(tmp_path / "a.jpg").size == (300, 410)
    for limit, size in {100: (73, 100), 205: (150, 205), 404: (296, 404)}.items():
        assert read_rgb(tmp_path / "a.jpg", max_size_px=limit, fast=True).size == size


def test_fast_is_nearly_the_same(tmp_path: Path) -> None:
    """A JPEG is decoded at half its size, which is still larger than wanted; a PNG has no such thing."""
    y, x = np.mgrid[0:400, 0:600] / 600
    pixels = (np.stack([x, y, x * y], axis=-1) * 200).astype(np.uint8)
    for name in ("a.jpg", "a.png"):
        Image.fromarray(pixels).save(tmp_path / name, quality=95)
        fast = read_rgb(tmp_path / name, max_size_px=250, fast=True)
        slow = read_rgb(tmp_path / name, max_size_px=250)
        assert fast.size == slow.size == (250, 167)
        difference = np.abs(np.asarray(fast).astype(int) - np.asarray(slow))
        assert difference.mean() < 1
    np.testing.assert_array_equal(np.asarray(fast), np.asarray(slow))


def test_fast_refuses_what_is_broken(tmp_path: Path) -> None:
    Image.fromarray(image_pixels(400, 600)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="cut short"):
        read_rgb(tmp_path / "a.jpg", max_size_px=100, fast=True)
    with pytest.raises(ImageError, match="no such file"):
        read_rgb(tmp_path / "b.jpg")
    with pytest.raises(ValueError, match="at least 1"):
        read_rgb(tmp_path / "a.jpg", max_size_px=0)
