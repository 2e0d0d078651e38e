"""What the buildings of one family have in common: colours, materials, windows."""

from __future__ import annotations

from dataclasses import dataclass

from darkside_cli.nightfall.canvas import Colour, mix, shade
from darkside_cli.nightfall.dice import Dice

# Colours are square roots of reflectances, so about what a screen shows.
_WALLS: dict[str, tuple[Colour, ...]] = {
    "stone": ((0.80, 0.72, 0.58), (0.70, 0.66, 0.60), (0.62, 0.58, 0.53), (0.84, 0.80, 0.70), (0.66, 0.56, 0.44)),
    "brick": ((0.60, 0.32, 0.25), (0.68, 0.42, 0.32), (0.48, 0.28, 0.24), (0.74, 0.60, 0.44), (0.55, 0.40, 0.35)),
    "plaster": (
        (0.90, 0.86, 0.76), (0.90, 0.76, 0.48), (0.84, 0.62, 0.52), (0.70, 0.78, 0.68), (0.66, 0.74, 0.82),
        (0.88, 0.70, 0.66), (0.92, 0.90, 0.88), (0.78, 0.66, 0.76),
    ),
    "concrete": ((0.68, 0.67, 0.65), (0.58, 0.58, 0.58), (0.76, 0.74, 0.70), (0.52, 0.50, 0.48)),
    "glass": ((0.34, 0.44, 0.50), (0.26, 0.34, 0.42), (0.40, 0.48, 0.46), (0.30, 0.32, 0.34), (0.44, 0.40, 0.34)),
    "panel": ((0.86, 0.88, 0.90), (0.40, 0.42, 0.46), (0.72, 0.34, 0.26), (0.30, 0.50, 0.56), (0.80, 0.74, 0.60)),
}  # fmt: skip
_ROOFS: tuple[Colour, ...] = (
    (0.62, 0.34, 0.26), (0.68, 0.44, 0.34), (0.36, 0.38, 0.42), (0.44, 0.60, 0.56), (0.32, 0.30, 0.30),
    (0.50, 0.40, 0.34), (0.46, 0.48, 0.52),
)  # fmt: skip
_TRIMS: tuple[Colour, ...] = (
    (0.92, 0.90, 0.86), (0.86, 0.80, 0.68), (0.40, 0.34, 0.30), (0.30, 0.32, 0.32), (0.76, 0.74, 0.72),
)  # fmt: skip
_ACCENTS: tuple[Colour, ...] = (
    (0.75, 0.15, 0.14), (0.15, 0.32, 0.62), (0.16, 0.48, 0.30), (0.88, 0.68, 0.14), (0.60, 0.24, 0.52),
    (0.86, 0.42, 0.12), (0.14, 0.52, 0.58), (0.92, 0.90, 0.86),
)  # fmt: skip
WINDOWS = ("plain", "cross", "sash", "arched", "pointed", "band", "shutters", "pediment")


@dataclass(frozen=True)
class Style:
    """Materials and window shapes; sizes in metres. ``material`` is a key of the palette of walls."""

    material: str
    wall: Colour
    second: Colour
    trim: Colour
    roof: Colour
    pane: Colour
    accent: Colour
    window: str
    storey: float
    bay: float
    fill_x: float
    fill_y: float
    arcade: bool
    quoins: bool
    courses: bool
    balconies: float


def draw_style(dice: Dice, materials: tuple[str, ...] = ()) -> Style:
    """Draw a style, of one of ``materials`` if any are given."""
    material = dice.choice(materials or tuple(_WALLS))
    wall = _vary(dice.choice(_WALLS[material]), dice)
    other = dice.choice(
        [colour for kind in ("stone", "brick", "plaster", "concrete") for colour in _WALLS[kind]]
    )
    trim = dice.choice(_TRIMS)
    if dice.chance(0.35):
        trim = mix(wall, (0.95, 0.93, 0.9), 0.5)
    modern = material in ("concrete", "glass", "panel")
    window = dice.choice(("plain", "band", "plain", "cross")) if modern else dice.choice(WINDOWS)
    return Style(
        material=material,
        wall=wall,
        second=_vary(mix(other, wall, 0.3), dice),
        trim=_vary(trim, dice),
        roof=_vary(dice.choice(_ROOFS), dice),
        pane=dice.choice(((0.20, 0.24, 0.28), (0.14, 0.18, 0.22), (0.24, 0.32, 0.36), (0.28, 0.28, 0.26))),
        accent=dice.choice(_ACCENTS),
        window=window,
        storey=dice.uniform(3.1, 3.8) if modern else dice.uniform(3.3, 4.8),
        bay=dice.uniform(2.4, 4.2),
        fill_x=dice.uniform(0.62, 0.9) if modern else dice.uniform(0.34, 0.56),
        fill_y=dice.uniform(0.5, 0.8) if modern else dice.uniform(0.5, 0.66),
        arcade=not modern and dice.chance(0.3),
        quoins=material in ("stone", "brick", "plaster") and dice.chance(0.4),
        courses=dice.chance(0.55),
        balconies=dice.uniform(0.2, 0.8) if dice.chance(0.3) else 0.0,
    )


def _vary(colour: Colour, dice: Dice) -> Colour:
    light = dice.uniform(0.88, 1.08)
    r, g, b = colour
    return shade(
        (r + dice.uniform(-0.03, 0.03), g + dice.uniform(-0.02, 0.02), b + dice.uniform(-0.03, 0.03)), light
    )
