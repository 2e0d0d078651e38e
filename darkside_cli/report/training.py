"""One page about a training run: results, curves, images over time, configuration, timings, machine.

The page is one HTML file that needs nothing else and links to nothing. It is made from what lies in the run folder
(``scalars.jsonl``, ``samples/``, ``config.toml``, ``origins.json``, ``checkpoints/*/meta.json``, a fine-tuning's
whitening and ``evaluation.json``; any of them may be missing), so it can be made at any time, while the run goes on
and after it was cut off.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from darkside_cli.events import Emit, EvalDone, Event, Notice, StageDone, TrainingFinished, ignore
from darkside_cli.report.curves import (
    PanelGroup,
    device_panels,
    loss_groups,
    rate_panel,
    score_groups,
    speed_panel,
)
from darkside_cli.report.page import drawn, embed_samples, write_page
from darkside_cli.report.scalars import Scalars, read_scalars
from darkside_cli.report.stages import scores_shown, whitening_shown
from darkside_cli.report.training_facts import (
    checkpoints,
    config_rows,
    epochs_done,
    headline,
    machines,
    moment,
    outputs,
    read_json,
    read_toml,
    status,
    timings,
    warnings,
)

REPORT = "report.html"
_MOST_STEPS = 6000


class ReportWriter:
    """An event sink that keeps a run's page up to date: it is written after validations, at the end of the
    training, and after the stages that follow it.

    Give it events after the sink of ``scalars.jsonl`` has had them. A page that cannot be written is a warning, never
    the end of a training.
    """

    def __init__(self, run: Path, emit: Emit = ignore) -> None:
        self._run = run
        self._emit = emit

    def emit(self, event: Event) -> None:
        """Write the page if ``event`` is a reason to."""
        if not isinstance(event, (EvalDone, TrainingFinished, StageDone)):
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
    config = read_toml(run / "config.toml", problems)
    origins = read_json(run / "origins.json", problems)
    # Images of later epochs are from before this run began, or began again.
    newest = epochs_done(scalars) if scalars.records else None
    samples, left_out = embed_samples(run / "samples", up_to=newest)
    return write_page(
        run / REPORT,
        "training.html",
        title=title or run.resolve().name,
        status=status(scalars),
        written=moment(time.time()),
        headline=headline(scalars, config),
        groups=_drawn([*loss_groups(scalars), *score_groups(scalars), *_progress_groups(scalars)]),
        whitening=whitening_shown(run, problems),
        scores=scores_shown(run, problems),
        samples=samples,
        samples_left_out=left_out,
        config=config_rows(config, origins),
        has_origins=bool(origins),
        timings=timings(scalars),
        checkpoints=checkpoints(run),
        outputs=outputs(run),
        machines=machines(scalars),
        warnings=warnings(scalars, problems),
    )


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
    drawings = iter(drawn([panel for group in groups for panel in group.panels]))
    return [_Drawn(group.kind, group.title, [next(drawings) for _ in group.panels]) for group in groups]
