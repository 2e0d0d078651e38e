"""Work on an image in bands of rows, one thread per core, each thread with its own share of the cache.

Torch spreads every single operation over the cores and lets them meet after it. Where an image goes through
many small operations, a thread of its own for each band does better: what one operation wrote is still in that
core's cache for the next, and a core that somebody else is using holds up its own band only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor

MAX_THREADS = 16
"""More threads than this would mostly wait for Python's lock."""

T = TypeVar("T")

_lock = threading.Lock()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}  # (process, threads): a fork has none of its parent's
_local = threading.local()


@dataclass(frozen=True)
class _Team:
    """Threads of which the current one is part, and whether their work is no longer wanted."""

    pool: ThreadPoolExecutor
    threads: int
    dismissed: threading.Event = field(default_factory=threading.Event)


class _DismissedError(Exception):
    """Ends the work of a team that was interrupted."""


def in_team(function: Callable[[], T]) -> T:
    """Result of ``function()``, run in a thread of its own in which torch uses that single thread.

    Calls of :func:`for_each_band` in it share their bands between this thread and its fellows. The modes of the
    calling thread (gradients, inference) are not taken along.
    """
    threads = min(torch.get_num_threads(), MAX_THREADS)
    if threads <= 1 or getattr(_local, "team", None) is not None:
        return function()
    team = _Team(_pool(), threads)

    def lead() -> T:
        _local.team = team
        try:
            return function()
        finally:
            _local.team = None

    future = team.pool.submit(lead)
    try:
        return future.result()
    finally:  # after an interruption: nothing is being worked on any more when this returns
        team.dismissed.set()
        wait([future])


def for_each_band(bands: int, work: Callable[[int], None]) -> None:
    """Call ``work(0)`` to ``work(bands - 1)``, each once, on as many threads as torch uses, in no fixed order.

    Inside ``work`` torch runs on a single thread and records no gradients. An exception stops the hand-out of
    further bands and is raised here.
    """
    team: _Team | None = getattr(_local, "team", None)
    threads = min(team.threads if team else torch.get_num_threads(), bands, MAX_THREADS)
    # next() on a count is one step for the interpreter: no band is handed out twice.
    numbers = count()
    stop = threading.Event()

    def take() -> None:
        with torch.no_grad():
            while (band := next(numbers)) < bands and not stop.is_set():
                if team and team.dismissed.is_set():
                    raise _DismissedError
                try:
                    work(band)
                except BaseException:
                    stop.set()
                    raise

    if threads <= 1:
        take()
        return
    pool = team.pool if team else _pool()
    futures = [pool.submit(take) for _ in range(threads - 1 if team else threads)]
    try:
        if team:
            take()
            # Who has not come by now (being in another team, perhaps) is not needed.
            futures = [future for future in futures if not future.cancel()]
        wait(futures)
    finally:  # after an exception: what the bands write to is free again when this returns
        stop.set()
        wait([future for future in futures if not future.cancel()])
    for future in futures:
        if not future.cancelled():
            future.result()


def _pool() -> ThreadPoolExecutor:
    """Threads in which torch runs single-threaded, as many as torch uses in the calling thread."""
    threads = min(torch.get_num_threads(), MAX_THREADS)
    key = os.getpid(), threads
    with _lock:
        if key not in _pools:
            before = torch.get_num_threads()
            pool = ThreadPoolExecutor(threads, thread_name_prefix="bands")
            started = threading.Barrier(threads)

            def start() -> None:
                torch.get_num_threads()  # makes torch set up this thread now, so that it won't undo the next line
                torch.set_num_threads(1)
                started.wait()

            try:
                for future in [pool.submit(start) for _ in range(threads)]:
                    future.result()
            except (
                BaseException
            ):  # a Ctrl-C, or no more threads: those that wait for the rest would do so for ever
                started.abort()
                pool.shutdown(wait=False)
                raise
            # set_num_threads acts on its own thread, and on those that are yet to come: leave them as they were.
            torch.set_num_threads(before)
            _pools[key] = pool
        return _pools[key]


def scratch(use: str, *shapes: tuple[int, ...]) -> Iterator[Tensor]:
    """Uninitialised float32 tensors that belong to the calling thread until it asks again for the same ``use``."""
    sizes = [-(-prod(shape) // 16) * 16 for shape in shapes]  # whole cache lines
    kept: dict[str, Tensor] = _local.__dict__.setdefault("scratch", {})
    memory = kept.get(use)
    if memory is None or memory.numel() < sum(sizes):
        with torch.inference_mode(False):
            memory = kept[use] = torch.empty(sum(sizes), dtype=torch.float32, device="cpu")
    start = 0
    for shape, size in zip(shapes, sizes, strict=True):
        yield memory[start : start + prod(shape)].view(shape)
        start += size


class Memory:
    """Memory kept from one image to the next, by name; for one forward pass at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._kept: dict[str, Tensor] = {}
        self._size: tuple[int, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return Memory, ()  # copies and pickles start empty

    def of_size(self, *size: int) -> None:
        """Drop everything unless the image size is that of the last image."""
        if size != self._size:
            self._kept.clear()
            self._size = size

    def get(self, name: str, *shape: int) -> Tensor:
        """Memory called ``name``, uninitialised or as left behind."""
        kept = self._kept.get(name)
        if kept is None or kept.numel() < prod(shape):
            self._kept.pop(name, None)  # before more is taken
            kept = self._kept[name] = torch.empty(prod(shape))
        return kept[: prod(shape)].view(shape)
