"""Sort photographs into day, dusk and night by the light in them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.jobs.checks import refuse_empty_folders
from darkside_cli.jobs.fields import Images, worker_threads
from darkside_cli.jobs.request import DATA, ask, make

if TYPE_CHECKING:
    from darkside_cli.datasets.sorting import Placing, Sorted

LIGHTS = ("day", "dusk", "night")


@dataclass(frozen=True, kw_only=True)
class SortRequest(Images):
    """Which photographs are sorted, and what is done with them."""

    output: Path = ask("Folder of the lists.", Path("sorted"), short="-o", metavar="DIR")
    move: bool = ask("Move the pictures into DIR/day, dusk, night.", False)
    copy: bool = ask("Copy the pictures into DIR/day, dusk, night.", False)
    link: bool = ask("Make links to the pictures in DIR/day, dusk, night.", False)
    dry_run: bool = ask("Tell, and write nothing.", False, short="-n")
    overwrite: bool = ask("Replace lists and pictures in DIR.", False, group=DATA)
    workers: int | None = worker_threads()

    def check(self) -> None:
        """Raise UsageError if photographs are to go two ways, or into what is no folder."""
        super().check()
        if self.move + self.copy + self.link > 1:
            raise UsageError(
                "pictures are moved, copied or linked", hint="give one of --move, --copy and --link"
            )
        if self.output.exists() and not self.output.is_dir():
            raise UsageError(
                f"{os.fsdecode(self.output)} is not a folder", hint="name a folder with --output"
            )

    @property
    def placing(self) -> Placing | None:
        """How photographs are brought to their folders; None if they stay where they are."""
        return "move" if self.move else "copy" if self.copy else "link" if self.link else None


@dataclass(frozen=True)
class SortResult:
    """What was found: each photograph, how many there are of each light, and the lists that were written."""

    images: tuple[Sorted, ...] = ()
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LIGHTS, 0))
    failed: int = 0
    lists: tuple[Path, ...] = ()

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "pictures": [describe(each) for each in self.images],
            "counts": self.counts,
            "failed": self.failed,
            "lists": list(self.lists),
        }


def describe(image: Sorted) -> dict[str, Any]:
    """What ``--jsonl`` prints of one photograph."""
    measure = image.measure
    return {
        "input": image.source,
        "path": image.path,
        "light": image.light,
        "score": round(measure.score, 4),
        "sky_lightness": round(measure.sky_lightness, 2),
        "lightness": round(measure.lightness, 2),
        "warmth": round(measure.warmth, 2),
    }


def sort(*images: Any, emit: Emit = ignore, **options: Any) -> SortResult:
    """Sort photographs: ``sort("holidays", recursive=True, output="sorted")``.

    See :class:`SortRequest` and :func:`run`.
    """
    return run(make(SortRequest, *images, **options), emit=emit)


def run(request: SortRequest, *, emit: Emit = ignore) -> SortResult:
    """Measure the photographs of ``request`` and write day.txt, dusk.txt and night.txt.

    Each photograph is told of as soon as it is measured (:class:`~darkside_cli.datasets.sorting.Sorted` is an event).
    Broken ones are told of, and the others go on. Raises UsageError for folders without images, and for lists that
    are there already.
    """
    from darkside_cli.datasets.listing import expand_inputs

    images = expand_inputs(request.images, recursive=request.recursive, exclude=request.output)
    if not images:
        refuse_empty_folders(request.images, recursive=request.recursive)
        emit(Notice("no image names came in: nothing to do"))
        return SortResult()

    from darkside_cli.datasets.sorting import sort_images
    from darkside_cli.images.settings import default_threads

    summary = sort_images(
        images,
        None if request.dry_run else request.output,
        placing=request.placing,
        overwrite=request.overwrite,
        workers=request.workers or default_threads(8),
        emit=emit,
    )
    counts = dict.fromkeys(LIGHTS, 0) | dict(summary.counts)
    return SortResult(tuple(summary.images), counts, summary.failed, summary.lists)
