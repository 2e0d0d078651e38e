"""Textures of what stands about: trees, people, cars, lamps, boards; roofs and grounds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from darkside_cli.nightfall.canvas import HOLE, LAMP, LEVEL, Canvas, Colour, disc, mix, noise_tile, shade
from darkside_cli.nightfall.dice import Dice
from darkside_cli.nightfall.signs import letters, sign

#: What car lamps are to the lights of the night.
HEADLIGHT, TAILLIGHT = LAMP + 1, LAMP + 2


def plain(
    colour: Colour, dice: Dice, *, scale: float = 4.0, size_m: float = 8.0, strength: float = 0.15
) -> Canvas:
    """Paint a mottled surface."""
    canvas = Canvas.blank(size_m, size_m, scale, colour)
    canvas.mottle(dice, strength, 2.0)
    return canvas


def roof(colour: Colour, dice: Dice, width: float = 12.0, height: float = 8.0) -> Canvas:
    """Paint rows of tiles or seams of sheet metal, perhaps with dormers."""
    canvas = Canvas.blank(width, height, 6.0, colour)
    canvas.mottle(dice, 0.22, 1.5)
    if dice.chance(0.6):
        for row in range(int(height / 0.45)):
            canvas.rect(0, row * 0.45, width, row * 0.45 + 0.1, shade(colour, 0.72), relief=LEVEL - 12)
    else:
        for column in range(int(width / 0.7)):
            canvas.rect(column * 0.7, 0, column * 0.7 + 0.1, height, shade(colour, 1.2), relief=LEVEL + 20)
    return canvas


def tree(dice: Dice, *, bare: bool = False) -> Canvas:
    """Paint a tree of about 6 x 8 m: a crown of leaves with gaps, on a trunk."""
    canvas = Canvas.blank(6.0, 8.0, 12.0, (0.3, 0.4, 0.2))
    rows, columns = canvas.ident.shape
    y, x = np.mgrid[0:rows, 0:columns]
    tile = noise_tile().astype(np.int32)
    turn = dice.integer(0, 255)
    fine = tile[(y * 3 + turn) % 256, (x * 3 + turn * 7) % 256]
    coarse = tile[(y + turn * 3) % 256, (x + turn) % 256]
    inside = np.full((rows, columns), -1000, dtype=np.int64)
    light = np.zeros((rows, columns), dtype=np.int64)
    middle = rows * 0.36
    tall = dice.chance(0.25)
    for _ in range(9 if not tall else 7):
        r = dice.uniform(0.18, 0.3) * columns * (0.7 if tall else 1.0)
        cx = columns / 2 + dice.uniform(-1, 1) * (columns * (0.12 if tall else 0.42) - r * 0.6)
        cy = middle + dice.uniform(-1, 1) * (rows * (0.3 if tall else 0.22))
        part = ((r * r - (x - cx) ** 2 - (y - cy) ** 2) / (r * r) * 256).astype(np.int64)
        light = np.where(part > inside, ((cy - y) / r * 40).astype(np.int64), light)
        inside = np.maximum(inside, part)
    leaves = (inside + (fine - 128) * (4 if bare else 2) + (coarse - 128)) > (150 if bare else 20)
    green = mix((0.28, 0.40, 0.16), (0.42, 0.44, 0.2), dice.uniform())
    if dice.chance(0.12):
        green = (0.55, 0.36, 0.16)
    level = np.clip(200 + light + (fine - 128) * 3 // 4, 60, 330)
    canvas.colour[:] = np.clip(
        level[..., None] * np.array([round(part * 256) for part in green]) >> 8, 0, 255
    )
    canvas.relief[:] = np.clip(LEVEL + (fine - 128) // 3, 0, 255)
    canvas.ident[:] = HOLE
    trunk = 0.16
    canvas.rect(3 - trunk, 0, 3 + trunk, 5.0, (0.28, 0.22, 0.17), ident=0)
    for _ in range(7 if bare else 3):
        a, b = dice.uniform(2.2, 4.2), dice.uniform(-1.8, 1.8)
        canvas.shape(
            [(3, a), (3 + b, a + 1.6), (3 + b, a + 1.75), (3, a + 0.22)], (0.27, 0.21, 0.16), ident=0
        )
    canvas.ident[leaves] = 0
    return canvas


def person(dice: Dice) -> Canvas:
    """Paint somebody, 0.8 x 1.8 m, standing or walking."""
    canvas = Canvas.blank(0.9, 1.85, 24.0, (0.2, 0.2, 0.2))
    canvas.ident[:] = HOLE
    coat = dice.choice(
        (
            (0.2, 0.22, 0.28),
            (0.55, 0.2, 0.2),
            (0.75, 0.72, 0.66),
            (0.2, 0.3, 0.45),
            (0.3, 0.34, 0.24),
            (0.85, 0.7, 0.3),
        )
    )
    legs = dice.choice(((0.16, 0.16, 0.2), (0.3, 0.34, 0.45), (0.4, 0.36, 0.3)))
    skin = dice.choice(((0.85, 0.68, 0.58), (0.6, 0.44, 0.34), (0.4, 0.28, 0.22)))
    stride = dice.uniform(0.02, 0.2)
    m = 0.45
    for side in (-1, 1):
        foot = m + side * (0.06 + stride)
        canvas.shape(
            [
                (foot - 0.07, 0),
                (foot + 0.07, 0),
                (m + side * 0.03 + 0.09, 0.9),
                (m + side * 0.03 - 0.09, 0.9),
            ],
            legs,
            ident=0,
        )
    canvas.shape([(m - 0.2, 0.75), (m + 0.2, 0.75), (m + 0.24, 1.45), (m - 0.24, 1.45)], coat, ident=0)
    canvas.shape(disc(m, 1.64, 0.13), skin, ident=0)
    if dice.chance(0.7):
        canvas.shape(
            [(m - 0.14, 1.64), (m + 0.14, 1.64), (m + 0.1, 1.8), (m - 0.1, 1.8)], (0.2, 0.15, 0.1), ident=0
        )
    return canvas


def car_sides(dice: Dice) -> tuple[Canvas, Canvas, Canvas, Canvas]:
    """Paint a car: side (4.4 x 1.4 m, with holes around it), front, back (1.8 x 1.4 m) and top."""
    paint = dice.choice(
        (
            (0.7, 0.12, 0.1),
            (0.85, 0.85, 0.86),
            (0.2, 0.22, 0.25),
            (0.15, 0.25, 0.5),
            (0.6, 0.62, 0.65),
            (0.85, 0.7, 0.15),
        )
    )
    dark, pane = (0.08, 0.08, 0.09), (0.14, 0.17, 0.2)
    side = Canvas.blank(4.4, 1.45, 16.0, paint)
    side.ident[:] = HOLE
    side.shape([(0.05, 0.3), (4.35, 0.3), (4.35, 0.75), (3.6, 0.85), (0.1, 0.9)], paint, ident=0)
    side.shape([(0.5, 0.85), (3.5, 0.85), (2.75, 1.42), (1.1, 1.42)], paint, ident=0)
    side.shape([(0.75, 0.88), (3.15, 0.88), (2.65, 1.35), (1.2, 1.35)], pane, glass=230)
    side.rect(1.95, 0.86, 2.05, 1.38, paint, glass=0)
    for x in (0.85, 3.5):
        side.shape(disc(x, 0.33, 0.33), dark, ident=0)
        side.shape(disc(x, 0.33, 0.17), (0.55, 0.55, 0.56), ident=0)
    ends = []
    for lamp, colour in ((HEADLIGHT, (0.95, 0.95, 0.9)), (TAILLIGHT, (0.7, 0.1, 0.1))):
        end = Canvas.blank(1.8, 1.45, 16.0, paint)
        end.ident[:] = HOLE
        end.rect(0.02, 0.25, 1.78, 0.88, paint, ident=0)
        end.shape([(0.1, 0.86), (1.7, 0.86), (1.45, 1.42), (0.35, 1.42)], paint, ident=0)
        end.shape([(0.25, 0.9), (1.55, 0.9), (1.38, 1.34), (0.42, 1.34)], pane, glass=230)
        end.rect(0.02, 0, 0.3, 0.3, dark, ident=0)
        end.rect(1.5, 0, 1.78, 0.3, dark, ident=0)
        end.rect(0.6, 0.38, 1.2, 0.55, (0.85, 0.85, 0.8), ident=0)
        for x in (0.1, 1.4):
            end.rect(x, 0.58, x + 0.3, 0.76, colour, ident=lamp)
        ends.append(end)
    return side, ends[0], ends[1], plain(paint, dice, scale=6.0, size_m=2.0, strength=0.04)


def lamp_post(dice: Dice, kind: str) -> Canvas:
    """Paint a street lamp, 1.6 x 6 m (``kind`` "arm": its head hangs at the right) or 4 m (``kind`` "globe")."""
    arm = kind == "arm"
    height = 6.0 if arm else 4.0
    canvas = Canvas.blank(1.6, height, 16.0, (0.2, 0.22, 0.22))
    canvas.ident[:] = HOLE
    metal = dice.choice(((0.2, 0.22, 0.22), (0.3, 0.34, 0.3), (0.5, 0.5, 0.5)))
    x = 0.3 if arm else 0.8
    canvas.rect(x - 0.06, 0, x + 0.06, height - 0.3, metal, ident=0)
    canvas.rect(x - 0.12, 0, x + 0.12, 0.7, metal, ident=0)
    if arm:
        canvas.rect(x, height - 0.35, 1.3, height - 0.25, metal, ident=0)
        canvas.rect(0.85, height - 0.5, 1.45, height - 0.3, (0.85, 0.85, 0.8), ident=LAMP)
    else:
        canvas.shape(disc(x, height - 0.35, 0.3), (0.9, 0.9, 0.85), ident=LAMP)
    return canvas


def billboard(dice: Dice, width: float, height: float) -> Canvas:
    """Paint a large board: an image of blocks and lettering, or a sign alone."""
    canvas = Canvas.blank(width, height, 10.0, (0.9, 0.9, 0.88))
    sign(canvas, dice, 0, 0, width, height)
    if dice.chance(0.6):
        ident = int(canvas.ident.max()) or 210
        for _ in range(dice.integer(3, 7)):
            colour = (dice.uniform(0.1, 1), dice.uniform(0.1, 1), dice.uniform(0.1, 1))
            x, y, r = dice.uniform(0, width), dice.uniform(0, height), dice.uniform(0.1, 0.4) * height
            if dice.chance(0.5):
                canvas.shape(disc(x, y, r), colour, ident=ident)
            else:
                canvas.rect(x, y, x + r * 2, y + r, colour, ident=ident)
        letters(canvas, dice, width * 0.1, height * 0.1, width * 0.9, height * 0.3, (0.97, 0.97, 0.95), ident)
    return canvas


def pavement(dice: Dice, width: float, depth: float, *, kind: str, scale: float = 6.0) -> Canvas:
    """Paint ground of ``width`` x ``depth`` metres, its lower edge the nearer one.

    ``kind`` is plaza (slabs in a pattern), park (lawns and paths) or cobbles; :func:`add_road` puts a road on it.
    """
    light = dice.uniform(0.5, 0.72)
    colour = (light, light * dice.uniform(0.94, 0.99), light * dice.uniform(0.84, 0.96))
    if kind == "park":
        grass = mix((0.34, 0.45, 0.2), (0.46, 0.48, 0.26), dice.uniform())
        canvas = Canvas.blank(width, depth, scale, grass)
        canvas.mottle(dice, 0.3, 3.0)
        for x in (width / 2 - 2, *(width * dice.uniform(0.1, 0.9) for _ in range(2))):
            canvas.rect(x, 0, x + 4, depth, shade(colour, 1.05))
        for y in (depth * 0.3, depth * dice.uniform(0.5, 0.9)):
            canvas.rect(0, y, width, y + 3, shade(colour, 1.05))
        return canvas
    canvas = Canvas.blank(width, depth, scale, colour)
    canvas.mottle(dice, 0.16, 4.0)
    pitch = dice.uniform(1.0, 1.6) if kind == "cobbles" else dice.uniform(2, 4)
    joint = shade(colour, 0.82)
    for k in range(int(width / pitch) + 1):
        canvas.rect(k * pitch, 0, k * pitch + 0.1, depth, joint)
    for k in range(int(depth / pitch) + 1):
        canvas.rect(0, k * pitch, width, k * pitch + 0.1, joint)
    if kind == "plaza" and dice.chance(0.6):
        other = shade(colour, dice.choice((0.72, 1.25)))
        if dice.chance(0.5):
            for n in range(3):
                canvas.shape(disc(width / 2, depth * 0.55, 16 - 5 * n), other if n % 2 == 0 else colour)
        else:
            for k in range(0, int(width / pitch), 4):
                canvas.rect(k * pitch, 0, (k + 1) * pitch, depth, other)
    return canvas


def add_road(canvas: Canvas, dice: Dice, bottom: float, top: float) -> None:
    """Paint a road across the ground, with its kerbs, middle line and perhaps a crossing."""
    asphalt = dice.uniform(0.3, 0.42)
    width = canvas.width_m
    canvas.rect(0, bottom - 0.5, width, top + 0.5, (0.66, 0.65, 0.62))
    canvas.rect(0, bottom, width, top, (asphalt, asphalt, asphalt * 1.02))
    middle, x = (bottom + top) / 2, 0.0
    while x < width:
        canvas.rect(x, middle - 0.09, x + 3, middle + 0.09, (0.85, 0.85, 0.82))
        x += 6
    if dice.chance(0.6):
        left = width * dice.uniform(0.3, 0.7)
        for k in range(int((top - bottom) / 1.0)):
            canvas.rect(left, bottom + k + 0.2, left + 3.5, bottom + k + 0.7, (0.86, 0.86, 0.84))


def add_lane(canvas: Canvas, dice: Dice, left: float, right: float) -> None:
    """Paint a road that leads away, with its kerbs and lines."""
    asphalt = dice.uniform(0.3, 0.42)
    depth = canvas.height_m
    canvas.rect(left - 0.5, 0, right + 0.5, depth, (0.66, 0.65, 0.62))
    canvas.rect(left, 0, right, depth, (asphalt, asphalt, asphalt * 1.02))
    y = 0.0
    while y < depth:
        canvas.rect((left + right) / 2 - 0.09, y, (left + right) / 2 + 0.09, y + 3, (0.85, 0.85, 0.82))
        y += 6


@lru_cache(maxsize=1)
def people() -> tuple[Canvas, ...]:
    """Everybody who walks about in the city."""
    return tuple(person(Dice("nightfall", "person", n)) for n in range(16))


@lru_cache(maxsize=1)
def cars() -> tuple[tuple[Canvas, Canvas, Canvas, Canvas], ...]:
    """All cars of the city."""
    return tuple(car_sides(Dice("nightfall", "car", n)) for n in range(10))


@lru_cache(maxsize=1)
def trees() -> tuple[Canvas, ...]:
    """All shapes of trees in leaf, and, the last three, of bare ones."""
    return tuple(tree(Dice("nightfall", "tree", n), bare=n >= 11) for n in range(14))
