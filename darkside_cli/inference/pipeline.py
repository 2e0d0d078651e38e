"""Many files through one device: load, compute and store overlapped, in flat memory, told of in order.

Files are loaded by a pool of threads some places ahead, grouped by size into batches, computed by the calling
thread, and stored by a second pool. Events leave in the order of the jobs, whatever finishes first. How much is in
flight is bounded by the number of threads and the batch size, never by the number of files. What is done to a file
is the caller's: see :class:`Stages`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from darkside_cli.errors import DarksideError, ImageError, NoSpaceError, OutOfDeviceMemoryError
from darkside_cli.events import LOADING, Emit, Event, ItemFailed, ItemSkipped, Notice

GRACE_S = 5.0
"""How much longer than its own deadline a job may take to load before its thread is left alone."""

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


def _is_out_of_memory(error: Exception) -> bool:
    from darkside_cli.inference.device import is_out_of_memory

    return is_out_of_memory(error)


@dataclass(frozen=True)
class Counts:
    """How many jobs were done, failed, and had been done before."""

    done: int
    failed: int
    skipped: int


@dataclass
class _Item(Generic[J, L]):
    index: int
    job: J
    loaded: L
    seconds: float


@dataclass
class _Begun:
    """When a thread began with a job; 0 while it waits."""

    at: float = 0.0


class _InOrder:
    """Emits one event per job in the order of the jobs, holding back those that come early."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._next = 0
        self._early: dict[int, Event] = {}
        self.done = self.failed = self.skipped = 0

    def put(self, index: int, event: Event) -> None:
        if isinstance(event, ItemFailed):
            self.failed += 1
        elif isinstance(event, ItemSkipped):
            self.skipped += 1
        else:
            self.done += 1
        self._early[index] = event
        while self._next in self._early:
            ready = self._early.pop(self._next)
            self._next += 1
            self._emit(ready)

    def flush(self) -> None:
        """Emit what was held back (after an interruption some places stay empty for good)."""
        for index in sorted(self._early):
            self._emit(self._early.pop(index))

    def counts(self) -> Counts:
        return Counts(self.done, self.failed, self.skipped)


