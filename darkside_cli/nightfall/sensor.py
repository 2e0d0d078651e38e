"""The camera behind the lens: exposure, white balance, blur, bloom, noise, tone curve."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from darkside_cli.nightfall.canvas import Bytes
from darkside_cli.nightfall.dice import Dice

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Sensor:
    """Settings of one shot.

    ``target`` is the mean brightness that exposure aims at, ``gain_limit`` how much it may amplify. ``balance`` are
    the gains of red, green and blue. ``shot`` and ``read`` are the noise that grows with light and the one that does
    not; ``blotch`` is coarse noise of colour. ``bloom`` is the share of light that spreads; ``motion`` (x, y) and
    ``defocus`` blur, in pixels of an image 256 wide.
    """

    target: float
    gain_limit: float
    balance: tuple[float, float, float]
    shot: float
    read: float
    blotch: float
    bloom: float
    motion: tuple[float, float]
    defocus: float
    vignette: float
    contrast: float
    saturation: float


def day_sensor(dice: Dice) -> Sensor:
    """Draw the settings of an image by day."""
    warm = dice.uniform(-0.08, 0.08)
    return Sensor(
        target=0.5 * 2 ** dice.uniform(-0.45, 0.45),
        gain_limit=3.0,
        balance=(1 + warm, 1 + dice.uniform(-0.03, 0.03), 1 - warm),
        shot=dice.uniform(0.001, 0.008), read=dice.uniform(0.001, 0.006), blotch=0.002,
        bloom=dice.uniform(0.0, 0.06),
        motion=(0.0, 0.0), defocus=dice.uniform(0.0, 0.7) if dice.chance(0.5) else 0.0,
        vignette=dice.uniform(0.0, 0.3), contrast=dice.uniform(1.15, 1.7), saturation=dice.uniform(0.85, 1.4),
    )  # fmt: skip


def night_sensor(dice: Dice) -> Sensor:
    """Draw the settings of an image at night."""
    warm = dice.uniform(-0.28, 0.22)
    high = dice.uniform(0.0, 1.0)
    shaken = dice.chance(0.3)
    return Sensor(
        target=0.16 * 2 ** dice.uniform(-0.8, 0.8),
        gain_limit=dice.uniform(2.0, 5.0),
        balance=(1 + warm, 1 + dice.uniform(-0.08, 0.06), 1 - warm * 1.2),
        shot=0.008 + 0.04 * high * high, read=0.004 + 0.016 * high * high, blotch=0.003 + 0.010 * high * high,
        bloom=dice.uniform(0.06, 0.22),
        motion=(dice.uniform(-3, 3), dice.uniform(-1.5, 1.5)) if shaken else (0.0, 0.0),
        defocus=dice.uniform(0.0, 1.1),
        vignette=dice.uniform(0.1, 0.5), contrast=dice.uniform(0.85, 1.2), saturation=dice.uniform(0.6, 1.2),
    )  # fmt: skip


def develop(light: Image, sensor: Sensor, dice: Dice) -> Bytes:
    """Make the image (H, W, 3) uint8 of the light (H, W, 3) that fell through the lens; ``light`` is used up."""
    size = light.shape[0]
    gain = _gain(light, sensor)
    light *= np.array([gain * part for part in sensor.balance], dtype=np.float32)
    if sensor.bloom > 0.01:
        light += _spread(light, size) * np.float32(sensor.bloom)
    light = _moved(light, sensor, size)
    if sensor.vignette:
        grid = (np.arange(size, dtype=np.float32) - (size - 1) / 2) / np.float32(size / 2)
        square = grid * grid
        light *= (1 / (1 + np.float32(sensor.vignette) * (square[:, None] + square[None, :])))[..., None]
    if sensor.saturation != 1:
        grey = (
            light[..., 0] * np.float32(0.3)
            + light[..., 1] * np.float32(0.6)
            + light[..., 2] * np.float32(0.1)
        )
        light = grey[..., None] + (light - grey[..., None]) * np.float32(sensor.saturation)
    light = np.maximum(light, 0)
    spread = np.sqrt(light * np.float32(sensor.shot) ** 2 * 4 + np.float32(sensor.read) ** 2)
    light += spread * _noise(dice, size)
    light += _blotches(dice, size) * np.float32(sensor.blotch)
    return _toned(np.maximum(light, 0), sensor.contrast)


def _gain(light: Image, sensor: Sensor) -> float:
    """Exposure by the mean, in which bright spots count only so much; in whole numbers, whose sum has no order."""
    grey = light[..., 1] * np.float32(0.6) + light[..., 0] * np.float32(0.3) + light[..., 2] * np.float32(0.1)
    levels = np.minimum(grey * np.float32(4096), 8192).astype(np.int64)
    mean = int(levels.sum()) / int(levels.size) / 4096
    gain = sensor.target / max(mean, 1e-3)
    return min(gain, sensor.gain_limit)


def _spread(light: Image, size: int) -> Image:
    """Light that the lens scatters: a narrow and a wide blur of the image at a quarter of its size."""
    step = 2 if size < 192 else 4
    small = np.minimum(light[::step, ::step], 30)
    for dy, dx in ((0, 1), (1, 0), (1, 1)):
        small = small + np.minimum(light[dy * step // 2 :: step, dx * step // 2 :: step], 30)
    packed = np.minimum(small * np.float32(65535 / 120), 65535).astype(np.uint16)
    unit = size / 256 * 4 / step
    total = np.zeros(packed.shape, dtype=np.float32)
    for sigma, weight in ((1.2 * unit, 0.55), (4.5 * unit, 0.45)):
        reach = 2 * int(sigma * 2.5) + 1
        total += cv2.GaussianBlur(packed, (reach, reach), sigma).astype(np.float32) * np.float32(weight)
    back = np.minimum(total, 65535).astype(np.uint16)
    large = cv2.resize(back, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)
    return large.astype(np.float32) * np.float32(120 / 65535 / 4)


def _moved(light: Image, sensor: Sensor, size: int) -> Image:
    """Average shifted copies: what a shaking hand and a missed focus do."""
    unit = size / 256
    shifts = []
    mx, my = sensor.motion[0] * unit, sensor.motion[1] * unit
    if abs(mx) > 0.5 or abs(my) > 0.5:
        shifts = [(round(mx * t / 2), round(my * t / 2)) for t in (-2, -1, 0, 1, 2)]
    if shifts:
        light = _averaged(light, [(shift, 1.0) for shift in shifts])
    soft = sensor.defocus * unit
    if soft > 0.2:
        weight = min(0.5, soft * 0.3)
        light = _averaged(light, [((0, 0), 1.0), ((1, 0), weight), ((-1, 0), weight)])
        light = _averaged(light, [((0, 0), 1.0), ((0, 1), weight), ((0, -1), weight)])
    return light


def _averaged(light: Image, weights: list[tuple[tuple[int, int], float]]) -> Image:
    size = light.shape[0]
    reach = max(max(abs(dx), abs(dy)) for (dx, dy), _ in weights)
    padded = np.pad(light, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    scale = 1 / sum(weight for _, weight in weights)
    total = np.zeros_like(light)
    for (dx, dy), weight in weights:
        part = padded[reach + dy : reach + dy + size, reach + dx : reach + dx + size]
        total += part * np.float32(weight * scale)
    return total


@lru_cache(maxsize=1)
def _noise_bank() -> Image:
    """Gaussian noise (512, 512, 3), as the sum of twelve bytes has it."""
    dice = Dice("nightfall", "grain")
    total = np.zeros((512, 512, 3), dtype=np.int32)
    for _ in range(12):
        total += dice.bytes(512, 512, 3)
    return np.asarray((total - 1530) * np.float32(1 / 256), dtype=np.float32)


def _noise(dice: Dice, size: int) -> Image:
    bank = _noise_bank()
    if size > len(bank):
        repeats = -(-size // len(bank))
        bank = np.tile(bank, (repeats, repeats, 1))
    y, x = dice.integer(0, len(bank) - size), dice.integer(0, len(bank) - size)
    return bank[y : y + size, x : x + size]


def _blotches(dice: Dice, size: int) -> Image:
    small = _noise(dice, size // 4 + 2)
    packed = np.clip(small * 32 + 128, 0, 255).astype(np.uint8)
    large = cv2.resize(packed, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR_EXACT)[:size, :size]
    coarse: Image = (large.astype(np.float32) - 128) * np.float32(1 / 32)
    return coarse


def _toned(light: Image, contrast: float) -> Bytes:
    """Compress the highlights, and take the root that screens undo."""
    white = np.float32(1 / 16)
    level = np.sqrt(np.minimum(light * (1 + light * white) / (1 + light), 1))
    if contrast != 1:
        # Around middle grey; the ends stay where they are.
        curve = level * level * (3 - 2 * level)
        level = level + (curve - level) * np.float32(contrast - 1) * np.float32(1.6)
    return np.asarray(np.rint(np.clip(level, 0, 1) * np.float32(255)), dtype=np.uint8)
