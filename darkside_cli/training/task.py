"""What a method is to the trainer: networks, optimisers, and the updates that one batch makes, in order.

A task *yields* its updates; the trainer does the backward pass, averages gradients between processes, clips, steps
the optimisers named, and only then resumes the task, so code after a ``yield`` sees the updated weights::

    def train_step(self, batch):
        fake_night = self.generator(batch.day)
        yield Update(self.discriminator_loss(batch.night, fake_night.detach()), ("discriminator_night",))
        with without_parameter_gradients(self.discriminator):
            loss = adversarial(self.discriminator(fake_night), real=True)
        yield Update(loss, ("generator_day2night",), {"adversarial": loss})
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from darkside_cli.errors import ConfigError

Batch = TypeVar("Batch")
BatchOut = TypeVar("BatchOut", covariant=True)


@dataclass(frozen=True)
class Update:
    """One backward pass, and the optimisers that step after it.

    ``loss`` is a scalar. ``optimizers`` are names in :attr:`Task.optimizers`; with none, gradients are only
    accumulated, for a later update to use (their *sum*). ``logs`` are scalars to show; the trainer detaches them and
    reads them later, without waiting for the device.
    """

    loss: Tensor
    optimizers: tuple[str, ...] = ()
    logs: Mapping[str, Tensor] = field(default_factory=dict)


class Task(ABC, Generic[Batch]):
    """A method, for :class:`darkside_cli.training.trainer.Trainer`.

    ``networks`` holds every network by name (the names of checkpoint files), ``frozen`` the names of those that are
    never trained: they stay in eval mode and collect no gradients. ``outputs`` are the names of what people use
    afterwards; they are saved with metadata, averaged if the trainer keeps a moving average.
    ``optimizers`` and ``schedulers`` (stepped at the end of each epoch) go by name. ``reduction`` says how
    processes join their gradients: "mean" for losses that are means over the batch, "sum" for sums.
    """

    networks: Mapping[str, nn.Module]
    frozen: frozenset[str] = frozenset()
    outputs: tuple[str, ...] = ()
    optimizers: Mapping[str, Optimizer]
    schedulers: Mapping[str, LRScheduler]
    reduction: Literal["mean", "sum"] = "mean"
    item: str = ""
    """What a batch has several of, where these are not images: "pair", "tuple"."""
    decisive: tuple[str, Literal["min", "max"]] | None = None
    """Name in what :meth:`validate` returns by which the best epoch is picked; None: the newest is the best."""

    @abstractmethod
    def train_step(self, batch: Batch) -> Iterator[Update]:
        """Yield the updates that ``batch``, already on the device, makes. Networks are in train mode."""

    def counted(self, batch: Batch) -> tuple[int, int] | None:  # noqa: ARG002
        """Items of ``batch`` and images in them, for the speed; None: as many of both as the trainer was told."""
        return None

    def validate(self, epoch: int, folder: Path) -> Mapping[str, float]:  # noqa: ARG002
        """Measure the networks after ``epoch`` (counted from 1), images going into ``folder``.

        Only the first process is asked. Must not draw from the global random generators (the trainer restores
        them all the same). Networks are in eval mode. Returns scores by name.
        """
        return {}

    def compilable(self) -> Iterable[nn.Module]:
        """Modules, or parts of such, whose ``forward`` is worth compiling (in place); by default all networks."""
        return tuple(self.networks.values())

    def extra_state(self) -> dict[str, Any]:
        """Whatever else is needed to go on bit for bit (image pools, generators).

        Made of tensors, numbers, texts, lists, tuples and dicts. Each process's is kept for itself.
        """
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`extra_state` gave, tensors now being on the CPU."""

    def metadata(self, name: str) -> dict[str, Any]:  # noqa: ARG002
        """JSON-able facts to save with network ``name`` (direction, normalisation, method ...)."""
        return {}


class EpochData(Protocol[BatchOut]):
    """Batches of an epoch. What is drawn at random must depend on the seed, the epoch and the position alone."""

    def batches(self, epoch: int) -> int:
        """Count the batches of ``epoch`` (counted from 0)."""
        ...

    def epoch(self, epoch: int, *, start: int = 0) -> Iterable[BatchOut]:
        """Batches ``start``, ``start + 1`` … of ``epoch`` (counted from 0), this process's part of each, on the CPU.

        A batch is a tensor, a dataclass with ``to(device, non_blocking=...)``, or a tuple, list or dict of such.
        """
        ...


@contextmanager
def without_parameter_gradients(*modules: nn.Module) -> Iterator[None]:
    """Networks that run in this block let gradients through to their inputs, but collect none themselves.

    What a step does not train then costs no weight gradients. Not to be left open across a ``yield``.
    """
    switched = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in switched:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in switched:
            parameter.requires_grad_(True)


def linear_decay(optimizer: Optimizer, *, epochs: int, decay_epochs: int) -> LambdaLR:
    """Full rate, then linearly down during the last ``decay_epochs`` of ``epochs`` (CycleGAN's and CUT's rule).

    It falls in equal steps to 1 / (decay_epochs + 1) of the rate, and would be 0 in the first epoch after the end.
    Raises ConfigError if there are more epochs of decay than epochs.
    """
    if not 0 <= decay_epochs <= epochs:
        raise ConfigError(
            f"the rate cannot fall during {decay_epochs} of {epochs} epochs",
            hint=f"give a number from 0 to {epochs}",
        )

    def share(epoch: int) -> float:
        begun = epoch + 1 - (epochs - decay_epochs)
        return max(0.0, 1.0 - max(0, begun) / (decay_epochs + 1))

    return LambdaLR(optimizer, share)
