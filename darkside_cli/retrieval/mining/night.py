"""Night for anchors: what makes a night image of a day one, chosen and parametrised by the image's name.

Nothing here knows a generator: whoever has one gives it as a :class:`NightMaker`. The darkening curves are the
baselines without learning that a generator has to beat.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Protocol

import numpy as np

from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.images.colour import FloatImage, Pixels
from darkside_cli.images.images import read_image
from darkside_cli.images.photometry import linear_light


class NightMaker(Protocol):
    """Makes night of day: the same image of the same day one, always, whatever came before."""

    @property
    def fingerprint(self) -> str:
        """What tells apart makers whose images differ."""

    @property
    def costly(self) -> bool:
        """Whether its images are worth being kept on disk."""

    def __call__(self, day: Pixels, name: str) -> FloatImage | None:
        """Give (H', W', 3) float32 RGB in [0, 1] for (H, W, 3) uint8 RGB; None: this image has no night."""


def plain_name(name: str) -> str:
    """``name`` with its folders as part of it, so that equally called images of two places are two images."""
    return name.replace("/", "|").replace("\\", "|")


def number_of(name: str, purpose: str) -> float:
    """A number in [0, 1) that the image's name decides, another one for each ``purpose``."""
    stem = PurePosixPath(plain_name(name)).stem
    digest = hashlib.sha256(f"{purpose}:{stem}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def as_float(pixels: Pixels) -> FloatImage:
    """RGB levels (H, W, 3) as float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class _Darkening:
    """One curve for the whole image, by a number between ``low`` and ``high`` that the image's name picks."""

    low: float
    high: float
    kind: ClassVar[str]
    costly: ClassVar[bool] = False

    @property
    def fingerprint(self) -> str:
        """Name and range."""
        return f"{self.kind}-{self.low:g}-{self.high:g}"


class GammaNight(_Darkening):
    """``x^g``: the classic darkening. ``g`` is between ``low`` and ``high``, evenly spread in its logarithm."""

    kind = "gamma"

    def __call__(self, day: Pixels, name: str) -> FloatImage:
        """Darken one image."""
        exponent = self.low * (self.high / self.low) ** number_of(name, self.kind)
        return np.power(as_float(day), np.float32(exponent), dtype=np.float32)


class ExposureNight(_Darkening):
    """The same scene in less light: linear light times ``2^-s``, ``s`` evenly between ``low`` and ``high`` stops."""

    kind = "exposure"

    def __call__(self, day: Pixels, name: str) -> FloatImage:
        """Darken one image."""
        stops = self.low + (self.high - self.low) * number_of(name, self.kind)
        light = linear_light(day) * np.float32(2.0**-stops)
        curved = np.float32(1.055) * np.power(light, np.float32(1 / 2.4), dtype=np.float32) - np.float32(
            0.055
        )
        return np.where(light <= np.float32(0.0031308), np.float32(12.92) * light, curved).astype(np.float32)


class MixedNight:
    """Several makers, of which the image's name picks one. Raises UsageError if there is none."""

    costly = False  # each of them is kept by itself

    def __init__(self, makers: Sequence[NightMaker]) -> None:
        if not makers:
            raise UsageError("there is nothing that makes night", hint="name a generator, or --augment none")
        self._makers = tuple(makers)

    @property
    def fingerprint(self) -> str:
        """Those of all."""
        return "+".join(maker.fingerprint for maker in self._makers)

    def __call__(self, day: Pixels, name: str) -> FloatImage | None:
        """Let the maker whose turn it is make the image."""
        return self.maker_of(name)(day, name)

    def maker_of(self, name: str) -> NightMaker:
        """The maker that the image called ``name`` picks."""
        return self._makers[int(number_of(name, "maker") * len(self._makers))]


class ReadyNights:
    """Night images that are there already, in ``folder``: each named as the day image, whatever its suffix.

    An image is found by its place in the folder, ``<folder>/<name>.*``, else by its bare name, if only one has it.
    They are shrunk to ``size_px`` on the longest side. Raises MissingAssetError if there is no folder, UsageError if
    there are no images in it.
    """

    costly = False

    def __init__(self, folder: Path, *, size_px: int) -> None:
        if not folder.is_dir():
            raise MissingAssetError(f"there is no folder {folder}", hint="check the path of the night images")
        images = expand_inputs([folder], recursive=True, exclude=None)
        if not images:
            raise UsageError(f"there are no images in {folder}", hint="check the path of the night images")
        self._folder, self._size_px = folder, size_px
        self._by_place = {image.relative.with_suffix("").as_posix(): image.path for image in images}
        self._by_stem: dict[str, Path | None] = {}
        for image in images:
            stem = image.relative.stem
            self._by_stem[stem] = None if stem in self._by_stem else image.path

    @property
    def fingerprint(self) -> str:
        """Names, sizes and times of the files."""
        digest = hashlib.sha256()
        for place, path in sorted(self._by_place.items()):
            state = path.stat()
            digest.update(
                f"{place}\0{state.st_size}\0{state.st_mtime_ns}\0".encode("utf-8", "surrogateescape")
            )
        return f"images-{digest.hexdigest()[:32]}"

    def find(self, name: str) -> Path | None:
        """File of the night image of ``name``; None if there is none."""
        place = PurePosixPath(name)
        found = self._by_place.get(place.with_suffix("").as_posix()) or self._by_place.get(name)
        return found or self._by_stem.get(place.stem)

    def __call__(self, day: Pixels, name: str) -> FloatImage | None:  # noqa: ARG002 - it is there already
        """Read the night image of ``name``. Raises ImageError if it is broken."""
        path = self.find(name)
        if path is None:
            return None
        return as_float(read_image(path, max_size_px=self._size_px).pixels)
