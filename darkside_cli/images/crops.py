"""Crops of float images ``(H, W, C)``: random ones for training, centred ones for looking."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from darkside_cli.errors import ConfigError, ImageError
from darkside_cli.images.colour import FloatImage
from darkside_cli.images.transforms import Transform

Size = tuple[int, int]
"""Width and height in pixels."""


def resize_part(image: FloatImage, size: Size) -> FloatImage:
    """Resize bilinearly to ``size`` (width, height), without smoothing before it; one channel stays a channel."""
    resized = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32).reshape(size[1], size[0], -1)


def _check(size: Size, *scales: float) -> None:
    if min(size) < 1:
        raise ConfigError(f"a crop of {size} pixels is not possible")
    if not all(scale > 0 and math.isfinite(scale) for scale in scales):
        raise ConfigError(f"scales of a crop must be positive, not {', '.join(map(str, scales))}")


@dataclass(eq=False, repr=False)
class ScaleCrop(Transform):
    """A random part of the image, scaled to ``size`` (width, height): the augmentation of GAN training.

    The scale is drawn evenly from ``scale`` (lowest, highest), but never so low that the part would not fit
    into the image, which enlarges small ones; images of a call share the part. If all have the wanted size
    already they are left alone and nothing is drawn. ``rng`` is asked for ``random()``, then ``randint`` for
    the upper and the left edge; by default it is started by the operating system.

    ``swapped`` compares the wanted width with the images' height and the other way round when it looks for
    the lowest scale, as the reference does, and enlarges nothing. That is the same for square crops of large
    enough images and wrong for others; it serves to repeat the reference's numbers.
    """

    size: Size
    scale: tuple[float, float]
    rng: random.Random | None = field(default=None, repr=False)
    swapped: bool = field(default=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        _check(self.size, *self.scale)

    def apply(self, images: Sequence[Any]) -> list[Any]:
        """Crop images ``(H, W, C)``, all at the same place, to ``(height, width, C)``.

        Raises ImageError if the part does not fit into the smallest of them, which only happens with ``swapped``.
        """
        part = self.draw([(image.shape[1], image.shape[0]) for image in images])
        if part is None:
            return list(images)
        left, top, right, bottom = part
        return [resize_part(image[top:bottom, left:right], self.size) for image in images]

    def draw(self, sizes: Sequence[Size]) -> tuple[int, int, int, int] | None:
        """Draw the part (left, top, right, bottom) of images that are ``sizes`` large (width, height).

        None, and nothing is drawn, if all have the wanted size already. Raises what :meth:`apply` does.
        """
        width, height = self.size
        if all(tuple(size) == (width, height) for size in sizes):
            return None
        if self.rng is None:
            self.rng = random.Random()  # noqa: S311
        smallest = smallest_w, smallest_h = min(w for w, _ in sizes), min(h for _, h in sizes)
        compared_w, compared_h = smallest[::-1] if self.swapped else smallest
        lowest = max(width / compared_w, height / compared_h, self.scale[0])
        highest = self.scale[1] if self.swapped else max(self.scale[1], lowest)
        scale = self.rng.random() * (highest - lowest) + lowest
        crop_w, crop_h = math.ceil(width / scale), math.ceil(height / scale)
        if not self.swapped:  # a rounding error may have made it a pixel more
            crop_w, crop_h = min(crop_w, smallest_w), min(crop_h, smallest_h)
        elif crop_w > smallest_w or crop_h > smallest_h:
            raise ImageError(
                f"a crop of {width}x{height} at scale {scale:.3g} does not fit into {smallest_w}x{smallest_h}"
            )
        top = self.rng.randint(0, smallest_h - crop_h)
        left = self.rng.randint(0, smallest_w - crop_w)
        return left, top, left + crop_w, top + crop_h


@dataclass(eq=False, repr=False)
class CenterScaleCrop(Transform):
    """The middle of the image: as much as ``size`` (width, height) is after scaling by ``scale``."""

    size: Size
    scale: float

    def __post_init__(self) -> None:
        _check(self.size, self.scale)

    def one(self, image: FloatImage) -> FloatImage:
        """Crop one image ``(H, W, C)`` to ``(height, width, C)``. Raises ImageError if it is too small."""
        part = (math.ceil(self.size[0] / self.scale), math.ceil(self.size[1] / self.scale))
        return resize_part(_centre(image, part), self.size)


@dataclass(eq=False, repr=False)
class CenterCrop(Transform):
    """The middle ``size`` (width, height) pixels."""

    size: Size

    def __post_init__(self) -> None:
        _check(self.size)

    def one(self, image: FloatImage) -> FloatImage:
        """Crop one image ``(H, W, C)`` to ``(height, width, C)``. Raises ImageError if it is too small."""
        return _centre(image, self.size)


class SquareCrop(Transform):
    """The largest square in the middle."""

    def one(self, image: FloatImage) -> FloatImage:
        """Crop one image ``(H, W, C)`` to ``(side, side, C)``."""
        return _centre(image, (min(image.shape[:2]),) * 2)


def _centre(image: FloatImage, size: Size) -> FloatImage:
    """Cut the middle out; where it cannot be exact, half a pixel further up and left."""
    height, width = image.shape[:2]
    if size[0] > width or size[1] > height:
        raise ImageError(f"a crop of {size[0]}x{size[1]} does not fit into {width}x{height}")
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    return image[top : top + size[1], left : left + size[0]]
