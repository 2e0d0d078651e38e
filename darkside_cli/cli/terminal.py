"""What the terminal at the other end of a stream can do, and text for it: lines, tables and facts, no word broken."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_USUAL_COLUMNS, _FEWEST_COLUMNS = 80, 20
_GAP = "  "
#: Texts of so many columns stay on one line.
_SHORT = 20
#: Lines of a row in a table, at most, as long as columns can be left out, and when none can.
_FEW_LINES, _MOST_LINES = 2, 4


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


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, spare: Sequence[str] = ()
) -> str:
    """``rows`` under ``headings`` in ``width`` columns of text.

    Where they do not fit, columns without any content are left out, then the ``spare`` ones, one after another, and a
    last line says which of these. Where that is not enough, each row becomes a paragraph of all its cells that begins
    with the first.
    """
    empty = [n for n in range(1, len(headings)) if all(row[n] in ("", "-") for row in rows)]
    if (
        rows
        and empty
        and (widths := _widths(headings, rows, width)) is not None
        and _height(rows, widths) <= _FEW_LINES
    ):
        empty = []  # there is room for them
    spare = [name for name in spare if headings.index(name) not in empty]
    left_out: list[str] = []
    while True:
        kept = [n for n, name in enumerate(headings) if name not in left_out and n not in empty]
        names = [headings[n] for n in kept]
        cut = [[row[n] for n in kept] for row in rows]
        last = len(left_out) == len(spare)
        widths = _widths(names, cut, width)
        if widths is not None and _height(cut, widths) <= (_MOST_LINES if last else _FEW_LINES):
            text = _drawn(names, cut, widths)
            break
        if last:
            return _paragraphs(headings, rows, width)
        left_out.append(spare[len(left_out)])
    if left_out:
        note = f"(not shown for want of room: {', '.join(left_out)}; a wider terminal or --json has them)"
        text += "\n\n" + "\n".join(fold(note, width, indent=" "))
    return text


def facts(pairs: Sequence[tuple[str, str]], width: int | None, *, indent: str = "") -> str:
    """Lines of "name  value", the values one below the other; long ones folded if there is a ``width``."""
    first = max((cells(name) for name, _ in pairs), default=0)
    lines: list[str] = []
    for name, value in pairs:
        begin = f"{indent}{_padded(name, first)}{_GAP}"
        if width is None:
            lines.append(begin + value)
        else:
            further = " " * min(cells(begin), width // 3)
            lines += fold(begin + value, width, indent=further)
    return "\n".join(line.rstrip() for line in lines)


def _widths(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Widths of the columns, None if no word may be broken and they do not fit."""
    least, widths = [], []
    for number, name in enumerate(names):
        texts = [row[number] for row in rows]
        words = [cells(word) for text in (name, *texts) for word in text.split()]
        longest = max(words, default=1)
        # What begins a row stays whole, and what is short; headings may always be folded.
        natural = max([longest, *map(cells, texts)])
        least.append(natural if number == 0 or natural <= _SHORT else longest)
        widths.append(max(natural, cells(name)))
    room = width - len(_GAP) * (len(names) - 1)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        able = [n for n in range(len(names)) if widths[n] > least[n]]
        widest = max(able, key=lambda n: widths[n])
        widths[widest] -= 1
    return widths


def _height(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> int:
    return max((len(fold(cell, w)) for row in rows for cell, w in zip(row, widths, strict=True)), default=1)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def _drawn(names: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    lines = []
    for row in (names, None, *rows):
        parts = (
            [["-" * w] for w in widths]
            if row is None
            else [fold(c, w) for c, w in zip(row, widths, strict=True)]
        )
        for number in range(max(map(len, parts))):
            cut = [part[number] if number < len(part) else "" for part in parts]
            lines.append(_GAP.join(map(_padded, cut, widths)).rstrip())
    return "\n".join(lines)


def _paragraphs(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    lines = []
    for row in rows:
        lines += fold(row[0], width, indent="  ")
        rest = ", ".join(
            f"{name} {cell}" for name, cell in list(zip(names, row, strict=True))[1:] if cell not in ("", "-")
        )
        lines += fold(f"  {rest}", width, indent="  ") if rest else []
    return "\n".join(lines)
