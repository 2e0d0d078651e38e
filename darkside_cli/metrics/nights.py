"""How far made nights are from real ones in a network's features, what they lost of the day, what lights their sky.

NumPy only. Images are (H, W, 3) RGB, uint8 or floats in [0, 1]; features are (N, D), one row an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkside_cli.images.photometry import lab

Pixels = NDArray[Any]
Features = NDArray[np.float64]

#: L* a pixel: from where on an edge of the day is strong (an outline against another surface), and below which, in the
#: same direction, nobody sees one at night.
STRONG, UNSEEN = 6.0, 0.4
#: L* that the sky of a day has at least, the change a pixel it has at most, and the L* above which it is lit at night.
_SKY_LIGHTNESS, _SKY_CHANGE, LIT_LIGHTNESS = 45.0, 3.0, 40.0
_LEAST_SKY = 0.03


def kernel_distance(first: Features, second: Features) -> float:
    """Squared maximum mean discrepancy of two sets of features under the kernel (x.y / D + 1)^3, without bias.

    0 on average for sets of one distribution, however small (so it may be below 0). Binkowski et al., "Demystifying
    MMD GANs", ICLR 2018. Raises ValueError for sets of less than two.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError("a kernel distance takes at least two images of each kind")
    return float(_within(first) + _within(second) - 2 * _kernel(first, second).mean())


def distance_between_halves(features: Features, *, repeats: int = 20, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of the kernel distance between random halves of one set: the floor of the measure.

    ``seed`` decides the halves. Raises ValueError for sets of less than four.
    """
    dice, half = np.random.default_rng(seed), len(features) // 2
    orders = (dice.permutation(len(features)) for _ in range(repeats))
    found = [kernel_distance(features[order[:half]], features[order[half:]]) for order in orders]
    return float(np.mean(found)), float(np.std(found))


def _kernel(first: Features, second: Features) -> Features:
    kernel: Features = (first @ second.T / first.shape[1] + 1) ** 3
    return kernel


def _within(features: Features) -> float:
    kernel, count = _kernel(features, features), len(features)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))


def lost_edges(day: Pixels, night: Pixels) -> float | None:
    """Share of the strong edges of ``day``, pixel by pixel, that nobody sees at ``night``; None if day has none.

    Strong is a gradient of L* of :data:`STRONG` a pixel. It is lost where no pixel around, one away at most, has a
    gradient of :data:`UNSEEN` along the same direction, whichever side is the lighter one. Images have one size.
    """
    before, after = _gradient(day), _gradient(night)
    size = np.hypot(*before)
    strong = size >= STRONG
    if not strong.any():
        return None
    rows, columns = np.nonzero(strong)
    direction = (before / np.maximum(size, 1e-6))[:, rows, columns]
    seen = np.zeros(len(rows), bool)
    padded = np.pad(after, ((0, 0), (1, 1), (1, 1)))
    for down in range(3):
        for across in range(3):
            near = padded[:, rows + down, columns + across]
            seen |= np.abs((near * direction).sum(axis=0)) >= UNSEEN
    return float(1 - seen.mean())


def sky_of(day: Pixels) -> NDArray[np.bool_]:
    """Where ``day`` has sky, (H, W): from the upper edge down what is light and smooth; nothing if that is little."""
    lightness = lab(day)[..., 0]
    calm = np.pad(np.hypot(*_gradient(day)) < _SKY_CHANGE, 1, mode="edge") & (lightness > _SKY_LIGHTNESS)
    sky: NDArray[np.bool_] = np.logical_and.accumulate(calm, axis=0)
    return sky if sky.mean() >= _LEAST_SKY else np.zeros_like(sky)


def sky_light(day: Pixels, night: Pixels) -> float | None:
    """Share of the day's sky that is lit at night, lighter than :data:`LIT_LIGHTNESS`; None if day shows no sky.

    Images have one size.
    """
    sky = sky_of(day)
    return float((lab(night)[..., 0][sky] > LIT_LIGHTNESS).mean()) if sky.any() else None


def _gradient(image: Pixels) -> NDArray[Any]:
    """Gradient of L* across and down, in L* a pixel, (2, H - 2, W - 2), by Sobel's differences."""
    light = lab(image)[..., 0]
    rows = light[:-2] + 2 * light[1:-1] + light[2:]
    columns = light[:, :-2] + 2 * light[:, 1:-1] + light[:, 2:]
    return np.stack([rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]]) / np.float32(8)
