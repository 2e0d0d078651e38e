"""Which face is seen in which pixel: polygons into a depth buffer."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall.camera import NEAR_M, Camera, Planes, SunCamera, turned
from darkside_cli.nightfall.canvas import HOLE, Bytes
from darkside_cli.nightfall.mesh import Floats, Mesh

NOTHING = -1
_SUB = 16
_FAR_OUT = 1 << 27


@dataclass(frozen=True)
class Buffer:
    """``face`` (H, W) int16 is the face seen, or NOTHING; ``near`` (H, W) float32 how near it is (1 / Z, or metres
    towards the sun).
    """

    face: NDArray[np.int16]
    near: NDArray[np.float32]

    @classmethod
    def empty(cls, size_px: int, far: float) -> Buffer:
        """Make a buffer in which nothing is seen."""
        shape = (size_px, size_px)
        return cls(np.full(shape, NOTHING, dtype=np.int16), np.full(shape, far, dtype=np.float32))


def draw(mesh: Mesh, camera: Camera, planes: Planes, ident: Bytes) -> Buffer:
    """Draw the faces of ``mesh`` as ``camera`` sees them; ``ident`` (the atlas's) says where cutouts have holes."""
    buffer = Buffer.empty(camera.size_px, 1e-4)
    grid = np.arange(camera.size_px, dtype=np.float32)
    pixels, ahead = camera.project(np.concatenate(mesh.vertices))
    outlines = _Outlines(mesh, pixels, camera.size_px)
    nearest = np.minimum.reduceat(ahead, outlines.starts[:-1])
    farthest = np.maximum.reduceat(ahead, outlines.starts[:-1])
    columns = planes.columns.astype(np.float32)
    wanted = (farthest >= NEAR_M) & (outlines.inside | (nearest < NEAR_M))
    # Posts and trees come last, and may be seen from behind as well.
    order = np.concatenate(
        [np.flatnonzero(wanted & planes.facing & ~mesh.cutout), np.flatnonzero(wanted & mesh.cutout)]
    )
    for f in order.tolist():
        if nearest[f] < NEAR_M:
            filled = outlines.fill_points(_clipped(mesh.vertices[f], camera))
        else:
            filled = outlines.fill(f)
        if filled is None:
            continue
        inside, (x0, x1, y0, y1) = filled
        a, b, c = columns[6:9, f]
        near = (grid[y0:y1] * b + c)[:, None] + (grid[x0:x1] * a)[None, :]
        there = np.s_[y0:y1, x0:x1]
        visible = near > buffer.near[there]
        visible &= inside
        if mesh.cutout[f]:
            visible &= _solid(columns[:6, f], near, grid[x0:x1], grid[y0:y1], ident, mesh.patch[f])
        np.copyto(buffer.near[there], near, where=visible)
        np.copyto(buffer.face[there], np.int16(f), where=visible)
    return buffer


def draw_shadows(mesh: Mesh, sun: SunCamera, ident: Bytes) -> NDArray[np.float32]:
    """How near to the sun the nearest face is, in metres, for the pixels of the sun's view (H, W)."""
    buffer = Buffer.empty(sun.size_px, -1e4)
    grid = np.arange(sun.size_px, dtype=np.float32)
    outlines = _Outlines(mesh, sun.project(np.concatenate(mesh.vertices))[0], sun.size_px)
    start, start_near = sun.project(mesh.origin)
    (across, across_near), (down, down_near) = (_directions(sun, step) for step in (mesh.along, mesh.down))
    area = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    lit = (turned(mesh.normal, sun.axes)[:, 2] < 0) | mesh.cutout
    lit &= np.array([vertices[:, 2].max() > 0.01 for vertices in mesh.vertices])  # the ground shades nothing
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    # Texels, and from them nearness, as linear functions of the pixel.
    to_tx = (
        down[:, 1] / area,
        -down[:, 0] / area,
        (down[:, 0] * start[:, 1] - down[:, 1] * start[:, 0]) / area,
    )
    to_ty = (
        -across[:, 1] / area,
        across[:, 0] / area,
        (across[:, 1] * start[:, 0] - across[:, 0] * start[:, 1]) / area,
    )
    tilt = [across_near * u + down_near * v for u, v in zip(to_tx, to_ty, strict=True)]
    tilt[2] = tilt[2] + start_near
    columns = np.stack([*to_tx, *to_ty, *tilt]).astype(np.float32)
    for f in np.flatnonzero(outlines.inside & lit & (np.abs(area) > 2e-9)).tolist():
        filled = outlines.fill(f)
        if filled is None:
            continue
        inside, (x0, x1, y0, y1) = filled
        a, b, c = columns[6:9, f]
        value = (grid[y0:y1] * b + c)[:, None] + (grid[x0:x1] * a)[None, :]
        there = np.s_[y0:y1, x0:x1]
        visible = value > buffer.near[there]
        visible &= inside
        if mesh.cutout[f]:
            visible &= _solid(columns[:6, f], np.float32(1), grid[x0:x1], grid[y0:y1], ident, mesh.patch[f])
        np.copyto(buffer.near[there], value, where=visible)
    return buffer.near


class _Outlines:
    """Outlines of all faces in pixels (N, 2), and the pixels within them."""

    def __init__(self, mesh: Mesh, pixels: Floats, size: int) -> None:
        counts = [len(vertices) for vertices in mesh.vertices]
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self._size = size
        self._bounds = self.starts.tolist()
        self._points = _fixed(pixels)
        self._scratch = np.zeros((size, size), dtype=np.uint8)
        low = np.minimum.reduceat(self._points, self.starts[:-1]) // _SUB
        high = np.maximum.reduceat(self._points, self.starts[:-1]) // _SUB + 2
        low, high = np.clip(low, 0, size), np.clip(high, 0, size)
        self.inside = (high > low).all(axis=1)
        self._windows = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1).tolist()

    def fill(self, face: int) -> tuple[NDArray[np.bool_], tuple[int, int, int, int]] | None:
        """Pixels of a face: whether each is inside, and in which columns (from, to) and rows they are."""
        return self._fill(self._points[self._bounds[face] : self._bounds[face + 1]], *self._windows[face])

    def fill_points(self, corners: Floats) -> tuple[NDArray[np.bool_], tuple[int, int, int, int]] | None:
        """Pixels of another polygon."""
        points = _fixed(corners)
        low = np.clip(points.min(axis=0) // _SUB, 0, self._size)
        high = np.clip(points.max(axis=0) // _SUB + 2, 0, self._size)
        if (high <= low).any():
            return None
        return self._fill(points, int(low[0]), int(high[0]), int(low[1]), int(high[1]))

    def _fill(
        self, points: NDArray[np.int32], x0: int, x1: int, y0: int, y1: int
    ) -> tuple[NDArray[np.bool_], tuple[int, int, int, int]]:
        part = self._scratch[: y1 - y0, : x1 - x0]
        part[:] = 0
        cv2.fillConvexPoly(part, points - np.array((x0 * _SUB, y0 * _SUB), dtype=np.int32), 1, shift=4)
        return part.view(np.bool_), (x0, x1, y0, y1)


def _fixed(pixels: Floats) -> NDArray[np.int32]:
    """Pixels in sixteenths: what is the same to a sixteenth is the same on every machine."""
    return np.clip(np.rint(pixels * _SUB), -_FAR_OUT, _FAR_OUT).astype(np.int32)


def _directions(sun: SunCamera, vectors: Floats) -> tuple[Floats, Floats]:
    """Pixels and metres that the sun sees steps of ``vectors`` as."""
    ends, end_near = sun.project(vectors)
    zero, zero_near = sun.project(np.zeros((1, 3)))
    return ends - zero, end_near - zero_near


def _clipped(vertices: Floats, camera: Camera) -> Floats:
    """Pixels of the part of a polygon that lies ahead of the camera."""
    seen = camera.view(vertices)
    kept = []
    for n in range(len(seen)):
        one, two = seen[n - 1], seen[n]
        if (one[2] < NEAR_M) != (two[2] < NEAR_M):
            share = (NEAR_M - one[2]) / (two[2] - one[2])
            kept.append(one + (two - one) * share)
        if two[2] >= NEAR_M:
            kept.append(two)
    points = np.array(kept)
    return points[:, :2] * (camera.focal_px / points[:, 2])[:, None] + camera.centre_px


def _solid(
    columns: NDArray[np.float32],
    near: NDArray[np.float32] | np.float32,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    ident: Bytes,
    patch: Floats,
) -> NDArray[np.bool_]:
    """Whether a cutout's texture is no hole, for the pixels of columns ``x`` and rows ``y``."""
    a, b, c, d, e, f = columns
    near = np.maximum(near, np.float32(1e-5))
    tx = ((y * b + c)[:, None] + (x * a)[None, :]) / near
    ty = ((y * e + f)[:, None] + (x * d)[None, :]) / near
    left, top, width, height = (int(part) for part in patch)
    inside = (tx > left - 0.5) & (tx < left + width - 0.5) & (ty > top - 0.5) & (ty < top + height - 0.5)
    column = np.clip(np.rint(tx), left, left + width - 1).astype(np.intp)
    row = np.clip(np.rint(ty), top, top + height - 1).astype(np.intp)
    solid: NDArray[np.bool_] = inside & (ident[row, column] != HOLE)
    return solid
