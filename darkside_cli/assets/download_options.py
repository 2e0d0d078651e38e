"""How files are downloaded: from where, how often an address is tried, and how long is waited in between."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from darkside_cli.assets.disk import Stopped
from darkside_cli.assets.entries import RemoteFile
from darkside_cli.assets.http import Timeouts
from darkside_cli.assets.http_failures import Refused, Transient
from darkside_cli.assets.mirrors import Mirror
from darkside_cli.events import Emit, TransferRetrying

MIB = 1 << 20
#: So often a server is asked that would most likely fail in the same way for ever.
_QUICK_TRIES = 3
_MOST_JITTER = 1.5


@dataclass(frozen=True)
class Options:
    """How to download.

    ``attempts`` failures in a row without a new byte end the trying of one address: a third of them where no
    connection comes about, three at most where the server breaks the rules of HTTP or has not what it promises.
    Waits grow from ``backoff_s`` by doubling to ``backoff_cap_s``, with jitter; a server that asks for more than
    ``patience_s`` is not waited for. ``spare_bytes`` of the disk stay free. ``size`` is that of data sets that are
    made here ("": the usual one). ``why_offline`` says what to undo where the network is off limits.
    ``wait``, ``chance`` and ``clock`` are there for tests.
    """

    attempts: int = 6
    backoff_s: float = 1.0
    backoff_cap_s: float = 30.0
    patience_s: float = 600.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    jobs: int = 4
    mirrors: tuple[Mirror, ...] = ()
    offline: bool = False
    why_offline: str = "as it was asked for"
    spare_bytes: int = 64 * MIB
    size: str = ""
    wait: Callable[[threading.Event, float], object] = threading.Event.wait
    chance: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic

    def tries(self, failure: Transient) -> int:
        """How many failures such as this one, in a row, end the trying."""
        if failure.lasting:
            return min(_QUICK_TRIES, self.attempts)
        return self.attempts if failure.connected else max(1, self.attempts // 3)

    def pause_s(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, without jitter."""
        return min(self.backoff_cap_s, self.backoff_s * 2.0 ** (failures - 1))

    def pause(
        self,
        file: RemoteFile,
        url: str,
        failure: Transient,
        failures: int,
        took_s: float,
        emit: Emit,
        stop: threading.Event,
    ) -> None:
        """Wait before the next try, or raise Refused when there should be none. ``took_s``: what the last one took."""
        attempts = self.tries(failure)
        if failures >= attempts:
            times = f" ({failures} times in a row)" if failures > 1 else ""
            raise Refused(failure.reason + times, unheard=not failure.connected)
        wait_s = 0.0 if failure.at_once else self.pause_s(failures) * (_MOST_JITTER - 1 + self.chance())
        if failure.wait_s is not None:
            if failure.wait_s > self.patience_s:
                raise Refused(f"{failure.reason}: the server asks to come back in {failure.wait_s:.0f} s")
            wait_s = max(wait_s, failure.wait_s)
        later = (
            max(failure.wait_s or 0.0, self.pause_s(n) * _MOST_JITTER) for n in range(failures + 1, attempts)
        )
        whole_s = wait_s + sum(later) + (attempts - failures) * took_s
        emit(TransferRetrying(file.name, failure.reason, wait_s, failures + 1, attempts, whole_s, url))
        self.wait(stop, wait_s)
        if stop.is_set():
            raise Stopped
