"""Losses on their way from the device to the log, without anybody waiting for the device.

Each batch's scalars are put into one row on the device. Rows travel together, to pinned memory behind a CUDA event,
and are looked at once they have arrived: a few dozen batches late on a GPU, at once on the CPU. What arrives is
summed in float64 in the order of the batches, so that sums are the same however they travelled.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from darkside_cli.errors import DarksideError

#: Batches whose rows travel together from devices that work by themselves.
ROWS_TOGETHER = 32
_ADVICE = "lower the learning rate, limit gradients with trainer.clip_norm, or compute in fp32"


class NonFiniteError(DarksideError):
    """A loss or a weight is no longer a finite number: nothing that is trained further can be used."""

    exit_code = 1


class NonFiniteLossError(NonFiniteError):
    """Loss ``name`` was ``value`` (NaN or infinite) in batch ``step`` (from 1) of ``epoch`` (from 1)."""

    def __init__(self, name: str, value: float, epoch: int, step: int) -> None:
        super().__init__(f"the loss '{name}' became {value} in epoch {epoch}, step {step}", hint=_ADVICE)
        self.name, self.value, self.epoch, self.step = name, value, epoch, step


def check_weights(networks: Mapping[str, nn.Module], where: str) -> None:
    """See that all weights and statistics are finite; ``where`` says after what ("epoch 3").

    Raises NonFiniteError that names the first which is not. Waits for the device once.
    """
    keys = [
        (f"{key} of {name}", value)
        for name, module in networks.items()
        for key, value in module.state_dict().items()
        if value.is_floating_point()
    ]
    if not keys:
        return
    device = keys[0][1].device
    finite = torch.stack([torch.isfinite(value).all().to(device) for _, value in keys]).tolist()
    if False in finite:
        raise NonFiniteError(
            f"weights are no longer finite after {where}: {keys[finite.index(False)][0]}", hint=_ADVICE
        )


class Logged(NamedTuple):
    """A scalar of a batch; one that is not ``shown`` is only checked to be finite."""

    name: str
    value: Tensor
    shown: bool = True


Sums = dict[str, tuple[float, int]]
"""Sum of each loss, and how many values are in it."""


def _add(sums: Sums, name: str, total: float, count: int = 1) -> None:
    before, counted = sums.get(name, (0.0, 0))
    sums[name] = before + total, counted + count


def _means(sums: Sums) -> dict[str, float]:
    return {name: total / count for name, (total, count) in sums.items() if count}


class _Transfer:
    """Rows on their way to the host. ``ready`` never waits; ``rows`` does, if need be."""

    def __init__(self, rows: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        if rows.device.type == "cuda":
            self._host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            self._host.copy_(rows, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(rows.device))
        else:
            self._host = rows.cpu()

    def ready(self) -> bool:
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def rows(self) -> list[list[float]]:
        if self._event is not None:
            self._event.synchronize()
        values: list[list[float]] = self._host.tolist()
        return values


class _Block(NamedTuple):
    """Rows of consecutive batches, the first of them batch ``step`` (from 1) of ``epoch``, with the same columns."""

    columns: tuple[tuple[str, bool], ...]
    epoch: int
    step: int
    transfer: _Transfer


class LossLog:
    """Means of losses since they were last asked for, and over the running epoch (``epoch``, counted from 1)."""

    def __init__(self, device: torch.device, *, together: int | None = None) -> None:
        self._device = device
        self._together = together or (1 if device.type == "cpu" else ROWS_TOGETHER)
        self._rows: list[Tensor] = []
        self._columns: tuple[tuple[str, bool], ...] = ()
        self._first = (0, 0)
        self._travelling: deque[_Block] = deque()
        self._recent: Sums = {}
        self._epoch: Sums = {}

    def add(self, epoch: int, step: int, losses: Sequence[Logged]) -> None:
        """Take the scalars of batch ``step`` of ``epoch``, both counted from 1, which come in order."""
        if not losses:
            return
        columns = tuple((each.name, each.shown) for each in losses)
        if columns != self._columns or epoch != self._first[0]:
            self._send()
        if not self._rows:
            self._columns, self._first = columns, (epoch, step)
        values = (each.value.detach().to(self._device, torch.float32, non_blocking=True) for each in losses)
        self._rows.append(torch.stack([value.reshape(()) for value in values]))
        if len(self._rows) >= self._together:
            self._send()

    def _send(self) -> None:
        if self._rows:
            self._travelling.append(_Block(self._columns, *self._first, _Transfer(torch.stack(self._rows))))
            self._rows = []

    def poll(self, *, send: bool = False) -> None:
        """Take in what has arrived, without waiting; ``send`` sets on its way what still gathers on the device.

        Raises NonFiniteLossError for the first loss that is not finite.
        """
        if send:
            self._send()
        while self._travelling and self._travelling[0].transfer.ready():
            self._take(self._travelling.popleft())

    def drain(self) -> None:
        """Wait until everything has arrived. Raises NonFiniteLossError."""
        self._send()
        while self._travelling:
            self._take(self._travelling.popleft())

    def _take(self, block: _Block) -> None:
        for offset, row in enumerate(block.transfer.rows()):
            # What is shown says more than the sum of it.
            named = sorted(zip(block.columns, row, strict=True), key=lambda each: not each[0][1])
            for (name, _), value in named:
                if not math.isfinite(value):
                    raise NonFiniteLossError(name, value, block.epoch, block.step + offset)
            for (name, shown), value in named:
                if shown:
                    _add(self._recent, name, value)
                    _add(self._epoch, name, value)

    def recent(self) -> dict[str, float]:
        """Means of what arrived since the last call."""
        means, self._recent = _means(self._recent), {}
        return means

    def sums(self) -> Sums:
        """Sum and count of each loss of the running epoch, as far as they have arrived."""
        return dict(self._epoch)

    def start_epoch(self, sums: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Begin an epoch, or go on in one whose :meth:`sums` were these; what travelled is dropped."""
        self._rows, self._recent = [], {}
        self._travelling.clear()
        self._epoch = {name: (float(total), int(count)) for name, (total, count) in (sums or {}).items()}


def joined_means(parts: Sequence[Sums]) -> dict[str, float]:
    """Mean of each loss over all processes, from their sums."""
    joined: Sums = {}
    for part in parts:
        for name, (total, count) in part.items():
            _add(joined, name, total, count)
    return _means(joined)
