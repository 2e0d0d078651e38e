"""``darkside translate``: image files in, translated image files out."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.obtain import Download, default_generator, obtain_model
from darkside_cli.cli.progress import ProgressRenderer
from darkside_cli.cli.session import Session, command
from darkside_cli.cli.translate_results import STDOUT, Results, check_file, check_stdout
from darkside_cli.errors import NoSpaceError, UsageError
from darkside_cli.events import Notice
from darkside_cli.images.formats import VIDEO_SUFFIXES, WRITABLE_SUFFIXES, suffix_of_format
from darkside_cli.images.signatures import START_BYTES, image_suffix
from darkside_cli.jobs.checks import Absences, check_generator

if TYPE_CHECKING:
    from darkside_cli.methods.translate import Translator

TARGETS = ("night", "day")
DIRECTIONS = ("day2night", "night2day")
FORMATS = ("jpg", "png", "webp", "tif", "bmp", "avif")


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
            metavar="TIME",
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
            help="Folder of the results (default: ./night or ./day; beside the inputs with --suffix); for one image "
            "also a file such as night.jpg, or - for standard output.",
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
    json: options.Json = False,
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
    max_pixels: options.MaxPixels = None,
    max_seconds: options.MaxSeconds = 120.0,
    download: Download = False,
) -> int:
    """Translate photographs to night (or back to day).

    Reads image files, folders, or names piped into standard input, and prints the path of every image written:

        ls *.jpg | darkside translate --to night

    Results go to the folder ./night under the same relative names. What is there already is not made again. An image
    itself may be piped in too, and out:

        curl -L URL | darkside translate - -o - > night.jpg
    """
    from darkside_cli.datasets.listing import expand_inputs, plan_outputs
    from darkside_cli.datasets.outputs import InputImage, TranslationJob, changed_names, plan_file
    from darkside_cli.datasets.piped import is_followed
    from darkside_cli.methods.compare import is_sheet

    if json and jsonl:
        raise UsageError("--json and --jsonl contradict each other", hint="give one of them")
    absences = Absences()
    if model is not None:
        with absences:
            check_generator(session.root, model, to=to, direction=direction)
    given, piped = options.inputs_or_image(paths, null=null)
    to_stdout = output == STDOUT
    out_dir = None if to_stdout else output if output is not None or suffix else Path(to)
    file = out_dir if names_a_file(out_dir) else None
    if out_dir is not None and file is None and out_dir.exists() and not out_dir.is_dir():
        raise UsageError(f"{os.fsdecode(out_dir)} is not a folder", hint="name a folder with --output")
    form = WRITABLE_SUFFIXES[suffix_of_format(format)] if format is not None else None
    if piped is not None:
        inputs = [InputImage(options.STDIN_IMAGE, name_of_piped(piped))]
    else:
        expanded = expand_inputs(given, recursive=recursive, exclude=out_dir)
        inputs = [image for image in expanded if not is_sheet(image.path)]
    if to_stdout:
        check_stdout(
            session.output, len(inputs), json=json, jsonl=jsonl, compare=compare, suffix=bool(suffix)
        )
        jobs = [TranslationJob(inputs[0].path, STDOUT)]
    elif file is not None and inputs:
        check_file(file, len(inputs), form, suffix=suffix)
        jobs = [plan_file(inputs[0], file)]
    else:
        where = Path() if piped is not None and out_dir is None else out_dir
        jobs = plan_outputs(inputs, out_dir=where, suffix=suffix, format=format, drop_results=True)
    progress = session.progress()
    if not jobs:
        _nothing_to_do(given, progress, recursive=recursive)
        Results(session.output, model=None, json=json, jsonl=jsonl, then=progress.emit).finish(None)
        return EXIT_DONE
    if piped is not None:
        jobs = [replace(jobs[0], content=piped)]
        if is_followed(piped):
            progress.emit(Notice("several images came in at once: only the first is translated", "warning"))
    for line in changed_names(jobs, most=len(jobs) if session.verbose else 5):
        progress.emit(Notice(line))

    if model is None:
        model, choice = default_generator(session, download=download)
        if choice is not None and to == "night":
            progress.emit(choice)
        check_generator(session.root, model, to=to, direction=direction)
    absences.tell()
    # Whatever the model: a name that does not exist is told before any work, even when all results are there.
    obtain_model(session, model, kind="generator", download=download)

    from darkside_cli.images.threads import default_threads
    from darkside_cli.methods.translate_files import (
        FileOptions,
        LoadedWhenNeeded,
        is_needed,
        translate_files,
        translate_to_memory,
    )
    from darkside_cli.networks.catalog import MODELS

    generator, name = model, MODELS.get(model).name if model in MODELS else model

    def load() -> Translator:
        session.announce(f"getting ready to translate with {name}")
        from darkside_cli.methods.translate import load_generator

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
        max_pixels=max_pixels,
        max_seconds=max_seconds,
        workers=workers or default_threads(8),
    )
    label = f"{Path(name).name} to {to}"
    results = Results(session.output, model=name, json=json, jsonl=jsonl, then=progress.emit)
    with progress:
        translator = load() if is_needed(jobs, file_options) else LoadedWhenNeeded(load)
        if to_stdout:
            encoded, summary = translate_to_memory(
                jobs[0], translator, format=form, options=file_options, label=label, emit=progress.emit
            )
            if encoded is not None:
                session.output.data(encoded)
            return EXIT_DONE if encoded is not None else EXIT_SOME_FAILED
        try:
            summary = translate_files(
                jobs, translator, options=file_options, total=len(jobs), label=label, emit=results.emit
            )
        except NoSpaceError:
            results.finish(None)
            raise
    results.finish(summary)
    return EXIT_SOME_FAILED if summary.failed else EXIT_DONE


def names_a_file(output: Path | None) -> bool:
    """Whether ``--output`` is a file to write rather than a folder: no folder is called like an image."""
    return output is not None and output.suffix.lower() in WRITABLE_SUFFIXES and not output.is_dir()


def name_of_piped(image: bytes) -> PurePath:
    """What an image without a name is called: another one is never taken for it, and the same one is not made anew."""
    suffix = image_suffix(image[:START_BYTES]) or ""
    return PurePath(f"stdin-{hashlib.sha256(image).hexdigest()[:8]}{suffix}")


def _nothing_to_do(given: list[Path], progress: ProgressRenderer, *, recursive: bool) -> None:
    """No image: an empty pipe is nothing to do, a folder without images is a mistake."""
    folders = [path for path in given if path.is_dir()]
    if folders:
        named = ", ".join(map(os.fsdecode, folders))
        hint = None if recursive else "--recursive takes sub-folders too"
        if any(entry.suffix.lower() in VIDEO_SUFFIXES for folder in folders for entry in folder.iterdir()):
            named += ", but videos"
            hint = "take frames out first: ffmpeg -i VIDEO frame-%05d.png"
        raise UsageError(f"no images in {named}", hint=hint)
    progress.emit(Notice("no image names came in: nothing to do"))


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "translate")(translate)
