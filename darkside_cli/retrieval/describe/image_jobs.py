"""Images to be described: from the paths and names that people give to what is read, how, and what it is called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from darkside_cli.datasets.listing import expand_inputs, rooted_images
from darkside_cli.datasets.outputs import InputImage
from darkside_cli.errors import ImageError, UsageError
from darkside_cli.events import Emit, ItemFailed
from darkside_cli.images.boxes import Box, read_boxes
from darkside_cli.images.identify import MAX_SECONDS
from darkside_cli.images.images import read_image

#: Longest side that images are shrunk to for models that record no other one, as published.
USUAL_SIZE_PX = 1024


@dataclass(frozen=True)
class ImageJob:
    """An image to describe: its file, its name among the descriptors, and perhaps the part that counts.

    ``change`` is what is made of it, in the size that it is to have, by which its name differs from others'.
    """

    path: Path
    name: str
    box: Box | None = None
    change: Callable[[Image.Image], Image.Image] | None = None


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """How images are read and what is done about broken ones.

    ``image_size_px`` is the longest side that images are shrunk to (None: they stay as they are); ``upright`` turns
    them as their EXIF says, which published benchmarks do not; ``batch_size`` 0 lets the model choose; ``workers`` is
    the number of threads that decode. ``on_error`` "skip" leaves the rows of broken images out, "nan" fills them with
    NaN. ``resume`` goes on where an earlier run was stopped, and completes a file that lacks images; ``overwrite``
    makes a file anew that is there already; ``append`` keeps all that is in it, and adds to it. Images of more than
    ``max_pixels`` (None: the default of :mod:`darkside_cli.images.identify`) are refused, those not read within
    ``max_seconds`` given up.
    """

    image_size_px: int | None = USUAL_SIZE_PX
    upright: bool = True
    batch_size: int = 0
    workers: int = 2
    on_error: str = "skip"
    resume: bool = True
    overwrite: bool = False
    append: bool = False
    max_pixels: int | None = None
    max_seconds: float = MAX_SECONDS

    def __post_init__(self) -> None:
        if self.on_error not in ("skip", "nan"):
            raise UsageError(f"broken images cannot be '{self.on_error}'", hint="skip or nan")
        if self.image_size_px is not None and self.image_size_px < 1:
            raise UsageError(f"images cannot be shrunk to {self.image_size_px} pixels")


def stamp_of(job: ImageJob) -> Hashable:
    """What tells a changed image from the one that was described: its file's size and time, and the box."""
    try:
        state = job.path.stat()
    except OSError:
        return ()
    return (state.st_size, state.st_mtime_ns, *(job.box or ()))


def find_images(
    given: Sequence[Path], *, recursive: bool, root: Path | None = None, listed: Sequence[str] = ()
) -> list[InputImage]:
    """Images that the paths ``given`` stand for, those ``listed`` by their names from ``root`` with them.

    With ``root`` images are called by their paths from there, else from the folders given. Raises UsageError if folders
    were given and there are no images in them, and what :func:`darkside_cli.datasets.listing.rooted_images` raises.
    """
    images = (
        expand_inputs(given, recursive=recursive, exclude=None)
        if root is None
        else rooted_images(root, given, listed, recursive=recursive)
    )
    folders = [os.fsdecode(path) for path in given if path.is_dir()]
    if not images and folders:
        raise UsageError(
            f"no images in {', '.join(folders)}",
            hint=None if recursive else "--recursive takes sub-folders too",
        )
    return images


def make_jobs(images: Sequence[InputImage], boxes: Path | None) -> list[ImageJob]:
    """Jobs for images, with their boxes, which a file gives by name or by path.

    Raises UsageError for a box of an image that is not among them.
    """
    of_image = read_boxes(boxes) if boxes is not None else {}
    jobs = []
    used: set[str] = set()
    for image in images:
        name = image.relative.as_posix()
        key = name if name in of_image else os.fspath(image.path)
        used.add(key)
        jobs.append(ImageJob(image.path, name, of_image.get(key)))
    unknown = sorted(set(of_image) - used)
    if unknown:
        raise UsageError(
            f"{boxes} has boxes of {len(unknown)} images that are not among those given, such as '{unknown[0]}'",
            hint=f"images are called by their paths from the folder given, such as '{jobs[0].name}'",
        )
    return jobs


def any_there(jobs: Sequence[ImageJob], emit: Emit) -> bool:
    """Whether any image of ``jobs`` is there; if none is, each is told of as failed, and no model need be loaded."""
    if any(os.path.exists(job.path) for job in jobs):  # noqa: PTH110 - Path.exists raises for names too long
        return True
    for job in jobs:
        try:
            read_image(job.path)
        except ImageError as error:
            emit(ItemFailed(job.path, str(error)))
    return False


def common_root(images: Sequence[InputImage]) -> str | None:
    """Folder from which all images have their names, so that they can be found again; None if there is none."""
    roots = {
        str(path.parents[len(image.relative.parts) - 1])
        for image in images
        if (path := image.path.absolute()).parts[-len(image.relative.parts) :] == image.relative.parts
    }
    if len(roots) != 1:
        return None
    (root,) = roots
    return str(Path(root).resolve()) if ".." in Path(root).parts else root


def depend_on_each_other(given: Sequence[Path]) -> bool:
    """Whether names would be others if less had been given: their start is found from several folders."""
    here = Path.cwd()
    folders = {
        path.absolute() if path.is_dir() else path.absolute().parent
        for path in given
        if path.is_dir() or not path.absolute().is_relative_to(here)
    }
    return len(folders) > 1


def row_finder(
    names: Sequence[str], asked: Iterable[str], short: Callable[[str], str]
) -> Callable[..., int | None]:
    """What gives the number of the row in ``names`` that is called as the first of several names that is there.

    Else that of the last one's ``short`` name: one that two rows share, or two of the images ``asked`` for, is none's.
    """
    exact = {name: number for number, name in enumerate(names)}
    counts, asked_counts = Counter(map(short, names)), Counter(map(short, asked))
    loose = {short(name): number for name, number in exact.items() if counts[short(name)] == 1}

    def row_of(*candidates: str) -> int | None:
        found = next((exact[name] for name in candidates if name in exact), None)
        if found is None and asked_counts[short(candidates[-1])] == 1:
            return loose.get(short(candidates[-1]))
        return found

    return row_of
