"""A run's curve in lines of JSON: what is written comes back, nothing is there twice, torn lines do no harm."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkside_cli.events import (
    CheckpointSaved,
    EpochDone,
    EvalDone,
    Event,
    ImageReady,
    ItemFailed,
    Notice,
    StepDone,
    TrainingFinished,
    TrainingStarted,
)
from darkside_cli.report import scalars as module
from darkside_cli.report import tensorboard
from darkside_cli.report.scalars import JsonlScalars, cut_scalars, read_scalars
from darkside_cli.report.tensorboard import scalar_sinks


def start(run: Path, epoch: int = 0, step: int = 0) -> TrainingStarted:
    return TrainingStarted(run, 3, epoch, step, 4, 2, "cpu")


def step(epoch: int, number: int, loss: float = 0.5) -> StepDone:
    return StepDone(epoch, number, 4, {"edge": loss}, {"g": 2e-4}, 3.5)


def record(path: Path, *events: Event) -> None:
    with JsonlScalars(path) as sink:
        for event in events:
            sink.emit(event)


def test_a_line_is_what_its_event_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "time", lambda: 1234.56789)
    monkeypatch.setattr(module, "machine_facts", lambda device: {"device": device})
    path = tmp_path / "scalars.jsonl"
    with JsonlScalars(path, facts={"command": "train-gan"}) as sink:
        sink.emit(start(tmp_path))
        sink.emit(StepDone(1, 2, 4, {"edge": 0.25}, {"g": 2e-4}, 3.5, 1000, 0.5))
        sink.emit(EvalDone(1, {"a/b": 0.5}, 1.5, (tmp_path / "samples" / "epoch_0001.jpg",), True))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [
        {
            "event": "start", "run": ".", "epochs": 3, "epoch": 0, "step": 0, "steps": 4,
            "batch_size": 2, "device": "cpu", "facts": {"device": "cpu", "command": "train-gan"},
            "clock": {"time": 1234.568},
        },
        {
            "event": "step", "epoch": 1, "step": 2, "steps": 4, "losses": {"edge": 0.25},
            "rates": {"g": 2e-4}, "item": "", "clock": {
                "time": 1234.568, "images_per_s": 3.5, "memory_bytes": 1000, "utilisation": 0.5, "items_per_s": None,
            },
        },
        {
            "event": "eval", "epoch": 1, "scores": {"a/b": 0.5}, "pictures": ["samples/epoch_0001.jpg"], "best": True,
            "clock": {"time": 1234.568, "seconds": 1.5},
        },
    ]  # fmt: skip


def test_lines_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """They had the times beside the rest."""
    path = tmp_path / "scalars.jsonl"
    line = {
        "event": "epoch",
        "time": 7.0,
        "epoch": 1,
        "epochs": 2,
        "losses": {"a": 1.0},
        "rates": {},
        "seconds": 3.0,
    }
    path.write_text(json.dumps(line) + "\n")
    (record,) = read_scalars(path).records
    assert (record.time, record.event) == (7.0, EpochDone(1, 2, {"a": 1.0}, {}, 3.0))


NAMES = st.text(max_size=8)
NUMBERS = st.floats() | st.integers(-(10**9), 10**9).map(float)
TABLES = st.dictionaries(NAMES, NUMBERS, max_size=3)
COUNTS = st.integers(1, 10**6)
EVENTS = st.one_of(
    st.builds(StepDone, COUNTS, COUNTS, COUNTS, TABLES, TABLES, NUMBERS, st.none() | COUNTS, st.none() | st.just(0.5)),
    st.builds(EpochDone, COUNTS, COUNTS, TABLES, TABLES, NUMBERS),
    st.builds(EvalDone, COUNTS, TABLES, NUMBERS, st.just((Path("/elsewhere/ä\udcff.jpg"),)), st.booleans()),
    st.builds(CheckpointSaved, st.just(Path("/elsewhere/x")), COUNTS, COUNTS, NUMBERS),
    st.builds(Notice, NAMES, st.just("warning")),
    st.builds(TrainingFinished, st.just(Path("/elsewhere")), COUNTS, NUMBERS, st.booleans(), NAMES),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EVENTS, max_size=6, unique_by=lambda event: (type(event), getattr(event, "epoch", None))))
def test_what_is_written_comes_back(tmp_path: Path, events: list[Event]) -> None:
    path = tmp_path / "scalars.jsonl"
    record(path, start(tmp_path), *events)
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = read_scalars(path)
    assert back.damaged == 0
    assert repr([each.event for each in back.records]) == repr([start(tmp_path), *events])  # NaN is not NaN


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    record(path, start(tmp_path), step(1, 1, math.nan), step(1, 2, math.inf), step(1, 3, -math.inf))
    values = [each.losses["edge"] for each in read_scalars(path).of(StepDone)]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


def test_a_folder_may_be_moved(tmp_path: Path) -> None:
    run = tmp_path / "läuft <1>"
    record(
        run / "scalars.jsonl",
        start(run),
        EvalDone(1, {}, 1.0, (run / "samples" / "a.jpg", tmp_path / "b.jpg")),
        CheckpointSaved(run / "checkpoints" / "epoch_0001", 1, 0, 0.1),
    )
    moved = run.rename(tmp_path / "moved")
    found = read_scalars(moved / "scalars.jsonl")
    assert found.of(TrainingStarted)[0].run == moved
    assert found.of(EvalDone)[0].pictures == (moved / "samples" / "a.jpg", tmp_path / "b.jpg")
    assert found.of(CheckpointSaved)[0].path == moved / "checkpoints" / "epoch_0001"


def test_a_run_that_goes_on_cuts_what_it_does_again(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    record(
        path,
        start(tmp_path),
        step(1, 2),
        step(1, 4),
        EpochDone(1, 3, {}, {}, 1.0),
        EvalDone(1, {"a": 1.0}, 1.0),
        Notice("broken picture", "warning"),
        step(2, 2),
        CheckpointSaved(tmp_path / "c", 2, 2, 0.1),
        step(2, 3),
        step(2, 4),
        EpochDone(2, 3, {}, {}, 1.0),
        EvalDone(2, {"a": 2.0}, 1.0),
        TrainingFinished(tmp_path, 2, 9.0, False, "interrupted"),
    )
    record(path, start(tmp_path, 1, 2), step(2, 4, 0.1), EpochDone(2, 3, {}, {}, 2.0))
    found = read_scalars(path)
    assert [(each.epoch, each.step, each.losses["edge"]) for each in found.of(StepDone)] == [
        (1, 2, 0.5),
        (1, 4, 0.5),
        (2, 2, 0.5),
        (2, 4, 0.1),
    ]
    assert [(each.epoch, each.seconds) for each in found.of(EpochDone)] == [(1, 1.0), (2, 2.0)]
    assert [each.epoch for each in found.of(EvalDone)] == [1]
    assert found.of(Notice) == [Notice("broken picture", "warning")]
    assert len(found.of(CheckpointSaved)) == len(found.of(TrainingFinished)) == 1
    assert len(found.of(TrainingStarted)) == 2


def test_at_the_end_of_an_epoch_nothing_of_it_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    kept = [step(1, 4), EpochDone(1, 3, {}, {}, 1.0), EvalDone(1, {}, 1.0)]
    record(path, start(tmp_path), *kept, step(2, 1))
    cut_scalars(path, 1, 0)
    assert [each.event for each in read_scalars(path).records] == [start(tmp_path), *kept]
    inode = path.stat().st_ino
    cut_scalars(path, 1, 0)
    assert path.stat().st_ino == inode  # nothing to take out: the file is left alone


def test_a_run_from_the_beginning_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    record(path, start(tmp_path), step(1, 1), Notice("old", "warning"))
    record(path, start(tmp_path), step(1, 2))
    assert [each.event for each in read_scalars(path).records] == [start(tmp_path), step(1, 2)]


@pytest.mark.parametrize(
    "torn", [b'{"event": "step", "ti', b'{"event": "step"}', b"\x00\xff", b"[1]", b"{", b'"']
)
def test_a_torn_last_line_does_no_harm(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "scalars.jsonl"
    record(path, start(tmp_path), step(1, 1))
    with path.open("ab") as file:
        file.write(torn)
    found = read_scalars(path)
    assert found.of(StepDone) == [step(1, 1)]
    assert found.damaged == 1
    record(path, start(tmp_path, 0, 1), step(1, 2))
    found = read_scalars(path)
    assert found.of(StepDone) == [step(1, 1), step(1, 2)]
    assert found.damaged == 0


def test_a_whole_line_without_its_end_is_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    record(path, start(tmp_path), step(1, 1))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    record(path, start(tmp_path, 0, 1), step(1, 2))
    assert read_scalars(path).of(StepDone) == [step(1, 2)]
    assert read_scalars(path).damaged == 0


def test_what_is_not_known_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    record(path, start(tmp_path), step(1, 1))
    with path.open("a") as file:
        file.write('{"event": "comet", "time": 1}\n\n')
        line = json.loads(path.read_text().splitlines()[1])
        file.write(json.dumps({**line, "step": 2, "colour": "red"}) + "\n")
    found = read_scalars(path)
    assert found.of(StepDone) == [step(1, 1), step(1, 2)]
    assert found.damaged == 0


def test_the_later_of_two_records_of_a_point_holds(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    record(
        path,
        start(tmp_path),
        EvalDone(1, {"a": 1.0}, 1.0),
        EvalDone(1, {"b": 1.0}, 1.0),
        EvalDone(1, {"a": 2.0}, 1.0),
        step(1, 1, 0.1),
        step(1, 1, 0.2),
    )
    found = read_scalars(path)
    assert [each.scores for each in found.of(EvalDone)] == [{"b": 1.0}, {"a": 2.0}]
    assert [each.losses for each in found.of(StepDone)] == [{"edge": 0.2}]


def test_what_comes_before_the_start_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    record(path, Notice("early", "warning"), Notice("chatter"), ItemFailed(Path("x.jpg"), "is cut short"))
    assert not path.exists()
    record(path, Notice("early", "warning"), start(tmp_path), ImageReady(Path("a"), Path("b"), (1, 1), 0.1))
    assert [each.event for each in read_scalars(path).records] == [
        start(tmp_path),
        Notice("early", "warning"),
    ]


def test_failed_items_are_warnings(tmp_path: Path) -> None:
    record(tmp_path / "s.jsonl", start(tmp_path), ItemFailed(Path("x.jpg"), "is cut short"))
    assert read_scalars(tmp_path / "s.jsonl").of(Notice) == [Notice("x.jpg: is cut short", "warning")]


def test_no_file_is_an_empty_run(tmp_path: Path) -> None:
    assert read_scalars(tmp_path / "none.jsonl").records == ()


def test_of_very_many_batches_some_are_read(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    steps = [StepDone(1, n, 1000, {"a": math.nan if n == 7 else 1.0}, {}, 1.0) for n in range(1, 101)]
    record(path, start(tmp_path), *steps, EpochDone(1, 3, {}, {}, 1.0))
    found = read_scalars(path, most_steps=10)
    assert [each.step for each in found.of(StepDone)] == [7, *range(10, 101, 10)]
    assert len(found.of(EpochDone)) == len(found.of(TrainingStarted)) == 1
    assert len(read_scalars(path, most_steps=100).of(StepDone)) == 100


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    with JsonlScalars(path) as sink:
        sink.emit(start(tmp_path))
        threads = [
            threading.Thread(target=lambda e=e: [sink.emit(step(e, n)) for n in range(50)]) for e in (1, 2, 3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = read_scalars(path)
    assert found.damaged == 0
    assert len(found.of(StepDone)) == 150


def test_a_killed_process_leaves_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from darkside_cli.events import *; from darkside_cli.report.scalars import JsonlScalars\n"
        "sink = JsonlScalars(sys.argv[1])\n"
        "sink.emit(TrainingStarted(Path(sys.argv[1]).parent, 3, 0, 0, 4, 2, 'cpu'))\n"
        "sink.emit(StepDone(1, 1, 4, {'edge': 0.5}, {'g': 2e-4}, 3.5))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    assert read_scalars(path).of(StepDone) == [step(1, 1)]


def test_sinks_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "tensorboard_installed", lambda: False)
    with scalar_sinks(tmp_path, facts={"command": "x"}) as emit:
        emit(start(tmp_path))
        emit(step(1, 1))
    found = read_scalars(tmp_path / "scalars.jsonl")
    assert found.of(StepDone) == [step(1, 1)]
    facts = found.records[0].facts
    assert facts["command"] == "x"
    assert facts["device"] == "cpu"
    assert {"darkside", "Python", "torch", "system", "processor"} <= facts.keys()
    assert os.uname().nodename not in " ".join(facts.values()).split()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["scalars.jsonl"]
