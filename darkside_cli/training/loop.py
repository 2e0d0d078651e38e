"""The loop over epochs and batches: what happens when, in a run that :mod:`darkside_cli.training.trainer` made."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, EpochDone, EvalDone, StepDone, TrainingStarted
from darkside_cli.training.checkpoint import Position
from darkside_cli.training.distributed import Ranks
from darkside_cli.training.feed import on_device
from darkside_cli.training.global_state import modes_kept, random_state_kept, seed_all, set_random_state
from darkside_cli.training.loss_log import LossLog, joined_means
from darkside_cli.training.moving_average import MovingAverage
from darkside_cli.training.run_facts import Progress
from darkside_cli.training.run_state import Restored, RunState
from darkside_cli.training.task import EpochData, Task
from darkside_cli.training.trainer_config import TrainerConfig
from darkside_cli.training.updates import Stepper

Batch = TypeVar("Batch")

#: What processes tell each other in every batch.
STOP, SAVE = 1, 2
#: Processes draw different numbers; the first one's are those of a process alone.
_SEEDS_APART = 1_000_003


class Loop(Generic[Batch]):
    """Goes through the epochs of ``config``. ``wants_to_stop`` is asked between batches."""

    def __init__(
        self,
        task: Task[Batch],
        data: EpochData[Batch],
        config: TrainerConfig,
        *,
        run: Path,
        device: torch.device,
        ranks: Ranks,
        stepper: Stepper[Batch],
        losses: LossLog,
        state: RunState[Batch],
        average: MovingAverage | None,
        wants_to_stop: Callable[[], bool],
        batch_size: int,
        emit: Emit,
    ) -> None:
        self._task, self._data, self._config = task, data, config
        self._run, self._device, self._ranks = run, device, ranks
        self._stepper, self._losses, self._state, self._average = stepper, losses, state, average
        self._wants_to_stop, self._batch_size, self._emit = wants_to_stop, batch_size, emit
        self._own_size = batch_size / ranks.size
        self.progress = Progress()
        self._restored: Restored | None = None
        self._seconds_before = 0.0
        self._started = self._saved_at = self._reported_at = time.monotonic()
        self._unreported = 0
        self._items = self._images = 0.0

    def run(self, restored: Restored) -> str:
        """Train from where ``restored`` says; returns why it ended before the last epoch, or nothing."""
        self._restored = restored
        self.progress = restored.progress
        self._seconds_before = restored.progress.seconds
        position = self.progress.position
        self._started = self._saved_at = self._reported_at = time.monotonic()
        self._emit(
            TrainingStarted(
                self._run,
                self._config.epochs,
                position.epoch,
                position.step,
                self._data.batches(position.epoch) if position.epoch < self._config.epochs else 0,
                self._batch_size,
                str(self._device),
            )
        )
        while self.progress.position.epoch < self._config.epochs:
            if any(self._ranks.all_gather(self._wants_to_stop())):
                if self.progress.position not in (self._state.saved, Position()):
                    self._save()
                return "interrupted"
            if not self._epoch():
                return "interrupted"
        return ""

    def session_seconds(self) -> float:
        """Time since this session began."""
        return time.monotonic() - self._started

    def seconds(self) -> float:
        """Time of all sessions of the run."""
        return self._seconds_before + self.session_seconds()

    def _epoch(self) -> bool:
        """Train for the rest of an epoch, and do what comes at its end; False if it was interrupted."""
        restored, self._restored = self._restored, None
        started, position = time.monotonic(), self.progress.position
        steps = self._data.batches(position.epoch)
        if steps < 1:
            raise UsageError(
                "there is nothing to train on: the epoch has no batch", hint="give more pictures"
            )
        self._losses.start_epoch(restored.losses if restored else None)
        for name, module in self._task.networks.items():
            module.train(name not in self._task.frozen)
        if position.step < steps and not self._batches(steps, restored.random if restored else None):
            return False
        self._end_epoch(steps, started)
        return True

    def _batches(self, steps: int, random: Any) -> bool:
        epoch, step = self.progress.position.epoch, self.progress.position.step
        waited_from: float | None = time.monotonic()
        batches = cast("Iterator[Batch]", on_device(self._data.epoch(epoch, start=step), self._device))
        with closing(batches):  # type: ignore[type-var]
            for batch in batches:
                # Whatever comes before an epoch's first batch (mining) says nothing of the speed.
                if waited_from is not None:
                    self._reported_at += time.monotonic() - waited_from
                    waited_from = None
                # Seeded after the first batch was made, because loaders draw a number from torch when they start.
                if step == self.progress.position.step and random is not _USED:
                    self._seed(epoch, random)
                    random = _USED
                items, images = self._task.counted(batch) or (self._own_size, self._own_size)
                logged, flags = self._stepper.train(batch, self._flags)
                del batch
                self._items += items
                self._images += images
                step += 1
                self.progress.position = Position(epoch, step)
                if self._average is not None:
                    self._average.update()
                self._losses.add(epoch + 1, step, logged)
                self._losses.poll()
                self._report(steps)
                if flags & STOP or (flags & SAVE and step < steps):
                    self._save()
                if flags & STOP:
                    return False
                if step == steps:
                    return True
        raise UsageError(
            f"the data of epoch {epoch + 1} ended after {step} of {steps} batches",
            hint="were pictures removed meanwhile?",
        )

    def _seed(self, epoch: int, random: Any) -> None:
        seed_all(self._config.seed + epoch + self._ranks.rank * _SEEDS_APART)
        if random is not None:
            set_random_state(random, self._device)

    def _flags(self) -> int:
        minutes = self._config.checkpoint_minutes
        due = self._ranks.is_first and 0 < minutes * 60 <= time.monotonic() - self._saved_at
        return (STOP if self._wants_to_stop() else 0) | (SAVE if due else 0)

    def _report(self, steps: int, *, force: bool = False) -> None:
        """Tell of the losses that have arrived, from time to time."""
        self._unreported += 0 if force else 1
        now = time.monotonic()
        if not force and now - self._reported_at < self._config.log_every_s:
            return
        self._losses.poll(send=True)
        losses = self._losses.recent()
        if not losses:  # still on their way
            return
        memory, utilisation = device_use(self._device) if self._ranks.is_first else (None, None)
        seconds = max(now - self._reported_at, 1e-9) / self._ranks.size  # the others have done as much
        position = self.progress.position
        self._emit(
            StepDone(
                position.epoch + 1,
                position.step,
                steps,
                losses,
                self._rates(),
                self._images / seconds,
                memory,
                utilisation,
                self._items / seconds if self._task.item else None,
                self._task.item,
            )
        )
        self._reported_at, self._unreported = now, 0
        self._items = self._images = 0.0

    def _rates(self) -> dict[str, float]:
        return {
            name: float(optimizer.param_groups[0]["lr"]) for name, optimizer in self._task.optimizers.items()
        }

    def _end_epoch(self, steps: int, started: float) -> None:
        self._losses.drain()
        if self._unreported:
            self._report(steps, force=True)
        rates = self._rates()
        with warnings.catch_warnings():
            # A run that goes on here, or whose fp16 steps were all skipped, has not called ``optimizer.step``.
            warnings.filterwarnings("ignore", r"Detected call of `lr_scheduler\.step\(\)`", UserWarning)
            for scheduler in self._task.schedulers.values():
                scheduler.step()
        epoch = self.progress.position.epoch + 1
        self.progress.position = Position(epoch)
        means = joined_means(self._ranks.all_gather(self._losses.sums()))
        seconds = time.monotonic() - started
        self._emit(EpochDone(epoch, self._config.epochs, means, rates, seconds))
        best = self._validate(epoch)
        stored, last = self._config.store_every, epoch >= self._config.epochs
        if best or last or epoch % self._config.checkpoint_every == 0 or (stored and epoch % stored == 0):
            self._save(steps)

    def _save(self, steps: int | None = None) -> None:
        started = time.monotonic()
        self._losses.drain()
        self.progress.seconds = self.seconds()
        self._state.save(self.progress, self.progress.position.step if steps is None else steps)
        self._saved_at = time.monotonic()
        self._reported_at += self._saved_at - started

    def _validate(self, epoch: int) -> bool:
        """Validate if it is time to, in the first process; whether this epoch is the best of all (told to all)."""
        every = self._config.validate_every
        if not every or (epoch % every and epoch < self._config.epochs):
            return False
        best = False
        if self._ranks.is_first:
            started = time.monotonic()
            folder = self._run / "samples"
            folder.mkdir(parents=True, exist_ok=True)
            before = _images(folder)
            scores = self._scores(epoch, folder)
            images = tuple(path for path, stamp in _images(folder).items() if before.get(path) != stamp)
            self.progress.scores = scores
            best = self._is_best(scores)
            if best and self._task.decisive is not None:
                self.progress.best_epoch = epoch
                self.progress.best_score = scores[self._task.decisive[0]]
            seconds = time.monotonic() - started
            self._reported_at += seconds
            if scores or images:  # else there was nothing to validate with
                self._emit(EvalDone(epoch, scores, seconds, images, best))
        return bool(self._ranks.broadcast(best))

    def _scores(self, epoch: int, folder: Path) -> dict[str, float]:
        networks = self._task.networks.values()
        averaged = self._average.applied() if self._average is not None else nullcontext()
        # Validation has images of other sizes: compiling for each of them would take longer than it saves.
        eager = torch.compiler.set_stance("force_eager") if self._config.compile else nullcontext()
        with modes_kept(networks), random_state_kept(self._device), averaged, eager, torch.no_grad():
            for module in networks:
                module.eval()
            scores = self._task.validate(epoch, folder)
        return {name: float(value) for name, value in scores.items()}

    def _is_best(self, scores: dict[str, float]) -> bool:
        if self._task.decisive is None:
            return False
        name, goal = self._task.decisive
        if name not in scores:
            raise ValueError(f"validation gave no '{name}', by which the best epoch is picked")
        value, best = scores[name], self.progress.best_score
        if not math.isfinite(value):
            return False
        return best is None or (value < best if goal == "min" else value > best)


_USED = object()


def _images(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(folder.iterdir()) if path.is_file()}


def device_use(device: torch.device) -> tuple[int | None, float | None]:
    """Bytes that torch holds on ``device`` and its utilisation in [0, 1]; None where nothing tells."""
    if device.type != "cuda":
        return None, None
    try:
        utilisation: float | None = torch.cuda.utilization(device) / 100
    except Exception:  # without NVIDIA's management library, or where it may not be asked
        utilisation = None
    return torch.cuda.memory_reserved(device), utilisation
