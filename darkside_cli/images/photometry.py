"""How much light an image shows: sRGB to linear light, luminance, CIE L*a*b*, and whether it is day, dusk or night.

IEC 61966-2-1 (sRGB), ITU-R BT.709 (luminance), CIE 015:2018 (L*a*b*, white D65).

The score of night is a logistic function of three means, of an image shrunk to 256 pixels: the lightness (CIE L*, 0
to 100) of the upper third, where outdoors there is sky, that of the whole, and how yellow it is (b*; lamps are, skies
are not). The weights were fitted once, with an L2 penalty, to 94 photographs of streets and buildings (56 by day, 38 by
night, from some twenty public collections) that a person had labelled by looking, and rounded. Leaving each of
them out in turn while fitting, 91 of 94 fell on the right side of one half (by the upper third alone 91 as well, but
with more doubt). What is between the limits is called dusk: 4 of these 94, and of the others 88 were named rightly
and 2 wrongly. Of twilight itself there were two images only, far too few to fit anything to. Rooms, tunnels and
deep shade by day look like night to it.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from darkside_cli.images.colour import FloatImage
from darkside_cli.images.images import read_rgb

Light = Literal["day", "dusk", "night"]
LIGHTS: tuple[Light, ...] = ("day", "dusk", "night")

#: Scores of dusk: below is day, above is night.
DUSK = (0.3, 0.7)

_SIZE_PX = 256
_CONSTANT, _SKY, _WHOLE, _WARMTH = 5.2, -0.073, -0.074, 0.079

LUMINANCE_WEIGHTS = (0.2126, 0.7152, 0.0722)

_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=np.float32
)
_WHITE = _TO_XYZ.sum(axis=1)
_LINEAR_BELOW = (6 / 29) ** 3


def linear_light(image: NDArray[Any]) -> FloatImage:
    """Linear light in [0, 1] of sRGB values: uint8, or floats in [0, 1]; any shape."""
    if image.dtype == np.uint8:
        return np.take(_linear_levels(), image)
    return _linear(image.astype(np.float32))


@cache
def _linear_levels() -> FloatImage:
    return _linear(np.arange(256, dtype=np.float32) / np.float32(255))


def _linear(values: FloatImage) -> FloatImage:
    low, high = (
        values / np.float32(12.92),
        ((values + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4),
    )
    return np.where(values <= np.float32(0.04045), low, high).astype(np.float32)


def luminance(image: NDArray[Any]) -> FloatImage:
    """Relative luminance in [0, 1], (H, W), of an sRGB image (H, W, 3)."""
    result: FloatImage = linear_light(image) @ np.array(LUMINANCE_WEIGHTS, dtype=np.float32)
    return result


def lab(image: NDArray[Any]) -> FloatImage:
    """CIE L*a*b*, (H, W, 3), of an sRGB image (H, W, 3): L* in [0, 100], a* and b* about -100 to 100."""
    x, y, z = np.moveaxis(_compressed(linear_light(image) @ _TO_XYZ.T / _WHITE), -1, 0)
    return np.stack(
        [np.float32(116) * y - np.float32(16), np.float32(500) * (x - y), np.float32(200) * (y - z)], axis=-1
    )


def _compressed(values: FloatImage) -> FloatImage:
    straight = values * np.float32((29 / 6) ** 2 / 3) + np.float32(4 / 29)
    return np.where(values > np.float32(_LINEAR_BELOW), np.cbrt(values), straight).astype(np.float32)


@dataclass(frozen=True)
class LightMeasure:
    """What an image shows: mean L* (0 to 100) of its upper third and of all of it, and mean b*."""

    sky_lightness: float
    lightness: float
    warmth: float

    @property
    def score(self) -> float:
        """How much it looks like night: 0 (day) to 1 (night)."""
        x = _CONSTANT + _SKY * self.sky_lightness + _WHOLE * self.lightness + _WARMTH * self.warmth
        return 1 / (1 + math.exp(-x))

    @property
    def light(self) -> Light:
        """Say which it is: "day", "dusk" or "night"."""
        low, high = DUSK
        return "day" if self.score < low else "night" if self.score > high else "dusk"


def measure_light(pixels: NDArray[Any]) -> LightMeasure:
    """Measure an sRGB image (H, W, 3), uint8 or floats in [0, 1]."""
    colours = lab(pixels).astype(np.float64)
    upper = colours[: max(1, round(colours.shape[0] / 3))]
    return LightMeasure(
        float(upper[..., 0].mean()), float(colours[..., 0].mean()), float(colours[..., 2].mean())
    )


def measure_file(path: str | os.PathLike[str]) -> LightMeasure:
    """Measure an image file. Raises what :func:`darkside_cli.images.images.read_image` does."""
    return measure_light(np.asarray(read_rgb(path, max_size_px=_SIZE_PX, fast=True)))
