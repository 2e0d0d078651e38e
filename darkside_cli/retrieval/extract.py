"""Descriptors of many image files: decoded, equalised and described overlapped, in flat memory, resumably.

Finished rows go to a journal (:mod:`darkside_cli.retrieval.journal`) as they come; when all are there, they are
written in the order of the images to one file (:mod:`darkside_cli.retrieval.store`). Several processes
(:mod:`darkside_cli.engine.distributed`) share the images: number r of n takes every n-th from the r-th on, and the
first one writes the file for all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from darkside_cli import __version__
from darkside_cli.data.images import read_photo
from darkside_cli.data.transforms import Box, crop_and_shrink
from darkside_cli.engine.distributed import Ranks
from darkside_cli.engine.pipeline import Pending, Pipeline, Stages
from darkside_cli.errors import ImageError, UsageError
from darkside_cli.events import (
    Emit,
    Event,
    ImageReady,
    ItemSkipped,
    Notice,
    RunFinished,
    RunStarted,
    ignore,
)
from darkside_cli.retrieval.journal import Journal, remove_journal
from darkside_cli.retrieval.store import (
    StoredDescriptors,
    check_names,
    format_of,
    open_descriptors,
    write_descriptors,
)

Rows = NDArray[np.float32]
Row = NDArray[np.float32]

_BLOCK_BYTES = 1 << 24
# What is told of, if it differs, of a file that is there already: from what people choose to what follows from it.
_COMPARED = ("model", "scales", "image_size", "precision", "whiten", "dim", "transform", "fingerprint")


class BatchDescriber(Protocol):
    """What is needed of a model; :class:`darkside_cli.retrieval.describer.Describer` is one."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def dim(self) -> int:
        """Dimensions of its descriptors."""

    @property
    def transform(self) -> Callable[[Image.Image], Tensor]:
        """What makes the network's input (3, H, W) of a photograph; called from several threads."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """JSON-able values that say where it comes from."""

    @property
    def precision(self) -> str:
        """What is computed in."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides what a descriptor is, but for precision and the images' size."""

    @property
    def asynchronous(self) -> bool:
        """Whether :meth:`submit` returns before the device is done."""

    def submit(self, images: Tensor) -> Pending[Row]:
        """Start describing (B, 3, H, W)."""

    def check_size(self, height: int, width: int) -> None:
        """Raise ImageError for images that are too small."""

    def batch_size(self, height: int, width: int) -> int:
        """How many images of this size go into one batch."""

    def release_memory(self) -> None:
        """Give cached device memory back."""


@dataclass(frozen=True)
class ImageJob:
    """An image to describe: its file, its name among the descriptors, and perhaps the part that counts."""

    path: Path
    name: str
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """How images are read and what is done about broken ones.

    ``image_size_px`` is the longest side that images are shrunk to (None: they stay as they are); ``upright`` turns
    them as their EXIF orientation says, which published benchmarks do not; ``batch_size`` 0 lets the model choose;
    ``workers`` is the number of threads that decode. ``on_error`` "skip" leaves the rows of
    broken images out, "nan" fills them with NaN. ``resume`` goes on where an earlier run was stopped, and completes
    a file that lacks images; ``overwrite`` makes a file anew that is there already.
    """

    image_size_px: int | None = 1024
    upright: bool = True
    batch_size: int = 0
    workers: int = 2
    on_error: str = "skip"
    resume: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.on_error not in ("skip", "nan"):
            raise UsageError(f"broken images cannot be '{self.on_error}'", hint="skip or nan")
        if self.image_size_px is not None and self.image_size_px < 1:
            raise UsageError(f"images cannot be shrunk to {self.image_size_px} pixels")


@dataclass(frozen=True)
class ExtractSummary:
    """What a run did: images described, failed, and there already; ``path`` is None if nothing was written.

    ``failed`` names the images without a descriptor, of all processes.
    """

    path: Path | None
    done: int
    skipped: int
    failed: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class _Loaded:
    """A network input ``(3, H, W)``, and what its file was like when it was read."""

    image: Tensor
    stamp: Hashable


