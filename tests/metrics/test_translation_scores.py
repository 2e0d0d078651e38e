"""Scores of translations by hand: light, distances between distributions, patterns of upsampling."""

from __future__ import annotations

import numpy as np
import pytest
from handmade_images import image_pixels
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.metrics.translation import (
    NightReference,
    checkerboard_score,
    lightness_distance,
    local_features,
    luminance_statistics,
    score_translations,
    sliced_wasserstein,
)


def noisy(seed: int, height: int = 96, width: int = 128, brightness: float = 1.0) -> np.ndarray:
    """Noise that is the weaker the finer it is, as in photographs, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij"))
    spectrum = np.fft.fft2(rng.standard_normal((height, width))) / np.maximum(frequency, 0.01)
    image = np.fft.ifft2(spectrum).real
    image = (image - image.min()) / (image.max() - image.min())
    return (np.stack([image, image * 0.9, image * 0.8], axis=-1) * 255 * brightness).astype(np.uint8)


# Light


def test_luminance_statistics_by_hand() -> None:
    """A white third above a black ground: a third of the light; nine of ten percentiles are where they are."""
    image = np.zeros((30, 10, 3), dtype=np.uint8)
    image[:10] = 255
    measured = luminance_statistics(image)
    assert measured.mean == pytest.approx(1 / 3)
    assert (measured.median, measured.p95, measured.p99) == (0, 1, 1)
    assert measured.sky_darkness == pytest.approx(0, abs=1e-3)
    assert luminance_statistics(image[::-1]).sky_darkness == pytest.approx(1, abs=1e-6)


def test_lightness_distance() -> None:
    levels = np.eye(256)
    assert lightness_distance(levels[0], levels[255]) == pytest.approx(1)
    assert lightness_distance(levels[10], levels[61]) == pytest.approx(51 / 255)
    assert lightness_distance(levels[7], levels[7]) == 0
    mixed = (levels[0] + levels[100]) / 2
    assert lightness_distance(mixed, levels[50]) == pytest.approx(50 / 255)


# Sliced Wasserstein


def test_on_a_line_it_is_the_usual_distance() -> None:
    """In one dimension every direction is the line: quantiles 0, 0, 3 against 1, 5 differ by 1, (1 | 5), 2."""
    first, second = np.array([[0.0], [0.0], [3.0]]), np.array([[1.0], [5.0]])
    # Between 0, 1/3, 1/2, 2/3, 1: |0 - 1|, |0 - 1|, |0 - 5|, |3 - 5|.
    expected = 1 / 3 * 1 + 1 / 6 * 1 + 1 / 6 * 5 + 1 / 3 * 2
    assert sliced_wasserstein(first, second) == pytest.approx(expected)


def test_a_shift_in_the_plane() -> None:
    """The mean of |cos| over all directions of the plane is 2 / pi."""
    points = np.random.default_rng(0).standard_normal((200, 2))
    moved = sliced_wasserstein(points, points + np.array([3.0, 4.0]), projections=5000)
    assert moved == pytest.approx(5 * 2 / np.pi, rel=0.02)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 40),
    m=st.integers(1, 40),
    dim=st.integers(1, 5),
    seed=st.integers(0, 99),
    times=st.integers(2, 4),
)
def test_it_is_a_distance_of_distributions(n: int, m: int, dim: int, seed: int, times: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.random((n, dim)), rng.random((m, dim)) + 1
    distance = sliced_wasserstein(one, other, seed=seed)
    assert distance > 0
    assert sliced_wasserstein(other, one, seed=seed) == pytest.approx(distance)
    assert sliced_wasserstein(one, rng.permutation(one), seed=seed) == pytest.approx(0, abs=1e-12)
    assert sliced_wasserstein(np.repeat(one, times, axis=0), other, seed=seed) == pytest.approx(distance)


def test_directions_are_decided_by_the_seed() -> None:
    one, other = np.random.default_rng(0).random((2, 30, 4))
    assert sliced_wasserstein(one, other, seed=1) == sliced_wasserstein(one, other, seed=1)
    assert sliced_wasserstein(one, other, seed=1) != sliced_wasserstein(one, other, seed=2)


# Features


def test_features_by_hand() -> None:
    """Cells of one colour have no contrast; a white one in black has L* 1, and both know their height."""
    image = np.zeros((16, 24, 3), dtype=np.uint8)
    image[2:4, 6:9] = 255
    features = local_features(image)
    assert features.shape == (64, 6)
    white = 1 * 8 + 2
    np.testing.assert_allclose(features[white, :5], [1, 0, 0, 0, 0], atol=1e-3)
    np.testing.assert_allclose(np.delete(features, white, axis=0)[:, :5], 0, atol=1e-6)
    np.testing.assert_allclose(features[::8, 5], (np.arange(8) + 0.5) / 16)
    image[0, 0] = 255  # one of the six pixels of the first cell
    first = local_features(image)[0]
    # Of 2 x 3 pixels, 3 steps down (one of them 1) and 4 across (one of them 1).
    np.testing.assert_allclose(first[[0, 3, 4]], [1 / 6, np.sqrt(5) / 6, (1 / 3 + 1 / 4) / 2], atol=1e-3)
    with pytest.raises(ValueError, match="too small"):
        local_features(image[:15])


# Patterns


def pattern(image: np.ndarray, period: int, amplitude: float, axes: tuple[int, ...] = (0, 1)) -> np.ndarray:
    """Blocks of half a period that are lighter and darker by turns along ``axes``."""
    grid = np.indices(image.shape[:2]) // (period // 2)
    sign = sum(grid[axis] for axis in axes) % 2 * 2 - 1
    return np.clip(image + amplitude * sign[..., None], 0, 255).round().astype(np.uint8)


def test_no_pattern() -> None:
    scores = [checkerboard_score(noisy(seed)) for seed in range(8)]
    assert min(scores) > 0.5
    assert np.exp(np.mean(np.log(scores))) < 1.6
    flat = np.full((70, 64, 3), 40, dtype=np.uint8)
    assert checkerboard_score(flat) == pytest.approx(1)


@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_patterns_are_found(period: int, axes: tuple[int, ...]) -> None:
    image = noisy(3)
    plain = checkerboard_score(image)
    assert checkerboard_score(pattern(image, period, 3.0, axes)) > 4 * plain


def test_other_patterns_are_not_meant() -> None:
    """Waves of 16 pixels lie far from what upsampling by two leaves."""
    image = noisy(3)
    waves = image + 20 * np.sin(np.arange(128) * 2 * np.pi / 16)[None, :, None]
    assert checkerboard_score(np.clip(waves, 0, 255).astype(np.uint8)) < 2 * checkerboard_score(image)


def test_too_small_for_patterns() -> None:
    with pytest.raises(ValueError, match="smaller than 64"):
        checkerboard_score(noisy(0)[:63])


# All together


def test_scores() -> None:
    nights = [noisy(seed, brightness=0.1 + 0.01 * seed) for seed in range(10)]
    days = [noisy(seed + 20) for seed in range(4)]
    reference = NightReference.of(nights)
    same = score_translations([(day, day) for day in days], reference)
    dark = score_translations([(day, (day * 0.14).astype(np.uint8)) for day in days], reference)
    assert same["edge_agreement"] == pytest.approx(1)
    assert dark["edge_agreement"] > 0.95
    assert dark["sliced_wasserstein"] < 0.3 * same["sliced_wasserstein"]
    assert dark["lightness_distance"] < 0.2 * same["lightness_distance"]
    assert (same["luminance_inside"], dark["luminance_inside"]) == (0, 1)
    assert dark["mean_luminance"] < 0.05 < same["mean_luminance"]
    assert dark["sky_darkness"] > same["sky_darkness"] + 0.3
    patterned = score_translations([(day, pattern(day, 2, 4)) for day in days], reference)
    assert patterned["checkerboard"] > 3 * same["checkerboard"]


def test_night_images_score_as_night() -> None:
    nights = [noisy(seed, brightness=0.1 + 0.01 * seed) for seed in range(10)]
    scores = score_translations([(each, each) for each in nights], NightReference.of(nights))
    assert scores["sliced_wasserstein"] == pytest.approx(0, abs=1e-9)
    assert scores["lightness_distance"] == pytest.approx(0, abs=1e-9)
    assert scores["luminance_inside"] == 0.8


def test_central_means() -> None:
    reference = NightReference(np.zeros((1, 6)), np.zeros(256), np.arange(11) / 10)
    assert reference.central_means() == pytest.approx((0.1, 0.9))
    assert reference.central_means(0.5) == pytest.approx((0.25, 0.75))


def test_nothing_to_score() -> None:
    with pytest.raises(ValueError, match="no night picture"):
        NightReference.of([])
    with pytest.raises(ValueError, match="no translation"):
        score_translations([], NightReference.of([image_pixels(64, 64)]))
