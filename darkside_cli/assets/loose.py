"""Pictures that are published one by one: fetched together, told of as one, or taken out of a copy of them.

A file each would be a line, a lock, a record and a connection each. Here there is one lock for all, connections are
used again, and nothing is recorded: the list has the whole digest of every file, so files are read instead.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from darkside_cli.assets.archives import members
from darkside_cli.assets.disk import Stopped, disk_error, locked
from darkside_cli.assets.download import Downloader, Planned, UnavailableError
from darkside_cli.assets.download_options import Options
from darkside_cli.assets.entries import COMPLETE, MISSING, LooseFiles, RemoteFile, State
from darkside_cli.assets.http import Sessions
from darkside_cli.assets.ledger import Contents, Ledger, sha256_of
from darkside_cli.assets.transfer import EVERY_S, Transfer, run_parallel
from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.errors import DarksideError, MissingAssetError, UsageError
from darkside_cli.events import (
    Emit,
    Event,
    Notice,
    TransferEvent,
    TransferFailed,
    TransferFinished,
    TransferProgress,
    TransferRetrying,
    TransferStarted,
    ignore,
)

#: After so many files in a row that could not be had, the others are not asked for.
_ENOUGH = 5
#: So many warnings about single files are told.
_SHOWN = 3
#: No picture of a list is as large as that.
_MOST_BYTES = 1 << 26


def planned(root: Path, loose: LooseFiles, state: State) -> Planned:
    """What there is to do for all of them, as for one file. Nobody asks hundreds of times for sizes."""
    words = {COMPLETE: "there", MISSING: "missing"}
    file = RemoteFile(path=loose.folder, urls=(loose.base,))
    there = state.status == COMPLETE
    size = state.size if there else None
    return Planned(
        file, root / loose.folder, words.get(state.status, "partial"), size, 0 if there else state.size
    )


def fetch_loose(
    downloads: Downloader, name: str, loose: LooseFiles, emit: Emit, stop: threading.Event
) -> None:
    """Bring those that are not there or not right; ``name`` is what they are called together.

    Raises MissingAssetError if some cannot be had, and Stopped; what has come stays. Where files fail one after the
    other, the rest is not asked for.
    """
    files = loose.listed()
    root = downloads.root
    if not os.access(root, os.W_OK) and all((root / file.path).is_file() for file in files):
        return
    one = Downloader(root, downloads.options)
    one.judge = downloads.judge
    one.ledger = _Unrecorded(root)
    one.unheard = set()
    said = _Sum(name, len(files), root / loose.folder, emit)
    failures = _Failures(len(files))
    with locked(downloads.ledger.folder, loose.folder, emit, stop), closing(Sessions()) as sessions:
        one.session = sessions.lend

        def bring(file: RemoteFile, tell: Emit, _: threading.Event) -> None:
            if stop.is_set():
                raise Stopped
            there = (root / file.path).is_file()
            if failures.enough:
                failures.good_ones(there, asked=False)
                return
            try:
                one.fetch_locked(file, tell, stop)
            except DarksideError as error:
                failures.add(error)
            else:
                failures.good_ones(1, asked=not there)

        ended = run_parallel(
            [partial(bring, file) for file in files], workers=downloads.options.jobs, emit=said
        )
    for each in ended:
        each.result()
    said.end()
    if failures.errors:
        raise failures.told(name, downloads.options)


class _Unrecorded(Ledger):
    """Records nothing, so that it is the list that files are held against."""

    def read(self) -> Contents:
        return Contents()

    def record(self, name: str, path: Path, sha256: str, url: str = "") -> None:
        pass


class _Failures:
    """Which of ``count`` files could not be had."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.errors: list[DarksideError] = []
        self.in_row = self.good = 0
        self._lock = threading.Lock()

    @property
    def enough(self) -> bool:
        """Whether so many have failed one after the other that the next ones will too."""
        return self.in_row >= _ENOUGH

    def add(self, error: DarksideError) -> None:
        """One could not be had."""
        with self._lock:
            self.errors.append(error)
            self.in_row += 1

    def good_ones(self, number: int, *, asked: bool) -> None:
        """So many are there; ``asked``: from a server, which is one that gives files."""
        with self._lock:
            self.good += number
            if asked:
                self.in_row = 0

    def told(self, name: str, options: Options) -> MissingAssetError:
        """What is said of them."""
        first = self.errors[0]
        number = self.count - self.good
        lacking = f"{number} of the {self.count} files of {name} {'is' if number == 1 else 'are'} lacking"
        if options.offline:
            return MissingAssetError(
                f"{lacking}, and the network is off limits ({options.why_offline})",
                hint="run again without that",
            )
        rest = f"; after {len(self.errors)} the others were not asked for" if self.enough else ""
        again = "what has come is kept, run the same command again to go on"
        hint = again if isinstance(first, UnavailableError) else first.hint
        return MissingAssetError(f"{lacking}: {first.message}{rest}", hint=hint)


