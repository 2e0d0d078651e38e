from __future__ import annotations

import json
import math
import os
import random
import resource
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from torch import Tensor, nn
from toy_training import CPU, Pair, Pairs, ToyGan, trainer, weights

from darkside_cli.errors import CheckpointError, DarksideError, UsageError
from darkside_cli.events import (
    CheckpointSaved,
    EpochDone,
    EvalDone,
    Event,
    Notice,
    StepDone,
    TrainingFinished,
    TrainingStarted,
)
from darkside_cli.training import trainer as trainer_module
from darkside_cli.training.checkpoint import CheckpointNotSavedError, save_plain
from darkside_cli.training.loop import device_use
from darkside_cli.training.loss_log import NonFiniteError, NonFiniteLossError
from darkside_cli.training.session import OtherConfigurationError, config_differences
from darkside_cli.training.task import Task, Update, linear_decay
from darkside_cli.training.trainer import LOCK, Trainer, TrainerConfig, TrainingMemoryError


class Line(Task[Tensor]):
    """One weight w, loss w * x: the gradient is the mean of the batch, whatever w is."""

    outputs = ("line",)

    def __init__(self, decisive: bool = False, scores: list[float] | None = None) -> None:
        self.line = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.line.weight)
        self.networks = {"line": self.line}
        self.optimizers = {"line": torch.optim.SGD(self.line.parameters(), lr=1.0)}
        self.schedulers = {"line": torch.optim.lr_scheduler.StepLR(self.optimizers["line"], 1, gamma=0.1)}
        self.decisive = ("score", "max") if decisive else None
        self.scores = scores or []
        self.modes: list[bool] = []

    def train_step(self, batch: Tensor) -> Iterator[Update]:
        self.modes.append(self.line.training)
        loss = self.line(batch).mean()
        yield Update(loss, ("line",), {"line": loss})

    def validate(self, epoch: int, folder: Path) -> dict[str, float]:
        assert not self.line.training
        assert not torch.is_grad_enabled()
        return {"score": self.scores[epoch - 1], "weight": self.line.weight.item()} if self.scores else {}


class Rows:
    """Batches (1, 1) of these numbers, by epoch."""

    def __init__(self, *epochs: list[float]) -> None:
        self.rows = epochs

    def batches(self, epoch: int) -> int:
        return len(self.rows[epoch])

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Tensor]:
        for value in self.rows[epoch][start:]:
            yield torch.tensor([[value]])


def line_trainer(
    run: Path, task: Task[Tensor], data: Any, events: list[Event] | None = None, **options: Any
) -> Trainer[Tensor]:
    emit = events.append if events is not None else (lambda event: None)
    options.setdefault("log_every_s", 0)
    return Trainer(task, data, TrainerConfig(**options), run=run, device=CPU, emit=emit, batch_size=1)


