"""Reading files that people name: regular files only, and no more of one than its kind can have.

A pipe or a device given for a configuration would block or never end, and a file of many gigabytes fill the memory.
Both are an OSError here whose ``strerror`` says so, so that whoever tells why a file cannot be read tells that too.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

from darkside_cli.errors import MissingAssetError, UsageError

_CHUNK_BYTES = 1 << 20


class NotRegularError(OSError):
    """It is a folder, a pipe, a socket or a device; ``strerror`` says which."""

    strerror: str


class TooLargeError(OSError):
    """It has more bytes than are read; ``strerror`` says how many those are."""


def require_regular(path: Path, mode: int) -> None:
    """See that ``mode``, of ``stat``, is that of a regular file. Raises NotRegularError."""
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise NotRegularError(code, f"it is {kind}, not a file", str(path))


def open_regular(path: Path) -> IO[bytes]:
    """Open ``path`` for reading, but nothing that could block or change by being opened.

    Raises NotRegularError for what is no regular file, any other OSError as ``open`` does.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a NUL byte
        raise NotRegularError(errno.EINVAL, "no file can have this name", str(path)) from error
    require_regular(path, mode)
    return path.open("rb")


def read_regular(path: Path, *, limit_bytes: int) -> bytes:
    """All of a regular file of at most ``limit_bytes``; of a larger one no more than that is read.

    Raises NotRegularError, TooLargeError, and any other OSError as ``open`` and ``read`` do.
    """
    chunks: list[bytes] = []
    with open_regular(path) as file:
        left = limit_bytes + 1  # not by what the system says: files of /proc have no size, others grow
        if os.fstat(file.fileno()).st_size < left:
            while left > 0 and (chunk := file.read(min(_CHUNK_BYTES, left))):
                chunks.append(chunk)
                left -= len(chunk)
        else:
            left = 0
    if left <= 0:
        raise TooLargeError(errno.EFBIG, f"it has more than {_size(limit_bytes)}", str(path))
    return b"".join(chunks)


def _size(size_bytes: int) -> str:
    return f"{size_bytes >> 20:,} MB" if size_bytes >= 1 << 20 else f"{size_bytes:,} bytes"


def read_list_text(path: Path, *, limit_bytes: int, hint: str) -> str:
    """Text (UTF-8) of a list that a person names.

    Raises MissingAssetError if there is no such file, UsageError with ``hint`` if it cannot be read or is no text.
    """
    try:
        return read_regular(path, limit_bytes=limit_bytes).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise MissingAssetError(f"there is no file {path}", hint="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read {path}: {reason}", hint=hint) from error