class _Sum:
    """Tells the transfers of many files as one, whose size nobody knows before its end."""

    def __init__(self, name: str, count: int, folder: Path, emit: Emit) -> None:
        self._name, self._count, self._folder, self._emit = name, count, folder, emit
        self._running: dict[str, int] = {}
        self._seen: set[str] = set()
        self._bytes = self._fetched = self._warnings = 0
        self._started = self._told = time.monotonic()
        self._began = False

    def __call__(self, event: Event) -> None:
        """Take an event of one of the files."""
        if not isinstance(event, TransferEvent):
            self._warnings += 1
            if self._warnings <= _SHOWN:
                self._emit(event)
        elif isinstance(event, TransferRetrying):
            server = "/".join(event.source.split("/")[:3])  # each is told once, and not once a file
            self._emit(replace(event, name=self._name, source=server))
        elif isinstance(event, (TransferStarted, TransferProgress)) and event.activity == "download":
            self._running[event.name] = event.done
            self._tell()
        elif isinstance(event, TransferFinished):
            self._seen.add(event.name)
            if event.activity == "download":
                self._running.pop(event.name, None)
                self._fetched += 1
                self._bytes += event.size
                self._tell()
        elif isinstance(event, TransferFailed):
            self._running.pop(event.name, None)

    def end(self) -> None:
        """All have come, or failed; told if there was something to fetch."""
        if self._warnings > _SHOWN:
            more = f"{self._name}: {self._warnings - _SHOWN} more files were put aside"
            self._emit(Notice(more, level="warning"))
        if self._fetched:
            seconds = time.monotonic() - self._started
            self._emit(TransferFinished(self._name, self._folder, self._bytes, seconds, files=self._fetched))
        elif self._began:
            self._emit(TransferFailed(self._name, "none of its files came"))

    def _tell(self) -> None:
        if not self._began:
            self._began = True
            self._emit(TransferStarted(self._name))
        if time.monotonic() - self._told >= EVERY_S:
            self._told = time.monotonic()
            done = self._bytes + sum(self._running.values())
            self._emit(TransferProgress(self._name, done, files=len(self._seen), of_files=self._count))


def take_over(
    ledger: Ledger,
    name: str,
    loose: LooseFiles,
    source: Path,
    emit: Emit = ignore,
    stop: threading.Event | None = None,
) -> tuple[int, int]:
    """Copy those that are in ``source``, a folder, an archive or one of them, below the root of ``ledger``.

    Folders in ``source`` may be called anything.

    Returns how many are there now that were in it, and how many have the name of one and are not it: they are left
    out. Raises UsageError where all are such, MissingAssetError if the disk takes no more, ArchiveError, Stopped.
    """
    stop = stop or threading.Event()
    files = {file.name: file for file in loose.listed()}
    taken: dict[str, int] = {}
    others: dict[str, None] = {}
    with locked(ledger.folder, loose.folder, emit, stop):
        transfer = Transfer(name, None, "copy", emit, stop)
        for found, pieces in _contents(source, files):
            data = _read(pieces)
            file = files[found]
            if hashlib.sha256(data).hexdigest() != file.sha256:
                others[found] = None
                continue
            _put(ledger.root / file.path, data, file.sha256)
            taken[found] = len(data)
            transfer.moved(sum(taken.values()))
    others = {found: None for found in others if found not in taken}
    shown = ", ".join(list(others)[:3]) + (", …" if len(others) > 3 else "")
    if others and not taken:
        raise UsageError(
            f"{source} has {len(others)} files that are called as those of {name} ({shown}), and none is as published",
            hint="they may have been scaled or saved anew; the published ones are needed",
        )
    if others:
        text = (
            f"{source.name}: {len(others)} left out, called as files of {name} and not as published ({shown})"
        )
        emit(Notice(text, level="warning"))
    transfer.finish(ledger.root / loose.folder, sum(taken.values()), len(taken))
    return len(taken), len(others)


def _contents(source: Path, names: Iterable[str]) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Files of a folder or an archive, or the file itself, that are called as one of ``names``."""
    wanted = frozenset(names)
    if source.is_dir() or source.name in wanted:
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.name in wanted and path.is_file() and not path.is_symlink():
                yield path.name, _pieces(path)
    else:
        for member in members(source):
            if member.parts[-1] in wanted and member.link is None:
                yield member.parts[-1], member.pieces()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield stream.read(_MOST_BYTES + 1)


def _read(pieces: Iterable[bytes]) -> bytes:
    """All of it, or b"" for what is too large to be one of the files."""
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > _MOST_BYTES:
            return b""
    return bytes(data)


def _put(target: Path, data: bytes, digest: str) -> None:
    try:
        if not (target.is_file() and sha256_of(target) == digest):
            write_bytes_atomic(target, data)
    except OSError as error:
        raise disk_error(error, target, target, 0) from error
