"""The loop over epochs and batches: what happens when, in a run that :mod:`darkside_cli.training.trainer` made."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch

from darkside_cli.errors import UsageError
from darkside_cli.events import EpochDone, EvalDone, StepDone, TrainingStarted
from darkside_cli.training.checkpoint import Position
from darkside_cli.training.feed import on_device
from darkside_cli.training.global_state import modes_kept, random_state_kept, seed_all, set_random_state
from darkside_cli.training.loss_log import joined_means
from darkside_cli.training.run_state import RunState
from darkside_cli.training.session import Progress, Session
from darkside_cli.training.updates import Stepper

Batch = TypeVar("Batch")

#: What processes tell each other in every batch.
STOP, SAVE = 1, 2
#: Processes draw different numbers; the first one's are those of a process alone.
_SEEDS_APART = 1_000_003


class Loop(Generic[Batch]):
    """Goes through the epochs of ``session``. ``wants_to_stop`` is asked between batches."""

    def __init__(
        self,
        session: Session[Batch],
        stepper: Stepper[Batch],
        state: RunState[Batch],
        wants_to_stop: Callable[[], bool],
    ) -> None:
        self._session, self._stepper, self._state, self._wants_to_stop = (
            session,
            stepper,
            state,
            wants_to_stop,
        )
        self._task, self._data, self._config = session.task, session.data, session.config
        self._ranks, self._losses, self._emit = session.ranks, state.losses, session.emit
        self.progress = Progress()
        self._inside: Mapping[str, Any] = {}
        self._seconds_before = 0.0
        self._started = self._saved_at = self._reported_at = time.monotonic()
        self._unreported = 0
        self._items = self._images = 0.0

    def run(self, progress: Progress, inside: Mapping[str, Any]) -> str:
        """Train on from where :meth:`RunState.restore` says.

        Returns why it ended before the last epoch, or nothing.
        """
        self.progress, self._inside = progress, inside
        self._seconds_before = progress.seconds
        self._started = self._saved_at = self._reported_at = time.monotonic()
        epoch, step, epochs = progress.position.epoch, progress.position.step, self._config.epochs
        steps = self._data.batches(epoch) if epoch < epochs else 0
        session = self._session
        self._emit(
            TrainingStarted(session.run, epochs, epoch, step, steps, session.batch_size, str(session.device))
        )
        while self.progress.position.epoch < epochs:
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
        inside, self._inside = self._inside, {}
        started, position = time.monotonic(), self.progress.position
        steps = self._data.batches(position.epoch)
        if steps < 1:
            raise UsageError(
                "there is nothing to train on: the epoch has no batch", hint="give more pictures"
            )
        self._losses.start_epoch(inside.get("losses"))
        for name, module in self._task.networks.items():
            module.train(name not in self._task.frozen)
        if position.step < steps and not self._batches(steps, inside.get("random")):
            return False
        self._end_epoch(steps, started)
        return True

    def _batches(self, steps: int, random: Mapping[str, Any] | None) -> bool:
        epoch, first = self.progress.position.epoch, self.progress.position.step
        step, device = first, self._session.device
        usual = self._session.batch_size / self._ranks.size
        waited_from = time.monotonic()
        batches = cast("Iterator[Batch]", on_device(self._data.epoch(epoch, start=first), device))
        with closing(batches):  # type: ignore[type-var]
            for batch in batches:
                if step == first:
                    # Whatever comes before an epoch's first batch (mining) says nothing of the speed.
                    self._reported_at += time.monotonic() - waited_from
                    # Seeded after the first batch was made, because loaders draw a number from torch when they start.
                    seed_all(self._config.seed + epoch + self._ranks.rank * _SEEDS_APART)
                    if random is not None:
                        set_random_state(random, device)
                items, images = self._task.counted(batch) or (usual, usual)
                logged, flags = self._stepper.train(batch, self._flags)
                del batch
                self._items += items
                self._images += images
                step += 1
                self.progress.position = Position(epoch, step)
                if self._state.average is not None:
                    self._state.average.update()
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
        memory, utilisation = device_use(self._session.device) if self._ranks.is_first else (None, None)
        seconds = max(now - self._reported_at, 1e-9) / self._ranks.size  # the others have done as much
        epoch, step, item = self.progress.position.epoch + 1, self.progress.position.step, self._task.item
        items_per_s = self._items / seconds if item else None
        speed = (self._images / seconds, memory, utilisation, items_per_s, item)
        self._emit(StepDone(epoch, step, steps, losses, self._rates(), *speed))
        self._reported_at, self._unreported = now, 0
        self._items = self._images = 0.0

    def _rates(self) -> dict[str, float]:
        return {name: float(each.param_groups[0]["lr"]) for name, each in self._task.optimizers.items()}

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
        config = self._config
        self._emit(EpochDone(epoch, config.epochs, means, rates, time.monotonic() - started))
        best = self._validate(epoch)
        due = any(every and epoch % every == 0 for every in (config.checkpoint_every, config.store_every))
        if best or due or epoch >= config.epochs:
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
            folder = self._session.run / "samples"
            folder.mkdir(parents=True, exist_ok=True)
            before = _stamps(folder)
            self.progress.scores = scores = self._scores(epoch, folder)
            new = tuple(path for path, stamp in _stamps(folder).items() if before.get(path) != stamp)
            best = self._is_best(scores)
            seconds = time.monotonic() - started
            self._reported_at += seconds
            if scores or new:  # else there was nothing to validate with
                self._emit(EvalDone(epoch, scores, seconds, new, best))
        return bool(self._ranks.broadcast(best))

    def _scores(self, epoch: int, folder: Path) -> dict[str, float]:
        networks, average = self._task.networks.values(), self._state.average
        averaged = average.applied() if average is not None else nullcontext()
        # Validation has images of other sizes: compiling for each of them would take longer than it saves.
        eager = torch.compiler.set_stance("force_eager") if self._config.compile else nullcontext()
        kept = random_state_kept(self._session.device)
        with modes_kept(networks), kept, averaged, eager, torch.no_grad():
            for module in networks:
                module.eval()
            scores = self._task.validate(epoch, folder)
        return {name: float(value) for name, value in scores.items()}

    def _is_best(self, scores: dict[str, float]) -> bool:
        """Whether this epoch is the best of all, by the decisive score; noted in the progress if so."""
        if self._task.decisive is None:
            return False
        name, goal = self._task.decisive
        if name not in scores:
            raise ValueError(f"validation gave no '{name}', by which the best epoch is picked")
        value, best = scores[name], self.progress.best_score
        better = best is None or (value < best if goal == "min" else value > best)
        if not (better and math.isfinite(value)):
            return False
        self.progress.best_epoch, self.progress.best_score = self.progress.position.epoch, value
        return True


def _stamps(folder: Path) -> dict[Path, int]:
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
