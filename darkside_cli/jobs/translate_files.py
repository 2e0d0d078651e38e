"""Many image files through one generator: what the pipeline of ``inference/pipeline.py`` does to each of them.

Beside each result may go a sheet that shows the input beside it.
"""

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
from PIL import Image

from darkside_cli.datasets.outputs import TranslationJob
from darkside_cli.errors import ImageError
from darkside_cli.events import Emit, Event, ImageReady, ItemSkipped, Notice, RunFinished, RunStarted, ignore
from darkside_cli.images.formats import can_write
from darkside_cli.images.identify import MAX_SECONDS, identify, open_regular_file
from darkside_cli.images.images import DecodedImage, encode_image, read_image, write_image
from darkside_cli.inference.pipeline import GRACE_S, Pipeline
from darkside_cli.inference.stages import Pending, Stages

Pixels = NDArray[np.uint8]
#: Between the two images of a sheet.
GAP_PX = 8
#: Folder of the sheets, beside the results.
SHEETS = "compare"


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


class _Translation(Stages[TranslationJob, DecodedImage, Pixels]):
    def __init__(self, load: Callable[[], BatchTranslator], options: FileOptions, emit: Emit) -> None:
        self._load = load
        self._options = options
        self._emit = emit

    @cached_property
    def translator(self) -> BatchTranslator:
        return self._load()

    @property
    def asynchronous(self) -> bool:
        return self.translator.asynchronous

    def source(self, job: TranslationJob) -> Path:
        return job.source

    def skip(self, job: TranslationJob) -> ItemSkipped | None:
        return ItemSkipped(job.source, job.target) if _is_done(job, self._options) else None

    def load(self, job: TranslationJob) -> DecodedImage:
        return read_image(
            job.content if job.content is not None else job.source,
            max_size_px=self._options.max_size_px or None,
            max_pixels=self._options.max_pixels,
            max_seconds=self._options.max_seconds,
        )

    def size(self, loaded: DecodedImage) -> tuple[int, int]:
        height, width, _ = loaded.pixels.shape
        return height, width

    def batch_size(self, height: int, width: int) -> int:
        return self.translator.batch_size(height, width)

    def submit(self, items: Sequence[DecodedImage]) -> Pending[Pixels]:
        return self.translator.submit(np.stack([image.pixels for image in items]))

    def store(self, job: TranslationJob, loaded: DecodedImage, result: Pixels) -> None:
        if self._options.overwrite or not job.target.exists():
            write_image(job.target, result, like=loaded, quality=self._options.quality)
        if self._options.compare:
            # Of the result as it lies in its file, also where this run has just written it: a sheet that an
            # interrupted run or another process left to be made is then the same.
            try:
                written = read_image(
                    job.target, max_pixels=self._options.max_pixels, max_seconds=self._options.max_seconds
                )
            except ImageError as error:
                raise ImageError(f"no sheet of {job.target}: {error.message}", hint=error.hint) from error
            sheet = side_by_side(loaded.pixels, written.pixels)
            like = replace(loaded, alpha=None, exif=None)
            write_image(sheet_path(job.target), sheet, like=like, quality=self._options.quality)

    def finished(self, job: TranslationJob, loaded: DecodedImage, seconds: float) -> Event:
        if loaded.left_out is not None:
            self._emit(Notice(f"{os.fsdecode(job.source)}: {loaded.left_out}", level="warning"))
        height, width = self.size(loaded)
        return ImageReady(job.source, job.target, (width, height), seconds, loaded.animated)

    def release_memory(self) -> None:
        self.translator.release_memory()


def _is_done(job: TranslationJob, options: FileOptions) -> bool:
    if options.overwrite or not job.target.exists():
        return False
    return not options.compare or sheet_path(job.target).exists()


def _is_needed(jobs: Iterable[TranslationJob], options: FileOptions) -> bool:
    """Whether a translator has anything to do: a photograph that is there and has no result yet."""
    # Not Path.exists, which raises for names that no file system takes; reading will tell.
    there = (job for job in jobs if job.content is not None or os.path.exists(job.source))  # noqa: PTH110
    return any(not _is_done(job, options) for job in there)


