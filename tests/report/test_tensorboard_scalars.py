"""The curve for TensorBoard: tags, steps and forgetting, held against a stand-in and against TensorBoard itself."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from darkside_cli.errors import MissingAssetError
from darkside_cli.events import EpochDone, EvalDone, Notice, StepDone, TrainingFinished, TrainingStarted
from darkside_cli.report import scalars, tensorboard
from darkside_cli.report.tensorboard import TensorBoardScalars


class Writer:
    """Records what it is told."""

    made: list[Writer]

    def __init__(self, folder: str, purge_step: int | None = None) -> None:
        self.folder, self.purge_step, self.closed = folder, purge_step, False
        self.scalars: list[tuple[str, float, int]] = []
        self.images: list[tuple[str, tuple[int, ...], int, str]] = []
        Writer.made.append(self)

    def add_scalar(self, tag: str, value: float, at: int) -> None:
        self.scalars.append((tag, value, at))

    def add_image(self, tag: str, pixels: Any, at: int, dataformats: str) -> None:
        self.images.append((tag, pixels.shape, at, dataformats))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    Writer.made = []
    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    monkeypatch.setattr(tensorboard, "tensorboard_installed", lambda: True)
    return Writer.made


def start(run: Path, epoch: int = 0, step: int = 0) -> TrainingStarted:
    return TrainingStarted(run, 3, epoch, step, 4, 2, "cpu")


def test_tags_and_steps(tmp_path: Path, writers: list[Writer], make_image: Callable[..., Path]) -> None:
    sample = make_image(tmp_path / "epoch_0002.jpg", 40, 32)
    with TensorBoardScalars(tmp_path / "tb") as sink:
        sink.emit(Notice("not yet"))
        sink.emit(StepDone(1, 1, 4, {"a": 1.0}, {}, 1.0))  # nothing has started
        sink.emit(start(tmp_path))
        sink.emit(StepDone(2, 3, 4, {"edge": 0.5}, {"g": 2e-4}, 3.5, 1000, 0.25))
        sink.emit(EpochDone(2, 3, {"edge": 0.4}, {"g": 1e-4}, 9.0))
        sink.emit(EvalDone(2, {"agreement": 0.7}, 1.0, (sample, tmp_path / "none.jpg")))
        sink.emit(EvalDone(3, {}, 1.0, (sample,)))
        sink.emit(TrainingFinished(tmp_path, 2, 1.0, True))
    (writer,) = writers
    assert writer.folder == str(tmp_path / "tb")
    assert writer.purge_step == 0
    assert writer.closed
    assert writer.scalars == [
        ("loss/edge", 0.5, 7),
        ("rate/g", 2e-4, 7),
        ("speed/images_per_s", 3.5, 7),
        ("device/memory_bytes", 1000.0, 7),
        ("device/utilisation", 0.25, 7),
        ("epoch/edge", 0.4, 8),
        ("score/agreement", 0.7, 8),
    ]
    assert writer.images == [("epoch_0002", (32, 40, 3), 8, "HWC"), ("samples", (32, 40, 3), 12, "HWC")]


def test_a_run_that_goes_on_has_later_steps_forgotten(tmp_path: Path, writers: list[Writer]) -> None:
    with TensorBoardScalars(tmp_path) as sink:
        sink.emit(start(tmp_path, 1, 2))
    assert writers[0].purge_step == 7  # 4 + 2 batches are done, the seventh is next


def test_it_is_said_when_it_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(MissingAssetError, match=r"pip install 'darkside-cli\[tensorboard\]'"):
        TensorBoardScalars(tmp_path)


def test_where_it_is_installed_runs_write_for_it_too(
    tmp_path: Path, writers: list[Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "tensorboard_installed", lambda: True)
    with tensorboard.scalar_sinks(tmp_path) as emit:
        emit(start(tmp_path))
        emit(StepDone(1, 1, 4, {"edge": 0.5}, {}, 3.5))
    assert writers[0].folder == str(tmp_path / "tensorboard")
    assert ("loss/edge", 0.5, 1) in writers[0].scalars
    assert len(scalars.read_scalars(tmp_path / "scalars.jsonl").of(StepDone)) == 1


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_tensorboard_reads_it(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for done, steps in ((0, (1, 2, 3, 4)), (2, (3, 4))):  # killed after four batches, goes on after two
        with TensorBoardScalars(tmp_path) as sink:
            sink.emit(start(tmp_path, 0, done))
            for step in steps:
                sink.emit(StepDone(1, step, 4, {"edge": done + step / 4}, {}, 3.5))
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    points = [(each.step, each.value) for each in board.Scalars("loss/edge")]
    assert points == [(1, 0.25), (2, 0.5), (3, 2.75), (4, 3.0)]
