"""Draws a training run for people on stderr: a live view on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from darkside_cli import events
from darkside_cli.cli import training_state as words
from darkside_cli.cli.errors import one_line
from darkside_cli.cli.progress import BRIEF_LINE_EVERY_S, Renderer
from darkside_cli.cli.region import LiveRegion, can_be_live
from darkside_cli.cli.terminal import can_move_cursor, console
from darkside_cli.cli.training_state import LossTrack, TrainingState, number
from darkside_cli.metrics.verdicts import verdict
from darkside_cli.units import duration, time_left

PLAIN_LINE_EVERY_S = 10.0
_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDEST = 110
_LABEL = "dim"


class TrainingRenderer(Renderer):
    """Shows a training run. Where stderr is no terminal, or one that cannot move its cursor, everything is lines.

    ``title`` names the run in its heading (the method; by default the run folder's name). ``verbose`` adds lines per
    epoch and checkpoint above the live view. ``emit`` may be called from any thread.
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, brief: bool = False, title: str = ""
    ) -> None:
        super().__init__(quiet=quiet, verbose=verbose, brief=brief)
        self._title = one_line(title)
        self._state = TrainingState()
        self._lock = threading.RLock()
        self._region: LiveRegion | None = None

    def emit(self, event: events.Event) -> None:
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

    def _show(self, event: events.Event, now: float) -> None:
        if isinstance(event, events.TrainingStarted):
            self._title = self._title or one_line(event.run.name)
            self._last_line = now
            self._start()
            if self._region is None and not self._brief:
                self._line(f"{self._title}: {words.start_words(event)}")
        elif isinstance(event, events.StepDone):
            every_s = BRIEF_LINE_EVERY_S if self._brief else PLAIN_LINE_EVERY_S
            if self._region is None and now - self._last_line >= every_s:
                self._last_line = now
                with self._lock:
                    text = words.step_words(self._state, now)
                self._line(f"{self._title}: {text}" if self._brief else text)
        elif isinstance(event, events.EpochDone):
            if self._is_told:
                losses = ", ".join(f"{one_line(key)} {number(each)}" for key, each in event.losses.items())
                text = f"epoch {event.epoch}/{event.epochs} done in {duration(event.seconds)}"
                self._line(f"{text}: {losses}" if losses else text)
        elif isinstance(event, events.EvalDone) and not self._brief:
            self._line(words.score_words(event))
            if text := verdict(event.scores):
                self._line(text)
        elif isinstance(event, events.CheckpointSaved):
            if self._is_told:
                self._line(f"saved {os.fsdecode(event.path)}")
        elif isinstance(event, events.TrainingFinished):
            self._stop()
            if self._brief and event.complete:
                return
            what = "done" if event.complete else f"stopped ({one_line(event.reason) or 'not complete'})"
            run = os.fsdecode(event.run)
            name = f"{self._title}: " if self._title else ""
            self._line(
                f"{name}training {what} after epoch {event.epoch}, {duration(event.seconds)}, in {run}"
            )

    @property
    def _is_told(self) -> bool:
        """Whether what the live view shows is told in lines, too, or instead."""
        return self._verbose or (self._region is None and not self._brief)

    def _start(self) -> None:
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
        with self._lock:
            return training_view(
                self._state, self._title, width, height, time.monotonic(), ascii_only=ascii_only
            )


def training_view(
    state: TrainingState, title: str, width: int, height: int, now: float, *, ascii_only: bool = False
) -> Any:
    """Everything about the run in at most ``height`` lines of ``width`` columns; losses give way first."""
    width = min(width, _WIDEST)
    bars, facts = _bars(state, width, now), _facts(state, width, now)
    # Lines of the other parts as they come out when nothing is folded; what is folded is cut off at the end.
    room = height - 1 - bars.row_count - facts.row_count
    parts: list[Any] = [_head(state, title, width, ascii_only), bars]
    if state.losses and room > 0:
        parts.append(_losses(state, width, room, ascii_only))
    parts.append(facts)
    return Group(*parts)


def sparkline(values: Sequence[float], width: int) -> str:
    """The course of ``values`` in ``width`` characters, from their least to their greatest."""
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        return _BLOCKS[0] * count
    return "".join(_BLOCKS[min(7, int((each - low) / (high - low) * 8))] for each in means)


