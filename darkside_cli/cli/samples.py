"""``darkside samples``: a few day photographs to try things on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from darkside_cli.atomic import temporary_beside
from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.jobs.request import MAIN

FOLDER = Path(__file__).resolve().parents[1] / "samples"
#: Says who took which photograph, and under what terms.
SOURCES = FOLDER / "SOURCES.md"


def sample_paths() -> list[Path]:
    """Paths of the photographs inside the package, by name."""
    return sorted(FOLDER.glob("*.jpg"))


def write_samples(folder: Path) -> list[Path]:
    """Copy the photographs and what is said of them into ``folder``; files that are there already are left alone.

    Returns the photographs' paths. Raises OSError as the system gives it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for source in (*sample_paths(), SOURCES):
        target = folder / source.name
        if not target.exists():
            with temporary_beside(target) as temporary:
                shutil.copyfile(source, temporary)
        if source != SOURCES:
            written.append(target)
    return written


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
    for path in write_samples(output):
        session.output.path(path)
    return EXIT_DONE


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "samples")(samples)
