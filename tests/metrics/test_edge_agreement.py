"""Edge agreement: 1 for the same structure at any brightness, about 0 for another, and by hand in between."""

from __future__ import annotations

import numpy as np
import pytest
from handmade_images import image_pixels
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.metrics.translation import edge_agreement


def textured(seed: int, height: int = 96, width: int = 120) -> np.ndarray:
    """Blobs of many sizes, (H, W, 3) uint8: noise that is the weaker the finer it is."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij"))
    noise = np.fft.fft2(np.random.default_rng(seed).standard_normal((height, width)))
    image = np.fft.ifft2(noise / np.maximum(frequency, 0.01)).real
    image = (image - image.min()) / (image.max() - image.min())
    return (np.stack([image, image**1.2, image**0.8], axis=-1) * 255).astype(np.uint8)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1).astype(np.float64)


def ramp(angle_degrees: float, size: int = 48) -> np.ndarray:
    """A slope along a direction: every gradient is the same."""
    y, x = np.mgrid[0:size, 0:size] / size
    angle = np.radians(angle_degrees)
    return grey(0.5 + 0.3 * (x * np.cos(angle) + y * np.sin(angle)))


def test_same_image() -> None:
    for image in (textured(0), image_pixels(30, 50), ramp(20)):
        assert edge_agreement(image, image) == pytest.approx(1, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(0.05, 1), offset=st.floats(0, 0.3))
def test_blind_to_brightness_and_contrast(factor: float, offset: float) -> None:
    image = textured(1) / 255.0
    assert edge_agreement(image, image * factor * 0.7 + offset) == pytest.approx(1, abs=1e-3)


def test_blind_to_which_side_is_lighter() -> None:
    image = textured(2)
    assert edge_agreement(image, 255 - image) == pytest.approx(1, abs=1e-4)


def test_darkened_and_rounded() -> None:
    image = textured(3)
    assert edge_agreement(image, (image * 0.1).astype(np.uint8)) > 0.97
    assert edge_agreement(image, (np.power(image / 255, 2.2) * 120).astype(np.uint8)) > 0.8


def test_unrelated_images() -> None:
    pairs = [(textured(n), textured(n + 50)) for n in range(10)]
    assert np.mean([edge_agreement(*pair) for pair in pairs]) < 0.06
    assert edge_agreement(textured(0), np.roll(textured(0), 30, axis=1)) < 0.1


def test_directions_by_hand() -> None:
    """One direction against another: the cosine of twice the angle between them, and 0 where that is negative."""
    for angle in (0, 15, 30, 45, 60, 90):
        expected = max(0.0, np.cos(2 * np.radians(angle)))
        assert edge_agreement(ramp(0), ramp(angle)) == pytest.approx(expected, abs=1e-4), angle


def test_half_of_it_lost() -> None:
    """Slopes of 1/2 everywhere (g = m), against 4/5 in one half (m is half of g) and flat in the other.

    So the product is 1/2 * 1/2 * 4/5, by the roots of 1/4 and of 1/2 * 16/25: that is the root of 1/2.
    """
    image = ramp(0, 240)
    half = np.minimum(image, image[:, 120:121])
    assert edge_agreement(image, half) == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_nothing_to_agree_with() -> None:
    flat = np.full((24, 24, 3), 77, dtype=np.uint8)
    assert edge_agreement(flat, flat) == 0
    assert edge_agreement(textured(0)[:24, :24], flat) == 0


def test_it_is_symmetric_and_takes_both_kinds_of_pixels() -> None:
    one, other = textured(4), np.clip(textured(4).astype(int) + textured(5) // 2, 0, 255).astype(np.uint8)
    forth = edge_agreement(one, other)
    assert 0.3 < forth < 0.95
    assert edge_agreement(other, one) == pytest.approx(forth, abs=1e-6)
    assert edge_agreement(one / 255.0, other / 255.0) == pytest.approx(forth, abs=1e-5)


def test_wrong_sizes() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        edge_agreement(textured(0), textured(0)[:-1])
    with pytest.raises(ValueError, match="too small"):
        edge_agreement(textured(0)[:11], textured(0)[:11])
