"""Landmarks of engineers and sculptors: factories, bridges, monuments. See ``towers.py``."""

from __future__ import annotations

import math
from itertools import pairwise

from darkside_cli.nightfall import facades
from darkside_cli.nightfall.canvas import HOLE, LEVEL, SIGN, Canvas, half_disc, shade
from darkside_cli.nightfall.mesh import Patch
from darkside_cli.nightfall.site import Extent, Site
from darkside_cli.nightfall.solids import rectangle, regular


def factory(site: Site) -> Extent:
    """Put up a hall with a sawtooth or barrel roof, and chimneys."""
    dice, mesh = site.dice, site.mesh
    width, depth, height = dice.uniform(26, 44), dice.uniform(14, 20), dice.uniform(8, 13)
    walls = [
        site.front(width, height, ground=dice.choice(("plain", "arcade", "door"))),
        site.front(depth, height),
    ]
    mesh.prism(rectangle(width, depth), 0, height, walls * 2, site.bare(8, 8))
    covering, glazing, top = site.roof(depth, 6), site.front(depth, 3.0, crown=False), height + 5.0
    if dice.chance(0.6):
        teeth = dice.integer(3, 6)
        pitch, rise = width / teeth, dice.uniform(2.5, 4.5)
        lean = dice.choice((0.0, 1.0))
        end = site.bare(pitch, rise)
        for k in range(teeth):
            a, b = -width / 2 + k * pitch, -width / 2 + (k + 1) * pitch
            tip = a + (b - a) * lean
            mesh.quad(
                [(a, depth, height), (a, 0, height), (tip, 0, height + rise), (tip, depth, height + rise)],
                covering if lean else glazing,
            )
            mesh.quad(
                [(b, 0, height), (b, depth, height), (tip, depth, height + rise), (tip, 0, height + rise)],
                glazing if lean else covering,
            )
            mesh.quad([(a, 0, height), (b, 0, height), (tip, 0, height + rise)], end)
    else:
        arc = half_disc(0.0, height, width / 2, width * 0.28)
        for (x0, z0), (x1, z1) in pairwise(arc):
            mesh.quad([(x0, -0.5, z0), (x0, depth, z0), (x1, depth, z1), (x1, -0.5, z1)], covering)
        canvas = facades.wall(site.style, dice, width, width * 0.28)
        glazed = half_disc(width / 2, 0.3, width * 0.36, width * 0.2)
        canvas.shape(glazed, site.style.pane, relief=LEVEL - 30, glass=255, ident=11)
        for k in range(1, 12):
            canvas.rect(
                width * k / 12 - 0.12,
                0,
                width * k / 12 + 0.12,
                width * 0.28,
                site.style.trim,
                glass=0,
                ident=0,
            )
        patch = site.add(canvas)
        mesh.quad([(x, 0, z) for x, z in [arc[-1], *arc[:-1]]], patch)
        top = height + width * 0.28
    for _ in range(dice.integer(0, 3)):
        tall = dice.uniform(18, 34)
        with mesh.placed(dice.uniform(-0.45, 0.45) * width, depth * dice.uniform(0.6, 1.1)):
            mesh.loft(
                regular(10, 1.9),
                regular(10, 1.1),
                0,
                tall,
                site.bare(6, tall),
                site.bare(2, 2, (0.1, 0.1, 0.1)),
                smooth=True,
            )
        top = max(top, tall)
    return Extent(width, depth, top)


