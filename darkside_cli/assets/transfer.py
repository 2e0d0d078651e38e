"""Transfers: what is told of one as it goes, and several at once whose events all reach the caller in its thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from darkside_cli.assets.disk import Stopped
from darkside_cli.events import Emit, Event, TransferFinished, TransferProgress, TransferStarted

T = TypeVar("T")

#: Work for one thread: it tells its events to the first argument and ends soon after the second is set.
Work = Callable[[Emit, threading.Event], T]

#: Seconds between two progress events of one transfer.
EVERY_S = 0.1
_POLL_S = 0.1
_GRACE_S = 2.0


class Transfer:
    """Tells of the transfer ``name`` of ``total`` bytes as it goes; raises Stopped once ``stop`` is set."""

    def __init__(
        self, name: str, total: int | None, activity: str, emit: Emit, stop: threading.Event
    ) -> None:
        self._name, self._total, self._activity, self._emit, self._stop = name, total, activity, emit, stop
        self._started = self._told = time.monotonic()
        emit(TransferStarted(name, total, activity=activity))

    def moved(self, done: int) -> None:
        """``done`` bytes in all have been dealt with."""
        if self._stop.is_set():
            raise Stopped
        if time.monotonic() - self._told >= EVERY_S:
            self._told = time.monotonic()
            self._emit(TransferProgress(self._name, done, self._total, activity=self._activity))

    def finish(self, path: Path, size: int, files: int = 1) -> None:
        """All is done: ``files`` of ``size`` bytes in all are at ``path``."""
        seconds = time.monotonic() - self._started
        self._emit(TransferFinished(self._name, path, size, seconds, activity=self._activity, files=files))


def run_parallel(pieces: Sequence[Work[T]], *, workers: int, emit: Emit) -> list[Future[T]]:
    """Run ``pieces`` of work in up to ``workers`` threads and return how each ended, in their order.

    ``emit`` is called in this thread only. An exception of one does not touch the others. When this
    thread is interrupted (KeyboardInterrupt, or an exception out of ``emit``) the others are told to stop and
    the exception goes on: the threads are daemons, so one that sits in a silent connection cannot hold the
    program.
    """
    results: list[Future[T]] = [Future() for _ in pieces]
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    stop = threading.Event()
    for index in range(len(pieces)):
        waiting.put(index)

    def work() -> None:
        try:
            while not stop.is_set():
                index = waiting.get_nowait()
                try:
                    results[index].set_result(pieces[index](events.put, stop))
                except Exception as error:
                    results[index].set_exception(error)
        except queue.Empty:
            pass
        finally:
            events.put(None)  # this thread has nothing more to say

    threads = [threading.Thread(target=work, daemon=True) for _ in range(max(1, min(workers, len(pieces))))]
    for thread in threads:
        thread.start()
    speaking = len(threads)
    try:
        while speaking:
            try:
                # A bare get() would keep Ctrl-C waiting on some platforms.
                event = events.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if event is None:
                speaking -= 1
            else:
                emit(event)
    except BaseException:
        stop.set()
        for thread in threads:
            thread.join(_GRACE_S / len(threads))
        raise
    return results
