"""Landmarks that are halls: domes, temples, palaces, pagodas, rows of gabled houses. See ``towers.py``."""

from __future__ import annotations

from darkside_cli.nightfall import facades
from darkside_cli.nightfall.canvas import LEVEL, Canvas, mix, shade
from darkside_cli.nightfall.site import Extent, Site
from darkside_cli.nightfall.solids import rectangle, regular
from darkside_cli.nightfall.style import draw_style


def domed(site: Site) -> Extent:
    """Put up a hall with a portico, a drum and a dome, perhaps with corner turrets or minarets."""
    dice, mesh = site.dice, site.mesh
    width, depth, height = dice.uniform(22, 38), dice.uniform(18, 28), dice.uniform(9, 15)
    walls = [site.front(width, height, ground=dice.choice(("door", "arcade"))), site.front(depth, height)]
    mesh.prism(rectangle(width, depth), 0, height, walls * 2, site.bare(8, 8, shade(site.style.roof, 1.1)))
    radius = min(width, depth) * dice.uniform(0.26, 0.42)
    drum = dice.uniform(2, 8)
    skin = site.roof(
        10, 10, dice.choice((site.style.roof, (0.42, 0.62, 0.56), (0.85, 0.72, 0.35), (0.7, 0.72, 0.75)))
    )
    with mesh.placed(0, depth / 2):
        ring = site.front(8, drum, crown=False)
        mesh.prism(regular(14, radius), height, height + drum, ring, smooth=True)
        mesh.loft(
            regular(14, radius * 1.06),
            regular(14, radius),
            height + drum - 0.5,
            height + drum,
            site.bare(2, 1),
            smooth=True,
        )
        rise = radius * dice.uniform(0.7, 1.5)
        mesh.dome(radius, height + drum, rise, skin)
        top = height + drum + rise
        mesh.prism(
            regular(8, radius * 0.16),
            top - 0.6,
            top + radius * 0.35,
            site.front(2, 3, crown=False),
            smooth=True,
        )
        mesh.loft(regular(8, radius * 0.2), [(0.0, 0.0)], top + radius * 0.35, top + radius * 0.9, skin)
    if dice.chance(0.6):
        portico(site, width * dice.uniform(0.35, 0.6), height * 0.92, dice.integer(4, 8))
    reach = width
    kind = dice.choice(("none", "minarets", "turrets", "none"))
    if kind != "none":
        r = 1.3 if kind == "minarets" else dice.uniform(2, 3)
        tall = dice.uniform(1.6, 2.4) * height if kind == "minarets" else height * 1.25
        shaft = site.front(r * 3, tall, crown=True) if kind == "turrets" else site.bare(4, tall)
        for x in (-width / 2 - r, width / 2 + r):
            for y in (0.0, depth) if dice.chance(0.5) else (0.0,):
                with mesh.placed(x, y):
                    mesh.prism(regular(10, r), 0, tall, shaft, smooth=True)
                    if kind == "minarets":
                        mesh.prism(
                            regular(10, r * 1.5),
                            tall * 0.72,
                            tall * 0.75,
                            site.bare(2, 1),
                            site.bare(2, 1),
                            smooth=True,
                        )
                        mesh.loft(regular(10, r), [(0.0, 0.0)], tall, tall + 4 * r, skin)
                    else:
                        mesh.dome(r, tall, r * 1.1, skin, sides=10, rings=3)
        reach += 4 * r
    return Extent(reach, depth, top + radius * 0.9)


def portico(site: Site, width: float, height: float, columns: int, *, y: float = 0.0) -> None:
    """Put columns, an entablature and a pediment before a front."""
    mesh, style = site.mesh, site.style
    deep = 4.0
    stone = site.bare(6, 6, style.trim)
    shaft = height * 0.8
    for n in range(columns):
        x = -width / 2 + 0.8 + (width - 1.6) * n / max(1, columns - 1)
        with mesh.placed(x, y - deep + 0.7):
            mesh.loft(regular(8, 0.62), regular(8, 0.5), 1.0, shaft, stone, smooth=True)
            mesh.prism(rectangle(1.4, 1.4, y=-0.7), shaft - 0.5, shaft, stone)
    for step in range(3):
        mesh.prism(
            rectangle(width + 3 - step, deep + 1.5 - step * 0.5, y=y - deep - 1.5 + step * 0.5),
            step / 3,
            (step + 1) / 3,
            stone,
            stone,
        )
    mesh.prism(rectangle(width + 0.6, deep + 0.3, y=y - deep - 0.3), shaft, height, stone, stone)
    gable = Canvas.blank(width + 0.6, width * 0.2, 8.0, style.trim)
    gable.mottle(site.dice, 0.12)
    gable.shape(
        [(1.8, 0.4), (width - 1.2, 0.4), (width / 2 + 0.3, width * 0.2 - 0.6)],
        mix(style.wall, style.trim, 0.4),
        relief=LEVEL - 30,
    )
    mesh.gable(
        width + 0.6,
        deep + 0.3,
        height,
        width * 0.2,
        site.roof(8, 6),
        site.add(gable),
        y=y - deep - 0.3,
        along_x=False,
    )


