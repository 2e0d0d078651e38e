"""CLAHE, contrast-limited adaptive histogram equalisation, of an image's lightness.

Zuiderveld, Graphics Gems IV, 1994; used on night images for retrieval by Jenicek and Chum, "No Fear of the Dark",
ICCV 2019. The steps and roundings are those that published descriptors were trained with.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from darkside_cli.images.clahe_settings import ClaheSettings

__all__ = ["ClaheSettings", "FloatImage", "apply_clahe", "lightness"]

FloatImage = NDArray[np.float32]

_LIGHTEST = np.float32(100)
_LEVELS = np.float32(255)
_USUAL = ClaheSettings()


def lightness(image: FloatImage) -> FloatImage:
    """Lightness of CIE LAB in [0, 1], ``(H, W)``, of an RGB image ``(H, W, 3)`` in [0, 1]."""
    return np.ascontiguousarray(_to_lab(image)[..., 0] / _LIGHTEST)


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
