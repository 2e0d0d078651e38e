"""Solids of the city: faces of a :mod:`mesh`, put together from walls, roofs, drums and domes.

Footprints are polygons (K, 2) that run counter-clockwise seen from above, so each of their edges runs from left to
right for whoever looks at it from outside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from darkside_cli.nightfall.mesh import Mesh, Patch, Vector

Footprint = Sequence[tuple[float, float]]


def rectangle(width: float, depth: float, x: float = 0.0, y: float = 0.0) -> Footprint:
    """Footprint of a box whose front middle is at (x, y) and which reaches back to y + depth."""
    half = width / 2
    return [(x - half, y), (x + half, y), (x + half, y + depth), (x - half, y + depth)]


def regular(sides: int, radius: float, x: float = 0.0, y: float = 0.0, turn: float = 0.0) -> Footprint:
    """Footprint of a drum around (x, y); ``turn`` is in radians."""
    angles = [turn + 2 * math.pi * (n + 0.5) / sides - math.pi / 2 for n in range(sides)]
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


@dataclass
class MeshBuilder:
    """Collects faces; :meth:`placed` moves and turns what is built inside."""

    faces: list[tuple[list[Vector], Vector, Vector, Vector, Vector, Vector, Patch, bool, int]] = field(
        default_factory=list
    )
    _frame: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 0.0)

    @contextmanager
    def placed(self, x: float, y: float, turn: float = 0.0) -> Iterator[None]:
        """Put what is built inside at (x, y), turned counter-clockwise by ``turn`` radians."""
        before = self._frame
        px, py, c, s = before
        cos, sin = math.cos(turn), math.sin(turn)
        self._frame = (px + c * x - s * y, py + s * x + c * y, c * cos - s * sin, s * cos + c * sin)
        try:
            yield
        finally:
            self._frame = before

    def quad(
        self,
        corners: Sequence[Vector],
        patch: Patch,
        *,
        fit: bool = True,
        cutout: bool = False,
        bend: Vector | None = None,
    ) -> None:
        """Add a face; its corners run counter-clockwise seen from outside, from the lower left one.

        The texture's left edge is the first corner's, its up the direction square to the first edge. With ``fit``
        the patch is stretched over the face, without it keeps its scale from the face's lower left on.
        """
        px, py, c, s = self._frame
        points = [(px + c * x - s * y, py + s * x + c * y, z) for x, y, z in corners]
        first = points[0]
        edge = _minus(points[1], first)
        width = _length(edge)
        spans = [_minus(point, first) for point in points[1:]]
        normal = (0.0, 0.0, 0.0)
        for one, two in pairwise(spans):
            normal = _plus(normal, _cross(one, two))
        size = _length(normal)
        if width < 1e-6 or size < 1e-9:
            return
        along, normal = _times(edge, 1 / width), _times(normal, 1 / size)
        up = _cross(normal, along)
        height = max(_dot(span, up) for span in spans)
        sides = [0.0, *(_dot(span, along) for span in spans)]
        left, right = min(sides), max(sides)
        if fit:
            across = _times(along, (right - left) / (patch.width - 1))
            down = _times(up, -height / (patch.height - 1))
            corner = _plus(first, _plus(_times(along, left), _times(up, height)))
        else:
            across, down = _times(along, 1 / patch.scale), _times(up, -1 / patch.scale)
            corner = _plus(first, _times(down, 1 - patch.height))
        # Texel centres of the patch's border lie on the face's border.
        origin = _plus(corner, _plus(_times(across, -patch.x), _times(down, -patch.y)))
        curve = (0.0, 0.0, 0.0)
        if bend is not None:
            curve = (c * bend[0] - s * bend[1], s * bend[0] + c * bend[1], bend[2])
        shift = len(self.faces) * 37 % 199
        self.faces.append((points, origin, across, down, normal, curve, patch, cutout, shift))

    def wall(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        bottom: float,
        top: float,
        patch: Patch,
        *,
        fit: bool = True,
    ) -> None:
        """Add an upright wall whose outside is to the right of the way from ``start`` to ``end``."""
        (x0, y0), (x1, y1) = start, end
        self.quad([(x0, y0, bottom), (x1, y1, bottom), (x1, y1, top), (x0, y0, top)], patch, fit=fit)

    def loft(
        self,
        lower: Footprint,
        upper: Footprint,
        bottom: float,
        top: float,
        walls: Patch | Sequence[Patch],
        cap: Patch | None = None,
        *,
        smooth: bool = False,
        fit: bool = True,
    ) -> None:
        """Add the sides between two footprints of as many corners, and a flat ``cap`` on top.

        ``walls`` is one patch for all sides or one for each. An upper footprint of one point makes a pyramid.
        ``smooth`` shades the sides as one round wall.
        """
        count = len(lower)
        patches = [walls] * count if isinstance(walls, Patch) else list(walls)
        tips = list(upper) if len(upper) == count else [upper[0]] * count
        for n in range(count):
            m = (n + 1) % count
            corners = [(*lower[n], bottom), (*lower[m], bottom)]
            corners += [(*tips[m], top)] if tips[m] == tips[n] else [(*tips[m], top), (*tips[n], top)]
            bend = None
            if smooth:
                half = math.sin(math.pi / count)
                dx, dy = lower[m][0] - lower[n][0], lower[m][1] - lower[n][1]
                size = math.hypot(dx, dy) or 1.0
                bend = (dx / size * half, dy / size * half, 0.0)
            self.quad(corners, patches[n % len(patches)], bend=bend, fit=fit)
        if cap is not None and len(upper) > 2:
            self.quad([(x, y, top) for x, y in upper], cap)

    def prism(
        self,
        footprint: Footprint,
        bottom: float,
        top: float,
        walls: Patch | Sequence[Patch],
        cap: Patch | None = None,
        *,
        smooth: bool = False,
        fit: bool = True,
    ) -> None:
        """Add a block with upright walls."""
        self.loft(footprint, footprint, bottom, top, walls, cap, smooth=smooth, fit=fit)

    def gable(
        self,
        width: float,
        depth: float,
        bottom: float,
        rise: float,
        roof: Patch,
        end: Patch,
        *,
        y: float = 0.0,
        along_x: bool = True,
        overhang: float = 0.4,
    ) -> None:
        """Add a saddle roof over ``rectangle(width, depth, y=y)``; its ridge runs along x, or else along y."""
        half, over, top = width / 2, overhang, bottom + rise
        front, back, middle = y, y + depth, y + depth / 2
        if along_x:
            a, b = -half - over, half + over
            drop = bottom - rise * over / (depth / 2)
            self.quad(
                [(a, front - over, drop), (b, front - over, drop), (b, middle, top), (a, middle, top)], roof
            )
            self.quad(
                [(b, back + over, drop), (a, back + over, drop), (a, middle, top), (b, middle, top)], roof
            )
            self.quad([(half, front, bottom), (half, back, bottom), (half, middle, top)], end)
            self.quad([(-half, back, bottom), (-half, front, bottom), (-half, middle, top)], end)
        else:
            a, b = front - over, back + over
            drop = bottom - rise * over / half
            self.quad([(half + over, a, drop), (half + over, b, drop), (0, b, top), (0, a, top)], roof)
            self.quad([(-half - over, b, drop), (-half - over, a, drop), (0, a, top), (0, b, top)], roof)
            self.quad([(-half, front, bottom), (half, front, bottom), (0, front, top)], end)
            self.quad([(half, back, bottom), (-half, back, bottom), (0, back, top)], end)

    def dome(
        self, radius: float, bottom: float, rise: float, skin: Patch, *, sides: int = 14, rings: int = 4
    ) -> None:
        """Add a dome around the frame's origin; a ``rise`` over the radius makes it pointed like an onion."""
        for ring in range(rings):
            low, high = ring / rings * math.pi / 2, (ring + 1) / rings * math.pi / 2
            upper = regular(sides, radius * math.cos(high)) if ring < rings - 1 else [(0.0, 0.0)]
            self.loft(
                regular(sides, radius * math.cos(low)),
                upper,
                bottom + rise * math.sin(low),
                bottom + rise * math.sin(high),
                skin,
                smooth=True,
            )

    def build(self) -> Mesh:
        """Give the faces as arrays."""
        if not self.faces:
            none = np.zeros((0, 3))
            flags = np.zeros(0, dtype=np.int64)
            return Mesh((), none, none, none, none, none, np.zeros((0, 4)), flags.astype(bool), flags)
        points, origin, along, down, normal, bend, patch, cutout, shift = zip(*self.faces, strict=True)
        return Mesh(
            vertices=tuple(np.array(each) for each in points),
            origin=np.array(origin),
            along=np.array(along),
            down=np.array(down),
            normal=np.array(normal),
            bend=np.array(bend),
            patch=np.array([(p.x, p.y, p.width, p.height) for p in patch], dtype=np.float64),
            cutout=np.array(cutout, dtype=bool),
            shift=np.array(shift, dtype=np.int64),
        )


def _length(v: Vector) -> float:
    return math.sqrt(_dot(v, v))


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _times(a: Vector, factor: float) -> Vector:
    return a[0] * factor, a[1] * factor, a[2] * factor


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
