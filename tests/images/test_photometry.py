"""Light and colour by the standards' own figures, and day, dusk or night by the light in an image."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darkside_cli.errors import ImageError
from darkside_cli.images.photometry import (
    DUSK,
    LightMeasure,
    lab,
    linear_light,
    luminance,
    measure_file,
    measure_light,
)


def pixel(*colour: int) -> np.ndarray:
    return np.array([[colour]], dtype=np.uint8)


def test_linear_light() -> None:
    assert linear_light(np.array([0, 255], dtype=np.uint8)).tolist() == [0, 1]
    assert linear_light(np.array([0.5])) == pytest.approx(0.2140411, abs=1e-6)
    assert linear_light(np.array([0.04])) == pytest.approx(0.04 / 12.92, abs=1e-8)
    np.testing.assert_allclose(
        linear_light(np.arange(256, dtype=np.uint8)), linear_light(np.arange(256) / 255), atol=1e-6
    )


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
    ],
)
def test_lab_of_known_colours(colour: tuple[int, int, int], expected: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(lab(pixel(*colour))[0, 0], expected, atol=0.03)
    np.testing.assert_allclose(lab(pixel(*colour))[0, 0, 0], expected[0], atol=0.02)


def test_luminance_of_primaries() -> None:
    shares = [luminance(pixel(*(255 * (k == n) for k in range(3))))[0, 0] for n in range(3)]
    np.testing.assert_allclose(shares, (0.2126, 0.7152, 0.0722), atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(0, 255), min_size=3, max_size=3))
def test_lightness_is_of_luminance(colour: list[int]) -> None:
    """L* of a colour is that of the grey of its luminance."""
    light = float(luminance(pixel(*colour))[0, 0])
    expected = 116 * np.cbrt(light) - 16 if light > (6 / 29) ** 3 else light * (29 / 3) ** 3
    assert float(lab(pixel(*colour))[0, 0, 0]) == pytest.approx(expected, abs=1e-3)


def test_measures_by_hand() -> None:
    """White above black: L* 100 of the upper third, a third of that of all; white and black are not yellow."""
    image = np.zeros((30, 12, 3), dtype=np.uint8)
    image[:10] = 255
    measure = measure_light(image)
    assert measure.sky_lightness == pytest.approx(100, abs=1e-3)
    assert measure.lightness == pytest.approx(100 / 3, abs=1e-3)
    assert measure.warmth == pytest.approx(0, abs=0.02)
    yellow = np.full((3, 3, 3), (255, 255, 0), dtype=np.uint8)
    assert measure_light(yellow).warmth == pytest.approx(94.5, abs=0.1)


def test_score_by_hand() -> None:
    x = 5.2 - 0.073 * 20 - 0.074 * 30 + 0.079 * 10
    assert LightMeasure(20, 30, 10).score == pytest.approx(1 / (1 + math.exp(-x)))


@given(st.floats(0, 100), st.floats(0, 100), st.floats(-60, 90))
def test_darker_and_yellower_is_more_night(sky: float, whole: float, warmth: float) -> None:
    score = LightMeasure(sky, whole, warmth).score
    assert 0 < score < 1
    for other in (
        LightMeasure(sky + 1, whole, warmth),
        LightMeasure(sky, whole + 1, warmth),
        LightMeasure(sky, whole, warmth - 1),
    ):
        assert other.score < score
    low, high = DUSK
    expected = "day" if score < low else "night" if score > high else "dusk"
    assert LightMeasure(sky, whole, warmth).light == expected


def test_plain_cases() -> None:
    assert LightMeasure(85, 60, 0).light == "day"
    assert LightMeasure(45, 30, 3).light == "dusk"
    assert LightMeasure(10, 20, 8).light == "night"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_files_are_shrunk(tmp_path: Path, suffix: str) -> None:
    """A large file measures as its pixels do; a JPEG is decoded at a fraction of its size."""
    y, x = np.mgrid[0:900, 0:1200] / 1200
    pixels = (np.stack([x, y, x * y], axis=-1) * 200).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}", quality=95)
    one, other = measure_file(tmp_path / f"a{suffix}"), measure_light(pixels)
    for name in ("sky_lightness", "lightness", "warmth"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=0.5)


def test_broken_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    with pytest.raises(ImageError):
        measure_file(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="no such file"):
        measure_file(tmp_path / "b.jpg")
