"""A training run's curve as lines of JSON: written event by event, read back as events.

One line is one object: ``{"event": "epoch", "epoch": 1, "losses": {...}, ..., "clock": {"time": 1.7e9, ...}}``; the
other keys are the fields of the event of that name in :mod:`darkside_cli.events`, those that depend on when and how
fast something was done inside of ``clock``. Lines "epoch" and "eval" are the same but for ``clock`` however often a
run was stopped; the others tell of sessions: how many there are depends on time. Numbers that JSON does not have
are the texts "NaN", "Infinity" and "-Infinity". Paths inside the run's folder are relative to it, so that the folder
can be moved. Lines are flushed one by one: a process that is killed loses at most the line it was writing.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from darkside_cli.atomic import temporary_beside
from darkside_cli.events import (
    CheckpointSaved,
    EpochDone,
    EvalDone,
    Event,
    ItemFailed,
    Notice,
    StepDone,
    TrainingFinished,
    TrainingStarted,
)
from darkside_cli.report.machine import machine_facts

E = TypeVar("E", bound=Event)

_NAMES: dict[str, type[Event]] = {
    "start": TrainingStarted,
    "step": StepDone,
    "epoch": EpochDone,
    "eval": EvalDone,
    "checkpoint": CheckpointSaved,
    "notice": Notice,
    "finish": TrainingFinished,
}
_FIELDS = {kind: frozenset(each.name for each in dataclasses.fields(kind)) for kind in _NAMES.values()}
_PATHS = {"run", "path"}
_UNKNOWN = {"memory_bytes", "utilisation", "items_per_s"}
_NUMBERS = {"epochs", "epoch", "step", "steps", "batch_size", "images_per_s", "seconds"} | _UNKNOWN
#: Fields that no two runs have in common.
_TIMED = {"images_per_s", "items_per_s", "memory_bytes", "utilisation", "seconds"}
_STEP_LINE = b'{"event": "step"'
_NOT_JSON = {"NaN", "Infinity", "-Infinity"}


@dataclass(frozen=True)
class Record:
    """One line: the event, when it was written (seconds since 1970), and for a start the machine's ``facts``."""

    time: float
    event: Event
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scalars:
    """What a file holds, in its order; ``damaged`` counts the lines that made no sense."""

    records: tuple[Record, ...] = ()
    damaged: int = 0

    def of(self, kind: type[E]) -> list[E]:
        """Events of ``kind``."""
        return [record.event for record in self.records if isinstance(record.event, kind)]


def position(event: Event) -> tuple[int, int] | None:
    """How far training was at ``event``: whole epochs, and batches of the next one; None where it says nothing."""
    if isinstance(event, (StepDone, CheckpointSaved)):
        return (event.epoch - 1, event.step)
    if isinstance(event, (EpochDone, EvalDone)):
        return (event.epoch, 0)
    return None


class JsonlScalars:
    """Appends the training events to ``path``; a context manager, and its :meth:`emit` is an event sink.

    A run that goes on (TrainingStarted at epoch 7, step 30) first cuts what the file knows of later batches, so that
    the curve has every batch once; a run from the very beginning starts the file anew. What arrives before
    TrainingStarted waits for it. ``facts`` are told of the run besides versions and machine ("command", ...).
    Warnings and failed items are recorded too, other notices are not. ``emit`` may be called from several threads
    and raises OSError as the system gives it.
    """

    def __init__(self, path: str | Path, *, facts: Mapping[str, str] | None = None) -> None:
        self.path = Path(path)
        self._facts = dict(facts or {})
        self._file: IO[str] | None = None
        self._waiting: list[Event] = []
        self._lock = threading.Lock()

    def __enter__(self) -> JsonlScalars:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; later events are dropped until a run starts again."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def emit(self, event: Event) -> None:
        """Append ``event``, if it is one of those that are recorded."""
        if isinstance(event, ItemFailed):
            event = Notice(f"{os.fsdecode(event.source)}: {event.reason}", "warning")
        if not isinstance(event, tuple(_NAMES.values())):
            return
        if isinstance(event, Notice) and event.level != "warning":
            return
        with self._lock:
            if isinstance(event, TrainingStarted):
                self._start(event)
            elif self._file is None:
                self._waiting.append(event)
            else:
                self._write(event)

    def _start(self, event: TrainingStarted) -> None:
        if self._file is not None:
            self._file.close()
        cut_scalars(self.path, event.epoch, event.step)
        self._file = self.path.open("a", encoding="utf-8")
        self._write(event, facts={**machine_facts(event.device), **self._facts})
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self._write(each)

    def _write(self, event: Event, **more: Any) -> None:
        assert self._file is not None  # noqa: S101 - for the type checker
        self._file.write(_line(event, self.path.parent, time.time(), **more))
        self._file.flush()


