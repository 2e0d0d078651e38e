"""What the commands that train share: how a run is prepared, shared by processes, and told about when it ends."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli.errors import EXIT_DONE, EXIT_INTERRUPTED, one_line, say
from darkside_cli.cli.offer import run_job
from darkside_cli.cli.output import Output
from darkside_cli.cli.session import Session
from darkside_cli.jobs.fields import Training
from darkside_cli.jobs.request import ADVANCED, DEVICE
from darkside_cli.jobs.training import Trained
from darkside_cli.training.distributed import Ranks

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved

Nproc = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Start so many processes on this machine, one for each GPU (torchrun does it on several machines).",
        show_default=False,
        rich_help_panel=DEVICE,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config",
        help="Print the resolved settings as TOML (or --json) and stop.",
        rich_help_panel=ADVANCED,
    ),
]


def show_config(session: Session, resolved: Resolved[Any], *, json: bool) -> int:
    """Print the settings that a call comes to; with ``json`` also where each came from."""
    if json:
        origins = {key: str(origin) for key, origin in resolved.origins.items()}
        session.output.json({"config": resolved.as_dict(), "origins": origins})
    else:
        session.output.text(resolved.to_toml())
    return EXIT_DONE


def start_processes(count: int) -> int:
    """Run this very command in ``count`` processes that share the work; returns the exit code."""
    from darkside_cli.training.launch import launch

    # Said again is harmless: inside of a started process the option asks for what there is already.
    result = launch([sys.executable, "-m", "darkside_cli", *_without_nproc(sys.argv[1:])], count)
    if result.stderr_tail:
        say(f"process {result.rank} failed:")
        for line in result.stderr_tail:
            sys.stderr.write(line + "\n")
    return result.code


def _without_nproc(arguments: list[str]) -> list[str]:
    left: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == "--nproc":
            skip = True
        elif not argument.startswith("--nproc="):
            left.append(argument)
    return left


def train(
    session: Session,
    job: ModuleType,
    request: Training,
    *,
    nproc: int | None,
    json: bool,
    print_config: bool,
    next_command: Callable[[Any], str] | None,
    also: Callable[[Output, Any], None] | None = None,
) -> int:
    """All that a command that trains does with its ``job`` of :mod:`darkside_cli.jobs`; returns the exit code.

    ``next_command`` is what people do with the result, and ``also`` prints what is to be said of it besides its paths.
    """
    if print_config:
        return show_config(session, request.resolved, json=json)  # type: ignore[attr-defined]
    _prepare(session, job, request)
    if nproc is not None and nproc > 1:
        return start_processes(nproc)
    with session.screen(title=request.name) as screen:
        result: Trained = job.run(request, emit=screen.emit, prepared=True)
    if result.is_first:
        show(session, result, json=json)
        if also is not None and not json:
            also(session.output, result)
    return finish(session, result, next_command=None if next_command is None else next_command(result))


def _prepare(session: Session, job: ModuleType, request: Training) -> None:
    """Judge the request, say what begins, and see that all it needs is here; a person may be asked to download it."""
    job.check(request)
    session.announce(f"{request.name}: getting ready to train in {os.fsdecode(request.folder)}")
    if Ranks.from_environment().is_first:
        run_job(session, request, job.prepare)


def show(session: Session, result: Trained, *, json: bool) -> None:
    """Print what a training left."""
    if json:
        session.output.json(result.document())
    else:
        for path in result.paths:
            session.output.path(path)


def finish(session: Session, result: Trained, *, next_command: str | None) -> int:
    """Tell people what can be done with the result, and return the exit code."""
    if result.complete and result.is_first and next_command is not None:
        say_what_is_next(session, result.run, next_command)
    return EXIT_DONE if result.complete else EXIT_INTERRUPTED


def say_what_is_next(session: Session, run: Path, command: str) -> None:
    """Tell people, unless they want it quiet, where the page about a run is, and what to do with its result."""
    from darkside_cli.report.training import REPORT

    if session.quiet:
        return
    if (run / REPORT).is_file():
        say(f"curves, pictures and settings: {one_line(os.fsdecode(run / REPORT))}")
    say(f"next: {command}")


def shell_word(path: Path) -> str:
    """``path`` as a shell takes it."""
    return shlex.quote(os.fsdecode(path))
