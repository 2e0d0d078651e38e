"""The commands about images: ``translate``, ``sort``, and the ``samples`` to try them on."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from darkside_cli.atomic import temporary_beside
from darkside_cli.cli import options
from darkside_cli.cli.command import app, command
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.output import Output
from darkside_cli.cli.session import Session, run_job
from darkside_cli.errors import NoSpaceError, UsageError
from darkside_cli.events import Event, ItemFailed, RunStarted
from darkside_cli.jobs import evaluate_night as nights
from darkside_cli.jobs import sort as sorting
from darkside_cli.jobs import translate as translation
from darkside_cli.jobs.request import MAIN
from darkside_cli.jobs.translate_result import image_of

#: What --output is called where the image itself goes to stdout.
STDOUT = Path("-")
SAMPLES = Path(__file__).resolve().parents[1] / "samples"
#: Says who took which sample, and under what terms.
SOURCES = SAMPLES / "SOURCES.md"


@command(app, "translate", request=translation.TranslateRequest)
def translate(
    session: Session,
    request: translation.TranslateRequest,
    null: options.Null = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
) -> int:
    """Translate photographs to night (or back to day).

    Reads image files, folders, or names piped into standard input, and prints the path of every image written:

        ls *.jpg | darkside translate --to night

    Results go to the folder ./night under the same relative names. What is there already is not made again. An image
    itself may be piped in too, and out:

        curl -L URL | darkside translate - -o - > night.jpg
    """
    if json and jsonl:
        raise UsageError("--json and --jsonl contradict each other", hint="give one of them")
    images, content = options.inputs_or_image(request.images, null=null)
    request = replace(request, images=tuple(images), content=content, verbose=session.verbose)
    to_stdout = request.output == STDOUT
    if to_stdout:
        suffix = bool(request.suffix)
        check_stdout(session.output, json=json, jsonl=jsonl, compare=request.compare, suffix=suffix)
        request = replace(request, output=None, in_memory=True)
    model: str | None = None

    def print_image(event: Event) -> None:
        nonlocal model
        if isinstance(event, RunStarted):
            model = event.model
        if json or to_stdout or (image := image_of(event)) is None:
            return
        if jsonl:
            session.output.jsonl(image.document(model))
        elif image.target is not None:
            session.output.path(image.target)

    try:
        result = run_job(session, request, translation.run, then=print_image)
    except NoSpaceError as error:
        if json and error.result is not None:
            session.output.json(error.result.document())
        raise
    if result.encoded is not None:
        session.output.data(result.encoded)
    if json:
        session.output.json(result.document())
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


def check_stdout(output: Output, **unfitting: bool) -> None:
    """Raise UsageError unless an image can go to stdout; ``unfitting`` are options that cannot go with it."""
    given = [f"--{name}" for name, wanted in unfitting.items() if wanted]
    if given:
        raise UsageError(
            f"{given[0]} does not go with -o -, which writes the image alone", hint="leave one of them out"
        )
    if output.is_terminal:
        raise UsageError(
            "-o - writes an image, and standard output is a terminal",
            hint="send it to a file or a program: darkside translate … -o - > night.jpg",
        )


@command(app, "sort", request=sorting.SortRequest)
def sort(
    session: Session,
    request: sorting.SortRequest,
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
            session.output.jsonl(sorting.describe(event))
        elif isinstance(event, ItemFailed):
            session.output.jsonl({"input": event.source, "error": event.reason})

    result = run_job(session, request, sorting.run, then=print_line if jsonl else None)
    if not result.images and not result.failed:
        return EXIT_DONE
    if json:
        session.output.json(result.document())
    elif not jsonl and result.images:
        rows = []
        for image in result.images:
            told = sorting.describe(image)
            numbers = (f"{told[key]:.1f}" for key in ("sky_lightness", "lightness", "warmth"))
            rows.append((os.fsdecode(image.path), image.light, f"{told['score']:.2f}", *numbers))
        session.output.table(("picture", "light", "night", "sky L*", "L*", "b*"), rows)
    written = f", listed in {os.fsdecode(request.output)}{os.sep}" if result.lists else ""
    session.say(", ".join(f"{count} {light}" for light, count in result.counts.items()) + written)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


@command(app, "evaluate-night", request=nights.EvaluateNightRequest)
def evaluate_night(session: Session, request: nights.EvaluateNightRequest, json: options.Json = False) -> int:
    """Compare generators: how far their nights are from real ones.

    Translates the day photographs with each generator, and compares with real nights of anywhere, in the features of
    an ImageNet network (pip install 'darkside-cli[features]'):

        darkside evaluate-night --model darkside-night --day photos/day --night photos/night --report nights.html

    Lower distances are better; what the real nights have among themselves is nothing. Lost edges are the share of the
    day's strong edges that nobody sees at night, sky light the share of its sky that is lit. The photographs as they
    are, and a simple recipe, are in the table too. Take photographs that nothing was trained on.
    """
    result = run_job(session, request, nights.run, lost="nothing is kept")
    if json:
        session.output.json(result.document())
    else:
        rows = [
            (
                row.name,
                *(f"{row.scores[name]:.4f}" if name in row.scores else "-" for name in nights.FIGURES),
                row.images,
            )
            for row in result.rows
        ]
        rows.append(
            (
                nights.REAL,
                nights.floor_in_words(result.floor),
                *"-" * (len(nights.FIGURES) - 1),
                result.nights,
            )
        )
        heading = ("nights", *(name.replace("_", " ") for name in nights.FIGURES), "images")
        session.output.table(heading, [tuple(map(str, row)) for row in rows], spare=heading[:3:-1])
        if request.report is not None:
            session.output.path(request.report)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


def sample_paths() -> list[Path]:
    """Paths of the day photographs inside the package, by name."""
    return sorted(SAMPLES.glob("*.jpg"))


@command(app, "samples")
def samples(
    session: Session,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write them to.", rich_help_panel=MAIN),
    ] = Path("samples"),
    null: options.Null = False,  # noqa: ARG001 - read where the session is made
) -> int:
    """Write the day photographs that come with darkside.

    Prints their paths:

        darkside samples | darkside translate --to night

    They are in the public domain; SOURCES.md beside them names authors and sources.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is not a folder", hint="name a folder with --output")
    output.mkdir(parents=True, exist_ok=True)
    for source in (*sample_paths(), SOURCES):
        target = output / source.name
        if not target.exists():  # what is there already is left alone
            with temporary_beside(target) as temporary:
                shutil.copyfile(source, temporary)
    for source in sample_paths():
        session.output.path(output / source.name)
    return EXIT_DONE
