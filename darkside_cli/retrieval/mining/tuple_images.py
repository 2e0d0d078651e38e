"""Images of tuples as the network gets them: read, shrunk, perhaps turned to night, equalised, normalised."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np
from PIL import Image
from torch import Tensor

from darkside_cli.datasets.selection import chosen_by_name
from darkside_cli.datasets.tuples import TupleSet
from darkside_cli.errors import ImageError
from darkside_cli.images.clahe import ClaheSettings, apply_clahe
from darkside_cli.images.images import read_photo
from darkside_cli.images.transforms import Normalize, ToTensor, crop_and_shrink
from darkside_cli.networks.retrieval_net import IMAGENET_MEAN, IMAGENET_STD
from darkside_cli.retrieval.mining.hard_tuples import Role
from darkside_cli.retrieval.night import FloatImage, NightMaker, Pixels, as_float, plain_name

_HALF = np.float32(0.5)


class TupleImages:
    """Network inputs of the images of ``tuples``, by number and role. Safe in several threads.

    Images are shrunk to ``size_px`` on the longest side; ``upright`` turns them as their EXIF says, which published
    sets do not. Those that the name's hash picks for the share ``share`` are night where they are anchors, made by
    ``night`` (None: nothing is). Then come ``clahe`` (None: none), and ``mean`` and ``std``. Up to ``cache_bytes`` of
    inputs are kept in memory. ``smallest_px`` is the least side that the network has a feature map for.
    """

    def __init__(
        self,
        tuples: TupleSet,
        *,
        size_px: int,
        upright: bool = True,
        night: NightMaker | None = None,
        share: float = 0.25,
        clahe: ClaheSettings | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        cache_bytes: int = 0,
        smallest_px: int = 1,
    ) -> None:
        self.tuples = tuples
        self._size_px, self._upright, self._smallest_px = size_px, upright, smallest_px
        self._night, self._share = night, share
        self._clahe = clahe
        self._normalise = Normalize(mean, std)
        self._kept: dict[tuple[int, bool], Tensor] = {}
        self._free, self._lock = cache_bytes, Lock()
        self._cache_bytes = cache_bytes

    def of(self, tuples: TupleSet) -> TupleImages:
        """The same for images of another set, with a cache of its own."""
        return TupleImages(
            tuples, size_px=self._size_px, upright=self._upright, night=self._night, share=self._share,
            clahe=self._clahe, mean=self._normalise.mean, std=self._normalise.std, cache_bytes=self._cache_bytes,
            smallest_px=self._smallest_px,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.tuples)

    def becomes_night(self, number: int, role: Role) -> bool:
        """Whether image ``number`` is to be night in this role."""
        if self._night is None or role != "anchor":
            return False
        return chosen_by_name(plain_name(self.tuples.names[number]), self._share)

    def load(self, number: int, role: Role) -> Tensor:
        """Network input (3, H, W) of image ``number``, not to be changed.

        Raises ImageError, with the path in its message, if the image is broken or too small.
        """
        night = self.becomes_night(number, role)
        found = self._kept.get((number, night))
        if found is not None:
            return found
        made = self._make(number, night)
        size = made.numel() * made.element_size()
        with self._lock:
            # What came first stays: tuples are drawn at random, so that one image is as good to keep as another.
            if (number, night) not in self._kept and size <= self._free:
                self._kept[number, night] = made
                self._free -= size
        return made

    def _make(self, number: int, night: bool) -> Tensor:
        path = self.tuples.paths[number]
        try:
            pixels = self._read(number)
            picture = self._night(pixels, self.tuples.names[number]) if night and self._night else None
            x = self.network_input(as_float(pixels) if picture is None else picture)
            if min(x.shape[1:]) < self._smallest_px:
                raise ImageError(f"{x.shape[2]}x{x.shape[1]} pixels are too few for the network")
        except ImageError as error:
            raise ImageError(f"{path}: {error.message}", hint=error.hint) from error
        return x

    def _read(self, number: int) -> Pixels:
        photo = read_photo(self.tuples.paths[number], upright=self._upright)
        box = None if self.tuples.boxes is None else self.tuples.boxes[number]
        return np.asarray(crop_and_shrink(Image.fromarray(photo.pixels), self._size_px, box))

    def network_input(self, picture: FloatImage) -> Tensor:
        """Equalise and normalise a picture (H, W, 3) in [0, 1]; gives (3, H, W).

        The picture goes through the generators' range [-1, 1] first, whether it comes from one or not: published
        trainings did so, and CLAHE's 8 bits can tell.
        """
        unit = ((picture - _HALF) / _HALF) * _HALF + _HALF
        equalised = unit if self._clahe is None else apply_clahe(np.ascontiguousarray(unit), self._clahe)
        return self._normalise.one(ToTensor().one(equalised))
