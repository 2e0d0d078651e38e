"""Where a training run stands, as its events tell, in figures and in words. No drawing here."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from darkside_cli import events
from darkside_cli.cli.errors import one_line
from darkside_cli.units import duration, human_size, time_left

_SMOOTHING = 0.15
_HISTORY = 96
_SPEED_SAMPLES = 40


@dataclass
class LossTrack:
    """One loss: its newest value, a running mean of it, and its course over the whole session."""

    last: float = math.nan
    epoch_mean: float | None = None
    history: list[float] = field(default_factory=list)
    _sum: float = 0.0
    _weight: float = 0.0
    _each: int = 1
    _open: list[float] = field(default_factory=list)

    @property
    def smoothed(self) -> float:
        """Mean of the newest values, older ones counting less; the newest itself if it is not finite."""
        return self._sum / self._weight if self._weight and math.isfinite(self.last) else self.last

    def add(self, value: float) -> None:
        """Take in a value. Two neighbours of the course become one whenever it has grown too long."""
        self.last = value
        if not math.isfinite(value):
            return
        self._sum = (1 - _SMOOTHING) * self._sum + _SMOOTHING * value
        self._weight = (1 - _SMOOTHING) * self._weight + _SMOOTHING
        self._open.append(value)
        if len(self._open) == self._each:
            self.history.append(sum(self._open) / self._each)
            self._open.clear()
        if len(self.history) >= _HISTORY:
            self.history = [(a + b) / 2 for a, b in zip(self.history[::2], self.history[1::2], strict=True)]
            self._each *= 2


@dataclass
class SubJob:
    """A job inside the training (descriptors are extracted, images translated): ``done`` of ``total``."""

    job: str
    total: int | None
    unit: str
    done: int = 0


class TrainingState:
    """Takes events with the time at which they came (seconds of a monotonic clock)."""

    def __init__(self) -> None:
        self.started: events.TrainingStarted | None = None
        self.epoch = 0
        self.step = 0
        self.steps = 0
        self.newest: events.StepDone | None = None
        self.losses: dict[str, LossTrack] = {}
        self.rates: dict[str, float] = {}
        self.scored: events.EvalDone | None = None
        self.best: events.EvalDone | None = None
        self.saved: events.CheckpointSaved | None = None
        self.saved_at = 0.0
        self.sub_job: SubJob | None = None
        self._mark = (0.0, 0)  # a moment, and the batches of the epoch that were done then
        self._speed: deque[tuple[float, int]] = deque(maxlen=_SPEED_SAMPLES)
        self._aside_s = 0.0
        self._epochs_seen = 0
        self._stepped_at = 0.0

    def apply(self, event: events.Event, now: float) -> None:
        """Take ``event`` in."""
        if isinstance(event, events.TrainingStarted):
            self.started = event
            self.epoch, self.step, self.steps = event.epoch + 1, event.step, event.steps
            self._mark, self._stepped_at = (now, event.step), now
        elif isinstance(event, events.StepDone):
            self._stepped(event, now)
        elif isinstance(event, events.EpochDone):
            self._epochs_seen += 1
            self.rates = dict(event.rates)
            for name, value in event.losses.items():
                self.losses.setdefault(name, LossTrack()).epoch_mean = value
            self.epoch, self.step = event.epoch, self.steps
            self._mark = (now, 0)
        elif isinstance(event, events.EvalDone):
            self.scored = event
            self.best = event if event.best else self.best
            self._pause(event.seconds, now)
        elif isinstance(event, events.CheckpointSaved):
            self.saved, self.saved_at = event, now
            self._pause(event.seconds, now)
        else:
            self._sub_job(event)

    def _stepped(self, event: events.StepDone, now: float) -> None:
        then, done = self._mark
        if event.epoch != self.epoch:
            done = 0
        if now > then and event.step > done:
            self._speed.append((now - then, event.step - done))
        self._mark, self._stepped_at = (now, event.step), now
        self.newest, self.rates = event, dict(event.rates)
        self.epoch, self.step, self.steps = event.epoch, event.step, event.steps
        for name, value in event.losses.items():
            self.losses.setdefault(name, LossTrack()).add(value)

    def _pause(self, seconds: float, now: float) -> None:
        self._aside_s += seconds
        then, done = self._mark
        self._mark = (min(now, then + seconds), done)  # the speed of the batches has nothing to do with it

    def _sub_job(self, event: events.Event) -> None:
        if isinstance(event, events.RunStarted):
            self.sub_job = SubJob(event.job, event.total, event.unit)
        elif isinstance(event, events.RunFinished):
            self.sub_job = None
        elif self.sub_job is not None and isinstance(event, events.ItemEvent):
            self.sub_job.done += 1

    def epoch_left_s(self, now: float) -> float | None:
        """Seconds until this epoch's last batch; None as long as nobody knows."""
        each = self._seconds_per_step()
        if each is None:
            return None
        since = max(0.0, now - self._stepped_at)
        return max(0.0, (self.steps - self.step) * each - since)

    def run_left_s(self, now: float) -> float | None:
        """Seconds until the run's end, validations and checkpoints as they were so far; None if unknown."""
        each, here = self._seconds_per_step(), self.epoch_left_s(now)
        if each is None or here is None or self.started is None:
            return None
        epochs = max(0, self.started.epochs - self.epoch)
        aside = self._aside_s / self._epochs_seen if self._epochs_seen else 0.0
        return here + epochs * (self.steps * each + aside)

    def _seconds_per_step(self) -> float | None:
        steps = sum(count for _, count in self._speed)
        return sum(seconds for seconds, _ in self._speed) / steps if steps else None


