"""Translations kept on disk, so that a frozen generator translates each image once and not in every epoch.

One file holds one image, in float32: what is read back is bit for bit what was made, so it makes no difference
whether an image was kept, could not be kept, or was lost. (Rounded to 16 bits, CLAHE, which works on 8, gives other
levels to one pixel in a hundred, and descriptors differ in the fourth digit.) What came first stays when the limit is
reached: images are asked for at random, so that replacing would cost without finding more. Only images of other
generators have to give way.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from darkside_cli.atomic import temporary_beside
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.images.colour import FloatImage, Pixels
from darkside_cli.retrieval.mining.night import NightMaker

_SUFFIX = ".npy"
#: The disk is not filled up to the last byte: checkpoints have to be written, too.
_LEFT_FREE = 1 << 30


class NightCache:
    """Images of costly makers in ``folder``, up to ``limit`` bytes for all of them. Safe in several threads."""

    def __init__(self, folder: Path, limit: int, *, emit: Emit = ignore) -> None:
        self.folder, self._limit, self._emit = folder, limit, emit
        self._lock = Lock()
        self._sizes = _sizes(folder)
        self._stopped = limit <= 0
        self._used: set[str] = set()
        self.made = 0
        """Images that were not here and had to be made."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock())

    @property
    def size(self) -> int:
        """Bytes in use, as far as this process knows."""
        return sum(self._sizes.values())

    def __call__(self, maker: NightMaker, day: Pixels, name: str) -> FloatImage | None:
        """Give the night that ``maker`` makes of ``day``, from the disk if it is there.

        Raises UsageError if the maker makes no image of it: values that are not finite.
        """
        place = hashlib.sha256(maker.fingerprint.encode()).hexdigest()[:24]
        digest = hashlib.sha256(f"{day.shape} {name}\0".encode("utf-8", "surrogateescape"))
        digest.update(np.ascontiguousarray(day).data)
        key = digest.hexdigest()[:40]
        path = self.folder / place / key[:2] / f"{key}{_SUFFIX}"
        found = None if self._limit <= 0 else _read(path)
        if found is not None:
            self._tell_used(place)
            return found
        night = maker(day, name)
        if night is None:
            return None
        if not np.isfinite(night).all():
            raise UsageError(
                f"the generator {maker.fingerprint[:16]} makes values that are not finite",
                hint="train it again, or take another one",
            )
        self.made += 1
        self._keep(path, place, night)
        return night

    def _tell_used(self, place: str) -> None:
        """Note, once in a process, that a generator's images are in use: others have to give way before them."""
        if place not in self._used:
            self._used.add(place)
            with suppress(OSError):  # a folder that may only be read serves as well
                os.utime(self.folder / place)

    def _keep(self, path: Path, place: str, night: FloatImage) -> None:
        if self._stopped:
            return
        try:
            with self._lock:
                if not self._room(place, night.nbytes):
                    return
            with temporary_beside(path) as temporary, temporary.open("wb") as file:
                np.save(file, night)
            with self._lock:
                self._sizes[place] = self._sizes.get(place, 0) + path.stat().st_size
        except OSError as error:
            self._stop(f"cannot keep translations in {self.folder}: {error.strerror or error}")

    def _room(self, place: str, needed: int) -> bool:
        while self.size + needed > self._limit:
            others = [each for each in self._sizes if each != place]
            if not others:
                self._stop(
                    f"translations in {self.folder} take {self.size / 1e9:.1f} GB, as many as they may: "
                    "further ones are made anew each time"
                )
                return False
            oldest = min(others, key=self._last_used)
            shutil.rmtree(self.folder / oldest, ignore_errors=True)
            del self._sizes[oldest]
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < _LEFT_FREE + needed:
            self._stop(f"the disk of {self.folder} is nearly full: translations are made anew each time")
            return False
        return True

    def _last_used(self, place: str) -> float:
        try:
            return (self.folder / place).stat().st_mtime
        except OSError:
            return 0.0

    def _stop(self, reason: str) -> None:
        if not self._stopped:
            self._stopped = True
            self._emit(Notice(f"{reason}", level="warning"))


class CachedNight:
    """``maker``, its images taken from ``cache`` where they are there."""

    costly = False

    def __init__(self, maker: NightMaker, cache: NightCache) -> None:
        self._maker, self._cache = maker, cache

    @property
    def fingerprint(self) -> str:
        """The maker's."""
        return self._maker.fingerprint

    def __call__(self, day: Pixels, name: str) -> FloatImage | None:
        """Give the night of one image."""
        return self._cache(self._maker, day, name)


def _read(path: Path) -> FloatImage | None:
    """Image (H, W, 3) of a file; None if it is not there or damaged."""
    try:
        image: FloatImage = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = image.dtype == np.float32 and image.ndim == 3 and image.shape[2] == 3
    return image if whole and bool(np.isfinite(image).all()) else None


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of the images of each maker."""
    sizes: dict[str, int] = {}
    if not folder.is_dir():
        return sizes
    for place in sorted(folder.iterdir()):
        if not place.is_dir():
            continue
        sizes[place.name] = 0
        for path in place.rglob(f"*{_SUFFIX}"):
            with suppress(OSError):
                sizes[place.name] += path.stat().st_size
    return sizes
