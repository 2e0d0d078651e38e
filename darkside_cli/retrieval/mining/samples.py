"""Images among what loaders and trainings of others pass on: which values are images, and how they are checked.

Tensors ``(…, 3, H, W)`` of floats in [0, 1] or uint8, images of PIL, and arrays ``(H, W, 3)`` or ``(B, H, W, 3)`` of
uint8 RGB, alone or in tuples, lists and dicts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from darkside_cli.errors import UsageError
from darkside_cli.images.colour import FloatImage, Pixels

#: Values of images are in [0, 1]; what resizing adds is let through, what was normalised is not.
_LEAST, _MOST = -0.5, 1.5


def require_images(sample: Any) -> None:
    """Raise UsageError if there is no image in ``sample``: itself, or in its tuples, lists and dicts."""
    if _holds_images(sample):
        return
    what = f"a {type(sample).__name__}"
    if isinstance(sample, Tensor):
        kind = "tensor" if _is_plain(sample) else type(sample).__name__
        what = f"a {kind} of shape {tuple(sample.shape)} and type {sample.dtype}"
    elif isinstance(sample, np.ndarray):
        what = f"an array of shape {sample.shape} and type {sample.dtype}"
    raise UsageError(
        f"{what} holds no images",
        hint="give (B, 3, H, W) floats in [0, 1] or uint8, images of PIL, or arrays (H, W, 3) of uint8",
    )


def _holds_images(sample: Any) -> bool:
    if isinstance(sample, Tensor):
        return is_image(sample)
    if isinstance(sample, (dict, tuple, list)):
        return any(map(_holds_images, sample.values() if isinstance(sample, dict) else sample))
    return isinstance(sample, Image.Image) or is_array_of_images(sample)


def is_image(x: Tensor) -> bool:
    """Whether a tensor is an image, or a batch of them."""
    shaped = x.ndim >= 3 and x.shape[-3] == 3 and (x.is_floating_point() or x.dtype == torch.uint8)
    return shaped and (_is_plain(x) or _says_image(x))


def _is_plain(x: Tensor) -> bool:
    return type(x) in (Tensor, nn.Parameter)


def _says_image(x: Tensor) -> bool:
    """Whether a tensor of a type of its own is of images, as torchvision's masks and boxes are not."""
    from torchvision import tv_tensors

    return isinstance(x, (tv_tensors.Image, tv_tensors.Video)) or not isinstance(x, tv_tensors.TVTensor)


def is_array_of_images(x: Any) -> bool:
    """Whether ``x`` is an array that is an image, or a batch of them."""
    return isinstance(x, np.ndarray) and x.dtype == np.uint8 and x.ndim in (3, 4) and x.shape[-1] == 3


def require_limits(limits: Tensor) -> None:
    """Raise UsageError if ``limits`` (2), the least and the greatest value of images, are not those of [0, 1]."""
    least, most = limits.tolist()
    if least != least:
        raise UsageError(
            "images hold NaN, which is no number",
            hint="see what was done to them before, or where they are from",
        )
    if not (least >= _LEAST and most <= _MOST):
        raise UsageError(
            f"images have values from {least:.2f} to {most:.2f}, not in [0, 1]",
            hint="make night of them before they are normalised",
        )


def to_levels(night: FloatImage) -> Pixels:
    """Levels (H, W, 3) uint8 of an image (H, W, 3), cut to [0, 1]."""
    return np.rint(np.clip(night, 0, 1) * 255).astype(np.uint8)


def to_pixels(day: Tensor) -> Pixels:
    """Levels (H, W, 3) uint8 of an image (3, H, W) in [0, 1]."""
    return np.ascontiguousarray((day * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy())
