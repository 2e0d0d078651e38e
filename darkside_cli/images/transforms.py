"""From a photograph to a network's input, step by step, as published networks were trained.

A pipeline prints as what it does::

    Compose(
        Pil2Numpy()
        ApplyClahe(clip_limit=1.0, grid_size=8, colorspace=lab)
        ToTensor()
        Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], strict_shape=True)
    )
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from darkside_cli.errors import ConfigError, ImageError
from darkside_cli.images.boxes import Box
from darkside_cli.images.colour import FloatImage, to_rgb
from darkside_cli.images.settings import ClaheSettings

_LIGHTEST, _LEVELS = np.float32(100), np.float32(255)
_USUAL = ClaheSettings()


@dataclass(eq=False, repr=False)
class Transform:
    """One step. Calling it takes one image; :meth:`apply` takes several that are to be treated alike."""

    def __call__(self, image: Any) -> Any:
        """Transform one image."""
        return self.apply([image])[0]

    def apply(self, images: Sequence[Any]) -> list[Any]:
        """Transform images that belong together (a random crop cuts all at the same place)."""
        return [self.one(image) for image in images]

    def one(self, image: Any) -> Any:
        """Transform an image that depends on no other."""
        raise NotImplementedError

    def __repr__(self) -> str:
        shown = {field.name: getattr(self, field.name) for field in fields(self) if field.repr}
        texts = (f"{name}={list(v) if isinstance(v, tuple) else v}" for name, v in shown.items())
        return f"{type(self).__name__}({', '.join(texts)})"


class Compose(Transform):
    """Steps one after the other."""

    def __init__(self, steps: Sequence[Transform]) -> None:
        self.steps = tuple(steps)

    def apply(self, images: Sequence[Any]) -> list[Any]:
        """All images through every step."""
        results = list(images)
        for step in self.steps:
            results = step.apply(results)
        return results

    def __repr__(self) -> str:
        return "\n".join(["Compose(", *(f"    {step!r}" for step in self.steps), ")"])


class Pil2Numpy(Transform):
    """A Pillow image of any mode, or RGB ``(H, W, 3)`` uint8, to float32 RGB ``(H, W, 3)`` in [0, 1]."""

    def one(self, image: Image.Image | np.ndarray[Any, Any]) -> FloatImage:
        """Convert one image. Raises ImageError for pixels that mean no colour."""
        if isinstance(image, Image.Image):
            image.load()
            image = np.asarray(image if image.mode == "RGB" else to_rgb(image).rgb)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ImageError(f"expected an RGB image of 8 bits, not an array {image.shape} {image.dtype}")
        return image.astype(np.float32) / np.float32(255)


class ApplyClahe(Transform):
    """:func:`apply_clahe` of a float image."""

    def __init__(self, clip_limit: float = 1.0, grid_size: int = 8) -> None:
        self.settings = ClaheSettings(float(clip_limit), grid_size)

    def one(self, image: FloatImage) -> FloatImage:
        """Equalise one image ``(H, W, 3)`` in [0, 1]."""
        return apply_clahe(image, self.settings)

    def __repr__(self) -> str:
        settings = self.settings
        return f"ApplyClahe(clip_limit={settings.clip_limit}, grid_size={settings.grid_size}, colorspace=lab)"


class ToTensor(Transform):
    """A float image ``(H, W, C)`` to a tensor ``(C, H, W)``, float32, values as they are."""

    def one(self, image: FloatImage) -> Tensor:
        """Convert one image."""
        if image.ndim != 3 or not np.issubdtype(image.dtype, np.floating):
            raise ImageError(f"expected a float image (H, W, C), not an array {image.shape} {image.dtype}")
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))


@dataclass(eq=False, repr=False)
class Normalize(Transform):
    """``(x - mean) / std`` per channel of a tensor ``(C, H, W)``.

    ``strict_shape`` refuses tensors that have not exactly as many channels as there are means; otherwise one
    channel is broadcast.
    """

    mean: Sequence[float]
    std: Sequence[float]
    strict_shape: bool = True

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise ConfigError(
                f"mean {list(self.mean)} and std {list(self.std)} do not belong to the same channels"
            )
        self.mean, self.std = tuple(map(float, self.mean)), tuple(map(float, self.std))

    def one(self, image: Tensor) -> Tensor:
        """Normalise one image. Raises ImageError for another number of channels."""
        if image.ndim != 3 or (self.strict_shape and image.shape[0] != len(self.mean)):
            raise ImageError(f"expected ({len(self.mean)}, H, W), not a tensor {tuple(image.shape)}")
        mean, std = (image.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (image - mean) / std


@dataclass(eq=False, repr=False)
class Downscale(Transform):
    """Shrink, never enlarge, to a longest side of ``size`` pixels.

    Float images go through 8 bits: ``x * 255`` is *truncated* (so k/255 can become k-1), shrunk, divided.
    """

    size: int

    def one(self, image: Image.Image | FloatImage) -> Image.Image | FloatImage:
        """Shrink a Pillow image, or a float one ``(H, W, 3)`` in [0, 1]."""
        if isinstance(image, Image.Image):
            return shrink(image, self.size)
        levels = Image.fromarray((image * np.float32(255)).astype(np.uint8))
        return np.asarray(shrink(levels, self.size)).astype(np.float32) / np.float32(255)


def shrink(image: Image.Image, limit_px: float) -> Image.Image:
    """Copy of ``image``, its longest side at most ``limit_px``: Pillow's thumbnail with Lanczos.

    The limit may be a fraction. Raises ImageError if nothing would be left.
    """
    if limit_px < 1:
        raise ImageError(f"an image cannot be shrunk to {limit_px:g} pixels")
    copy = image.copy()
    copy.thumbnail((limit_px, limit_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return copy


def crop_and_shrink(image: Image.Image, size_px: int | None, box: Box | None = None) -> Image.Image:
    """Prepare an image for a retrieval network, as the benchmarks do it.

    Without ``box`` the longest side becomes at most ``size_px``. With one, it is cut out first, and its
    longest side becomes at most ``size_px * longest side of the box / longest side of the whole``: what is in
    the box then has the same scale as in the whole image. ``size_px`` None leaves the size alone.

    Raises ImageError for a box with nothing of the image in it.
    """
    limit: float | None = size_px
    if box is not None:
        whole_px = max(image.size)
        left, upper, right, lower = (round(value) for value in box)
        if max(left, 0) >= min(right, image.width) or max(upper, 0) >= min(lower, image.height):
            raise ImageError(f"the box {box} holds nothing of an image of {image.width}x{image.height}")
        image = image.crop((left, upper, right, lower))
        limit = None if size_px is None else size_px * max(image.size) / whole_px
    return image if limit is None else shrink(image, limit)


def descriptor_transform(
    mean: Sequence[float], std: Sequence[float], clahe: ClaheSettings | None = None
) -> Compose:
    """Compose what a retrieval network's images go through: perhaps CLAHE, tensor, normalisation."""
    equalise = [] if clahe is None else [ApplyClahe(clahe.clip_limit, clahe.grid_size)]
    return Compose([Pil2Numpy(), *equalise, ToTensor(), Normalize(mean, std)])


