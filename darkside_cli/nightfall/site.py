"""Where a building is put up: its style, its dice, and what its walls and roofs are made of."""

from __future__ import annotations

from dataclasses import dataclass

from darkside_cli.nightfall import facades, props
from darkside_cli.nightfall.atlas import AtlasBuilder
from darkside_cli.nightfall.canvas import Canvas, Colour
from darkside_cli.nightfall.dice import Dice
from darkside_cli.nightfall.mesh import Patch
from darkside_cli.nightfall.solids import MeshBuilder
from darkside_cli.nightfall.style import Style


@dataclass(frozen=True)
class Extent:
    """How far a building reaches, in metres: its width (around x = 0), depth (from y = ``front`` on) and height."""

    width: float
    depth: float
    height: float
    front: float = 0.0


@dataclass
class Site:
    """Tools of whoever builds: ``mesh`` and ``atlas`` take the parts, ``dice`` decides on ``style``'s terms."""

    mesh: MeshBuilder
    atlas: AtlasBuilder
    style: Style
    dice: Dice
    scale: float = facades.SCALE

    def front(self, width: float, height: float, *, ground: str = "plain", crown: bool = True) -> Patch:
        """Give a new façade."""
        scale = min(self.scale, 1000 / width)
        canvas = facades.facade(self.style, self.dice, width, height, ground=ground, crown=crown, scale=scale)
        return self.atlas.add(canvas)

    def bare(self, width: float, height: float, colour: Colour | None = None) -> Patch:
        """Give a wall without windows, in the style's material or plastered in ``colour``."""
        if colour is not None:
            return self.atlas.add(props.plain(colour, self.dice, size_m=min(width, 12.0)))
        scale = min(self.scale, 1000 / width)
        return self.atlas.add(facades.wall(self.style, self.dice, width, height, scale=scale))

    def roof(self, width: float = 12.0, height: float = 8.0, colour: Colour | None = None) -> Patch:
        """Give a roof's covering."""
        return self.atlas.add(
            props.roof(colour or self.style.roof, self.dice, min(width, 60.0), min(height, 30.0))
        )

    def add(self, canvas: Canvas) -> Patch:
        """Give what was painted on ``canvas``."""
        return self.atlas.add(canvas)