class _ToMemory(_Translation):
    """Encodes the result instead of writing it."""

    def __init__(
        self, load: Callable[[], BatchTranslator], options: FileOptions, emit: Emit, format: str | None
    ) -> None:
        super().__init__(load, options, emit)
        self._format = format
        self.encoded: memoryview | None = None

    def skip(self, job: TranslationJob) -> ItemSkipped | None:  # noqa: ARG002
        return None

    def store(self, job: TranslationJob, loaded: DecodedImage, result: Pixels) -> None:  # noqa: ARG002
        own = loaded.format if loaded.format is not None and can_write(loaded.format) else "PNG"
        self.encoded = encode_image(result, self._format or own, like=loaded, quality=self._options.quality)


def translate_to_memory(
    job: TranslationJob,
    load: Callable[[], BatchTranslator],
    *,
    format: str | None = None,
    options: FileOptions | None = None,
    label: str = "translate",
    model: str | None = None,
    emit: Emit = ignore,
) -> tuple[memoryview | None, Summary]:
    """Translate one image and give the file's contents instead of writing them; None if that failed.

    ``format`` is Pillow's name of the format, by default the source's own, or PNG where that cannot be written. Of
    ``options``, ``overwrite`` and ``compare`` do not count. What is told is as :func:`translate_files` tells it.
    """
    options = replace(options or FileOptions(), workers=1, batch_size=1)
    stages = _ToMemory(load, options, emit, format)
    summary = _run(stages, [job], options, RunStarted(label, 1, model=model), emit)
    return stages.encoded, summary


def translate_files(
    jobs: Sequence[TranslationJob],
    load: Callable[[], BatchTranslator],
    *,
    options: FileOptions | None = None,
    label: str = "translate",
    model: str | None = None,
    emit: Emit = ignore,
) -> Summary:
    """Translate every job's source into its target, by the translator that ``load`` gives.

    It is loaded only if a photograph is there that has no result yet, before the clock starts. An image that cannot
    be read, translated or written is told of (``ItemFailed``) and the others go on. Targets are written whole or not
    at all. A KeyboardInterrupt waits for the files being written, tells of them, and goes on up.
    """
    options = options or FileOptions()
    started = RunStarted(label, len(jobs), model=model)
    return _run(_Translation(load, options, emit), jobs, options, started, emit)


def _run(
    stages: _Translation,
    jobs: Sequence[TranslationJob],
    options: FileOptions,
    started: RunStarted,
    emit: Emit,
) -> Summary:
    if _is_needed(jobs, options):
        _ = stages.translator
    begun = time.perf_counter()
    emit(started)
    counts = Pipeline(
        stages,
        workers=options.workers,
        batch_size=options.batch_size,
        emit=emit,
        give_up_s=options.max_seconds + GRACE_S,
    ).run(jobs)
    summary = Summary(counts.done, counts.failed, counts.skipped, time.perf_counter() - begun)
    emit(RunFinished(started.job, summary.done, summary.failed, summary.skipped, summary.seconds))
    return summary


def side_by_side(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two (H, W, 3) images beside each other with a white gap: (H, 2W + gap, 3), the left one in the right's size."""
    if left.shape != right.shape:  # the result is an older one, made at another size
        left = np.asarray(Image.fromarray(left).resize((right.shape[1], right.shape[0])))
    gap = np.full((right.shape[0], GAP_PX, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def sheet_path(target: Path) -> Path:
    """Where the sheet of ``target`` goes: into a folder ``compare`` beside it, under its name and in its format."""
    return target.parent / SHEETS / target.name


def is_sheet(path: Path) -> bool:
    """Whether ``path`` is the sheet of a result that is there: its name and folder say so, and its size does.

    Photographs of people who keep some in a folder ``compare`` are none.
    """
    if path.parent.name != SHEETS:
        return False
    result, sheet = _size_px(path.parent.parent / path.name), _size_px(path)
    return result is not None and sheet == (2 * result[0] + GAP_PX, result[1])


def _size_px(path: Path) -> tuple[int, int] | None:
    """(width, height) of an image as its header has it; None for what is no image."""
    try:
        with open_regular_file(path) as stream:
            return identify(stream).size
    except (OSError, ImageError):
        return None