def bridge(site: Site) -> Extent:
    """Put up a bridge across the view: pylons with cables, or arches, over the ground or the water."""
    dice, mesh = site.dice, site.mesh
    width, deck, deep = 110.0, dice.uniform(5, 9), dice.uniform(6, 9)
    stone = site.bare(10, 8)
    rail = Canvas.blank(20, 2.2, 8.0, shade(site.style.wall, 0.8))
    rail.ident[:] = HOLE
    rail.rect(0, 0, 20, 1.0, site.style.wall, ident=0)
    rail.rect(0, 2.0, 20, 2.2, site.style.trim, ident=0)
    for k in range(40):
        rail.rect(k * 0.5, 1.0, k * 0.5 + 0.12, 2.0, site.style.trim, ident=0)
    railing = site.add(rail)
    for k in range(6):
        x0, x1 = -width / 2 + width * k / 6, -width / 2 + width * (k + 1) / 6
        mesh.quad(
            [(x0, 0, deck - 1.2), (x1, 0, deck - 1.2), (x1, 0, deck + 1), (x0, 0, deck + 1)],
            railing,
            cutout=True,
        )
    mesh.prism(rectangle(width, deep), deck - 1.2, deck - 0.2, stone, site.bare(8, 8, (0.4, 0.4, 0.42)))
    if dice.chance(0.55):
        return _pylons(site, width, deck, deep)
    spans = dice.integer(3, 5)
    pitch = width * 0.8 / spans
    front = facades.wall(site.style, dice, pitch, deck - 0.8)
    rise = min(deck - 1.6, pitch * 0.42)
    front.shape(half_disc(pitch / 2, 0.0, pitch * 0.42, rise), ident=HOLE)
    hole = front.ident == HOLE
    front.shape(half_disc(pitch / 2, 0.0, pitch * 0.44, rise * 1.1), site.style.trim, relief=LEVEL + 20)
    front.ident[hole] = HOLE
    patch = site.add(front)
    for k in range(spans):
        x0 = -pitch * spans / 2 + k * pitch
        mesh.quad(
            [(x0, -0.2, 0), (x0 + pitch, -0.2, 0), (x0 + pitch, -0.2, deck - 0.8), (x0, -0.2, deck - 0.8)],
            patch,
            cutout=True,
        )
        with mesh.placed(x0, 0):
            mesh.prism(rectangle(pitch * 0.14, deep), 0, deck - 0.8, stone)
    posts = site.bare(2, 4, site.style.trim)
    for k in range(spans + 1):
        with mesh.placed(-pitch * spans / 2 + k * pitch, -0.4):
            mesh.prism(rectangle(1.6, 1.6), 0, deck + 2.6, posts, posts)
            mesh.loft(rectangle(1.8, 1.8, y=-0.1), [(0.0, 0.8)], deck + 2.6, deck + 4.2, posts)
    return Extent(60, deep, deck + 10)


def _pylons(site: Site, width: float, deck: float, deep: float) -> Extent:
    dice, mesh = site.dice, site.mesh
    tall, gap = dice.uniform(20, 34), dice.uniform(26, 44)
    kind = dice.choice(("portal", "tower", "slim"))
    size = {"portal": 2.2, "tower": 6.0, "slim": 1.5}[kind]
    wall = site.front(size, tall, ground="door", crown=True) if kind == "tower" else site.bare(4, tall)
    steel = site.bare(2, 2, site.style.accent if dice.chance(0.5) else (0.5, 0.52, 0.54))
    for x in (-gap / 2, gap / 2):
        for y in (-0.6, deep - 1.0) if kind != "tower" else (-0.6,):
            with mesh.placed(x, y):
                depth = deep + 1 if kind == "tower" else size
                mesh.prism(rectangle(size, depth), 0, tall, wall, wall)
                if kind == "tower":
                    mesh.loft(rectangle(size + 0.5, depth), [(0.0, depth / 2)], tall, tall + 5, site.roof())
        if kind == "portal":
            with mesh.placed(x, 0):
                for z in (tall - 2, tall * 0.66):
                    mesh.prism(rectangle(size, deep), z, z + 1.5, steel, steel)
    for x, sign in ((-gap / 2, -1), (-gap / 2, 1), (gap / 2, -1), (gap / 2, 1)):
        reach = gap / 2 if sign * x < 0 else (width - gap) / 2
        strands = dice.integer(5, 8) if kind != "portal" else 8
        for k in range(1, strands + 1):
            if kind == "portal":  # a hanging cable, drawn as short pieces
                u0, u1 = (k - 1) / strands, k / strands
                z0 = tall - (tall - deck - 2) * (1 - (1 - u0) ** 2)
                z1 = tall - (tall - deck - 2) * (1 - (1 - u1) ** 2)
                x0, x1 = x + sign * reach * u0, x + sign * reach * u1
                _strut(site, (x0, z0), (x1, z1), 0.3, steel)
                _strut(site, (x1, deck), (x1, z1), 0.12, steel)
            else:
                _strut(
                    site,
                    (x, tall * (0.95 - 0.4 * (1 - k / strands))),
                    (x + sign * reach * k / strands, deck),
                    0.16,
                    steel,
                )
    return Extent(gap + 20, deep, tall + 4)


