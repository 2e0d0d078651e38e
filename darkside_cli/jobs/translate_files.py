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
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from darkside_cli.datasets.outputs import TranslationJob
from darkside_cli.errors import ImageError
from darkside_cli.events import Emit, Event, ImageReady, ItemSkipped, Notice, RunFinished, RunStarted, ignore
from darkside_cli.images.colour import Pixels
from darkside_cli.images.formats import can_write
from darkside_cli.images.identify import MAX_SECONDS, identify, open_regular_file
from darkside_cli.images.images import DecodedImage, encode_image, read_image, write_image
from darkside_cli.inference.pipeline import GRACE_S, Pipeline
from darkside_cli.inference.stages import Pending, Stages

if TYPE_CHECKING:
    from darkside_cli.methods.translate import Translator

#: Between the two images of a sheet.
GAP_PX = 8
#: Folder of the sheets, beside the results.
SHEETS = "compare"


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How files are read and written.

    ``max_size_px`` limits the longest side (0: none); ``batch_size`` 0 lets the translator choose; ``workers`` is
    the number of threads on each side of the device; ``compare`` writes a sheet of input and output beside. Images of
    more than ``max_pixels`` (None: :data:`~darkside_cli.images.identify.MAX_PIXELS`) are refused, those that are not
    read within ``max_seconds`` given up. ``in_memory`` encodes one result instead of writing it, whatever is there,
    in ``format`` (Pillow's name; None: the source's own, or PNG where that cannot be written).
    """

    max_size_px: int = 0
    quality: int = 95
    overwrite: bool = False
    compare: bool = False
    batch_size: int = 0
    workers: int = 2
    max_pixels: int | None = None
    max_seconds: float = MAX_SECONDS
    in_memory: bool = False
    format: str | None = None


@dataclass(frozen=True)
class Summary:
    """How many images were written, could not be, and were there already; the contents of one ``in_memory``."""

    done: int
    failed: int
    skipped: int
    seconds: float
    encoded: memoryview | None = None


class _Translation(Stages[TranslationJob, DecodedImage, Pixels]):
    def __init__(self, load: Callable[[], Translator], options: FileOptions, emit: Emit) -> None:
        self._load = load
        self._options = options
        self._emit = emit
        self.encoded: memoryview | None = None

    @cached_property
    def translator(self) -> Translator:
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
        quality = self._options.quality
        if self._options.in_memory:
            own = loaded.format if loaded.format is not None and can_write(loaded.format) else "PNG"
            self.encoded = encode_image(result, self._options.format or own, like=loaded, quality=quality)
            return
        if self._options.overwrite or not job.target.exists():
            write_image(job.target, result, like=loaded, quality=quality)
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
            write_image(sheet_path(job.target), sheet, like=like, quality=quality)

    def finished(self, job: TranslationJob, loaded: DecodedImage, seconds: float) -> Event:
        if loaded.left_out is not None:
            self._emit(Notice(f"{os.fsdecode(job.source)}: {loaded.left_out}", level="warning"))
        height, width = self.size(loaded)
        return ImageReady(job.source, job.target, (width, height), seconds, loaded.animated)

    def release_memory(self) -> None:
        self.translator.release_memory()


def _is_done(job: TranslationJob, options: FileOptions) -> bool:
    if options.in_memory or options.overwrite or not job.target.exists():
        return False
    return not options.compare or sheet_path(job.target).exists()


def _is_needed(jobs: Iterable[TranslationJob], options: FileOptions) -> bool:
    """Whether a translator has anything to do: a photograph that is there and has no result yet."""
    # Not Path.exists, which raises for names that no file system takes; reading will tell.
    there = (job for job in jobs if job.content is not None or os.path.exists(job.source))  # noqa: PTH110
    return any(not _is_done(job, options) for job in there)


def translate_files(
    jobs: Sequence[TranslationJob],
    load: Callable[[], Translator],
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
    stages = _Translation(load, options, emit)
    if _is_needed(jobs, options):
        _ = stages.translator
    begun = time.perf_counter()
    emit(RunStarted(label, len(jobs), model=model))
    counts = Pipeline(
        stages,
        workers=1 if options.in_memory else options.workers,
        batch_size=1 if options.in_memory else options.batch_size,
        emit=emit,
        give_up_s=options.max_seconds + GRACE_S,
    ).run(jobs)
    seconds = time.perf_counter() - begun
    emit(RunFinished(label, counts.done, counts.failed, counts.skipped, seconds))
    return Summary(counts.done, counts.failed, counts.skipped, seconds, stages.encoded)


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