def _head(state: TrainingState, title: str, width: int, ascii_only: bool) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis", end="\n")
    text.append("darkside: ", _LABEL)
    text.append(title, "bold")
    if state.started is not None:
        dot = " - " if ascii_only else " · "
        text.append(f"{dot}{one_line(os.fsdecode(state.started.run))}{dot}{one_line(state.started.device)}")
    text.truncate(width, overflow="crop" if ascii_only else "ellipsis")
    return text


def _bars(state: TrainingState, width: int, now: float) -> Table:
    epochs = state.started.epochs if state.started is not None else state.epoch
    done = max(0, state.epoch - 1) + (state.step / state.steps if state.steps else 0.0)
    bar_width = max(4, min(40, width - 34))
    table = Table.grid(padding=(0, 1))
    table.add_column(style=_LABEL, no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    run, epoch = time_left(state.run_left_s(now)), time_left(state.epoch_left_s(now))
    ending = " left" if width >= 60 else ""
    rows = [
        ("epoch", f"{min(state.epoch, epochs)}/{epochs}", done, epochs, run),
        ("batch", f"{state.step}/{state.steps}", state.step, state.steps, epoch),
    ]
    job = state.sub_job
    if job is not None:
        total = job.total or 0
        count = f"{job.done}/{total}" if total else str(job.done)
        rows.append((one_line(job.job)[: max(5, width - 30)], count, job.done if total else 0, total, ""))
    for label, count, at, total, ahead in rows:
        bar = ProgressBar(total=max(total, 1), completed=min(at, max(total, 1)), width=bar_width)
        table.add_row(label, count, bar, f"{ahead}{ending}" if ahead else "")
    return table


def _losses(state: TrainingState, width: int, room: int, ascii_only: bool) -> Table:
    wide = width >= 60
    spark = 0 if ascii_only else 24 if width >= 80 else 12 if width >= 56 else 8
    headed = room > len(state.losses)
    table = Table(
        box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=headed, header_style=_LABEL, expand=False
    )
    table.add_column(
        "loss", no_wrap=True, overflow="ellipsis", max_width=max(8, width - 12 - spark - 10 * wide)
    )
    table.add_column("now", justify="right", no_wrap=True, min_width=6)
    if wide:
        table.add_column("epoch", justify="right", no_wrap=True, min_width=6)
    if spark:
        table.add_column("course", no_wrap=True)
    names = list(state.losses)
    shown = names if len(names) <= room - headed else names[: max(0, room - headed - 1)]
    for name in shown:
        table.add_row(*_loss_row(name, state.losses[name], wide, spark))
    if len(shown) < len(names):
        table.add_row(Text(f"and {len(names) - len(shown)} more", _LABEL))
    return table


def _loss_row(name: str, track: LossTrack, wide: bool, spark: int) -> list[Text]:
    row = [
        Text(one_line(name).replace("_", " ")),
        Text(number(track.smoothed), "" if math.isfinite(track.last) else "bold red"),
    ]
    if wide:
        row.append(Text("" if track.epoch_mean is None else number(track.epoch_mean), _LABEL))
    if spark:
        row.append(Text(sparkline(track.history, spark), "cyan"))
    return row


def _facts(state: TrainingState, width: int, now: float) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style=_LABEL, no_wrap=True, min_width=5)
    table.add_column(overflow="fold", max_width=max(10, width - 7))
    event = state.newest
    if event is not None:
        device = words.device_words(event)
        table.add_row("speed", Text(f"{words.speed_words(event)}{f', {device}' if device else ''}"))
    if state.rates:
        table.add_row("rate", Text(words.rate_words(state.rates)))
    if state.scored is not None:
        table.add_row("score", Text(f"{words.scores_in_words(state.scored)}, epoch {state.scored.epoch}"))
        best = state.best
        if best is not None and best is not state.scored:
            table.add_row(
                "best",
                Text(f"{words.scores_in_words(best)}, epoch {best.epoch}".replace(" (best so far)", "")),
            )
    if state.saved is not None:
        ago = duration(max(0.0, now - state.saved_at))
        table.add_row("saved", Text(f"{one_line(state.saved.path.name)}, {ago} ago"))
    return table
