"""Drives a task through its epochs: on one device or many, in any precision, to be stopped and gone on with.

The parts are elsewhere: what one batch does (``updates``), the order of things (``loop``), what a checkpoint holds
(``run_state``) and how it lies on the disk (``checkpoint``), losses (``loss_log``), several processes (``gradients``,
``distributed``). Here they are put together, and errors get their words.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout

from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.events import Emit, TrainingFinished, ignore
from darkside_cli.inference.device import is_out_of_memory, pick_precision
from darkside_cli.networks.layers import synchronised_batch_norm
from darkside_cli.training.checkpoint import save_plain
from darkside_cli.training.distributed import Ranks, device_group, is_lost_process, lost_process
from darkside_cli.training.global_state import (
    Interruption,
    compiled,
    cuda_settings,
    modes_kept,
    random_state_kept,
)
from darkside_cli.training.gradients import GradientSync
from darkside_cli.training.launch import launcher_watch
from darkside_cli.training.loop import Loop
from darkside_cli.training.loss_log import LossLog, NonFiniteError
from darkside_cli.training.moving_average import MovingAverage
from darkside_cli.training.run_facts import RunFacts
from darkside_cli.training.run_state import RunState, SaveNetwork
from darkside_cli.training.task import EpochData, Task
from darkside_cli.training.trainer_config import CHANGEABLE, TrainerConfig
from darkside_cli.training.updates import Stepper, parameters_of, put_gradients

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


class Trainer(Generic[Batch]):
    """Trains ``task`` on ``data`` as ``config`` says, everything in folder ``run``.

    ``resolved`` is the whole configuration of the run, nested and JSON-able: it is stored with each checkpoint, and
    a run goes on only from one with the same, but for the keys of ``resolved["trainer"]`` that change no weight
    (``trainer_config.CHANGEABLE``) and the dotted keys ``changeable``, with what is below them. ``save_network``
    writes a network's file, with all of its state as it is; without it that is plain safetensors. ``batch_size``
    counts the images of a batch over all processes, for the events.

    With several processes (``ranks``), all of them make a Trainer and call :meth:`fit`; networks start as the first
    one's. Only that one writes, tells (``emit``) and validates.
    """

    def __init__(
        self,
        task: Task[Batch],
        data: EpochData[Batch],
        config: TrainerConfig,
        *,
        run: Path,
        device: torch.device,
        ranks: Ranks | None = None,
        resolved: Mapping[str, Any] | None = None,
        changeable: Collection[str] = (),
        save_network: SaveNetwork = save_plain,
        batch_size: int = 1,
        emit: Emit = ignore,
    ) -> None:
        self.task, self.data, self.config, self.run, self.device = task, data, config, Path(run), device
        self.ranks = ranks or Ranks()
        self._resolved = dict(resolved) if resolved is not None else {"trainer": asdict(config)}
        self._changeable = frozenset(changeable) | {f"trainer.{key}" for key in CHANGEABLE}
        self._save_network, self._batch_size = save_network, batch_size
        self._emit = emit if self.ranks.is_first else ignore
        self._precision = pick_precision(config.precision, device)

    def fit(self, *, resume: bool = True) -> TrainingResult:
        """Train until the last epoch is done or somebody stops it (Ctrl-C, SIGTERM).

        With ``resume`` the newest sound checkpoint of the run folder is gone on from, if there is one; without, the
        former ones are put aside.

        Global random generators, cuDNN's switches and signal handlers are as before afterwards. Raises UsageError
        (another run in the folder, another configuration), CheckpointError, NonFiniteError, TrainingMemoryError,
        CheckpointNotSavedError, LostProcessError; a second Ctrl-C is a KeyboardInterrupt.
        """
        with ExitStack() as stack:
            if self.ranks.size > 1 and not dist.is_initialized():
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
            interruption = stack.enter_context(Interruption())
            stack.enter_context(random_state_kept(self.device))
            stack.enter_context(cuda_settings(self.device, tf32=self.config.tf32))
            stack.enter_context(modes_kept(self.task.networks.values()))
            loop, state = self._put_together(stack, interruption)
            problem: DarksideError | None = None
            try:
                return self._go(loop, state, resume)
            except Exception as error:
                problem = self._explained(error, state)
                if problem is None:
                    raise
                if problem is not error:
                    problem.__cause__ = error.with_traceback(
                        None
                    )  # which would hold the memory of the failed pass
            with suppress(OSError):  # a full disk may be what this is about
                self._finish(loop, complete=False, reason=problem.message)
            raise problem

    def _put_together(
        self, stack: ExitStack, interruption: Interruption
    ) -> tuple[Loop[Batch], RunState[Batch]]:
        task, config, ranks = self.task, self.config, self.ranks
        for name in task.frozen:
            task.networks[name].requires_grad_(False)
        if config.channels_last:
            for network in task.networks.values():
                network.to(memory_format=torch.channels_last)
        put_gradients(task.optimizers, {})
        group = device_group(ranks, self.device)
        trained = [module for name, module in task.networks.items() if name not in task.frozen]
        if ranks.size > 1:
            stack.enter_context(synchronised_batch_norm(trained, group, native=self.device.type == "cuda"))
        if config.compile:
            stack.enter_context(compiled(task.compilable()))
        self._sync = GradientSync(
            ranks,
            group,
            [each for optimizer in task.optimizers.values() for each in parameters_of(optimizer)],
            task.reduction,
        )
        stepper = Stepper(
            task, self._sync, device=self.device, precision=self._precision, clip_norm=config.clip_norm
        )
        losses = LossLog(self.device)
        average = None
        if config.ema_decay is not None and ranks.is_first:
            average = MovingAverage({name: task.networks[name] for name in task.outputs}, config.ema_decay)
        facts = RunFacts(
            run=self.run,
            resolved=self._resolved,
            changeable=self._changeable,
            seed=config.seed,
            processes=ranks.size,
            device=self.device,
        )
        state = RunState(
            task,
            facts,
            ranks=ranks,
            device=self.device,
            scaler=stepper.scaler,
            losses=losses,
            average=average,
            save_network=self._save_network,
            keep=config.keep,
            store_every=config.store_every,
            emit=self._emit,
        )
        orphaned = launcher_watch()
        loop = Loop(
            task,
            self.data,
            config,
            run=self.run,
            device=self.device,
            ranks=ranks,
            stepper=stepper,
            losses=losses,
            state=state,
            average=average,
            wants_to_stop=lambda: interruption.requested or orphaned(),
            batch_size=self._batch_size,
            emit=self._emit,
        )
        return loop, state

    def _go(self, loop: Loop[Batch], state: RunState[Batch], resume: bool) -> TrainingResult:
        restored = state.restore(resume=resume)
        self._sync.broadcast(self.task.networks.values())
        reason = loop.run(restored)
        progress = loop.progress
        self._finish(loop, complete=not reason, reason=reason)
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

    def _finish(self, loop: Loop[Batch], *, complete: bool, reason: str) -> None:
        epoch = loop.progress.position.epoch
        self._emit(TrainingFinished(self.run, epoch, loop.session_seconds(), complete, reason))

    def _explained(self, error: Exception, state: RunState[Batch]) -> DarksideError | None:
        """What to tell of ``error``; None if it is not for us to explain."""
        kept = "nothing was saved yet"
        if state.saved is not None:
            kept = f"the last good checkpoint is {state.folder.path(state.saved)}"
        if isinstance(error, NonFiniteError):
            error.hint = f"{error.hint}; {kept}"
            return error
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
    except NotImplementedError:  # a file system without locks must do without
        yield
        return
    except Timeout as error:
        raise UsageError(
            f"another run is training in {run}", hint="wait for it, stop it, or use another run folder"
        ) from error
    try:
        yield
    finally:
        lock.release()
