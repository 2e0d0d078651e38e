"""``darkside sort``: photographs into day, dusk and night, by the light in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, ItemFailed, Notice

if TYPE_CHECKING:
    from darkside_cli.datasets.sorting import Placing, Sorted

COLUMNS = ("picture", "light", "night", "sky L*", "L*", "b*")


def sort(
    session: Session,
    paths: options.Paths = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the lists.", rich_help_panel=options.MAIN
        ),
    ] = Path("sorted"),
    move: Annotated[
        bool,
        typer.Option(
            "--move", help="Move the pictures into DIR/day, dusk, night.", rich_help_panel=options.MAIN
        ),
    ] = False,
    copy: Annotated[
        bool,
        typer.Option(
            "--copy", help="Copy the pictures into DIR/day, dusk, night.", rich_help_panel=options.MAIN
        ),
    ] = False,
    link: Annotated[
        bool,
        typer.Option(
            "--link", help="Make links to the pictures in DIR/day, dusk, night.", rich_help_panel=options.MAIN
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Tell, and write nothing.", rich_help_panel=options.MAIN)
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace lists and pictures in DIR.", rich_help_panel=options.DATA),
    ] = False,
    recursive: options.Recursive = False,
    null: options.Null = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    workers: options.Workers = None,
) -> int:
    """Tell day from night in photographs, and write lists of both.

    Reads image files, folders, or names piped into standard input, and writes day.txt, dusk.txt and night.txt, one
    name a line, which train-gan takes:

        darkside sort -r holidays/

        darkside train-gan --model cyclegan --day sorted/day.txt --night sorted/night.txt

    The score of each picture, from 0 (day) to 1 (night), comes from how light its upper third, the sky, and the
    whole are, and how yellow it is; what is doubtful is called dusk. Look at the lists before you train on them.
    """
    from darkside_cli.datasets.listing import expand_inputs

    placing = _placing(move=move, copy=copy, link=link)
    if json and jsonl:
        raise UsageError("--json and --jsonl are two ways of saying the same", hint="give one of them")
    if output.exists() and not output.is_dir():
        raise UsageError(f"{os.fsdecode(output)} is not a folder", hint="name a folder with --output")
    given = options.input_paths(paths, null=null)
    images = expand_inputs(given, recursive=recursive, exclude=output)
    progress = session.progress()
    if not images:
        folders = [os.fsdecode(path) for path in given if path.is_dir()]
        if folders:
            raise UsageError(
                f"no images in {', '.join(folders)}",
                hint=None if recursive else "--recursive takes sub-folders too",
            )
        progress.emit(Notice("no image names came in: nothing to do"))
        return EXIT_DONE

    from darkside_cli.datasets.sorting import sort_pictures
    from darkside_cli.images.threads import default_threads

    results: list[dict[str, Any]] = []

    def found(picture: Sorted) -> None:
        results.append(_as_json(picture))
        if jsonl:
            session.output.jsonl(results[-1])

    with progress:
        summary = sort_pictures(
            images,
            None if dry_run else output,
            placing=placing,
            overwrite=overwrite,
            workers=workers or default_threads(8),
            found=found,
            emit=_failures_as_json(session, progress.emit) if jsonl else progress.emit,
        )
    counts = {light: summary.counts[light] for light in ("day", "dusk", "night")}
    if json:
        session.output.json(
            {"pictures": results, "counts": counts, "failed": summary.failed, "lists": list(summary.lists)}
        )
    elif not jsonl and results:
        session.output.table(COLUMNS, [_row(each) for each in results])
    written = f", listed in {os.fsdecode(output)}{os.sep}" if summary.lists else ""
    progress.emit(Notice(", ".join(f"{count} {light}" for light, count in counts.items()) + written))
    return EXIT_SOME_FAILED if summary.failed else EXIT_DONE


def _placing(*, move: bool, copy: bool, link: bool) -> Placing | None:
    if move + copy + link > 1:
        raise UsageError("pictures are moved, copied or linked", hint="give one of --move, --copy and --link")
    return "move" if move else "copy" if copy else "link" if link else None


def _as_json(picture: Sorted) -> dict[str, Any]:
    measure = picture.measure
    return {
        "input": picture.source,
        "path": picture.path,
        "light": picture.light,
        "score": round(measure.score, 4),
        "sky_lightness": round(measure.sky_lightness, 2),
        "lightness": round(measure.lightness, 2),
        "warmth": round(measure.warmth, 2),
    }


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    numbers = (f"{result[key]:.1f}" for key in ("sky_lightness", "lightness", "warmth"))
    return (os.fsdecode(result["path"]), result["light"], f"{result['score']:.2f}", *numbers)


def _failures_as_json(session: Session, then: Emit) -> Emit:
    def emit(event: Event) -> None:
        then(event)
        if isinstance(event, ItemFailed):
            session.output.jsonl({"input": event.source, "error": event.reason})

    return emit


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "sort")(sort)
