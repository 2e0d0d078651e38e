"""What the commands that train share: options, where events go, how a run is told about when it ends."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_INTERRUPTED, one_line, say
from darkside_cli.cli.offer import with_offer
from darkside_cli.cli.session import Session
from darkside_cli.events import Emit
from darkside_cli.jobs.fields import LAYOUTS, Training
from darkside_cli.jobs.training import Trained, check_run, recorded, reported
from darkside_cli.training.distributed import Ranks

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved

__all__ = ["check_run"]

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="RUN",
        help="Folder of the run (default: experiments/… in the data folder).",
        show_default=False,
        rich_help_panel=options.MAIN,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="Settings to begin with, by name or from a .toml.",
        show_default=False,
        rich_help_panel=options.MAIN,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        help="Settings, such as another run's config.toml.",
        show_default=False,
        rich_help_panel=options.ADVANCED,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting, may be repeated: --set optim.lr=1e-4.",
        show_default=False,
        rich_help_panel=options.ADVANCED,
    ),
]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="Epochs in all.", show_default=False, rich_help_panel=options.MAIN)
]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Seed of all that is drawn at random.",
        show_default=False,
        rich_help_panel=options.ADVANCED,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume",
        help="Go on where an earlier run in the folder stopped, or start over.",
        rich_help_panel=options.MAIN,
    ),
]
TrainingPrecision = Annotated[
    str | None,
    options.choice(
        "precision",
        lambda: options.PRECISIONS,
        help="auto, fp32 (exact), bf16 or fp16.",
        show_default=False,
        rich_help_panel=options.DEVICE,
    ),
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the networks first; pays on GPUs.",
        show_default=False,
        rich_help_panel=options.DEVICE,
    ),
]
Nproc = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Start so many processes on this machine, one for each GPU (torchrun does it on several machines).",
        show_default=False,
        rich_help_panel=options.DEVICE,
    ),
]
Layout = Annotated[
    str,
    options.choice(
        "layout",
        lambda: LAYOUTS,
        help="gandtr: leave the results in gandtr's places and formats too (epochs/…_best.pth, whitening/).",
        rich_help_panel=options.ADVANCED,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config",
        help="Print the resolved settings as TOML (or --json) and stop.",
        rich_help_panel=options.ADVANCED,
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
    if result.last_words:
        say(f"process {result.rank} failed:")
        for line in result.last_words:
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


def prepare(session: Session, job: ModuleType, request: Training) -> None:
    """Judge the request, say what begins, and see that all it needs is here; a person may be asked to download it."""
    job.check(request)
    session.announce(f"{request.name}: getting ready to train in {os.fsdecode(request.folder)}")

    def get(wanted: Training) -> None:
        with session.screen() as screen:
            job.prepare(wanted, emit=screen.emit)

    if Ranks.from_environment().is_first:
        with_offer(request, get)


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


@contextmanager
def sinks(
    session: Session, run: Path, resolved: Resolved[Any], ranks: Ranks, *, title: str
) -> Iterator[Emit]:
    """Open what listens to a training: the terminal, and the records in its folder."""
    with session.screen(title=title) as screen, recorded(run, resolved, screen.emit, ranks=ranks) as tell:
        yield tell


@contextmanager
def stage_sinks(session: Session, run: Path) -> Iterator[Emit]:
    """Open what listens to the stages that follow a training: the terminal, and the report, which is written anew."""
    with session.screen() as screen:
        yield reported(run, screen.emit)


def lay_out(run: Path, layout: str) -> list[Path]:
    """Write what a complete run left in gandtr's places and formats too, if ``layout`` says so; the paths written."""
    if layout != "gandtr":
        return []
    from darkside_cli.interop.gandtr_layout import write_gandtr_layout

    return write_gandtr_layout(run)


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
