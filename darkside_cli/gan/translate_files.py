"""Many image files through one generator: decode, device and encode overlapped, in flat memory.

Files are decoded by a pool of threads some places ahead, grouped by size into batches, translated by the calling
thread, and encoded by a second pool. Events leave in the order of the jobs, whatever finishes first. How much is in
flight is bounded by the number of threads and the batch size, never by the number of files.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from darkside_cli.data.images import Photo, read_photo, write_photo
from darkside_cli.data.listing import TranslationJob
from darkside_cli.engine.device import is_out_of_memory
from darkside_cli.errors import DarksideError, OutOfDeviceMemoryError
from darkside_cli.events import (
    Emit,
    Event,
    ImageReady,
    ItemFailed,
    ItemSkipped,
    Notice,
    RunFinished,
    RunStarted,
    ignore,
)
from darkside_cli.gan.compare import side_by_side, sheet_path
from darkside_cli.gan.translate import Pixels


class BatchResult(Protocol):
    """What :meth:`BatchTranslator.submit` answers."""

    def result(self) -> Pixels:
        """Wait for the batch and return it, (B, H, W, 3) uint8 RGB."""


class BatchTranslator(Protocol):
    """What the pipeline needs of a translator; :class:`darkside_cli.gan.translate.Translator` is one."""

    @property
    def asynchronous(self) -> bool:
        """Whether :meth:`submit` returns before the device is done."""

    def submit(self, images: Pixels) -> BatchResult:
        """Start a batch, (B, H, W, 3) uint8 RGB."""

    def batch_size(self, height: int, width: int) -> int:
        """How many images of this size go into one batch."""

    def release_memory(self) -> None:
        """Give cached device memory back."""


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How files are read and written.

    ``max_size_px`` limits the longest side (0: none); ``batch_size`` 0 lets the translator choose; ``workers`` is
    the number of threads on each side of the device; ``compare`` writes a sheet of input and output beside.
    """

    max_size_px: int = 0
    quality: int = 95
    overwrite: bool = False
    compare: bool = False
    batch_size: int = 0
    workers: int = 2


@dataclass(frozen=True)
class Summary:
    """How many images were written, could not be, and were there already."""

    done: int
    failed: int
    skipped: int
    seconds: float


@dataclass
class _Item:
    """One decoded image on its way. ``index`` is its place among the jobs."""

    index: int
    job: TranslationJob
    photo: Photo
    seconds: float
    night: Pixels | None = None