def of_kind(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_two_epochs_by_hand(tmp_path: Path) -> None:
    task, events = Line(), []
    result = line_trainer(
        tmp_path / "run", task, Rows([1.0, 2.0], [5.0]), events, epochs=2, validate_every=0
    ).fit()
    # The rate is 1 in the first epoch, 0.1 in the second: w = 0 - 1 - 2 - 0.1 * 5.
    assert task.line.weight.item() == pytest.approx(-3.5)
    assert (result.complete, result.epoch, result.step, result.reason) == (True, 2, 0, "")
    assert task.modes == [True] * 3
    started, *_, finished = events
    assert started == TrainingStarted(tmp_path / "run", 2, 0, 0, 2, 1, "cpu")
    assert (finished.complete, finished.epoch) == (True, 2)
    steps = of_kind(events, StepDone)
    # w is 0, -1 and -3 when the losses are computed.
    assert [(e.epoch, e.step, e.steps, e.losses["line"]) for e in steps] == [
        (1, 1, 2, 0.0),
        (1, 2, 2, -2.0),
        (2, 1, 1, -15.0),
    ]
    assert [e.rates["line"] for e in steps] == pytest.approx([1.0, 1.0, 0.1])
    assert all(e.memory_bytes is None and e.utilisation is None and e.images_per_s > 0 for e in steps)
    epochs = of_kind(events, EpochDone)
    assert [(e.epoch, e.epochs, e.losses, e.rates) for e in epochs] == [
        (1, 2, {"line": -1.0}, {"line": 1.0}),
        (2, 2, {"line": -15.0}, {"line": pytest.approx(0.1)}),
    ]
    assert [(e.path.name, e.epoch, e.step) for e in of_kind(events, CheckpointSaved)] == [
        ("epoch_0002", 2, 1)
    ]
    with safe_open(result.outputs["line"], "pt") as file:
        assert file.get_tensor("weight").item() == pytest.approx(-3.5)
    assert result.outputs == {"line": tmp_path / "run" / "line.safetensors"}


def test_logs_are_means_since_the_last_one(tmp_path: Path) -> None:
    events: list[Event] = []
    line_trainer(
        tmp_path, Line(), Rows([1.0, 1.0, 1.0]), events, epochs=1, log_every_s=3600, validate_every=0
    ).fit()
    assert [(e.step, e.losses["line"]) for e in of_kind(events, StepDone)] == [(3, -1.0)]


class TestBest:
    def run(self, tmp_path: Path, scores: list[float], **options: Any) -> tuple[Any, list[Event], Line]:
        task, events = Line(decisive=True, scores=scores), []
        data = Rows(*[[1.0]] * len(scores))
        options = {"validate_every": 1, "checkpoint_every": 3, "keep": 1, "store_every": 0, **options}
        result = line_trainer(tmp_path, task, data, events, epochs=len(scores), **options).fit()
        return result, events, task

    def test_the_output_is_the_best_and_its_checkpoint_is_kept(self, tmp_path: Path) -> None:
        result, events, task = self.run(tmp_path, [0.1, 0.9, 0.4, math.nan, 0.9])
        assert (result.best_epoch, result.best_score) == (2, 0.9)
        assert result.scores["score"] == 0.9
        assert [e.best for e in of_kind(events, EvalDone)] == [True, True, False, False, False]
        assert sorted(p.name for p in (tmp_path / "checkpoints").glob("epoch*")) == [
            "epoch_0002",
            "epoch_0005",
        ]
        with safe_open(tmp_path / "line.safetensors", "pt") as file:
            assert file.get_tensor("weight").item() == pytest.approx(-1.1)
        assert task.line.weight.item() == pytest.approx(-1.1111)

    def test_without_a_decisive_score_the_newest_is_the_best(self, tmp_path: Path) -> None:
        line_trainer(tmp_path, Line(), Rows([1.0], [1.0]), epochs=2).fit()
        with safe_open(tmp_path / "line.safetensors", "pt") as file:
            assert file.get_tensor("weight").item() == pytest.approx(-1.1)

    def test_validation_comes_every_few_epochs_and_last(self, tmp_path: Path) -> None:
        _, events, _ = self.run(tmp_path, [0.0] * 5, validate_every=2)
        assert [e.epoch for e in of_kind(events, EvalDone)] == [2, 4, 5]

    def test_a_missing_score_is_a_fault_of_the_task(self, tmp_path: Path) -> None:
        task = Line(scores=[0.0])
        task.decisive = ("quality", "min")
        with pytest.raises(ValueError, match="no 'quality'"):
            line_trainer(tmp_path, task, Rows([1.0]), epochs=1, validate_every=1).fit()


def test_validation_disturbs_nothing_and_tells_of_images(tmp_path: Path) -> None:
    final, events = [], []
    for every in (0, 1):
        task = ToyGan()
        trainer(tmp_path / str(every), task, epochs=3, validate_every=every, events=events).fit()
        final.append(weights(task))
    assert all(torch.equal(value, final[1][key]) for key, value in final[0].items())
    samples = tmp_path / "1" / "samples"
    assert [e.pictures for e in of_kind(events, EvalDone)] == [
        (samples / f"epoch_{epoch:04d}.txt",) for epoch in (1, 2, 3)
    ]


def test_frozen_networks_stay_as_they_are_and_are_saved_once(tmp_path: Path) -> None:
    saved: list[str] = []

    def save(path: Path, name: str, module: nn.Module, metadata: Any) -> None:
        saved.append(name)
        save_plain(path, name, module, metadata)

    task = ToyGan()
    before = {key: value.clone() for key, value in task.teacher.state_dict().items()}
    trainer(tmp_path, task, epochs=4, checkpoint_every=1, save_network=save).fit()
    assert saved.count("teacher") == 1
    assert saved.count("generator") == saved.count("discriminator") > 3
    assert all(torch.equal(before[key], value) for key, value in task.teacher.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in task.teacher.parameters())
    assert (tmp_path / "checkpoints" / "frozen" / "teacher.safetensors").is_file()
    assert not list(tmp_path.glob("checkpoints/epoch*/teacher*"))
    # They come back from there when the run goes on.
    other = ToyGan()
    with torch.no_grad():
        other.teacher.weight.zero_()
    trainer(tmp_path, other, epochs=5).fit()
    assert torch.equal(other.teacher.weight, before["weight"])


class TestMovingAverage:
    def test_outputs_and_validation_are_averaged(self, tmp_path: Path) -> None:
        task = Line(decisive=True, scores=[0.5])
        result = line_trainer(
            tmp_path, task, Rows([1.0, 1.0]), epochs=1, ema_decay=0.999, validate_every=1
        ).fit()
        first = 2 / 11 * 0 + 9 / 11 * -1
        expected = 3 / 12 * first + 9 / 12 * -2
        assert task.line.weight.item() == -2.0
        assert result.scores["weight"] == pytest.approx(expected)
        with safe_open(tmp_path / "line.safetensors", "pt") as file:
            assert file.get_tensor("weight").item() == pytest.approx(expected)
            assert json.loads(file.metadata()["metadata"])["averaged"] is True
        with safe_open(tmp_path / "checkpoints" / "epoch_0001" / "line.safetensors", "pt") as file:
            assert file.get_tensor("weight").item() == -2.0


class TestNonFinite:
    def test_a_loss_stops_the_run_and_the_last_good_checkpoint_stays(self, tmp_path: Path) -> None:
        task, events = Line(), []
        data = Rows([1.0], [1.0, math.nan, 1.0])
        with pytest.raises(NonFiniteLossError, match="'line' became nan in epoch 2, step 2") as caught:
            line_trainer(tmp_path, task, data, events, epochs=2, checkpoint_every=1, validate_every=0).fit()
        assert str(tmp_path / "checkpoints" / "epoch_0001") in (caught.value.hint or "")
        assert "trainer.clip_norm" in (caught.value.hint or "")
        assert [p.name for p in tmp_path.glob("checkpoints/epoch*")] == ["epoch_0001"]
        finished = events[-1]
        assert isinstance(finished, TrainingFinished)
        assert not finished.complete
        assert "became nan" in finished.reason

    @pytest.mark.parametrize("together", [1, 64])
    def test_no_checkpoint_is_made_of_weights_that_a_late_loss_would_tell_of(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
    ) -> None:
        """As on a GPU, where losses arrive after the checkpoint is due."""
        log = trainer_module.LossLog
        monkeypatch.setattr(trainer_module, "LossLog", lambda device: log(device, together=together))
        with pytest.raises(NonFiniteLossError, match="epoch 1, step 2"):
            line_trainer(
                tmp_path,
                Line(),
                Rows([1.0, math.nan, 1.0]),
                epochs=1,
                checkpoint_minutes=1e-9,
                log_every_s=3600,
            ).fit()
        assert {p.name for p in tmp_path.glob("checkpoints/epoch*")} <= {"epoch_0001_step_000001"}

    def test_weights_that_no_loss_tells_of(self, tmp_path: Path) -> None:
        class Quiet(Line):
            def train_step(self, batch: Tensor) -> Iterator[Update]:
                yield from super().train_step(batch)
                with torch.no_grad():
                    self.line.weight.fill_(math.inf)

        with pytest.raises(NonFiniteError, match=r"no longer finite after epoch 1: weight of line"):
            line_trainer(tmp_path, Quiet(), Rows([1.0]), epochs=1).fit()
        assert not list(tmp_path.glob("checkpoints/epoch*"))
        assert not list(tmp_path.glob("*.safetensors"))


def test_out_of_memory_says_what_to_lower(tmp_path: Path) -> None:
    class Large(Line):
        def train_step(self, batch: Tensor) -> Iterator[Update]:
            yield from super().train_step(batch)
            if batch.item() == 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    events: list[Event] = []
    with pytest.raises(TrainingMemoryError, match="out of memory on cpu") as caught:
        line_trainer(tmp_path, Large(), Rows([1.0], [2.0]), events, epochs=2, checkpoint_every=1).fit()
    hint = caught.value.hint or ""
    assert "batch size" in hint
    assert "bf16" in hint
    assert "epoch_0001" in hint
    assert caught.value.__traceback__ is not None
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert caught.value.__cause__.__traceback__ is None  # it would keep the failed pass's tensors alive
    assert not events[-1].complete  # type: ignore[attr-defined]
    assert [p.name for p in tmp_path.glob("checkpoints/epoch*")] == ["epoch_0001"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Line()

    def save(path: Path, name: str, module: nn.Module, metadata: Any) -> None:
        save_plain(path, name, module, metadata)
        if module.weight.item() < -1:
            raise OSError(28, "No space left on device")

    options: dict[str, Any] = {"epochs": 2, "checkpoint_every": 1, "log_every_s": 0}
    make = {"run": tmp_path, "device": CPU}
    with pytest.raises(CheckpointNotSavedError, match="No space left") as caught:
        Trainer(task, Rows([1.0], [5.0]), TrainerConfig(**options), save_network=save, **make).fit()  # type: ignore[arg-type]
    assert "epoch_0001 is kept" in (caught.value.hint or "")
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["epoch_0001"]
    again = Line()
    Trainer(again, Rows([1.0], [5.0]), TrainerConfig(**options), **make).fit()  # type: ignore[arg-type]
    assert again.line.weight.item() == pytest.approx(-1.5)


@pytest.mark.parametrize(("longest_file", "which"), [(300, "teacher"), (1000, "epoch"), (2500, "epoch")])
def test_files_that_the_system_refuses(tmp_path: Path, longest_file: int, which: str) -> None:
    """Whichever writer it hits, each with its own kind of error: safetensors for networks, torch for the rest."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest_file, before[1]))
    try:
        with pytest.raises(CheckpointNotSavedError, match=f"cannot save .*{which}") as caught:
            trainer(tmp_path, epochs=2).fit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.glob("checkpoints/epoch*"))
    assert not list(tmp_path.glob("checkpoints/.darkside*"))
    assert trainer(tmp_path, epochs=2).fit().complete


class TestData:
    def test_too_few_batches(self, tmp_path: Path) -> None:
        data = Rows([1.0, 2.0])
        data.batches = lambda epoch: 3  # type: ignore[method-assign]
        with pytest.raises(UsageError, match="ended after 2 of 3 batches"):
            line_trainer(tmp_path, Line(), data, epochs=1).fit()

    def test_more_are_left_alone_and_the_iterator_is_closed(self, tmp_path: Path) -> None:
        closed = []

        class Long(Rows):
            def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Tensor]:
                try:
                    yield from super().epoch(epoch, start=start)
                finally:
                    closed.append(epoch)

        data = Long([1.0, 2.0, 3.0])
        data.batches = lambda epoch: 2  # type: ignore[method-assign]
        task = Line()
        line_trainer(tmp_path, task, data, epochs=1).fit()
        assert task.line.weight.item() == -3.0
        assert closed == [0]

    def test_none(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="nothing to train on"):
            line_trainer(tmp_path, Line(), Rows([]), epochs=1).fit()


class TestFolder:
    def test_two_runs_do_not_share_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trainer_module, "_LOCK_S", 0.1)
        with FileLock(tmp_path / LOCK), pytest.raises(UsageError, match="another run is training"):
            line_trainer(tmp_path, Line(), Rows([1.0]), epochs=1).fit()
        line_trainer(tmp_path, Line(), Rows([1.0]), epochs=1).fit()

    def test_what_was_killed_leaves_no_litter(self, tmp_path: Path) -> None:
        litter = tmp_path / "checkpoints" / ".darkside-1-abc"
        litter.mkdir(parents=True)
        (litter / "state.pt").write_text("x")
        line_trainer(tmp_path, Line(), Rows([1.0]), epochs=1).fit()
        assert not litter.exists()

    def test_starting_over_keeps_what_was_there(self, tmp_path: Path) -> None:
        line_trainer(tmp_path, Line(), Rows([1.0]), epochs=1).fit()
        events: list[Event] = []
        task = Line()
        line_trainer(tmp_path, task, Rows([5.0]), events, epochs=1).fit(resume=False)
        assert task.line.weight.item() == -5.0
        assert (tmp_path / "checkpoints-before-1" / "epoch_0001").is_dir()
        assert "checkpoints-before-1" in of_kind(events, Notice)[0].message

    def test_a_complete_run_is_complete(self, tmp_path: Path) -> None:
        line_trainer(tmp_path, Line(), Rows([1.0]), epochs=1).fit()
        (tmp_path / "line.safetensors").unlink()
        task, events = Line(), []
        result = line_trainer(tmp_path, task, Rows([1.0]), events, epochs=1).fit()
        assert result.complete
        assert [type(event) for event in events] == [TrainingStarted, TrainingFinished]
        assert task.line.weight.item() == -1.0
        assert (tmp_path / "line.safetensors").is_file()  # put back


class TestConfiguration:
    def start(self, tmp_path: Path) -> None:
        trainer(tmp_path, epochs=1, resolved={"trainer": {"epochs": 1, "seed": 0}, "lr": 0.1}).fit()

    def test_what_matters_must_be_the_same(self, tmp_path: Path) -> None:
        self.start(tmp_path)
        changed = {"trainer": {"epochs": 2, "seed": 1}, "lr": 0.2, "data": {"crop": 256}}
        with pytest.raises(OtherConfigurationError) as caught:
            trainer(tmp_path, epochs=2, resolved=changed).fit()
        assert set(caught.value.keys) == {"trainer.seed", "lr", "data.crop"}
        assert "lr was 0.1 and is 0.2" in caught.value.message
        assert "--no-resume" in (caught.value.hint or "")

    def test_what_does_not_may_change(self, tmp_path: Path) -> None:
        self.start(tmp_path)
        changed = {"trainer": {"epochs": 2, "seed": 0, "keep": 5}, "lr": 0.1, "samples": {"count": 3}}
        assert trainer(tmp_path, epochs=2, resolved=changed, changeable=["samples"]).fit().complete

    def test_more_epochs_than_were_planned(self, tmp_path: Path) -> None:
        final = []
        for run, epochs in (("a", (3,)), ("b", (1, 2, 3))):
            for each in epochs:
                task = ToyGan()
                trainer(tmp_path / run, task, epochs=each).fit()
            final.append(weights(task))
        assert all(torch.equal(value, final[1][key]) for key, value in final[0].items())

    def test_more_epochs_go_on_by_the_longer_schedule(self, tmp_path: Path) -> None:
        """The stored rate is that after the last epoch planned: 0 under a linear decay."""
        final = []
        for run, epochs in (("a", (3,)), ("b", (1, 3))):
            for each in epochs:
                task = ToyGan()
                task.schedulers = {
                    name: linear_decay(optimizer, epochs=each, decay_epochs=0)
                    for name, optimizer in task.optimizers.items()
                }
                trainer(tmp_path / run, task, epochs=each).fit()
            final.append(weights(task))
        assert all(torch.equal(value, final[1][key]) for key, value in final[0].items())

    def test_the_number_of_processes_must_stay(self, tmp_path: Path) -> None:
        self.start(tmp_path)
        path = tmp_path / "checkpoints" / "epoch_0001" / "meta.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "processes": 2}))
        with pytest.raises(OtherConfigurationError, match="processes was 2 and is 1"):
            trainer(tmp_path, epochs=2, resolved={"trainer": {"seed": 0}, "lr": 0.1}).fit()

    def test_differences(self) -> None:
        old = {"a": 1, "b": {"c": [1, 2], "d": None}}
        assert config_differences(old, {"a": 1, "b": {"c": [1, 2]}}, ()) == {}
        assert config_differences(old, {"b": {"c": [1, 3]}}, ()) == {"a": (1, None), "b.c": ([1, 2], [1, 3])}
        assert config_differences(old, {"b": {"c": 0}, "bb": 1}, ("a", "b")) == {"bb": (None, 1)}


def test_tuples_and_paths_in_the_configuration_are_the_same_afterwards(tmp_path: Path) -> None:
    resolved = {"betas": (0.5, 0.999), "list": Path("day.txt")}
    for epochs in (1, 2):
        assert trainer(tmp_path, epochs=epochs, resolved=resolved).fit().complete


class TestSurroundings:
    def test_generators_modes_and_handlers_are_as_before(self, tmp_path: Path) -> None:
        task = ToyGan()
        task.generator.eval()
        handler = signal.getsignal(signal.SIGINT)
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        trainer(tmp_path, task, epochs=1).fit()
        drawn = (random.random(), np.random.rand(), torch.rand(1).item())
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        assert drawn == (random.random(), np.random.rand(), torch.rand(1).item())
        assert not task.generator.training
        assert task.discriminator.training
        assert signal.getsignal(signal.SIGINT) is handler

    def test_runs_are_the_same_whatever_was_drawn_before(self, tmp_path: Path) -> None:
        final = []
        for run in ("a", "b"):
            torch.rand(3), random.random(), np.random.rand()
            task = ToyGan()
            trainer(tmp_path / run, task, epochs=2).fit()
            final.append(weights(task))
        assert all(torch.equal(value, final[1][key]) for key, value in final[0].items())

    def test_another_seed_is_another_run(self, tmp_path: Path) -> None:
        final = []
        for seed in (0, 1):
            task = ToyGan()
            trainer(tmp_path / str(seed), task, epochs=1, seed=seed).fit()
            final.append(weights(task))
        assert not torch.equal(final[0]["generator.0.weight"], final[1]["generator.0.weight"])

    def test_in_another_thread(self, tmp_path: Path) -> None:
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(trainer(tmp_path, epochs=1).fit()))
        thread.start()
        thread.join()
        assert results[0].complete


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_the_batch_is_finished_and_saved(self, tmp_path: Path, number: int) -> None:
        class Signalled(Line):
            def train_step(self, batch: Tensor) -> Iterator[Update]:
                if batch.item() == 2 and not stopped:
                    stopped.append(True)
                    os.kill(os.getpid(), number)
                yield from super().train_step(batch)

        stopped: list[bool] = []
        events: list[Event] = []
        data = Rows([1.0], [1.0, 2.0, 4.0])
        result = line_trainer(tmp_path, Signalled(), data, events, epochs=2).fit()
        assert (result.complete, result.interrupted, result.epoch, result.step) == (False, True, 1, 2)
        assert [p.name for p in tmp_path.glob("checkpoints/epoch*")] == ["epoch_0002_step_000002"]
        assert isinstance(events[-1], TrainingFinished)
        assert (events[-1].complete, events[-1].reason, events[-1].epoch) == (False, "interrupted", 1)
        with safe_open(result.outputs["line"], "pt") as file:  # usable at once
            assert file.get_tensor("weight").item() == pytest.approx(-1.3)
        task = Signalled()
        events.clear()
        assert line_trainer(tmp_path, task, data, events, epochs=2).fit().complete
        assert task.line.weight.item() == pytest.approx(-1.7)
        assert (events[0].epoch, events[0].step) == (1, 2)  # type: ignore[attr-defined]
        assert of_kind(events, EpochDone)[0].losses == {"line": pytest.approx((-1 - 2 * 1.1 - 4 * 1.3) / 3)}

    def test_during_validation_the_epoch_is_saved(self, tmp_path: Path) -> None:
        class Signalled(Line):
            def validate(self, epoch: int, folder: Path) -> dict[str, float]:
                os.kill(os.getpid(), signal.SIGINT)
                return {}

        result = line_trainer(
            tmp_path, Signalled(), Rows(*[[1.0]] * 3), epochs=3, checkpoint_every=100, validate_every=2
        ).fit()
        assert (result.interrupted, result.epoch, result.step) == (True, 2, 0)
        assert [p.name for p in tmp_path.glob("checkpoints/epoch*")] == ["epoch_0002"]

    def test_after_the_last_batch_the_epoch_still_has_its_end(self, tmp_path: Path) -> None:
        class Signalled(Line):
            def train_step(self, batch: Tensor) -> Iterator[Update]:
                yield from super().train_step(batch)
                if not stopped:
                    stopped.append(True)
                    os.kill(os.getpid(), signal.SIGINT)

        stopped: list[bool] = []
        events: list[Event] = []
        data = Rows([1.0], [1.0])
        assert line_trainer(tmp_path, Signalled(), data, epochs=2).fit().step == 1
        task = Signalled()
        assert line_trainer(tmp_path, task, data, events, epochs=2).fit().complete
        assert task.line.weight.item() == pytest.approx(-1.1)  # the rate was lowered in between
        assert [e.losses["line"] for e in of_kind(events, EpochDone)] == [0.0, -1.0]

    def test_before_anything_was_done_nothing_is_saved(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trainer_module, "launcher_watch", lambda: lambda: True)
        result = line_trainer(tmp_path, Line(), Rows([1.0]), epochs=1).fit()
        assert result.interrupted
        assert not (tmp_path / "checkpoints").exists()

    def test_the_second_signal_ends_at_once(self, tmp_path: Path) -> None:
        class Signalled(Line):
            def train_step(self, batch: Tensor) -> Iterator[Update]:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
                pytest.fail("went on")
                yield

        with pytest.raises(KeyboardInterrupt):
            line_trainer(tmp_path, Signalled(), Rows([1.0]), epochs=1).fit()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class TestDamage:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        trainer(tmp_path, epochs=4, checkpoint_every=1, keep=3).fit()
        return tmp_path

    def test_the_one_before_is_taken_with_a_warning(self, run: Path) -> None:
        expected = ToyGan()
        trainer(run, expected, epochs=5, checkpoint_every=1, keep=3).fit()
        shutil.rmtree(run / "checkpoints" / "epoch_0005")
        state = run / "checkpoints" / "epoch_0004" / "state.pt"
        state.write_bytes(state.read_bytes()[:100])
        events: list[Event] = []
        task = ToyGan()
        trainer(run, task, epochs=5, checkpoint_every=1, keep=3, events=events).fit()
        notice = of_kind(events, Notice)[0]
        assert notice.level == "warning"
        assert "epoch_0004 is damaged: state.pt" in notice.message
        assert (events[1].epoch, events[1].step) == (3, 0)  # type: ignore[attr-defined]
        assert (run / "checkpoints" / "epoch_0004.damaged").is_dir()
        assert all(torch.equal(value, weights(task)[key]) for key, value in weights(expected).items())

    def test_none_is_sound(self, run: Path) -> None:
        for path in run.glob("checkpoints/epoch*/generator.safetensors"):
            path.write_bytes(b"")
        with pytest.raises(CheckpointError, match=r"no checkpoint of .* can be read") as caught:
            trainer(run, epochs=5).fit()
        assert "--no-resume" in (caught.value.hint or "")

    def test_a_newer_version_is_refused_and_left_alone(self, run: Path) -> None:
        path = run / "checkpoints" / "epoch_0004" / "meta.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
        with pytest.raises(CheckpointError, match="format version 2"):
            trainer(run, epochs=5).fit()
        assert path.exists()

    def test_another_task(self, run: Path) -> None:
        with pytest.raises(DarksideError, match="does not fit"):
            trainer(run, ToyGan(norm=False), epochs=5).fit()


def test_what_a_checkpoint_says(tmp_path: Path) -> None:
    resolved = {"method": "toy", "trainer": {"seed": 3}}
    trainer(tmp_path, epochs=2, seed=3, resolved=resolved, validate_every=1, ema_decay=0.5).fit()
    folder = tmp_path / "checkpoints" / "epoch_0002"
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["epoch"], meta["step"], meta["seed"], meta["processes"]) == (2, 0, 3, 1)
    assert meta["config"] == resolved
    assert meta["versions"]["torch"] == torch.__version__
    assert meta["scores"]["distance"] > 0
    assert set(meta["losses"]) == {"discriminator", "adversarial", "edges"}
    assert meta["best"]["epoch"] in (1, 2)
    assert meta["clock"]["seconds"] > 0
    with safe_open(tmp_path / "generator.safetensors", "pt") as file:
        metadata = json.loads(file.metadata()["metadata"])
    assert (metadata["method"], metadata["network"], metadata["seed"]) == ("toy", "generator", 3)
    state = torch.load(folder / "state.pt", weights_only=True)
    assert set(state) == {"optimizers", "schedulers", "scaler", "average", "progress", "processes"}


def test_batches_may_be_of_many_kinds(tmp_path: Path) -> None:
    class Dicts(Line):
        def train_step(self, batch: Any) -> Iterator[Update]:
            assert isinstance(batch["pair"][1], Pair)
            return super().train_step(batch["pair"][0])

    class Data(Rows):
        def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Any]:
            for each in super().epoch(epoch, start=start):
                yield {"pair": (each, Pair(each, each)), "names": ["a"]}

    assert line_trainer(tmp_path, Dicts(), Data([1.0]), epochs=1).fit().complete


def test_what_a_gpu_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_use(CPU) == (None, None)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 << 30)
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 93)
    assert device_use(torch.device("cuda", 1)) == (5 << 30, 0.93)

    def unknown(device: torch.device) -> int:
        raise ModuleNotFoundError("pynvml does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", unknown)
    assert device_use(torch.device("cuda", 1)) == (5 << 30, None)


def test_half_precision_on_the_cpu(tmp_path: Path) -> None:
    task = ToyGan()
    assert trainer(tmp_path, task, Pairs(2), epochs=1, precision="bf16").fit().complete
    assert all(value.dtype != torch.bfloat16 for value in weights(task).values())


def test_speed_counts_what_is_in_the_batches_and_not_what_comes_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute of mining, then a batch a second: of two tuples of seven images, the last one of one."""
    now = 0.0

    class Tuples(Line):
        item = "tuple"

        def counted(self, batch: Tensor) -> tuple[int, int]:
            return int(batch), 7 * int(batch)

        def train_step(self, batch: Tensor) -> Iterator[Update]:
            nonlocal now
            now += 1.0
            yield from super().train_step(batch)

    class Mined(Rows):
        def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Tensor]:
            nonlocal now
            now += 60.0
            yield from super().epoch(epoch, start=start)

    monkeypatch.setattr("darkside_cli.training.loop.time.monotonic", lambda: now)
    events: list[Event] = []
    line_trainer(
        tmp_path / "run", Tuples(), Mined([2.0, 2.0, 1.0], [2.0]), events, epochs=2, validate_every=0
    ).fit()
    steps = of_kind(events, StepDone)
    assert [(e.items_per_s, e.images_per_s, e.item) for e in steps] == [
        (2.0, 14.0, "tuple"),
        (2.0, 14.0, "tuple"),
        (1.0, 7.0, "tuple"),
        (2.0, 14.0, "tuple"),
    ]
