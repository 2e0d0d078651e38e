"""What a demonstration knows of its stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkside_cli.demo import record as module
from darkside_cli.demo.record import Record, tag_of
from darkside_cli.demo.request import DemoResult, SeedScores


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_finished_stage_is_known_by_its_settings(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "seed-0" / "stages.json"
    with Record(path).stage("with", "a") as entry:
        clock.now += 7.5
        entry["value"] = {"night": 12.5}
    again = Record(path)
    assert again.done("with", "a")
    assert not again.done("with", "b")
    assert not again.done("without", "a")
    assert again.value("with") == {"night": 12.5}
    assert again.seconds == {"with": 7.5}


def test_time_of_a_stage_that_was_stopped_adds_up(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "stages.json"

    def stopped() -> None:
        with Record(path).stage("generator", "a"):
            clock.now += 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not Record(path).done("generator", "a")
    with Record(path).stage("generator", "a"):
        clock.now += 4
    assert Record(path).seconds == {"generator": 7.0}
    with Record(path).stage("generator", "b"):  # other settings: it begins anew
        clock.now += 1
    assert Record(path).seconds == {"generator": 1.0}


def test_a_finished_stage_is_done_again_where_what_it_made_is_gone(tmp_path: Path) -> None:
    made, record = tmp_path / "made", Record(tmp_path / "stages.json")

    def is_due(tag: str = "a") -> bool:
        with record.unless_done("with", tag, [made]) as entry:
            return entry is not None

    assert is_due()
    assert is_due(), "what it makes is not there"
    made.touch()
    assert not is_due()
    assert is_due("b")


def test_a_damaged_record_is_none(tmp_path: Path) -> None:
    (tmp_path / "stages.json").write_text("{")
    assert Record(tmp_path / "stages.json").seconds == {}


def test_tags() -> None:
    assert tag_of({"a": 1, "b": Path("x")}) == tag_of({"b": Path("x"), "a": 1})
    assert tag_of({"a": 1}) != tag_of({"a": 2})


def test_means_and_differences() -> None:
    def scores(without: float, with_: float, day: float) -> dict[str, dict[str, float]]:
        return {"night": {"without": without, "with": with_}, "day": {"without": 50.0, "with": day}}

    result = DemoResult((SeedScores(3, scores(10, 18, 49)), SeedScores(4, scores(12, 16, 51))), None)
    document = result.document()
    assert document["mean"] == {"night": {"without": 11, "with": 17}, "day": {"without": 50, "with": 50}}
    assert document["difference"] == {"night": 6, "day": 0}
    assert [each["difference"] for each in document["seeds"]] == [
        {"night": 8, "day": -1},
        {"night": 4, "day": 1},
    ]
    assert DemoResult((), None, complete=False).document() == {
        "seeds": [],
        "complete": False,
        "report": None,
    }
