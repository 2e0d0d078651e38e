"""Processes that tests start, and waiting for what they or threads do, in place of sleeping and hoping."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, AnyStr


class Process(subprocess.Popen[AnyStr]):
    """A process that does not outlive its ``with`` block: a test that fails, also for its time being up, kills it.

    ``subprocess.Popen`` waits for its end then, which never comes if the test failed because the process hangs.
    """

    def __exit__(self, kind: type[BaseException] | None, *others: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *others)


def wait_until(
    happened: Callable[[], object],
    *,
    process: subprocess.Popen[Any] | None = None,
    patience_s: float = 120,
    pause_s: float = 0.002,
) -> None:
    """Return when ``happened()`` is true, or the ``process`` that should make it so has ended.

    Fails after ``patience_s``, which is for machines that are busy: nothing waits that long. It is asked every
    ``pause_s``.
    """
    end = time.monotonic() + patience_s
    while not happened() and (process is None or process.poll() is None):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause_s)


def let_run(process: subprocess.Popen[Any], seconds: float) -> None:
    """Return when ``process`` has ended, or after ``seconds``: for what is done to it at any moment."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def is_gone(process: int) -> bool:
    """Whether there is no process of this number any more: it has ended, and who started it knows that."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False
