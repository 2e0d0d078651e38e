"""A run that is killed at any moment and started again ends with the weights of one that was not."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from toy_training import Pair, Pairs, ToyGan, parse, train, trainer, weights
from waiting import Process

from darkside_cli.events import EpochDone, EvalDone, Event
from darkside_cli.training import loop as loop_module
from darkside_cli.training.distributed import Ranks
from darkside_cli.training.task import Update

ROOT = Path(__file__).parents[2]
OPTIONS: dict[str, Any] = {
    "epochs": 3,
    "checkpoint_every": 2,
    "validate_every": 1,
    "ema_decay": 0.9,
    "log_every_s": 0,
    "clip_norm": 1.0,
}


class Killed(BaseException):
    """Stands for the end of a process: nothing in the trainer expects it."""


def final_state(run: Path, task: ToyGan) -> dict[str, Any]:
    """All that two runs must have in common in the end."""
    newest = max(run.glob("checkpoints/epoch_????"))
    state = torch.load(newest / "state.pt", weights_only=True)
    return {
        "weights": weights(task),
        "outputs": load_file(run / "generator.safetensors"),
        "average": load_file(newest / "generator.averaged.safetensors"),
        "state": state,
        "pool": task.pool,
        "files": reproducible_files(run),
    }


def reproducible_files(run: Path) -> dict[str, str]:
    """Digests of all files of a run; times have a place of their own, in ``meta.json``, that is left out."""
    digests = {}
    for path in sorted(run.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        if path.name == "meta.json":
            meta = json.loads(content)
            assert meta.pop("clock").keys() == {"seconds", "time"}
            del meta["config"]  # how often to save differs here
            content = json.dumps(meta).encode()
        digests[path.relative_to(run).as_posix()] = hashlib.sha256(content).hexdigest()
    return digests


def assert_same(first: Any, second: Any) -> None:
    if isinstance(first, Tensor):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert_same(value, second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run, task = tmp_path_factory.mktemp("uninterrupted"), ToyGan()
    trainer(run, task, **OPTIONS).fit()
    return final_state(run, task)


class Clock:
    """Time that passes only where the trainer looks at it, so that checkpoints inside epochs come as planned."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


def run_until_done(run: Path, make: Callable[[int], tuple[ToyGan, dict[str, Any]]]) -> tuple[ToyGan, int]:
    """Start a run again and again until it is not killed; ``make(n)`` gives the task of the n-th start."""
    for start in range(100):
        task, options = make(start)
        try:
            trainer(run, task, **{**OPTIONS, **options}).fit()
        except Killed:
            continue
        return task, start
    raise AssertionError("killed for ever")


def killed_at(task: ToyGan, step: int, moment: str) -> ToyGan:
    """``task``, whose process ends in its ``step``-th batch: before it, between its updates or after it."""
    train_step, count = task.train_step, 0

    def wrapped(batch: Pair) -> Iterator[Update]:
        nonlocal count
        count += 1
        if count == step and moment == "before":
            raise Killed
        for update in train_step(batch):
            yield update
            if count == step and moment == "between":
                raise Killed
        if count == step and moment == "after":
            raise Killed

    task.train_step = wrapped  # type: ignore[method-assign]
    return task


@pytest.mark.parametrize("moment", ["before", "between", "after"])
@pytest.mark.parametrize("every_batch", [False, True], ids=["checkpoints of epochs", "of every batch"])
def test_killed_in_any_batch(
    tmp_path: Path,
    uninterrupted: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    every_batch: bool,
) -> None:
    if every_batch:
        monkeypatch.setattr(loop_module, "time", Clock())
    # Without checkpoints inside epochs a start has to come through four batches to get anywhere.
    steps = [1, 3, 2, 1, 2] if every_batch else [1, 4, 6, 3]

    def make(start: int) -> tuple[ToyGan, dict[str, Any]]:
        task = killed_at(ToyGan(), steps[start], moment) if start < len(steps) else ToyGan()
        return task, {"checkpoint_minutes": 0.001 if every_batch else 0}

    task, starts = run_until_done(tmp_path, make)
    assert starts == len(steps)
    assert_same(uninterrupted, final_state(tmp_path, task))


