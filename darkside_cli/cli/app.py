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
from darkside_cli.cli import errors
from darkside_cli.cli.help_pages import PANEL_OF, Group
from darkside_cli.cli.session import debug_wanted
from darkside_cli.events import LOADING


def _root_options_wanted() -> bool:
    """Whether the root's own --help, --install-completion and --show-completion can play a part in this call.

    Typer loads its validation library to find them absent, even when a sub-command's help is all that is asked for,
    which costs as much as everything else together; so they are declared only where they can be seen or used.
    """
    return "_DARKSIDE_COMPLETE" in os.environ or not sys.argv[1:] or sys.argv[1].startswith("-")


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
app = typer.Typer(
    name="darkside",
    cls=Group,
    help=_HELP,
    no_args_is_help=True,
    add_completion=_root_options_wanted(),
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"darkside {__version__}\n")
        raise typer.Exit


@app.callback(add_help_option=_root_options_wanted())
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _register() -> None:
    from darkside_cli.cli import (
        cache,
        config,
        demo,
        doctor,
        download,
        evaluate,
        export,
        extract,
        finetune,
        models,
        run,
        samples,
        search,
        sort,
        train_gan,
        translate,
        whiten,
    )

    for module in (
        download,
        samples,
        sort,
        train_gan,
        translate,
        extract,
        finetune,
        evaluate,
        demo,
        search,
        run,
        whiten,
        models,
        export,
        config,
        cache,
        doctor,
    ):
        module.register(app)
    for each in app.registered_commands:
        each.rich_help_panel = PANEL_OF[each.name or ""]


_register()


_PATIENCE_S = 0.3


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
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
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
