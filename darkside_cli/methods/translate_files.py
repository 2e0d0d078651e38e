"""Many image files through one generator: what the pipeline of ``inference/pipeline.py`` does to each of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from darkside_cli.datasets.outputs import TranslationJob
from darkside_cli.errors import ImageError
from darkside_cli.events import Emit, Event, ImageReady, ItemSkipped, Notice, RunFinished, RunStarted, ignore
from darkside_cli.images.formats import can_write
from darkside_cli.images.guarded import MAX_SECONDS
from darkside_cli.images.images import Photo, encode_photo, read_photo, write_photo
from darkside_cli.inference.pipeline import GRACE_S, Pending, Pipeline, Stages
from darkside_cli.methods.compare import sheet_path, side_by_side

Pixels = NDArray[np.uint8]


class BatchTranslator(Protocol):
    """What is needed of a translator; :class:`darkside_cli.methods.translate.Translator` is one."""

    @property
    def asynchronous(self) -> bool:
        """Whether :meth:`submit` returns before the device is done."""

    def submit(self, images: Pixels) -> Pending[Pixels]:
        """Start a batch, (B, H, W, 3) uint8 RGB."""

    def batch_size(self, height: int, width: int) -> int:
        """How many images of this size go into one batch."""

    def release_memory(self) -> None:
        """Give cached device memory back."""


class LoadedWhenNeeded:
    """A translator that ``load`` makes for the first photograph that needs it, for jobs that should need none.

    So torch is not loaded where all results are there already, or no photograph is (:func:`is_needed`).
    """

    def __init__(self, load: Callable[[], BatchTranslator]) -> None:
        self._load = load

    @cached_property
    def _translator(self) -> BatchTranslator:
        return self._load()

    @property
    def asynchronous(self) -> bool:
        """Whether :meth:`submit` returns before the device is done."""
        return self._translator.asynchronous

    def submit(self, images: Pixels) -> Pending[Pixels]:
        """Start a batch, (B, H, W, 3) uint8 RGB."""
        return self._translator.submit(images)

    def batch_size(self, height: int, width: int) -> int:
        """How many images of this size go into one batch."""
        return self._translator.batch_size(height, width)

    def release_memory(self) -> None:
        """Give cached device memory back."""
        self._translator.release_memory()


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How files are read and written.

    ``max_size_px`` limits the longest side (0: none); ``batch_size`` 0 lets the translator choose; ``workers`` is
    the number of threads on each side of the device; ``compare`` writes a sheet of input and output beside. Images of
    more than ``max_pixels`` (None: :data:`~darkside_cli.images.identify.MAX_PIXELS`) are refused, those that are not
    read within ``max_seconds`` given up.
    """

    max_size_px: int = 0
    quality: int = 95
    overwrite: bool = False
    compare: bool = False
    batch_size: int = 0
    workers: int = 2
    max_pixels: int | None = None
    max_seconds: float = MAX_SECONDS


@dataclass(frozen=True)
class Summary:
    """How many images were written, could not be, and were there already."""

    done: int
    failed: int
    skipped: int
    seconds: float


