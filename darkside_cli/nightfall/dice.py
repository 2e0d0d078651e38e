"""Random numbers that are the same on every machine and with every NumPy: raw PCG64 output, named streams."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

_UNIT = 2.0**-53


class Dice:
    """A stream of random numbers that is named by ``path``; equal paths give equal streams.

    NumPy may change what the methods of its ``Generator`` draw, but not what its bit generators put out, so
    everything here is made of that. Nothing global is read or changed.
    """

    def __init__(self, *path: str | int) -> None:
        self._path = path
        name = "/".join(str(part) for part in path)
        self._bits = np.random.PCG64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little"))

    def child(self, *path: str | int) -> Dice:
        """Give another stream, which what is drawn here does not change."""
        return Dice(*self._path, *path)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw a number in [low, high)."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * _UNIT)

    def integer(self, low: int, high: int) -> int:
        """Draw a whole number from low to high, both included."""
        return min(high, low + int(self.uniform() * (high - low + 1)))

    def chance(self, probability: float) -> bool:
        """Draw yes or no."""
        return self.uniform() < probability

    def choice(self, items: Sequence[T]) -> T:
        """Draw one of ``items``."""
        return items[self.integer(0, len(items) - 1)]

    def weighted(self, weights: dict[T, float]) -> T:
        """Draw a key of ``weights`` with a probability in proportion to its weight."""
        left = self.uniform() * sum(weights.values())
        for item, weight in weights.items():
            left -= weight
            if left < 0:
                return item
        return next(reversed(weights))

    def uniforms(self, *shape: int) -> NDArray[np.float64]:
        """Draw an array of numbers in [0, 1)."""
        count = int(np.prod(shape))
        drawn: NDArray[np.float64] = (self._bits.random_raw(count) >> np.uint64(11)).astype(
            np.float64
        ) * _UNIT
        return drawn.reshape(shape)

    def bytes(self, *shape: int) -> NDArray[np.uint8]:
        """Draw an array of uint8."""
        count = int(np.prod(shape))
        words = np.asarray(self._bits.random_raw(-(-count // 8)), dtype="<u8")
        return words.view(np.uint8)[:count].reshape(shape)
