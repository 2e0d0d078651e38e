"""Façades: walls of every material, their windows, doors, shops and ornaments, painted with relief."""

from __future__ import annotations

import math

import numpy as np

from darkside_cli.nightfall.canvas import (
    HOLE,
    LEVEL,
    SIGN,
    WINDOWS,
    Canvas,
    Colour,
    mix,
    noise_tile,
    shade,
    to_bytes,
)
from darkside_cli.nightfall.dice import Dice
from darkside_cli.nightfall.signs import shop_row
from darkside_cli.nightfall.style import Style

#: Texels a metre of walls that are looked at from near by.
SCALE = 8.0


def facade(
    style: Style,
    dice: Dice,
    width: float,
    height: float,
    *,
    ground: str = "plain",
    crown: bool = True,
    scale: float = SCALE,
    windows: bool = True,
) -> Canvas:
    """Paint a wall of ``width`` x ``height`` metres.

    ``ground`` is what the ground floor has: plain (windows like above), shops, arcade, door (one portal in the
    middle) or blind. ``crown`` puts a cornice at the top.
    """
    canvas = wall(style, dice, width, height, scale=scale)
    base = 0.0 if ground == "plain" else min(height, style.storey * 1.25)
    floors = max(1, round((height - base - 0.6) / style.storey)) if height - base > 2.5 else 0
    bays = max(1, round((width - 0.8) / style.bay))
    if floors and windows:
        _window_grid(canvas, style, dice, base, floors, bays)
    if style.courses and floors > 1:
        for floor in range(floors):
            y = base + (height - base - 0.6) * floor / floors
            canvas.rect(0, y, width, y + 0.25, style.trim, relief=LEVEL + 22)
    if style.quoins and windows:
        _quoins(canvas, style)
    if ground == "shops":
        shop_row(canvas, style, dice, base)
    elif ground == "arcade":
        arcade(canvas, style, base, bays)
    elif ground == "door":
        portal(canvas, style, dice, width / 2, min(width * 0.3, 3.2), base * 0.9)
    if crown:
        canvas.rect(0, height - 0.75, width, height, style.trim, relief=LEVEL + 45)
        canvas.rect(0, height - 0.95, width, height - 0.75, shade(style.trim, 0.7), relief=LEVEL + 20)
    return canvas


def wall(style: Style, dice: Dice, width: float, height: float, *, scale: float = SCALE) -> Canvas:
    """Paint a bare wall of the style's material."""
    canvas = Canvas.blank(width, height, scale, style.wall)
    canvas.mottle(dice, 0.10 if style.material in ("glass", "panel") else 0.2, dice.uniform(1.5, 5))
    if style.material == "stone":
        _courses(canvas, dice, 0.55, 1.1, shade(style.wall, 0.82), relief=-7)
    elif style.material == "brick":
        _courses(canvas, dice, 0.26, 0.6, mix(style.wall, (0.8, 0.76, 0.7), 0.35), relief=-5)
    elif style.material in ("concrete", "panel"):
        _courses(canvas, dice, style.storey, style.bay, shade(style.wall, 0.75), relief=-12)
    _weather(canvas, dice)
    return canvas