class _Translation(Stages[TranslationJob, Photo, Pixels]):
    def __init__(self, translator: BatchTranslator, options: FileOptions, emit: Emit) -> None:
        self._translator = translator
        self._options = options
        self._emit = emit

    @property
    def asynchronous(self) -> bool:
        return self._translator.asynchronous

    def source(self, job: TranslationJob) -> Path:
        return job.source

    def skip(self, job: TranslationJob) -> ItemSkipped | None:
        return ItemSkipped(job.source, job.target) if _is_done(job, self._options) else None

    def load(self, job: TranslationJob) -> Photo:
        return read_photo(
            job.content if job.content is not None else job.source,
            max_size_px=self._options.max_size_px or None,
            max_pixels=self._options.max_pixels,
            max_seconds=self._options.max_seconds,
        )

    def size(self, loaded: Photo) -> tuple[int, int]:
        height, width, _ = loaded.pixels.shape
        return height, width

    def batch_size(self, height: int, width: int) -> int:
        return self._translator.batch_size(height, width)

    def submit(self, items: Sequence[Photo]) -> Pending[Pixels]:
        return self._translator.submit(np.stack([photo.pixels for photo in items]))

    def store(self, job: TranslationJob, loaded: Photo, result: Pixels) -> None:
        if self._options.overwrite or not job.target.exists():
            write_photo(job.target, result, like=loaded, quality=self._options.quality)
        if self._options.compare:
            # Of the result as it lies in its file, also where this run has just written it: a sheet that an
            # interrupted run or another process left to be made is then the same.
            try:
                written = read_photo(
                    job.target, max_pixels=self._options.max_pixels, max_seconds=self._options.max_seconds
                )
            except ImageError as error:
                raise ImageError(f"no sheet of {job.target}: {error.message}", hint=error.hint) from error
            sheet = side_by_side(loaded.pixels, written.pixels)
            like = replace(loaded, alpha=None, exif=None)
            write_photo(sheet_path(job.target), sheet, like=like, quality=self._options.quality)

    def finished(self, job: TranslationJob, loaded: Photo, seconds: float) -> Event:
        if loaded.left_out is not None:
            self._emit(Notice(f"{os.fsdecode(job.source)}: {loaded.left_out}", level="warning"))
        height, width = self.size(loaded)
        return ImageReady(job.source, job.target, (width, height), seconds, loaded.animated)

    def release_memory(self) -> None:
        self._translator.release_memory()


def _is_done(job: TranslationJob, options: FileOptions) -> bool:
    if options.overwrite or not job.target.exists():
        return False
    return not options.compare or sheet_path(job.target).exists()


def is_needed(jobs: Iterable[TranslationJob], options: FileOptions) -> bool:
    """Whether a translator has anything to do: a photograph that is there and has no result yet."""
    # Not Path.exists, which raises for names that no file system takes; reading will tell.
    there = (job for job in jobs if job.content is not None or os.path.exists(job.source))  # noqa: PTH110
    return any(not _is_done(job, options) for job in there)


class _ToMemory(_Translation):
    """Encodes the result instead of writing it."""

    def __init__(
        self, translator: BatchTranslator, options: FileOptions, emit: Emit, format: str | None
    ) -> None:
        super().__init__(translator, options, emit)
        self._format = format
        self.encoded: memoryview | None = None

    def skip(self, job: TranslationJob) -> ItemSkipped | None:  # noqa: ARG002
        return None

    def store(self, job: TranslationJob, loaded: Photo, result: Pixels) -> None:  # noqa: ARG002
        own = loaded.format if loaded.format is not None and can_write(loaded.format) else "PNG"
        self.encoded = encode_photo(result, self._format or own, like=loaded, quality=self._options.quality)


def translate_to_memory(
    job: TranslationJob,
    translator: BatchTranslator,
    *,
    format: str | None = None,
    options: FileOptions | None = None,
    label: str = "translate",
    emit: Emit = ignore,
) -> tuple[memoryview | None, Summary]:
    """Translate one image and give the file's contents instead of writing them; None if that failed.

    ``format`` is Pillow's name of the format, by default the source's own, or PNG where that cannot be written. Of
    ``options``, ``overwrite`` and ``compare`` do not count. What is told is as :func:`translate_files` tells it.
    """
    options = replace(options or FileOptions(), workers=1, batch_size=1)
    stages = _ToMemory(translator, options, emit, format)
    summary = _run(stages, [job], 1, label, emit, options)
    return stages.encoded, summary


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
    return _run(_Translation(translator, options, emit), jobs, total, label, emit, options)


def _run(
    stages: _Translation,
    jobs: Iterable[TranslationJob],
    total: int | None,
    label: str,
    emit: Emit,
    options: FileOptions,
) -> Summary:
    started = time.perf_counter()
    emit(RunStarted(label, total))
    counts = Pipeline(
        stages,
        workers=options.workers,
        batch_size=options.batch_size,
        emit=emit,
        give_up_s=options.max_seconds + GRACE_S,
    ).run(jobs)
    summary = Summary(counts.done, counts.failed, counts.skipped, time.perf_counter() - started)
    emit(RunFinished(label, summary.done, summary.failed, summary.skipped, summary.seconds))
    return summary
