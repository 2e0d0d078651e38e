"""A training run in words: numbers, times and the lines that stand for a live view where there is none."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from darkside_cli.cli.errors import one_line
from darkside_cli.cli.training_state import TrainingState
from darkside_cli.events import EvalDone, StepDone, TrainingStarted
from darkside_cli.units import human_size


def number(value: float) -> str:
    """``value`` to four digits ("0.4213", "12.34", "nan")."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if value and not 1e-3 <= size < 1e5:
        return f"{value:.3g}"
    return f"{value:.{4 if size < 1 else 3 if size < 10 else 2 if size < 100 else 1}f}"


def clock(seconds: float) -> str:
    """``seconds`` as "9.4 s", "4:05 min", "3:12:04" or "2 days 3:12:04"."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours or days else f"{minutes}:{rest:02} min"
    return f"{days} day{'s' * (days > 1)} {text}" if days else text


def left(seconds: float | None) -> str:
    """Time left, to whole seconds; nothing if nobody knows."""
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 59.5 else clock(round(seconds))


def start_words(event: TrainingStarted) -> str:
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


def speed_words(event: StepDone) -> str:
    """Images a second, and pairs or tuples where batches are of these."""
    images = f"{number(event.images_per_s)} images/s"
    if not event.item or event.items_per_s is None:
        return images
    return f"{number(event.items_per_s)} {one_line(event.item)}s/s ({images})"


def device_words(event: StepDone) -> str:
    """The device's memory and how busy it is, as far as they are known."""
    parts = []
    if event.memory_bytes is not None:
        parts.append(human_size(event.memory_bytes))
    if event.utilisation is not None:
        parts.append(f"{event.utilisation:.0%} busy")
    return ", ".join(parts)


def scores_in_words(event: EvalDone) -> str:
    """Scores by name, and whether they are the best."""
    text = ", ".join(
        f"{one_line(key).replace('_', ' ')} {number(each)}" for key, each in event.scores.items()
    )
    return f"{text or 'no scores'}{' (best so far)' if event.best else ''}"


def score_words(event: EvalDone) -> str:
    """A validation."""
    return f"epoch {event.epoch} validated in {clock(event.seconds)}: {scores_in_words(event)}"


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
    epoch, run = left(state.epoch_left_s(now)), left(state.run_left_s(now))
    parts.append(f"left {epoch} in epoch, {run} in all" if epoch else "")
    return "; ".join(part for part in parts if part)
