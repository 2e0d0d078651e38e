"""Views of one photograph, as if it had been taken once more: another part of it, mirrored, in other light."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image

from darkside_cli.images.augment import as_float, change_colours
from darkside_cli.images.settings import AugmentConfig
from darkside_cli.images.transforms import shrink

#: A view shows at least this share of the photograph, and is wider or higher by up to this factor.
_LEAST_AREA, _ASPECT = 0.6, 1.18
_COLOURS = AugmentConfig(day_gamma=0.5, day_colour=0.15)


def random_view(image: Image.Image, size_px: int | None, seed: str) -> Image.Image:
    """A view of an RGB photograph, of at most ``size_px`` on the longest side (None: as it comes), by ``seed``.

    It shows 0.6 to 1 of the area in another shape, half of them mirrored; gamma, the gain of each channel and
    saturation vary.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    side = rng.uniform(_LEAST_AREA, 1) ** 0.5
    stretch = rng.uniform(1 / _ASPECT, _ASPECT)
    width = max(1, min(image.width, int(image.width * side * stretch)))
    height = max(1, min(image.height, int(image.height * side / stretch)))
    left, upper = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    view = image.crop((left, upper, left + width, upper + height))
    view = view if size_px is None else shrink(view, size_px)
    if rng.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    changed = change_colours(as_float(view), _COLOURS, rng)
    return Image.fromarray(np.rint(changed * 255).astype(np.uint8))
