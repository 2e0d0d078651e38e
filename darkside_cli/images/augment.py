"""More variety out of few photographs: crops of changing shape, turned and tilted, and day colours that vary.

Everything is drawn from the generator given, so that an image depends on nothing but its seed, and taken from inside
the photograph: no border is ever made up.
"""

from __future__ import annotations

import math
import random

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from darkside_cli.images.colour import FloatImage
from darkside_cli.images.crops import Size
from darkside_cli.images.settings import AugmentConfig

Corners = NDArray[np.float64]
"""Corners (4, 2) of a view, x and y in pixels from the photograph's upper left edge: upper left, then clockwise."""

#: From this many pixels of the photograph to one of the view (along each side) they are averaged.
_AVERAGE_FROM = 1.25

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def draw_view(
    image: Size, view: Size, scale: tuple[float, float], options: AugmentConfig, rng: random.Random
) -> Corners:
    """Draw what part of a photograph of size ``image`` (width, height) becomes an image of size ``view``.

    The scale is drawn evenly, as in :class:`darkside_cli.images.crops.ScaleCrop`, and never so low that the part would
    not fit; then the aspect, the angle, how far each corner moves inwards, and the place. A part that does not fit
    once it is turned shrinks until it does.
    """
    lowest = max(view[0] / image[0], view[1] / image[1], scale[0])
    factor = lowest + rng.random() * (max(scale[1], lowest) - lowest)
    stretch = math.exp(_both_ways(rng, math.log1p(options.aspect)) / 2)
    angle = math.radians(_both_ways(rng, options.rotate_deg))
    insets = [(rng.random() * options.perspective, rng.random() * options.perspective) for _ in range(4)]

    width, height = view[0] / factor * stretch, view[1] / factor / stretch
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    outer_w, outer_h = width * cosine + height * sine, width * sine + height * cosine
    fit = min(1.0, image[0] / outer_w, image[1] / outer_h)
    width, height, outer_w, outer_h = (side * fit for side in (width, height, outer_w, outer_h))
    outer = outer_w, outer_h
    centre = np.array([outer[i] / 2 + rng.random() * max(0.0, image[i] - outer[i]) for i in (0, 1)])
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=np.float64)
    flat = signs * (1 - np.array(insets)) * (width / 2, height / 2)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    # Rounding puts some a hair outside.
    inside: Corners = np.clip(flat @ turn + centre, 0.0, np.array(image, dtype=np.float64))
    return inside


def _both_ways(rng: random.Random, limit: float) -> float:
    """Draw evenly from -limit to limit; always draws, so that options do not move what comes after."""
    return (2 * rng.random() - 1) * limit


def as_float(image: Image.Image) -> FloatImage:
    """Give an RGB image as (H, W, 3) float32 in [0, 1]."""
    return np.asarray(image).astype(np.float32) / np.float32(255)


def cut_view(image: Image.Image, corners: Corners, view: Size) -> FloatImage:
    """Give what lies between ``corners`` of an RGB image as an image (h, w, 3) float32 in [0, 1].

    Bilinear, after averaging where the view is clearly smaller than the part.
    """
    left, top = (math.floor(value) for value in corners.min(axis=0))
    right, bottom = (math.ceil(value) for value in corners.max(axis=0))
    part = as_float(image.crop((left, top, max(right, left + 1), max(bottom, top + 1))))
    inner = corners - (left, top)
    x, y = corners[:, 0], corners[:, 1]
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    ratio = math.sqrt(area / (view[0] * view[1]))
    if ratio > _AVERAGE_FROM:
        small = max(1, round(part.shape[1] / ratio)), max(1, round(part.shape[0] / ratio))
        inner = inner * (small[0] / part.shape[1], small[1] / part.shape[0])
        part = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA), dtype=np.float32)
    edges = np.array([(0, 0), (view[0], 0), view, (0, view[1])], dtype=np.float32)
    # Corners are those of pixels, while cv2 counts from their middles; hence half a pixel on both sides.
    matrix = cv2.getPerspectiveTransform(edges - 0.5, inner.astype(np.float32) - 0.5)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(part, matrix, view, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.float32)


def change_colours(image: FloatImage, options: AugmentConfig, rng: random.Random) -> FloatImage:
    """Vary gamma, the gain of each channel and the saturation of ``image`` (H, W, 3) in [0, 1]; it stays in there.

    Gamma is drawn evenly in its logarithm between 1 / (1 + g) and 1 + g, the others evenly between 1 - c and 1 + c.
    """
    gamma = math.exp(_both_ways(rng, math.log1p(options.day_gamma)))
    gains = [1 + _both_ways(rng, options.day_colour) for _ in range(3)]
    saturation = 1 + _both_ways(rng, options.day_colour)
    changed = image ** np.float32(gamma) if gamma != 1 else image
    changed = changed * np.array(gains, dtype=np.float32)
    grey = (changed @ _LUMA)[..., None]
    return np.clip(grey + (changed - grey) * np.float32(saturation), 0, 1)
