"""Landmarks with towers: churches, clock towers, gates; others are in ``halls.py``, ``skyline.py`` and ``works.py``.

Each function puts a building up with the middle of its front at the origin of the site's frame, facing -y, and says
how far it reaches. What kind it is comes from the place's family, everything else from the site's style and dice.
"""

from __future__ import annotations

import math

from darkside_cli.nightfall import facades
from darkside_cli.nightfall.canvas import LEVEL, SIGN, disc, half_disc
from darkside_cli.nightfall.mesh import Patch
from darkside_cli.nightfall.site import Extent, Site
from darkside_cli.nightfall.solids import Footprint, rectangle, regular


def church(site: Site) -> Extent:
    """Put up a nave with a gabled front, and one or two towers with spires."""
    dice, mesh = site.dice, site.mesh
    width, depth, height = dice.uniform(11, 18), dice.uniform(22, 36), dice.uniform(11, 17)
    rise = width * dice.uniform(0.4, 0.85)
    front, side = _church_front(site, width, height), site.front(depth, height, crown=False)
    mesh.prism(rectangle(width, depth), 0, height, [front, side, front, side])
    mesh.gable(width, depth, height, rise, site.roof(depth, width), site.bare(width, rise), along_x=False)
    twin = dice.chance(0.45)
    tower_width, tower_height = dice.uniform(4.5, 6.5), height + rise * dice.uniform(0.5, 1.5)
    spire = dice.uniform(0.6, 2.6) * tower_width * 1.5
    shaft = _tower_wall(site, tower_width, tower_height)
    cap = site.roof(tower_width, spire, dice.choice((site.style.roof, (0.42, 0.60, 0.55), (0.34, 0.36, 0.4))))
    reach = width / 2 + tower_width / 2
    places = [-reach, reach] if twin else [dice.choice((-reach, reach, 0.0))]
    for x in places:
        with mesh.placed(x, -0.5 if x else -tower_width * 0.4):
            mesh.prism(rectangle(tower_width, tower_width), 0, tower_height, shaft)
            _roof_over(site, tower_width, tower_height, spire, cap)
    if dice.chance(0.5):
        for sign in (-1, 1):
            with mesh.placed(sign * (width / 2 + 2), 6):
                aisle = site.front(depth - 8, height * 0.5, crown=False)
                mesh.prism(rectangle(4, depth - 8), 0, height * 0.5, aisle, site.bare(4, 4, site.style.roof))
    total = width + (2 * tower_width if twin else tower_width)
    return Extent(total, depth, tower_height + spire)


def _church_front(site: Site, width: float, height: float) -> Patch:
    style, dice = site.style, site.dice
    canvas = facades.wall(style, dice, width, height)
    facades.portal(canvas, style, dice, width / 2, 3.4, height * 0.42)
    middle, y, r = width / 2, height * dice.uniform(0.62, 0.75), min(width, height) * dice.uniform(0.13, 0.2)
    canvas.shape(disc(middle, y, r * 1.2), style.trim, relief=LEVEL + 25)
    canvas.shape(disc(middle, y, r), style.pane, relief=LEVEL - 25, glass=255, ident=7)
    for x1, y1 in disc(middle, y, r)[:: dice.choice((2, 4, 5))]:
        spoke = [(middle - 0.1, y - 0.1), (middle + 0.1, y + 0.1), (x1 + 0.1, y1), (x1 - 0.1, y1)]
        canvas.shape(spoke, style.trim, glass=0, ident=0)
    lancet = facades.window(style, 1.1, height * 0.3, canvas.scale, dice.choice(("pointed", "arched")))
    for x in (width * 0.2, width * 0.8):
        canvas.stamp(lancet, x - lancet.width_m / 2, height * 0.3, ident=dice.integer(1, 198))
    return site.add(canvas)


