"""Files that are whole or not there: written under a hidden name beside their target, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Start of the names of files in the making. They are hidden, so no listing of images takes them for inputs.
TEMPORARY_PREFIX = ".darkside-"

# A suffix longer than this is part of somebody's file name rather than a file type; leaving it out keeps the
# temporary name under the 255 bytes that file systems allow.
_LONGEST_SUFFIX_BYTES = 32


@contextmanager
def temporary_beside(path: str | os.PathLike[str], *, sync: bool = False) -> Iterator[Path]:
    """Give the path of a new, empty file in ``path``'s folder; when the block ends well it becomes ``path``.

    If the block raises (KeyboardInterrupt included) the temporary file is removed and ``path`` is as it was.
    A process that is killed outright leaves at most a hidden file, never a partial ``path``. Missing parent
    folders are made. The name is unique to the process and the call and ends in ``path``'s suffix, because
    some writers choose the format by it. ``sync`` has the data on the disk before the rename, which outlives
    a power cut but costs milliseconds: for checkpoints, not for images.

    Raises OSError as the system gives it: the caller knows what kind of file it is that could not be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= _LONGEST_SUFFIX_BYTES else ""
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}{suffix}")
    try:
        # Not tempfile.mkstemp: its files are readable by their owner alone, and stay so when renamed.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        if sync:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes | memoryview, *, sync: bool = False) -> None:
    """Write ``data`` to ``path``, whole or not at all, as :func:`temporary_beside` does."""
    with temporary_beside(path, sync=sync) as temporary:
        temporary.write_bytes(data)
