"""A model of a few numbers for tests of extraction: what it makes of an image can be worked out by hand."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from darkside_cli.errors import ImageError


class _Done:
    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows

    def result(self) -> np.ndarray:
        return self._rows


class _ToTensor:
    """Keeps in mind which threads it ran in."""

    def __init__(self) -> None:
        self.threads: set[str] = set()

    def __call__(self, image: Image.Image) -> Tensor:
        self.threads.add(threading.current_thread().name)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()

    def __repr__(self) -> str:
        return "ToTensor()"


class StubDescriber:
    """Describes an image by the means of its three channels, its width and its height, times ``factor``.

    After so many batches it is interrupted (``stop_after``) or comes to no end (``stay_after``).
    """

    dim = 5

    def __init__(
        self, *, factor: float = 1.0, batch: int = 2, stay_after: int = -1, stop_after: int = -1
    ) -> None:
        self.name = "stub"
        self.factor = factor
        self.precision = "fp32"
        self.metadata: Mapping[str, Any] = {"model": "stub"}
        self.batches: list[tuple[int, ...]] = []
        self.transform = _ToTensor()
        self._batch, self._stay, self._left = batch, stay_after, stop_after

    @property
    def fingerprint(self) -> str:
        return f"stub-{self.factor}"

    @property
    def asynchronous(self) -> bool:
        return False

    def check_size(self, height: int, width: int) -> None:
        if min(height, width) < 4:
            raise ImageError("too small")

    def batch_size(self, height: int, width: int) -> int:
        return self._batch

    def submit(self, images: Tensor) -> _Done:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        if len(self.batches) == self._stay:
            threading.Event().wait()
        self.batches.append(tuple(images.shape))
        sizes = torch.tensor([images.shape[3], images.shape[2]]).expand(len(images), 2)
        return _Done((torch.cat([images.mean(dim=(2, 3)), sizes], dim=1) * self.factor).numpy())

    def release_memory(self) -> None:
        pass


def expected_row(path: Path, factor: float = 1.0) -> np.ndarray:
    """What the stub makes of the image as it is."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB"), dtype=np.float64)
    return np.array([*pixels.mean(axis=(0, 1)), pixels.shape[1], pixels.shape[0]]) * factor
