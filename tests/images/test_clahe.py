from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.errors import ConfigError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import _to_lab, apply_clahe


def lightness(image: np.ndarray) -> np.ndarray:
    """Lightness of CIE LAB in [0, 1], as CLAHE takes it."""
    return _to_lab(image)[..., 0] / np.float32(100)


def dark_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A dark image with a bright corner, float32."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x / (width + 1), y / (height + 1), (x * y) / (height * width)], axis=-1)
    return (0.3 * base + 0.1 * rng.random((height, width, 3))).astype(np.float32)


def test_lightness_of_grey() -> None:
    """Of the sRGB grey 0.5: Y = ((0.5 + 0.055) / 1.055)^2.4, L = 116 Y^(1/3) - 16 = 53.39."""
    for value, expected in ((0.0, 0.0), (0.5, 0.5339), (1.0, 1.0)):
        image = np.full((2, 3, 3), value, dtype=np.float32)
        np.testing.assert_allclose(lightness(image), np.full((2, 3), expected), atol=2e-3)


def test_levels_are_truncated() -> None:
    """Only the lightness changes, and it comes out of OpenCV's CLAHE of the truncated levels."""
    image = dark_image(40, 56)
    levels = np.floor(lightness(image) * np.float32(255)).astype(np.uint8)
    equalised = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(4, 4)).apply(levels)
    result = apply_clahe(image, ClaheSettings(3.0, 4))
    before = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    expected = np.dstack([equalised.astype(np.float32) / 255 * 100, before[..., 1], before[..., 2]])
    np.testing.assert_allclose(result, cv2.cvtColor(expected, cv2.COLOR_LAB2RGB), atol=1e-6)


def test_dark_images_gain_contrast() -> None:
    image = dark_image(64, 64)
    assert lightness(apply_clahe(image)).std() > 1.5 * lightness(image).std()


def test_the_image_itself_is_left_alone() -> None:
    image = dark_image(16, 24)
    before = image.copy()
    apply_clahe(image)
    np.testing.assert_array_equal(image, before)


def test_not_contiguous() -> None:
    image = dark_image(16, 24)
    turned = np.ascontiguousarray(image.transpose(1, 0, 2)).transpose(1, 0, 2)
    np.testing.assert_array_equal(apply_clahe(turned), apply_clahe(image))


def test_threads_do_not_disturb_each_other() -> None:
    images = [dark_image(50 + i, 60, i) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for image, result in zip(images, pool.map(apply_clahe, images), strict=True):
            np.testing.assert_array_equal(result, apply_clahe(image))


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), st.floats(0.01, 40))
@settings(deadline=None)
def test_any_size(height: int, width: int, grid: int, clip_limit: float) -> None:
    result = apply_clahe(dark_image(height, width), ClaheSettings(clip_limit, grid))
    assert result.shape == (height, width, 3)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float64),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.float32),
        np.zeros((0, 4, 3), np.float32),
    ],
)
def test_other_arrays(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="CLAHE takes"):
        apply_clahe(image)


@pytest.mark.parametrize(("clip_limit", "grid_size"), [(0, 8), (-1, 8), (float("nan"), 8), (1, 0), (1, 2.5)])
def test_settings_that_cannot_be(clip_limit: float, grid_size: int) -> None:
    with pytest.raises(ConfigError):
        ClaheSettings(clip_limit, grid_size)
