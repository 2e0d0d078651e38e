"""Options that mean the same wherever they appear: declared once, with their completion and their check."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from darkside_cli.errors import UsageError
from darkside_cli.jobs.request import DATA

Null = Annotated[
    bool,
    typer.Option(
        "--null",
        "-0",
        help="File names in and out are separated by NUL, not by newlines.",
        rich_help_panel=DATA,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of text.", rich_help_panel=DATA)
]
Jsonl = Annotated[
    bool,
    typer.Option("--jsonl", help="Print one JSON object per item instead of its path.", rich_help_panel=DATA),
]

# As a path has it: with one slash of two.
_ADDRESS = re.compile(r"(https?|ftps?|sftp|s3|gs|file):/", re.IGNORECASE)


def input_paths(paths: Iterable[str | Path] | None, *, null: bool) -> list[Path]:
    """Resolve the PATHS argument: the given ones, or the names piped into standard input.

    ``-`` stands for the names on standard input, wherever it appears. Raises UsageError when nothing is given and
    standard input is a terminal, when an image came in where names belong, and for URLs.
    """
    given, image = inputs_or_image(paths, null=null, advice="curl -LO URL gets it")
    if image is not None:
        raise UsageError(
            "an image came in on standard input, where names of images belong",
            hint="name its file; darkside translate alone reads images from a pipe",
        )
    return given


def inputs_or_image(
    paths: Iterable[str | Path] | None,
    *,
    null: bool,
    advice: str = "curl -L URL | darkside translate - -o - > night.jpg",
) -> tuple[list[Path], bytes | None]:
    """:func:`input_paths`, but that standard input may also be an image, the only one given: its bytes.

    Raises UsageError, besides, for a video, and for an image where other images are named beside it. ``advice`` is for
    those who give a URL.
    """
    from darkside_cli.datasets.names import image_or_names, iter_path_tokens

    words = [os.fspath(path) for path in paths or ()]
    if not words:
        if sys.stdin is None or sys.stdin.isatty():
            hint = "name files or folders, or pipe names in: ls *.jpg | darkside …"
            raise UsageError("no images given", hint=hint)
        words = ["-"]
    result: list[Path] = []
    for word in words:
        if word != "-":
            result.append(_no_address(Path(word), advice))
            continue
        # With --null these are names: the bytes that tell an image from them could be of any list.
        image, names = (None, sys.stdin.buffer) if null else image_or_names(sys.stdin.buffer)
        if image is None:
            result.extend(_no_address(path, advice) for path in iter_path_tokens(names, null))
        elif len(words) == 1:
            return [], image
        else:
            raise UsageError(
                "an image came in on standard input, and others are named beside it",
                hint="give the one or the others",
            )
    return result, None


def _no_address(path: Path, advice: str) -> Path:
    """``path``. Raises UsageError for a URL."""
    if (found := _ADDRESS.match(str(path))) and not os.path.lexists(path):
        raise UsageError(
            f"{str(path).replace(':/', '://', 1)} is a URL, and darkside reads files only",
            hint="give the path alone" if found[1].lower() == "file" else advice,
        )
    return path
