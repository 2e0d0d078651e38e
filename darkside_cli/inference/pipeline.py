"""Many files through one device: load, compute and store overlapped, in flat memory, told of in order.

Files are loaded by a pool of threads some places ahead, grouped by size into batches, computed by the calling
thread, and stored by a second pool. Events leave in the order of the jobs, whatever finishes first. How much is in
flight is bounded by the number of threads and the batch size, never by the number of files. What is done to a file
is the caller's: see :class:`darkside_cli.inference.stages.Stages`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from darkside_cli.errors import DarksideError, ImageError, NoSpaceError, OutOfDeviceMemoryError
from darkside_cli.events import LOADING, Emit, ItemFailed, Notice
from darkside_cli.inference.stages import Counts, InOrder, Pending, Stages

GRACE_S = 5.0
"""How much longer than its own deadline a job may take to load before its thread is left alone."""

J = TypeVar("J")
L = TypeVar("L")
R = TypeVar("R")
T = TypeVar("T")


@dataclass(eq=False)
class _Item(Generic[J, L]):
    """A job on its way: loaded and stored in threads, which ``began`` to load it then (0 while it waits)."""

    index: int
    job: J
    began: float = 0.0
    seconds: float = 0.0
    loading: Future[L] = field(default_factory=Future)
    storing: Future[None] = field(default_factory=Future)

    @property
    def loaded(self) -> L:
        return self.loading.result()


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
        self._stages, self._workers, self._wanted = stages, workers, batch_size
        self._give_up_s, self._emit = give_up_s, emit
        self._fitting: dict[tuple[int, int], int] = {}
        self._events = InOrder(emit)
        self._waiting: dict[tuple[int, int], list[_Item[J, L]]] = {}
        self._in_flight: deque[tuple[list[_Item[J, L]], Pending[R], float]] = deque()
        self._storing: deque[_Item[J, L]] = deque()
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
        except (KeyboardInterrupt, NoSpaceError) as error:
            # Nobody waits for a decoder: what it makes is not wanted any more, and it may take minutes.
            self._loaders.shutdown(wait=False, cancel_futures=True)
            # The work of the others is done: where there is room for it, a run that goes on need not do it again.
            self._storers.shutdown(wait=True, cancel_futures=isinstance(error, NoSpaceError))
            while self._storing:
                item = self._storing.popleft()
                if not item.storing.cancelled():
                    self._stored(item)
            self._events.flush()
            raise
        finally:
            self._loaders.shutdown(wait=False, cancel_futures=True)
            self._storers.shutdown(wait=True, cancel_futures=True)
        return self.counts

    def _new_loaders(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._workers, thread_name_prefix=LOADING)

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

    def _fail(self, item: _Item[J, L], error: DarksideError) -> None:
        self._events.put(item.index, ItemFailed(self._stages.source(item.job), str(error)))

    # Loading

    def _load(self, jobs: Iterator[tuple[int, J]]) -> Iterator[_Item[J, L]]:
        """Loaded items in the order of the jobs; skipped and unreadable ones are told of and left out."""
        ahead: deque[_Item[J, L]] = deque()

        def front() -> Iterator[_Item[J, L]]:
            item = ahead.popleft()
            try:
                if not self._waited_for(item):
                    self._replace_loaders(ahead)
                    raise ImageError(f"reading it takes longer than {self._give_up_s - GRACE_S:g} s")
                item.loading.result()
            except DarksideError as error:
                self._fail(item, error)
            else:
                yield item

        for index, job in jobs:
            skipped = self._stages.skip(job)
            if skipped is not None:
                self._events.put(index, skipped)
                continue
            item: _Item[J, L] = _Item(index, job)
            item.loading = self._loaders.submit(self._load_timed, item)
            ahead.append(item)
            if len(ahead) > self._workers + 1:
                yield from front()
        while ahead:
            yield from front()

    def _load_timed(self, item: _Item[J, L]) -> L:
        item.began = time.perf_counter()
        loaded = self._stages.load(item.job)
        item.seconds = time.perf_counter() - item.began
        return loaded

    def _waited_for(self, item: _Item[J, L]) -> bool:
        """Wait until ``item`` is loaded; False if that takes too long from when a thread began with it."""
        while self._give_up_s and not item.loading.done():
            left = self._give_up_s - (time.perf_counter() - item.began if item.began else 0.0)
            if left <= 0:
                return False
            wait([item.loading], timeout=left)
        return True

    def _replace_loaders(self, ahead: Iterable[_Item[J, L]]) -> None:
        """Go on with new threads; one of the old ones hangs, the others end when they have done their last job."""
        self._loaders.shutdown(wait=False)
        self._loaders = self._new_loaders()
        for item in ahead:
            if item.loading.cancel():
                item.loading = self._loaders.submit(self._load_timed, item)

    # Computing

    def _limit(self, height: int, width: int) -> int:
        wanted = self._wanted or self._stages.batch_size(height, width)
        return min(wanted, self._fitting.get((height, width), wanted))

    def _compute(self, items: list[_Item[J, L]]) -> None:
        """Send ``items``, all of one size, to the device; when its memory runs out, in halves."""
        size = self._stages.size(items[0].loaded)
        while items:
            self._stop_if_full()
            chunk = items[: self._limit(*size)]
            started = time.perf_counter()
            pending = _unless_out_of_memory(self._stages.submit, [item.loaded for item in chunk])
            if pending is None:
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
            self._fitting[height, width] = half = len(chunk) // 2
            text = f"out of device memory at {len(chunk)} images of {width}x{height}: going on with {half}"
            self._emit(Notice(text))
        else:
            error = OutOfDeviceMemoryError(
                f"{width}x{height} does not fit into the device's memory",
                hint="make it smaller (--max-size, --image-size), or use a device with more",
            )
            self._fail(chunk[0], error)
            del items[0]

    def _collect(self) -> None:
        """Fetch the oldest batch from the device and hand its results to be stored."""
        chunk, pending, started = self._in_flight.popleft()
        results = _unless_out_of_memory(pending.result)
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
            item.storing = self._storers.submit(self._store_timed, item, result)
            self._storing.append(item)
        self._finish_stores(2 * self._workers)

    # Storing

    def _store_timed(self, item: _Item[J, L], result: R) -> None:
        self._stop_if_full()  # nothing is begun after the first that found no room
        started = time.perf_counter()
        try:
            self._stages.store(item.job, item.loaded, result)
        except NoSpaceError as error:
            self._no_space = self._no_space or error
            raise
        item.seconds += time.perf_counter() - started

    def _finish_stores(self, allowed: int) -> None:
        """Wait until at most ``allowed`` results are being stored, and tell of those that are."""
        while self._storing and (len(self._storing) > allowed or self._storing[0].storing.done()):
            self._stop_if_full()
            self._stored(self._storing.popleft())
        self._stop_if_full()

    def _stop_if_full(self) -> None:
        if self._no_space is not None:
            raise NoSpaceError(
                f"stopped, because {self._no_space.why}",
                hint="free some room and run the same command again: what is done is kept",
            ) from self._no_space

    def _stored(self, item: _Item[J, L]) -> None:
        try:
            item.storing.result()
        except DarksideError as error:
            # Those that found no room after the first are as good as not begun.
            if not isinstance(error, NoSpaceError) or error is self._no_space:
                self._fail(item, error)
        else:
            self._events.put(item.index, self._stages.finished(item.job, item.loaded, item.seconds))


def _unless_out_of_memory(compute: Callable[..., T], *given: Any) -> T | None:
    """What ``compute(*given)`` gives, or None, and nothing held of it, if the device's memory runs out."""
    from darkside_cli.inference.device import is_out_of_memory

    try:
        return compute(*given)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    return None
