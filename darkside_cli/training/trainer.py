"""Drives a task through its epochs: on one device or many, in any precision, to be stopped and gone on with.

The parts are elsewhere: what one batch does (``updates``), the order of things (``loop``), what a checkpoint holds
(``session``, ``run_state``) and how it lies on the disk (``checkpoint``), losses (``loss_log``), several processes
(``distributed``). Here they are put together, and errors get their words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout

from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.events import TrainingFinished
from darkside_cli.inference.device import is_out_of_memory, pick_precision
from darkside_cli.networks.layers import synchronised_batch_norm
from darkside_cli.training import global_state
from darkside_cli.training.distributed import device_group, is_lost_process, lost_process
from darkside_cli.training.launch import launcher_watch
from darkside_cli.training.loop import Loop
from darkside_cli.training.loss_log import LossLog, NonFiniteError
from darkside_cli.training.moving_average import MovingAverage
from darkside_cli.training.run_state import RunState
from darkside_cli.training.session import SaveNetwork, Session
from darkside_cli.training.trainer_config import TrainerConfig
from darkside_cli.training.updates import GradientSync, Stepper, parameters_of, put_gradients

__all__ = ["SaveNetwork", "Trainer", "TrainerConfig", "TrainingMemoryError", "TrainingResult"]

Batch = TypeVar("Batch")
LOCK = ".darkside.lock"
#: A killed run's data workers may hold its lock for some seconds after it.
_LOCK_S = 10.0


class TrainingMemoryError(DarksideError):
    """Training needs more memory than there is."""

    exit_code = 1


class CompilationError(DarksideError):
    """torch could not compile a network."""

    exit_code = 1


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended: ``epoch`` epochs and ``step`` batches of the next are done, ``outputs`` lie in the run folder.

    ``complete`` is False after an interruption (``reason`` is then "interrupted"; commands exit with 130). ``scores``
    are those of the last validation, ``best_epoch`` (from 1) and ``best_score`` those of the decisive score, both
    known to the first process only. ``seconds`` is the time of all sessions of the run.
    """

    run: Path
    epoch: int
    step: int
    complete: bool
    reason: str = ""
    outputs: Mapping[str, Path] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    best_epoch: int | None = None
    best_score: float | None = None
    seconds: float = 0.0

    @property
    def interrupted(self) -> bool:
        """Whether somebody stopped it."""
        return self.reason == "interrupted"


class Trainer(Session[Batch]):
    """A :class:`Session` that can be run.

    With several processes (``ranks``), all of them make a Trainer and call :meth:`fit`; networks start as the first
    one's. Raises UsageError for a precision that the device does not have.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._precision = pick_precision(self.config.precision, self.device)

    def fit(self, *, resume: bool = True) -> TrainingResult:
        """Train until the last epoch is done or somebody stops it (Ctrl-C, SIGTERM).

        With ``resume`` the newest sound checkpoint of the run folder is gone on from, if there is one; without, the
        former ones are put aside.

        Global random generators, cuDNN's switches and signal handlers are as before afterwards. Raises UsageError
        (another run in the folder, another configuration), CheckpointError, NonFiniteError, TrainingMemoryError,
        CheckpointNotSavedError, LostProcessError; a second Ctrl-C is a KeyboardInterrupt.
        """
        with ExitStack() as stack:
            if not dist.is_initialized():
                stack.enter_context(self.ranks)
            try:
                return self._fit(resume)
            except BaseException as error:
                self.ranks.report_failure(error)
                raise

    def _fit(self, resume: bool) -> TrainingResult:
        with ExitStack() as stack:
            if self.ranks.is_first:
                stack.enter_context(_locked(self.run))
            interrupted = stack.enter_context(global_state.interruptible())
            stack.enter_context(global_state.random_state_kept(self.device))
            stack.enter_context(global_state.cuda_settings(self.device, tf32=self.config.tf32))
            stack.enter_context(global_state.modes_kept(self.task.networks.values()))
            sync = self._prepare(stack)
            clip = self.config.clip_norm
            stepper = Stepper(self.task, sync, device=self.device, precision=self._precision, clip_norm=clip)
            average = None
            if self.config.ema_decay is not None and self.ranks.is_first:
                outputs = {name: self.task.networks[name] for name in self.task.outputs}
                average = MovingAverage(outputs, self.config.ema_decay)
            state = RunState(self, stepper.scaler, LossLog(self.device), average)
            orphaned = launcher_watch()
            loop = Loop(self, stepper, state, lambda: interrupted() or orphaned())
            try:
                progress, inside = state.restore(resume=resume)
                sync.broadcast(self.task.networks.values())
                reason = loop.run(progress, inside)
                self._finish(loop, reason)
                return TrainingResult(
                    self.run,
                    progress.position.epoch,
                    progress.position.step,
                    complete=not reason,
                    reason=reason,
                    outputs=state.publish(progress),
                    scores=dict(progress.scores),
                    best_epoch=progress.best_epoch,
                    best_score=progress.best_score,
                    seconds=loop.seconds(),
                )
            except Exception as error:
                problem = self._explained(error, state)
                if problem is None:
                    raise
                if problem is not error:  # whose traceback would hold the memory of the failed pass
                    problem.__cause__ = error.with_traceback(None)
            with suppress(OSError):  # a full disk may be what this is about
                self._finish(loop, problem.message)
            raise problem

    def _prepare(self, stack: ExitStack) -> GradientSync:
        """Bring the networks into the state to be trained in, some of it until ``stack`` ends."""
        task, config = self.task, self.config
        for name in task.frozen:
            task.networks[name].requires_grad_(False)
        if config.channels_last:
            for network in task.networks.values():
                network.to(memory_format=torch.channels_last)
        put_gradients(task.optimizers, {})
        group = device_group(self.ranks, self.device)
        if self.ranks.size > 1:
            native = self.device.type == "cuda"
            stack.enter_context(synchronised_batch_norm(self.trained().values(), group, native=native))
        if config.compile:
            stack.enter_context(global_state.compiled(task.compilable()))
        return GradientSync(self.ranks, group, parameters_of(*task.optimizers.values()), task.reduction)

    def _finish(self, loop: Loop[Batch], reason: str) -> None:
        epoch = loop.progress.position.epoch
        self.emit(TrainingFinished(self.run, epoch, loop.session_seconds(), not reason, reason))

    def _explained(self, error: Exception, state: RunState[Batch]) -> DarksideError | None:
        """What to tell of ``error``; None if it is not for us to explain."""
        kept = "nothing was saved yet"
        if state.saved is not None:
            kept = f"the last good checkpoint is {state.folder.path(state.saved)}"
        if isinstance(error, NonFiniteError):
            error.hint = f"{error.hint}; {kept}"
        if isinstance(error, DarksideError):
            return error
        if is_out_of_memory(error):
            return TrainingMemoryError(
                f"out of memory on {self.device}",
                hint="lower the batch size or the size of the crops, or use precision bf16 on a GPU; " + kept,
            )
        if self.ranks.size > 1 and is_lost_process(error):
            return lost_process()
        if self.config.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            first = str(error).strip().partition("\n")[0]
            return CompilationError(f"torch cannot compile: {first}", hint="train without compile; " + kept)
        return None


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    """Hold the run folder for this process. Raises UsageError if another one has it."""
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=_LOCK_S)
    except NotImplementedError:
        pass  # a file system without locks must do without
    except Timeout as error:
        raise UsageError(
            f"another run is training in {run}", hint="wait for it, stop it, or use another run folder"
        ) from error
    try:
        yield
    finally:
        lock.release()
