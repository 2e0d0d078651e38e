"""Images of tuples as the network gets them (read, shrunk, perhaps turned to night, equalised, normalised), and their
descriptors by the network as it is.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from darkside_cli.datasets.tuples import TupleSet
from darkside_cli.errors import ImageError
from darkside_cli.events import Emit, ImageReady, ItemFailed, RunFinished, RunStarted, ignore
from darkside_cli.images.colour import FloatImage, Pixels
from darkside_cli.images.images import read_image
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import Normalize, ToTensor, apply_clahe, crop_and_shrink
from darkside_cli.images.views import random_view
from darkside_cli.metrics.ranking import IntArray
from darkside_cli.networks.catalog import IMAGENET_MEAN, IMAGENET_STD
from darkside_cli.retrieval.mining.hard_tuples import Role
from darkside_cli.retrieval.mining.night import NightMaker, as_float
from darkside_cli.retrieval.mining.night_share import NightShare

DescribeBatch = Callable[[Tensor], Tensor]
"""Descriptors (B, D) of images (B, 3, H, W) of one size."""

_HALF = np.float32(0.5)
#: A CPU is busy with one image of this many pixels; smaller ones are described together, up to as many as here.
_CPU_PIXELS, _MOST_AT_ONCE = 256 * 256, 32


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
        self._night = None if night is None else NightShare([night], share=share)
        self._clahe = clahe
        self._normalise = Normalize(mean, std)
        self._kept: dict[tuple[int, bool], Tensor] = {}
        self._free, self._lock = cache_bytes, Lock()
        self._cache_bytes = cache_bytes

    def of(self, tuples: TupleSet) -> TupleImages:
        """The same for images of another set, with a cache of its own."""
        other = copy.copy(self)
        other.tuples, other._kept, other._free, other._lock = tuples, {}, self._cache_bytes, Lock()
        return other

    def __len__(self) -> int:
        return len(self.tuples)

    def becomes_night(self, number: int, role: Role) -> bool:
        """Whether image ``number`` is to be night in this role."""
        if self._night is None or role != "anchor":
            return False
        return self._night.chooses(self.tuples.names[number])

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
            night_image = (
                self._night.night_of(pixels, self.tuples.names[number]) if night and self._night else None
            )
            x = self.network_input(as_float(pixels) if night_image is None else night_image)
            if min(x.shape[1:]) < self._smallest_px:
                raise ImageError(f"{x.shape[2]}x{x.shape[1]} pixels are too few for the network")
        except ImageError as error:
            raise ImageError(f"{path}: {error.message}", hint=error.hint) from error
        return x

    def _read(self, number: int) -> Pixels:
        image = read_image(self.tuples.paths[number], upright=self._upright)
        box = None if self.tuples.boxes is None else self.tuples.boxes[number]
        if self.tuples.views is not None and self.tuples.views[number]:
            whole = crop_and_shrink(Image.fromarray(image.pixels), None, box)
            return np.asarray(random_view(whole, self._size_px, self.tuples.names[number]))
        return np.asarray(crop_and_shrink(Image.fromarray(image.pixels), self._size_px, box))

    def network_input(self, image: FloatImage) -> Tensor:
        """Equalise and normalise an image (H, W, 3) in [0, 1]; gives (3, H, W).

        The image goes through the generators' range [-1, 1] first, whether it comes from one or not: published
        trainings did so, and CLAHE's 8 bits can tell.
        """
        unit = ((image - _HALF) / _HALF) * _HALF + _HALF
        equalised = unit if self._clahe is None else apply_clahe(np.ascontiguousarray(unit), self._clahe)
        return self._normalise.one(ToTensor().one(equalised))


class ImageDescriber:
    """Describes images of ``images`` with ``describe``, decoding them in threads.

    The same images in the same order are batched alike, up to ``batch_size`` (None: by their size) at once, so that
    they give the same bits.
    """

    def __init__(
        self, images: TupleImages, describe: DescribeBatch, *, workers: int, batch_size: int | None = None,
        emit: Emit = ignore,
    ) -> None:  # fmt: skip
        self.images, self._describe, self._workers, self._batch_size = images, describe, workers, batch_size
        self._emit = emit
        self._told: set[int] = set()
        self._readable: set[int] = set()

    def of(self, tuples: TupleSet) -> ImageDescriber:
        """The same for images of another set."""
        return ImageDescriber(
            self.images.of(tuples), self._describe, workers=self._workers, batch_size=self._batch_size, emit=self._emit
        )  # fmt: skip

    def __call__(self, numbers: IntArray, role: Role, *, label: str = "") -> Tensor:
        """Descriptors (n, D) on the CPU; broken images are told of once and rows of NaN."""
        started = time.perf_counter()
        if label:
            self._emit(RunStarted(label, len(numbers)))
        found: dict[int, Tensor] = {}
        waiting: dict[torch.Size, list[tuple[int, Tensor]]] = {}
        with ThreadPoolExecutor(self._workers, thread_name_prefix="darkside-tuples") as pool:
            for place, x in enumerate(
                ahead(pool, self._load, [(int(n), role) for n in numbers], 2 * self._workers)
            ):
                if x is None:
                    continue
                group = waiting.setdefault(x.shape, [])
                group.append((place, x))
                if len(group) >= self._limit(x):
                    self._flush(waiting.pop(x.shape), found)
                elif sum(map(len, waiting.values())) > 4 * _MOST_AT_ONCE:
                    self._flush(waiting.pop(next(iter(waiting))), found)
                if label:
                    path = self.images.tuples.paths[int(numbers[place])]
                    self._emit(ImageReady(path, None, (x.shape[2], x.shape[1]), 0.0))
            for group in waiting.values():
                self._flush(group, found)
        dim = len(next(iter(found.values()))) if found else 1
        rows = torch.full((len(numbers), dim), torch.nan)
        for place, row in found.items():
            rows[place] = row
        if label:
            done, seconds = len(found), time.perf_counter() - started
            self._emit(RunFinished(label, done, len(numbers) - done, 0, seconds))
        return rows

    def unreadable(self, numbers: IntArray) -> set[int]:
        """Which of the images cannot be read as day; they are told of. What was read before is not looked at again."""
        jobs: list[tuple[int, Role]] = [(int(n), "positive") for n in numbers if int(n) not in self._readable]
        with ThreadPoolExecutor(self._workers, thread_name_prefix="darkside-tuples") as pool:
            loaded = ahead(pool, self._load, jobs, 2 * self._workers)
            return {number for (number, _), x in zip(jobs, loaded, strict=True) if x is None}

    def _limit(self, x: Tensor) -> int:
        if self._batch_size is not None:
            return self._batch_size
        return max(1, min(_MOST_AT_ONCE, _CPU_PIXELS // (x.shape[1] * x.shape[2])))

    def _flush(self, group: Sequence[tuple[int, Tensor]], found: dict[int, Tensor]) -> None:
        rows = self._describe(torch.stack([x for _, x in group])).cpu()
        found.update(zip((place for place, _ in group), rows, strict=True))

    def _load(self, number: int, role: Role) -> Tensor | None:
        try:
            x = self.images.load(number, role)
            if not self.images.becomes_night(number, role):
                self._readable.add(number)
            return x
        except ImageError as error:
            if number not in self._told:
                self._told.add(number)
                path = self.images.tuples.paths[number]
                self._emit(ItemFailed(path, error.message.removeprefix(f"{path}: ")))
            return None


def ahead(
    pool: ThreadPoolExecutor, work: Callable[..., Any], jobs: Iterable[tuple[Any, ...]], count: int
) -> Generator[Any, None, None]:
    """Results of ``work(*job)`` in the order of ``jobs``, at most ``count`` of them under way or waiting."""
    pending: deque[Future[Any]] = deque()
    try:
        for job in jobs:
            pending.append(pool.submit(work, *job))
            if len(pending) > count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
