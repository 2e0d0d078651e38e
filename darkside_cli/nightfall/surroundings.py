"""What stands around a landmark: ground, roads, water, neighbours, lamps, trees, a skyline."""

from __future__ import annotations

from dataclasses import dataclass, field

from darkside_cli.nightfall import props
from darkside_cli.nightfall.canvas import Canvas
from darkside_cli.nightfall.houses import put_along, put_behind, put_beside
from darkside_cli.nightfall.lamplight import Light
from darkside_cli.nightfall.mesh import Patch
from darkside_cli.nightfall.site import Extent, Site

#: Height of water, where there is some.
WATER_LEVEL_M = -2.0
LAYOUTS = ("plaza", "boulevard", "park", "street", "water")


@dataclass
class Surroundings:
    """What was put up, and where people, cars and cameras may be.

    ``trees`` are (x, y, size in metres, texture); ``walk`` is the area of people (left, right, near, far); ``lanes``
    are roads as (along x?, position, width); ``shore`` is the y at which water begins before the landmark, if there
    is any. ``water`` and ``ground`` are the numbers of their faces.
    """

    layout: str
    lamps: list[Light] = field(default_factory=list)
    floods: list[Light] = field(default_factory=list)
    shops: list[Light] = field(default_factory=list)
    trees: list[tuple[float, float, float, Patch]] = field(default_factory=list)
    lanes: list[tuple[bool, float, float]] = field(default_factory=list)
    walk: tuple[float, float, float, float] = (-25.0, 25.0, -40.0, -3.0)
    shore: float | None = None
    half_width: float = 40.0
    water: list[int] = field(default_factory=list)
    ground: list[int] = field(default_factory=list)


def surround(site: Site, extent: Extent, layout: str) -> Surroundings:
    """Put up the surroundings of a landmark that reaches as far as ``extent``."""
    around = Surroundings(layout)
    _ground(site, around)
    if layout == "street":
        around.half_width = max(8.5, min(13.0, extent.width * 0.42))
        around.shops = put_along(site, extent, around.half_width)
    else:
        around.half_width = max(30.0, extent.width / 2 + 14)
        around.shops = put_beside(site, extent, apart=layout == "park")
    put_behind(site, extent)
    _trees(site, around, extent)
    _lamps(site, around)
    _floods(site, around, extent)
    return around


def _ground(site: Site, around: Surroundings) -> None:
    dice, mesh, layout = site.dice, site.mesh, around.layout
    width, near, far = 84.0, -72.0, 12.0
    kind = {"park": "park", "street": "cobbles"}.get(layout) or dice.choice(("plaza", "cobbles", "plaza"))
    canvas = props.pavement(dice, width, far - near, kind=kind, scale=5.0)
    if layout in ("boulevard", "park", "water"):
        y = -dice.uniform(10, 20) if layout != "water" else -dice.uniform(7, 9)
        wide = dice.uniform(7, 12) if layout != "water" else 6.0
        props.add_road(canvas, dice, y - near - wide, y - near)
        around.lanes.append((True, y - wide / 2, wide))
    elif layout == "street":
        wide = dice.uniform(6, 8)
        props.add_lane(canvas, dice, width / 2 - wide / 2, width / 2 + wide / 2)
        around.lanes.append((False, 0.0, wide))
    elif dice.chance(0.3):
        props.add_road(canvas, dice, 18, 26)
        around.lanes.append((True, near + 22, 8.0))
    half, first = width / 2, len(mesh.faces)
    if layout == "water":
        shore, bank = -17.0, -46.0
        around.shore = shore
        low = Canvas.blank(8, 8, 4.0, (0.16, 0.22, 0.24))
        water = site.add(low)
        around.water.append(len(mesh.faces))
        mesh.quad([(-400, bank - 6, -2), (400, bank - 6, -2), (400, shore, -2), (-400, shore, -2)], water)
        stone = site.bare(8, 3, (0.5, 0.48, 0.44))
        mesh.wall((-200, shore), (200, shore), -2, 0, stone)
        rail = Canvas.blank(20, 1.2, 8.0, (0.25, 0.26, 0.26))
        rail.ident[:] = 255
        rail.rect(0, 1.05, 20, 1.2, (0.25, 0.26, 0.26), ident=0)
        for k in range(20):
            rail.rect(k, 0, k + 0.12, 1.2, (0.25, 0.26, 0.26), ident=0)
        fence = site.add(rail)
        for k in range(-5, 5):
            mesh.quad(
                [
                    (k * 20, shore, 0),
                    (k * 20 + 20, shore, 0),
                    (k * 20 + 20, shore, 1.2),
                    (k * 20, shore, 1.2),
                ],
                fence,
                cutout=True,
            )
        front = _part(site.add(canvas), canvas, shore - near, far - near)
        mesh.quad([(-half, shore, 0), (half, shore, 0), (half, far, 0), (-half, far, 0)], front)
        mesh.quad(
            [(-half, near, 0), (half, near, 0), (half, bank, 0), (-half, bank, 0)],
            site.add(props.pavement(dice, 40, 20, kind="cobbles")),
        )
        around.walk = (-22.0, 22.0, -15.0, -2.0)
    else:
        mesh.quad([(-half, near, 0), (half, near, 0), (half, far, 0), (-half, far, 0)], site.add(canvas))
        around.walk = (-18.0, 18.0, -42.0, -2.0) if layout != "street" else (-7.0, 7.0, -50.0, -3.0)
    plain = site.bare(12, 12, (0.42, 0.42, 0.4) if layout != "park" else (0.36, 0.42, 0.26))
    if layout != "water":
        mesh.quad([(-500, -120, -0.3), (500, -120, -0.3), (500, 500, -0.3), (-500, 500, -0.3)], plain)
    else:
        mesh.quad([(-500, -17, -0.3), (500, -17, -0.3), (500, 500, -0.3), (-500, 500, -0.3)], plain)
    around.ground += [face for face in range(first, len(mesh.faces)) if face not in around.water]


