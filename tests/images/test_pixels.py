from __future__ import annotations

import numpy as np
import pytest

from darkside_cli.errors import ConfigError
from darkside_cli.images.pixels import to_pixels


def image(*values: float) -> np.ndarray:
    """One row of one channel."""
    return np.array(values, np.float32).reshape(1, 1, -1)


def test_truncates_and_clips() -> None:
    # 0.5 * 255 = 127.5 -> 127; one level is 2 / 255 of the range
    assert to_pixels(image(-1.5, -1, 0, 1, 1.5)).tolist() == [[0, 0, 127, 255, 255]]
    assert to_pixels(image(-0.1, 0.999, 0.5), stretch="none").tolist() == [[0, 254, 127]]


def test_auto_uses_the_range_of_the_whole_image() -> None:
    assert to_pixels(image(10, 15, 20), stretch="auto").tolist() == [[0, 127, 255]]
    assert to_pixels(image(3, 3), stretch="auto").tolist() == [[0, 0]]


def test_a_number_divides() -> None:
    assert to_pixels(image(-2, -1, 0), stretch=2.0).tolist() == [[0, 63, 127]]


def test_three_channels_go_last() -> None:
    pixels = to_pixels(np.arange(12, dtype=np.float64).reshape(3, 2, 2) / 11, stretch="none")
    assert pixels.shape == (2, 2, 3)
    assert pixels[0, 0].tolist() == [0, 92, 185]


@pytest.mark.parametrize("stretch", ["nope", -1.0, 0])
def test_unknown_stretch(stretch: str | float) -> None:
    with pytest.raises(ConfigError, match="stretch"):
        to_pixels(image(0), stretch=stretch)