class _Description(Stages[ImageJob, _Loaded, Row]):
    """What the pipeline does to each image; ``keep`` and ``is_done`` are called with it."""

    def __init__(
        self,
        describer: BatchDescriber,
        options: ExtractOptions,
        keep: Callable[[ImageJob, _Loaded, Row], None],
        is_done: Callable[[ImageJob], bool],
        target: Path,
    ) -> None:
        self._describer, self._options, self._target = describer, options, target
        self._keep, self._is_done = keep, is_done
        self.without: set[str] = set()
        """Names of images that were begun and have no row: the broken ones, when the pipeline has ended."""

    @property
    def asynchronous(self) -> bool:
        return self._describer.asynchronous

    def source(self, job: ImageJob) -> Path:
        return job.path

    def skip(self, job: ImageJob) -> ItemSkipped | None:
        if self._is_done(job):
            return ItemSkipped(job.path, self._target)
        self.without.add(job.name)
        return None

    def load(self, job: ImageJob) -> _Loaded:
        stamp = _stamp(job)
        image = Image.fromarray(read_photo(job.path, upright=self._options.upright).pixels)
        x = self._describer.transform(crop_and_shrink(image, self._options.image_size_px, job.box))
        self._describer.check_size(x.shape[1], x.shape[2])
        return _Loaded(x, stamp)

    def size(self, loaded: _Loaded) -> tuple[int, int]:
        return loaded.image.shape[1], loaded.image.shape[2]

    def batch_size(self, height: int, width: int) -> int:
        return self._describer.batch_size(height, width)

    def submit(self, items: Sequence[_Loaded]) -> Pending[Row]:
        if len(items) == 1:
            return self._describer.submit(items[0].image[None])
        return self._describer.submit(torch.stack([item.image for item in items]))

    def store(self, job: ImageJob, loaded: _Loaded, result: Row) -> None:
        if not np.isfinite(result).all():
            raise ImageError("its descriptor is not finite", hint="try --precision fp32")
        self._keep(job, loaded, result)
        self.without.discard(job.name)

    def finished(self, job: ImageJob, loaded: _Loaded, seconds: float) -> Event:
        height, width = self.size(loaded)
        return ImageReady(job.path, self._target, (width, height), seconds)

    def release_memory(self) -> None:
        self._describer.release_memory()


def _stamp(job: ImageJob) -> Hashable:
    """What tells a changed image from the one that was described: its file's size and time, and the box."""
    try:
        state = job.path.stat()
    except OSError:
        return ()
    return (state.st_size, state.st_mtime_ns, *(job.box or ()))


def extract_array(
    jobs: Sequence[ImageJob],
    describer: BatchDescriber,
    *,
    options: ExtractOptions | None = None,
    label: str | None = None,
    emit: Emit = ignore,
) -> Rows:
    """Describe images into memory: (N, D) float32 in the order of ``jobs``; broken images are rows of NaN.

    A broken image is told of (``ItemFailed``) and the others go on. Names need not differ.
    """
    started = time.perf_counter()
    options, label = options or ExtractOptions(), label or describer.name
    rows = np.full((len(jobs), describer.dim), np.nan, dtype=np.float32)
    numbered = [replace(job, name=str(number)) for number, job in enumerate(jobs)]

    def keep(job: ImageJob, _: _Loaded, row: Row) -> None:
        rows[int(job.name)] = row

    stages = _Description(describer, options, keep, is_done=lambda _: False, target=Path())
    emit(RunStarted(label, len(numbered)))
    counts = Pipeline(stages, workers=options.workers, batch_size=options.batch_size, emit=emit).run(numbered)
    emit(RunFinished(label, counts.done, counts.failed, 0, time.perf_counter() - started))
    return rows


