"""Ordinary houses: what stands beside and behind landmarks. The city has a stock of designs, which places share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from darkside_cli.nightfall import facades, props
from darkside_cli.nightfall.canvas import Canvas
from darkside_cli.nightfall.dice import Dice
from darkside_cli.nightfall.lamplight import Light
from darkside_cli.nightfall.site import Extent, Site
from darkside_cli.nightfall.solids import rectangle
from darkside_cli.nightfall.style import draw_style

_DESIGNS, _TOWERS = 96, 14
_SCALE, _FAR_SCALE = 5.0, 2.5


@dataclass(frozen=True, eq=False)
class House:
    """A design: sizes in metres, textures, and its roof ("flat", "gable" along or across the street, "hip")."""

    width: float
    depth: float
    height: float
    front: Canvas
    side: Canvas
    covering: Canvas
    roof: str
    rise: float
    along: bool
    shops: bool


@cache
def house(number: int) -> House:
    """Give design ``number`` of the stock; painted when it is first asked for."""
    dice = Dice("nightfall", "house", number)
    style = draw_style(dice)
    width, depth, height = dice.uniform(8.5, 17), dice.uniform(9, 12), dice.uniform(8, 19)
    shops = dice.chance(0.45)
    ground = "shops" if shops else dice.choice(("plain", "door"))
    side = (
        facades.facade(style, dice, depth, height, scale=_SCALE)
        if dice.chance(0.6)
        else facades.wall(style, dice, depth, height, scale=_SCALE)
    )
    return House(
        width, depth, height,
        front=facades.facade(style, dice, width, height, ground=ground, scale=_SCALE),
        side=side,
        covering=props.roof(style.roof, dice, 10, 6),
        roof=dice.weighted({"flat": 3.0, "gable": 2.0, "hip": 2.0}),
        rise=dice.uniform(2, 5),
        along=dice.chance(0.7),
        shops=shops,
    )  # fmt: skip


@cache
def _tower(number: int) -> tuple[Canvas, Canvas]:
    """Wall and roof of a larger building that is seen from afar only."""
    dice = Dice("nightfall", "tower", number)
    style = draw_style(dice)
    wall = facades.facade(style, dice, 20, 24, crown=False, scale=_FAR_SCALE)
    return wall, props.roof(style.roof, dice, 6, 6)


def _put_up(site: Site, design: House) -> None:
    """Put a house up at the frame's origin, its front to -y."""
    mesh, width, depth, height = site.mesh, design.width, design.depth, design.height
    front, side, covering = (site.add(canvas) for canvas in (design.front, design.side, design.covering))
    top = covering if design.roof == "flat" else None
    mesh.prism(rectangle(width, depth), 0, height, [front, side, front, side], top)
    if design.roof == "gable":
        mesh.gable(width, depth, height, design.rise, covering, side, along_x=design.along)
    elif design.roof == "hip":
        mesh.loft(
            rectangle(width + 0.6, depth + 0.6, y=-0.3), rectangle(width * 0.6, depth * 0.2, y=depth * 0.4),
            height, height + design.rise, covering, covering,
        )  # fmt: skip


def put_beside(site: Site, extent: Extent, *, apart: bool) -> list[Light]:
    """Put rows of houses to both sides of the landmark, or single ones (``apart``); give the light of their shops."""
    dice, lights = site.dice, []
    for sign in (-1, 1):
        x, y = extent.width / 2 + dice.uniform(1.5, 20 if apart else 6), dice.uniform(-2, 6)
        while x < 62:
            design = house(dice.integer(0, _DESIGNS - 1))
            middle = sign * (x + design.width / 2)
            with site.mesh.placed(middle, y):
                _put_up(site, design)
            if design.shops:
                lights.append(Light((middle, y - 0.8, 2.2), "sign", 2.5, (0.0, -0.85, -0.5)))
            x += design.width + (0.05 if dice.chance(0.75) and not apart else dice.uniform(2, 9))
            if dice.chance(0.2):
                y += dice.uniform(-1, 3)
    return lights


def put_along(site: Site, extent: Extent, half: float) -> list[Light]:
    """Put houses along both sides of a street, ``half`` metres from its middle; give the light of their shops."""
    dice, lights = site.dice, []
    for sign in (-1, 1):
        y = -8.0 - dice.uniform(0, 3)
        while y > -72:
            design = house(dice.integer(0, _DESIGNS - 1))
            middle = y - design.width / 2
            with site.mesh.placed(sign * half, middle, -sign * math.pi / 2):
                _put_up(site, design)
            if design.shops:
                lights.append(
                    Light((sign * (half - 0.8), middle, 2.2), "sign", 2.5, (-sign * 0.85, 0.0, -0.5))
                )
            y -= design.width + (0.05 if dice.chance(0.85) else 3.0)
        x = max(extent.width / 2 + 1, half)
        while x < 50:
            design = house(dice.integer(0, _DESIGNS - 1))
            with site.mesh.placed(sign * (x + design.width / 2), dice.uniform(0, 3)):
                _put_up(site, design)
            x += design.width
    return lights


def put_behind(site: Site, extent: Extent) -> None:
    """Put larger buildings behind the landmark, and a skyline far away."""
    dice, mesh = site.dice, site.mesh
    walls = []
    for _ in range(3):
        wall, covering = _tower(dice.integer(0, _TOWERS - 1))
        walls.append((site.add(wall), site.add(covering)))
    for _ in range(dice.integer(3, 8)):
        width, (wall_patch, roof_patch) = dice.uniform(10, 22), dice.choice(walls)
        height = dice.uniform(8, 22) + (dice.uniform(0, 22) if dice.chance(0.25) else 0)
        with mesh.placed(dice.uniform(-60, 60), extent.depth + dice.uniform(14, 45)):
            mesh.prism(rectangle(width, 12), 0, height, wall_patch, roof_patch)
    x = -210.0
    while x < 210:
        width, (wall_patch, _) = dice.uniform(10, 26), dice.choice(walls)
        height = dice.uniform(6, 22) + (dice.uniform(10, 60) if dice.chance(0.18) else 0)
        with mesh.placed(x, dice.uniform(110, 190)):
            mesh.prism(rectangle(width, 12), 0, height, wall_patch)
        x += width + dice.uniform(0, 14)
