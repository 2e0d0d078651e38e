"""All textures of a place in one image, with smaller copies of it for what is far away."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall.canvas import LEVEL, Bytes, Canvas
from darkside_cli.nightfall.mesh import Patch

_WIDTH = 1024
_MARGIN = 4
#: Sizes of the copies: each is half as wide as the one before.
LEVELS = 4


@dataclass(frozen=True)
class Atlas:
    """Textures of a place. ``surface`` (H, W, 4) is red, green, blue (gamma 2) and glass, ``relief`` (H, W, 4) the
    slope across and downwards (around 128), light that corners leave (255: all; twice), ``ident`` (H, W) what a
    texel is. Level n begins at ``corners[n]`` (x, y).
    """

    surface: Bytes
    relief: Bytes
    ident: Bytes
    corners: NDArray[np.float32]


class AtlasBuilder:
    """Finds room for canvases, row by row."""

    def __init__(self) -> None:
        self._placed: list[tuple[Canvas, int, int]] = []
        self._known: dict[int, Patch] = {}
        self._x = self._y = self._row = 0

    def add(self, canvas: Canvas) -> Patch:
        """Take in a canvas, once; it must not change afterwards."""
        known = self._known.get(id(canvas))
        if known is not None:
            return known
        height, width = canvas.ident.shape
        if width + 2 * _MARGIN > _WIDTH:
            raise ValueError(f"a texture is at most {_WIDTH - 2 * _MARGIN} texels wide, not {width}")
        if self._x + width + 2 * _MARGIN > _WIDTH:
            self._x, self._y, self._row = 0, self._y + self._row, 0
        x, y = self._x + _MARGIN, self._y + _MARGIN
        self._placed.append((canvas, x, y))
        self._x += width + 2 * _MARGIN
        self._row = max(self._row, height + 2 * _MARGIN)
        patch = self._known[id(canvas)] = Patch(x, y, width, height, canvas.scale)
        return patch

    def build(self) -> Atlas:
        """Put everything together."""
        height = -(-(self._y + self._row) // 8) * 8
        surface = np.zeros((height, _WIDTH * 3 // 2, 4), dtype=np.uint8)
        ident = np.zeros((height, _WIDTH * 3 // 2), dtype=np.uint8)
        heights = np.full((height, _WIDTH), LEVEL, dtype=np.uint8)
        for canvas, x, y in self._placed:
            h, w = canvas.ident.shape
            whole = np.s_[y - _MARGIN : y + h + _MARGIN, x - _MARGIN : x + w + _MARGIN]
            surface[whole] = _framed(np.asarray(cv2.merge([canvas.colour, canvas.glass])))
            ident[whole] = _framed(canvas.ident)
            heights[whole] = _framed(canvas.relief)
        # A texel that lies below its surroundings gets less of the sky's light.
        depth = cv2.subtract(cv2.blur(heights, (9, 9)), heights)
        corner = 255 - np.minimum(depth, 60) * 2
        relief = np.empty((height, _WIDTH * 3 // 2, 4), dtype=np.uint8)
        relief[:] = 128, 128, 255, 255  # flat, for what is looked up a little beside a level
        relief[:, :_WIDTH] = cv2.merge([_slope(heights, 1, 0), _slope(heights, 0, 1), corner, corner])
        corners = [(0, 0)]
        x, y, w, h = 0, 0, _WIDTH, height
        for level in range(1, LEVELS):
            to = (_WIDTH, 0) if level == 1 else (_WIDTH, y + h) if level == 2 else (x + w, y)
            part, into = np.s_[y : y + h, x : x + w], np.s_[to[1] : to[1] + h // 2, to[0] : to[0] + w // 2]
            for layer in (surface, relief):
                layer[into] = cv2.resize(layer[part], (w // 2, h // 2), interpolation=cv2.INTER_AREA)
            ident[into] = ident[part][1::2, 1::2]
            (x, y), w, h = to, w // 2, h // 2
            corners.append((x, y))
        return Atlas(surface, relief, ident, np.array(corners, dtype=np.float32))


def _framed(layer: Bytes) -> Bytes:
    """Repeat the border outwards, so that no neighbour shines in."""
    framed: Bytes = cv2.copyMakeBorder(layer, _MARGIN, _MARGIN, _MARGIN, _MARGIN, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    return framed


def _slope(heights: Bytes, dx: int, dy: int) -> Bytes:
    slope = np.asarray(cv2.Sobel(heights, cv2.CV_16S, dx, dy, ksize=3), dtype=np.int16)
    slope >>= 1
    slope += 128
    np.clip(slope, 0, 255, out=slope)
    return slope.astype(np.uint8)
