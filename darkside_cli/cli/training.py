"""What the commands that train share: options, where events go, how a run is told about when it ends."""

from __future__ import annotations

import json as jsonlib
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_INTERRUPTED, one_line, say
from darkside_cli.cli.session import Session
from darkside_cli.cli.training_progress import TrainingRenderer
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, ignore

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved
    from darkside_cli.training.distributed import Ranks
    from darkside_cli.training.trainer import TrainingResult

LAYOUTS = ("darkside", "gandtr")
CONFIG_FILE, ORIGINS_FILE = "config.toml", "origins.json"

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


def check_run(run: Path) -> None:
    """Raise UsageError if ``run`` cannot be the folder of a run."""
    if run.exists() and not run.is_dir():
        raise UsageError(f"{run} is not a folder", hint="name the folder of the run with --output")


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


@contextmanager
def sinks(
    session: Session, run: Path, resolved: Resolved[Any], ranks: Ranks, *, title: str
) -> Iterator[Emit]:
    """Open what listens to a training: the terminal, the scalars, the report; nothing in other processes.

    The configuration is written into the run folder when the training begins.
    """
    if not ranks.is_first:
        yield ignore
        return
    from darkside_cli.events import TrainingStarted
    from darkside_cli.report.scalars import scalar_sinks
    from darkside_cli.report.training import ReportWriter

    with ExitStack() as stack:
        shown = stack.enter_context(
            TrainingRenderer(quiet=session.quiet, verbose=session.verbose, title=title)
        )
        session.output.above_bar = shown.above_bar
        report = ReportWriter(run, shown.emit)
        # Open from the beginning: what is said before the training begins waits there, and belongs to the report.
        record = stack.enter_context(scalar_sinks(run))
        begun = False

        def emit(event: Event) -> None:
            nonlocal begun
            if isinstance(event, TrainingStarted) and not begun:
                begun = True
                write_config(run, resolved)
            record(event)
            shown.emit(event)
            report.emit(event)

        yield emit


@contextmanager
def stage_sinks(session: Session, run: Path) -> Iterator[Emit]:
    """Open what listens to the stages that follow a training: the terminal, and the report, which is written anew."""
    from darkside_cli.report.training import ReportWriter

    with session.progress() as progress:
        report = ReportWriter(run, progress.emit)

        def emit(event: Event) -> None:
            progress.emit(event)
            report.emit(event)

        yield emit


def write_config(run: Path, resolved: Resolved[Any]) -> None:
    """Write the settings of a run, and where each came from, into its folder."""
    from darkside_cli.atomic import write_bytes_atomic

    run.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(run / CONFIG_FILE, resolved.to_toml().encode())
    origins = {key: str(origin) for key, origin in resolved.origins.items()}
    write_bytes_atomic(run / ORIGINS_FILE, jsonlib.dumps(origins, indent=1, ensure_ascii=False).encode())


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


def finish(
    session: Session, result: TrainingResult, ranks: Ranks, *, json: bool, layout: str = "darkside"
) -> int:
    """Print what a training left, and return the exit code."""
    if ranks.is_first:
        extra = lay_out(result.run, layout) if result.complete else []
        if json:
            session.output.json(
                {
                    "run": result.run,
                    "complete": result.complete,
                    "epochs": result.epoch,
                    "outputs": dict(result.outputs),
                    **({"gandtr": extra} if extra else {}),
                    "scores": dict(result.scores),
                    "best_epoch": result.best_epoch,
                    "seconds": round(result.seconds, 1),
                }
            )
        else:
            for path in (*result.outputs.values(), *extra):
                session.output.path(path)
        if result.complete:
            say_what_is_next(
                session, result.run, f"darkside translate PHOTOS --model {shell_word(result.run)}"
            )
    return EXIT_DONE if result.complete else EXIT_INTERRUPTED
