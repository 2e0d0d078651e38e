"""All that a run needs to go on bit for bit: gathered from the processes, written, found again, given back."""

from __future__ import annotations

import filecmp
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch.optim.lr_scheduler import LambdaLR

from darkside_cli.atomic import temporary_beside
from darkside_cli.errors import CheckpointError
from darkside_cli.events import CheckpointSaved, Notice
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
from darkside_cli.training.feed import on_cpu
from darkside_cli.training.global_state import random_state
from darkside_cli.training.loss_log import LossLog, check_weights
from darkside_cli.training.moving_average import MovingAverage
from darkside_cli.training.session import Progress, Session
from darkside_cli.training.updates import pending_gradients, put_gradients

Batch = TypeVar("Batch")
FROZEN = "frozen"
_AVERAGED = ".averaged"


class RunState(Generic[Batch]):
    """Saves and restores a task in training. All processes call :meth:`save` and :meth:`restore` together.

    ``average`` is kept by the first process alone.
    """

    def __init__(
        self,
        session: Session[Batch],
        scaler: torch.amp.GradScaler,
        losses: LossLog,
        average: MovingAverage | None,
    ) -> None:
        self._session, self._task, self._ranks = session, session.task, session.ranks
        self._scaler, self.losses, self.average = scaler, losses, average
        self.folder = CheckpointFolder(session.run / "checkpoints")
        self.saved: Position | None = None
        """Position of the newest checkpoint."""
        self._published: Path | None = None

    # Saving

    def save(self, progress: Progress, batches: int) -> None:
        """Write a checkpoint, remove those the rule does not keep, and put the outputs into the run's folder.

        ``batches`` were done of the epoch that is named. Losses must have arrived. Raises NonFiniteError if a weight
        is not finite, CheckpointNotSavedError.
        """
        started = time.monotonic()
        position = progress.position
        own = {
            "random": random_state(self._session.device),
            "extra": self._task.extra_state(),
            "gradients": pending_gradients(self._task.optimizers),
            "losses": {name: list(each) for name, each in self.losses.sums().items()},
        }
        parts = self._ranks.gather(on_cpu(own))
        if parts is None:
            self.saved = position
            return
        running = position.epoch + 1 if position.step else position.epoch
        after = f"step {position.step} of epoch {running}" if position.step else f"epoch {running}"
        check_weights(self._session.trained(), after)
        meta = self._session.meta(progress, self.losses.sums())
        path = self.folder.write(position, meta, lambda folder: self._fill(folder, progress, parts))
        self.saved = position
        config = self._session.config
        self.folder.prune(keep=config.keep, store_every=config.store_every, best_epoch=progress.best_epoch)
        self.publish(progress)
        self._session.emit(CheckpointSaved(path, running, batches, time.monotonic() - started))

    def _fill(self, folder: Path, progress: Progress, parts: list[Any]) -> None:
        facts = self._session.facts(progress)

        def put(name: str, kind: str = "", **more: Any) -> None:
            metadata = {**facts, **self._task.metadata(name), **more}
            path = folder / f"{name}{kind}{WEIGHTS}"
            self._session.save_network(path, name, self._task.networks[name], metadata)

        for name in self._session.trained():
            put(name)
        if self.average is not None:
            with self.average.applied():
                for name in self._task.outputs:
                    put(name, _AVERAGED, averaged=True)
        state = {
            "optimizers": {name: each.state_dict() for name, each in self._task.optimizers.items()},
            "schedulers": {name: each.state_dict() for name, each in self._task.schedulers.items()},
            "scaler": self._scaler.state_dict(),
            "average": {"updates": self.average.updates} if self.average is not None else None,
            "progress": {
                "best_epoch": progress.best_epoch,
                "best_score": progress.best_score,
                "scores": dict(progress.scores),
            },
        }
        save_state(folder / STATE, {**on_cpu(state), "processes": parts})

    def publish(self, progress: Progress) -> dict[str, Path]:
        """Put the outputs of the best checkpoint (the newest if none is decided on) into the run's folder.

        Returns where they are. They are copied only if they differ.
        """
        targets = {name: self._session.run / f"{name}{WEIGHTS}" for name in self._task.outputs}
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

    def restore(self, *, resume: bool) -> tuple[Progress, Mapping[str, Any]]:
        """Bring everything to the newest sound checkpoint, or leave it at its start if there is none.

        Returns where the run goes on and, inside an epoch, what this process had there: "random" and "losses".
        Without ``resume`` former checkpoints are put aside. Raises OtherConfigurationError,
        and CheckpointError if there are checkpoints and none is sound.
        """
        found: tuple[dict[str, Any], list[Any]] | None = None
        if self._ranks.is_first:
            self.folder.tidy()
            if resume:
                found = self._find()
            elif (moved := self.folder.start_over()) is not None:
                self._session.emit(Notice(f"starting over; the checkpoints there were are in {moved}"))
            self._keep_frozen()
        shared = self._ranks.broadcast(found[0] if found else None)
        if shared is None:
            return Progress(), {}
        part = self._ranks.scatter(found[1] if found else None)
        self.saved = Position(*shared["position"])
        self._put(shared, part, self.folder.path(self.saved))
        progress = Progress(self.saved, **shared["progress"])
        if self._ranks.is_first:
            self.publish(progress)
        return progress, part if self.saved.step else {}

    def _find(self) -> tuple[dict[str, Any], list[Any]] | None:
        """State of the newest sound checkpoint, for all and for each, its networks loaded into the task's."""
        damaged: CheckpointError | None = None
        for position in self.folder.positions():
            try:
                meta = self.folder.meta(position)
                self._session.check_same(meta)
                state = self.folder.state(position)
                paths = {
                    name: self.folder.path(position) / f"{name}{WEIGHTS}" for name in self._session.trained()
                }
                weights = {name: load_weights(path) for name, path in paths.items()}
            except OtherVersionError:
                raise
            except CheckpointError as error:
                damaged = damaged or error
                moved = self.folder.set_aside(position)
                text = f"{error.message}; it is now {moved.name}, trying the one before"
                self._session.emit(Notice(text, "warning"))
                continue
            for name, tensors in weights.items():
                put_weights(self._task.networks[name], tensors, paths[name])
            self._restore_average(position, state)
            if "clock" in meta:  # earlier versions had it in the state
                state["progress"]["seconds"] = meta["clock"]["seconds"]
            parts = state.pop("processes")
            return {**state, "position": (position.epoch, position.step)}, parts
        if damaged is not None:
            raise CheckpointError(
                f"no checkpoint of {self._session.run} can be read: {damaged.message}",
                hint="start over with --no-resume",
            )
        return None

    def _restore_average(self, position: Position, state: Mapping[str, Any]) -> None:
        if self.average is None:
            return
        self.average.reset()
        if state["average"] is not None:  # else it begins here
            for name in self._task.outputs:
                path = self.folder.path(position) / f"{name}{_AVERAGED}{WEIGHTS}"
                try:
                    self.average.load(name, load_weights(path))
                except ValueError as error:
                    raise CheckpointError(f"{path}: {error}", hint="start over with --no-resume") from error
            self.average.updates = state["average"]["updates"]

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
                    self._session.save_network(temporary, name, module, self._task.metadata(name))


def _rates_of_now(scheduler: LambdaLR) -> None:
    """Rates by the schedule as it is now: with more epochs than were planned, the stored ones may be of its end, 0."""
    factors = [factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
    scheduler._last_lr = [base * each for base, each in zip(scheduler.base_lrs, factors, strict=True)]
    for group, rate in zip(scheduler.optimizer.param_groups, scheduler._last_lr, strict=True):
        group["lr"] = rate
