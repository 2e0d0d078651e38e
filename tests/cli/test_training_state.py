"""Where a run stands: smoothed losses, their courses, and how long it will take."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkside_cli.cli.training_state import LossTrack, TrainingState, number, rate_words
from darkside_cli.events import (
    CheckpointSaved,
    EpochDone,
    EvalDone,
    ImageReady,
    ItemFailed,
    RunFinished,
    RunStarted,
    StepDone,
    TrainingStarted,
)
from darkside_cli.units import duration, time_left


def start(epochs: int = 4, epoch: int = 0, step: int = 0) -> TrainingStarted:
    return TrainingStarted(Path("run"), epochs, epoch, step, 100, 2, "cpu")


def step(epoch: int, number: int, **losses: float) -> StepDone:
    return StepDone(epoch, number, 100, losses, {}, 1.0)


def test_nobody_knows_at_first() -> None:
    state = TrainingState()
    state.apply(start(), 0.0)
    assert state.epoch_left_s(0.0) is None
    assert state.run_left_s(0.0) is None


def test_time_left() -> None:
    state = TrainingState()
    state.apply(start(), 0.0)
    state.apply(step(1, 20), 10.0)  # half a second each
    assert state.epoch_left_s(10.0) == pytest.approx(40)
    assert state.run_left_s(10.0) == pytest.approx(190)
    assert state.epoch_left_s(13.0) == pytest.approx(37)  # the clock goes on between two events
    assert state.epoch_left_s(1000.0) == 0
    state.apply(step(1, 100), 50.0)
    assert state.epoch_left_s(50.0) == 0
    assert state.run_left_s(50.0) == pytest.approx(150)


def test_what_is_not_training_counts_once_an_epoch_and_not_as_speed() -> None:
    state = TrainingState()
    state.apply(start(), 0.0)
    state.apply(step(1, 100), 50.0)
    state.apply(EpochDone(1, 4, {}, {}, 50.0), 50.0)
    state.apply(EvalDone(1, {}, 8.0), 58.0)
    state.apply(CheckpointSaved(Path("c"), 1, 0, 2.0), 60.0)
    state.apply(step(2, 10), 65.0)
    assert state.epoch_left_s(65.0) == pytest.approx(45)
    assert state.run_left_s(65.0) == pytest.approx(45 + 2 * (50 + 10))


def test_a_run_that_goes_on_counts_from_there() -> None:
    state = TrainingState()
    state.apply(start(4, 2, 40), 0.0)
    assert (state.epoch, state.step, state.steps) == (3, 40, 100)
    state.apply(step(3, 50), 10.0)  # ten batches, not fifty
    assert state.epoch_left_s(10.0) == pytest.approx(50)
    assert state.run_left_s(10.0) == pytest.approx(150)


def test_the_speed_is_that_of_late() -> None:
    state = TrainingState()
    state.apply(start(1000), 0.0)
    state.apply(step(1, 1), 100.0)  # compiling
    for number_ in range(2, 60):
        state.apply(step(1, number_), 100.0 + number_ - 1)
    assert state.epoch_left_s(158.0) == pytest.approx(41)


def test_a_loss_is_smoothed_from_its_first_value_on() -> None:
    track = LossTrack()
    track.add(2.0)
    assert track.smoothed == pytest.approx(2.0)
    track.add(4.0)
    assert track.smoothed == pytest.approx((0.85 * 2 + 4) / 1.85)
    track.add(math.nan)
    assert math.isnan(track.smoothed)
    track.add(4.0)
    assert 2 < track.smoothed < 4
    assert track.history == [2.0, 4.0, 4.0]


@given(st.integers(0, 3000))
def test_the_course_covers_the_whole_session_and_stays_short(count: int) -> None:
    track = LossTrack()
    for value in range(count):
        track.add(float(value))
    assert len(track.history) < 96
    assert track.history == sorted(track.history)
    if count:
        assert track.history[0] < count / 24 + 1
        assert track.history[-1] > count * 0.9 - 2


def test_best_and_newest_scores_and_jobs_inside() -> None:
    state = TrainingState()
    state.apply(start(), 0.0)
    first, second = EvalDone(1, {"a": 1.0}, 1.0, best=True), EvalDone(2, {"a": 0.5}, 1.0)
    state.apply(first, 1.0)
    state.apply(second, 2.0)
    assert (state.best, state.scored) == (first, second)
    state.apply(ImageReady(Path("a"), Path("b"), (1, 1), 0.1), 2.0)
    assert state.sub_job is None
    state.apply(RunStarted("descriptors", 10), 3.0)
    state.apply(ImageReady(Path("a"), Path("b"), (1, 1), 0.1), 4.0)
    state.apply(ItemFailed(Path("a"), "no"), 5.0)
    assert state.sub_job is not None
    assert (state.sub_job.job, state.sub_job.done, state.sub_job.total) == ("descriptors", 2, 10)
    state.apply(RunFinished("descriptors", 1, 1, 0, 1.0), 6.0)
    assert state.sub_job is None


def test_words() -> None:
    values = (0.0, 0.4213, -0.02134, 1.2345, 12.345, 123.45, 99999.0, 123456.0, 2e-4, math.nan, -math.inf)
    assert [number(value) for value in values] == [
        "0.0000", "0.4213", "-0.0213", "1.234", "12.35", "123.5", "99999.0", "1.23e+05", "0.0002", "nan", "-inf",
    ]  # fmt: skip
    assert [duration(s) for s in (9.44, 59.96, 245, 11524, 90000, 400_000, math.inf)] == [
        "9.4 s", "1:00 min", "4:05 min", "3:12:04", "1 day 1:00:00", "4 days 15:06:40", "?",
    ]  # fmt: skip
    assert [time_left(s) for s in (None, 0.0, 59.4, 59.6)] == ["", "0 s", "59 s", "1:00 min"]
    assert rate_words({"a": 2e-4, "b_c": 2e-4}) == "0.0002"
    assert rate_words({"a": 2e-4, "b_c": 2e-4, "d": 2e-5}) == "0.0002 a & b c, 2e-05 d"
    assert rate_words({}) == ""