def extract_files(
    jobs: Iterable[ImageJob],
    describer: BatchDescriber,
    target: Path,
    *,
    options: ExtractOptions | None = None,
    metadata: Mapping[str, Any] | None = None,
    format: str | None = None,
    ranks: Ranks | None = None,
    label: str | None = None,
    emit: Emit = ignore,
) -> ExtractSummary:
    """Describe every image and write ``target``, whole or not at all, in the order of ``jobs``.

    A broken image is told of (``ItemFailed``) and the others go on. A run that was stopped, also by SIGKILL, is
    continued by the next one with the same model and settings; with others it starts afresh and says so
    (``Notice``). So is a file that is there already and lacks images. Images whose files have changed since an
    interrupted run are described again. ``metadata`` is recorded beside what the model says of itself. All
    ``ranks`` are given the same jobs; each does its share, emits the events of that, and waits for the others.

    Raises UsageError for two images of one name, names that the form cannot hold, and a file that is there but was
    made with another model, other settings or of other images.
    """
    started = time.perf_counter()
    options, ranks, label = options or ExtractOptions(), ranks or Ranks(), label or describer.name
    jobs = list(jobs)
    names = [job.name for job in jobs]
    check_names(names, format_of(target, format))
    record = _record(describer, options, metadata)
    present = None if options.overwrite else _present(target, names, record)
    emit(RunStarted(label, len(range(ranks.rank, len(jobs), ranks.size))))
    if present is not None and present.names == tuple(names) and not present.metadata.get("failed"):
        seconds = time.perf_counter() - started
        emit(RunFinished(label, 0, 0, len(jobs), seconds))
        return ExtractSummary(target, 0, len(jobs), (), seconds)

    if not options.resume and ranks.is_first:
        remove_journal(target)
    ranks.wait()
    with Journal(
        target, digest=record["digest"], dim=describer.dim, part=ranks.rank, parts=ranks.size
    ) as journal:
        if ranks.is_first:
            _prepare(journal, present, emit)
        ranks.wait()
        if ranks.size > 1:
            journal.refresh()
        stages = _Description(
            describer,
            options,
            lambda job, loaded, row: journal.append(job.name, loaded.stamp, row),
            is_done=lambda job: journal.has(job.name, _stamp(job)),
            target=target,
        )
        pipeline = Pipeline(stages, workers=options.workers, batch_size=options.batch_size, emit=emit)
        counts = pipeline.run(jobs[ranks.rank :: ranks.size])
        # Not what the journal lacks: it may have the row of an image that has become unreadable since.
        broken = set().union(*ranks.gather(stages.without))
        failed = tuple(name for name in names if name in broken)
        written = len(failed) < len(names)
        if ranks.is_first:
            if ranks.size > 1:
                journal.refresh()
            if written:
                _write(target, names, failed, journal, record, options, format)
            journal.remove()
        ranks.wait()
    seconds = time.perf_counter() - started
    emit(RunFinished(label, counts.done, counts.failed, counts.skipped, seconds))
    return ExtractSummary(target if written else None, counts.done, counts.skipped, failed, seconds)


def _record(
    describer: BatchDescriber, options: ExtractOptions, metadata: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What is recorded with descriptors. ``digest`` is of what they depend on."""
    decisive = {
        "fingerprint": describer.fingerprint,
        "image_size": options.image_size_px,
        "upright": options.upright,
        "precision": describer.precision,
        "dim": describer.dim,
    }
    digest = sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    made = {"transform": str(describer.transform), "darkside": __version__, "digest": digest}
    return {**describer.metadata, **decisive, **made, **(metadata or {})}


def _present(target: Path, names: Sequence[str], record: Mapping[str, Any]) -> StoredDescriptors | None:
    """Open the file that is there already; None if there is none.

    Raises UsageError if it is of other images, another model or other settings.
    """
    if not target.exists():
        return None
    anew = "--overwrite makes it anew; or name another file"
    stored = open_descriptors(target)
    if stored.metadata.get("digest") != record["digest"]:
        differing = [key for key in _COMPARED if stored.metadata.get(key) != record.get(key)]
        reason = (
            f"was made with another {' and '.join(differing)}" if differing else "was not made by darkside"
        )
        raise UsageError(f"{target} is there already and {reason}", hint=anew)
    others = set(stored.names or ()) - set(names)
    if others:
        raise UsageError(
            f"{target} is there already and holds {len(others)} images that were not asked for now, "
            f"such as {min(others)}",
            hint=anew,
        )
    return stored


def _prepare(journal: Journal, present: StoredDescriptors | None, emit: Emit) -> None:
    """Say what cannot be used of an earlier run, and take the rows of an unfinished file in."""
    if journal.dropped:
        emit(
            Notice(
                f"{journal.dropped} descriptors of an interrupted run were made with another model or other "
                "settings: starting afresh",
                level="warning",
            )
        )
    if present is None or present.names is None:
        return
    names = iter(present.names)
    for block in present.blocks():
        for row in block:
            name = next(names)
            if name not in journal and np.isfinite(row).all():
                journal.append(name, None, row)


def _write(
    target: Path,
    names: Sequence[str],
    failed: Sequence[str],
    journal: Journal,
    record: Mapping[str, Any],
    options: ExtractOptions,
    format: str | None,
) -> None:
    broken = set(failed)
    kept = list(names) if options.on_error == "nan" else [name for name in names if name not in broken]
    dim = record["dim"]
    write_descriptors(
        target,
        kept,
        journal.read(kept, max(1, _BLOCK_BYTES // (4 * dim)), without=broken),
        dim,
        metadata={**record, "images": len(kept), "failed": list(failed)},
        format=format,
    )
