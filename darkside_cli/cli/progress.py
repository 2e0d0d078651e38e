"""Draws events for people on stderr: a rich bar on a terminal, one plain line every few seconds elsewhere."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from darkside_cli.cli.errors import one_line
from darkside_cli.cli.terminal import can_move_cursor, console, for_people
from darkside_cli.events import Event, ImageReady, ItemFailed, ItemSkipped, Notice, RunFinished, RunStarted

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_LINE_EVERY_S = 5.0


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"


def _name(path: Any) -> str:
    name = os.fsdecode(path)
    return "standard input" if name == "-" else one_line(name)


class ProgressRenderer:
    """A context manager whose :meth:`emit` takes the events of one job.

    ``quiet`` shows failures and warnings only; ``verbose`` adds a line per item. Failures are always named.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._bar: Progress | None = None
        self._task: Any = None
        self._total: int | None = None
        self._unit = "images"
        self._done = 0
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> ProgressRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def emit(self, event: Event) -> None:
        """Show ``event``."""
        if isinstance(event, RunStarted):
            self._start(event)
        elif isinstance(event, ItemFailed):
            self._line(f"{_name(event.source)}: {one_line(event.reason)}")
            self._advance()
        elif isinstance(event, ImageReady):
            if event.animated:
                self._line(f"warning: {_name(event.source)} is animated: only its first frame was taken")
            if self._verbose:
                self._line(
                    f"{_name(event.source)} -> {one_line(os.fsdecode(event.target))} ({event.seconds:.2f} s)"
                )
            self._advance()
        elif isinstance(event, ItemSkipped):
            if self._verbose:
                self._line(f"{_name(event.source)}: skipped, its output exists")
            self._advance()
        elif isinstance(event, Notice):
            if not self._quiet or event.level == "warning":
                self._line(f"{'warning: ' if event.level == 'warning' else ''}{one_line(event.message)}")
        elif isinstance(event, RunFinished):
            self._finish(event)

    def _start(self, event: RunStarted) -> None:
        self._total, self._unit, self._done = event.total, event.unit, 0
        self._started = self._last_line = time.monotonic()
        if self._quiet or not can_move_cursor(sys.stderr):
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console(sys.stderr),
            transient=True,
        )
        self._task = self._bar.add_task(event.job, total=event.total, rate="")
        self._bar.start()

    def _rate(self) -> str:
        elapsed = time.monotonic() - self._started
        return f"{self._done / elapsed:.2f} {self._unit}/s" if elapsed > 0 and self._done else ""

    def _advance(self) -> None:
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, advance=1, rate=self._rate())
            return
        now = time.monotonic()
        if not self._quiet and now - self._last_line >= PLAIN_LINE_EVERY_S:
            self._last_line = now
            total = f" of {self._total}" if self._total is not None else ""
            self._line(f"{self._done}{total} {self._unit}, {self._rate()}")

    def above_bar(self, text: str) -> bool:
        """Write ``text`` above the bar, if there is one; False if there is none."""
        if self._bar is None:
            return False
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        return True

    def _line(self, text: str) -> None:
        line = for_people(f"darkside: {text}", sys.stderr)
        if not self.above_bar(line):
            try:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()
            except (OSError, ValueError):
                pass

    def _finish(self, event: RunFinished) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._quiet:
            return
        parts = [f"{event.done} {self._unit} done in {_duration(event.seconds)}"]
        if event.done and event.seconds > 0:
            parts[0] += f" ({event.done / event.seconds:.2f}/s)"
        if event.skipped:
            parts.append(f"{event.skipped} skipped (already there; --overwrite makes them anew)")
        if event.failed:
            parts.append(f"{event.failed} FAILED (named above)")
        self._line(f"{event.job}: " + ", ".join(parts))
