"""Unpaired day and night images for training a translation between them.

An epoch is ``size`` pairs drawn with replacement. What pair stands where depends on the seed and the epoch (as
published trainings drew them, :mod:`darkside_cli.datasets.unpaired_order`), how it is cut on these and its position:
not on the number of processes, of threads, nor on where a run was stopped and began again.

Images are decoded by threads: decoders, resizing and arithmetic all leave Python's lock, threads share one cache,
need no second start of the interpreter beside a device in use, and end quietly.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from darkside_cli.config.paths import DataRoot, data_root
from darkside_cli.datasets.unpaired_config import UnpairedConfig
from darkside_cli.datasets.unpaired_order import count_batches, draw_epoch, generator_for, share_of
from darkside_cli.datasets.unpaired_sets import MEND, ImageCache, UnpairedSet, open_set, tell_common_part
from darkside_cli.errors import ImageError, UsageError
from darkside_cli.events import Emit, ItemFailed, ignore
from darkside_cli.images.augment import as_float, change_colours, cut_view, draw_view
from darkside_cli.images.colour import FloatImage
from darkside_cli.images.crops import ScaleCrop, resize_part
from darkside_cli.images.images import read_rgb
from darkside_cli.images.settings import default_threads

_MOST_THREADS = 16

Failure = tuple[UnpairedSet, int, str]


@dataclass(frozen=True)
class UnpairedBatch:
    """Day and night images that have nothing to do with each other: each (B, 3, H, W) float32 RGB in [-1, 1]."""

    day: Tensor
    night: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> UnpairedBatch:
        """Give the same batch on ``device``."""
        return UnpairedBatch(
            self.day.to(device, non_blocking=non_blocking), self.night.to(device, non_blocking=non_blocking)
        )

    def pin_memory(self) -> UnpairedBatch:
        """Give the same batch in page-locked memory, from which devices copy without waiting."""
        return UnpairedBatch(self.day.pin_memory(), self.night.pin_memory())

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.day)


class _Pair(NamedTuple):
    """What is to be made: the images at ``position`` of ``epoch``, by index."""

    epoch: int
    position: int
    day: int
    night: int


class UnpairedImages:
    """Batches of unpaired images: an :class:`darkside_cli.training.task.EpochData`.

    ``seed`` is the training's; ``rank`` of ``ranks`` is which process this is: together they train on batches of
    ``ranks * config.batch_size`` pairs. ``root`` is where the published lists are looked for. Broken images are
    told of once and others drawn in their place, the same ones in every run.

    ``crop_stream`` gives, for an epoch, one generator that all crops of that epoch are drawn from in the order of
    loading, as published trainings drew them. Images are then made one batch at a time in the caller's thread, and
    an epoch has to be taken from its start.

    Raises MissingAssetError and UsageError if the images are not there or cannot be trained on.
    """

    def __init__(
        self,
        config: UnpairedConfig,
        *,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        root: DataRoot | None = None,
        crop_stream: Callable[[int], random.Random] | None = None,
        emit: Emit = ignore,
    ) -> None:
        if not 0 <= rank < ranks:
            raise ValueError(f"rank {rank} of {ranks}")
        if config.augment.geometric and crop_stream is not None:
            raise ValueError("one stream of crops and geometric augmentation do not go together")
        self.config, self.seed, self.rank, self.ranks = config, seed, rank, ranks
        self._crop_stream, self._emit = crop_stream, emit
        where = data_root() if root is None else root
        self.day = open_set("day", config, where, emit)
        self.night = open_set("night", config, where, emit)
        if config.share_crop and not config.augment.geometric:
            tell_common_part(self.day, self.night, emit)
        self.size = min(len(self.day), len(self.night)) if config.size is None else config.size
        if self.size < ranks:
            raise UsageError(f"{self.size} pairs an epoch are too few for {ranks} processes")
        self._cache = ImageCache(config.cache_mb * 2**20)

    def batches(self, epoch: int) -> int:  # noqa: ARG002 - all are alike
        """Count the batches of ``epoch``. The last one may be smaller."""
        return count_batches(self.size, self.config.batch_size, self.ranks)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[UnpairedBatch]:
        """Batches ``start`` … of ``epoch`` (counted from 0), this process's part; nothing before them is decoded."""
        days, nights = draw_epoch(len(self.day), len(self.night), self.size, seed=self.seed + epoch)
        shares = (
            share_of(batch, self.size, self.config.batch_size, self.rank, self.ranks)
            for batch in range(start, self.batches(epoch))
        )
        work = ([_Pair(epoch, at, int(days[at]), int(nights[at])) for at in share] for share in shares)
        if self._crop_stream is not None:
            if start:
                raise ValueError("with one stream of crops an epoch begins at its start")
            return self._one_by_one(work, self._crop_stream(epoch))
        workers = default_threads(_MOST_THREADS) if self.config.workers is None else self.config.workers
        return self._ahead(work, workers) if workers else self._one_by_one(work, None)

    def describe(self) -> dict[str, Any]:
        """JSON-able facts about the sets, for reports; ``fingerprint`` changes with the names in them."""
        return {
            each.what: {
                "pictures": len(each),
                "unusable": len(each.unusable),
                "smallest_px": min(min(size) for size in each.sizes if size is not None),
                "largest_px": max(max(size) for size in each.sizes if size is not None),
                "fingerprint": sha256(b"\0".join(os.fsencode(path.name) for path in each.paths)).hexdigest()[
                    :16
                ],
            }
            for each in (self.day, self.night)
        }

    def _one_by_one(
        self, work: Iterator[Sequence[_Pair]], stream: random.Random | None
    ) -> Iterator[UnpairedBatch]:
        for pairs in work:
            batch = self._room(len(pairs))
            for row, pair in enumerate(pairs):
                self._report(self._make(pair, batch, row, stream))
            yield batch

    def _ahead(self, work: Iterator[Sequence[_Pair]], workers: int) -> Iterator[UnpairedBatch]:
        """Make batches by threads, at most ``prefetch`` of them before they are asked for."""
        pending: deque[tuple[UnpairedBatch, list[Future[list[Failure]]]]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="darkside-pictures")
        try:
            while True:
                while len(pending) < self.config.prefetch and (pairs := next(work, None)) is not None:
                    batch = self._room(len(pairs))
                    made = [pool.submit(self._make, pair, batch, row, None) for row, pair in enumerate(pairs)]
                    pending.append((batch, made))
                if not pending:
                    return
                batch, futures = pending.popleft()
                for future in futures:
                    self._report(future.result())
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)

    def _room(self, pairs: int) -> UnpairedBatch:
        width, height = self.config.crop_size
        return UnpairedBatch(*(torch.empty(pairs, 3, height, width) for _ in range(2)))

    def _report(self, failures: Sequence[Failure]) -> None:
        for images, index, reason in failures:
            if images.add_broken(index, reason):
                self._emit(ItemFailed(images.paths[index], reason))

    def _make(
        self, pair: _Pair, batch: UnpairedBatch, row: int, stream: random.Random | None
    ) -> list[Failure]:
        """Write a pair into ``row`` of ``batch``; returns the images that turned out to be broken."""
        failures: list[Failure] = []
        key = (self.seed, pair.epoch, pair.position)
        day = self._read(self.day, pair.day, key, failures)
        night = self._read(self.night, pair.night, key, failures)
        rng = stream or generator_for(*key)
        day_image, night_image = self._cut(day, night, rng)
        options = self.config.augment
        mirrored = [options.flip and rng.random() < 0.5 for _ in range(2)]
        if options.colours:
            day_image = change_colours(day_image, options, rng)
        _write(day_image, mirrored[0], batch.day[row])
        _write(night_image, mirrored[1], batch.night[row])
        return failures

    def _cut(self, day: Image.Image, night: Image.Image, rng: random.Random) -> tuple[FloatImage, FloatImage]:
        config = self.config
        sizes = [day.size, night.size]
        if config.augment.geometric:
            day_view, night_view = (
                draw_view(size, config.crop_size, config.scale, config.augment, rng) for size in sizes
            )
            return cut_view(day, day_view, config.crop_size), cut_view(night, night_view, config.crop_size)
        crop = ScaleCrop(config.crop_size, config.scale, rng)
        small = any(size[axis] < config.crop_size[axis] for size in sizes for axis in (0, 1))
        if config.share_crop and not small:  # or the other one would have to be enlarged along with it
            part = crop.draw(sizes)
            parts = [part, part]
        else:
            parts = [crop.draw([size]) for size in sizes]
        return _cut_part(day, parts[0], config.crop_size), _cut_part(night, parts[1], config.crop_size)

    def _read(
        self, images: UnpairedSet, index: int, key: tuple[int, int, int], failures: list[Failure]
    ) -> Image.Image:
        """Decode image ``index``, or another one in its place that ``key`` decides."""
        others = generator_for(*key, images.what)
        tried: set[int] = set()
        while True:
            if index not in images.unusable and index not in tried:
                try:
                    return self._cache.get((images.what, index), partial(self._decode, images.paths[index]))
                except ImageError as error:
                    failures.append((images, index, error.message))
            tried.add(index)
            if len(tried) == len(images):
                raise UsageError(f"no {images.what} picture can be read", hint=MEND)
            index = others.randrange(len(images))

    def _decode(self, path: Path) -> Image.Image:
        return read_rgb(path, max_size_px=self.config.max_size_px, fast=True)


def _cut_part(
    image: Image.Image, part: tuple[int, int, int, int] | None, size: tuple[int, int]
) -> FloatImage:
    """Give a part of an RGB image at ``size``, (h, w, 3) float32 in [0, 1]; None is the whole, as it is."""
    if part is None:
        return as_float(image)
    return resize_part(as_float(image.crop(part)), size)


def _write(image: FloatImage, mirrored: bool, target: Tensor) -> None:
    """Put ``image`` (H, W, 3) in [0, 1] into ``target`` (3, H, W) in [-1, 1]."""
    half = np.float32(0.5)
    target.numpy()[...] = ((image[:, ::-1] if mirrored else image) - half).transpose(2, 0, 1) / half
