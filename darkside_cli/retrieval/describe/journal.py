"""Descriptors of a run that is not finished: rows as they come, and a journal of whose they are.

They lie in a hidden folder beside the file that is being made. Every process of a run has two files there, named
after the run's digest and the process: ``.rows``, float32 rows one after the other, and ``.journal``, a line of JSON
for each row, written after it, with the image's name, what its file was like, and a checksum of the row. A process
that is killed leaves whole rows and at most a torn line, which does not count.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import zlib
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout

from darkside_cli.atomic import TEMPORARY_PREFIX
from darkside_cli.errors import NoSpaceError, UsageError, why_no_space
from darkside_cli.retrieval.describe.descriptor_file import Block

_LONGEST_NAME_BYTES = 180
_LONGEST_LINE_BYTES = 1 << 20
_DIGEST_DIGITS = 16
_ROWS, _JOURNAL = ".rows", ".journal"


@dataclass(frozen=True)
class _Place:
    """Where a row is: a process's file and its number there; the image's stamp; when it was written, in ns."""

    shard: str
    row: int
    stamp: Hashable
    time_ns: int


class Journal:
    """Rows ``(dim,)`` float32 by image name, which survive the process that writes them.

    ``target`` is the file that is being made, ``digest`` what all rows must agree in (model, settings): rows of
    another digest are removed. ``part`` and ``parts`` are the number of this process and how many there are; rows
    of all of them, also of earlier runs with another number, are known. Use as a context manager.

    Raises UsageError if another process is at the same part of the same target.
    """

    def __init__(self, target: Path, *, digest: str, dim: int, part: int = 0, parts: int = 1) -> None:
        self.folder = journal_folder(target)
        self._target, self._dim = target, dim
        # Digests differ in their names already, so that processes can clear up without looking into files.
        self._prefix = f"{digest[:_DIGEST_DIGITS]}-{dim}-"
        self._own = f"{self._prefix}{part}of{parts}"
        self._part = f"{part}of{parts}"
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        self._rows: IO[bytes]
        self._journal: IO[bytes]
        self.dropped = 0
        """How many rows of another model or other settings were found and removed."""

    def __enter__(self) -> Journal:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._guard = FileLock(self.folder / f"{self._part}.lock")
        try:
            self._guard.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(
                f"{os.fspath(self._target)} is being made by another process", hint="wait for it"
            ) from error
        for path in self.folder.glob(f"*{_JOURNAL}"):
            if not path.name.startswith(self._prefix):
                with suppress(FileNotFoundError):  # another process of this run clears up, too
                    self.dropped += sum(1 for _ in _lines(path))
                path.unlink(missing_ok=True)
                path.with_suffix(_ROWS).unlink(missing_ok=True)
        self.refresh()
        self._rows, self._journal = self._open_own()
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()
        self._journal.close()
        self._guard.release()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def has(self, name: str, stamp: Hashable) -> bool:
        """Whether there is a row for ``name``, made of a file with this stamp, or of one that nobody looked at."""
        place = self._places.get(name)
        return place is not None and place.stamp in (stamp, None)

    def append(self, name: str, stamp: Hashable, row: Block) -> None:
        """Add the row of an image; what is there already is replaced. Safe to call from several threads.

        ``stamp`` is JSON-able and hashable (a tuple of numbers), or None. What was added before is there whatever
        happens. Raises NoSpaceError if there is no room for the row, else OSError as the system gives it.
        """
        data = np.ascontiguousarray(row, dtype="<f4").tobytes()
        if len(data) != 4 * self._dim:
            raise ValueError(f"a row of {len(data) // 4} numbers, not {self._dim}")
        with self._lock:
            number = self._rows.tell() // len(data)
            _append(self._rows, data)
            now = time.time_ns()
            entry = {"name": name, "row": number, "stamp": stamp, "time": now, "crc": zlib.crc32(data)}
            _append(self._journal, json.dumps(entry).encode() + b"\n")
            self._places[name] = _Place(self._own, number, stamp, now)

    def refresh(self) -> None:
        """Read again what all processes have written. Damaged rows are left out."""
        places: dict[str, _Place] = {}
        for path in sorted(self.folder.glob(f"{self._prefix}*{_JOURNAL}")):
            for name, place in self._read_part(path):
                known = places.get(name)
                if known is None or known.time_ns <= place.time_ns:
                    places[name] = place
        self._places = places

    def read(
        self, names: Sequence[str], rows_at_once: int, *, without: Collection[str] = ()
    ) -> Iterator[Block]:
        """Blocks ``(n, dim)`` with the rows of ``names``, in that order; NaN for those in ``without``.

        Raises KeyError for a name that has no row.
        """
        size = 4 * self._dim
        files: dict[str, IO[bytes]] = {}
        with ExitStack() as opened:
            for first in range(0, len(names), rows_at_once):
                part = names[first : first + rows_at_once]
                block = np.full((len(part), self._dim), np.nan, dtype="<f4")
                for row, name in zip(block, part, strict=True):
                    if name in without:
                        continue
                    place = self._places[name]
                    if place.shard not in files:
                        path = self.folder / f"{place.shard}{_ROWS}"
                        files[place.shard] = opened.enter_context(path.open("rb"))
                    file = files[place.shard]
                    file.seek(place.row * size)
                    row[:] = np.frombuffer(file.read(size), dtype="<f4")
                yield block

    def remove(self) -> None:
        """Remove all rows of all processes, which must not be at work any more."""
        self._rows.close()
        self._journal.close()
        remove_journal(self._target)

    def _read_part(self, path: Path) -> Iterator[tuple[str, _Place]]:
        """Names and places of one process's rows, as far as the rows are what they were."""
        size = 4 * self._dim
        with suppress(FileNotFoundError), path.with_suffix(_ROWS).open("rb") as rows:
            for entry in _lines(path):
                rows.seek(entry["row"] * size)
                data = rows.read(size)
                if len(data) == size and zlib.crc32(data) == entry["crc"]:
                    stamp = _hashable(entry["stamp"])
                    yield entry["name"], _Place(path.stem, entry["row"], stamp, entry["time"])

    def _open_own(self) -> tuple[IO[bytes], IO[bytes]]:
        """Own files, open to be appended to, cut off behind the last whole row and the last whole line."""
        count = max((place.row + 1 for place in self._places.values() if place.shard == self._own), default=0)
        rows = (self.folder / f"{self._own}{_ROWS}").open("ab", buffering=0)
        rows.truncate(count * 4 * self._dim)
        journal = (self.folder / f"{self._own}{_JOURNAL}").open("ab+", buffering=0)
        start = max(0, journal.seek(0, os.SEEK_END) - _LONGEST_LINE_BYTES)
        journal.seek(start)
        journal.truncate(start + journal.read().rfind(b"\n") + 1)
        for file in (rows, journal):
            file.seek(0, os.SEEK_END)
        return rows, journal


