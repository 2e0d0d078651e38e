"""Many image files through one generator: what the pipeline of ``engine/pipeline.py`` does to each of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from darkside_cli.data.images import Photo, read_photo, write_photo
from darkside_cli.data.listing import TranslationJob
from darkside_cli.engine.pipeline import Pending, Pipeline, Stages
from darkside_cli.events import Emit, Event, ImageReady, ItemSkipped, RunFinished, RunStarted, ignore
from darkside_cli.gan.compare import sheet_path, side_by_side
from darkside_cli.gan.translate import Pixels


class BatchTranslator(Protocol):
    """What is needed of a translator; :class:`darkside_cli.gan.translate.Translator` is one."""

    @property
    def asynchronous(self) -> bool:
        """Whether :meth:`submit` returns before the device is done."""

    def submit(self, images: Pixels) -> Pending[Pixels]:
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


class _Translation(Stages[TranslationJob, Photo, Pixels]):
    def __init__(self, translator: BatchTranslator, options: FileOptions) -> None:
        self._translator = translator
        self._options = options

    @property
    def asynchronous(self) -> bool:
        return self._translator.asynchronous

    def source(self, job: TranslationJob) -> Path:
        return job.source

    def skip(self, job: TranslationJob) -> ItemSkipped | None:
        if self._options.overwrite or not job.target.exists():
            return None
        if self._options.compare and not sheet_path(job.target).exists():
            return None
        return ItemSkipped(job.source, job.target)

    def load(self, job: TranslationJob) -> Photo:
        return read_photo(job.source, max_size_px=self._options.max_size_px or None)

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
            sheet = side_by_side(loaded.pixels, read_photo(job.target).pixels)
            like = replace(loaded, alpha=None, exif=None)
            write_photo(sheet_path(job.target), sheet, like=like, quality=self._options.quality)

    def finished(self, job: TranslationJob, loaded: Photo, seconds: float) -> Event:
        height, width = self.size(loaded)
        return ImageReady(job.source, job.target, (width, height), seconds)

    def release_memory(self) -> None:
        self._translator.release_memory()


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
    stages = _Translation(translator, options)
    counts = Pipeline(stages, workers=options.workers, batch_size=options.batch_size, emit=emit).run(jobs)
    summary = Summary(counts.done, counts.failed, counts.skipped, time.perf_counter() - started)
    emit(RunFinished(label, summary.done, summary.failed, summary.skipped, summary.seconds))
    return summary
