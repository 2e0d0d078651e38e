"""Augmentation: what is cut out is inside of the photograph, at the place drawn; colours vary within their limits."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from darkside_cli.images.augment import AugmentConfig, as_float, change_colours, cut_view, draw_view
from darkside_cli.images.crops import ScaleCrop, resize_part

ALL = AugmentConfig(aspect=0.4, rotate_deg=40, perspective=0.2)


def ramp(height: int, width: int) -> Image.Image:
    """Red grows to the right and green downwards, by four a pixel."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 4, y * 4, np.zeros_like(x)], axis=-1).astype(np.uint8))


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)


def test_a_part_without_scaling_is_the_part() -> None:
    image = ramp(30, 40)
    view = cut_view(image, rectangle(7, 5, 27, 15), (20, 10))
    np.testing.assert_allclose(view, as_float(image)[5:15, 7:27], atol=1e-6)


def test_half_a_pixel_further() -> None:
    view = cut_view(ramp(30, 40), rectangle(7.5, 5, 27.5, 15), (20, 10))
    np.testing.assert_allclose(view[:, :-1, 0] * 255, np.arange(7.5, 26.5)[None].repeat(10, 0) * 4, atol=0.2)


def test_shrinking_averages() -> None:
    """Every pixel of a quarter-size view is the mean of the 16 it stands for, not a sample of them."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    view = cut_view(Image.fromarray(pixels), rectangle(0, 0, 40, 40), (10, 10))
    expected = pixels.reshape(10, 4, 10, 4, 3).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(view, expected, atol=1e-5)


def test_a_quarter_turn() -> None:
    """The view's upper left corner is the part's upper right one: the part is turned to the left."""
    image = ramp(20, 20)
    corners = rectangle(2, 4, 12, 14)[[1, 2, 3, 0]]
    np.testing.assert_allclose(
        cut_view(image, corners, (10, 10)), np.rot90(as_float(image)[4:14, 2:12]), atol=1e-6
    )


def test_without_options_it_is_the_usual_crop() -> None:
    """The same scale from the same generator; the place is drawn in fractions of pixels."""
    options = AugmentConfig(antialias=True)
    for seed in range(20):
        corners = draw_view((90, 70), (24, 16), (0.5, 1.0), options, random.Random(seed))
        scale = 0.5 + 0.5 * random.Random(seed).random()
        width, height = corners[2] - corners[0]
        assert (width, height) == pytest.approx((24 / scale, 16 / scale))
    whole = draw_view((24, 16), (24, 16), (1.0, 1.0), options, random.Random(0))
    np.testing.assert_allclose(whole, rectangle(0, 0, 24, 16), atol=1e-9)
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 24, 3)).astype(np.uint8))
    np.testing.assert_allclose(cut_view(image, whole, (24, 16)), as_float(image), atol=1e-6)


@given(
    image=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    view=st.tuples(st.integers(4, 300), st.integers(4, 300)),
    low=st.floats(0.05, 2),
    seed=st.integers(0, 10**6),
)
@example(image=(1, 1), view=(4, 96), low=1.0, seed=145)
def test_views_are_inside(image: tuple[int, int], view: tuple[int, int], low: float, seed: int) -> None:
    corners = draw_view(image, view, (low, low + 1), ALL, random.Random(seed))
    assert (corners >= 0).all()
    assert (corners <= image).all()
    # Still a convex quadrangle, upper left corner first and clockwise, turned by less than a quarter.
    edges = [np.subtract(b, a) for a, b in pairwise([*corners, corners[0]])]
    assert all(a[0] * b[1] - a[1] * b[0] > 0 for a, b in pairwise([*edges, edges[0]]))
    upper_left, upper_right, lower_right, lower_left = corners
    if view[0] >= view[1]:
        assert (upper_right + lower_right - upper_left - lower_left)[0] > 0
    else:
        assert (lower_left + lower_right - upper_left - upper_right)[1] > 0
    # The short edge of a long view may stand steeper: its corners move by shares of the long one.
    if max(view) <= 2 * min(view):
        assert edges[0][0] > 0


def test_options_do_what_they_say() -> None:
    def drawn(**options: float) -> list[np.ndarray]:
        config = AugmentConfig(**options)  # type: ignore[arg-type]
        return [draw_view((400, 400), (50, 50), (1, 1), config, random.Random(n)) for n in range(300)]

    aspects = [np.divide(*(c[2] - c[0])) for c in drawn(aspect=0.5)]
    assert 1 / 1.5 <= min(aspects) < 0.7
    assert 1.45 < max(aspects) <= 1.5
    assert np.mean(np.array(aspects) > 1) == pytest.approx(0.5, abs=0.1)
    tops = [c[1] - c[0] for c in drawn(rotate_deg=30)]
    angles = [math.degrees(math.atan2(-y, x)) for x, y in tops]
    assert -30 <= min(angles) < -28
    assert 28 < max(angles) <= 30
    insets = np.array([c[0] - (c.max(axis=0) + c.min(axis=0)) / 2 + 25 for c in drawn(perspective=0.2)])
    assert (
        insets.max() < 0.2 * 25 + 2.6
    )  # a corner moves by up to a fifth of half a side; the middle by half of that
    assert insets.std() > 0.5


def test_draws_do_not_depend_on_options() -> None:
    """Switching one on leaves the others' figures as they were."""
    states = set()
    for options in (AugmentConfig(), AugmentConfig(antialias=True), ALL):
        rng = random.Random(1)
        draw_view((100, 100), (32, 32), (0.8, 1), options, rng)
        states.add(rng.random())
    assert len(states) == 1


