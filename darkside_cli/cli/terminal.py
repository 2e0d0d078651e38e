"""What the terminal at the other end of a stream can do, and text for it that is broken between words only."""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_USUAL_COLUMNS, _FEWEST_COLUMNS = 80, 20


def is_plain() -> bool:
    """Whether the terminal understands no escape codes: TERM is dumb, unknown, empty or not set at all."""
    return os.name != "nt" and os.environ.get("TERM", "").strip().lower() in ("", "dumb", "unknown")


def can_move_cursor(stream: Any) -> bool:
    """Whether ``stream`` is a terminal on which something may be drawn over again."""
    return bool(stream.isatty()) and not is_plain()


def console(stream: Any) -> Console:
    """Rich's console on ``stream``, without escape codes where the terminal has none."""
    from rich.console import Console

    environment = {**os.environ, "TERM": "dumb"} if is_plain() else os.environ
    return Console(file=stream, _environ=environment)


def columns(stream: Any) -> int:
    """Columns of the terminal of ``stream``, 80 where that cannot be told; COLUMNS comes first."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted):
        return max(_FEWEST_COLUMNS, int(wanted))
    try:
        found = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError, AttributeError):
        found = 0
    return max(_FEWEST_COLUMNS, found or _USUAL_COLUMNS)


def cells(text: str) -> int:
    """Columns that ``text`` takes: two for wide characters, none for those that combine."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def fold(text: str, width: int, *, indent: str = "") -> list[str]:
    """``text`` in lines of ``width`` columns, all but the first after ``indent``, broken at spaces only.

    A word that is longer than a line keeps a line to itself.
    """
    lines: list[str] = []
    line = ""
    for space, word in re.findall(r"(\s*)(\S+)", text):
        # Where nothing but the indent is on the line, the word has to go there, however long it is.
        if line.strip() and cells(line + space + word) > width:
            lines.append(line)
            line = indent + word
        else:
            line += space + word
    return [*lines, line]


def for_people(text: str, stream: Any) -> str:
    """A line of ``text`` folded for the terminal of ``stream``; elsewhere as it is, one line."""
    if not stream.isatty() or cells(text) <= 20:
        return text
    return "\n".join(fold(text, columns(stream), indent="  "))
