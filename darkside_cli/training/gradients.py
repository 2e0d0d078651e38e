"""Gradients of several processes made one, and what processes tell each other in each step.

There is no wrapper around networks (``DistributedDataParallel`` sees calls of ``forward`` only, and one backward pass
for each): after a backward pass the gradients of the optimisers that step are joined, in buckets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from darkside_cli.training.distributed import Ranks, others_present

BUCKET_BYTES = 25 << 20


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
        self._numbers: dict[nn.Parameter, int] = {}
        for parameter in parameters:
            self._numbers.setdefault(parameter, len(self._numbers))

    @property
    def is_alone(self) -> bool:
        """Whether there is one process only."""
        return self._ranks.size == 1

    def all_reduce_flags(self, flags: int, present: Iterable[nn.Parameter] = ()) -> tuple[int, list[bool]]:
        """Join ``flags`` (8 bits) of all processes by "or", and likewise which parameters have a gradient.

        One small message between the hosts: no device waits for it.
        """
        if self.is_alone:
            numbers = {self._numbers[each] for each in present}
            return flags, [number in numbers for number in range(len(self._numbers))]
        own = [flags >> bit & 1 for bit in range(8)] + [0] * len(self._numbers)
        for each in present:
            own[8 + self._numbers[each]] = 1
        message = torch.tensor(own, dtype=torch.uint8)
        with others_present():
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
        gradients = []
        for parameter in unique:
            if not present[self._numbers[parameter]]:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        self._join(gradients)
        return flags

    def _join(self, gradients: Sequence[Tensor]) -> None:
        under_way = []
        with others_present():
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

    @torch.no_grad()
    def broadcast(self, modules: Iterable[nn.Module]) -> None:
        """Give all processes the parameters and buffers of the first one."""
        if self.is_alone:
            return
        with others_present():
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
