"""The sky behind the city, by day and by night."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall.camera import Camera
from darkside_cli.nightfall.canvas import Bytes, noise_tile
from darkside_cli.nightfall.dice import Dice
from darkside_cli.nightfall.weather import Day, Night

Image = NDArray[np.float32]


def sky(camera: Camera, weather: Day | Night, dice: Dice) -> Image:
    """Radiance of the sky in each pixel, (H, W, 3) linear RGB; below the horizon it goes on as the horizon's."""
    right, up, ahead = _directions(camera)
    length = np.sqrt(right * right + up * up + ahead * ahead)
    height = np.clip(up / length, 0, 1)
    cloud = _clouds(right, up, ahead, dice)
    if isinstance(weather, Day):
        return _day(weather, right / length, up / length, ahead / length, height, cloud)
    return _night(weather, height, cloud, camera, dice)


def _directions(camera: Camera) -> tuple[Image, Image, Image]:
    """World x, z and y of the ray through each pixel, not normalised."""
    grid = (np.arange(camera.size_px) - camera.centre_px) / camera.focal_px
    parts = []
    for k in (0, 2, 1):
        r, d, f = (axis[k] for axis in camera.axes)
        parts.append(((grid * d + f)[:, None] + (grid * r)[None, :]).astype(np.float32))
    return parts[0], parts[1], parts[2]


def _clouds(right: Image, up: Image, ahead: Image, dice: Dice) -> Image:
    """How thick the cloud cover is, 0 to 1, from noise on a plane overhead; found at half size."""
    x, z, y = (part[::2, ::2] for part in (right, up, ahead))
    z = np.maximum(z, 0.03)
    size, turn_x, turn_y = np.float32(dice.uniform(40, 110)), dice.uniform(0, 256), dice.uniform(0, 256)
    # Towards the horizon clouds crowd together; the 0.25 keeps them from becoming noise.
    a = x / (z + np.float32(0.25)) * size + np.float32(turn_x)
    b = y / (z + np.float32(0.25)) * size + np.float32(turn_y)
    a, b = a - np.floor(a / 256) * 256, b - np.floor(b / 256) * 256
    sampled = cv2.remap(_sky_tile(), a, b, cv2.INTER_LINEAR)[..., 0]
    large = cv2.resize(sampled, (up.shape[1], up.shape[0]), interpolation=cv2.INTER_LINEAR_EXACT)
    return large.astype(np.float32) * np.float32(1 / 255)


@lru_cache(maxsize=1)
def _sky_tile() -> Bytes:
    """The noise with its beginning again at its end, four times over: that is sampled fastest."""
    tile = np.pad(noise_tile(), (0, 1), mode="wrap")
    return np.ascontiguousarray(np.repeat(tile[..., None], 4, axis=2))


def _day(weather: Day, x: Image, z: Image, y: Image, height: Image, cloud: Image) -> Image:
    s = weather.sun
    towards = np.clip(x * np.float32(s[0]) + y * np.float32(s[1]) + z * np.float32(s[2]), 0, 1)
    low = 1 - height
    share = low * low * low
    glare = towards * towards
    glare = glare * glare
    glare = glare * glare
    cover = np.clip((cloud - np.float32(1 - weather.clouds)) * 3 + np.float32(0.1), 0, 1)
    if weather.clouds >= 1:
        cover = np.full_like(cloud, 0.85)
    body = np.float32(0.75) + cloud * np.float32(0.45)
    image = np.empty((*height.shape, 3), dtype=np.float32)
    for k in range(3):
        clear = np.float32(weather.zenith[k]) + share * np.float32(weather.horizon[k] - weather.zenith[k])
        clear += glare * np.float32(0.35 * weather.sunlight[k])
        white = 0.3 * weather.sunlight[k] + 0.75 * weather.horizon[k]
        image[..., k] = clear + cover * (body * np.float32(white) - clear)
    return image


def _night(weather: Night, height: Image, cloud: Image, camera: Camera, dice: Dice) -> Image:
    low = 1 - height
    share = low * low
    share = share * share
    cover = np.clip((cloud - np.float32(1 - weather.clouds)) * 2 + np.float32(0.1), 0, 1)
    image = np.empty((*height.shape, 3), dtype=np.float32)
    for k in range(3):
        clear = np.float32(weather.zenith[k]) + share * np.float32(weather.glow[k] - weather.zenith[k])
        image[..., k] = clear + cover * cloud * np.float32(weather.glow[k] * 0.6)
    size = camera.size_px
    if weather.clouds < 0.3:
        for _ in range(dice.integer(0, 40)):
            x, y = dice.integer(0, size - 1), dice.integer(0, size - 1)
            image[y, x] += np.float32(dice.uniform(0.01, 0.08) * height[y, x])
    if weather.moon:
        _moon(image, dice)
    return image


def _moon(image: Image, dice: Dice) -> None:
    size = image.shape[0]
    x, y, r = dice.uniform(0.1, 0.9) * size, dice.uniform(0.05, 0.35) * size, 0.016 * size
    grid = np.arange(size, dtype=np.float32)
    distance = ((grid - np.float32(x)) ** 2)[None, :] + ((grid - np.float32(y)) ** 2)[:, None]
    disc = np.clip((np.float32(r * r) - distance) / np.float32(2 * r), 0, 1)
    image += (disc * np.float32(0.8))[..., None] * np.array([1, 0.97, 0.9], dtype=np.float32)
