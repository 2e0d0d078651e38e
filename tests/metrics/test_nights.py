from __future__ import annotations

import numpy as np
import pytest

from darkside_cli.metrics.nights import (
    distance_between_halves,
    kernel_distance,
    lost_edges,
    sky_light,
    sky_of,
)


def scene() -> np.ndarray:
    """A light sky above a dark house with a light window."""
    image = np.full((60, 80, 3), (150, 190, 235), np.uint8)
    image[24:] = (70, 50, 40)
    image[34:46, 30:44] = (220, 210, 190)
    return image


def test_kernel_distance_is_the_unbiased_sum_over_pairs() -> None:
    x, y = np.random.default_rng(0).random((3, 5)), np.random.default_rng(1).random((4, 5))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 5 + 1) ** 3)

    inside = [np.mean([k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (x, y)]
    between = np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(sum(inside) - 2 * between)
    assert kernel_distance(x, y) == pytest.approx(kernel_distance(y, x))


def test_sets_of_one_distribution_have_no_distance_but_a_deviation() -> None:
    dice = np.random.default_rng(0)
    mean, deviation = distance_between_halves(dice.random((200, 16)), repeats=10)
    assert abs(mean) < 3 * deviation / 10**0.5
    assert kernel_distance(dice.random((100, 16)) + 0.3, dice.random((100, 16))) > 10 * deviation
    assert distance_between_halves(dice.random((9, 4)), seed=1) != distance_between_halves(
        dice.random((9, 4)), seed=2
    )


def test_too_few_images_have_no_distance() -> None:
    with pytest.raises(ValueError, match="at least two"):
        kernel_distance(np.ones((1, 4)), np.ones((9, 4)))


def test_edges_are_lost_where_nobody_sees_them() -> None:
    day = scene()
    assert lost_edges(day, day) == 0
    assert lost_edges(day, day // 8) == 0, "dark is not lost"
    lit = day // 8
    lit[34:46, 30:44] = (255, 220, 120)
    lit[24:] = np.maximum(lit[24:], 60)
    assert lost_edges(day, lit) == 0, "which side is the lighter one does not matter"
    assert lost_edges(day, np.full_like(day, 20)) == 1
    without_window = day // 4
    without_window[24:] = without_window[-1, 0]
    lost = lost_edges(day, without_window)
    assert lost is not None
    assert 0.1 < lost < 0.9, "the window's edges, but not the roof's"
    assert lost_edges(np.full_like(day, 90), day) is None


def test_light_in_the_sky_is_what_is_lit_where_day_has_sky() -> None:
    day = scene()
    sky = sky_of(day)
    assert sky[:22].all()
    assert not sky[26:].any()
    night = day // 10
    assert sky_light(day, day) == 1
    assert sky_light(day, night) == 0
    night[24:] = 255  # below the roof line
    assert sky_light(day, night) == 0
    night[:11] = 200
    assert sky_light(day, night) == pytest.approx(0.5, abs=0.03)
    assert sky_light(day[30:], day[30:]) is None, "a wall is no sky"
