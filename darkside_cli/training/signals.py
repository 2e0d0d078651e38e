"""Ctrl-C and SIGTERM as a wish that is looked at between two batches."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

#: A closed terminal (SIGHUP) is a wish to stop, too, but not for those who asked for being left alone (nohup).
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Interruption:
    """While this context is open, the first signal to stop only sets :attr:`requested`; the second ends at once.

    The second raises KeyboardInterrupt wherever the program is. Signals that are ignored stay so. Outside of the main
    thread, where Python takes no signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is None or signal.getsignal(number) in (signal.SIG_IGN, None):
                continue
            try:
                self._before[number] = signal.signal(number, self._take)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
