"""Several transfers at once, whose events all reach the caller in the caller's own thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

from darkside_cli.events import Emit, Event

T = TypeVar("T")

#: Work for one thread: it tells its events to the first argument and ends soon after the second is set.
Work = Callable[[Emit, threading.Event], T]

_POLL_S = 0.1
_GRACE_S = 2.0


class Result(Generic[T]):
    """How one piece of work ended: ``value``, or the ``error`` it raised."""

    def __init__(self) -> None:
        self.value: T | None = None
        self.error: Exception | None = None

    def get(self) -> T:
        """Its value. Raises what it raised."""
        if self.error is not None:
            raise self.error
        return cast(T, self.value)


def run_parallel(pieces: Sequence[Work[T]], *, workers: int, emit: Emit) -> list[Result[T]]:
    """Run ``pieces`` of work in up to ``workers`` threads and return how each ended, in their order.

    ``emit`` is called in this thread only. An exception of one does not touch the others. When this
    thread is interrupted (KeyboardInterrupt, or an exception out of ``emit``) the others are told to stop and
    the exception goes on: the threads are daemons, so one that sits in a silent connection cannot hold the
    program.
    """
    results: list[Result[T]] = [Result() for _ in pieces]
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
                    results[index].value = pieces[index](events.put, stop)
                except Exception as error:
                    results[index].error = error
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
