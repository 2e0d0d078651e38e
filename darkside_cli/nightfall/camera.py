"""Cameras, and the sun as one: where points of the city fall in an image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall.mesh import Floats, Mesh, Vector

#: What is nearer than this is cut off, in metres.
NEAR_M = 0.4


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at ``position``. ``axes`` are its right, down and forward, unit vectors of the world.

    A point is seen in pixel ``(focal_px * X / Z + centre_px, focal_px * Y / Z + centre_px)``, counted from the
    middle of the first pixel, of a square image of ``size_px``.
    """

    position: Vector
    axes: tuple[Vector, Vector, Vector]
    focal_px: float
    size_px: int

    @property
    def centre_px(self) -> float:
        """Pixel that the camera looks at."""
        return (self.size_px - 1) / 2

    def resized(self, size_px: int) -> Camera:
        """Give the camera with an image of another size of the same view."""
        return Camera(self.position, self.axes, self.focal_px * size_px / self.size_px, size_px)

    def view(self, points: Floats) -> Floats:
        """Take points (N, 3) from the world to right, down and forward of the camera."""
        moved = points - np.array(self.position)
        return turned(moved, self.axes)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Give the pixels (N, 2) of points (N, 3), and how far they lie ahead, in metres.

        Points that are not in front of the camera have no pixel that means anything.
        """
        seen = self.view(points)
        ahead = seen[:, 2]
        safe = np.where(np.abs(ahead) < 1e-9, 1e-9, ahead)
        return seen[:, :2] * (self.focal_px / safe)[:, None] + self.centre_px, ahead


def turned(points: Floats, axes: tuple[Vector, Vector, Vector]) -> Floats:
    """Give the coordinates of points (N, 3) along three axes."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    return np.stack([x * a + y * b + z * c for a, b, c in axes], axis=1)


def look(
    position: Vector, target: Vector, *, fov_degrees: float, roll_degrees: float = 0.0, size_px: int = 256
) -> Camera:
    """Make the camera that stands at ``position`` and looks at ``target``."""
    dx, dy, dz = (t - p for t, p in zip(target, position, strict=True))
    flat = math.hypot(dx, dy)
    size = math.hypot(flat, dz)
    forward = (dx / size, dy / size, dz / size)
    right = (dy / flat, -dx / flat, 0.0)
    down = (
        forward[1] * right[2] - forward[2] * right[1],
        forward[2] * right[0] - forward[0] * right[2],
        forward[0] * right[1] - forward[1] * right[0],
    )
    c, s = math.cos(math.radians(roll_degrees)), math.sin(math.radians(roll_degrees))
    rolled = tuple(c * r + s * d for r, d in zip(right, down, strict=True))
    lower = tuple(c * d - s * r for r, d in zip(right, down, strict=True))
    focal = size_px / 2 / math.tan(math.radians(fov_degrees) / 2)
    return Camera(position, (rolled, lower, forward), focal, size_px)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Planes:
    """The faces of a mesh as an image has them, F each.

    ``columns`` (9, F): for the pixel (x, y) of face f, ``columns[0:3, f] . (x, y, 1)`` is tx / Z, ``columns[3:6]``
    ty / Z and ``columns[6:9]`` 1 / Z, with the atlas texel (tx, ty) and the distance Z ahead. ``facing`` says
    whether the camera is on the face's outer side.
    """

    columns: Floats
    facing: NDArray[np.bool_]


def planes_of(mesh: Mesh, camera: Camera) -> Planes:
    """Work out what each face's plane looks like from ``camera``."""
    across, down = turned(mesh.along, camera.axes), turned(mesh.down, camera.axes)
    start = camera.view(mesh.origin)
    normal = _cross(across, down)
    volume = _dot(normal, start)
    safe = np.where(np.abs(volume) < 1e-12, 1e-12, volume)
    rows = [
        _cross(down, start) / safe[:, None],
        _cross(start, across) / safe[:, None],
        normal / safe[:, None],
    ]
    columns = []
    for row in rows:
        a, b = row[:, 0] / camera.focal_px, row[:, 1] / camera.focal_px
        columns += [a, b, row[:, 2] - (a + b) * camera.centre_px]
    outward = _dot(turned(mesh.normal, camera.axes), start)
    return Planes(np.stack(columns), outward < -1e-9)


@dataclass(frozen=True)
class SunCamera:
    """The view from the sun: parallel rays. ``axes`` as a camera's; ``scale`` pixels a metre around ``middle``."""

    axes: tuple[Vector, Vector, Vector]
    middle: Vector
    scale: float
    size_px: int

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Give the pixels (N, 2) of points (N, 3), and how near to the sun they are, in metres."""
        seen = turned(points - np.array(self.middle), self.axes)
        return seen[:, :2] * self.scale + (self.size_px - 1) / 2, -seen[:, 2]


def _cross(a: Floats, b: Floats) -> Floats:
    return np.stack(
        [
            a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
            a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
            a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
        ],
        axis=1,
    )


def _dot(a: Floats, b: Floats) -> Floats:
    total: Floats = a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]
    return total