# CLAHE, contrast-limited adaptive histogram equalisation, of lightness: Zuiderveld, Graphics Gems IV, 1994; used on
# night images for retrieval by Jenicek and Chum, "No Fear of the Dark", ICCV 2019. The steps and roundings are those
# that published descriptors were trained with.


def apply_clahe(image: FloatImage, settings: ClaheSettings = _USUAL) -> FloatImage:
    """Equalise the lightness of an RGB image ``(H, W, 3)`` in [0, 1], float32; the colours a and b stay.

    The lightness goes through 8 bits, *truncated*, on the way. The result can leave [0, 1] a little: it is
    not clipped. Safe to call from several threads.
    """
    lab = _to_lab(image)
    levels = (lab[..., 0] / _LIGHTEST * _LEVELS).astype(np.uint8)
    tiles = (settings.grid_size, settings.grid_size)
    equalised = cv2.createCLAHE(clipLimit=settings.clip_limit, tileGridSize=tiles).apply(levels)
    lab[..., 0] = equalised.astype(np.float32) / _LEVELS * _LIGHTEST
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.float32)


def _to_lab(image: FloatImage) -> FloatImage:
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.float32:
        raise ValueError(f"CLAHE takes (H, W, 3) float32, not {image.shape} {image.dtype}")
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB), dtype=np.float32)