def clock_tower(site: Site) -> Extent:
    """Put up a tall tower on its own or over a town hall."""
    dice, mesh = site.dice, site.mesh
    size, tall = dice.uniform(6, 9.5), dice.uniform(26, 46)
    rise = dice.uniform(0.8, 2.2) * size
    shaft = _tower_wall(site, size, tall, clock=True)
    width = size
    if dice.chance(0.65):
        width, depth, height = dice.uniform(20, 34), dice.uniform(11, 15), dice.uniform(9, 14)
        walls = [
            site.front(width, height, ground=dice.choice(("arcade", "shops", "door"))),
            site.front(depth, height),
        ]
        mesh.prism(rectangle(width, depth), 0, height, walls * 2)
        mesh.gable(width, depth, height, dice.uniform(3, 7), site.roof(width, depth), site.bare(depth, 5))
    with mesh.placed(dice.choice((0.0, 0.0, width / 2, -width / 2)) if width > size else 0.0, -1.0):
        mesh.prism(rectangle(size, size), 0, tall, shaft)
        _roof_over(site, size, tall, rise, site.roof(size, rise))
    return Extent(width + size, size + 6, tall + rise)


def gate(site: Site) -> Extent:
    """Put up a town gate or castle front: an arch between two towers, with battlements."""
    dice, mesh = site.dice, site.mesh
    span, depth, height = dice.uniform(9, 18), dice.uniform(5, 8), dice.uniform(10, 15)
    radius, tall = dice.uniform(3, 5), height * dice.uniform(1.1, 1.7)
    canvas = facades.wall(site.style, site.dice, span, height)
    opening = [(span / 2 - 2.4, 0.0), (span / 2 + 2.4, 0.0)]
    opening += half_disc(span / 2, 3.6, 2.4, 2.8)
    canvas.shape(
        [(x + (x - span / 2) * 0.18, y * 1.08) for x, y in opening], site.style.trim, relief=LEVEL + 25
    )
    canvas.shape(opening, (0.12, 0.11, 0.1), relief=LEVEL - 80, ident=SIGN + 1)
    slit = facades.window(site.style, 0.8, 1.8, canvas.scale, "arched")
    for k in range(dice.integer(2, 5)):
        canvas.stamp(slit, span * (k + 0.5) / 5 + 0.5, height * 0.68, ident=dice.integer(1, 198))
    front, stone = site.add(canvas), site.bare(6, 6)
    mesh.prism(rectangle(span, depth), 0, height, front, stone)
    battlements(site, rectangle(span, depth), height, stone)
    round_towers = dice.chance(0.6)
    shaft, cap = site.front(radius * 2, tall, crown=False), site.roof(8, 8)
    pointed = dice.chance(0.6)
    for x in (-span / 2 - radius * 0.6, span / 2 + radius * 0.6):
        with mesh.placed(x, depth / 2 - 1):
            foot = regular(12, radius) if round_towers else rectangle(radius * 2, radius * 2, y=-radius)
            mesh.prism(foot, 0, tall, shaft, stone, smooth=round_towers)
            if pointed:
                wide = (
                    regular(12, radius * 1.15)
                    if round_towers
                    else rectangle(radius * 2.3, radius * 2.3, y=-radius * 1.15)
                )
                mesh.loft(
                    wide, [(0.0, 0.0)], tall, tall + radius * dice.uniform(1.6, 2.6), cap, smooth=round_towers
                )
            else:
                battlements(
                    site,
                    regular(8, radius * 1.12)
                    if round_towers
                    else rectangle(radius * 2.2, radius * 2.2, y=-radius * 1.1),
                    tall,
                    stone,
                )
    wing = dice.uniform(6, 14)
    curtain = site.bare(wing, height * 0.7)
    for sign in (-1, 1):
        with mesh.placed(sign * (span / 2 + radius * 1.5 + wing / 2), 1):
            mesh.prism(rectangle(wing, 2.5), 0, height * 0.7, curtain, stone)
            battlements(site, rectangle(wing, 2.5), height * 0.7, stone)
    return Extent(span + 4 * radius + 2 * wing * 0.6, depth + radius, tall + radius * 2.2)


