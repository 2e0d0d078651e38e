"""Several processes at one job, as ``torchrun`` starts them: who am I, how many are we, waiting for one another.

Processes are told of each other by the environment (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK`` and the address of the
first one). Without it there is one process, and everything here does nothing, without loading torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import DarksideError, UsageError

if TYPE_CHECKING:
    import torch

#: How long processes look for one another in the beginning.
_TO_MEET = timedelta(minutes=5)
#: Later one may be at work much longer than another: it is not a timeout that should end the run.
_TO_WORK = timedelta(days=30)
#: Where a process that fails says why.
_FAILURE = "darkside/failed"
#: What gloo, NCCL and torch's store say when the other end is gone; they have no exception of their own for it.
_LOST = re.compile(
    r"connection (was )?(closed|reset|refused)|broken pipe|gloo/transport|nccl|socket|timed out|TCPStore",
    re.IGNORECASE,
)


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
        if self.size > 1 and name in ("auto", "cuda"):
            import torch

            if torch.cuda.is_available():
                return f"cuda:{self.local_rank % torch.cuda.device_count()}"
        return name

    def __enter__(self) -> Ranks:
        if self.size > 1:
            import torch.distributed as dist
            from torch.distributed.rendezvous import rendezvous

            if not dist.is_initialized():
                try:
                    store, _, _ = next(rendezvous("env://", self.rank, self.size, timeout=_TO_MEET))
                    dist.init_process_group(
                        "gloo", store=store, rank=self.rank, world_size=self.size, timeout=_TO_WORK
                    )
                except (RuntimeError, ValueError) as error:
                    raise UsageError(
                        f"the {self.size} processes do not find each other: {error}",
                        hint="start with torchrun",
                    ) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self.size > 1:
            import torch.distributed as dist

            if dist.is_initialized():
                dist.destroy_process_group()

    def all_gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank, to each of them, once all have come to this point.

        This and what follows raise LostProcessError if one has ended. Values are pickled.
        """
        values = [value] * self.size
        if self.size > 1:
            with others_present() as dist:
                dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """The first process's value, to each of them, once all have come to this point."""
        values = [value]
        if self.size > 1:
            with others_present() as dist:
                dist.broadcast_object_list(values, src=0)
        return values[0]

    def gather(self, value: Any) -> list[Any] | None:
        """The values of all, by rank, to the first process alone (None to others): for large ones."""
        values = [value] * self.size if self.is_first else None
        if self.size > 1:
            with others_present() as dist:
                dist.gather_object(value, values, dst=0)
        return values

    def scatter(self, values: Sequence[Any] | None) -> Any:
        """This process's part of the ``values``, one for each rank, that the first one has."""
        part = [values[0] if values else None]
        if self.size > 1:
            with others_present() as dist:
                dist.scatter_object_list(part, list(values) if values else None, src=0)
        return part[0]

    def barrier(self) -> None:
        """Wait until all processes have come to this point."""
        self.all_gather(None)

    def report_failure(self, error: BaseException) -> None:
        """Leave word for the others of why this process fails; they learn it when they miss it."""
        if self.size == 1 or isinstance(error, LostProcessError):
            return
        import torch.distributed as dist

        if dist.is_initialized():
            reason = error.message if isinstance(error, DarksideError) else f"{type(error).__name__}: {error}"
            with suppress(Exception):
                _store().set(_FAILURE, f"process {self.rank} of {self.size} stopped: {reason}")


def _store() -> Any:
    import torch.distributed as dist

    return dist.distributed_c10d._get_default_store()


@contextmanager
def others_present() -> Iterator[Any]:
    """Processes talk to each other in this block, through the module that it gives (``torch.distributed``).

    An error of theirs says that one is gone: LostProcessError.
    """
    import torch.distributed as dist

    try:
        yield dist
    except RuntimeError as error:
        raise lost_process() from error


def lost_process() -> LostProcessError:
    """The error for a process that is gone, with what it said of it, if it did."""
    with suppress(Exception):
        store = _store()
        if store.check([_FAILURE]):
            return LostProcessError(store.get(_FAILURE).decode(errors="replace"))
    return LostProcessError(
        "another process of this job has ended", hint="see what it said, and run the command again"
    )


def is_lost_process(error: BaseException) -> bool:
    """Whether ``error``, raised somewhere in a computation that processes share, says that one of them is gone."""
    import torch.distributed as dist

    says_so = isinstance(error, RuntimeError) and _LOST.search(str(error)) is not None
    return says_so or isinstance(error, dist.DistError)


def device_group(ranks: Ranks, device: torch.device) -> Any:
    """Group of all processes for tensors on ``device``: None, the default one over gloo, or one over NCCL on CUDA.

    All processes must call this at the same point.
    """
    if ranks.size == 1 or device.type != "cuda":
        return None
    import torch.distributed as dist

    return dist.new_group(backend="nccl", timeout=_TO_WORK)
