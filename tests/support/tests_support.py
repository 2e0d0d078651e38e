"""What test modules share: types, and the pixels of small photographs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import numpy as np

RunCli = Callable[..., "subprocess.CompletedProcess[bytes]"]
RunHere = Callable[..., "subprocess.CompletedProcess[str]"]


def photo_pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth coloured picture with some texture, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x / max(1, width), y / max(1, height), (x + y) / max(1, width + height)], axis=-1)
    return np.clip(base * 200 + rng.integers(0, 40, (height, width, 3)), 0, 255).astype(np.uint8)