def test_colours_stay_without_options() -> None:
    image = np.random.default_rng(2).random((5, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(change_colours(image, AugmentConfig(), random.Random(0)), image, atol=1e-6)


@settings(max_examples=50)
@given(gamma=st.floats(0, 1), colour=st.floats(0, 0.5), seed=st.integers(0, 1000))
def test_colours_stay_in_range(gamma: float, colour: float, seed: int) -> None:
    image = np.random.default_rng(seed).random((4, 5, 3)).astype(np.float32)
    options = AugmentConfig(day_gamma=gamma, day_colour=colour)
    changed = change_colours(image, options, random.Random(seed))
    assert changed.dtype == np.float32
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_gamma_by_hand() -> None:
    """A draw of 1 - 2^-53 is all but the upper limit: gamma 2 makes 0.5 a quarter; grey has no saturation."""

    class Highest(random.Random):
        def random(self) -> float:
            return 1 - 2**-53

    grey = np.full((1, 1, 3), 0.5, dtype=np.float32)
    changed = change_colours(grey, AugmentConfig(day_gamma=1.0), Highest())
    np.testing.assert_allclose(changed, 0.25, atol=1e-6)
    brighter = change_colours(grey, AugmentConfig(day_colour=0.5), Highest())
    np.testing.assert_allclose(brighter, 0.75, atol=1e-6)
    # Red 0.4 gains to 0.6; grey of it 0.299 * 0.6; away from that by 1.5, green and blue below 0.
    red = change_colours(
        np.array([[[0.4, 0, 0]]], dtype=np.float32), AugmentConfig(day_colour=0.5), Highest()
    )
    np.testing.assert_allclose(red, [[[0.1794 + 1.5 * (0.6 - 0.1794), 0, 0]]], atol=1e-5)


def test_crop_part_is_bilinear() -> None:
    """What is drawn by itself is what ScaleCrop cuts."""
    image = as_float(ramp(40, 50))
    crop = ScaleCrop((20, 10), (0.5, 1.0), random.Random(4))
    left, top, right, bottom = ScaleCrop((20, 10), (0.5, 1.0), random.Random(4)).draw([(50, 40)]) or (
        0,
        0,
        0,
        0,
    )
    np.testing.assert_array_equal(crop(image), resize_part(image[top:bottom, left:right], (20, 10)))
