"""Newer landmarks: high-rises, slabs, round towers, theatres. See ``towers.py``."""

from __future__ import annotations

import math

from darkside_cli.nightfall import props
from darkside_cli.nightfall.site import Extent, Site
from darkside_cli.nightfall.solids import rectangle, regular
from darkside_cli.nightfall.style import draw_style


def high_rise(site: Site) -> Extent:
    """Put up a tower with setbacks and perhaps a needle."""
    dice, mesh = site.dice, site.mesh
    width, depth, bottom = dice.uniform(16, 26), dice.uniform(14, 22), 0.0
    first = width
    podium = dice.uniform(5, 9)
    if dice.chance(0.6):
        wide = width * dice.uniform(1.2, 1.8)
        mesh.prism(
            rectangle(wide, depth), 0, podium, site.front(wide, podium, ground="shops"), site.bare(8, 8)
        )
        bottom, first = podium, wide
    steps = dice.integer(1, 4)
    for _ in range(steps):
        tall = dice.uniform(14, 34) / steps**0.5
        walls = [site.front(width, tall, crown=dice.chance(0.4)), site.front(depth, tall, crown=False)]
        mesh.prism(rectangle(width, depth, y=2), bottom, bottom + tall, walls * 2, site.bare(8, 8))
        bottom += tall
        width, depth = width * dice.uniform(0.6, 0.88), depth * dice.uniform(0.65, 0.9)
    crown = dice.choice(("needle", "pyramid", "sign", "box", "none"))
    if crown == "needle":
        mesh.loft(
            rectangle(1.2, 1.2, y=6),
            [(0.0, 6.6)],
            bottom,
            bottom + dice.uniform(8, 18),
            site.bare(2, 2, (0.7, 0.7, 0.72)),
        )
    elif crown == "pyramid":
        mesh.loft(
            rectangle(width, depth, y=2),
            [(0.0, 2 + depth / 2)],
            bottom,
            bottom + dice.uniform(6, 14),
            site.roof(),
        )
    elif crown == "box":
        mesh.prism(
            rectangle(width * 0.5, depth * 0.5, y=4), bottom, bottom + 4, site.bare(6, 4), site.bare(6, 4)
        )
    elif crown == "sign":
        board(site, width * 0.9, 3.5, 0.0, 2.0, bottom + 0.3)
    return Extent(first, 24, bottom + (8 if crown in ("needle", "pyramid") else 2))


def board(site: Site, width: float, height: float, x: float, y: float, bottom: float) -> None:
    """Put a large lit board up."""
    with site.mesh.placed(x, y):
        patch = site.add(props.billboard(site.dice, width, height))
        back = site.bare(2, 2, (0.3, 0.3, 0.32))
        site.mesh.prism(rectangle(width, 0.4), bottom, bottom + height, [patch, back, back, back], back)


def slabs(site: Site) -> Extent:
    """Put up a few plain boxes of different sizes that run into each other."""
    dice, mesh, style = site.dice, site.mesh, site.style
    count, x, top = dice.integer(2, 4), 0.0, 0.0
    widths = [dice.uniform(9, 20) for _ in range(count)]
    x = -sum(widths) / 2
    for n, width in enumerate(widths):
        if n % 2 and dice.chance(0.7):
            site.style = draw_style(dice, ("glass", "panel", "concrete"))
        depth, tall, lift = dice.uniform(10, 16), dice.uniform(8, 34), 0.0
        if dice.chance(0.25) and n:
            lift = dice.uniform(4, 7)
        with mesh.placed(x + width / 2, dice.uniform(-3, 3)):
            walls = [
                site.front(
                    width, tall, ground=dice.choice(("shops", "plain", "plain")), crown=dice.chance(0.3)
                ),
                site.front(depth, tall, crown=False),
            ]
            mesh.prism(rectangle(width + 0.4, depth), lift, lift + tall, walls * 2, site.bare(8, 8))
            if lift:
                post = site.bare(2, 4, (0.6, 0.6, 0.6))
                for k in (-0.4, 0.0, 0.4):
                    with mesh.placed(k * width, 1):
                        mesh.prism(regular(6, 0.5), 0, lift, post, smooth=True)
            if dice.chance(0.3):
                board(
                    site,
                    min(width * 0.6, 9),
                    dice.uniform(3, 5),
                    0,
                    -0.5,
                    lift + tall * dice.uniform(0.4, 0.8),
                )
        x, top = x + width, max(top, lift + tall)
        site.style = style
    return Extent(sum(widths), 14, top)