def test_killed_while_validating_and_while_publishing(
    tmp_path: Path, uninterrupted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from darkside_cli.training import run_state

    copy = run_state.shutil.copyfile

    def no_copy(*arguments: Any) -> None:
        raise Killed

    def make(start: int) -> tuple[ToyGan, dict[str, Any]]:
        monkeypatch.setattr(run_state.shutil, "copyfile", no_copy if start in (0, 2) else copy)
        task = ToyGan()
        if start == 1:
            monkeypatch.setattr(task, "validate", lambda epoch, folder: no_copy())
        return task, {}

    task, starts = run_until_done(tmp_path, make)
    assert starts >= 2
    assert_same(uninterrupted, final_state(tmp_path, task))


def test_events_go_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole: list[Event] = []
    trainer(tmp_path / "a", events=whole, **OPTIONS).fit()
    parts: list[Event] = []
    for epochs in range(1, 4):
        trainer(tmp_path / "b", events=parts, **{**OPTIONS, "epochs": epochs}).fit()

    def told(events: list[Event]) -> list[Any]:
        found: list[Any] = [(e.epoch, e.losses, e.rates) for e in events if isinstance(e, EpochDone)]
        return found + [(e.epoch, e.scores, e.best) for e in events if isinstance(e, EvalDone)]

    assert told(whole) == told(parts)


def test_gradients_that_wait_for_a_step_are_kept(tmp_path: Path) -> None:
    """A task that steps every second batch, stopped in between."""

    class Accumulating(ToyGan):
        def __init__(self, stop: int) -> None:
            super().__init__()
            self.count, self.stop = 0, stop

        def extra_state(self) -> dict[str, Any]:
            return {"count": self.count, **super().extra_state()}

        def load_extra_state(self, state: Any) -> None:
            self.count = state["count"]
            super().load_extra_state(state)

        def train_step(self, batch: Pair) -> Iterator[Update]:
            self.count += 1
            for update in super().train_step(batch):
                yield Update(update.loss, update.optimizers if self.count % 2 == 0 else (), update.logs)
            if self.count == self.stop:
                os.kill(os.getpid(), signal.SIGTERM)

    final = []
    for run, stops in (("a", [0]), ("b", [1, 4, 7, 0])):
        for stop in stops:
            task = Accumulating(stop)
            result = trainer(tmp_path / run, task, Pairs(3), **OPTIONS).fit()
            assert result.interrupted == (stop > 0)
        final.append(final_state(tmp_path / run, task))
    assert_same(*final)


# Real processes, really killed


def start(run: Path, *options: str) -> Process[str]:
    return Process(
        [sys.executable, str(ROOT / "tests" / "support" / "toy_training.py"), str(run), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: Process[str], kind: str, count: int) -> None:
    """Read what the process tells until the ``count``-th event of ``kind``."""
    assert process.stdout is not None
    for line in process.stdout:
        count -= line.startswith(f"{kind} ")
        if not count:
            return
    raise AssertionError(f"ended without: {process.stderr.read() if process.stderr else ''}")


def finish(run: Path, *options: str) -> dict[str, Tensor]:
    """Train to the end, in this process, on one thread as the others do: more of them round differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert train(parse([str(run), *options]), Ranks()) == 0
    finally:
        torch.set_num_threads(threads)
    result: dict[str, Tensor] = torch.load(run / "final_0.pt", weights_only=True)
    return {**result, **load_file(run / "generator.safetensors")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return finish(tmp_path_factory.mktemp("whole") / "run", "--epochs", "6")


def test_a_process_killed_twice(tmp_path: Path, whole: dict[str, Tensor]) -> None:
    options = ("--epochs", "6", "--stay-after", "6", "--minutes", "0.00001")
    for kind, count in (("CheckpointSaved", 3), ("StepDone", 5)):
        with start(tmp_path / "run", *options) as process:
            wait_for(process, kind, count)
            process.kill()
        assert process.returncode == -signal.SIGKILL
    assert_same(whole, finish(tmp_path / "run", "--epochs", "6"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_process_killed_at_random_moments(tmp_path: Path, whole: dict[str, Tensor], seed: int) -> None:
    draws = random.Random(seed)
    kills = 0
    while kills < 8:
        # A checkpoint after nearly every batch: many of the kills hit the writing of one. It gets no further than
        # three batches beyond the moment of the kill.
        batches = draws.randrange(1, 6)
        options = ("--epochs", "6", "--minutes", "0.00001", "--stay-after", str(batches + 3))
        with start(tmp_path / "run", *options) as process:
            with suppress(AssertionError):  # it may have come to its end
                wait_for(process, "StepDone", batches)
            process.kill()
        assert process.returncode in (0, -signal.SIGKILL)
        kills += 1
        if process.returncode == 0:
            break
    assert kills > 2
    assert_same(whole, finish(tmp_path / "run", "--epochs", "6"))
    assert not list(tmp_path.glob("run/checkpoints/.darkside*"))


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_process_that_is_asked_to_stop(
    tmp_path: Path, whole: dict[str, Tensor], number: signal.Signals
) -> None:
    with start(tmp_path / "run", "--epochs", "6", "--stay-after", "9") as process:
        wait_for(process, "StepDone", 6)
        process.send_signal(number)
        output, errors = process.communicate(timeout=240)
    assert process.returncode == 130, errors
    assert "complete=False, reason='interrupted'" in output.splitlines()[-1]
    assert any("_step_" in path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert_same(whole, finish(tmp_path / "run", "--epochs", "6"))