class Pipeline(Generic[J, L, R]):
    """Runs jobs through ``stages``; ``workers`` threads load, as many store; ``batch_size`` 0 asks the stages.

    A job that loads for longer than ``give_up_s`` has failed, and its thread is left alone (0: none is).
    """

    def __init__(
        self,
        stages: Stages[J, L, R],
        *,
        workers: int,
        batch_size: int = 0,
        emit: Emit,
        give_up_s: float = 0.0,
    ) -> None:
        self._stages = stages
        self._give_up_s = give_up_s
        self._workers = workers
        self._wanted = batch_size
        self._fitting: dict[tuple[int, int], int] = {}
        self._emit = emit
        self._events = _InOrder(emit)
        self._waiting: dict[tuple[int, int], list[_Item[J, L]]] = {}
        self._in_flight: deque[tuple[list[_Item[J, L]], Pending[R], float]] = deque()
        self._storing: deque[tuple[_Item[J, L], Future[float]]] = deque()
        self._no_space: NoSpaceError | None = None  # the first of the storing threads' own

    @property
    def counts(self) -> Counts:
        """What has been told of so far."""
        return self._events.counts()

    def run(self, jobs: Iterable[J]) -> Counts:
        """Do all jobs. At a KeyboardInterrupt what is computed is stored and told of before it goes on up.

        Raises NoSpaceError after the first job whose result finds no room; that one is told of as failed.
        """
        self._loaders = self._new_loaders()
        self._storers = ThreadPoolExecutor(self._workers, thread_name_prefix="store")
        try:
            self._run(jobs)
        except KeyboardInterrupt:
            # Nobody waits for a decoder: what it makes is not wanted any more, and it may take minutes.
            self._loaders.shutdown(wait=False, cancel_futures=True)
            self._storers.shutdown(
                wait=True
            )  # the work in them is done: a run that goes on need not do it again
            self._tell_of_finished()
            raise
        except NoSpaceError:
            self._storers.shutdown(wait=True, cancel_futures=True)
            self._tell_of_finished()
            raise
        finally:
            self._close()
        return self.counts

    def _new_loaders(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._workers, thread_name_prefix=LOADING)

    def _close(self) -> None:
        self._loaders.shutdown(wait=False, cancel_futures=True)
        self._storers.shutdown(wait=True, cancel_futures=True)

    def _run(self, jobs: Iterable[J]) -> None:
        for item in self._load(enumerate(jobs)):
            size = self._stages.size(item.loaded)
            group = self._waiting.setdefault(size, [])
            group.append(item)
            limit = self._limit(*size)
            if len(group) >= limit:
                self._compute(self._waiting.pop(size))
            elif sum(map(len, self._waiting.values())) > self._workers + 2 * limit:
                # Sizes are mixed: the group that has waited longest goes as it is, so that memory stays flat.
                self._compute(self._waiting.pop(next(iter(self._waiting))))
        while self._waiting:
            self._compute(self._waiting.pop(next(iter(self._waiting))))
        while self._in_flight:
            self._collect()
        self._finish_stores(0)

    def _tell_of_finished(self) -> None:
        while self._storing:
            item, future = self._storing.popleft()
            if not future.cancelled():
                self._stored(item, future)
        self._events.flush()

    def _limit(self, height: int, width: int) -> int:
        wanted = self._wanted or self._stages.batch_size(height, width)
        return min(wanted, self._fitting.get((height, width), wanted))

    def _load(self, jobs: Iterator[tuple[int, J]]) -> Iterator[_Item[J, L]]:
        """Loaded items in the order of the jobs; skipped and unreadable ones are told of and left out."""
        ahead: deque[tuple[int, J, _Begun, Future[tuple[L, float]]]] = deque()

        def front() -> Iterator[_Item[J, L]]:
            index, job, begun, future = ahead.popleft()
            try:
                if not self._waited_for(begun, future):
                    self._replace_loaders(ahead)
                    raise ImageError(f"reading it takes longer than {self._give_up_s - GRACE_S:g} s")
                loaded, seconds = future.result()
            except DarksideError as error:
                self._events.put(index, ItemFailed(self._stages.source(job), str(error)))
            else:
                yield _Item(index, job, loaded, seconds)

        for index, job in jobs:
            skipped = self._stages.skip(job)
            if skipped is not None:
                self._events.put(index, skipped)
                continue
            begun = _Begun()
            ahead.append((index, job, begun, self._loaders.submit(self._timed_load, job, begun)))
            if len(ahead) > self._workers + 1:
                yield from front()
        while ahead:
            yield from front()

    def _timed_load(self, job: J, begun: _Begun) -> tuple[L, float]:
        started = begun.at = time.perf_counter()
        return self._stages.load(job), time.perf_counter() - started

    def _waited_for(self, begun: _Begun, future: Future[tuple[L, float]]) -> bool:
        """Wait until ``future`` is done; False if that takes too long from when a thread began with it."""
        while self._give_up_s and not future.done():
            left = self._give_up_s - (time.perf_counter() - begun.at if begun.at else 0.0)
            if left <= 0:
                return False
            wait([future], timeout=left)
        return True

    def _replace_loaders(self, ahead: deque[tuple[int, J, _Begun, Future[tuple[L, float]]]]) -> None:
        """Go on with new threads; one of the old ones hangs, the others end when they have done their last job."""
        self._loaders.shutdown(wait=False)
        self._loaders = self._new_loaders()
        for place, (index, job, begun, future) in enumerate(ahead):
            if future.cancel():
                again = self._loaders.submit(self._timed_load, job, begun)
                ahead[place] = (index, job, begun, again)

    def _timed_store(self, item: _Item[J, L], result: R) -> float:
        self._stop_if_full()  # nothing is begun after the first that found no room
        started = time.perf_counter()
        try:
            self._stages.store(item.job, item.loaded, result)
        except NoSpaceError as error:
            self._no_space = self._no_space or error
            raise
        return time.perf_counter() - started

    def _compute(self, items: list[_Item[J, L]]) -> None:
        """Send ``items``, all of one size, to the device; when its memory runs out, in halves."""
        height, width = self._stages.size(items[0].loaded)
        while items:
            self._stop_if_full()
            chunk = items[: self._limit(height, width)]
            started = time.perf_counter()
            pending: Pending[R] | None = None
            try:
                pending = self._stages.submit([item.loaded for item in chunk])
            except Exception as error:
                if not _is_out_of_memory(error):
                    raise
            if pending is None:  # not inside the except block: there the failed batch would still be held
                self._out_of_memory(chunk, items)
                continue
            del items[: len(chunk)]
            self._in_flight.append((chunk, pending, started))
            # Where the device works by itself it has this batch to do while the one before is fetched.
            while len(self._in_flight) > (1 if self._stages.asynchronous else 0):
                self._collect()

    def _out_of_memory(self, chunk: list[_Item[J, L]], items: list[_Item[J, L]]) -> None:
        """Make room, or halve the batch, or give up on the one image that does not fit (dropping it from ``items``)."""
        self._stages.release_memory()
        height, width = self._stages.size(chunk[0].loaded)
        if (
            self._in_flight
        ):  # an earlier batch still holds memory: finish it, then try this one again as it is
            while self._in_flight:
                self._collect()
            self._stages.release_memory()
        elif len(chunk) > 1:
            self._fitting[height, width] = len(chunk) // 2
            self._emit(
                Notice(
                    f"out of device memory at {len(chunk)} images of {width}x{height}: going on with {len(chunk) // 2}"
                )
            )
        else:
            error = OutOfDeviceMemoryError(
                f"{width}x{height} does not fit into the device's memory",
                hint="make it smaller (--max-size, --image-size), or use a device with more",
            )
            self._events.put(chunk[0].index, ItemFailed(self._stages.source(chunk[0].job), str(error)))
            del items[0]

    def _collect(self) -> None:
        """Fetch the oldest batch from the device and hand its results to be stored."""
        chunk, pending, started = self._in_flight.popleft()
        results: Iterable[R] | None = None
        try:
            results = pending.result()
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
        if results is None:
            del pending
            again = list(chunk)
            self._out_of_memory(chunk, again)
            if again:
                self._compute(again)
            return
        seconds = (time.perf_counter() - started) / len(chunk)
        for item, result in zip(chunk, results, strict=True):
            item.seconds += seconds
            self._storing.append((item, self._storers.submit(self._timed_store, item, result)))
        self._finish_stores(2 * self._workers)

    def _finish_stores(self, allowed: int) -> None:
        """Wait until at most ``allowed`` results are being stored, and tell of those that are."""
        while self._storing and (len(self._storing) > allowed or self._storing[0][1].done()):
            self._stop_if_full()
            self._stored(*self._storing.popleft())
        self._stop_if_full()

    def _stop_if_full(self) -> None:
        if self._no_space is not None:
            raise NoSpaceError(
                f"stopped, because {self._no_space.why}",
                hint="free some room and run the same command again: what is done is kept",
            ) from self._no_space

    def _stored(self, item: _Item[J, L], future: Future[float]) -> None:
        try:
            seconds = item.seconds + future.result()
        except NoSpaceError as error:
            if error is self._no_space:  # others that were on their way are as good as not begun
                self._events.put(item.index, ItemFailed(self._stages.source(item.job), str(error)))
        except DarksideError as error:
            self._events.put(item.index, ItemFailed(self._stages.source(item.job), str(error)))
        else:
            self._events.put(item.index, self._stages.finished(item.job, item.loaded, seconds))