def round_tower(site: Site) -> Extent:
    """Put up a drum: a round tower block, a water tower, or a gas holder's ring."""
    dice, mesh = site.dice, site.mesh
    radius, tall, sides = dice.uniform(7, 13), dice.uniform(14, 40), 16
    kind = dice.choice(("block", "block", "water", "stack"))
    with mesh.placed(0, radius):
        strip = 2 * math.pi * radius / sides
        walls = site.front(strip * 4, tall, crown=True)
        if kind == "water":
            stem = radius * dice.uniform(0.3, 0.5)
            mesh.prism(
                regular(12, stem),
                0,
                tall * 0.65,
                site.front(strip * 2, tall * 0.65, crown=False),
                smooth=True,
            )
            mesh.loft(
                regular(16, stem), regular(16, radius), tall * 0.65, tall * 0.75, site.bare(6, 4), smooth=True
            )
            mesh.prism(
                regular(16, radius), tall * 0.75, tall, site.front(strip * 3, tall * 0.25), smooth=True
            )
            mesh.loft(
                regular(16, radius * 1.04), [(0.0, 0.0)], tall, tall + radius * 0.5, site.roof(), smooth=True
            )
        elif kind == "stack":
            bottom, r = 0.0, radius
            for _ in range(dice.integer(2, 4)):
                part = tall / dice.uniform(2.2, 3.4)
                mesh.prism(
                    regular(16, r),
                    bottom,
                    bottom + part,
                    site.front(strip * 3, part),
                    site.bare(8, 8),
                    smooth=True,
                )
                bottom, r = bottom + part, r * dice.uniform(0.65, 0.85)
            mesh.dome(r, bottom, r * 0.8, site.roof())
            tall = bottom + r
        else:
            mesh.prism(regular(16, radius), 0, tall, walls, site.bare(8, 8), smooth=True)
            mesh.prism(
                regular(16, radius * 0.6), tall, tall + 3, site.bare(8, 3), site.bare(8, 8), smooth=True
            )
    if dice.chance(0.5):
        wide, low = dice.uniform(26, 40), dice.uniform(4, 9)
        mesh.prism(rectangle(wide, 12, y=3), 0, low, site.front(wide, low, ground="shops"), site.bare(8, 8))
        return Extent(wide, 2 * radius, tall + 4)
    return Extent(2 * radius, 2 * radius, tall + 4)


def theatre(site: Site) -> Extent:
    """Put up a theatre or department store with a canopy, a tall sign and a rounded corner."""
    dice, mesh = site.dice, site.mesh
    width, depth, height = dice.uniform(18, 30), dice.uniform(14, 18), dice.uniform(13, 22)
    walls = [site.front(width, height, ground="shops"), site.front(depth, height, ground="shops")]
    mesh.prism(rectangle(width, depth), 0, height, walls * 2, site.bare(8, 8))
    radius = dice.uniform(3, 4.5)
    side = dice.choice((-1, 1))
    with mesh.placed(side * width / 2, 0):
        mesh.prism(
            regular(12, radius),
            0,
            height + 2,
            site.front(radius * 2, height + 2, ground="shops"),
            smooth=True,
        )
        mesh.dome(radius, height + 2, radius * dice.uniform(0.8, 1.6), site.roof(), sides=12)
    canopy = site.add(props.billboard(dice, width * 0.5, 1.4))
    mesh.prism(rectangle(width * 0.5, 3, y=-3), 4.6, 6, canopy, site.bare(4, 4))
    with mesh.placed(-side * width * 0.3, -1.6):
        blade = site.add(props.billboard(dice, 1.6, height * 0.7))
        mesh.prism(rectangle(0.5, 1.6), height * 0.35, height * 1.05, blade, site.bare(1, 1))
    board(site, width * 0.5, dice.uniform(2.5, 4), 0, 1, height + 0.4)
    return Extent(width + radius * 2, depth, height + 6)