def _part(patch: Patch, canvas: Canvas, bottom: float, top: float) -> Patch:
    """Give the part of a ground texture between two distances from its near edge."""
    upper = round((canvas.height_m - top) * patch.scale)
    height = round((top - bottom) * patch.scale)
    return Patch(patch.x, patch.y + upper, patch.width, height, patch.scale)


def _trees(site: Site, around: Surroundings, extent: Extent) -> None:
    dice = site.dice
    bare = dice.chance(0.15)
    kinds = [site.add(dice.choice(props.trees()[11:] if bare else props.trees()[:11])) for _ in range(2)]
    count = {"park": dice.integer(8, 14), "street": dice.integer(0, 5)}.get(around.layout, dice.integer(1, 8))
    row = dice.chance(0.5) and around.layout != "street"
    for n in range(count):
        size = dice.uniform(5, 10)
        if around.layout == "street":
            x, y = dice.choice((-1, 1)) * (around.half_width - 2.2), -dice.uniform(6, 60)
        elif row:
            x, y = (n - (count - 1) / 2) * 9.0 + (4.5 if count % 2 else 0.0), -7.0
            if abs(x) < extent.width * 0.22:
                continue
        else:
            x = dice.choice((-1, 1)) * dice.uniform(extent.width * 0.35, extent.width * 0.5 + 16)
            y = -dice.uniform(3, 34)
        around.trees.append((x, max(y, (around.shore or -99) + 1.5), size, dice.choice(kinds)))


def _lamps(site: Site, around: Surroundings) -> None:
    dice, mesh = site.dice, site.mesh
    arm = around.layout in ("boulevard", "street") or dice.chance(0.4)
    patch = site.add(props.lamp_post(dice, "arm" if arm else "globe"))
    height, wide = (6.0, 1.6) if arm else (4.0, 1.6)
    pitch = dice.uniform(11, 17)
    places: list[tuple[float, float]] = []
    if around.layout == "street":
        for n in range(5):
            for sign in (-1, 1):
                places.append((sign * (around.half_width - 1.6), -8.0 - n * pitch))
    else:
        rows = [-dice.uniform(4, 6)]
        rows.append(
            around.lanes[0][1] - around.lanes[0][2] / 2 - 1.2 if around.lanes else -dice.uniform(18, 28)
        )
        for y in rows:
            for n in range(-3, 4):
                places.append((n * pitch + dice.uniform(-0.5, 0.5) + pitch / 2, y))
    for x, y in places:
        if around.shore is not None and y < around.shore + 0.5:
            y = around.shore + 0.8
        sign = -1 if x > 0 and arm else 1
        a, b = x - sign * wide / 2, x + sign * wide / 2
        mesh.quad([(a, y, 0), (b, y, 0), (b, y, height), (a, y, height)], patch, cutout=True)
        head = (x + sign * 0.35, y, height - 0.4) if arm else (x, y, height - 0.35)
        around.lamps.append(
            Light(head, "lamp" if arm else "globe", dice.uniform(16, 26) if arm else dice.uniform(7, 12))
        )


def _floods(site: Site, around: Surroundings, extent: Extent) -> None:
    """Put floodlights before the landmark's front and at its sides."""
    dice = site.dice
    count = max(2, min(6, round(extent.width / 7)))
    power = dice.uniform(28, 60)
    for n in range(count):
        x = (n + 0.5) / count * extent.width - extent.width / 2
        around.floods.append(Light((x, extent.front - 3.2, 0.4), "flood", power, (0.0, 0.5, 0.86)))
    tall = extent.height
    if tall > 18:
        around.floods.append(
            Light((0.0, extent.front - 7.0, 0.5), "flood", power * tall / 7, (0.0, 0.42, 0.9))
        )
    for sign in (-1, 1):
        around.floods.append(
            Light(
                (sign * (extent.width / 2 + 3), extent.front + extent.depth / 2, 0.4),
                "flood",
                power,
                (-sign * 0.5, 0.0, 0.86),
            )
        )
