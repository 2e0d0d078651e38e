"""Files that are read while somebody looks at the clock, and with parts of them left out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import IO, Any

from darkside_cli.errors import ImageError

#: How long reading and decoding one image may take. The largest photographs take some twenty seconds.
MAX_SECONDS = 120.0


class GuardedStream:
    """An open file for a decoder, which asks for it block by block: past the deadline there is nothing more to read.

    With ``kept`` only those parts of what is in front of ``rest`` are there, and all that follows.
    """

    def __init__(self, stream: IO[bytes], seconds: float) -> None:
        self._stream = stream
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._head: bytes | None = None
        self._rest = 0
        self._at = 0

    def leave_out(self, kept: Sequence[tuple[int, int]], rest: int) -> None:
        """Read on from the beginning, and of what is in front of ``rest`` only the parts ``kept``."""
        parts = []
        for start, end in kept:
            self._stream.seek(start)
            parts.append(self._stream.read(end - start))
        self._head, self._rest, self._at = b"".join(parts), rest, 0

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes. Raises ImageError past the deadline."""
        if time.monotonic() > self._ends:
            raise ImageError(f"reading it takes longer than {self._seconds:g} s")
        if self._head is None:
            return self._stream.read(size)
        head = self._head[self._at :] if size < 0 else self._head[self._at : self._at + size]
        missing = size - len(head)
        if size < 0 or missing > 0:
            self._stream.seek(self._rest + max(0, self._at - len(self._head)))
            head += self._stream.read(-1 if size < 0 else missing)
        self._at += len(head)
        return head

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go somewhere, as files do."""
        if self._head is None:
            return self._stream.seek(offset, whence)
        if whence == os.SEEK_END:
            offset += len(self._head) + self._stream.seek(0, os.SEEK_END) - self._rest
        elif whence == os.SEEK_CUR:
            offset += self._at
        self._at = max(0, offset)
        return self._at

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._stream.tell() if self._head is None else self._at

    def __getattr__(self, name: str) -> Any:
        if self._head is not None and name in ("fileno", "readinto", "readline"):
            raise AttributeError(name)  # they would read what is left out
        return getattr(self._stream, name)
