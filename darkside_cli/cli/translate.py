"""``darkside translate``: image files in, translated image files out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.checks import Absences, check_generator
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.obtain import Download, default_generator, obtain_model
from darkside_cli.cli.output import Output
from darkside_cli.cli.progress import ProgressRenderer
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, ImageReady, ItemFailed, ItemSkipped, Notice

if TYPE_CHECKING:
    from darkside_cli.gan.translate import Translator

TARGETS = ("night", "day")
DIRECTIONS = ("day2night", "night2day")
FORMATS = ("jpg", "png", "webp", "tif", "bmp", "avif")


def _results(output: Output, *, jsonl: bool, then: Emit) -> Emit:
    """Write each image's result to stdout and hand every event on to ``then``.

    Skipped images count as results too: what is piped on from a second run is the same list.
    """

    def emit(event: Event) -> None:
        then(event)
        if isinstance(event, ImageReady):
            if jsonl:
                output.jsonl(
                    {
                        "input": event.source,
                        "output": event.target,
                        "size": list(event.size_px),
                        "seconds": round(event.seconds, 4),
                    }
                )
            else:
                output.path(event.target)
        elif isinstance(event, ItemSkipped) and event.target is not None:
            if jsonl:
                size = _size_of(event.target)
                output.jsonl(
                    {
                        "input": event.source,
                        "output": event.target,
                        "size": size,
                        "seconds": 0,
                        "skipped": True,
                    }
                )
            else:
                output.path(event.target)
        elif isinstance(event, ItemFailed) and jsonl:
            output.jsonl({"input": event.source, "error": event.reason})

    return emit


def _size_of(path: Path) -> list[int] | None:
    """[width, height] of an image as its header has it; None for what is no image."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return list(image.size)
    except (OSError, Image.DecompressionBombError):
        return None


def translate(
    session: Session,
    paths: options.Paths = None,
    to: Annotated[
        str,
        options.choice(
            "time of day",
            lambda: TARGETS,
            "--to",
            help="Translate to night or to day.",
            rich_help_panel=options.MAIN,
        ),
    ] = "night",
    model: options.OptionalGenerator = None,
    direction: Annotated[
        str | None,
        options.choice(
            "direction",
            lambda: DIRECTIONS,
            help="What a checkpoint does that does not say so: day2night or night2day.",
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder of the results (default: ./night or ./day; beside the inputs with --suffix).",
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    suffix: Annotated[
        str,
        typer.Option(
            help="Appended to the file names, before the extension.",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = "",
    format: Annotated[
        str | None,
        options.choice(
            "format",
            lambda: FORMATS,
            help="jpg, png, webp, tif, bmp or avif (default: the input's own).",
            open_ended=True,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="Of lossy formats.", rich_help_panel=options.ADVANCED)
    ] = 95,
    max_size: Annotated[
        int,
        typer.Option(
            min=0,
            help="Shrink to this longest side in pixels first (0: never).",
            rich_help_panel=options.ADVANCED,
        ),
    ] = 0,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Write sheets of input and output side by side too, into compare/.",
            rich_help_panel=options.MAIN,
        ),
    ] = False,
    recursive: options.Recursive = False,
    null: options.Null = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite/--skip-existing",
            help="Make results anew that are there already.",
            rich_help_panel=options.MAIN,
        ),
    ] = False,
    jsonl: options.Jsonl = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    compile: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the network first; pays for many images of one size.",
            rich_help_panel=options.DEVICE,
        ),
    ] = False,
    batch_size: options.BatchSize = 0,
    workers: options.Workers = None,
    download: Download = False,
) -> int:
    """Translate photographs to night (or back to day).

    Reads image files, folders, or names piped into standard input, and prints the path of every image written:

        ls *.jpg | darkside translate --to night

    Results go to the folder ./night under the same relative names. What is there already is not made again.
    """
    from darkside_cli.data.listing import expand_inputs, plan_outputs
    from darkside_cli.data.outputs import changed_names
    from darkside_cli.gan.compare import is_sheet

    absences = Absences()
    if model is not None:
        with absences:
            check_generator(session, model, to=to, direction=direction)
    given = options.input_paths(paths, null=null)
    out_dir = output if output is not None or suffix else Path(to)
    if out_dir is not None and out_dir.exists() and not out_dir.is_dir():
        raise UsageError(f"{os.fsdecode(out_dir)} is not a folder", hint="name a folder with --output")
    inputs = [
        image
        for image in expand_inputs(given, recursive=recursive, exclude=out_dir)
        if not is_sheet(image.path)
    ]
    jobs = plan_outputs(inputs, out_dir=out_dir, suffix=suffix, format=format, drop_results=True)
    progress = session.progress()
    if not jobs:
        return _nothing_to_do(given, progress, recursive=recursive)
    for line in changed_names(jobs, most=len(jobs) if session.verbose else 5):
        progress.emit(Notice(line))

    if model is None:
        model, choice = default_generator(session, download=download)
        if choice is not None and to == "night":
            progress.emit(choice)
        check_generator(session, model, to=to, direction=direction)
    absences.tell()
    # Whatever the model: a name that does not exist is told before any work, even when all results are there.
    obtain_model(session, model, kind="generator", download=download)

    from darkside_cli.data.threads import default_threads
    from darkside_cli.gan.translate_files import FileOptions, LoadedWhenNeeded, is_needed, translate_files
    from darkside_cli.models.catalog import MODELS

    generator, name = model, MODELS.get(model).name if model in MODELS else model

    def load() -> Translator:
        from darkside_cli.gan.translate import load_generator

        translator = load_generator(
            generator,
            to=to,
            direction=direction,
            device=device,
            precision=precision,
            compile=compile,
            root=session.root,
        )
        if compile and not translator.compiled:
            progress.emit(Notice("--compile is left out: on the CPU the network is faster without"))
        return translator

    file_options = FileOptions(
        max_size_px=max_size,
        quality=quality,
        overwrite=overwrite,
        compare=compare,
        batch_size=batch_size,
        workers=workers or default_threads(8),
    )
    with progress:
        summary = translate_files(
            jobs,
            load() if is_needed(jobs, file_options) else LoadedWhenNeeded(load),
            options=file_options,
            total=len(jobs),
            label=f"{Path(name).name} to {to}",
            emit=_results(session.output, jsonl=jsonl, then=progress.emit),
        )
    return EXIT_SOME_FAILED if summary.failed else EXIT_DONE


def _nothing_to_do(given: list[Path], progress: ProgressRenderer, *, recursive: bool) -> int:
    """No image: an empty pipe is nothing to do, a folder without images is a mistake."""
    folders = [os.fsdecode(path) for path in given if path.is_dir()]
    if folders:
        raise UsageError(
            f"no images in {', '.join(folders)}",
            hint=None if recursive else "--recursive takes sub-folders too",
        )
    progress.emit(Notice("no image names came in: nothing to do"))
    return EXIT_DONE


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "translate")(translate)
