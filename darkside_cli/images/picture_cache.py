"""Decoded pictures kept in memory, so that a small set is decoded once and not in every epoch."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from PIL import Image

#: Pillow keeps RGB in as many bytes.
_BYTES_PER_PIXEL = 4


class PictureCache:
    """RGB images by key, up to ``capacity`` bytes: what came first stays.

    Pictures are asked for at random, so one is as good to keep as another, and replacing them would cost without
    finding more. Safe in several threads; two that ask for the same one at a time may both make it.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: dict[object, Image.Image] = {}
        self._lock = Lock()
        self.size = 0
        """Bytes in use."""

    def get(self, key: object, make: Callable[[], Image.Image]) -> Image.Image:
        """Give the image of ``key``, not to be changed; ``make`` makes it, and raises, if it is not here."""
        found = self._kept.get(key)
        if found is not None:
            return found
        made = make()
        size = _BYTES_PER_PIXEL * made.width * made.height
        with self._lock:
            if key not in self._kept and self.size + size <= self._capacity:
                self._kept[key] = made
                self.size += size
        return made
