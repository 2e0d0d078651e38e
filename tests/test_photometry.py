"""Light and colour by the standards' own figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.images.photometry import lab, lightness, linear_light, luminance


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
    np.testing.assert_allclose(lightness(pixel(*colour))[0, 0], expected[0], atol=0.02)


def test_luminance_of_primaries() -> None:
    shares = [luminance(pixel(*(255 * (k == n) for k in range(3))))[0, 0] for n in range(3)]
    np.testing.assert_allclose(shares, (0.2126, 0.7152, 0.0722), atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(0, 255), min_size=3, max_size=3))
def test_lightness_is_of_luminance(colour: list[int]) -> None:
    """L* of a colour is that of the grey of its luminance."""
    light = float(luminance(pixel(*colour))[0, 0])
    expected = 116 * np.cbrt(light) - 16 if light > (6 / 29) ** 3 else light * (29 / 3) ** 3
    assert float(lightness(pixel(*colour))[0, 0]) == pytest.approx(expected, abs=1e-3)