def number(value: float) -> str:
    """``value`` to four digits ("0.4213", "12.34", "nan")."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if value and not 1e-3 <= size < 1e5:
        return f"{value:.3g}"
    return f"{value:.{4 if size < 1 else 3 if size < 10 else 2 if size < 100 else 1}f}"


def start_words(event: events.TrainingStarted) -> str:
    """What begins, where, on what."""
    if event.epoch >= event.epochs:
        return f"all {event.epochs} epochs are done in {one_line(os.fsdecode(event.run))}"
    begin = (
        f"goes on at epoch {event.epoch + 1}, batch {event.step + 1}"
        if event.epoch or event.step
        else "training"
    )
    return (
        f"{begin} in {one_line(os.fsdecode(event.run))} on {one_line(event.device)}, "
        f"{event.epochs} epoch{'s' * (event.epochs > 1)} of {event.steps} batches of {event.batch_size}"
    )


def rate_words(rates: Mapping[str, float]) -> str:
    """Learning rates: one figure if all are the same, else by optimiser, the same ones together."""
    together: dict[str, list[str]] = {}
    for name, value in rates.items():
        together.setdefault(f"{value:.3g}", []).append(one_line(name).replace("_", " "))
    if len(together) == 1:
        return next(iter(together))
    return ", ".join(f"{value} {' & '.join(names)}" for value, names in together.items())


def speed_words(event: events.StepDone) -> str:
    """Images a second, and pairs or tuples where batches are of these."""
    images = f"{number(event.images_per_s)} images/s"
    if not event.item or event.items_per_s is None:
        return images
    return f"{number(event.items_per_s)} {one_line(event.item)}s/s ({images})"


def device_words(event: events.StepDone) -> str:
    """The device's memory and how busy it is, as far as they are known."""
    parts = []
    if event.memory_bytes is not None:
        parts.append(human_size(event.memory_bytes))
    if event.utilisation is not None:
        parts.append(f"{event.utilisation:.0%} busy")
    return ", ".join(parts)


def scores_in_words(event: events.EvalDone) -> str:
    """Scores by name, and whether they are the best."""
    text = ", ".join(
        f"{one_line(key).replace('_', ' ')} {number(each)}" for key, each in event.scores.items()
    )
    return f"{text or 'no scores'}{' (best so far)' if event.best else ''}"


def score_words(event: events.EvalDone) -> str:
    """A validation."""
    return f"epoch {event.epoch} validated in {duration(event.seconds)}: {scores_in_words(event)}"


def step_words(state: TrainingState, now: float) -> str:
    """Where the run stands, in one line: everything that the live view shows."""
    event, start = state.newest, state.started
    if event is None:
        return "waiting for the first batch"
    epochs = f"/{start.epochs}" if start is not None else ""
    parts = [f"epoch {event.epoch}{epochs} batch {event.step}/{event.steps}"]
    names = {one_line(key): track for key, track in state.losses.items()}
    losses = [f"{name} {number(track.smoothed)}" for name, track in names.items() if name in event.losses]
    parts.append(", ".join(losses))
    parts.append(f"rate {rate_words(event.rates)}" if event.rates else "")
    parts.append(speed_words(event))
    parts.append(device_words(event))
    epoch, run = time_left(state.epoch_left_s(now)), time_left(state.run_left_s(now))
    parts.append(f"left {epoch} in epoch, {run} in all" if epoch else "")
    return "; ".join(part for part in parts if part)
