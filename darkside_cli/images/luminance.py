"""Day, dusk or night? Told by how much light a photograph shows.

The score is a logistic function of three means, of a picture shrunk to 256 pixels: the lightness (CIE L*, 0 to 100)
of the upper third, where outdoors there is sky, that of the whole, and how yellow it is (b*; lamps are, skies are
not). The weights were fitted once, with an L2 penalty, to 94 photographs of streets and buildings (56 by day, 38 by
night, from some twenty public collections) that a person had labelled by looking, and rounded. Leaving each of
them out in turn while fitting, 91 of 94 fell on the right side of one half (by the upper third alone 91 as well, but
with more doubt). What is between the limits is called dusk: 4 of these 94, and of the others 88 were named rightly
and 2 wrongly. Of twilight itself there were two pictures only, far too few to fit anything to. Rooms, tunnels and
deep shade by day look like night to it.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from darkside_cli.images.images import read_rgb
from darkside_cli.images.photometry import lab

Light = Literal["day", "dusk", "night"]
LIGHTS: tuple[Light, ...] = ("day", "dusk", "night")

#: Scores of dusk: below is day, above is night.
DUSK = (0.3, 0.7)

_SIZE_PX = 256
_CONSTANT, _SKY, _WHOLE, _WARMTH = 5.2, -0.073, -0.074, 0.079


@dataclass(frozen=True)
class LightMeasure:
    """What a picture shows: mean L* (0 to 100) of its upper third and of all of it, and mean b*."""

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
    """Measure an sRGB picture (H, W, 3), uint8 or floats in [0, 1]."""
    colours = lab(pixels).astype(np.float64)
    upper = colours[: max(1, round(colours.shape[0] / 3))]
    return LightMeasure(
        float(upper[..., 0].mean()), float(colours[..., 0].mean()), float(colours[..., 2].mean())
    )


def measure_file(path: str | os.PathLike[str]) -> LightMeasure:
    """Measure an image file. Raises what :func:`darkside_cli.images.images.read_photo` does."""
    return measure_light(np.asarray(read_rgb(path, max_size_px=_SIZE_PX, fast=True)))
