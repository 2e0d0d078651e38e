"""``darkside translate``: image files in, translated image files out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.offer import run_job
from darkside_cli.cli.output import Output
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import NoSpaceError, UsageError
from darkside_cli.events import Event, RunStarted
from darkside_cli.jobs.translate import TranslateRequest, image_of, run

#: What --output is called where the image itself goes to stdout.
STDOUT = Path("-")


def translate(
    session: Session,
    request: TranslateRequest,
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
        check_stdout(
            session.output, json=json, jsonl=jsonl, compare=request.compare, suffix=bool(request.suffix)
        )
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
        result = run_job(session, request, run, then=print_image)
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


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "translate", request=TranslateRequest)(translate)
