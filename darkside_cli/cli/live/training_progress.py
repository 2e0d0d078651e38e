"""Draws a training run for people on stderr: a live view on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from darkside_cli.cli.errors import one_line
from darkside_cli.cli.live.progress import Renderer
from darkside_cli.cli.live.training_state import TrainingState, number, score_words, start_words, step_words
from darkside_cli.cli.terminal import can_move_cursor, console
from darkside_cli.events import (
    CheckpointSaved,
    EpochDone,
    EvalDone,
    Event,
    StepDone,
    TrainingFinished,
    TrainingStarted,
)
from darkside_cli.metrics.verdicts import verdict
from darkside_cli.units import duration

if TYPE_CHECKING:
    from darkside_cli.cli.live.region import LiveRegion

PLAIN_LINE_EVERY_S = 10.0


class TrainingRenderer(Renderer):
    """Shows a training run. Where stderr is no terminal, or one that cannot move its cursor, everything is lines.

    ``title`` names the run in its heading (the method; by default the run folder's name). ``verbose`` adds lines per
    epoch and checkpoint above the live view. ``emit`` may be called from any thread.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, title: str = "") -> None:
        super().__init__(quiet=quiet, verbose=verbose)
        self._title = one_line(title)
        self._state = TrainingState()
        self._lock = threading.RLock()
        self._region: LiveRegion | None = None

    def emit(self, event: Event) -> None:
        """Show ``event``."""
        now = time.monotonic()
        with self._lock:
            self._state.apply(event, now)
        super().emit(event)
        if not self._quiet:
            self._show(event, now)

    def above_bar(self, text: str) -> bool:
        """Write ``text`` above the live view, if there is one; False if there is none."""
        region = self._region
        if region is None:
            return False
        region.above(text)
        return True

    def _show(self, event: Event, now: float) -> None:
        if isinstance(event, TrainingStarted):
            self._title = self._title or one_line(event.run.name)
            self._last_line = now
            self._start()
            if self._region is None:
                self._line(f"{self._title}: {start_words(event)}")
        elif isinstance(event, StepDone):
            if self._region is None and now - self._last_line >= PLAIN_LINE_EVERY_S:
                self._last_line = now
                with self._lock:
                    text = step_words(self._state, now)
                self._line(text)
        elif isinstance(event, EpochDone):
            if self._region is None or self._verbose:
                losses = ", ".join(f"{one_line(key)} {number(each)}" for key, each in event.losses.items())
                text = f"epoch {event.epoch}/{event.epochs} done in {duration(event.seconds)}"
                self._line(f"{text}: {losses}" if losses else text)
        elif isinstance(event, EvalDone):
            self._line(score_words(event))
            if text := verdict(event.scores):
                self._line(text)
        elif isinstance(event, CheckpointSaved):
            if self._region is None or self._verbose:
                self._line(f"saved {os.fsdecode(event.path)}")
        elif isinstance(event, TrainingFinished):
            self._stop()
            what = "done" if event.complete else f"stopped ({one_line(event.reason) or 'not complete'})"
            run = os.fsdecode(event.run)
            name = f"{self._title}: " if self._title else ""
            self._line(
                f"{name}training {what} after epoch {event.epoch}, {duration(event.seconds)}, in {run}"
            )

    def _start(self) -> None:
        from darkside_cli.cli.live.region import LiveRegion, can_be_live

        if self._region is None and can_move_cursor(sys.stderr):
            drawn_on = console(sys.stderr)
            if can_be_live(drawn_on):
                self._region = LiveRegion(drawn_on, self._view)
                self._region.start()

    def _stop(self) -> None:
        region, self._region = self._region, None
        if region is not None:
            region.stop()

    def _view(self, width: int, height: int, ascii_only: bool) -> Any:
        from darkside_cli.cli.live.training_view import training_view

        with self._lock:
            return training_view(
                self._state, self._title, width, height, time.monotonic(), ascii_only=ascii_only
            )
