"""Carries out the updates that a task yields: backward, joining of gradients, clipping, steps.

There is no wrapper around networks (``DistributedDataParallel`` sees calls of ``forward`` only, and one backward pass
for each): after a backward pass the gradients of the optimisers that step are joined over the processes, in buckets.
Gradients belong to their optimiser: they are dropped after *its* step and not before, so updates without optimisers
accumulate, and so does what an update leaves in the parameters of others (tasks prevent that with
:func:`darkside_cli.training.task.without_parameter_gradients` or ``detach``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.optim import Optimizer

from darkside_cli.errors import UsageError
from darkside_cli.inference.device import Precision, autocast
from darkside_cli.training.distributed import Ranks, others_present
from darkside_cli.training.loss_log import Logged
from darkside_cli.training.task import Task, Update

Batch = TypeVar("Batch")
BUCKET_BYTES = 25 << 20


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
        agreed, told = 0, False
        updates = self._task.train_step(batch)
        for number in itertools.count():
            with torch.enable_grad(), autocast(self._precision, self._device):
                update = next(updates, None)
            if update is None:
                break
            logged += _scalars(update, number)
            self.scaler.scale(update.loss).backward()  # type: ignore[no-untyped-call]
            if update.optimizers:
                asked = 0 if told or self._sync.is_alone else flags()
                agreed |= self._step(update.optimizers, stepped, asked)
                told = not self._sync.is_alone  # alone, nobody waits for the answer before the end
            del update  # its graph must not live on while the next one is built
        if stepped:
            self.scaler.update()
        if not told:
            agreed = self._sync.all_reduce_flags(flags())[0]
        return logged, agreed

    def _step(self, names: tuple[str, ...], stepped: set[str], flags: int) -> int:
        optimizers = {name: self._task.optimizers[name] for name in names}
        agreed = self._sync.all_reduce(parameters_of(*optimizers.values()), flags)
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


def parameters_of(*optimizers: Optimizer) -> list[nn.Parameter]:
    """All parameters of ``optimizers``, in order."""
    return [parameter for each in optimizers for group in each.param_groups for parameter in group["params"]]


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


class GradientSync:
    """What the processes of a run do at the same time. With one process nothing is done.

    ``parameters`` are all that are ever stepped, in the same order everywhere; ``group`` is that of
    :func:`darkside_cli.training.distributed.device_group`.
    """

    def __init__(
        self,
        ranks: Ranks,
        group: Any,
        parameters: Iterable[nn.Parameter],
        reduction: Literal["mean", "sum"],
    ) -> None:
        self._ranks, self._group, self._reduction = ranks, group, reduction
        self._numbers = {each: number for number, each in enumerate(dict.fromkeys(parameters))}

    @property
    def is_alone(self) -> bool:
        """Whether there is one process only."""
        return self._ranks.size == 1

    def all_reduce_flags(self, flags: int, present: Iterable[nn.Parameter] = ()) -> tuple[int, list[bool]]:
        """Join ``flags`` (8 bits) of all processes by "or", and likewise which parameters have a gradient.

        One small message between the hosts: no device waits for it.
        """
        own = [flags >> bit & 1 for bit in range(8)] + [0] * len(self._numbers)
        for each in present:
            own[8 + self._numbers[each]] = 1
        message = torch.tensor(own, dtype=torch.uint8)
        if not self.is_alone:
            with others_present() as dist:
                dist.all_reduce(message, op=dist.ReduceOp.MAX)
        joined = message.tolist()
        return sum(joined[bit] << bit for bit in range(8)), [bool(each) for each in joined[8:]]

    @torch.no_grad()
    def all_reduce(self, parameters: Sequence[nn.Parameter], flags: int = 0) -> int:
        """Give ``parameters`` the mean (or sum) of all processes' gradients; returns everybody's ``flags``.

        A gradient that is missing here counts as zeros; one that is missing everywhere stays so.
        """
        if self.is_alone:
            return flags
        unique = list(dict.fromkeys(parameters))
        flags, present = self.all_reduce_flags(flags, (each for each in unique if each.grad is not None))
        gradients: list[Tensor] = []
        for parameter in unique:
            if present[self._numbers[parameter]]:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        under_way = []
        with others_present() as dist:
            for bucket in buckets(gradients):
                flat = _flatten_dense_tensors(bucket)  # type: ignore[no-untyped-call]
                if self._reduction == "mean":
                    flat.div_(self._ranks.size)
                under_way.append((bucket, flat, dist.all_reduce(flat, group=self._group, async_op=True)))
            for bucket, flat, work in under_way:
                work.wait()
                parts = _unflatten_dense_tensors(flat, bucket)  # type: ignore[no-untyped-call]
                for gradient, joined in zip(bucket, parts, strict=True):
                    gradient.copy_(joined)
        return flags

    @torch.no_grad()
    def broadcast(self, modules: Iterable[nn.Module]) -> None:
        """Give all processes the parameters and buffers of the first one."""
        if self.is_alone:
            return
        with others_present() as dist:
            for module in modules:
                for tensor in (*module.parameters(), *module.buffers()):
                    sent = tensor.detach().contiguous()  # only such memory can be sent
                    sent = sent.view(torch.uint8) if sent.dtype == torch.bool else sent
                    dist.broadcast(sent, src=0, group=self._group)
                    tensor.copy_(sent)


def buckets(tensors: Sequence[Tensor], largest: int = BUCKET_BYTES) -> Iterator[list[Tensor]]:
    """Tensors of one type and device together, in order, up to ``largest`` bytes (or one that is larger)."""
    waiting: dict[tuple[torch.dtype, torch.device], tuple[list[Tensor], int]] = {}
    for tensor in tensors:
        key = (tensor.dtype, tensor.device)
        bucket, size = waiting.get(key, ([], 0))
        bytes_ = tensor.numel() * tensor.element_size()
        if bucket and size + bytes_ > largest:
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        waiting[key] = (bucket, size + bytes_)
    for bucket, _ in waiting.values():
        yield bucket
