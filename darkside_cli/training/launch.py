"""Several processes of one command on this machine, as ``torchrun`` would start them, without anything else.

Each process gets the environment that :class:`darkside_cli.training.distributed.Ranks` reads. The first one has our
stdin, stdout and stderr; the others' stderr is kept, for the case that one of them fails.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import IO, Any, NamedTuple

from darkside_cli.errors import UsageError
from darkside_cli.images.settings import usable_cpus

_PARENT = "DARKSIDE_LAUNCHER"
_POLL_S = 0.05
#: After one process failed the others notice by themselves; those that have not are ended.
_GRACE_S, _KILL_S = 20.0, 20.0
_TAIL_LINES = 20
_INTERRUPTED = 130
_KILL = int(getattr(signal, "SIGKILL", signal.SIGTERM))


@dataclass(frozen=True)
class LaunchResult:
    """How the processes ended: ``code`` for ``sys.exit``, 0 if all did well, else that of the process to blame.

    ``rank`` is that one's number, ``stderr_tail`` the end of what it wrote to stderr, if nobody saw that.
    """

    code: int
    rank: int | None = None
    stderr_tail: tuple[str, ...] = ()


class _Process(NamedTuple):
    rank: int
    popen: subprocess.Popen[bytes]
    stderr: IO[bytes] | None = None

    def send(self, number: int) -> None:
        if self.popen.poll() is None:
            with suppress(OSError):
                self.popen.send_signal(number)


@contextmanager
def signals_taken(take: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP go to ``take`` inside of this block; those that are ignored (nohup) stay so.

    Outside of the main thread, where Python takes no signals, nothing is changed.
    """
    before: dict[int, Any] = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            with suppress(ValueError):  # not the main thread
                before[number] = signal.signal(number, take)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def launch(
    command: Sequence[str], processes: int, *, environment: Mapping[str, str] | None = None
) -> LaunchResult:
    """Run ``command`` in ``processes`` processes that know of each other, and wait for all of them.

    SIGINT, SIGTERM and SIGHUP are handed on. When one fails the others get 20 s to end, then SIGTERM, then SIGKILL.
    Raises UsageError for fewer than one process, or inside of a process that was started like this.
    """
    if processes < 1:
        raise UsageError(f"cannot start {processes} processes", hint="give 1 or more")
    if "WORLD_SIZE" in os.environ or "RANK" in os.environ:
        raise UsageError("this process is one of several already", hint="leave out the number of processes")
    started: list[_Process] = []
    received: list[int] = []

    try:
        with signals_taken(lambda number, _: received.append(number)), port_kept() as port:
            shared = _environment(processes, port, environment)
            for rank in range(processes):
                started.append(_start(command, rank, shared))
            return _result(_wait(started, received))
    finally:
        for each in started:
            each.send(_KILL)
            each.popen.wait()
            if each.stderr is not None:
                each.stderr.close()


@contextmanager
def port_kept() -> Iterator[int]:
    """A free port where one of our processes can listen, and that nobody else gets inside of this block."""
    with socket.socket() as kept:
        if (
            os.name != "nt"
        ):  # bound here and not listened on: the first one, which says the same, may have it too
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port = int(kept.getsockname()[1])
        if os.name == "nt":
            kept.close()
        yield port


def _environment(processes: int, port: int, extra: Mapping[str, str] | None) -> dict[str, str]:
    return {
        # Each would take all CPUs otherwise, and they would wait for one another.
        "OMP_NUM_THREADS": str(max(1, usable_cpus() // processes)),
        **os.environ,
        **(extra or {}),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        _PARENT: str(os.getpid()),
    }


def _start(command: Sequence[str], rank: int, environment: Mapping[str, str]) -> _Process:
    own = {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    if rank == 0:
        return _Process(rank, subprocess.Popen(command, env=own, start_new_session=True))
    stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the process
    none = subprocess.DEVNULL
    popen = subprocess.Popen(command, env=own, stdin=none, stdout=none, stderr=stderr, start_new_session=True)
    return _Process(rank, popen, stderr)


def _wait(processes: Sequence[_Process], received: Sequence[int]) -> _Process | None:
    """Wait for all, whatever signals are ``received`` meanwhile; returns the one to blame, if one failed."""
    failed: list[_Process] = []  # by themselves, in order
    failed_at = 0.0
    terminated = False
    handed_on = 0
    while True:
        time.sleep(_POLL_S)
        # Here and not where the signal arrives: one may arrive while they are being started, and is for all of them.
        for number in received[handed_on:]:
            handed_on += 1
            for each in processes:  # they are in sessions of their own, so that each gets a Ctrl-C once
                each.send(number if handed_on < 3 else _KILL)  # the third time is for those who do not answer
        codes = [each.popen.poll() for each in processes]
        if not terminated:
            failed += [
                each for each, code in zip(processes, codes, strict=True) if code and each not in failed
            ]
        if None not in codes:
            # One that only misses another ends with 1, and maybe before that other is quite gone.
            return min(failed, key=lambda each: each.popen.returncode == 1, default=None)
        # Those that were asked to stop may take their time to save.
        if received or all(each.popen.returncode == _INTERRUPTED for each in failed):
            continue
        failed_at = failed_at or time.monotonic()
        waited = time.monotonic() - failed_at
        if waited > _GRACE_S + _KILL_S or (waited > _GRACE_S and not terminated):
            for each in processes:
                each.send(_KILL if terminated else signal.SIGTERM)
            terminated = True


def _result(blamed: _Process | None) -> LaunchResult:
    if blamed is None:
        return LaunchResult(0)
    code = blamed.popen.returncode
    lines: list[str] = []
    if blamed.stderr is not None:
        blamed.stderr.seek(0)
        lines = blamed.stderr.read().decode(errors="replace").splitlines()
    # One ended by a signal is told of as shells do.
    return LaunchResult(code if code > 0 else 128 - code, blamed.rank, tuple(lines[-_TAIL_LINES:]))


def launcher_watch() -> Callable[[], bool]:
    """Function that tells whether the :func:`launch` that started this process is gone: nobody would stop this one.

    It always says no in a process that was started otherwise.
    """
    parent = os.getppid()
    if os.environ.get(_PARENT) != str(parent):
        return lambda: False
    return lambda: os.getppid() != parent
