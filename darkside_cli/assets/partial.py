"""The ``.part`` file beside a download's target, and the note that says which version of it it began as.

Bytes go to the disk as they arrive, so whatever was received before a crash, a kill or a full disk is there
for the next try. ``<name>.part.json`` holds the address, the validators (ETag, Last-Modified) and the full
size; without it a ``.part`` is worth nothing, because nobody can tell of what it is the beginning.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType

from darkside_cli.atomic import write_bytes_atomic

_CHUNK = 1 << 20


@dataclass(frozen=True)
class PartNote:
    """Which version of a file a ``.part`` is the beginning of. ``total`` is in bytes, None if unknown."""

    url: str
    etag: str = ""
    last_modified: str = ""
    total: int | None = None

    @property
    def validator(self) -> str:
        """What ``If-Range`` takes: a strong ETag, else the date of change, else "" (RFC 9110, 13.1.5)."""
        strong = self.etag if self.etag and not self.etag.startswith("W/") else ""
        return strong or self.last_modified

    def same_version(self, other: PartNote) -> bool:
        """Whether nothing that both sides state tells two different versions of the file."""
        pairs = (
            (self.etag, other.etag),
            (self.last_modified, other.last_modified),
            (self.total, other.total),
        )
        return all(mine == theirs for mine, theirs in pairs if mine and theirs)


class PartFile:
    """The partial download of ``target``. Use it as a context manager, so that its file is closed."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self.note_path = target.with_name(f"{target.name}.part.json")
        self._file: FileIO | None = None
        self._digest = hashlib.sha256()
        self._digested = 0

    def __enter__(self) -> PartFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Bytes received so far, 0 if there is no part."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def note(self) -> PartNote | None:
        """What the part began as; None if that is not known."""
        try:
            data = json.loads(self.note_path.read_text(encoding="utf-8"))
            return PartNote(**data)
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, note: PartNote) -> None:
        """Start afresh: the old part goes before the new note comes, so the two always belong together."""
        self.discard()
        self.target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(self.note_path, json.dumps(asdict(note)).encode())
        self._file = self.path.open("xb", buffering=0)

    def go_on(self) -> None:
        """Open the part to add to its end; what it holds already goes into the digest."""
        self.close()
        self._take_digest()
        self._file = self.path.open("ab", buffering=0)

    def append(self, data: bytes) -> None:
        """Add ``data``. Raises OSError (ENOSPC) when the disk is full, after writing what still fitted."""
        if self._file is None:
            raise ValueError("the part is not open")
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            self._digest.update(view[:written])
            self._digested += written
            view = view[written:]

    def digest(self) -> str:
        """SHA-256 of all that was received, lower-case hex."""
        if self._digested != self.size:
            self._take_digest()
        return self._digest.hexdigest()

    def finish(self) -> None:
        """Give the part its final name, after it has reached the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())
        self.close()
        self.path.replace(self.target)
        self.note_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Drop the part and its note."""
        self.close()
        self._digest, self._digested = hashlib.sha256(), 0
        self.path.unlink(missing_ok=True)
        self.note_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, if it is open; what it holds stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _take_digest(self) -> None:
        if self._digested and self._digested == self.size:
            return
        self._digest, self._digested = hashlib.sha256(), 0
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                self._digest.update(chunk)
                self._digested += len(chunk)
