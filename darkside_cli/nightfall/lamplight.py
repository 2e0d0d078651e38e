"""What lamps light at night: irradiance on a coarse grid over every face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall.canvas import Bytes, Colour
from darkside_cli.nightfall.mesh import Mesh, Vector

_CELL_M = 1.3
_MOST = 72
_WIDTH = 256
#: Irradiance that is kept as 255; its square root is stored.
BRIGHTEST = 8.0


@dataclass(frozen=True)
class Light:
    """A lamp at ``position``. ``kind`` is "lamp" (shines down and around), "flood" (shines up, towards ``aim``),
    "sign" (shines towards ``aim``) or "globe" (shines everywhere); ``power`` is irradiance at one metre.
    """

    position: Vector
    kind: str
    power: float
    aim: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class LightGrid:
    """Where irradiance is known: points and normals (T, 3), in cells (row, column) of a map of ``shape``.

    ``places`` (F, 4): left, top, last column and last row, counted from there, of each face's part of the map.
    ``around`` (T) marks what is lit from all sides, leaves and people.
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    around: NDArray[np.bool_]
    cells: tuple[NDArray[np.intp], NDArray[np.intp]]
    shape: tuple[int, int]
    places: NDArray[np.float64]


def light_grid(mesh: Mesh) -> LightGrid:
    """Lay grids over the faces, finer ones on larger faces, and pack them into one map."""
    points, normals, around, rows, columns, places = [], [], [], [], [], []
    x = y = tallest = 0
    for f in range(len(mesh)):
        left, top, width, height = mesh.patch[f]
        across, down = mesh.along[f] * (width - 1), mesh.down[f] * (height - 1)
        w = int(np.clip(np.sqrt((across * across).sum()) / _CELL_M, 1, _MOST)) + 1
        h = int(np.clip(np.sqrt((down * down).sum()) / _CELL_M, 1, _MOST)) + 1
        if x + w > _WIDTH:
            x, y, tallest = 0, y + tallest, 0
        u, v = np.linspace(0, 1, w), np.linspace(0, 1, h)
        corner = mesh.origin[f] + mesh.along[f] * left + mesh.down[f] * top
        grid = corner + u[None, :, None] * across + v[:, None, None] * down
        points.append(grid.reshape(-1, 3))
        side = (u * 2 - 1)[None, :, None] * mesh.bend[f] + mesh.normal[f]
        normals.append(np.broadcast_to(side, (h, w, 3)).reshape(-1, 3))
        around.append(np.full(w * h, mesh.cutout[f]))
        rows.append(np.repeat(np.arange(y, y + h), w))
        columns.append(np.tile(np.arange(x, x + w), h))
        places.append((x, y, w - 1, h - 1))
        x, tallest = x + w, max(tallest, h)
    return LightGrid(
        np.concatenate(points).astype(np.float32),
        np.concatenate(normals).astype(np.float32),
        np.concatenate(around),
        (np.concatenate(rows), np.concatenate(columns)),
        (y + tallest, _WIDTH),
        np.array(places, dtype=np.float64),
    )


def coarse_grid(mesh: Mesh) -> LightGrid:
    """Lay the same coarse grid, 2 cells wide and 3 high, over all faces: for small things."""
    count, u, v = len(mesh), np.array([0.0, 1.0]), np.array([0.0, 0.5, 1.0])
    left, top, width, height = mesh.patch.T
    tx, ty = left[:, None] + u * (width - 1)[:, None], top[:, None] + v * (height - 1)[:, None]
    points = (
        mesh.origin[:, None, None]
        + mesh.along[:, None, None] * tx[:, None, :, None]
        + mesh.down[:, None, None] * ty[:, :, None, None]
    )
    normals = np.broadcast_to(mesh.normal[:, None, None], points.shape)
    rows, columns = np.meshgrid(np.arange(3 * count), np.arange(2), indexing="ij")
    face = np.arange(count)
    places = np.stack([0 * face, 3 * face, 1 + 0 * face, 2 + 0 * face], axis=1).astype(np.float64)
    return LightGrid(
        points.reshape(-1, 3).astype(np.float32),
        normals.reshape(-1, 3).astype(np.float32),
        np.repeat(mesh.cutout, 6),
        (rows.reshape(-1), columns.reshape(-1)),
        (3 * count, _WIDTH),
        places,
    )


def irradiance(grid: LightGrid, light: Light) -> NDArray[np.float32]:
    """Irradiance (T) of one lamp in all points of the grid; nothing throws shadows here."""
    px, py, pz = (np.float32(part) for part in light.position)
    x, y, z = px - grid.points[:, 0], py - grid.points[:, 1], pz - grid.points[:, 2]
    square = x * x + y * y + z * z + np.float32(0.4)
    distance = np.sqrt(square)
    facing = (x * grid.normals[:, 0] + y * grid.normals[:, 1] + z * grid.normals[:, 2]) / distance
    facing = np.where(grid.around, np.float32(0.6) + facing * np.float32(0.3), np.maximum(facing, 0))
    if light.kind == "lamp":
        facing *= np.clip(z / distance * np.float32(0.8) + np.float32(0.3), 0, 1)
    elif light.kind != "globe":
        ax, ay, az = (np.float32(part) for part in light.aim)
        towards = np.clip(-(x * ax + y * ay + z * az) / distance, 0, 1)
        facing *= towards * towards if light.kind == "flood" else towards
    lit: NDArray[np.float32] = facing * np.float32(light.power) / square
    return lit


def light_map(
    grid: LightGrid, parts: Sequence[NDArray[np.float32]], colours: Sequence[Colour]
) -> tuple[Bytes, NDArray[np.float64]]:
    """Add up lamps (their irradiance ``parts``, in ``colours``) to a map (H, W, 4); give it and the places in it.

    The map holds the square root of irradiance, 255 at BRIGHTEST.
    """
    total = np.zeros((4, len(grid.points)), dtype=np.float32)
    for part, colour in zip(parts, colours, strict=True):
        for k in range(3):
            if colour[k]:
                total[k] += part * np.float32(colour[k])
    level = np.sqrt(np.minimum(total * np.float32(1 / BRIGHTEST), 1)) * np.float32(255)
    map_ = np.zeros((*grid.shape, 4), dtype=np.uint8)
    map_[grid.cells] = np.rint(level.T).astype(np.uint8)
    return map_, grid.places