def journal_folder(target: Path) -> Path:
    """Hidden folder beside ``target`` that unfinished rows of it are kept in."""
    name = target.name
    if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        name = sha256(os.fsencode(name)).hexdigest()
    return target.with_name(f"{TEMPORARY_PREFIX}{name}.partial")


def remove_journal(target: Path) -> None:
    """Remove the unfinished rows of ``target``, if there are any; nobody must be at work on them."""
    shutil.rmtree(journal_folder(target), ignore_errors=True)


def _append(file: IO[bytes], data: bytes) -> None:
    """Write all of ``data`` to the end of an unbuffered file, or nothing of it."""
    length, rest = file.tell(), memoryview(data)
    try:
        while len(rest):
            rest = rest[file.write(rest) :]
    except OSError as error:
        with suppress(OSError):
            file.truncate(length)
            file.seek(length)
        why = why_no_space(error)
        if why is None:
            raise
        raise NoSpaceError(f"cannot write {file.name}: {error.strerror}", why=why) from error


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Whole lines of a journal; whatever else is in there is passed over."""
    with path.open("rb") as file:
        for line in file:
            try:
                entry = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                continue
            if isinstance(entry, dict) and {"name", "row", "stamp", "time", "crc"} <= entry.keys():
                yield entry


def _hashable(stamp: Any) -> Hashable:
    return tuple(map(_hashable, stamp)) if isinstance(stamp, list) else stamp
