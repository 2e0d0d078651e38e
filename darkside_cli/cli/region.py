"""The last few lines of a terminal, drawn again and again, with other lines scrolling away above them.

Unlike rich's Live it reckons with terminals that are made narrower: they fold the lines that were drawn, and what
has to be gone over is then more lines than were written. The cursor stays visible, so that a process that is killed
leaves a sound terminal behind.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    View = Callable[[int, int, bool], Any]

REFRESH_EVERY_S = 0.5
_ERASE_REST, _ERASE_BELOW, _ERASE_LINE, _UP = "\x1b[K", "\x1b[J", "\x1b[2K", "\x1b[A"
_LEAST_COLUMNS, _LEAST_LINES = 20, 4


def can_be_live(console: Console) -> bool:
    """Whether the terminal of ``console`` can move its cursor and is large enough to show anything."""
    size = console.size
    return (
        console.is_terminal
        and not console.is_dumb_terminal
        and not console.legacy_windows
        and size.width >= _LEAST_COLUMNS
        and size.height >= _LEAST_LINES
    )


class LiveRegion:
    """``view(width, height, ascii_only)`` gives what rich is to draw, whenever it is asked to.

    While it is alive, what anybody writes to ``sys.stderr`` comes to stand above it. All methods may be called from
    any thread; the view is asked from one of its own too.
    """

    def __init__(self, console: Console, view: View) -> None:
        self._console = console
        self._view = view
        self._file: TextIO = sys.stderr
        self._lock = threading.RLock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="progress", daemon=True)
        self._drawn: list[int] = []  # widths of the lines that are on the screen
        self._columns = 0
        self._pid = os.getpid()
        self._stray = _Stray(self, self._file)

    def start(self) -> None:
        """Draw, and go on drawing."""
        sys.stderr = self._stray
        self._draw()
        self._thread.start()

    def stop(self) -> None:
        """Take the view off the screen; nothing of it stays."""
        self._end.set()
        self._thread.join()
        if sys.stderr is self._stray:
            sys.stderr = self._file
        with self._lock:
            self._stray.finish()
            self._write(self._erased())
            self._drawn = []

    def above(self, text: str) -> None:
        """Write lines of ``text`` above the view."""
        with self._lock:
            self._draw(f"{self._erased()}{text}\n")

    @property
    def is_ours(self) -> bool:
        """False in a process that was forked off: the view is its parent's."""
        return os.getpid() == self._pid

    def _refresh(self) -> None:
        while not self._end.wait(REFRESH_EVERY_S):
            self._draw()

    def _draw(self, before: str | None = None) -> None:
        """Write the view over the old one, or after ``before``, which has done away with the old one."""
        with self._lock:
            if self._file.closed:
                return
            size = self._console.size
            if before is None:
                # Terminals remember which lines they folded, and join them again, until the lines are erased.
                before = self._back() if size.width == self._columns else self._erased()
            self._columns = size.width
            # A character in the last column leaves some terminals between two lines: it stays free.
            width, height = max(1, size.width - 1), max(1, size.height - 1)
            try:
                lines = self._lines(width, height)
            except OSError:  # rich writes too, an empty text: the terminal is gone
                return
            from rich.cells import cell_len
            from rich.text import Text

            self._drawn = [cell_len(Text.from_ansi(line).plain) for line in lines]
            # The cursor waits below: there a shell's prompt finds it if this process is killed.
            self._write(before + "".join(f"{line}{_ERASE_REST}\n" for line in lines) + _ERASE_BELOW)

    def _lines(self, width: int, height: int) -> list[str]:
        ascii_only = self._console.options.ascii_only
        with self._console.capture() as captured:
            self._console.print(self._view(width, height, ascii_only), width=width, crop=True, end="")
        return captured.get().rstrip("\n").split("\n")[:height]

    def _rows(self) -> int:
        """How many lines above the cursor the view takes on the terminal as it is now."""
        size = self._console.size
        rows = sum(max(1, -(-length // max(1, size.width))) for length in self._drawn)
        return min(rows, max(1, size.height - 1))

    def _back(self) -> str:
        """Move the cursor to the view's beginning."""
        return "\r" + _UP * self._rows()

    def _erased(self) -> str:
        """Move the cursor to the view's beginning and leave nothing of the view.

        Line by line: some terminals keep what is erased all at once, if that is the whole screen.
        """
        return f"\r{_ERASE_LINE}" + f"{_UP}{_ERASE_LINE}" * self._rows()

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except (OSError, ValueError):  # a closed stderr is nobody's problem
            pass


class _Stray:
    """Stands in for ``sys.stderr``: whole lines go above the view."""

    def __init__(self, region: LiveRegion, file: TextIO) -> None:
        self._region = region
        self._file = file
        self._open = ""

    def write(self, text: str) -> int:
        if not self._region.is_ours:
            return self._file.write(text)
        whole, newline, rest = (self._open + text).rpartition("\n")
        self._open = rest.rpartition("\r")[2]
        if newline:
            self._region.above(whole)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Nothing to do: whole lines are written at once."""

    def finish(self) -> None:
        """Write a line that was never ended."""
        if self._open:
            rest, self._open = self._open, ""
            self._region.above(rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
