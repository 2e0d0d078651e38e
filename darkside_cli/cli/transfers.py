"""Draws transfers for people on stderr: a bar for each and a total on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from darkside_cli.cli.errors import one_line, say
from darkside_cli.cli.progress import PLAIN_LINE_EVERY_S
from darkside_cli.cli.terminal import can_move_cursor, console, for_people
from darkside_cli.events import (
    Event,
    Notice,
    TransferFailed,
    TransferFinished,
    TransferProgress,
    TransferRetrying,
    TransferStarted,
)
from darkside_cli.units import human_size

if TYPE_CHECKING:
    from rich.progress import Progress

_DONE = {"download": "fetched", "unpack": "unpacked", "copy": "copied", "verify": "checked"}


def _duration(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds < 100 else f"{math.ceil(seconds / 60)} min"


@dataclass
class _Transfer:
    """One transfer that is under way: bytes ``done`` of ``total``, and its bar."""

    activity: str
    done: int
    total: int | None
    task: Any = None


class TransferRenderer:
    """A context manager whose :meth:`emit` takes the events of transfers.

    ``quiet`` shows warnings only (errors are the caller's to tell); ``verbose`` tells every retry.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._bars: Progress | None = None
        self._sum: Any = None
        self._running: dict[str, _Transfer] = {}
        self._ended = [0, 0]  # bytes done and bytes announced by transfers that are no longer running
        self._last_line = time.monotonic()
        self._told: set[tuple[str, str]] = set()

    def __enter__(self) -> TransferRenderer:
        if not self._quiet and can_move_cursor(sys.stderr):
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=console(sys.stderr),
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def emit(self, event: Event) -> None:
        """Show ``event``."""
        if isinstance(event, TransferStarted):
            self._begin(event)
        elif isinstance(event, TransferProgress):
            self._move(event)
        elif isinstance(event, TransferFinished):
            self._end(event.name, event.size)
            if not self._quiet and (event.activity != "verify" or self._verbose):
                files = f", {event.files:,} files" if event.files > 1 else ""
                took = f" in {event.seconds:.1f} s" if event.seconds >= 0.05 else ""
                self._line(f"{_DONE[event.activity]} {event.name} ({human_size(event.size)}{files}){took}")
        elif isinstance(event, TransferFailed):
            self._end(event.name, 0)
        elif isinstance(event, TransferRetrying):
            self._retry(event)
        elif isinstance(event, Notice) and (not self._quiet or event.level == "warning"):
            self._line(f"{'warning: ' if event.level == 'warning' else ''}{event.message}")

    def _begin(self, event: TransferStarted) -> None:
        transfer = _Transfer(event.activity, event.done, event.total)
        self._running[event.name] = transfer
        if self._bars is not None:
            words = event.name if event.activity == "download" else f"{event.activity} {event.name}"
            transfer.task = self._bars.add_task(one_line(words), total=event.total, completed=event.done)
            if self._sum is None and len(self._running) > 1:
                self._sum = self._bars.add_task("total")
        self._tell_sum()

    def _retry(self, event: TransferRetrying) -> None:
        """Say how long it may take at an address's first failure; later only what takes long, unless verbose."""
        new = (event.name, event.source) not in self._told and event.wait_s > 0
        self._told.add((event.name, event.source))
        if self._verbose or (not self._quiet and (new or event.wait_s >= PLAIN_LINE_EVERY_S)):
            left = event.attempts - event.attempt + 1
            times = "once more" if left == 1 else f"up to {left} times more"
            self._line(
                f"{event.name}: {event.reason}; trying again in {event.wait_s:.0f} s, {times}, "
                f"within {_duration(event.whole_s)}"
            )

    def _move(self, event: TransferProgress) -> None:
        transfer = self._running.get(event.name)
        if transfer is None:
            return
        transfer.done, transfer.total = event.done, event.total
        if self._bars is not None:
            self._bars.update(transfer.task, completed=event.done, total=event.total)
            self._tell_sum()
        elif not self._quiet and time.monotonic() - self._last_line >= PLAIN_LINE_EVERY_S:
            self._last_line = time.monotonic()
            self._line(
                ", ".join(
                    f"{name}: {human_size(t.done)} of {human_size(t.total)}"
                    for name, t in self._running.items()
                )
            )

    def _end(self, name: str, size: int) -> None:
        transfer = self._running.pop(name, None)
        if transfer is None:
            return
        self._ended[0] += size
        self._ended[1] += size
        if self._bars is not None:
            self._bars.remove_task(transfer.task)
            self._tell_sum()

    def _tell_sum(self) -> None:
        if self._bars is None or self._sum is None:
            return
        done = self._ended[0] + sum(t.done for t in self._running.values())
        total = self._ended[1] + sum(t.total or t.done for t in self._running.values())
        self._bars.update(self._sum, completed=done, total=total)

    def _line(self, text: str) -> None:
        if self._bars is None:
            say(text)
        else:
            line = for_people(f"darkside: {one_line(text)}", sys.stderr)
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
