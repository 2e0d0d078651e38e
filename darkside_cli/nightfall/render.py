"""Takes the photograph: geometry, light, sky, lens and sensor put together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall.camera import planes_of
from darkside_cli.nightfall.canvas import LAMP, SIGN, WINDOWS, Bytes, Colour
from darkside_cli.nightfall.dice import Dice
from darkside_cli.nightfall.lamplight import coarse_grid, irradiance, light_map
from darkside_cli.nightfall.mesh import Mesh
from darkside_cli.nightfall.mirror import reflect
from darkside_cli.nightfall.place import Scene, build_scene
from darkside_cli.nightfall.props import HEADLIGHT, TAILLIGHT
from darkside_cli.nightfall.raster import draw, draw_shadows
from darkside_cli.nightfall.sensor import develop
from darkside_cli.nightfall.shade import Illumination, no_glow, shade
from darkside_cli.nightfall.shot import Shot, draw_shot, passers_by
from darkside_cli.nightfall.sky import sky
from darkside_cli.nightfall.sunlight import SunShine, sun_view
from darkside_cli.nightfall.surroundings import WATER_LEVEL_M
from darkside_cli.nightfall.weather import Day, Night, scale_linear

Image = NDArray[np.float32]


def render(scene: Scene, shot: Shot, *, samples: int = 2) -> Bytes:
    """Take a photograph, (H, W, 3) uint8 RGB; each pixel is the mean of ``samples`` x ``samples`` rays."""
    camera = shot.camera.resized(shot.camera.size_px * samples)
    mesh = scene.mesh.joined(passers_by(scene, shot))
    planes = planes_of(mesh, camera)
    buffer = draw(mesh, camera, planes, scene.atlas.ident)
    dice = scene.dice("light", *shot.stream)
    if isinstance(shot.weather, Day):
        illumination = _by_day(scene, mesh, shot.weather, dice)
    else:
        illumination = _by_night(scene, mesh, shot.weather, dice)
    shaded = shade(mesh, scene.atlas, camera, planes, buffer, illumination, samples)
    light = sky(shot.camera, shot.weather, dice)
    light *= (1 - shaded.cover)[..., None]
    light += shaded.light
    _mirrors(light, scene, shot, buffer.face[::samples, ::samples], dice)
    if isinstance(shot.weather, Night):
        _halos(light, scene, shot, shot.weather, buffer.near[::samples, ::samples])
    return develop(light, shot.sensor, dice)


def photograph(
    seed: int, number: int, pose: int, *, night: bool, size_px: int = 256, moment: int = 0, samples: int = 2
) -> Bytes:
    """Build a place and take one photograph of it; see :func:`render` and :func:`draw_shot`."""
    scene = build_scene(seed, number)
    return render(scene, draw_shot(scene, pose, night=night, size_px=size_px, moment=moment), samples=samples)


def _by_day(scene: Scene, mesh: Mesh, day: Day, dice: Dice) -> Illumination:
    glow, printed = no_glow()
    for ident in range(SIGN + 8, LAMP):
        glow[ident] = 0.25
    if dice.chance(0.3):
        for ident in range(1, WINDOWS):
            if dice.chance(0.04):
                glow[ident] = (0.5, 0.4, 0.25)
    upper = tuple(0.55 * z + 0.45 * h for z, h in zip(day.zenith, day.horizon, strict=True))
    bounce = 0.12 * max(0.2, day.sun[2])
    lower = tuple(0.25 * u + bounce * s for u, s in zip(upper, day.sunlight, strict=True))
    sun = None
    if max(day.sunlight) > 0:
        view = sun_view(day.sun)
        sun = SunShine(day.sun, day.sunlight, view, draw_shadows(mesh, view, scene.atlas.ident))
    return Illumination(sun, upper, lower, day.horizon, glow, printed, None, day.horizon, day.haze_m)  # type: ignore[arg-type]


def _by_night(scene: Scene, mesh: Mesh, night: Night, dice: Dice) -> Illumination:
    glow, printed = no_glow()
    _light_windows(glow, scene, night, dice)
    glow[SIGN : SIGN + 8] = np.array([2.2, 1.7, 1.0], dtype=np.float32)
    glow[SIGN + 1] = np.array(scale_linear((1.0, 0.72, 0.4), 6.0))
    for ident in range(SIGN + 8, LAMP):
        if dice.chance(0.85):
            glow[ident] = dice.uniform(0.8, 3.2)
    glow[LAMP] = np.array(scale_linear(night.lamp, 14.0))
    glow[HEADLIGHT], glow[TAILLIGHT] = (30.0, 28.0, 24.0), (9.0, 3.0, 3.0)
    printed[LAMP] = False
    burning = [dice.chance(0.94) for _ in scene.around.lamps]
    colours = [scale_linear(night.lamp, float(on)) for on in burning]
    colours += [night.flood] * len(scene.around.floods)
    colours += [
        dice.choice(((1.0, 0.85, 0.6), (0.9, 0.95, 1.0), (1.0, 0.7, 0.45))) for _ in scene.around.shops
    ]
    lamps = light_map(scene.grid, scene.lamplight, colours)
    moving = mesh.later(len(scene.mesh))
    if len(moving):
        lamps = _with_moving(lamps, moving, scene, colours)
    upper = scale_linear(night.glow, 0.9)
    return Illumination(
        None,
        upper,
        scale_linear(upper, 0.6),
        scale_linear(night.glow, 0.6),
        glow,
        printed,
        lamps,
        scale_linear(night.glow, 1.2),
        night.haze_m,
    )


def _light_windows(glow: Image, scene: Scene, night: Night, dice: Dice) -> None:
    """Switch windows on: some people are always up."""
    habits = scene.dice("windows").uniforms(256)
    for ident in range(1, WINDOWS):
        awake = 0.6 * habits[ident] + 0.4 * dice.uniform()
        tone = dice.weighted(
            {(1.0, 0.66, 0.32): 5.0, (1.0, 0.82, 0.58): 3.0, (0.85, 0.95, 1.0): 1.5, (0.6, 0.7, 1.0): 0.4}
        )
        strength = dice.uniform(0.25, 1.5)
        if awake < 0.15 + 0.6 * night.lit:
            glow[ident] = np.array(scale_linear(tone, strength))


def _with_moving(
    lamps: tuple[Bytes, NDArray[np.float64]], moving: Mesh, scene: Scene, colours: list[Colour]
) -> tuple[Bytes, NDArray[np.float64]]:
    grid = coarse_grid(moving)
    below, places = light_map(grid, [irradiance(grid, light) for light in scene.lights], colours)
    places = places + np.array([0, lamps[0].shape[0], 0, 0])
    return np.concatenate([lamps[0], below]), np.concatenate([lamps[1], places])


def _mirrors(light: Image, scene: Scene, shot: Shot, face: NDArray[np.int16], dice: Dice) -> None:
    around, camera = scene.around, shot.camera
    if around.water:
        reflect(light, np.isin(face, around.water), camera, WATER_LEVEL_M, 0.62, 3, dice)
    if shot.weather.wet:
        reflect(light, np.isin(face, around.ground), camera, 0.0, 0.6 * shot.weather.wet, 14, dice)


def _halos(light: Image, scene: Scene, shot: Shot, night: Night, near: Image) -> None:
    """Add the glare around lamps that are in sight."""
    camera = shot.camera
    points = np.array([lamp.position for lamp in scene.around.lamps])
    pixels, ahead = camera.project(points)
    size = camera.size_px
    for (x, y), z, lamp in zip(pixels.tolist(), ahead.tolist(), scene.around.lamps, strict=True):
        column, row = round(x), round(y)
        if z < 1 or not (0 <= column < size and 0 <= row < size) or near[row, column] * z > 1.06:
            continue
        reach = max(2.0, camera.focal_px * 0.9 / z)
        _glare(light, x, y, reach, scale_linear(night.lamp, 1.1 * lamp.power / 20))


def _glare(light: Image, x: float, y: float, radius: float, colour: Colour) -> None:
    size = light.shape[0]
    far = int(radius * 5)
    x0, x1, y0, y1 = (
        max(0, int(x) - far),
        min(size, int(x) + far),
        max(0, int(y) - far),
        min(size, int(y) + far),
    )
    if x1 <= x0 or y1 <= y0:
        return
    dx = (np.arange(x0, x1, dtype=np.float32) - np.float32(x)) / np.float32(radius)
    dy = (np.arange(y0, y1, dtype=np.float32) - np.float32(y)) / np.float32(radius)
    square = dx[None, :] * dx[None, :] + (dy * dy)[:, None]
    shape = 1 / ((1 + 4 * square) * (1 + square))
    light[y0:y1, x0:x1] += shape[..., None] * np.array(colour, dtype=np.float32)
