"""Jobs that do not come back: given up after their time, and not waited for when somebody wants to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from darkside_cli.events import LOADING, Event, ImageReady, ItemFailed, ItemSkipped
from darkside_cli.inference import pipeline
from darkside_cli.inference.pipeline import Pipeline
from darkside_cli.inference.stages import Pending, Stages


class Done:
    def __init__(self, results: list[str]) -> None:
        self._results = results

    def result(self) -> list[str]:
        return self._results


class Hanging(Stages[str, str, str]):
    """Jobs called "slow" hang until they are let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.stored: list[str] = []

    def source(self, job: str) -> Path:
        return Path(job)

    def skip(self, job: str) -> ItemSkipped | None:
        return None

    def load(self, job: str) -> str:
        if job.startswith("slow"):
            self.let_go.wait(60)
        return job

    def size(self, loaded: str) -> tuple[int, int]:
        return 1, 1

    def batch_size(self, height: int, width: int) -> int:
        return 1

    def submit(self, items: Sequence[str]) -> Pending[str]:
        return Done(list(items))

    def store(self, job: str, loaded: str, result: str) -> None:
        self.stored.append(job)

    def finished(self, job: str, loaded: str, seconds: float) -> Event:
        return ImageReady(Path(job), Path(job), (1, 1), seconds)

    def release_memory(self) -> None:
        pass


@pytest.fixture
def stages() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.let_go.set()
    for thread in threading.enumerate():
        if thread.name.startswith(LOADING):
            thread.join()


def test_what_hangs_is_given_up_and_the_others_are_done(
    stages: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "GRACE_S", 0.1)
    events: list[Event] = []
    jobs = ["a", "slow 1", "b", "slow 2", "c", "d", "e", "f"]
    counts = Pipeline(stages, workers=1, emit=events.append, give_up_s=0.3).run(jobs)
    assert (counts.done, counts.failed) == (6, 2)
    assert sorted(stages.stored) == ["a", "b", "c", "d", "e", "f"]
    failed = [event for event in events if isinstance(event, ItemFailed)]
    assert [str(event.source) for event in failed] == ["slow 1", "slow 2"]
    assert failed[0].reason == "reading it takes longer than 0.2 s"


def test_an_interruption_does_not_wait_for_what_hangs(stages: Hanging) -> None:
    def jobs() -> Iterator[str]:
        yield from ("a", "slow", "b")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pipeline(stages, workers=2, emit=lambda _: None).run(jobs())
    assert any(thread.name.startswith(LOADING) for thread in threading.enumerate()), "it hangs on"
