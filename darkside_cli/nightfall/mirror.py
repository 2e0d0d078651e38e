"""Water and wet ground: what stands behind them, upside down and in ripples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall.camera import Camera
from darkside_cli.nightfall.canvas import noise_tile
from darkside_cli.nightfall.dice import Dice

Image = NDArray[np.float32]


def reflect(
    light: Image,
    where: NDArray[np.bool_],
    camera: Camera,
    level_m: float,
    strength: float,
    smear: int,
    dice: Dice,
) -> None:
    """Mirror the image ``light`` (H, W, 3) in the pixels ``where`` (H, W), which show a plane at height ``level_m``.

    Everything is taken to stand on the line y = 0, where landmarks have their fronts, so that one row of the image
    is the mirror's edge. ``strength`` of the light comes from the mirror; ``smear`` rows run into one another.
    """
    rows, columns = np.nonzero(where)
    if not len(rows):
        return
    pixels, ahead = camera.project(np.array([[0.0, 0.0, level_m]]))
    if ahead[0] <= 0:
        return
    edge = np.float32(pixels[0, 1])
    size = len(light)
    tile = noise_tile()
    unit = 256 / size
    v = (rows * unit * 6).astype(np.intp) + dice.integer(0, 255)
    u = (columns * unit * 1.5).astype(np.intp) + dice.integer(0, 255)
    wave = (tile[v & 255, u & 255].astype(np.float32) - 128) * np.float32(1 / 128)
    below = np.maximum(rows - edge, 0)
    source = 2 * edge - rows + wave * (np.float32(1.5 / unit) + below * np.float32(0.18))
    across = np.clip(np.rint(columns + wave * np.float32(2.5 / unit)).astype(np.intp), 0, size - 1)
    total = np.zeros((len(rows), 3), dtype=np.float32)
    taps = 5
    for tap in range(taps):
        shift = np.float32(smear / unit * (tap / (taps - 1) * 2 - 1))
        total += light[np.clip(np.rint(source + shift).astype(np.intp), 0, size - 1), across]
    total *= np.float32(strength / taps)
    light[rows, columns] = light[rows, columns] * np.float32(1 - 0.7 * strength) + total
