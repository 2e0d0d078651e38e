"""Draws a job's events for people on stderr: rich's bars on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from darkside_cli import events
from darkside_cli.cli.errors import one_line, say
from darkside_cli.cli.terminal import can_move_cursor, console, for_people
from darkside_cli.units import duration, human_size, time_left

if TYPE_CHECKING:
    from rich.progress import Progress

R = TypeVar("R", bound="Renderer")

PLAIN_LINE_EVERY_S = 5.0
BRIEF_LINE_EVERY_S = 60.0
_DONE = {"download": "fetched", "unpack": "unpacked", "copy": "copied", "verify": "checked"}


def _name(path: Any) -> str:
    name = os.fsdecode(path)
    return "standard input" if name == "-" else name


class Renderer:
    """A context manager whose :meth:`emit` takes the events of one job.

    ``quiet`` shows failures and warnings only; ``verbose`` adds a line per item. Failures are always named. ``brief``
    is for one of many jobs: bars as ever, without lines about its beginning and end.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, brief: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._brief = brief
        self._bar: Progress | None = None
        self._last_line = time.monotonic()

    def __enter__(self: R) -> R:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def emit(self, event: events.Event) -> None:
        """Show ``event``."""
        if isinstance(event, events.ItemFailed):
            self._line(f"{_name(event.source)}: {event.reason}")
        elif isinstance(event, events.Notice) and event.level == "warning":
            self._line(f"warning: {event.message}")
        elif isinstance(event, events.Notice) and not self._quiet:
            self._line(event.message)

    def above_bar(self, text: str) -> bool:
        """Write ``text`` above what is drawn, if anything is; False if nothing is."""
        if self._bar is None:
            return False
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        return True

    def _line(self, text: str) -> None:
        if not self.above_bar(for_people(f"darkside: {one_line(text)}", sys.stderr)):
            say(text)

    def _is_due(self) -> bool:
        """Whether it is time for another plain line where no bar is drawn."""
        now = time.monotonic()
        if self._quiet or now - self._last_line < (BRIEF_LINE_EVERY_S if self._brief else PLAIN_LINE_EVERY_S):
            return False
        self._last_line = now
        return True

    def _can_draw(self) -> bool:
        return not self._quiet and can_move_cursor(sys.stderr)

    def _draw(self, *columns: Any) -> Progress:
        """Rich's bars with ``columns``."""
        from rich.progress import Progress, TextColumn

        words = TextColumn("{task.description}")
        self._bar = Progress(words, *columns, console=console(sys.stderr), transient=True)
        self._bar.start()
        return self._bar

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class ProgressRenderer(Renderer):
    """Shows a job that takes one item after another: a bar of them, and a summary."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False, brief: bool = False) -> None:
        super().__init__(quiet=quiet, verbose=verbose, brief=brief)
        self._task: Any = None
        self._run = events.RunStarted("")
        self._done = 0
        self._started = self._last_line

    def emit(self, event: events.Event) -> None:
        """Show ``event``."""
        super().emit(event)
        if isinstance(event, events.RunStarted):
            self._start(event)
        elif isinstance(event, events.RunFinished):
            self._finish(event)
        elif isinstance(event, events.ImageReady):
            source = _name(event.source)
            if event.animated:
                self._line(f"warning: {source} is animated: only its first frame was taken")
            if self._verbose:
                written = f" -> {os.fsdecode(event.target)}" if event.target is not None else ""
                self._line(f"{source}{written} ({event.seconds:.2f} s)")
        elif isinstance(event, events.ItemSkipped) and self._verbose:
            self._line(f"{_name(event.source)}: skipped, its output exists")
        if isinstance(event, events.ItemEvent):
            self._advance()

    def _start(self, event: events.RunStarted) -> None:
        self._stop()
        self._run, self._done = event, 0
        self._started = time.monotonic()
        if not self._brief:
            self._last_line = self._started
        if self._can_draw():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

            rate = TextColumn("{task.fields[rate]}")
            bar = self._draw(BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
            self._task = bar.add_task(event.job, total=event.total, rate="")

    def _advance(self) -> None:
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, advance=1, rate=self._rate())
        elif self._is_due():
            total = f" of {self._run.total}" if self._run.total is not None else ""
            job = f"{self._run.job}: " if self._brief else ""
            self._line(f"{job}{self._done}{total} {self._run.unit}, {self._rate()}")

    def _rate(self) -> str:
        elapsed = time.monotonic() - self._started
        return f"{self._done / elapsed:.2f} {self._run.unit}/s" if elapsed > 0 else ""

    def _finish(self, event: events.RunFinished) -> None:
        self._stop()
        if self._quiet or self._brief:
            return
        parts = [f"{event.done} {self._run.unit} done in {duration(event.seconds)}"]
        if event.done and event.seconds > 0:
            parts[0] += f" ({event.done / event.seconds:.2f}/s)"
        if event.skipped:
            parts.append(f"{event.skipped} skipped (already there; --overwrite makes them anew)")
        if event.failed:
            parts.append(f"{event.failed} FAILED (named above)")
        self._line(f"{event.job}: " + ", ".join(parts))


@dataclass
class _Transfer:
    """One transfer that is under way: bytes ``done`` of ``total``, and its bar."""

    done: int
    total: int | None
    task: Any = None
    files: int = 0
    of_files: int = 0

    def __str__(self) -> str:
        if self.of_files:
            return f"{self.files} of {self.of_files} files, {human_size(self.done)}"
        return f"{human_size(self.done)} of {human_size(self.total)}"


class TransferRenderer(Renderer):
    """Shows transfers: a bar for each and a total. Errors are the caller's to tell; ``verbose`` tells every retry."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False, brief: bool = False) -> None:
        super().__init__(quiet=quiet, verbose=verbose, brief=brief)
        self._sum: Any = None
        self._running: dict[str, _Transfer] = {}
        self._ended = 0  # bytes of transfers that are no longer running
        self._told: set[tuple[str, str]] = set()

    def __enter__(self) -> TransferRenderer:
        if self._can_draw():
            from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

            self._draw(BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        return self

    def emit(self, event: events.Event) -> None:
        """Show ``event``."""
        super().emit(event)
        if isinstance(event, events.TransferStarted):
            self._begin(event)
        elif isinstance(event, events.TransferProgress):
            self._move(event)
        elif isinstance(event, events.TransferFinished):
            self._end(event.name, event.size)
            if not self._quiet and (event.activity != "verify" or self._verbose):
                files = f", {event.files:,} files" if event.files > 1 else ""
                took = f" in {event.seconds:.1f} s" if event.seconds >= 0.05 else ""
                self._line(f"{_DONE[event.activity]} {event.name} ({human_size(event.size)}{files}){took}")
        elif isinstance(event, events.TransferFailed):
            self._end(event.name, 0)
        elif isinstance(event, events.TransferRetrying):
            self._retry(event)

    def _begin(self, event: events.TransferStarted) -> None:
        transfer = self._running[event.name] = _Transfer(event.done, event.total)
        if self._bar is not None:
            words = event.name if event.activity == "download" else f"{event.activity} {event.name}"
            transfer.task = self._bar.add_task(one_line(words), total=event.total, completed=event.done)
            if self._sum is None and len(self._running) > 1:
                self._sum = self._bar.add_task("total")
        self._tell_sum()

    def _retry(self, event: events.TransferRetrying) -> None:
        """Say how long it may take at an address's first failure; later only what takes long, unless verbose."""
        new = (event.name, event.source) not in self._told and event.wait_s > 0
        self._told.add((event.name, event.source))
        if self._verbose or (not self._quiet and (new or event.wait_s >= PLAIN_LINE_EVERY_S)):
            left = event.attempts - event.attempt + 1
            times = "once more" if left == 1 else f"up to {left} times more"
            self._line(
                f"{event.name}: {event.reason}; trying again in {event.wait_s:.0f} s, {times}, "
                f"within {time_left(math.ceil(event.whole_s))}"
            )

    def _move(self, event: events.TransferProgress) -> None:
        transfer = self._running.get(event.name)
        if transfer is None:
            return
        transfer.done, transfer.total = event.done, event.total
        transfer.files, transfer.of_files = event.files, event.of_files
        if self._bar is not None:
            self._bar.update(transfer.task, completed=event.done, total=event.total)
            if event.of_files:
                words = f"{event.name}: {event.files} of {event.of_files} files"
                self._bar.update(transfer.task, description=one_line(words))
            self._tell_sum()
        elif self._is_due():
            self._line(", ".join(f"{name}: {each}" for name, each in self._running.items()))

    def _end(self, name: str, size: int) -> None:
        transfer = self._running.pop(name, None)
        if transfer is not None:
            self._ended += size
            if self._bar is not None:
                self._bar.remove_task(transfer.task)
                self._tell_sum()

    def _tell_sum(self) -> None:
        if self._bar is not None and self._sum is not None:
            done = self._ended + sum(t.done for t in self._running.values())
            total = self._ended + sum(t.total or t.done for t in self._running.values())
            self._bar.update(self._sum, completed=done, total=total)
