"""Sorts photographs into day, dusk and night, into lists that training takes, and into folders where that is wanted."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal

from darkside_cli.atomic import temporary_beside, write_bytes_atomic
from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.datasets.outputs import InputImage
from darkside_cli.errors import ImageError, UsageError
from darkside_cli.events import Emit, Event, ImageReady, ItemFailed, RunFinished, RunStarted, ignore
from darkside_cli.images.identify import reason_of
from darkside_cli.images.photometry import LIGHTS, Light, LightMeasure, measure_file

Placing = Literal["move", "copy", "link"]


@dataclass(frozen=True)
class Sorted(Event):
    """An event: a photograph, what was measured of it, and where it is now (where it was, unless it was moved)."""

    source: Path
    measure: LightMeasure
    path: Path

    @property
    def light(self) -> Light:
        """Say which it is: "day", "dusk" or "night"."""
        return self.measure.light


@dataclass
class SortSummary:
    """What sorting came to: the images, how many of each light, how many failed, and the lists that were written."""

    images: list[Sorted] = field(default_factory=list)
    counts: Counter[Light] = field(default_factory=Counter)
    failed: int = 0
    lists: tuple[Path, ...] = ()


def sort_images(
    images: Sequence[InputImage],
    folder: Path | None,
    *,
    placing: Placing | None = None,
    overwrite: bool = False,
    workers: int = 2,
    emit: Emit = ignore,
) -> SortSummary:
    """Measure ``images`` and write ``day.txt``, ``dusk.txt`` and ``night.txt`` into ``folder`` (None: nothing).

    ``placing`` also moves, copies or links (symbolically) each image into ``folder``/day, dusk or night under its
    ``relative`` name; the lists then name all that these folders hold, so that a run that was stopped can go on.
    An image of another content in its place stays unless ``overwrite`` is given, and the new one fails. Each image
    is told of (:class:`Sorted`) in the order given, as soon as it is measured, and so are broken ones.

    Raises UsageError, before anything is measured, if lists are there already (without ``placing`` and ``overwrite``).
    """
    if folder is not None and placing is None and not overwrite:
        _refuse_to_replace([folder / f"{light}.txt" for light in LIGHTS])
    started = time.monotonic()
    emit(RunStarted("sort", len(images)))
    summary = SortSummary()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="darkside-sort")
    try:
        for image, measure in zip(images, pool.map(_measure, images), strict=True):
            before = time.monotonic()
            try:
                if isinstance(measure, ImageError):
                    raise measure
                path = image.path
                if folder is not None:
                    name = image.relative if placing is not None else _name_in_list(path, folder)
                    if _LINE_ENDS.intersection(os.fspath(name)):
                        raise ImageError("its name has a line break, which no list can hold")
                    if placing is not None:
                        path = _place(image, folder / measure.light, placing, overwrite=overwrite)
            except ImageError as error:
                summary.failed += 1
                emit(ItemFailed(image.path, error.message))
                continue
            summary.counts[measure.light] += 1
            summary.images.append(Sorted(image.path, measure, path))
            emit(summary.images[-1])
            target = path if folder is None or placing else folder / f"{measure.light}.txt"
            emit(ImageReady(image.path, target, (0, 0), time.monotonic() - before))
    finally:
        pool.shutdown(cancel_futures=True)
    if folder is not None:
        summary.lists = tuple(_write_list(folder, light, summary.images, placing) for light in LIGHTS)
    seconds = time.monotonic() - started
    emit(RunFinished("sort", len(summary.images), summary.failed, 0, seconds))
    return summary


_LINE_ENDS = frozenset("\r\n")


def _measure(image: InputImage) -> LightMeasure | ImageError:
    try:
        return measure_file(image.path)
    except ImageError as error:
        return error


def _refuse_to_replace(lists: Iterable[Path]) -> None:
    there = [str(path) for path in lists if path.exists()]
    if there:
        raise UsageError(
            f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already",
            hint="--overwrite replaces them, --output names another folder",
        )


def _place(image: InputImage, folder: Path, placing: Placing, *, overwrite: bool) -> Path:
    """Bring an image into ``folder`` under its relative name, and return its path there."""
    source, target = image.path, folder / image.relative
    try:
        if target.exists() and target.samefile(source):
            return target
        if target.exists() and not overwrite:
            if source.stat().st_size != target.stat().st_size or source.read_bytes() != target.read_bytes():
                raise ImageError(f"another picture is at {target} already (--overwrite replaces it)")
        elif placing != "move" or not _renamed(source, target):
            with temporary_beside(target) as temporary:
                if placing == "link":
                    temporary.unlink()
                    temporary.symlink_to(source.resolve())
                else:
                    shutil.copy2(source, temporary)
        if placing == "move" and source.exists():
            source.unlink()
    except OSError as error:
        raise ImageError(f"it cannot be put at {target}: {reason_of(error)}") from error
    return target


def _renamed(source: Path, target: Path) -> bool:
    """Rename ``source`` to ``target``, at once or not at all; False where only a copy will do.

    That is so on another disk, and for links, which may be relative to where they are.
    """
    if source.is_symlink():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _write_list(folder: Path, light: Light, images: Sequence[Sorted], placing: Placing | None) -> Path:
    if placing is None:
        paths = [each.path for each in images if each.light == light]
    elif (folder / light).is_dir():
        paths = [image.path for image in expand_inputs([folder / light], recursive=True, exclude=None)]
    else:
        paths = []
    names = [os.fsencode(_name_in_list(path, folder)) for path in paths]
    target = folder / f"{light}.txt"
    write_bytes_atomic(target, b"".join(name + b"\n" for name in names))
    return target


def _name_in_list(path: Path, folder: Path) -> PurePath:
    """Name of an image in a list that lies in ``folder``: from there if it is below it, else the whole path."""
    whole, base = (Path(os.path.abspath(each)) for each in (path, folder))  # noqa: PTH100 - links stay as they are
    return whole.relative_to(base) if whole.is_relative_to(base) else whole
