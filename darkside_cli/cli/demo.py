"""``darkside demo``: the whole method on the embedded city, and what it was worth."""

from __future__ import annotations

from typing import Any

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_INTERRUPTED
from darkside_cli.cli.session import Session, command
from darkside_cli.demo.request import DemoRequest, DemoResult

COMMAND = "demo"


def demo(session: Session, request: DemoRequest, json: options.Json = False) -> int:
    """Show in minutes what night augmentation is worth; no download.

    Makes a synthetic city, trains a generator that turns day into night and a descriptor by day, fine-tunes that
    without and with night augmentation, and compares the two on landmarks that nobody trained on:

        darkside demo

        darkside demo --seeds 3 --output demo

    Settings are the presets demo (for CUT: demo-cut) of train-gan, demo-base and demo of finetune.
    A demonstration that was stopped (Ctrl-C) goes on when the same command is given again. Prints the scores (mAP
    in percent) and the report's path.
    """
    from darkside_cli.demo.run import run

    with session.screen() as screen:
        result = run(request, emit=screen.emit)
    _print(session, result, json=json)
    return EXIT_DONE if result.complete else EXIT_INTERRUPTED


def _print(session: Session, result: DemoResult, *, json: bool) -> None:
    if json:
        session.output.json(result.document())
        return
    if not result.seeds:
        return
    rows = [_cells(f"seed {each.seed}", each.scores, sum(each.seconds.values())) for each in result.seeds]
    if len(result.seeds) > 1:
        mean = result.document()["mean"]
        rows.append(_cells("mean", mean, None))
    heading = (
        "",
        "night without",
        "night with",
        "difference",
        "day without",
        "day with",
        "difference",
        "seconds",
    )
    session.output.table(heading, rows)
    if result.report is not None:
        session.output.path(result.report)


def _cells(name: str, scores: dict[str, dict[str, float]], seconds: float | None) -> tuple[str, ...]:
    figures = []
    for time in ("night", "day"):
        without, with_ = scores[time]["without"], scores[time]["with"]
        figures += [f"{without:.2f}", f"{with_:.2f}", f"{with_ - without:+.2f}"]
    return (name, *figures, "-" if seconds is None else f"{seconds:.0f}")


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, COMMAND, request=DemoRequest)(demo)
