"""The sun: where it shines, and where the city's own shadows fall."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall.camera import Camera, SunCamera, turned
from darkside_cli.nightfall.canvas import Colour
from darkside_cli.nightfall.mesh import Vector

#: Side of the image that the sun takes of a place, which says where shadows fall.
_SUN_PX = 384
_SUN_M = 105.0

_SHADOW_BIAS_M = 0.45

Image = NDArray[np.float32]


@dataclass(frozen=True)
class SunShine:
    """Light of the sun: its colour, its view, and what of the city it reaches (None: everything)."""

    direction: tuple[float, float, float]
    colour: Colour
    camera: SunCamera | None
    reached: NDArray[np.float32] | None


def sun_view(sun: Vector) -> SunCamera:
    """Make the view from the sun, which stands in the direction ``sun``, of the middle of a place."""
    x, y, z = sun
    flat = (x * x + y * y) ** 0.5 or 1e-9
    right = (-y / flat, x / flat, 0.0)
    forward = (-x, -y, -z)
    down = (
        forward[1] * right[2] - forward[2] * right[1],
        forward[2] * right[0] - forward[0] * right[2],
        forward[0] * right[1] - forward[1] * right[0],
    )
    return SunCamera((right, down, forward), (0.0, -8.0, 8.0), _SUN_PX / _SUN_M, _SUN_PX)


def sunlit(sun: SunShine, camera: Camera, far: Image, x: Image, y: Image) -> Image:
    """Share of the sun's light that reaches what is seen in each pixel."""
    view = sun.camera
    if view is None or sun.reached is None:
        raise ValueError("shadows need the sun's view")
    rays = turned(np.array(camera.axes), view.axes)  # how the sun sees the camera's right, down, forward
    start = turned(np.array([camera.position]) - np.array(view.middle), view.axes)[0]
    middle, focal = camera.centre_px, camera.focal_px
    parts = []
    for k in range(3):
        a, b = rays[0, k] / focal, rays[1, k] / focal
        c = rays[2, k] - (a + b) * middle
        factor, offset = (view.scale, (view.size_px - 1) / 2) if k < 2 else (1.0, 0.0)
        ray = x * np.float32(a * factor) + (y * np.float32(b * factor) + np.float32(c * factor))
        parts.append(far * ray + np.float32(start[k] * factor + offset))
    u, v, depth = parts
    limit = np.float32(_SHADOW_BIAS_M) - depth
    lit = np.zeros(far.shape, dtype=np.float32)
    for du, dv in _TAPS:
        nearest = cv2.remap(
            sun.reached, u + np.float32(du), v + np.float32(dv), cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_CONSTANT, borderValue=-1e4,
        )  # fmt: skip
        lit += nearest <= limit
    return lit * np.float32(1 / len(_TAPS))


#: Where the sun's image is asked around a point, in its pixels: shadows have soft edges.
_TAPS = ((-0.5, -0.25), (0.25, -0.5), (0.5, 0.25), (-0.25, 0.5))
