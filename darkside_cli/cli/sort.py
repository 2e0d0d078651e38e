"""``darkside sort``: photographs into day, dusk and night, by the light in them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.offer import run_job
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.events import Event, ItemFailed, Notice
from darkside_cli.jobs.sort import SortRequest, describe, run

if TYPE_CHECKING:
    from darkside_cli.datasets.sorting import Sorted

COLUMNS = ("picture", "light", "night", "sky L*", "L*", "b*")


def sort(
    session: Session,
    request: SortRequest,
    null: options.Null = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
) -> int:
    """Tell day from night in photographs, and write lists of both.

    Reads image files, folders, or names piped into standard input, and writes day.txt, dusk.txt and night.txt, one
    name a line, which train-gan takes:

        darkside sort -r holidays/

        darkside train-gan --model cyclegan --day sorted/day.txt --night sorted/night.txt

    The score of each picture, from 0 (day) to 1 (night), comes from how light its upper third, the sky, and the
    whole are, and how yellow it is; what is doubtful is called dusk. Look at the lists before you train on them.
    """
    if json and jsonl:
        raise UsageError("--json and --jsonl are two ways of saying the same", hint="give one of them")
    request = replace(request, images=tuple(options.input_paths(request.images, null=null)))

    def print_line(event: Event) -> None:
        from darkside_cli.datasets.sorting import Sorted

        if isinstance(event, Sorted):
            session.output.jsonl(describe(event))
        elif isinstance(event, ItemFailed):
            session.output.jsonl({"input": event.source, "error": event.reason})

    result = run_job(session, request, run, then=print_line if jsonl else None)
    if not result.images and not result.failed:
        return EXIT_DONE
    if json:
        session.output.json(result.document())
    elif not jsonl and result.images:
        session.output.table(COLUMNS, [_row(each) for each in result.images])
    written = f", listed in {os.fsdecode(request.output)}{os.sep}" if result.lists else ""
    counts = ", ".join(f"{count} {light}" for light, count in result.counts.items())
    with session.screen() as screen:
        screen.emit(Notice(counts + written))
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


def _row(image: Sorted) -> tuple[str, ...]:
    told = describe(image)
    numbers = (f"{told[key]:.1f}" for key in ("sky_lightness", "lightness", "warmth"))
    return (os.fsdecode(image.path), image.light, f"{told['score']:.2f}", *numbers)


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "sort", request=SortRequest)(sort)
