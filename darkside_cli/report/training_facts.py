"""What the page about a training run tells in words: how it stands, timings, settings, files, machine."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median_high
from typing import Any

from darkside_cli.config.sources import dotted
from darkside_cli.config.words import show
from darkside_cli.events import EpochDone, EvalDone, Notice, StepDone, TrainingFinished, TrainingStarted
from darkside_cli.metrics.verdicts import verdict
from darkside_cli.report.curves import plain_number
from darkside_cli.report.scalars import Scalars
from darkside_cli.units import human_size

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_CHECKPOINT = re.compile(r"epoch_(?P<epoch>\d+)(?:_step_(?P<step>\d+))?")


def status(scalars: Scalars) -> tuple[str, str]:
    """How the run stands: a class for the style sheet, and words."""
    start = end = None
    for record in scalars.records:
        if isinstance(record.event, TrainingStarted):
            start, end = record.event, None
        elif isinstance(record.event, TrainingFinished):
            end = record.event
    if start is None:
        return "open", "nothing recorded yet"
    where = f"{epochs_done(scalars)} of {start.epochs} epoch{'s' * (start.epochs > 1)}"
    if end is None:
        return "open", f"not finished: {where} done, last sign of life {moment(scalars.records[-1].time)}"
    if end.complete:
        return "done", f"complete: {where}"
    return "stopped", f"stopped ({end.reason or 'no reason given'}): {where} done"


def epochs_done(scalars: Scalars) -> int:
    """Number of whole epochs that were trained."""
    return max([0, *(each.epoch for each in scalars.of(EpochDone))])


def headline(scalars: Scalars, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The few facts that one wants first."""
    facts = [
        (key, config[key]) for key in ("method", "model", "backbone") if isinstance(config.get(key), str)
    ]
    starts = scalars.of(TrainingStarted)
    if starts:
        facts += [("device", starts[-1].device), ("batch", str(starts[-1].batch_size))]
        facts.append(("training time", _duration(_trained_s(scalars))))
    evals = scalars.of(EvalDone)
    if evals and (text := verdict(evals[-1].scores)):
        facts.append(("verdict", text))
    best, last = [each for each in evals if each.best][-1:], [each for each in evals[-1:] if not each.best]
    for name, event in [*(("best", each) for each in best), *(("last validation", each) for each in last)]:
        scores = [f"{key.replace('_', ' ')} {plain_number(value)}" for key, value in event.scores.items()]
        facts.append((f"{name} (epoch {event.epoch})", ", ".join(scores[:3]) or "no scores"))
    return facts


def timings(scalars: Scalars) -> list[tuple[str, str]]:
    """How long things took, and how much memory."""
    facts: list[tuple[str, str]] = []
    starts, epochs = scalars.of(TrainingStarted), scalars.of(EpochDone)
    steps, evals = scalars.of(StepDone), scalars.of(EvalDone)
    if starts:
        facts.append(("training, all sessions", _duration(_trained_s(scalars))))
        facts.append(("sessions", str(len(starts))))
    if epochs:
        seconds = [each.seconds for each in epochs]
        facts.append(("an epoch, median", _duration(median_high(seconds))))
        facts.append(("fastest and slowest epoch", f"{_duration(min(seconds))}, {_duration(max(seconds))}"))
    speeds = [("images", [each.images_per_s for each in steps if each.images_per_s > 0])]
    items = [each for each in steps if each.items_per_s]
    if items:
        speeds.append((f"{items[-1].item}s", [each.items_per_s or 0.0 for each in items]))
    for what, values in speeds:
        if values:
            facts.append((f"{what} per second, median", plain_number(median_high(values))))
    batches = [each.steps for each in starts if each.steps]  # none where nothing was left to train
    if batches:
        facts.append(("batches in an epoch", str(batches[-1])))
    if evals:
        facts.append(("a validation, mean", _duration(fmean(each.seconds for each in evals))))
    memory = [each.memory_bytes for each in steps if each.memory_bytes is not None]
    if memory:
        facts.append(("device memory, most", human_size(max(memory))))
    return facts


