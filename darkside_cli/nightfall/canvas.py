"""A wall to paint on: colour, relief, glass and what glows at night, layer upon layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall.dice import Dice

Bytes = NDArray[np.uint8]
Colour = tuple[float, float, float]

#: What a texel is, besides its colour: nothing, one of the windows 1 to WINDOWS, a lamp or sign from SIGN on, a hole.
WINDOWS, SIGN, LAMP, HOLE = 199, 200, 240, 255
#: Relief of a flat wall; a step is about a centimetre.
LEVEL = 100


@dataclass
class Canvas:
    """Layers of one texture, (H, W) each; metres are measured from the lower left corner.

    ``colour`` (H, W, 3) RGB with gamma 2 (reflectance is its square), ``relief`` heights around LEVEL, ``glass`` 255
    where it mirrors the sky, ``ident`` what a texel is.
    """

    colour: Bytes
    relief: Bytes
    glass: Bytes
    ident: Bytes
    scale: float

    @classmethod
    def blank(cls, width_m: float, height_m: float, scale: float, colour: Colour) -> Canvas:
        """Make a flat wall of one colour with ``scale`` texels a metre."""
        shape = max(4, round(height_m * scale)), max(4, round(width_m * scale))
        plain = np.empty((*shape, 3), dtype=np.uint8)
        for k, part in enumerate(to_bytes(colour)):
            plain[..., k] = part
        return cls(
            plain,
            np.full(shape, LEVEL, dtype=np.uint8),
            np.zeros(shape, dtype=np.uint8),
            np.zeros(shape, dtype=np.uint8),
            scale,
        )

    @property
    def width_m(self) -> float:
        """Width in metres."""
        return float(self.colour.shape[1] / self.scale)

    @property
    def height_m(self) -> float:
        """Height in metres."""
        return float(self.colour.shape[0] / self.scale)

    def rect(
        self,
        left: float,
        bottom: float,
        right: float,
        top: float,
        colour: Colour | None = None,
        *,
        relief: int | None = None,
        glass: int | None = None,
        ident: int | None = None,
    ) -> None:
        """Paint a rectangle on the layers that are given; it is at least one texel wide and high."""
        part = self.texels(left, bottom, right, top)
        if colour is not None:
            self.colour[part] = to_bytes(colour)
        if relief is not None:
            self.relief[part] = relief
        if glass is not None:
            self.glass[part] = glass
        if ident is not None:
            self.ident[part] = ident

    def shape(
        self,
        outline: list[tuple[float, float]],
        colour: Colour | None = None,
        *,
        relief: int | None = None,
        glass: int | None = None,
        ident: int | None = None,
    ) -> None:
        """Paint a polygon, as :meth:`rect` does."""
        height = self.colour.shape[0]
        points = np.array(
            [
                [round((x * self.scale - 0.5) * 16), round((height - y * self.scale - 0.5) * 16)]
                for x, y in outline
            ],
            dtype=np.int32,
        )
        if colour is not None:
            cv2.fillPoly(self.colour, [points], to_bytes(colour), shift=4)
        for layer, value in ((self.relief, relief), (self.glass, glass), (self.ident, ident)):
            if value is not None:
                cv2.fillPoly(layer, [points], (value,), shift=4)

    def stamp(
        self, other: Canvas, left: float, bottom: float, ident: int | None = None, tint: int = 0
    ) -> None:
        """Copy a smaller canvas of the same scale; where it has a window, ``ident`` and ``tint`` make it this one."""
        h, w = other.colour.shape[:2]
        y = self.colour.shape[0] - round(bottom * self.scale) - h
        x = round(left * self.scale)
        y0, x0 = max(0, y), max(0, x)
        y1, x1 = min(self.colour.shape[0], y + h), min(self.colour.shape[1], x + w)
        if y1 <= y0 or x1 <= x0:
            return
        part = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
        there = np.s_[y0:y1, x0:x1]
        solid = other.ident[part] != HOLE
        pane = other.glass[part] > 0
        colour = other.colour[part]
        if tint:
            colour = np.where(
                pane[..., None], np.clip(colour.astype(np.int16) + tint, 0, 255).astype(np.uint8), colour
            )
        np.copyto(self.colour[there], colour, where=solid[..., None])
        np.copyto(self.relief[there], other.relief[part], where=solid)
        np.copyto(self.glass[there], other.glass[part], where=solid)
        np.copyto(self.ident[there], other.ident[part], where=solid)
        if ident is not None:
            np.copyto(self.ident[there], np.uint8(ident), where=solid & (other.ident[part] == WINDOWS))

    def mottle(self, dice: Dice, strength: float, size_m: float = 2.0) -> None:
        """Make the colour uneven by up to ``strength`` (of 1), in blotches of about ``size_m`` and smaller."""
        height, width = self.ident.shape
        step = max(1, round(24 / (size_m * self.scale)))
        rows = (np.arange(height) * step + dice.integer(0, 255)) & 255
        columns = (np.arange(width) * step + dice.integer(0, 255)) & 255
        tile = noise_tile().astype(np.int32)
        tile -= 128
        tile *= round(512 * strength)
        tile >>= 8
        tile += 256
        self.darken(tile[rows][:, columns])

    def darken(self, factor: NDArray[np.int32]) -> None:
        """Multiply the colour by ``factor`` (H, W), of which 256 leaves it as it is."""
        for k in range(3):
            layer = self.colour[..., k] * factor
            layer >>= 8
            np.minimum(layer, 255, out=layer)
            self.colour[..., k] = layer

    def texels(self, left: float, bottom: float, right: float, top: float) -> tuple[slice, slice]:
        """Rows and columns of a rectangle given in metres; at least one of each where it is on the canvas."""
        height, width = self.ident.shape
        x0, y1 = round(left * self.scale), height - round(bottom * self.scale)
        x1, y0 = max(x0 + 1, round(right * self.scale)), height - round(top * self.scale)
        y0 = min(y0, y1 - 1)
        return slice(max(0, y0), max(0, min(height, y1))), slice(max(0, x0), max(0, min(width, x1)))


def to_bytes(colour: Colour) -> tuple[int, int, int]:
    """Give an RGB colour of 0 to 1 in bytes."""
    r, g, b = colour
    return _to_byte(r), _to_byte(g), _to_byte(b)


def _to_byte(part: float) -> int:
    value = round(255 * part)
    return 0 if value < 0 else 255 if value > 255 else value


def shade(colour: Colour, factor: float) -> Colour:
    """Make a colour lighter or darker."""
    r, g, b = (max(0.0, min(1.0, part * factor)) for part in colour)
    return r, g, b


def mix(one: Colour, two: Colour, share: float) -> Colour:
    """Mix ``share`` of the second colour into the first."""
    r, g, b = (a + (c - a) * share for a, c in zip(one, two, strict=True))
    return r, g, b


def disc(x: float, y: float, radius: float, height: float | None = None) -> list[tuple[float, float]]:
    """Outline of a circle around (x, y), or of an ellipse as high as ``height`` is from its middle."""
    angles = [k * math.pi / 10 for k in range(20)]
    rise = radius if height is None else height
    return [(x + radius * math.cos(angle), y + rise * math.sin(angle)) for angle in angles]


def half_disc(x: float, y: float, radius: float, height: float | None = None) -> list[tuple[float, float]]:
    """Outline of the upper half of what :func:`disc` outlines."""
    return disc(x, y, radius, height)[:11]


@lru_cache(maxsize=1)
def noise_tile() -> Bytes:
    """Periodic noise (256, 256) with detail of every size, mean near 128."""
    dice = Dice("nightfall", "noise")
    total = np.zeros((256, 256), dtype=np.int32)
    for size, weight in ((4, 5), (8, 5), (16, 4), (32, 3), (64, 3), (128, 2), (256, 3)):
        grid = np.pad(dice.bytes(size, size), 1, mode="wrap")
        step = 256 // size
        large = (
            cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR_EXACT)
            if step > 1
            else grid
        )
        total += weight * large[step : step + 256, step : step + 256].astype(np.int32)
    total //= 25
    return np.clip((total - 128) * 9 // 4 + 128, 0, 255).astype(np.uint8)
