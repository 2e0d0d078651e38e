"""Network values to pixels, the way the published generators' pictures were written: truncated, not rounded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkside_cli.errors import ConfigError

STRETCHES = ("normalised", "none", "auto")


def to_pixels(image: NDArray[Any], *, stretch: str | float = "normalised") -> NDArray[np.uint8]:
    """Convert (C, H, W) floats to (H, W, C) uint8, or (H, W) if there is one channel.

    ``stretch`` says what range the values have: "normalised" is [-1, 1] (``x * 0.5 + 0.5``), "none" is [0, 1],
    "auto" stretches the smallest to 0 and the largest to 1 (all channels alike), and a number c maps
    ``(x * 0.5 + 1) / c``, for looking at values around a normalised range. Computed in float64, multiplied by 255,
    clipped and truncated. A constant image under "auto" becomes black.

    Raises ConfigError for another ``stretch``.
    """
    x = image.astype(np.float64)
    if stretch == "normalised":
        x = x * 0.5 + 0.5
    elif stretch == "auto":
        low, high = x.min(), x.max()
        x = (x - low) / (high - low) if high > low else np.zeros_like(x)
    elif isinstance(stretch, (int, float)) and stretch > 0:
        x = (x * 0.5 + 1) / stretch
    elif stretch != "none":
        raise ConfigError(f"unknown stretch {stretch!r}", hint=f"{', '.join(STRETCHES)} or a positive number")
    pixels = np.clip(x * 255, 0, 255).astype(np.uint8)
    return pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