def _strut(
    site: Site, start: tuple[float, float], end: tuple[float, float], half: float, patch: Patch
) -> None:
    (x0, z0), (x1, z1) = (start, end) if start <= end else (end, start)
    length = math.hypot(x1 - x0, z1 - z0)
    if length < 1e-6:
        return
    px, pz = -(z1 - z0) / length * half, (x1 - x0) / length * half
    site.mesh.quad(
        [(x0 - px, 0, z0 - pz), (x1 - px, 0, z1 - pz), (x1 + px, 0, z1 + pz), (x0 + px, 0, z0 + pz)], patch,
    )  # fmt: skip


def monument(site: Site) -> Extent:
    """Put up a column, an obelisk or an arch on a stepped base."""
    dice, mesh = site.dice, site.mesh
    stone, trim = site.bare(8, 8), site.bare(4, 4, site.style.trim)
    base, tall = dice.uniform(6, 12), dice.uniform(16, 34)
    for step in range(4):
        size = base * (1.6 - step * 0.2)
        mesh.prism(rectangle(size, size, y=6 - size / 2), step * 0.5, step * 0.5 + 0.5, stone, stone)
    kind = dice.choice(("obelisk", "column", "arch", "arch"))
    with mesh.placed(0, 6):
        if kind == "obelisk":
            r = base * 0.22
            mesh.prism(
                rectangle(base * 0.7, base * 0.7, y=-base * 0.35),
                2,
                6,
                site.front(base * 0.7, 4, ground="door"),
                trim,
            )
            mesh.loft(rectangle(2 * r, 2 * r, y=-r), rectangle(r * 1.3, r * 1.3, y=-r * 0.65), 6, tall, stone)
            mesh.loft(rectangle(r * 1.3, r * 1.3, y=-r * 0.65), [(0.0, 0.0)], tall, tall + 2.5, trim)
        elif kind == "column":
            r = base * 0.2
            mesh.prism(
                rectangle(base * 0.7, base * 0.7, y=-base * 0.35),
                2,
                7,
                site.front(base * 0.7, 5, ground="door"),
                trim,
            )
            mesh.loft(regular(12, r), regular(12, r * 0.8), 7, tall, stone, smooth=True)
            mesh.prism(rectangle(r * 2.6, r * 2.6, y=-r * 1.3), tall, tall + 1, trim, trim)
            mesh.loft(
                regular(8, r * 0.6),
                regular(8, r * 0.25),
                tall + 1,
                tall + 5,
                site.bare(2, 2, (0.45, 0.6, 0.52)),
                smooth=True,
            )
            mesh.dome(r * 0.3, tall + 5, r * 0.4, trim, sides=8, rings=2)
        else:
            width, high = base * dice.uniform(1.8, 2.6), tall * 0.75
            canvas = facades.wall(site.style, dice, width, high)
            half, spring = width * 0.2, high * 0.45
            arch = [(width / 2 - half, 0.0), (width / 2 + half, 0.0)]
            arch += half_disc(width / 2, spring, half)
            canvas.shape(
                [(width / 2 + (x - width / 2) * 1.15, y * 1.05) for x, y in arch],
                site.style.trim,
                relief=LEVEL + 30,
            )
            canvas.shape(arch, (0.1, 0.1, 0.11), relief=LEVEL - 80, ident=SIGN + 1)
            for x in (0.04, 0.24, 0.7, 0.9):
                canvas.rect(
                    width * x, 1, width * x + width * 0.06, high * 0.78, site.style.trim, relief=LEVEL + 45
                )
            canvas.rect(0, high * 0.78, width, high * 0.83, site.style.trim, relief=LEVEL + 60)
            canvas.rect(
                width * 0.2,
                high * 0.86,
                width * 0.8,
                high * 0.96,
                shade(site.style.wall, 0.75),
                relief=LEVEL - 15,
            )
            mesh.prism(
                rectangle(width, width * 0.45), 0, high, [site.add(canvas), site.bare(8, high)] * 2, stone
            )
            tall = high
            base = width
    return Extent(base * 1.6, 12, tall + 3)
