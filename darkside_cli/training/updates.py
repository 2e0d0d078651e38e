"""Carries out the updates that a task yields: backward, joining of gradients, clipping, steps.

Gradients belong to their optimiser: they are dropped after *its* step and not before, so updates without optimisers
accumulate, and so does what an update leaves in the parameters of others (tasks prevent that with
:func:`darkside_cli.training.task.without_parameter_gradients` or ``detach``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from darkside_cli.errors import UsageError
from darkside_cli.inference.device import Precision, autocast
from darkside_cli.training.gradients import GradientSync
from darkside_cli.training.loss_log import Logged
from darkside_cli.training.task import Task, Update

Batch = TypeVar("Batch")


class Stepper(Generic[Batch]):
    """Trains ``task`` on one batch after the other, in ``precision`` on ``device``."""

    def __init__(
        self,
        task: Task[Batch],
        sync: GradientSync,
        *,
        device: torch.device,
        precision: Precision,
        clip_norm: float | None = None,
    ) -> None:
        self._task, self._sync = task, sync
        self._device, self._precision, self._clip_norm = device, precision, clip_norm
        # fp16 has few small numbers: losses are scaled up so that gradients do not vanish.
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def train(self, batch: Batch, flags: Callable[[], int] = lambda: 0) -> tuple[list[Logged], int]:
        """Make the updates of ``batch``; returns its losses, and the ``flags`` of all processes joined by "or".

        ``flags`` is asked once, as late as possible.
        """
        logged: list[Logged] = []
        stepped: set[str] = set()
        agreed = 0
        told = False
        updates = self._task.train_step(batch)
        for number in range(1 << 30):
            with torch.enable_grad(), autocast(self._precision, self._device):
                update = next(updates, None)
            if update is None:
                break
            logged += _scalars(update, number)
            self._backward(update)
            if update.optimizers:
                agreed |= self._step(
                    update.optimizers, stepped, 0 if told or self._sync.is_alone else flags()
                )
                told = not self._sync.is_alone  # alone, nobody waits for the answer before the end
            del update  # its graph must not live on while the next one is built
        if stepped:
            self.scaler.update()
        if not told:
            agreed = self._sync.all_reduce_flags(flags())[0]
        return logged, agreed

    def _backward(self, update: Update) -> None:
        loss: Tensor = self.scaler.scale(update.loss)
        loss.backward()  # type: ignore[no-untyped-call]

    def _step(self, names: tuple[str, ...], stepped: set[str], flags: int) -> int:
        optimizers = {name: self._task.optimizers[name] for name in names}
        agreed = self._sync.all_reduce(
            [each for optimizer in optimizers.values() for each in parameters_of(optimizer)], flags
        )
        for name, optimizer in optimizers.items():
            if self._precision == "fp16":
                if all(each.grad is None for each in parameters_of(optimizer)):
                    continue  # where GradScaler would not know what to do
                if name in stepped:
                    raise UsageError(
                        f"optimiser {name} steps twice for one batch, which fp16 cannot do",
                        hint="use precision bf16 or fp32",
                    )
                self.scaler.unscale_(optimizer)
            if self._clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters_of(optimizer), self._clip_norm)
            self.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
            stepped.add(name)
        return agreed


def parameters_of(optimizer: Optimizer) -> list[nn.Parameter]:
    """All parameters of ``optimizer``, in order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _scalars(update: Update, number: int) -> Iterable[Logged]:
    """What ``update`` logs. A loss that no log tells of is checked only, or, without logs, shown as "loss"."""
    for name, value in update.logs.items():
        yield Logged(name, value.detach())
    if not update.logs:
        yield Logged("loss" if not number else f"loss_{number + 1}", update.loss.detach())
    elif all(value is not update.loss for value in update.logs.values()):
        yield Logged("+".join(update.optimizers) or f"update {number + 1}", update.loss.detach(), shown=False)


def pending_gradients(optimizers: Mapping[str, Optimizer]) -> dict[str, dict[int, Tensor]]:
    """Gradients that wait for a step, by optimiser and number of the parameter."""
    pending: dict[str, dict[int, Tensor]] = {}
    for name, optimizer in optimizers.items():
        for index, parameter in enumerate(parameters_of(optimizer)):
            if parameter.grad is not None:
                pending.setdefault(name, {})[index] = parameter.grad
    return pending


def put_gradients(optimizers: Mapping[str, Optimizer], pending: Mapping[str, Mapping[int, Any]]) -> None:
    """Take back what :func:`pending_gradients` gave; all other gradients are dropped."""
    for name, optimizer in optimizers.items():
        optimizer.zero_grad(set_to_none=True)
        parameters = parameters_of(optimizer)
        for index, gradient in pending.get(name, {}).items():
            parameters[index].grad = gradient.to(parameters[index].device)