def _trained_s(scalars: Scalars) -> float:
    """Seconds from the start of each session to its last line."""
    total, began, last = 0.0, None, 0.0
    for record in scalars.records:
        if isinstance(record.event, TrainingStarted):
            total += last - began if began is not None else 0.0
            began = record.time
        last = record.time
    return total + (last - began if began is not None else 0.0)


def machines(scalars: Scalars) -> list[tuple[str, dict[str, str]]]:
    """Facts about the machine by session; sessions like the one before are not told again."""
    found: list[tuple[str, dict[str, str]]] = []
    for record in scalars.records:
        if isinstance(record.event, TrainingStarted):
            facts = dict(record.facts)
            if facts and (not found or found[-1][1] != facts):
                found.append((f"from {moment(record.time)}, epoch {record.event.epoch + 1}", facts))
    return found


def warnings(scalars: Scalars, problems: Sequence[str]) -> list[tuple[str, int]]:
    """``problems`` and what the run warned of, each once, with how often it was said."""
    counts = Counter([*problems, *(each.message for each in scalars.of(Notice) if each.level == "warning")])
    return list(counts.items())


@dataclass(frozen=True)
class ConfigRow:
    """A setting: where its value came from, and whether that is not the default."""

    key: str
    value: str
    origin: str
    changed: bool


def config_rows(config: Mapping[str, Any], origins: Mapping[str, Any]) -> list[ConfigRow]:
    """All settings, by dotted key."""
    rows = []
    for key, value in _leaves(config, ()):
        origin = origins.get(key, "")
        if isinstance(origin, Mapping):
            origin = " ".join(str(origin[part]) for part in ("kind", "where") if origin.get(part))
        rows.append(ConfigRow(key, show(value), str(origin), str(origin) not in ("", "default")))
    return rows


def _leaves(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield dotted((*path, key)), value


def checkpoints(run: Path) -> list[tuple[str, str, str]]:
    """Checkpoints that are there, in their order: name, where training stood, size on the disk."""
    found = []
    for meta in (run / "checkpoints").glob("*/meta.json"):
        match = _CHECKPOINT.fullmatch(meta.parent.name)
        if match is None:
            continue
        # As training/checkpoint.py names them: within an epoch by its number, which is one more than those done.
        step = int(match["step"] or 0)
        epochs = int(match["epoch"]) - bool(step)
        where = f"after {epochs} epoch{'s' * (epochs != 1)}" + (
            f" and {step} batch{'es' * (step > 1)}" if step else ""
        )
        best = read_json(meta, []).get("best")
        if not step and isinstance(best, Mapping) and best.get("epoch") == epochs:
            where += ", the best so far"
        size = sum(each.stat().st_size for each in meta.parent.iterdir() if each.is_file())
        found.append(((epochs, step), (meta.parent.name, where, human_size(size))))
    return [shown for _, shown in sorted(found)]


def outputs(run: Path) -> list[tuple[str, str]]:
    """Networks and whitenings that are ready to be used, and their sizes."""
    return [(each.name, human_size(each.stat().st_size)) for each in sorted(run.glob("*.safetensors"))]


def moment(seconds: float) -> str:
    """Seconds since 1970 as a date and a time of this place."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


# The small files of a run folder; what is damaged is named, never a reason to stop.


def read_toml(path: Path, problems: list[str]) -> dict[str, Any]:
    """Tables of a TOML file, none if it is not there; a damaged one is added to ``problems``."""
    return _parsed(path, tomllib.loads, problems)


def read_json(path: Path, problems: list[str]) -> dict[str, Any]:
    """The object in a JSON file, empty if it is not there; a damaged one is added to ``problems``."""
    return _parsed(path, json.loads, problems)


def _parsed(path: Path, parse: Callable[[str], Any], problems: list[str]) -> dict[str, Any]:
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # all parsers' and the decoder's errors are ValueErrors
        problems.append(f"{path.name} cannot be read: {error}")
        return {}
    return found if isinstance(found, dict) else {}
