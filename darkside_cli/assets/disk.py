"""Room on the disk, and locks between the processes that use it."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from darkside_cli.errors import MissingAssetError
from darkside_cli.events import Emit, Notice
from darkside_cli.units import human_size


class Stopped(Exception):  # noqa: N818 - what was asked for, no error
    """The transfer was told to stop."""


class Space:
    """Keeps several downloads from promising the same free bytes of a disk twice."""

    def __init__(self, spare_bytes: int) -> None:
        self._spare = spare_bytes
        self._claims: dict[str, int] = {}
        self._lock = threading.Lock()

    def claim(self, name: str, folder: Path, size: int) -> None:
        """Reserve ``size`` bytes for ``name``, in place of what it had.

        Raises MissingAssetError if too few are free.
        """
        with self._lock:
            others = sum(claim for key, claim in self._claims.items() if key != name)
            free = free_bytes(folder)
            if size + others + self._spare > free:
                raise not_enough_space(name, folder, size + others, max(0, free - self._spare))
            self._claims[name] = size

    def update(self, name: str, size: int) -> None:
        """``name`` needs only ``size`` bytes more."""
        with self._lock:
            self._claims[name] = size

    def release(self, name: str) -> None:
        """``name`` needs nothing more."""
        with self._lock:
            self._claims.pop(name, None)


def lock_path(folder: Path, name: str) -> Path:
    """File that the lock ``name`` is held on."""
    return folder / "locks" / f"{name.replace('/', '__')}.lock"


@contextmanager
def locked(folder: Path, name: str, emit: Emit, stop: threading.Event) -> Iterator[None]:
    """Hold the lock ``name`` under ``folder`` against other processes and threads; tell when that takes time.

    Raises Stopped when ``stop`` is set meanwhile, MissingAssetError if the folder cannot be written to.
    """
    try:
        path = lock_path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        told = False
        while True:
            try:
                lock.acquire(timeout=0.2)
                break
            except Timeout:
                if stop.is_set():
                    raise Stopped from None
                if not told:
                    emit(Notice(f"another process is busy with {name}; waiting for it"))
                    told = True
    except OSError as error:
        raise MissingAssetError(
            f"cannot write to {folder.parent}: {error.strerror}", hint="name another folder with --data-dir"
        ) from error
    try:
        yield
    finally:
        lock.release()


def free_bytes(folder: Path) -> int:
    """Bytes free for us on the disk that holds ``folder``, which need not exist yet."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def disk_error(error: OSError, target: Path, part: Path, received: int) -> MissingAssetError:
    """Make the error for a disk that does not take ``target``; ``received`` bytes of it are at ``part``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MissingAssetError(
            f"the disk is full: {human_size(received)} of {target.name} are at {part}",
            hint="free some space and run the same command again, it goes on from there",
        )
    return MissingAssetError(
        f"{target.name} cannot be written to {target.parent}: {error.strerror or error}",
        hint="mend that, or name another folder with --data-dir",
    )


def not_enough_space(name: str, folder: Path, needed: int, free: int) -> MissingAssetError:
    """Make the error for a disk that is too small."""
    return MissingAssetError(
        f"not enough space for {name}: {human_size(needed)} needed, {human_size(free)} free for {folder}",
        hint="free some space, or name a folder on another disk with --data-dir",
    )
