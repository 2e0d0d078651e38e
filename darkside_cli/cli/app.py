"""The ``darkside`` command: its sub-commands, and the only place where errors become exit codes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer

from darkside_cli import __version__
from darkside_cli.cli import assets, config, descriptors, doctor, errors, images, models, run, training  # noqa: F401 - which registers their commands
from darkside_cli.cli.command import app, root_options_wanted
from darkside_cli.cli.session import debug_wanted
from darkside_cli.events import LOADING

_HELP = """
Turn day photographs into night ones, and train image descriptors that find a landmark at night as well as by day.

Turn photographs into night ones, your own or those that come with darkside:

    ls *.jpg | darkside translate --to night
    darkside samples | darkside translate --to night

Train a generator on photographs of your own, a folder by day and a folder at night:

    darkside train-gan --model cyclegan --day photos/day --night photos/night

Score a descriptor by day and at night (finetune trains one, extract and search use it):

    darkside evaluate --model gem_resnet101_cyclegan --dataset tokyo247

Each command has --help of its own. 'darkside doctor' tells what works on this machine.
"""
_PATIENCE_S = 0.3


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"darkside {__version__}\n")
        raise typer.Exit


@app.callback(help=_HELP, add_help_option=root_options_wanted())
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _terminated(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line and leave with its exit code; SIGTERM is treated as Ctrl-C is."""
    signal.signal(signal.SIGTERM, _terminated)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - open as long as the process
    try:
        code = app(standalone_mode=False, prog_name="darkside") or 0
        if code == errors.EXIT_INTERRUPTED:  # Typer catches the interruption before we can
            raise KeyboardInterrupt
        sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:
        code = errors.report(error, debug=debug_wanted())
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Leave with ``code``, at once where threads still decode what nobody waits for any more.

    Python would wait for them, and a decoder cannot be stopped from outside.
    """
    for thread in threading.enumerate():
        if thread.name.startswith(LOADING):
            thread.join(_PATIENCE_S)
            if thread.is_alive():
                for stream in (sys.stdout, sys.stderr):
                    with suppress(OSError, ValueError):
                        stream.flush()
                os._exit(code)
    sys.exit(code)
