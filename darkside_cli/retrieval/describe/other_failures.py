"""What is said where the code of others fails: the reason in one line, and a hint that is of that reason."""

from __future__ import annotations

import re
from collections.abc import Iterator

from darkside_cli.errors import MissingAssetError

_DEBUG = "--debug shows where in its code"
_SIZE_WORDS = re.compile(
    r"\b(shapes?|sizes?|sizing|dimensions?|dims?|multiples?|divisible|heights?|widths?|patch(es)?|views?|broadcast\w*)\b"
)
TELL_INPUT = "say what it wants with :input_size=HEIGHTxWIDTH or :input_multiple=14"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """``error``, and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def ended(name: str, error: SystemExit) -> MissingAssetError:
    """What is said of code that ends the program, whichever exit code it has."""
    lines = error.code.strip().splitlines() if isinstance(error.code, str) else []
    said = "".join(f": {line}" for line in lines[:1])
    return MissingAssetError(f"{name} does not run here: its code ends the program{said}", hint=_DEBUG)


def at_work(error: Exception) -> str:
    """What to do where a network fails on images: its size is asked for only if the error may be of that."""
    return f"{TELL_INPUT}; {_DEBUG}" if _of_size(error) else _DEBUG


def at_call(error: Exception) -> str:
    """What to do where the function fails that makes a network."""
    of_arguments = isinstance(error, TypeError) and "argument" in str(error)
    return f"arguments are given as :name=value; {_DEBUG}" if of_arguments else _DEBUG


def first_line(error: Exception) -> str:
    """The kind of an error, and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _of_size(error: Exception) -> bool:
    kinds = (RuntimeError, AssertionError, ValueError, IndexError)
    return isinstance(error, kinds) and (not str(error) or bool(_SIZE_WORDS.search(str(error).lower())))
