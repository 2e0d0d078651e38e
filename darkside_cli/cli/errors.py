"""The one table from exceptions to a line on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback

import typer

from darkside_cli.cli.terminal import for_people
from darkside_cli.errors import DarksideError, why_no_space

EXIT_DONE, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_MISSING, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

# Typer's own usage errors share a base class whose public name changed between releases.
_USAGE_BASE: type[Exception] = getattr(typer, "TyperException", typer.BadParameter.__mro__[2])


class LostError(DarksideError):
    """Ctrl-C in a command that keeps nothing, or nothing by itself; others are told that what was done is kept."""

    exit_code = EXIT_INTERRUPTED


def one_line(text: str) -> str:
    """``text`` with line breaks and control characters made visible, so that a message stays one line."""
    shown = "".join(ch if ch.isprintable() or ch == " " else ascii(ch)[1:-1] for ch in text.strip())
    return shown.encode("utf-8", "backslashreplace").decode()


def say(text: str) -> None:
    """Write one line for people to stderr, folded on a terminal; a closed stderr is nobody's problem."""
    _write(for_people(f"darkside: {one_line(text)}", sys.stderr) + "\n")


def say_error(error: DarksideError, name: str = "") -> None:
    """Say what is wrong with one item, called ``name``, of many, and what to do about it."""
    say(f"{name}: {explain(error)[0]}" if name else explain(error)[0])


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def explain(error: BaseException) -> tuple[str, int]:
    """Message (one line, without the program's name) and exit code for ``error``."""
    if isinstance(error, DarksideError):
        hint = f"; {error.hint}" if error.hint else ""
        return f"{error.message}{hint}", error.exit_code
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return "interrupted; what was finished is kept, run the same command again to go on", EXIT_INTERRUPTED
    if isinstance(error, _USAGE_BASE):
        message = str(getattr(error, "format_message", lambda: error)())
        context = getattr(error, "ctx", None)
        where = getattr(context, "command_path", "darkside")
        return f"{message.rstrip('.')}; see '{where} --help'", EXIT_USAGE
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk ({error.filename or 'writing output'}); free some and run again", 1
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return f"{error.filename or 'writing output'}: {why_no_space(error)}", EXIT_SOME_FAILED
    if isinstance(error, OSError) and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}", EXIT_SOME_FAILED
    kind = type(error).__name__
    return f"unexpected {kind}: {error}; this is a fault of darkside, --debug shows where", EXIT_SOME_FAILED


def report(error: BaseException, *, debug: bool) -> int:
    """Tell the person at the terminal about ``error`` and return the exit code."""
    if isinstance(error, BrokenPipeError):  # the reader of our stdout went away: not an error to talk about
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - so that interpreter shutdown can flush
        return EXIT_SOME_FAILED
    if debug:
        traceback.print_exception(type(error), error, error.__traceback__)
    if type(error).__name__ == "NoArgsIsHelpError":  # Typer's, which does not make it public
        _write(f"{getattr(error, 'ctx').get_help()}\n")  # noqa: B009 - of a class that only Typer knows
        return EXIT_USAGE
    message, code = explain(error)
    say(message)
    return code
