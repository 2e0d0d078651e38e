from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.errors import ConfigError, ImageError
from darkside_cli.images.crops import CenterCrop, CenterScaleCrop, ScaleCrop, SquareCrop


class Given:
    """A generator that gives what it is told."""

    def __init__(self, fraction: float, *integers: int) -> None:
        self.fraction, self.integers = fraction, list(integers)
        self.asked: list[tuple[int, int]] = []

    def random(self) -> float:
        return self.fraction

    def randint(self, low: int, high: int) -> int:
        self.asked.append((low, high))
        return self.integers.pop(0)


def numbered(height: int, width: int) -> np.ndarray:
    """Every pixel has its row, its column and zero."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y, x, np.zeros_like(x)], axis=-1).astype(np.float32)


def test_by_hand() -> None:
    """Scale 0.5 + 0.5 * (1 - 0.5) = 0.75; a part of 8 x 6 from row 1, column 2, then 6/8 of its size."""
    rng = Given(0.5, 1, 2)
    crop = ScaleCrop((6, 4), (0.5, 1.0), rng)  # type: ignore[arg-type]
    result = crop(numbered(10, 12))
    assert result.shape == (4, 6, 3)
    assert rng.asked == [(0, 10 - 6), (0, 12 - 8)]
    # The middle of the part: rows 1 … 6, columns 2 … 9.
    np.testing.assert_allclose(result.mean(axis=(0, 1)), [3.5, 5.5, 0], atol=1e-5)


def test_images_of_a_call_share_the_part() -> None:
    crop = ScaleCrop((5, 5), (1.0, 1.0), random.Random(3))
    image = numbered(20, 30)
    one, other = crop.apply([image, image + 100])
    np.testing.assert_allclose(other, one + 100)
    assert crop.apply([numbered(6, 40), numbered(40, 6)])[1].max() < 6


def test_images_of_the_wanted_size_are_left_alone() -> None:
    state = random.Random(1)
    before = state.getstate()
    image = numbered(4, 6)
    crop = ScaleCrop((6, 4), (0.1, 0.2), state)
    assert crop(image) is image
    assert state.getstate() == before
    crop.apply([image, numbered(8, 8)])
    assert state.getstate() != before


def test_a_seed_repeats_the_crops() -> None:
    def crops() -> list[np.ndarray]:
        crop = ScaleCrop((8, 8), (0.5, 1.0), random.Random(5))
        return [crop(numbered(30, 30)) for _ in range(3)]

    for one, other in zip(crops(), crops(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(*crops()[:2])


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 30),
    st.integers(0, 30),
    st.floats(0.05, 1),
    st.integers(0, 99),
)
@settings(deadline=None)
def test_always_fits(width: int, height: int, more_w: int, more_h: int, lowest: float, seed: int) -> None:
    """Also parts that are not square, of images much wider or higher than they are."""
    image = numbered(height + more_h, width + more_w)
    result = ScaleCrop((width, height), (lowest, 1.0), random.Random(seed))(image)
    assert result.shape == (height, width, 3)
    assert result[..., 0].max() <= image.shape[0] - 1
    assert result[..., 1].max() <= image.shape[1] - 1


def test_exchanged_sides_are_the_references_fault() -> None:
    """A part 40 wide of an image 30 wide and 100 high: 40 / 100 and 24 / 30 allow scales from 0.8 on."""
    image = numbered(100, 41)
    rng = Given(0.0)
    with pytest.raises(ImageError, match="does not fit into 41x100"):
        ScaleCrop((40, 24), (0.1, 1.0), rng, swapped=True)(image)  # type: ignore[arg-type]
    rng = Given(0.0, 0, 0)
    assert ScaleCrop((40, 24), (0.1, 1.0), rng)(image).shape == (24, 40, 3)  # type: ignore[arg-type]
    square = [
        ScaleCrop((20, 20), (0.5, 1.0), random.Random(1), swapped=flag)(image) for flag in (False, True)
    ]
    np.testing.assert_array_equal(*square)


def test_small_images_are_enlarged() -> None:
    assert ScaleCrop((8, 8), (0.5, 1.0))(numbered(4, 4)).shape == (8, 8, 3)


def test_centre() -> None:
    np.testing.assert_array_equal(CenterCrop((2, 4))(numbered(7, 5))[[0, -1], 0, :2], [[1, 1], [4, 1]])
    np.testing.assert_array_equal(SquareCrop()(numbered(3, 6))[0, [0, -1], :2], [[0, 1], [0, 3]])
    scaled = CenterScaleCrop((2, 2), 0.5)(numbered(8, 6))
    np.testing.assert_allclose(scaled[..., 0], [[2.5, 2.5], [4.5, 4.5]])
    np.testing.assert_allclose(scaled[..., 1], [[1.5, 3.5], [1.5, 3.5]])


@pytest.mark.parametrize("crop", [CenterCrop((9, 2)), CenterScaleCrop((3, 3), 0.3)])
def test_too_small(crop: CenterCrop | CenterScaleCrop) -> None:
    with pytest.raises(ImageError, match="does not fit into 8x6"):
        crop(numbered(6, 8))


def test_one_channel_stays_one_channel() -> None:
    assert ScaleCrop((3, 3), (0.5, 1.0))(numbered(9, 9)[..., :1]).shape == (3, 3, 1)


def test_what_cannot_be() -> None:
    with pytest.raises(ConfigError):
        ScaleCrop((0, 4), (0.5, 1.0))
    with pytest.raises(ConfigError):
        ScaleCrop((4, 4), (0.0, 1.0))
    with pytest.raises(ConfigError):
        CenterScaleCrop((4, 4), float("nan"))


def test_shown() -> None:
    assert repr(ScaleCrop((4, 3), (0.5, 1.0))) == "ScaleCrop(size=[4, 3], scale=[0.5, 1.0])"
    assert repr(CenterScaleCrop((4, 3), 0.5)) == "CenterScaleCrop(size=[4, 3], scale=0.5)"
    assert repr(CenterCrop((4, 3))) == "CenterCrop(size=[4, 3])"
    assert repr(SquareCrop()) == "SquareCrop()"
