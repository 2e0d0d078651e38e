"""The one sink for results: everything a program downstream may read goes to stdout through here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from darkside_cli.cli import terminal
from darkside_cli.cli.errors import one_line


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} does not go into JSON")


class Output:
    """Results to stdout: paths (newline- or NUL-separated), tables, one JSON object, or JSON lines.

    Every item is flushed at once, so that a reader at the other end of a pipe can begin. Paths keep their bytes,
    whatever their encoding. A closed pipe raises BrokenPipeError, which ends the command quietly.
    """

    def __init__(self, *, null: bool = False, stream: BinaryIO | None = None) -> None:
        self._end = b"\0" if null else b"\n"
        self._stream = stream if stream is not None else sys.stdout.buffer
        #: Set while a progress bar is drawn: writes lines above it, so that the two do not run into each other
        #: where results and progress share a terminal.
        self.above_bar: Callable[[str], bool] | None = None

    def _write(self, data: bytes) -> None:
        text = data.decode("utf-8", "backslashreplace").rstrip("\n\0")
        if self.above_bar is not None and self._stream.isatty() and self.above_bar(text):
            return
        self._stream.write(data)
        self._stream.flush()

    def path(self, *paths: Path) -> None:
        """Write a path, or several."""
        for path in paths:
            self._write(os.fsencode(path) + self._end)

    def line(self, *fields: str) -> None:
        """Write one line of tab-separated fields; names of files among them keep their bytes."""
        self._write(os.fsencode("\t".join(fields)) + self._end)

    def json(self, value: Any) -> None:
        """Write one object, indented, for ``--json``."""
        self._write(json.dumps(value, indent=2, default=_plain).encode() + b"\n")

    def jsonl(self, value: Mapping[str, Any]) -> None:
        """Write one object on a line of its own, for ``--jsonl``."""
        self._write(json.dumps(value, default=_plain).encode() + b"\n")

    def data(self, data: bytes | memoryview) -> None:
        """Write the contents of a file."""
        self._stream.write(data)
        self._stream.flush()

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at the results."""
        return self._stream.isatty()

    def text(self, text: str) -> None:
        """Write lines of text."""
        self._write(text.rstrip("\n").encode("utf-8", "backslashreplace") + b"\n")

    def facts(self, pairs: Sequence[tuple[str, str]], *, indent: str = "") -> None:
        """Write "name  value" lines, values one below the other, folded on a terminal."""
        self.text(terminal.facts(pairs, self._columns(), indent=indent))

    def table(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        title: str = "",
        spare: Sequence[str] = (),
    ) -> None:
        """Write a table: drawn for its width on a terminal, tab-separated lines with a heading elsewhere.

        A terminal that is too narrow does without the columns named ``spare``, in that order, and says so.
        """
        width = self._columns()
        if width is None:
            lines = ["\t".join(row) for row in (headings, *rows)]
            self._write(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
        elif rows:  # else the command says so in words
            headings, *cells = [[one_line(cell) for cell in row] for row in (headings, *rows)]
            above = [*terminal.fold(title, width, indent="  "), ""] if title else []
            self.text("\n".join([*above, terminal.table(headings, cells, width, spare=spare)]))

    def _columns(self) -> int | None:
        """Columns of the terminal that results go to; None if it is none."""
        return terminal.columns(self._stream) if self._stream.isatty() else None
