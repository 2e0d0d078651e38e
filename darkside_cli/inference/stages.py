"""What is done to a file on its way through :mod:`darkside_cli.inference.pipeline`, and how it is told of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from darkside_cli.events import Emit, Event, ItemFailed, ItemSkipped

J = TypeVar("J")
L = TypeVar("L")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Pending(Protocol[R_co]):
    """A batch that the device may still be working on."""

    def result(self) -> Iterable[R_co]:
        """Wait for the batch; one result per item."""


class Stages(ABC, Generic[J, L, R]):
    """What happens to one job J: it is loaded as an L, computed to an R with others of its size, and stored.

    :meth:`load` and :meth:`store` run in threads; a DarksideError they raise fails that job alone, but for
    NoSpaceError, which ends the run. The other methods run in the calling thread.
    """

    @property
    def asynchronous(self) -> bool:
        """Whether :meth:`submit` returns before the device is done."""
        return False

    @abstractmethod
    def source(self, job: J) -> Path:
        """File that the job is about, to be named when it fails."""

    @abstractmethod
    def skip(self, job: J) -> ItemSkipped | None:
        """Event to emit instead of doing a job whose result is there already."""

    @abstractmethod
    def load(self, job: J) -> L:
        """Read the job's file."""

    @abstractmethod
    def size(self, loaded: L) -> tuple[int, int]:
        """(height, width) in pixels; items of one size share batches."""

    @abstractmethod
    def batch_size(self, height: int, width: int) -> int:
        """How many items of this size go into one batch."""

    @abstractmethod
    def submit(self, items: Sequence[L]) -> Pending[R]:
        """Start computing a batch of one size."""

    @abstractmethod
    def store(self, job: J, loaded: L, result: R) -> None:
        """Write the result."""

    @abstractmethod
    def finished(self, job: J, loaded: L, seconds: float) -> Event:
        """Event that tells of a stored result; ``seconds`` is the job's share of the work."""

    def release_memory(self) -> None:
        """Give cached device memory back, after the device ran out of it."""


@dataclass(frozen=True)
class Counts:
    """How many jobs were done, failed, and had been done before."""

    done: int
    failed: int
    skipped: int


class InOrder:
    """Emits one event per job in the order of the jobs, holding back those that come early."""

    def __init__(self, emit: Emit) -> None:
        self._emit, self._next = emit, 0
        self._early: dict[int, Event] = {}
        self._kinds: Counter[type[Event]] = Counter()

    def put(self, index: int, event: Event) -> None:
        """Take the event of job number ``index`` (from 0)."""
        self._kinds[type(event)] += 1
        self._early[index] = event
        while (ready := self._early.pop(self._next, None)) is not None:
            self._next += 1
            self._emit(ready)

    def flush(self) -> None:
        """Emit what was held back (after an interruption some places stay empty for good)."""
        for index in sorted(self._early):
            self._emit(self._early.pop(index))

    def counts(self) -> Counts:
        """What was put so far."""
        failed, skipped = self._kinds[ItemFailed], self._kinds[ItemSkipped]
        return Counts(self._kinds.total() - failed - skipped, failed, skipped)