def _tower_wall(site: Site, width: float, height: float, *, clock: bool | None = None) -> Patch:
    """Paint one side of a tower: belfry openings near the top, slits below, perhaps a clock."""
    style, dice = site.style, site.dice
    canvas = facades.wall(style, dice, width, height)
    opening = facades.window(
        style, width * 0.24, width * 0.6, canvas.scale, dice.choice(("arched", "pointed"))
    )
    for x in (width * 0.32, width * 0.68):
        canvas.stamp(opening, x - opening.width_m / 2, height - width * 1.35, ident=dice.integer(1, 198))
    levels = dice.integer(2, 4)
    for level in range(1, levels + 1):
        y = (height - width * 1.6) * level / levels
        canvas.rect(0, y, width, y + 0.4, style.trim, relief=LEVEL + 35)
        if level < levels:
            canvas.rect(
                width / 2 - 0.35,
                y + 1.2,
                width / 2 + 0.35,
                y + 3.2,
                style.pane,
                relief=LEVEL - 30,
                glass=255,
                ident=dice.integer(1, 198),
            )
    if clock if clock is not None else dice.chance(0.5):
        y, r = height - width * 1.9, width * 0.27
        canvas.shape(disc(width / 2, y, r), (0.93, 0.91, 0.84), relief=LEVEL + 30, ident=SIGN + 7)
        for angle, reach in ((dice.uniform(0, 6.28), 0.85), (dice.uniform(0, 6.28), 0.55)):
            x1, y1 = width / 2 + r * reach * math.cos(angle), y + r * reach * math.sin(angle)
            canvas.shape(
                [(width / 2 - 0.12, y), (width / 2 + 0.12, y), (x1 + 0.1, y1), (x1 - 0.1, y1)],
                (0.1, 0.1, 0.1),
                ident=0,
            )
    canvas.rect(0, height - 0.6, width, height, style.trim, relief=LEVEL + 45)
    return site.add(canvas)


def _roof_over(site: Site, width: float, bottom: float, rise: float, cap: Patch) -> None:
    """Put a pyramid, a broach spire, an onion or a stump with battlements on a square tower."""
    mesh, square = site.mesh, rectangle(width + 0.5, width + 0.5, y=-0.25)
    kind = site.dice.weighted(
        {"pyramid": 4.0, "spire": 3.0, "onion": 2.0, "lantern": 1.5, "battlements": 1.0}
    )
    middle = (0.0, width / 2)
    if kind == "pyramid":
        mesh.loft(square, [middle], bottom, bottom + rise, cap)
    elif kind == "spire":
        mesh.loft(square, regular(4, width * 0.45, *middle), bottom, bottom + width * 0.35, cap)
        mesh.loft(regular(8, width * 0.45, *middle), [middle], bottom + width * 0.35, bottom + rise, cap)
    elif kind == "onion":
        drum = regular(10, width * 0.42, *middle)
        mesh.prism(drum, bottom, bottom + width * 0.3, cap, smooth=True)
        bulb = regular(10, width * 0.58, *middle)
        mesh.loft(drum, bulb, bottom + width * 0.3, bottom + width * 0.6, cap, smooth=True)
        mesh.loft(
            bulb, regular(10, width * 0.3, *middle), bottom + width * 0.6, bottom + width, cap, smooth=True
        )
        mesh.loft(
            regular(10, width * 0.3, *middle), [middle], bottom + width, bottom + max(rise, width * 1.4), cap
        )
    elif kind == "lantern":
        mesh.loft(square, rectangle(width * 0.5, width * 0.5, y=width / 4), bottom, bottom + rise * 0.3, cap)
        lantern = rectangle(width * 0.4, width * 0.4, y=width * 0.3)
        mesh.prism(lantern, bottom + rise * 0.3, bottom + rise * 0.6, site.front(2.5, 3.5, crown=False))
        mesh.loft(
            rectangle(width * 0.5, width * 0.5, y=width / 4),
            [middle],
            bottom + rise * 0.6,
            bottom + rise,
            cap,
        )
    else:
        battlements(site, rectangle(width + 0.6, width + 0.6, y=-0.3), bottom, site.bare(2, 2))


def battlements(site: Site, footprint: Footprint, bottom: float, stone: Patch, *, size: float = 0.9) -> None:
    """Put a parapet with merlons along the edges of a footprint."""
    count = len(footprint)
    site.mesh.prism(footprint, bottom, bottom + size, stone, stone)
    for n in range(count):
        (x0, y0), (x1, y1) = footprint[n], footprint[(n + 1) % count]
        length = math.hypot(x1 - x0, y1 - y0)
        steps = max(1, int(length / (2 * size)))
        for k in range(steps):
            a, b = (2 * k + 0.5) / (2 * steps), (2 * k + 1.5) / (2 * steps)
            site.mesh.wall(
                (x0 + (x1 - x0) * a, y0 + (y1 - y0) * a), (x0 + (x1 - x0) * b, y0 + (y1 - y0) * b),
                bottom + size, bottom + 2 * size, stone,
            )  # fmt: skip
