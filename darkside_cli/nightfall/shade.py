"""From the faces seen in each pixel to light: textures, sun and shadows, lamps, windows, haze.

Everything is computed for batches of points, which stay in the processor's cache. Only additions, products, quotients
and square roots touch pixels, so that every machine gets the same image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall.atlas import LEVELS, Atlas
from darkside_cli.nightfall.camera import Camera, Planes
from darkside_cli.nightfall.canvas import SIGN, WINDOWS, Bytes, Colour, noise_tile
from darkside_cli.nightfall.lamplight import BRIGHTEST
from darkside_cli.nightfall.mesh import Mesh
from darkside_cli.nightfall.raster import NOTHING, Buffer
from darkside_cli.nightfall.sunlight import SunShine, sunlit

Image = NDArray[np.float32]

_BATCH = 1 << 14
_ROW = 256


@dataclass(frozen=True)
class Illumination:
    """All light of one image.

    ``upper`` and ``lower`` are the ambient light of the sky and the ground; ``mirrored`` is what panes reflect.
    ``glow`` (256, 3) is the light that texels of each ident give off, ``printed`` (256) whether that takes on the
    texel's colour. ``lamps`` is a map of :mod:`lamplight` with its places. ``haze`` is the air's light, which makes
    half of what is seen at ``haze_m``.
    """

    sun: SunShine | None
    upper: Colour
    lower: Colour
    mirrored: Colour
    glow: NDArray[np.float32]
    printed: NDArray[np.bool_]
    lamps: tuple[Bytes, NDArray[np.float64]] | None
    haze: Colour
    haze_m: float


@dataclass(frozen=True)
class Shaded:
    """An image in linear RGB before the camera: ``light`` (H, W, 3) of what is there, ``cover`` (H, W) its share of
    the pixel, the rest being sky.
    """

    light: Image
    cover: Image


def shade(
    mesh: Mesh,
    atlas: Atlas,
    camera: Camera,
    planes: Planes,
    buffer: Buffer,
    illumination: Illumination,
    samples: int,
) -> Shaded:
    """Light the faces in ``buffer``; ``samples`` x ``samples`` of its pixels become one.

    Where all of these see one face, it is lit once, in their middle: edges take the time, not walls.
    """
    table = _Table(mesh, camera, planes, illumination)
    parts = [(dy, dx) for dy in range(samples) for dx in range(samples)]
    faces = [buffer.face[dy::samples, dx::samples] for dy, dx in parts]
    nears = [buffer.near[dy::samples, dx::samples] for dy, dx in parts]
    same = np.ones(faces[0].shape, dtype=bool)
    for face in faces[1:]:
        same &= face == faces[0]
    share = np.float32(1 / len(parts))
    cover = np.zeros(same.shape, dtype=np.float32)
    for face in faces:
        cover += face != NOTHING
    cover *= share
    light = np.zeros((*same.shape, 3), dtype=np.float32)

    rows, columns = np.nonzero(same & (faces[0] != NOTHING))
    near = nears[0].copy()
    for other in nears[1:]:
        near += other
    middle = (samples - 1) / 2
    light[rows, columns] = _lit(
        table, atlas, faces[0][rows, columns], near[rows, columns] * share,
        columns * samples + middle, rows * samples + middle, samples,
    )  # fmt: skip
    rows, columns = np.nonzero(~same)
    if len(rows):
        total = np.zeros((len(rows), 3), dtype=np.float32)
        for (dy, dx), face, near in zip(parts, faces, nears, strict=True):
            seen = np.flatnonzero(face[rows, columns] != NOTHING)
            y, x = rows[seen], columns[seen]
            total[seen] += _lit(table, atlas, face[y, x], near[y, x], x * samples + dx, y * samples + dy, 1)
        light[rows, columns] = total * share
    return Shaded(light, cover)


def _lit(
    table: _Table,
    atlas: Atlas,
    face: NDArray[np.int16],
    near: Image,
    x: NDArray[Any],
    y: NDArray[Any],
    width: int,
) -> Image:
    """Light (N, 3) of N points of the image, ``width`` of the buffer's pixels wide each."""
    result = np.empty((len(face), 3), dtype=np.float32)
    for start in range(0, len(face), _BATCH):
        part = slice(start, start + _BATCH)
        count = len(face[part])
        # What looks textures up wants images, not lists.
        shape = (-(-count // _ROW), _ROW)
        fill = shape[0] * shape[1] - count

        def as_image(
            values: NDArray[np.generic], dtype: type, fill: int = fill, shape: tuple[int, int] = shape
        ) -> NDArray[Any]:
            return np.pad(values, (0, fill), mode="edge").astype(dtype).reshape(shape)

        shaded = _shade_batch(
            table, atlas, as_image(face[part], np.intp), as_image(near[part], np.float32),
            as_image(x[part], np.float32), as_image(y[part], np.float32), width,
        )  # fmt: skip
        for k in range(3):
            result[part, k] = shaded[k].reshape(-1)[:count]
    return result


class _Table:
    """What is looked up by face."""

    def __init__(self, mesh: Mesh, camera: Camera, planes: Planes, light: Illumination) -> None:
        self.light = light
        self.camera = camera
        self.planes = [np.ascontiguousarray(row, dtype=np.float32) for row in planes.columns]
        step = np.sqrt((mesh.along * mesh.along).sum(axis=1))
        self.metres_per_texel = step.astype(np.float32)
        up = mesh.normal[:, 2]
        share = (0.5 + 0.5 * up)[:, None]
        ambient = np.array(light.upper) * share + np.array(light.lower) * (1 - share)
        self.ambient = [np.ascontiguousarray(ambient[:, k], dtype=np.float32) for k in range(3)]
        # Lamps and the ground's reflection come from below: lower edges of what stands out catch them.
        self.lamp_tilt = np.where(np.abs(up) < 0.5, 0.5, 0.0).astype(np.float32)
        self.glow = [np.ascontiguousarray(light.glow[:, k]) for k in range(3)]
        self.shift = mesh.shift.astype(np.int32)
        if light.sun is not None:
            self._sun(mesh, light.sun)
        if light.lamps is not None:
            places = light.lamps[1]
            left, top, width, height = mesh.patch.T
            factor_x, factor_y = places[:, 2] / (width - 1), places[:, 3] / (height - 1)
            rows = factor_x, places[:, 0] - left * factor_x, factor_y, places[:, 1] - top * factor_y
            self.lamp_place = [np.ascontiguousarray(row, dtype=np.float32) for row in rows]

    def _sun(self, mesh: Mesh, sun: SunShine) -> None:
        s = np.array(sun.direction)
        level, bend = (mesh.normal * s).sum(axis=1), (mesh.bend * s).sum(axis=1)
        level = np.where(mesh.cutout, 0.55, level)
        left, width = mesh.patch[:, 0], mesh.patch[:, 2]
        slope = 2 * bend / (width - 1)
        unit_x, unit_y = np.sqrt((mesh.along**2).sum(axis=1)), np.sqrt((mesh.down**2).sum(axis=1))
        tilt_x, tilt_y = (mesh.along * s).sum(axis=1) / unit_x, (mesh.down * s).sum(axis=1) / unit_y
        rows = level - bend - slope * left, slope, tilt_x, tilt_y
        self.sun = [np.ascontiguousarray(row, dtype=np.float32) for row in rows]


def _shade_batch(
    table: _Table, atlas: Atlas, face: NDArray[np.intp], near: Image, x: Image, y: Image, width: int
) -> list[Image]:
    camera, light = table.camera, table.light
    far: Image = np.asarray(1 / np.maximum(near, np.float32(1e-4)), dtype=np.float32)
    a, b, c, d, e, f = (_pick(row, face) for row in table.planes[:6])
    tx = (a * x + b * y + c) * far
    ty = (d * x + e * y + f) * far

    surface, relief, ident = _sampled(table, atlas, face, far * np.float32(width), tx, ty)
    glass = surface[..., 3] * np.float32(1 / 255)
    slope_x = (relief[..., 0].astype(np.float32) - 128) * np.float32(1 / 110)
    slope_y = (relief[..., 1].astype(np.float32) - 128) * np.float32(1 / 110)
    corner = relief[..., 2] * np.float32(1 / 255)

    tile = noise_tile()
    grain = tile[(ty * 3).astype(np.int32) & 255, (tx * 3).astype(np.int32) & 255].astype(np.float32)
    grain = np.float32(0.82) + grain * np.float32(0.36 / 255)

    sunny: Image | None = None
    if light.sun is not None:
        level, slope, tilt_x, tilt_y = (_pick(row, face) for row in table.sun)
        sunny = np.maximum(level + slope * tx - slope_x * tilt_x - slope_y * tilt_y, 0)
        if light.sun.reached is not None:
            sunny *= sunlit(light.sun, camera, far, x, y)
    lamps = None
    if light.lamps is not None:
        u0, u1, v0, v1 = (_pick(row, face) for row in table.lamp_place)
        lamps = cv2.remap(light.lamps[0], tx * u0 + u1, ty * v0 + v1, cv2.INTER_LINEAR).astype(np.float32)
        lamps *= lamps
        lamps *= np.float32(BRIGHTEST / 255 / 255)
        edge = 1 + np.clip(slope_y, -1, 1) * _pick(table.lamp_tilt, face)
    clear = 1 / (1 + far * np.float32(1 / light.haze_m))

    lit = _pick(table.shift, face)
    window = (ident > 0) & (ident < WINDOWS)
    number = np.where(window, (ident.astype(np.int32) - 1 + lit) % (WINDOWS - 1) + 1, ident)
    printed = _pick(light.printed, number)
    pane = np.float32(0.45) + _pick(_PANES, number) * np.float32(0.9)
    inside = np.where(window, grain * grain * glass, 1)

    result = []
    for k in range(3):
        albedo = surface[..., k] * np.float32(1 / 255)
        albedo *= albedo
        albedo *= grain
        falling = _pick(table.ambient[k], face) * corner
        if sunny is not None and light.sun is not None:
            falling += sunny * np.float32(light.sun.colour[k])
        if lamps is not None:
            falling += lamps[..., k] * edge
        out = albedo * falling
        out += glass * (pane * np.float32(light.mirrored[k]) - out * np.float32(0.5))
        out += _pick(table.glow[k], number) * np.where(printed, albedo, inside)
        out = np.float32(light.haze[k]) + (out - np.float32(light.haze[k])) * clear
        result.append(out)
    return result


def _pick(table: NDArray[Any], index: NDArray[np.intp]) -> NDArray[Any]:
    # "clip" spares the check of every index; none is out of range.
    return np.take(table, index, mode="clip")


#: How much of the sky each window mirrors: panes are never quite in one plane.
_PANES = np.array([(n * 167 % 251) / 250 for n in range(256)], dtype=np.float32)


def _sampled(
    table: _Table, atlas: Atlas, face: NDArray[np.intp], far: Image, tx: Image, ty: Image
) -> tuple[Bytes, Bytes, Bytes]:
    """Look the textures up, in the copy of the atlas whose texels are about as large as pixels are."""
    ratio = far * np.float32(1 / table.camera.focal_px) / _pick(table.metres_per_texel, face)
    level = np.zeros(face.shape, dtype=np.intp)
    for n in range(1, LEVELS):
        level += ratio > 1.1 * 2 ** (n - 1)
    scale = _pick(_SCALES, level)
    u = (tx + np.float32(0.5)) * scale + (_pick(atlas.corners[:, 0], level) - np.float32(0.5))
    v = (ty + np.float32(0.5)) * scale + (_pick(atlas.corners[:, 1], level) - np.float32(0.5))
    linear = (cv2.remap(layer, u, v, cv2.INTER_LINEAR) for layer in (atlas.surface, atlas.relief))
    surface, relief = (np.asarray(layer, dtype=np.uint8) for layer in linear)
    ident = np.asarray(cv2.remap(atlas.ident, u, v, cv2.INTER_NEAREST), dtype=np.uint8)
    return surface, relief, ident


_SCALES = np.array([2.0**-n for n in range(LEVELS)], dtype=np.float32)


def no_glow() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Tables of :class:`Illumination` in which nothing glows and signs would show their colours."""
    printed = np.zeros(256, dtype=bool)
    printed[SIGN:] = True
    return np.zeros((256, 3), dtype=np.float32), printed
