"""From the images, folders and names that people give to the images that are described, and what they are called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.datasets.outputs import InputImage
from darkside_cli.datasets.rooted import rooted_images
from darkside_cli.errors import ImageError, UsageError
from darkside_cli.events import Emit, ItemFailed
from darkside_cli.images.boxes import read_boxes
from darkside_cli.images.images import read_image
from darkside_cli.retrieval.describe.image_jobs import ImageJob


def find_images(
    given: Sequence[Path], *, recursive: bool, root: Path | None = None, listed: Sequence[str] = ()
) -> list[InputImage]:
    """Images that the paths ``given`` stand for, those ``listed`` by their names from ``root`` with them.

    With ``root`` images are called by their paths from there, else from the folders given. Raises UsageError if
    folders were given and there are no images in them, and what
    :func:`darkside_cli.datasets.rooted.rooted_images` raises.
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
    return roots.pop() if len(roots) == 1 else None


def depend_on_each_other(given: Sequence[Path]) -> bool:
    """Whether names would be others if less had been given: their start is found from several folders."""
    here = Path.cwd()
    folders = {
        path.absolute() if path.is_dir() else path.absolute().parent
        for path in given
        if path.is_dir() or not path.absolute().is_relative_to(here)
    }
    return len(folders) > 1