def _courses(canvas: Canvas, dice: Dice, height: float, length: float, joint: Colour, *, relief: int) -> None:
    """Lay blocks in rows, every other row half a block further unless they are large; no two have quite one colour."""
    rows, columns = canvas.ident.shape
    texel = 1 / canvas.scale
    y = (rows - 0.5 - np.arange(rows))[:, None] * texel
    row = np.floor(y / height).astype(np.int64)
    x = (np.arange(columns) + 0.5)[None, :] * texel
    if length < 1.5:
        x = x + (row % 2) * (length / 2)
    block = np.floor(x / length).astype(np.int64)
    turn = dice.integer(0, 255)
    tone = noise_tile()[(row * 67 + turn) & 255, (block * 41 + turn) & 255].astype(np.int32)
    canvas.darken(200 + tone // 2)
    joints = y - row * height < texel
    if length * canvas.scale >= 4:
        joints = joints | (x - block * length < texel)
    else:
        joints = np.broadcast_to(joints, (rows, columns))
    canvas.colour[joints] = to_bytes(joint)
    canvas.relief[joints] = LEVEL + relief


def _weather(canvas: Canvas, dice: Dice) -> None:
    """Dirt that runs down, and a darker foot."""
    for _ in range(int(canvas.width_m / 3)):
        x = dice.uniform(0, canvas.width_m)
        top = dice.uniform(0.3, 1) * canvas.height_m
        rows, columns = canvas.texels(x, top - dice.uniform(1, 6), x + dice.uniform(0.1, 0.5), top)
        part = canvas.colour[rows, columns]
        part[:] = (part.astype("u2") * dice.integer(205, 245) >> 8).astype("u1")
    rows, columns = canvas.texels(0, 0, canvas.width_m, 0.7)
    part = canvas.colour[rows, columns]
    part[:] = (part.astype("u2") * 205 >> 8).astype("u1")


def _window_grid(canvas: Canvas, style: Style, dice: Dice, base: float, floors: int, bays: int) -> None:
    pitch_x = (canvas.width_m - 0.8) / bays
    pitch_y = (canvas.height_m - base - 0.6) / floors
    w, h = pitch_x * style.fill_x, pitch_y * style.fill_y
    pane = window(style, w, h, canvas.scale)
    top_pane = window(style, w, h * 0.75, canvas.scale) if floors > 2 and dice.chance(0.4) else pane
    blind = frozenset(n for n in range(bays) if bays > 4 and dice.chance(0.06))
    balcony = style.balconies if style.window != "band" else 0.0
    for floor in range(floors):
        for bay in range(bays):
            if bay in blind:
                continue
            x = 0.4 + pitch_x * (bay + 0.5) - pane.width_m / 2
            y = base + pitch_y * floor + (pitch_y - h) * 0.55
            canvas.stamp(
                top_pane if floor == floors - 1 else pane,
                x, y, ident=dice.integer(1, WINDOWS - 1), tint=dice.integer(-18, 50),
            )  # fmt: skip
            if balcony and floor > 0 and (bay * 7 + floor * 3) % 10 < balcony * 10:
                canvas.rect(x - 0.3, y - 0.35, x + w + 0.3, y - 0.15, style.trim, relief=LEVEL + 70)
                rows, columns = canvas.texels(x - 0.3, y - 0.15, x + w + 0.3, y + 0.7)
                canvas.colour[rows, columns.start : columns.stop : 2] = to_bytes(shade(style.trim, 0.5))


def window(style: Style, width: float, height: float, scale: float, kind: str = "") -> Canvas:
    """Paint one window with its frame; what is not part of it is a hole."""
    kind = kind or style.window
    room = 0.25 if kind != "band" else 0.0
    extra = {"pediment": 0.7, "shutters": 0.15, "arched": width / 2, "pointed": width * 0.8}.get(kind, 0.15)
    side = width * 0.5 if kind == "shutters" else room
    canvas = Canvas.blank(width + 2 * side, height + room + extra, scale, style.trim)
    canvas.ident[:] = HOLE
    left, right, low, high = side, side + width, room, room + height
    frame = {"colour": style.trim, "relief": LEVEL + 18, "ident": 0}
    inner = {"colour": style.pane, "relief": LEVEL - 28, "glass": 255, "ident": WINDOWS}
    bar = style.trim if style.material != "glass" else shade(style.wall, 0.6)
    f = 0.14
    if kind in ("arched", "pointed"):
        canvas.shape(_arch(left - f, right + f, low - f, high, kind), **frame)  # type: ignore[arg-type]
        canvas.shape(_arch(left, right, low, high, kind), **inner)  # type: ignore[arg-type]
    else:
        canvas.rect(left - f, low - f, right + f, high + f, **frame)  # type: ignore[arg-type]
        canvas.rect(left, low, right, high, **inner)  # type: ignore[arg-type]
    if kind in ("cross", "arched", "pointed", "shutters", "pediment") or (kind == "plain" and width > 1.6):
        middle = (left + right) / 2
        canvas.rect(middle - 0.04, low, middle + 0.04, high, bar, relief=LEVEL - 8, glass=0, ident=0)
    if kind in ("cross", "sash", "pediment", "band"):
        for part in (0.62,) if kind != "sash" else (0.34, 0.67):
            y = low + height * part
            canvas.rect(left, y, right, y + 0.08, bar, relief=LEVEL - 8, glass=0, ident=0)
    if kind == "shutters":
        for x in (left - side * 0.95, right + side * 0.1):
            canvas.rect(x, low, x + side * 0.85, high, style.accent, relief=LEVEL + 12, ident=0)
    if kind == "pediment":
        canvas.shape(
            [(left - 0.25, high + 0.15), (right + 0.25, high + 0.15), ((left + right) / 2, high + 0.65)],
            style.trim, relief=LEVEL + 50, ident=0,
        )  # fmt: skip
    if kind != "band":
        canvas.rect(left - 0.22, low - 0.25, right + 0.22, low - 0.05, style.trim, relief=LEVEL + 45, ident=0)
    return canvas


def _arch(left: float, right: float, low: float, high: float, kind: str) -> list[tuple[float, float]]:
    """Outline of an opening with a round or a pointed top over ``high``."""
    middle, half = (left + right) / 2, (right - left) / 2
    points = [(left, low), (right, low)]
    for n in range(9):
        if kind == "arched":
            angle = math.pi * n / 8
            points.append((middle + half * math.cos(angle), high + half * math.sin(angle)))
        else:
            u = n / 4 - 1
            points.append((middle - half * u, high + half * 1.5 * (1 - abs(u)) ** 0.5 * (1 - 0.15 * abs(u))))
    return points


def _quoins(canvas: Canvas, style: Style) -> None:
    for row in range(int(canvas.height_m / 0.6)):
        size = 0.9 if row % 2 else 0.55
        for left in (0.0, canvas.width_m - size):
            canvas.rect(left, row * 0.6 + 0.05, left + size, row * 0.6 + 0.55, style.trim, relief=LEVEL + 14)


def arcade(canvas: Canvas, style: Style, height: float, bays: int) -> None:
    """Paint a row of arches; behind them it is dark by day, and lit by night."""
    pitch = canvas.width_m / bays
    canvas.rect(0, height - 0.3, canvas.width_m, height, style.trim, relief=LEVEL + 40)
    for bay in range(bays):
        left, right = pitch * (bay + 0.18), pitch * (bay + 0.82)
        spring = max(0.5, height - 0.6 - (right - left) / 2)
        canvas.shape(_arch(left - 0.2, right + 0.2, 0, spring, "arched"), style.trim, relief=LEVEL + 20)
        canvas.shape(
            _arch(left, right, 0, spring, "arched"),
            shade(style.wall, 0.32),
            relief=LEVEL - 80,
            ident=SIGN + 1,
        )


def portal(canvas: Canvas, style: Style, dice: Dice, middle: float, width: float, height: float) -> None:
    """Paint a doorway with steps of arches."""
    kind = "pointed" if style.window == "pointed" else "arched"
    for n, part in enumerate((1.25, 1.1, 0.95)):
        half = width / 2 * part
        colour = style.trim if n % 2 == 0 else shade(style.trim, 0.75)
        canvas.shape(
            _arch(middle - half, middle + half, 0, max(0.5, height - half * 1.3), kind),
            colour,
            relief=LEVEL + 40 - 25 * n,
        )
    half = width / 2 * 0.78
    door = mix(style.accent, (0.25, 0.16, 0.1), 0.6)
    canvas.shape(
        _arch(middle - half, middle + half, 0, max(0.5, height - half * 1.9), kind), door, relief=LEVEL - 50
    )
    canvas.rect(middle - 0.05, 0, middle + 0.05, height * 0.7, shade(door, 0.5))
    for side in (-1, 1):  # lanterns
        x = middle + side * width * 0.72
        canvas.rect(x - 0.15, height * 0.55, x + 0.15, height * 0.55 + 0.5, (0.9, 0.8, 0.55), ident=SIGN + 2)
    del dice
