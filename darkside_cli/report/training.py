"""One page about a training run: curves, scores, pictures over time, configuration, timings, machine.

The page is one HTML file that needs nothing else and links to nothing. It is made from what lies in the run folder
(``scalars.jsonl``, ``samples/``, ``config.toml``, ``origins.json``, ``checkpoints/*/meta.json``; any of them may be
missing), so it can be made at any time, while the run goes on and after it was cut off.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from darkside_cli.atomic import temporary_beside
from darkside_cli.config.sources import dotted
from darkside_cli.config.values import show
from darkside_cli.events import (
    Emit,
    EpochDone,
    EvalDone,
    Event,
    Notice,
    StepDone,
    TrainingFinished,
    TrainingStarted,
    ignore,
)
from darkside_cli.report.curves import (
    PanelGroup,
    device_panels,
    loss_groups,
    plain_number,
    rate_panel,
    score_groups,
    speed_panel,
)
from darkside_cli.report.embed import embed_samples
from darkside_cli.report.figures import draw
from darkside_cli.report.scalars import Scalars, read_scalars
from darkside_cli.report.training_page import PAGE
from darkside_cli.units import human_size

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPORT = "report.html"
_MOST_STEPS = 6000
_CHECKPOINT = re.compile(r"epoch_(?P<epoch>\d+)(?:_step_(?P<step>\d+))?")


class ReportWriter:
    """An event sink that keeps a run's page up to date: it is written after validations and at the end.

    Give it events after the sink of ``scalars.jsonl`` has had them. A page that cannot be written is a warning, never
    the end of a training.
    """

    def __init__(self, run: Path, emit: Emit = ignore) -> None:
        self._run = run
        self._emit = emit

    def emit(self, event: Event) -> None:
        """Write the page if ``event`` is a reason to."""
        if not isinstance(event, (EvalDone, TrainingFinished)):
            return
        try:
            write_training_report(self._run)
        except Exception as error:
            reason = str(error) or type(error).__name__
            self._emit(Notice(f"{self._run / REPORT} could not be written: {reason}", "warning"))


def write_training_report(run: str | Path, *, title: str | None = None) -> Path:
    """Write ``run/report.html``, whole or not at all, and return its path.

    ``title`` is the page's, by default the folder's name. Files that are damaged are named on the page. Raises OSError
    as the system gives it.
    """
    run = Path(run)
    problems: list[str] = []
    scalars = read_scalars(run / "scalars.jsonl", most_steps=_MOST_STEPS)
    if scalars.damaged:
        problems.append(f"scalars.jsonl: {scalars.damaged} damaged lines were passed over")
    config = _toml(run / "config.toml", problems)
    origins = _json(run / "origins.json", problems)
    # Pictures of later epochs are from before this run began, or began again.
    newest = _epochs_done(scalars) if scalars.records else None
    samples, left_out = embed_samples(run / "samples", up_to=newest)
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(PAGE)
    text = page.render(
        title=title or run.resolve().name,
        status=_status(scalars),
        written=_moment(time.time()),
        headline=_headline(scalars, config),
        groups=_drawn([*loss_groups(scalars), *score_groups(scalars), *_progress_groups(scalars)]),
        samples=samples,
        samples_left_out=left_out,
        config=_config_rows(config, origins),
        has_origins=bool(origins),
        timings=_timings(scalars),
        checkpoints=_checkpoints(run),
        outputs=_outputs(run),
        machines=_machines(scalars),
        warnings=_warnings(scalars, problems),
    )
    target = run / REPORT
    with temporary_beside(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return target


# What the page shows


@dataclass(frozen=True)
class _Drawn:
    """A group of panels with their drawings; ``kind`` is the section it goes to."""

    kind: str
    title: str
    panels: list[tuple[Any, Markup]]


def _progress_groups(scalars: Scalars) -> list[PanelGroup]:
    panels = [panel for panel in (rate_panel(scalars), speed_panel(scalars)) if panel is not None]
    panels += device_panels(scalars)
    return [PanelGroup("progress", "", tuple(panels))] if panels else []


def _drawn(groups: Sequence[PanelGroup]) -> list[_Drawn]:
    """Draw all panels at once, which gives all of them the same x axis."""
    drawings = iter(draw([panel for group in groups for panel in group.panels]))
    return [
        _Drawn(group.kind, group.title, [(panel, Markup(next(drawings))) for panel in group.panels])  # noqa: S704
        for group in groups
    ]


def _status(scalars: Scalars) -> tuple[str, str]:
    """How the run stands: a class for the style sheet, and words."""
    start = end = None
    for record in scalars.records:
        if isinstance(record.event, TrainingStarted):
            start, end = record.event, None
        elif isinstance(record.event, TrainingFinished):
            end = record.event
    if start is None:
        return "open", "nothing recorded yet"
    where = f"{_epochs_done(scalars)} of {start.epochs} epoch{'s' * (start.epochs > 1)}"
    if end is None:
        return "open", f"not finished: {where} done, last sign of life {_moment(scalars.records[-1].time)}"
    if end.complete:
        return "done", f"complete: {where}"
    return "stopped", f"stopped ({end.reason or 'no reason given'}): {where} done"


def _epochs_done(scalars: Scalars) -> int:
    return max([0, *(each.epoch for each in scalars.of(EpochDone))])


def _headline(scalars: Scalars, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The few facts that one wants first."""
    facts: list[tuple[str, str]] = []
    for key in ("method", "model", "backbone"):
        if isinstance(config.get(key), str):
            facts.append((key, config[key]))
    starts = scalars.of(TrainingStarted)
    if starts:
        facts += [("device", starts[-1].device), ("batch", str(starts[-1].batch_size))]
        facts.append(("training time", _duration(_trained_s(scalars))))
    evals = scalars.of(EvalDone)
    best = [each for each in evals if each.best]
    for name, each in (("best", best[-1:]), ("last validation", evals[-1:])):
        for event in each:
            if name == "last validation" and event.best:
                continue
            scores = ", ".join(
                f"{key.replace('_', ' ')} {plain_number(value)}"
                for key, value in list(event.scores.items())[:3]
            )
            facts.append((f"{name} (epoch {event.epoch})", scores or "no scores"))
    return facts


