"""Places of the city: a landmark of some family, its surroundings, and the textures of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall import halls, props, skyline, towers, works
from darkside_cli.nightfall.atlas import Atlas, AtlasBuilder
from darkside_cli.nightfall.dice import Dice
from darkside_cli.nightfall.lamplight import Light, LightGrid, irradiance, light_grid
from darkside_cli.nightfall.mesh import Mesh, Patch
from darkside_cli.nightfall.site import Extent, Site
from darkside_cli.nightfall.solids import MeshBuilder
from darkside_cli.nightfall.style import Style, draw_style
from darkside_cli.nightfall.surroundings import Surroundings, surround

#: Places with numbers of one block of this size are of one family: alike in kind and style, not in shape.
FAMILY = 3

KINDS: dict[str, Callable[[Site], Extent]] = {
    "church": towers.church,
    "domed": halls.domed,
    "temple": halls.temple,
    "palace": halls.palace,
    "clock_tower": towers.clock_tower,
    "gate": towers.gate,
    "pagoda": halls.pagoda,
    "gabled_row": halls.gabled_row,
    "high_rise": skyline.high_rise,
    "slabs": skyline.slabs,
    "round_tower": skyline.round_tower,
    "factory": works.factory,
    "bridge": works.bridge,
    "monument": works.monument,
    "theatre": skyline.theatre,
}
_WEIGHTS = {
    "church": 1.4, "domed": 1.2, "temple": 0.8, "palace": 1.3, "clock_tower": 1.2, "gate": 0.9, "pagoda": 0.6,
    "gabled_row": 1.0, "high_rise": 1.2, "slabs": 1.3, "round_tower": 1.0, "factory": 1.0, "bridge": 0.8,
    "monument": 0.9, "theatre": 1.0,
}  # fmt: skip
_MATERIALS: dict[str, tuple[str, ...]] = {
    "church": ("stone", "brick", "plaster"),
    "domed": ("stone", "plaster"),
    "temple": ("stone", "plaster"),
    "palace": ("stone", "plaster", "brick"),
    "gate": ("stone", "brick"),
    "pagoda": ("plaster", "panel"),
    "gabled_row": ("plaster", "brick"),
    "high_rise": ("glass", "concrete", "stone", "panel"),
    "slabs": ("glass", "concrete", "panel"),
    "factory": ("brick", "concrete"),
    "monument": ("stone", "concrete"),
}
_LAYOUTS: dict[str, tuple[str, ...]] = {
    "church": ("plaza", "plaza", "park", "street", "boulevard"),
    "clock_tower": ("plaza", "street", "boulevard", "park"),
    "gate": ("street", "plaza", "park"),
    "bridge": ("water", "water", "park"),
    "monument": ("plaza", "park", "boulevard"),
    "gabled_row": ("boulevard", "water", "plaza"),
    "palace": ("plaza", "park", "water", "boulevard"),
    "theatre": ("boulevard", "street", "plaza"),
}
_USUAL_LAYOUTS = ("plaza", "boulevard", "park", "water")


@dataclass(frozen=True)
class Scene:
    """A place, ready to be photographed.

    ``mesh`` is all that does not move, with the textures of ``atlas``; ``around`` has lamps, trees and roads;
    ``people`` and ``cars`` (side, front, back, top) are textures of what comes and goes.
    """

    seed: int
    number: int
    kind: str
    mesh: Mesh
    atlas: Atlas
    extent: Extent
    around: Surroundings
    people: tuple[Patch, ...]
    cars: tuple[tuple[Patch, Patch, Patch, Patch], ...]

    @property
    def lights(self) -> tuple[Light, ...]:
        """Street lamps, then floodlights, then shops."""
        return (*self.around.lamps, *self.around.floods, *self.around.shops)

    @cached_property
    def grid(self) -> LightGrid:
        """Where lamplight is worked out on what does not move."""
        return light_grid(self.mesh)

    @cached_property
    def lamplight(self) -> list[NDArray[np.float32]]:
        """Irradiance of each of :attr:`lights` on the grid, at unit colour."""
        return [irradiance(self.grid, light) for light in self.lights]

    def dice(self, *path: str | int) -> Dice:
        """Give a stream of this place's own."""
        return Dice("nightfall", self.seed, "place", self.number, *path)


def family_of(seed: int, number: int) -> tuple[str, Style, str]:
    """Kind, style and layout that place ``number`` of the city ``seed`` shares with its family."""
    dice = Dice("nightfall", seed, "family", number // FAMILY)
    kind = dice.weighted(_WEIGHTS)
    return kind, draw_style(dice, _MATERIALS.get(kind, ())), dice.choice(_LAYOUTS.get(kind, _USUAL_LAYOUTS))


def build_scene(seed: int, number: int) -> Scene:
    """Build place ``number`` of the city ``seed``; the same one every time, and wherever it is built."""
    kind, style, layout = family_of(seed, number)
    dice = Dice("nightfall", seed, "place", number, "building")
    mesh, atlas = MeshBuilder(), AtlasBuilder()
    site = Site(mesh, atlas, style, dice)
    front = 0.0
    if kind == "bridge":  # it stands over the water or before the houses, everything else among them
        front = -26.0 if layout == "water" else -4.0
    with mesh.placed(0.0, front):
        extent = replace(KINDS[kind](site), front=front)
    around = surround(site, extent, layout)
    crowd = Dice("nightfall", seed, "place", number, "crowd")
    people = tuple(atlas.add(crowd.choice(props.people())) for _ in range(4))
    cars = []
    for _ in range(3):
        side, nose, tail, top = (atlas.add(canvas) for canvas in crowd.choice(props.cars()))
        cars.append((side, nose, tail, top))
    return Scene(seed, number, kind, mesh.build(), atlas.build(), extent, around, people, tuple(cars))
