"""Features of images without any network: their mean colours and contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class StubFeatures:
    """In place of :class:`darkside_cli.methods.night_features.ImageFeatures`."""

    def __init__(self, network: str = "", *, device: Any = "cpu") -> None:
        self.network, self.device = network, device

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.array([*(image.mean(axis=(0, 1)) / 255), image.std() / 255])