def _timings(scalars: Scalars) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    starts, epochs = scalars.of(TrainingStarted), scalars.of(EpochDone)
    steps, evals = scalars.of(StepDone), scalars.of(EvalDone)
    if starts:
        facts.append(("training, all sessions", _duration(_trained_s(scalars))))
        facts.append(("sessions", str(len(starts))))
    if epochs:
        seconds = sorted(each.seconds for each in epochs)
        facts.append(("an epoch, median", _duration(seconds[len(seconds) // 2])))
        facts.append(("fastest and slowest epoch", f"{_duration(seconds[0])}, {_duration(seconds[-1])}"))
    speeds = sorted(each.images_per_s for each in steps if each.images_per_s > 0)
    if speeds:
        facts.append(("images per second, median", plain_number(speeds[len(speeds) // 2])))
    if starts:
        facts.append(("batches in an epoch", str(starts[-1].steps)))
    if evals:
        facts.append(("a validation, mean", _duration(sum(each.seconds for each in evals) / len(evals))))
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


def _machines(scalars: Scalars) -> list[tuple[str, dict[str, str]]]:
    """Facts about the machine by session; sessions like the one before are not told again."""
    found: list[tuple[str, dict[str, str]]] = []
    for record in scalars.records:
        if isinstance(record.event, TrainingStarted):
            facts = dict(record.facts)
            if facts and (not found or found[-1][1] != facts):
                found.append((f"from {_moment(record.time)}, epoch {record.event.epoch + 1}", facts))
    return found


def _warnings(scalars: Scalars, problems: Sequence[str]) -> list[tuple[str, int]]:
    counts = Counter([*problems, *(each.message for each in scalars.of(Notice) if each.level == "warning")])
    return list(counts.items())


@dataclass(frozen=True)
class _ConfigRow:
    key: str
    value: str
    origin: str
    changed: bool


def _config_rows(config: Mapping[str, Any], origins: Mapping[str, Any]) -> list[_ConfigRow]:
    rows = []
    for key, value in _leaves(config, ()):
        origin = origins.get(key, "")
        if isinstance(origin, Mapping):
            origin = " ".join(str(origin[part]) for part in ("kind", "where") if origin.get(part))
        rows.append(_ConfigRow(key, show(value), str(origin), str(origin) not in ("", "default")))
    return rows


def _leaves(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield dotted((*path, key)), value


def _checkpoints(run: Path) -> list[tuple[str, str, str]]:
    """Checkpoints that are there, in their order: name, where training stood, size on the disk."""
    found = []
    for meta in (run / "checkpoints").glob("*/meta.json"):
        match = _CHECKPOINT.fullmatch(meta.parent.name)
        if match is None:
            continue
        # As engine/checkpoint.py names them: within an epoch by its number, which is one more than those done.
        step = int(match["step"] or 0)
        epochs = int(match["epoch"]) - bool(step)
        where = f"after {epochs} epoch{'s' * (epochs != 1)}" + (
            f" and {step} batch{'es' * (step > 1)}" if step else ""
        )
        best = _json(meta, []).get("best")
        if not step and isinstance(best, Mapping) and best.get("epoch") == epochs:
            where += ", the best so far"
        size = sum(each.stat().st_size for each in meta.parent.iterdir() if each.is_file())
        found.append(((epochs, step), (meta.parent.name, where, human_size(size))))
    return [shown for _, shown in sorted(found)]


def _outputs(run: Path) -> list[tuple[str, str]]:
    return [(each.name, human_size(each.stat().st_size)) for each in sorted(run.glob("*.safetensors"))]


# Reading and writing


def _toml(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # tomllib's and the decoder's errors are ValueErrors
        problems.append(f"{path.name} cannot be read: {error}")
        return {}


def _json(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} cannot be read: {error}")
        return {}
    return found if isinstance(found, dict) else {}


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
