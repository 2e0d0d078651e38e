"""How good a translation to night is, in numbers that need no network and no download; NumPy only.

Images are (H, W, 3) RGB, uint8 or floats in [0, 1]. Scores of a whole set are made by :func:`score_translations`:
structure is compared with the input (:func:`edge_agreement`), light and colour with real
night images (:class:`NightReference`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkside_cli.images.photometry import lab, luminance

Pixels = NDArray[Any]
Field = NDArray[np.float32]
Points = NDArray[np.float64]

#: Sides of the blocks of pixels that are averaged before gradients are taken.
SCALES = (1, 2, 4)
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
#: Cells along each side of an image that features are taken of.
GRID = 8
_TILE = 64
# A window's own spectrum reaches one frequency to either side; so many away it is gone.
_CLEAR_OF_PEAK = 3
# Far below what rounding to 8 bits leaves, so that an image of one colour has no pattern.
_NO_POWER = 1e-9
_LEVELS = np.linspace(0.0, 1.0, 257)


def edge_agreement(before: Pixels, after: Pixels) -> float:
    """Say to what share edges of ``after`` lie where ``before`` has them, in the same direction: 0 to 1.

    Of both images, at three scales, every pixel's gradient g of luma becomes an orientation
    ``|g|^2 / (|g|^2 + m^2) * (cos 2t, sin 2t)``, where t is its angle and m the mean of |g| over the image, which
    makes what follows blind to contrast and brightness; twice the angle makes it blind to which side is the lighter
    one (windows are dark by day and lit at night). Returned is the correlation of both fields, averaged over scales,
    0 where it is negative. A image with itself gives 1, also if one is darkened; with one that has nothing to do with
    it, about 0. A image without any gradient agrees with nothing.

    After the normalised gradient fields of Haber and Modersitzki (MICCAI 2006). Raises ValueError for images of
    different sizes, or less than 12 pixels high or wide.
    """
    if before.shape != after.shape:
        raise ValueError(f"pictures of {before.shape} and {after.shape} cannot be compared")
    if min(before.shape[:2]) < 3 * SCALES[-1]:
        raise ValueError(f"a picture of {before.shape} is too small")
    first, second = _luma(before), _luma(after)
    scores = []
    for scale in SCALES:
        one, other = (_orientations(_averaged(each, scale)) for each in (first, second))
        norm = np.sqrt(float((one**2).sum()) * float((other**2).sum()))
        scores.append(float((one * other).sum()) / norm if norm > 0 else 0.0)
    return max(0.0, float(np.mean(scores)))


def _luma(image: Pixels) -> Field:
    values: Field = image.astype(np.float32)
    if image.dtype == np.uint8:
        values /= np.float32(255)
    return np.asarray(values @ _LUMA)


def _averaged(image: Field, scale: int) -> Field:
    """Means of blocks of ``scale`` by ``scale`` pixels; what is left over at the lower and right edge is dropped."""
    height, width = (side // scale for side in image.shape)
    blocks = image[: height * scale, : width * scale].reshape(height, scale, width, scale)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _orientations(image: Field) -> Field:
    """Oriented edges (2, H - 2, W - 2) of an image (H, W)."""
    # Differences of 3x3 sums: less at the mercy of noise than those of single pixels.
    rows = image[:-2] + 2 * image[1:-1] + image[2:]
    columns = image[:, :-2] + 2 * image[:, 1:-1] + image[:, 2:]
    x, y = rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]
    square = x * x + y * y
    mean = float(np.sqrt(square).mean())
    if mean == 0:
        return np.zeros((2, *x.shape), dtype=np.float32)
    # |g|^2 (cos 2t, sin 2t) is (x^2 - y^2, 2 x y).
    return np.asarray(np.stack([x * x - y * y, 2 * x * y]) / (square + np.float32(mean**2)))


@dataclass(frozen=True)
class LuminanceStatistics:
    """Light of one image: relative luminance in [0, 1], and ``sky_darkness`` from 0 (white) to 1 (black).

    ``p95`` and ``p99`` are percentiles. The sky is taken to be the upper third; its darkness is 1 - L* / 100 of its
    median, so that a lamp or a roof in it does not count for much.
    """

    mean: float
    median: float
    p95: float
    p99: float
    sky_darkness: float


def luminance_statistics(image: Pixels) -> LuminanceStatistics:
    """Measure the light of an image."""
    light = luminance(image)
    median, p95, p99 = np.percentile(light, (50, 95, 99))
    sky = lab(image[: max(1, image.shape[0] // 3)])[..., 0]
    return LuminanceStatistics(
        float(light.mean()), float(median), float(p95), float(p99), 1 - float(np.median(sky)) / 100
    )


def local_features(image: Pixels) -> Points:
    """Describe an image by the colours and the contrast of its GRID x GRID cells, (GRID * GRID, 6) float64.

    Mean L*, a*, b*, standard deviation of L*, mean difference of L* between neighbours (all / 100), and the height of
    the cell in the image (0 is the upper edge, 1 the lower) halved, so that skies are compared with skies.
    Raises ValueError for images smaller than two pixels a cell.
    """
    height, width = image.shape[0] // GRID * GRID, image.shape[1] // GRID * GRID
    if min(height, width) < 2 * GRID:
        raise ValueError(f"a picture of {image.shape} is too small for {GRID}x{GRID} cells")
    colours = lab(image[:height, :width]) / 100

    def cells(values: NDArray[Any]) -> NDArray[Any]:
        shape = (GRID, height // GRID, GRID, width // GRID)
        return np.moveaxis(values.reshape(*shape, *values.shape[2:]), 2, 1).reshape(
            GRID * GRID, -1, *values.shape[2:]
        )

    light = cells(colours[..., 0])
    inside = light.reshape(GRID * GRID, height // GRID, width // GRID)
    steps = (
        np.abs(np.diff(inside, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(inside, axis=2)).mean(axis=(1, 2))
    ) / 2
    where = (np.repeat(np.arange(GRID), GRID) + 0.5) / GRID / 2
    return np.column_stack([cells(colours).mean(axis=1), light.std(axis=1), steps, where]).astype(np.float64)


def sliced_wasserstein(first: Points, second: Points, *, projections: int = 128, seed: int = 0) -> float:
    """Sliced Wasserstein-1 distance between two clouds of points (N, D) and (M, D), in their unit.

    The mean, over ``projections`` random directions that ``seed`` decides, of the distance between the points'
    shadows on a line (Rabin et al., SSVM 2011). 0 for equal clouds; clouds that differ by a shift v alone are
    E|u.v| apart, for random directions u.
    """
    directions = np.random.default_rng(seed).standard_normal((first.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    one, other = np.sort(first @ directions, axis=0), np.sort(second @ directions, axis=0)
    # Between all the places where either quantile function steps, both are constant.
    steps = np.union1d(np.arange(1, len(one)) / len(one), np.arange(1, len(other)) / len(other))
    edges = np.concatenate([[0.0], steps, [1.0]])
    middles = (edges[:-1] + edges[1:]) / 2
    gaps = np.abs(_quantiles(one, middles) - _quantiles(other, middles)).mean(axis=1)
    return float(gaps @ np.diff(edges))


def _quantiles(points: Points, shares: Points) -> Points:
    return np.asarray(points[np.minimum((shares * len(points)).astype(np.int64), len(points) - 1)])


def checkerboard_score(image: Pixels) -> float:
    """Say how much a pattern of 2 or 4 pixels' period stands out: about 1 where there is none.

    The power of luma at the frequencies 1/2 and 1/4 (across, down and both), averaged over overlapping windowed tiles
    of 64 pixels, in ratio to that of the frequencies around it; the largest of these ratios. Upsampling by transposed
    convolutions leaves such patterns. Raises ValueError for images smaller than a tile.
    """
    if min(image.shape[:2]) < _TILE:
        raise ValueError(f"a picture of {image.shape} is smaller than {_TILE} pixels")
    power = _mean_power(_luma(image))
    offsets = np.arange(-6, 7)
    distance = np.maximum(np.abs(offsets)[:, None], np.abs(offsets)[None])
    ratios = []
    # Frequencies, in cycles a tile, that periods of 2 and 4 pixels have; no pattern has none in either direction.
    for down, across in list(product((0, _TILE // 4, _TILE // 2), repeat=2))[1:]:
        around = power[np.ix_((down + offsets) % _TILE, (across + offsets) % _TILE)]
        # Power near an axis falls off across it, so there only frequencies along the axis are compared.
        near = distance >= _CLEAR_OF_PEAK
        if across == 0:
            near = near & (offsets == 0)[None]
        elif down == 0:
            near = near & (offsets == 0)[:, None]
        ratios.append((around[6, 6] + _NO_POWER) / (around[near].mean() + _NO_POWER))
    return float(max(ratios))


def _mean_power(image: NDArray[Any]) -> Points:
    """Mean power spectrum (64, 64) of Hann-windowed tiles (64, 64) that overlap by half."""
    window = np.hanning(_TILE + 1)[:-1]
    window = np.outer(window, window)
    total: Points = np.zeros((_TILE, _TILE))
    count = 0
    for top in range(0, image.shape[0] - _TILE + 1, _TILE // 2):
        for left in range(0, image.shape[1] - _TILE + 1, _TILE // 2):
            tile = image[top : top + _TILE, left : left + _TILE]
            total += np.abs(np.fft.fft2((tile - tile.mean()) * window)) ** 2
            count += 1
    return total / count


def _lightness_levels(image: Pixels) -> Points:
    """Share of pixels of each of 256 levels of L*, lowest first."""
    counts, _ = np.histogram(np.clip(lab(image)[..., 0] / 100, 0, 1), _LEVELS)
    return np.asarray(counts / counts.sum())


def lightness_distance(first: Points, second: Points) -> float:
    """Wasserstein-1 distance between two distributions over 256 levels of L*: 0, to 1 for black against white."""
    return float(np.abs(np.cumsum(first - second))[:-1].sum() / 255)


@dataclass(frozen=True)
class NightReference:
    """What is kept of real night images to compare with: equal weight for each, whatever its size.

    ``features`` (images * 64, 6) of :func:`local_features`; ``levels`` (256,) shares of L*; ``means`` (images,)
    are mean luminances.
    """

    features: Points
    levels: Points
    means: Points

    @classmethod
    def of(cls, images: Iterable[Pixels]) -> NightReference:
        """Measure real night images. Raises ValueError if there are none."""
        measured = [
            (local_features(each), _lightness_levels(each), luminance(each).mean()) for each in images
        ]
        if not measured:
            raise ValueError("there is no night picture to compare with")
        return cls(
            np.concatenate([each[0] for each in measured]),
            np.mean([each[1] for each in measured], axis=0),
            np.array([each[2] for each in measured], dtype=np.float64),
        )

    def central_means(self, share: float = 0.8) -> tuple[float, float]:
        """Range of mean luminance that the central ``share`` of the images has."""
        low, high = np.quantile(self.means, ((1 - share) / 2, (1 + share) / 2))
        return float(low), float(high)


def score_translations(
    pairs: Iterable[tuple[Pixels, Pixels]], night: NightReference, *, seed: int = 0
) -> dict[str, float]:
    """Score images and their translations to night, by name; all but the distances are means over the images
    (``checkerboard`` a geometric one, because single images have patterns of their own).

    - ``edge_agreement``, 0 to 1: structure kept;
    - ``sliced_wasserstein``: distance of the colours and contrasts to the real night's, in units of 100 L*;
    - ``lightness_distance``, 0 to 1: of the distributions of L*;
    - ``mean_luminance``, 0 to 1, and ``luminance_inside``: the share of images whose mean is inside of what the
      central 80 % of real ones have;
    - ``sky_darkness``, 0 to 1; ``checkerboard``, 1 where there is none.

    Raises ValueError if there are no pairs, or what the parts raise for images that are too small.
    """
    scored = [(edge_agreement(before, after), after) for before, after in pairs]
    if not scored:
        raise ValueError("there is no translation to score")
    agreements, outputs = zip(*scored, strict=True)
    statistics = [luminance_statistics(each) for each in outputs]
    low, high = night.central_means()
    return {
        "edge_agreement": _mean(agreements),
        "sliced_wasserstein": sliced_wasserstein(
            np.concatenate([local_features(each) for each in outputs]), night.features, seed=seed
        ),
        "lightness_distance": lightness_distance(
            np.mean([_lightness_levels(each) for each in outputs], axis=0), night.levels
        ),
        "mean_luminance": _mean([each.mean for each in statistics]),
        "luminance_inside": _mean([float(low <= each.mean <= high) for each in statistics]),
        "sky_darkness": _mean([each.sky_darkness for each in statistics]),
        "checkerboard": math.exp(_mean([math.log(checkerboard_score(each)) for each in outputs])),
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
