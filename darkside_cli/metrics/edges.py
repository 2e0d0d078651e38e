"""How much of an image's structure a translation keeps, however dark it makes it; NumPy only.

Images are (H, W, 3), uint8 or floats in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

#: Sides of the blocks of pixels that are averaged before gradients are taken.
SCALES = (1, 2, 4)

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def edge_agreement(before: NDArray[Any], after: NDArray[Any]) -> float:
    """Say to what share edges of ``after`` lie where ``before`` has them, in the same direction: 0 to 1.

    Of both images, at three scales, every pixel's gradient g of luma becomes an orientation
    ``|g|^2 / (|g|^2 + m^2) * (cos 2t, sin 2t)``, where t is its angle and m the mean of |g| over the image, which
    makes what follows blind to contrast and brightness; twice the angle makes it blind to which side is the lighter
    one (windows are dark by day and lit at night). Returned is the correlation of both fields, averaged over scales,
    0 where it is negative. An image with itself gives 1, also if one is darkened; with one that has nothing to do with
    it, about 0. An image without any gradient agrees with nothing.

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


def _luma(image: NDArray[Any]) -> Field:
    values: Field = image.astype(np.float32)
    if image.dtype == np.uint8:
        values /= np.float32(255)
    result: Field = values @ _LUMA
    return result


def _averaged(image: Field, scale: int) -> Field:
    """Means of blocks of ``scale`` by ``scale`` pixels; what is left over at the lower and right edge is dropped."""
    height, width = (side // scale for side in image.shape)
    blocks = image[: height * scale, : width * scale].reshape(height, scale, width, scale)
    result: Field = blocks.mean(axis=(1, 3))
    return result


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
    result: Field = np.stack([x * x - y * y, 2 * x * y]) / (square + np.float32(mean**2))
    return result
