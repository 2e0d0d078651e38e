"""What is told of one of many trainings."""

from __future__ import annotations

from pathlib import Path

from darkside_cli.demo.brief import brief, score_words
from darkside_cli.events import Event, ItemFailed, Notice, RunStarted, TrainingFinished


def test_progress_and_warnings_once_and_no_talk() -> None:
    events: list[Event] = []
    tell = brief(events.append)
    warning, broken = Notice("few images", level="warning"), ItemFailed(Path("a.jpg"), "cut short")
    started, stopped = RunStarted("day on night", 3), TrainingFinished(Path("run"), 1, 2.0, complete=False)
    for event in (
        Notice("epoch 1: 24 tuples mined"),
        warning,
        broken,
        started,
        warning,
        broken,
        started,
        stopped,
    ):
        tell(event)
    assert events == [warning, broken, started, started, stopped]


def test_scores_in_one_line() -> None:
    sums = {"night": [246.3, 300.0, 3], "day": [0.0, 0.0, 0]}
    line = score_words("seed-0/fold-1/generated", sums)
    assert line == "seed-0/fold-1/generated: night 82.1/100.0, day -/- (mAP/R@1)"
    assert len(f"darkside: {line.replace('-/-', '100.0/100.0')}") <= 80
