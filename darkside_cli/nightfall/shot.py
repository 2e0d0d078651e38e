"""Shots: from where, when and with what a place is photographed, and who passes by."""

from __future__ import annotations

import math
from dataclasses import dataclass

from darkside_cli.nightfall.camera import Camera, look
from darkside_cli.nightfall.mesh import Mesh, Patch
from darkside_cli.nightfall.place import Scene
from darkside_cli.nightfall.sensor import Sensor, day_sensor, night_sensor
from darkside_cli.nightfall.solids import MeshBuilder, rectangle
from darkside_cli.nightfall.weather import Day, Night, draw_day, draw_night

_TREE_ROOM_M = 11.0


@dataclass(frozen=True)
class Shot:
    """One photograph to be taken: ``camera`` for an image of its size, light, settings, and its stream's name."""

    camera: Camera
    weather: Day | Night
    sensor: Sensor
    stream: tuple[str | int, ...]

    @property
    def night(self) -> bool:
        """Whether it is taken at night."""
        return isinstance(self.weather, Night)


def draw_shot(scene: Scene, pose: int, *, night: bool, size_px: int, moment: int = 0) -> Shot:
    """Draw a shot from pose number ``pose``; ``moment`` is another time at the same pose.

    The pose is the same by day and by night; light, passers-by and settings are different in every shot.
    """
    stream = ("night" if night else "day", pose, moment)
    dice = scene.dice("shot", *stream)
    weather = draw_night(dice) if night else draw_day(dice)
    sensor = night_sensor(dice) if night else day_sensor(dice)
    return Shot(draw_camera(scene, pose, size_px), weather, sensor, stream)


def draw_camera(scene: Scene, pose: int, size_px: int) -> Camera:
    """Draw pose number ``pose`` of a place."""
    dice = scene.dice("pose", pose)
    extent, around = scene.extent, scene.around
    size = max(extent.width, extent.height * 1.15)
    fov, share = dice.uniform(50, 64), dice.uniform(0.74, 1.12)
    distance = size / (2 * math.tan(math.radians(fov) / 2) * share)
    lower, upper = 15.0, 68.0
    aside = (dice.uniform(-1, 1) + dice.uniform(-1, 1)) / 2  # most people stand about in front of it
    azimuth = math.radians(34) * aside
    if around.layout == "water":
        lower, upper, azimuth = 50.0, 72.0, math.radians(20) * aside
    kept = max(lower, min(upper, distance))
    # Whoever cannot step back takes a wider lens, who cannot come nearer zooms in.
    half = math.atan(math.tan(math.radians(fov) / 2) * max(0.45, min(1.35, distance / kept)))
    fov = math.degrees(2 * half)
    x, y = kept * math.sin(azimuth), -kept * math.cos(azimuth)
    if around.layout == "street":
        room = around.half_width - 2.5
        x, y = room * aside * 0.9, -max(14.0, min(58.0, kept))
    z = dice.uniform(1.5, 2.4) if dice.chance(0.8) else dice.uniform(3, 6)
    middle = extent.height * dice.uniform(0.4, 0.5)
    # Keep some of the ground in the image unless the building is cut anyway.
    target = (extent.width * dice.uniform(-0.08, 0.08), extent.front + extent.depth * 0.15, middle)
    roll = dice.uniform(-2.5, 2.5)
    return look((x, y, z), target, fov_degrees=fov, roll_degrees=roll, size_px=size_px)


def passers_by(scene: Scene, shot: Shot) -> Mesh:
    """Give what is there in this shot only, and the trees, which turn to the camera: flat images, and cars."""
    dice = scene.dice("crowd", *shot.stream)
    mesh = MeshBuilder()
    cx, cy, _ = shot.camera.position
    for x, y, size, patch in scene.around.trees:
        if math.hypot(x - cx, y - cy) > _TREE_ROOM_M:  # nobody takes images out of a tree
            _card(mesh, x, y, size * 0.75, size, patch, cx, cy)
    left, right, near, far = scene.around.walk
    for _ in range(dice.integer(0, 9)):
        x, y = dice.uniform(left, right), dice.uniform(near, far)
        _card(mesh, x, y, 0.9, dice.uniform(1.65, 1.95), dice.choice(scene.people), cx, cy)
    if dice.chance(0.15):  # somebody near the camera
        ahead = dice.uniform(3.2, 7)
        fx, fy, _ = shot.camera.axes[2]
        side = dice.uniform(-0.4, 0.4) * ahead
        flat = math.hypot(fx, fy)
        x, y = cx + (fx * ahead + fy * side) / flat, cy + (fy * ahead - fx * side) / flat
        _card(mesh, x, y, 0.9, 1.8, dice.choice(scene.people), cx, cy)
    for along_x, position, width in scene.around.lanes:
        for _ in range(dice.integer(0, 4)):
            where, sign = dice.uniform(-32, 30), dice.choice((-1, 1))
            x, y = (
                (where, position + sign * width / 4) if along_x else (position + sign * width / 4, where - 32)
            )
            if math.hypot(x - cx, y - cy) > 7:
                turn = (
                    (0.0 if sign < 0 else math.pi) if along_x else (math.pi / 2 if sign > 0 else -math.pi / 2)
                )
                _car(mesh, x, y, turn, dice.choice(scene.cars))
    return mesh.build()


def _card(
    mesh: MeshBuilder, x: float, y: float, width: float, height: float, patch: Patch, cx: float, cy: float
) -> None:
    """Put up a flat image that faces the camera at (cx, cy)."""
    dx, dy = cx - x, cy - y
    size = math.hypot(dx, dy) or 1.0
    rx, ry = -dy / size * width / 2, dx / size * width / 2
    mesh.quad(
        [(x - rx, y - ry, 0), (x + rx, y + ry, 0), (x + rx, y + ry, height), (x - rx, y - ry, height)],
        patch, cutout=True,
    )  # fmt: skip


def _car(
    mesh: MeshBuilder, x: float, y: float, turn: float, patches: tuple[Patch, Patch, Patch, Patch]
) -> None:
    side, front, back, top = patches
    with mesh.placed(x, y, turn):
        for yy in (-0.8, 0.8):
            mesh.quad([(-2.2, yy, 0), (2.2, yy, 0), (2.2, yy, 1.45), (-2.2, yy, 1.45)], side, cutout=True)
        mesh.quad([(2.1, -0.9, 0), (2.1, 0.9, 0), (2.1, 0.9, 1.45), (2.1, -0.9, 1.45)], front, cutout=True)
        mesh.quad([(-2.1, 0.9, 0), (-2.1, -0.9, 0), (-2.1, -0.9, 1.45), (-2.1, 0.9, 1.45)], back, cutout=True)
        mesh.prism(rectangle(1.7, 1.5, y=-0.75), 1.3, 1.43, top, top)
        mesh.prism(rectangle(4.0, 1.5, y=-0.75), 0.35, 0.86, top, top)
