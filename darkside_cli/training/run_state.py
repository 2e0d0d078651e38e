"""All that a run needs to go on bit for bit: gathered from the processes, written, found again, given back."""

from __future__ import annotations

import filecmp
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from darkside_cli.atomic import temporary_beside
from darkside_cli.errors import CheckpointError
from darkside_cli.events import CheckpointSaved, Emit, Notice
from darkside_cli.training.checkpoint import (
    STATE,
    WEIGHTS,
    CheckpointFolder,
    OtherVersionError,
    Position,
    load_weights,
    put_weights,
    save_state,
)
from darkside_cli.training.distributed import Ranks
from darkside_cli.training.feed import on_cpu
from darkside_cli.training.global_state import random_state
from darkside_cli.training.loss_log import LossLog, check_weights
from darkside_cli.training.moving_average import MovingAverage
from darkside_cli.training.run_facts import Progress, RunFacts
from darkside_cli.training.task import Task
from darkside_cli.training.updates import pending_gradients, put_gradients

Batch = TypeVar("Batch")
FROZEN = "frozen"
_AVERAGED = ".averaged"


class SaveNetwork(Protocol):
    """Writes network ``name`` of a task to ``path``: a safetensors file with all of the module's state as it is."""

    def __call__(self, path: Path, name: str, module: nn.Module, metadata: Mapping[str, Any], /) -> object:
        """Write it. ``metadata`` is JSON-able; ``path`` need not be written atomically."""


@dataclass(frozen=True)
class Restored:
    """Where a run goes on; ``random`` and ``losses`` are those of inside an epoch, else None and empty."""

    progress: Progress
    random: Mapping[str, Any] | None = None
    losses: Mapping[str, Any] = field(default_factory=dict)


