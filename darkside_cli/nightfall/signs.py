"""Shops, signs, and lettering of no language."""

from __future__ import annotations

from darkside_cli.nightfall.canvas import LEVEL, SIGN, Canvas, Colour, shade
from darkside_cli.nightfall.dice import Dice
from darkside_cli.nightfall.style import Style


def shop_row(canvas: Canvas, style: Style, dice: Dice, height: float) -> None:
    """Paint shop windows with awnings and signs."""
    canvas.rect(0, 0, canvas.width_m, height, shade(style.second, 0.7), relief=LEVEL - 5)
    count = max(1, round(canvas.width_m / dice.uniform(5, 8)))
    pitch = canvas.width_m / count
    for n in range(count):
        left, right = n * pitch + 0.25, (n + 1) * pitch - 0.25
        canvas.rect(
            left,
            0.5,
            right,
            height - 1.2,
            (0.24, 0.26, 0.28),
            relief=LEVEL - 40,
            glass=200,
            ident=SIGN + 3 + dice.integer(0, 3),
        )
        for k in range(1, 4):
            x = left + (right - left) * k / 4
            canvas.rect(x - 0.05, 0.3, x + 0.05, height - 1.2, style.trim, relief=LEVEL, glass=0, ident=0)
        door = left + (right - left) * dice.choice((0.25, 0.5, 0.0))
        canvas.rect(
            door, 0, door + 1.0, height - 1.5, shade(style.accent, 0.6), relief=LEVEL - 20, glass=0, ident=0
        )
        sign(canvas, dice, left, height - 1.1, right, height - 0.25)
        if dice.chance(0.4):
            stripe = dice.choice(((0.8, 0.2, 0.15), (0.2, 0.4, 0.3), (0.2, 0.3, 0.6), (0.85, 0.7, 0.3)))
            for k in range(int((right - left) / 0.5)):
                canvas.rect(
                    left + k * 0.5, height - 2.0, left + (k + 1) * 0.5, height - 1.2,
                    stripe if k % 2 else (0.92, 0.9, 0.86), relief=LEVEL + 60, glass=0, ident=0,
                )  # fmt: skip


def sign(canvas: Canvas, dice: Dice, left: float, bottom: float, right: float, top: float) -> None:
    """Paint a board with lettering of no language; at night the letters glow, or the whole board."""
    board = dice.choice(
        (
            (0.1, 0.1, 0.12),
            (0.75, 0.12, 0.12),
            (0.1, 0.25, 0.55),
            (0.9, 0.88, 0.8),
            (0.1, 0.4, 0.25),
            (0.9, 0.7, 0.1),
        )
    )
    dark = sum(board) < 1.2
    ink = (
        dice.choice(((0.95, 0.95, 0.9), (0.98, 0.85, 0.3), (0.4, 0.9, 0.95), (0.98, 0.45, 0.6)))
        if dark
        else (0.1, 0.1, 0.15)
    )
    group = SIGN + 8 + dice.integer(0, 23)
    box = dice.chance(0.5)
    canvas.rect(left, bottom, right, top, board, relief=LEVEL + 35, glass=0, ident=group if box else 0)
    letters(
        canvas,
        dice,
        left + 0.2,
        bottom + (top - bottom) * 0.2,
        right - 0.2,
        top - (top - bottom) * 0.2,
        ink,
        group,
    )


def letters(
    canvas: Canvas, dice: Dice, left: float, bottom: float, right: float, top: float, ink: Colour, ident: int
) -> None:
    """Paint letters made of strokes between the nine points of a grid."""
    height = top - bottom
    width, stroke = height * 0.62, max(height * 0.16, 1.01 / canvas.scale)
    x = left + max(0.0, dice.uniform(0, 0.5) * (right - left - width * 4))
    while x + width <= right:
        strokes = dice.integer(0, 127)
        for k, (a, b, c, d) in enumerate(_STROKES):
            if strokes >> k & 1:
                canvas.rect(
                    x + a * (width - stroke), bottom + b * (height - stroke),
                    x + c * (width - stroke) + stroke, bottom + d * (height - stroke) + stroke,
                    ink, relief=LEVEL + 45, ident=ident,
                )  # fmt: skip
        x += width * 1.3


_STROKES = (
    (0, 0, 0, 1), (1, 0, 1, 1), (0, 1, 1, 1), (0, 0.5, 1, 0.5), (0, 0, 1, 0), (0.5, 0, 0.5, 1), (0, 0.5, 0, 1),
)  # fmt: skip