def cut_scalars(path: Path, epoch: int, step: int) -> None:
    """Take out of ``path`` what lies behind ``epoch`` whole epochs and ``step`` batches, and lines that are damaged.

    With 0 and 0 nothing is left. The file is replaced as a whole, or left alone if there is nothing to take out.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    if (epoch, step) == (0, 0):
        path.unlink()
        return
    kept, clean = [], True
    with path.open("rb") as file:
        for line in file:
            record = _record(line, path.parent) if line.endswith(b"\n") else None
            at = position(record.event) if record else None
            if record is not None and (at is None or at <= (epoch, step)):
                kept.append(line)
            else:
                clean = False
    if not clean:
        with temporary_beside(path) as temporary:
            temporary.write_bytes(b"".join(kept))


def read_scalars(path: str | Path, *, most_steps: int | None = None) -> Scalars:
    """Read what :class:`JsonlScalars` wrote, up to the last whole line; no file is an empty run.

    Of a batch, epoch or validation that was recorded twice the later record holds. Lines of events that are not
    known here are passed over, and so are fields; damaged lines are counted. Of more than ``most_steps`` records of
    batches only every n-th is read, and the last one, and those with a value that is no number. Raises OSError as
    the system gives it.
    """
    path = Path(path)
    found: dict[Any, Record] = {}
    damaged = 0
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return Scalars()
    left = sum(line.startswith(_STEP_LINE) for line in lines)
    stride = max(1, -(-left // most_steps)) if most_steps else 1
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        if stride > 1 and line.startswith(_STEP_LINE):
            left -= 1
            if left % stride and b'"NaN"' not in line and b'Infinity"' not in line:
                continue
        record = _record(line, path.parent)
        if record is None:
            damaged += _is_damaged(line)
            continue
        key = _identity(record.event) or number
        found.pop(key, None)
        found[key] = record
    return Scalars(tuple(found.values()), damaged)


def _identity(event: Event) -> tuple[Any, ...] | None:
    """What makes two records the same point of the curve."""
    if isinstance(event, StepDone):
        return ("step", event.epoch, event.step)
    if isinstance(event, EpochDone):
        return ("epoch", event.epoch)
    if isinstance(event, EvalDone):
        return ("eval", event.epoch, tuple(sorted(event.scores)))
    return None


def _line(event: Event, folder: Path, now: float, **more: Any) -> str:
    name = next(name for name, kind in _NAMES.items() if isinstance(event, kind))
    plain = {each.name: _plain(getattr(event, each.name), folder) for each in dataclasses.fields(event)}
    timed = {key: plain.pop(key) for key in list(plain) if key in _TIMED}
    clock = {"time": round(now, 3), **timed}
    return json.dumps({"event": name, **plain, **more, "clock": clock}, allow_nan=False) + "\n"


def _plain(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        path = value.relative_to(folder) if value.is_relative_to(folder) else value
        return os.fsdecode(path)
    if isinstance(value, Mapping):
        return {str(key): _plain(each, folder) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each, folder) for each in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    number = float(value)
    if math.isnan(number):
        return "NaN"
    return number if math.isfinite(number) else "Infinity" if number > 0 else "-Infinity"


def _record(line: bytes, folder: Path) -> Record | None:
    """Read a line; None if it is damaged or of an event that is not known."""
    try:
        entry = json.loads(line)
        kind = _NAMES[entry.pop("event")]
        entry |= entry.pop("clock", {})  # earlier versions had all side by side
        when = float(entry.pop("time"))
        facts = {str(key): str(value) for key, value in (entry.pop("facts", None) or {}).items()}
        known = _FIELDS[kind]
        values = {key: _restored(key, value, folder) for key, value in entry.items() if key in known}
        event = cast("Callable[..., Event]", kind)(**values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return Record(when, event, facts)


def _is_damaged(line: bytes) -> bool:
    try:
        return json.loads(line)["event"] in _NAMES
    except (ValueError, TypeError, KeyError, RecursionError):
        return True


def _restored(key: str, value: Any, folder: Path) -> Any:
    if key in _PATHS:
        return folder / value
    if key == "pictures":
        return tuple(folder / each for each in value)
    if key in ("losses", "rates", "scores"):
        return {name: float(each) for name, each in value.items()}
    if key not in _NUMBERS or (value is None and key in _UNKNOWN):
        return value
    if isinstance(value, str) and value in _NOT_JSON:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{key} is no number")
    return value
