"""How much light a picture shows: sRGB to linear light, luminance, and CIE L*a*b*; NumPy only.

IEC 61966-2-1 (sRGB), ITU-R BT.709 (luminance), CIE 015:2018 (L*a*b*, white D65).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]

LUMINANCE_WEIGHTS = (0.2126, 0.7152, 0.0722)

_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=np.float32
)
_WHITE = _TO_XYZ.sum(axis=1)
_LINEAR_BELOW = (6 / 29) ** 3


def linear_light(picture: NDArray[Any]) -> FloatImage:
    """Linear light in [0, 1] of sRGB values: uint8, or floats in [0, 1]; any shape."""
    if picture.dtype == np.uint8:
        return np.take(_linear_levels(), picture)
    return _linear(picture.astype(np.float32))


@cache
def _linear_levels() -> FloatImage:
    return _linear(np.arange(256, dtype=np.float32) / np.float32(255))


def _linear(values: FloatImage) -> FloatImage:
    low, high = (
        values / np.float32(12.92),
        ((values + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4),
    )
    return np.where(values <= np.float32(0.04045), low, high).astype(np.float32)


def luminance(picture: NDArray[Any]) -> FloatImage:
    """Relative luminance in [0, 1], (H, W), of an sRGB picture (H, W, 3)."""
    result: FloatImage = linear_light(picture) @ np.array(LUMINANCE_WEIGHTS, dtype=np.float32)
    return result


def lightness(picture: NDArray[Any]) -> FloatImage:
    """CIE lightness L* in [0, 100], (H, W), of an sRGB picture (H, W, 3): how light it looks."""
    return np.float32(116) * _compressed(luminance(picture)) - np.float32(16)


def lab(picture: NDArray[Any]) -> FloatImage:
    """CIE L*a*b*, (H, W, 3), of an sRGB picture (H, W, 3): L* in [0, 100], a* and b* about -100 to 100."""
    x, y, z = np.moveaxis(_compressed(linear_light(picture) @ _TO_XYZ.T / _WHITE), -1, 0)
    return np.stack(
        [np.float32(116) * y - np.float32(16), np.float32(500) * (x - y), np.float32(200) * (y - z)], axis=-1
    )


def _compressed(values: FloatImage) -> FloatImage:
    straight = values * np.float32((29 / 6) ** 2 / 3) + np.float32(4 / 29)
    return np.where(values > np.float32(_LINEAR_BELOW), np.cbrt(values), straight).astype(np.float32)