class _InOrder:
    """Emits one event per job in the order of the jobs, holding back those that come early."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._next = 0
        self._early: dict[int, Event] = {}
        self.counts = {ImageReady: 0, ItemFailed: 0, ItemSkipped: 0}

    def put(self, index: int, event: Event) -> None:
        self.counts[type(event)] += 1
        self._early[index] = event
        while self._next in self._early:
            ready = self._early.pop(self._next)
            self._next += 1
            self._emit(ready)

    def flush(self) -> None:
        """Emit what was held back (after an interruption some places stay empty for good)."""
        for index in sorted(self._early):
            self._emit(self._early.pop(index))


def is_done(job: TranslationJob, options: FileOptions) -> bool:
    """Whether everything that ``job`` would write is there already."""
    return job.target.exists() and (not options.compare or sheet_path(job.target).exists())


class _Pipeline:
    def __init__(self, translator: BatchTranslator, options: FileOptions, emit: Emit) -> None:
        self.translator = translator
        self.options = options
        self.emit = emit
        self.events = _InOrder(emit)
        self.batch_limit: int | None = options.batch_size or None
        self.waiting: dict[tuple[int, int], list[_Item]] = {}
        self.in_flight: deque[tuple[list[_Item], BatchResult, float]] = deque()
        self.writing: deque[tuple[_Item, Future[None]]] = deque()
        self.decoders = ThreadPoolExecutor(options.workers, thread_name_prefix="decode")
        self.encoders = ThreadPoolExecutor(options.workers, thread_name_prefix="encode")

    def run(self, jobs: Iterable[TranslationJob]) -> None:
        try:
            for item in self._decoded(enumerate(jobs)):
                size = item.photo.pixels.shape[:2]
                group = self.waiting.setdefault((size[0], size[1]), [])
                group.append(item)
                if len(group) >= self._limit(*size):
                    self._translate(self.waiting.pop((size[0], size[1])))
                elif sum(map(len, self.waiting.values())) > self.options.workers + 2 * self._limit(*size):
                    # Sizes are mixed: the group that has waited longest goes as it is, so that memory stays flat.
                    self._translate(self.waiting.pop(next(iter(self.waiting))))
            for size_ in list(self.waiting):
                self._translate(self.waiting.pop(size_))
            while self.in_flight:
                self._collect()
            self._finish_writes(0)
        finally:
            self.decoders.shutdown(wait=True, cancel_futures=True)
            self.encoders.shutdown(wait=True, cancel_futures=True)

    def interrupted(self) -> None:
        """Tell of the files that were finished although the run was stopped."""
        while self.writing:
            item, future = self.writing.popleft()
            if future.done() and not future.cancelled():
                self._written(item, future)
        self.events.flush()

    def _limit(self, height: int, width: int) -> int:
        wanted = self.options.batch_size or self.translator.batch_size(height, width)
        return min(wanted, self.batch_limit) if self.batch_limit else wanted

    def _decoded(self, jobs: Iterator[tuple[int, TranslationJob]]) -> Iterator[_Item]:
        """Decoded images in the order of the jobs; skipped and unreadable ones are told of and left out."""
        ahead: deque[tuple[int, TranslationJob, Future[tuple[Photo, float]]]] = deque()

        def front() -> Iterator[_Item]:
            index, job, future = ahead.popleft()
            try:
                photo, seconds = future.result()
            except DarksideError as error:
                self.events.put(index, ItemFailed(job.source, str(error)))
            else:
                yield _Item(index, job, photo, seconds)

        for index, job in jobs:
            if not self.options.overwrite and is_done(job, self.options):
                self.events.put(index, ItemSkipped(job.source, job.target))
                continue
            ahead.append((index, job, self.decoders.submit(self._decode, job.source)))
            if len(ahead) > self.options.workers + 1:
                yield from front()
        while ahead:
            yield from front()

    def _decode(self, source: Path) -> tuple[Photo, float]:
        started = time.perf_counter()
        photo = read_photo(source, max_size_px=self.options.max_size_px or None)
        return photo, time.perf_counter() - started

    def _translate(self, items: list[_Item]) -> None:
        """Send ``items``, all of one size, to the device; when memory runs out, in halves."""
        height, width = items[0].photo.pixels.shape[:2]
        while items:
            chunk = items[: self._limit(height, width)]
            started = time.perf_counter()
            try:
                pending = self.translator.submit(np.stack([item.photo.pixels for item in chunk]))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._out_of_memory(chunk, items)
                continue
            del items[: len(chunk)]
            self.in_flight.append((chunk, pending, started))
            # Where the device works by itself it has this batch to do while the one before is fetched.
            while len(self.in_flight) > (1 if self.translator.asynchronous else 0):
                self._collect()

    def _out_of_memory(self, chunk: list[_Item], items: list[_Item]) -> None:
        self.translator.release_memory()
        height, width = chunk[0].photo.pixels.shape[:2]
        if self.in_flight:  # an earlier batch still holds memory: finish it, then try this one again as it is
            while self.in_flight:
                self._collect()
            self.translator.release_memory()
        elif len(chunk) > 1:
            self.batch_limit = len(chunk) // 2
            self.emit(Notice(f"out of device memory at {len(chunk)} images of {width}x{height}: going on with {self.batch_limit}"))
        else:
            error = OutOfDeviceMemoryError(
                f"{width}x{height} does not fit into the device's memory", hint="use --max-size or --device cpu"
            )
            self.events.put(chunk[0].index, ItemFailed(chunk[0].job.source, str(error)))
            del items[0]

    def _collect(self) -> None:
        """Fetch the oldest batch from the device and hand its images to the encoders."""
        chunk, pending, started = self.in_flight.popleft()
        try:
            pixels = pending.result()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            retry = list(chunk)
            self._out_of_memory(chunk, retry)
            if retry:
                self._translate(retry)
            return
        seconds = (time.perf_counter() - started) / len(chunk)
        for item, night in zip(chunk, pixels, strict=True):
            item.seconds += seconds
            item.night = night
            self.writing.append((item, self.encoders.submit(self._write, item)))
        self._finish_writes(2 * self.options.workers)

    def _write(self, item: _Item) -> None:
        started = time.perf_counter()
        night = item.night
        if night is None:
            raise AssertionError("an image reached the encoder before it was translated")
        if self.options.compare:
            sheet = side_by_side(item.photo.pixels, night)
            write_photo(sheet_path(item.job.target), sheet, quality=self.options.quality)
        write_photo(item.job.target, night, like=item.photo, quality=self.options.quality)
        item.seconds += time.perf_counter() - started

    def _finish_writes(self, allowed: int) -> None:
        """Wait until at most ``allowed`` files are being written, and tell of those that are done."""
        while self.writing and (len(self.writing) > allowed or self.writing[0][1].done()):
            self._written(*self.writing.popleft())

    def _written(self, item: _Item, future: Future[None]) -> None:
        height, width = item.photo.pixels.shape[:2]
        try:
            future.result()
        except DarksideError as error:
            self.events.put(item.index, ItemFailed(item.job.source, str(error)))
        else:
            self.events.put(
                item.index, ImageReady(item.job.source, item.job.target, (width, height), item.seconds)
            )


def translate_files(
    jobs: Iterable[TranslationJob],
    translator: BatchTranslator,
    *,
    options: FileOptions | None = None,
    total: int | None = None,
    label: str = "translate",
    emit: Emit = ignore,
) -> Summary:
    """Translate every job's source into its target.

    An image that cannot be read, translated or written is told of (``ItemFailed``) and the others go on. Targets are
    written whole or not at all. A KeyboardInterrupt waits for the files being written, tells of them, and goes on up.
    """
    options = options or FileOptions()
    started = time.perf_counter()
    emit(RunStarted(label, total))
    pipeline = _Pipeline(translator, options, emit)
    try:
        pipeline.run(jobs)
    except KeyboardInterrupt:
        pipeline.interrupted()
        raise
    finally:
        counts = pipeline.events.counts
        summary = Summary(
            counts[ImageReady], counts[ItemFailed], counts[ItemSkipped], time.perf_counter() - started
        )
    emit(RunFinished(label, summary.done, summary.failed, summary.skipped, summary.seconds))
    return summary
