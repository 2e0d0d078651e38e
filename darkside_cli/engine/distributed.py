"""Several processes at one job, as ``torchrun`` starts them: who am I, how many are we, waiting for one another.

Processes are told of each other by the environment (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK`` and the address of the
first one). Without it there is one process, and everything here does nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from darkside_cli.errors import DarksideError, UsageError

#: How long processes look for one another in the beginning.
_TO_MEET = timedelta(minutes=5)
#: Later one may be at work much longer than another: it is not a timeout that should end the run.
_TO_WORK = timedelta(days=30)


class LostProcessError(DarksideError):
    """Another process of the job has ended, so this one cannot go on."""

    exit_code = 1


@dataclass(frozen=True)
class Ranks:
    """This process's number ``rank`` among ``size``, and ``local_rank`` among those of its machine.

    As a context manager it joins the group of processes (over gloo, on the CPU) and leaves it.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> Ranks:
        """Read what ``torchrun`` says. Raises UsageError if it makes no sense."""
        try:
            rank, size, local = (
                int(os.environ.get(key, default))
                for key, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
            )
        except ValueError as error:
            raise UsageError(
                "RANK, WORLD_SIZE and LOCAL_RANK must be numbers", hint="start with torchrun"
            ) from error
        if not 0 <= rank < size or local < 0:
            raise UsageError(f"there is no process {rank} of {size}", hint="start with torchrun")
        return cls(rank, size, local)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.rank == 0

    def device_name(self, name: str) -> str:
        """Device for this process when ``name`` was asked for: each takes another GPU of its machine."""
        if self.size == 1 or name not in ("auto", "cuda") or not torch.cuda.is_available():
            return name
        return f"cuda:{self.local_rank % torch.cuda.device_count()}"

    def __enter__(self) -> Ranks:
        if self.size > 1 and not dist.is_initialized():
            try:
                store, _, _ = next(rendezvous("env://", self.rank, self.size, timeout=_TO_MEET))
                dist.init_process_group(
                    "gloo", store=store, rank=self.rank, world_size=self.size, timeout=_TO_WORK
                )
            except (RuntimeError, ValueError) as error:
                raise UsageError(
                    f"the {self.size} processes do not find each other: {error}", hint="start with torchrun"
                ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def gather(self, value: Any) -> list[Any]:
        """Wait for all processes; the values that they gave, by rank, to each of them.

        Raises LostProcessError if one has ended.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        try:
            dist.all_gather_object(values, value)
        except RuntimeError as error:
            raise LostProcessError(
                "another process of this job has ended", hint="see what it said, and run the command again"
            ) from error
        return values

    def wait(self) -> None:
        """Wait until all processes have come to this point. Raises LostProcessError if one has ended."""
        self.gather(None)