class RunState(Generic[Batch]):
    """Saves and restores a task in training. All processes call :meth:`save` and :meth:`restore` together.

    ``average`` is kept by the first process alone.
    """

    def __init__(
        self,
        task: Task[Batch],
        facts: RunFacts,
        *,
        ranks: Ranks,
        device: torch.device,
        scaler: torch.amp.GradScaler,
        losses: LossLog,
        average: MovingAverage | None,
        save_network: SaveNetwork,
        keep: int,
        store_every: int,
        emit: Emit,
    ) -> None:
        self._task, self._facts, self._ranks, self._device = task, facts, ranks, device
        self._scaler, self._losses, self._average = scaler, losses, average
        self._save_network, self._emit = save_network, emit
        self._keep, self._store_every = keep, store_every
        self.folder = CheckpointFolder(facts.run / "checkpoints")
        self.saved: Position | None = None
        """Position of the newest checkpoint."""
        self._published: Path | None = None

    def _trained(self) -> dict[str, nn.Module]:
        return {name: each for name, each in self._task.networks.items() if name not in self._task.frozen}

    # Saving

    def save(self, progress: Progress, batches: int) -> None:
        """Write a checkpoint, remove those the rule does not keep, and put the outputs into the run's folder.

        ``batches`` were done of the epoch that is named. Losses must have arrived. Raises NonFiniteError if a weight
        is not finite, CheckpointNotSavedError.
        """
        started = time.monotonic()
        position = progress.position
        own = {
            "random": random_state(self._device),
            "extra": self._task.extra_state(),
            "gradients": pending_gradients(self._task.optimizers),
            "losses": {name: list(each) for name, each in self._losses.sums().items()},
        }
        parts = self._ranks.gather(on_cpu(own))
        if parts is None:
            self.saved = position
            return
        inside = f"step {position.step} of epoch {position.epoch + 1}"
        check_weights(self._trained(), inside if position.step else f"epoch {position.epoch}")
        meta = self._facts.meta(progress, self._losses.sums())
        path = self.folder.write(position, meta, lambda folder: self._fill(folder, progress, parts))
        self.saved = position
        self.folder.prune(keep=self._keep, store_every=self._store_every, best_epoch=progress.best_epoch)
        self.publish(progress)
        epoch = position.epoch + 1 if position.step else position.epoch
        self._emit(CheckpointSaved(path, epoch, batches, time.monotonic() - started))

    def _fill(self, folder: Path, progress: Progress, parts: list[Any]) -> None:
        for name, module in self._trained().items():
            self._save_network(folder / f"{name}{WEIGHTS}", name, module, self._metadata(name, progress))
        if self._average is not None:
            with self._average.applied():
                for name in self._task.outputs:
                    path = folder / f"{name}{_AVERAGED}{WEIGHTS}"
                    metadata = {**self._metadata(name, progress), "averaged": True}
                    self._save_network(path, name, self._task.networks[name], metadata)
        state = {
            "optimizers": {name: each.state_dict() for name, each in self._task.optimizers.items()},
            "schedulers": {name: each.state_dict() for name, each in self._task.schedulers.items()},
            "scaler": self._scaler.state_dict(),
            "average": {"updates": self._average.updates} if self._average is not None else None,
            "progress": {
                "best_epoch": progress.best_epoch,
                "best_score": progress.best_score,
                "scores": dict(progress.scores),
            },
        }
        save_state(folder / STATE, {**on_cpu(state), "processes": parts})

    def _metadata(self, name: str, progress: Progress) -> dict[str, Any]:
        return {**self._facts.of_network(progress), **self._task.metadata(name)}

    def publish(self, progress: Progress) -> dict[str, Path]:
        """Put the outputs of the best checkpoint (the newest if none is decided on) into the run's folder.

        Returns where they are. They are copied only if they differ.
        """
        targets = {name: self._facts.run / f"{name}{WEIGHTS}" for name in self._task.outputs}
        position = self.saved
        if self._task.decisive is not None and progress.best_epoch is not None:
            position = Position(progress.best_epoch)
        if position is None or not (source := self.folder.path(position)).is_dir():
            return {name: path for name, path in targets.items() if path.exists()}
        if source != self._published:
            for name, target in targets.items():
                file = source / f"{name}{_AVERAGED}{WEIGHTS}"
                file = file if file.exists() else source / f"{name}{WEIGHTS}"
                if not (target.exists() and filecmp.cmp(file, target, shallow=False)):
                    with self.folder.told(target), temporary_beside(target, sync=True) as temporary:
                        shutil.copyfile(file, temporary)
            self._published = source
        return targets

    # Restoring

    def restore(self, *, resume: bool) -> Restored:
        """Bring everything to the newest sound checkpoint, or leave it at its start if there is none.

        Without ``resume`` former checkpoints are put aside. Raises OtherConfigurationError,
        and CheckpointError if there are checkpoints and none is sound.
        """
        found: tuple[dict[str, Any], list[Any]] | None = None
        if self._ranks.is_first:
            self.folder.tidy()
            if resume:
                found = self._find()
            elif (moved := self.folder.start_over()) is not None:
                self._emit(Notice(f"starting over; the checkpoints there were are in {moved}"))
            self._keep_frozen()
        shared = self._ranks.broadcast(found[0] if found else None)
        if shared is None:
            return Restored(Progress())
        part = self._ranks.scatter(found[1] if found else None)
        position = Position(*shared["position"])
        self._put(shared, part, self.folder.path(position))
        self.saved = position
        progress = Progress(position, **shared["progress"])
        if self._ranks.is_first:
            self.publish(progress)
        return Restored(progress, part["random"], part["losses"]) if position.step else Restored(progress)

    def _find(self) -> tuple[dict[str, Any], list[Any]] | None:
        """State of the newest sound checkpoint, for all and for each, its networks loaded into the task's."""
        damaged: CheckpointError | None = None
        for position in self.folder.positions():
            try:
                meta = self.folder.meta(position)
                self._facts.check_same(meta)
                state = self.folder.state(position)
                weights = self._read_weights(position)
            except OtherVersionError:
                raise
            except CheckpointError as error:
                damaged = damaged or error
                moved = self.folder.set_aside(position)
                self._emit(
                    Notice(f"{error.message}; it is now {moved.name}, trying the one before", "warning")
                )
                continue
            for name, (path, tensors) in weights.items():
                put_weights(self._task.networks[name], tensors, path)
            self._restore_average(position, state)
            if "clock" in meta:  # earlier versions had it in the state
                state["progress"]["seconds"] = meta["clock"]["seconds"]
            parts = state.pop("processes")
            return {**state, "position": (position.epoch, position.step)}, parts
        if damaged is not None:
            raise CheckpointError(
                f"no checkpoint of {self._facts.run} can be read: {damaged.message}",
                hint="start over with --no-resume",
            )
        return None

    def _read_weights(self, position: Position) -> dict[str, tuple[Path, dict[str, torch.Tensor]]]:
        paths = {name: self.folder.path(position) / f"{name}{WEIGHTS}" for name in self._trained()}
        return {name: (path, load_weights(path)) for name, path in paths.items()}

    def _restore_average(self, position: Position, state: Mapping[str, Any]) -> None:
        if self._average is None:
            return
        self._average.reset()
        if state["average"] is not None:  # else it begins here
            for name in self._task.outputs:
                path = self.folder.path(position) / f"{name}{_AVERAGED}{WEIGHTS}"
                try:
                    self._average.load(name, load_weights(path))
                except ValueError as error:
                    raise CheckpointError(f"{path}: {error}", hint="start over with --no-resume") from error
            self._average.updates = state["average"]["updates"]

    def _put(self, shared: Mapping[str, Any], part: Mapping[str, Any], path: Path) -> None:
        task = self._task
        try:
            for name, optimizer in task.optimizers.items():
                optimizer.load_state_dict(shared["optimizers"][name])
            for name, scheduler in task.schedulers.items():
                scheduler.load_state_dict(shared["schedulers"][name])
                if isinstance(scheduler, LambdaLR):
                    _rates_of_now(scheduler)
            put_gradients(task.optimizers, part["gradients"])
            task.load_extra_state(part["extra"])
        except (KeyError, ValueError, IndexError) as error:
            raise CheckpointError(
                f"{path} does not fit this run: {error}", hint="start over with --no-resume"
            ) from error
        if shared["scaler"]:
            self._scaler.load_state_dict(shared["scaler"])

    def _keep_frozen(self) -> None:
        """Frozen networks are written once, and are what was written from then on, wherever they came from."""
        for name in sorted(self._task.frozen):
            path = self.folder.folder / FROZEN / f"{name}{WEIGHTS}"
            module = self._task.networks[name]
            if path.exists():
                put_weights(module, load_weights(path), path)
            else:
                with self.folder.told(path), temporary_beside(path, sync=True) as temporary:
                    self._save_network(temporary, name, module, self._task.metadata(name))


def _rates_of_now(scheduler: LambdaLR) -> None:
    """Rates by the schedule as it is now: with more epochs than were planned, the stored ones may be of its end, 0."""
    rates = [
        base * factor(scheduler.last_epoch)
        for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
    ]
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    scheduler._last_lr = rates