def temple(site: Site) -> Extent:
    """Put up a long hall behind a wide portico."""
    dice, mesh = site.dice, site.mesh
    width, depth, height = dice.uniform(20, 36), dice.uniform(20, 32), dice.uniform(9, 15)
    walls = [site.front(width, height * 0.95, ground="door"), site.front(depth, height * 0.95)]
    mesh.prism(rectangle(width, depth), 0, height * 0.95, walls * 2, site.bare(8, 8, site.style.roof))
    portico(site, width * dice.uniform(0.7, 1.0), height, dice.choice((4, 6, 6, 8, 10)))
    if dice.chance(0.5):
        wing, low = dice.uniform(8, 16), height * dice.uniform(0.5, 0.8)
        side = site.front(wing, low, ground=dice.choice(("plain", "arcade")))
        for sign in (-1, 1):
            with mesh.placed(sign * (width + wing) / 2, 2):
                mesh.prism(rectangle(wing, depth * 0.6), 0, low, side, site.bare(8, 8, site.style.roof))
        width += 2 * wing
    return Extent(width, depth, height * 1.4)


def palace(site: Site) -> Extent:
    """Put up a long block with pavilions, steep roofs and perhaps a central dome or tower."""
    dice, mesh = site.dice, site.mesh
    width, depth, height = dice.uniform(34, 56), dice.uniform(11, 15), dice.uniform(10, 17)
    ground = dice.choice(("arcade", "plain", "door"))
    mesh.prism(
        rectangle(width, depth),
        0,
        height,
        [site.front(width, height, ground=ground), site.front(depth, height)] * 2,
    )
    covering = site.roof(16, 6)
    rise = dice.uniform(3, 6)
    mesh.loft(
        rectangle(width + 0.8, depth + 0.8, y=-0.4),
        rectangle(width - rise, depth * 0.3, y=depth * 0.35),
        height,
        height + rise,
        covering,
        covering,
    )
    pavilions = dice.choice(((0.0,), (-0.5, 0.5), (-0.5, 0.0, 0.5), (-0.5, -0.2, 0.2, 0.5)))
    size, tall = dice.uniform(8, 12), height + dice.uniform(0, 6)
    front = site.front(size, tall, ground=dice.choice(("door", "plain")))
    top = tall
    for part in pavilions:
        with mesh.placed(part * (width - size), -1.6):
            mesh.prism(rectangle(size, depth + 2), 0, tall, front)
            kind = dice.choice(("mansard", "pyramid", "dome"))
            up = dice.uniform(4, 9)
            if kind == "mansard":
                mesh.loft(
                    rectangle(size + 0.6, depth + 2.6, y=-0.3),
                    rectangle(size * 0.6, depth * 0.6, y=depth * 0.25),
                    tall,
                    tall + up,
                    covering,
                    covering,
                )
            elif kind == "pyramid":
                mesh.loft(
                    rectangle(size + 0.6, depth + 2.6, y=-0.3), [(0.0, depth / 2)], tall, tall + up, covering
                )
            else:
                with mesh.placed(0, depth / 2):
                    mesh.dome(size * 0.48, tall, up, covering, sides=12)
        top = max(top, tall + up)
    return Extent(width + 1, depth, top)


def pagoda(site: Site) -> Extent:
    """Put up storeys that shrink, each under a wide roof."""
    dice, mesh = site.dice, site.mesh
    size, storeys, tall = dice.uniform(9, 15), dice.integer(3, 7), dice.uniform(3.2, 4.6)
    shrink, bottom = dice.uniform(0.8, 0.9), 0.0
    covering = site.roof(10, 5)
    wide = size * 1.7
    for level in range(storeys):
        walls = site.front(size, tall, ground="door" if level == 0 else "plain", crown=False)
        mesh.prism(rectangle(size, size, y=-size / 2 + 8), bottom, bottom + tall, walls)
        bottom += tall
        out = size * 1.55
        mesh.loft(
            rectangle(out, out, y=-out / 2 + 8), rectangle(size * 0.9, size * 0.9, y=-size * 0.45 + 8),
            bottom - 0.6, bottom + tall * 0.4, covering, covering,
        )  # fmt: skip
        size, bottom = size * shrink, bottom + tall * 0.25
    mesh.loft(rectangle(size, size, y=-size / 2 + 8), [(0.0, 8.0)], bottom, bottom + tall * 1.6, covering)
    return Extent(wide, 16, bottom + tall * 1.6)


def gabled_row(site: Site) -> Extent:
    """Put up a row of narrow houses, each of its own colour, with stepped, curved or plain gables to the street."""
    dice, mesh, style = site.dice, site.mesh, site.style
    count, depth = dice.integer(4, 7), dice.uniform(10, 13)
    widths = [dice.uniform(5, 8) for _ in range(count)]
    x, top = -sum(widths) / 2, 0.0
    for width in widths:
        site.style = draw_style(dice, ("plaster", "brick", "stone"))
        height, rise = dice.uniform(9, 16), width * dice.uniform(0.5, 0.9)
        with mesh.placed(x + width / 2, dice.uniform(-0.3, 0.3)):
            front = site.front(width, height, ground=dice.choice(("shops", "door", "plain")), crown=False)
            blank = site.bare(depth, height)
            mesh.prism(rectangle(width, depth), 0, height, [front, blank, blank, blank])
            gable = facades.facade(site.style, dice, width, rise, crown=False)
            mesh.gable(
                width,
                depth,
                height,
                rise,
                site.roof(depth, width),
                site.add(gable),
                along_x=False,
                overhang=0.2,
            )
            if dice.chance(0.5):
                trim = site.bare(2, 2, site.style.trim)
                for k in range(4):
                    half = width / 2 * (1 - k / 4)
                    mesh.prism(
                        rectangle(2 * half, 0.5, y=-0.1),
                        height + rise * k / 4,
                        height + rise * (k + 1) / 4 + 0.3,
                        trim,
                        trim,
                    )
        x, top = x + width, max(top, height + rise)
    site.style = style
    return Extent(sum(widths), depth, top)
