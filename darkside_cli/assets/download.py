"""Brings published files into the data root: whole, checked, no byte twice where the server allows it.

Nothing is ever half-written at its final name: bytes go to ``<name>.part`` (see ``partial.py``), which is
renamed once size, digest and form are right. Digests come from the catalogue where they are known; else the
first one seen is recorded (see ``ledger.py``) and enforced from then on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import requests

from darkside_cli.assets.disk import Space, Stopped, disk_error, locked
from darkside_cli.assets.download_options import Options
from darkside_cli.assets.entries import RemoteFile
from darkside_cli.assets.http import Hooks, Timeouts, fetch, new_session, probe_size
from darkside_cli.assets.http_failures import Refused, Transient
from darkside_cli.assets.inventory import find_file
from darkside_cli.assets.ledger import Ledger
from darkside_cli.assets.mirrors import copy_from_folder, local_path
from darkside_cli.assets.partial import PartFile
from darkside_cli.assets.soundness import hashed, wrong_digest, wrong_form
from darkside_cli.assets.transfer import EVERY_S, Work, run_parallel
from darkside_cli.errors import MissingAssetError
from darkside_cli.events import (
    Emit,
    Notice,
    TransferFailed,
    TransferFinished,
    TransferProgress,
    TransferStarted,
    ignore,
)

#: A size is worth a short wait only: the download itself will tell it too.
_PROBE = Timeouts(connect_s=5.0, silence_s=10.0)


@dataclass(frozen=True)
class Planned:
    """What there is to do for a file.

    ``state`` is "there", "partial" or "missing"; ``size`` in bytes is None if nobody knows it, ``received``
    is what an earlier try left.
    """

    file: RemoteFile
    path: Path
    state: str
    size: int | None
    received: int

    @property
    def remaining(self) -> int | None:
        """Bytes still to come, None if unknown."""
        if self.state == "there":
            return 0
        return None if self.size is None else max(0, self.size - self.received)


class UnavailableError(MissingAssetError):
    """None of its addresses gave a file."""


class Downloader:
    """Downloads files into the data root ``root``. One object may be used from many threads."""

    def __init__(self, root: str | PathLike[str], options: Options | None = None) -> None:
        self.root = Path(root)
        self.options = options or Options()
        self.ledger = Ledger(self.root)
        self._space = Space(self.options.spare_bytes)
        #: Says why the contents of a file, by path and published name, are refused; None if they are not.
        self.judge: Callable[[Path, str], str | None] = lambda *_: None
        #: Gives what asks servers, for one thread.
        self.session: Callable[[], AbstractContextManager[requests.Session]] = new_session
        #: Hosts that are not asked any more, as nothing came from them; None where each file tries anew.
        self.unheard: set[str] | None = None

    def plan(self, files: Sequence[RemoteFile]) -> list[Planned]:
        """Tell what :meth:`fetch` would do; unknown sizes are asked from the servers (unless offline)."""

        def job(file: RemoteFile) -> Work[Planned]:
            return lambda _emit, _stop: self._planned(file)

        results = run_parallel([job(file) for file in files], workers=2 * self.options.jobs, emit=ignore)
        return [result.result() for result in results]

    def fetch(self, file: RemoteFile, emit: Emit = ignore, stop: threading.Event | None = None) -> Path:
        """Bring one file and return where it lies; a file that is there and right is left as it is.

        Raises MissingAssetError when it cannot be had (no address left, offline, disk full, wrong digest)
        and :class:`~darkside_cli.assets.disk.Stopped` when ``stop`` is set; what was received stays for the
        next call.
        """
        stop = stop or threading.Event()
        found = find_file(self.root, file)
        if found is not None and (self._trusted(found) or not os.access(self.root, os.W_OK)):
            return found
        with locked(self.ledger.folder, file.path, emit, stop):
            return self.fetch_locked(file, emit, stop)

    def fetch_locked(self, file: RemoteFile, emit: Emit, stop: threading.Event) -> Path:
        """As :meth:`fetch`, for who keeps other processes away from the file."""
        found = self._existing(file, emit, stop)
        if found is not None:
            return found
        if self.options.offline:
            raise MissingAssetError(
                f"{file.name} is not here and the network is off limits ({self.options.why_offline})",
                hint=f"run again without that, or put it at {self.root / file.path}",
            )
        started = time.monotonic()
        with PartFile(self.root / file.path) as part:
            try:
                self._bring(file, part, emit, stop)
            except MissingAssetError as error:
                emit(TransferFailed(file.name, error.message))
                raise
            finally:
                self._space.release(file.name)
        path = self.root / file.path
        emit(TransferFinished(file.name, path, path.stat().st_size, time.monotonic() - started))
        return path

    def addresses(self, file: RemoteFile) -> list[str]:
        """Where to ask for ``file``, mirrors first."""
        mirrored = [url for mirror in self.options.mirrors for url in mirror.addresses(file)]
        return list(dict.fromkeys([*mirrored, *file.urls]))

    def _planned(self, file: RemoteFile) -> Planned:
        path = find_file(self.root, file)
        if path is not None:
            return Planned(file, path, "there", path.stat().st_size, 0)
        part = PartFile(self.root / file.path)
        note = part.note
        received = part.size if note is not None else 0
        size = file.size if file.size is not None else note.total if note is not None else None
        if size is None and not self.options.offline:
            with new_session() as session:
                sizes = (_size_at(session, url) for url in self.addresses(file))
                size = next((known for known in sizes if known is not None), None)
        return Planned(file, part.target, "partial" if received else "missing", size, received)

    def _trusted(self, path: Path) -> bool:
        record = self.ledger.read().files.get(path.relative_to(self.root).as_posix())
        return record is not None and record.unchanged(path)

    def _existing(self, file: RemoteFile, emit: Emit, stop: threading.Event) -> Path | None:
        path = find_file(self.root, file)
        if path is None or self._trusted(path):
            return path
        name = path.relative_to(self.root).as_posix()
        digest = hashed(path, emit, stop)
        if differs := self.ledger.contradiction(name, digest):
            raise MissingAssetError(
                f"{path} is not the file that was recorded at its first use ({differs})",
                hint="move it away to have it downloaded anew, or accept it: darkside cache forget " + name,
            )
        reason = wrong_digest(file, digest) or wrong_form(path) or self.judge(path, file.name)
        if reason:
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            emit(Notice(f"{path} {reason}; moved to {aside.name}", level="warning"))
            return None
        self.ledger.record(name, path, digest)
        return path

    def _bring(self, file: RemoteFile, part: PartFile, emit: Emit, stop: threading.Event) -> None:
        reasons = []
        urls = self.addresses(file)
        note = part.note
        if note is not None and note.url in urls and part.size:
            urls.remove(note.url)  # where the part began is where it can go on
            urls.insert(0, note.url)
        unheard: set[str] = set() if self.unheard is None else self.unheard
        with self.session() as session:
            for url in urls:
                host = url.split("/")[2] if "://" in url else ""
                if self.unheard is not None and host in unheard:
                    reasons.append(f"{url}: nothing came from {host} before")
                    continue
                try:
                    self._from_address(session, url, file, part, emit, stop, once=host in unheard)
                    return
                except Refused as refusal:
                    reasons.append(f"{url}: {refusal.reason}")
                    unheard |= {host} if refusal.unheard else set()
                except OSError as error:
                    raise disk_error(error, part.target, part.path, part.size) from error
        kept = "what was received is kept, run the same command again to go on; or " if part.size else ""
        raise UnavailableError(
            f"{file.name} could not be downloaded: {'; '.join(reasons) or 'no address is known for it'}",
            hint=f"{kept}put the file at {part.target} by hand",
        )

    def _from_address(
        self,
        session: requests.Session,
        url: str,
        file: RemoteFile,
        part: PartFile,
        emit: Emit,
        stop: threading.Event,
        *,
        once: bool,
    ) -> None:
        """Try an address until it gives the file, or raise Refused. ``once``: its host was silent a moment ago."""
        hash_known = bool(file.sha256) or file.path in self.ledger.read().files
        hooks = self._hooks(file, part, emit, stop)
        failures, furthest, joined = 0, part.size, part.size > 0
        while True:
            begun = self.options.clock()
            try:
                local = local_path(url)
                if local is not None:
                    copy_from_folder(local, part, hooks)
                else:
                    limits = self.options.timeouts
                    fetch(session, url, part, file, hash_known=hash_known, timeouts=limits, hooks=hooks)
                self._accept(file, part, url, joined=joined)
                return
            except Transient as failure:
                if stop.is_set():
                    raise Stopped from failure
                failures = 1 if part.size > furthest else failures + 1
                furthest = max(furthest, part.size)
                joined = part.size > 0
                if once and not failure.connected:
                    raise Refused(failure.reason, unheard=True) from failure
                self.options.pause(file, url, failure, failures, self.options.clock() - begun, emit, stop)

    def _hooks(self, file: RemoteFile, part: PartFile, emit: Emit, stop: threading.Event) -> Hooks:
        told = 0.0
        begun = False

        def on_begin(offset: int, total: int | None) -> None:
            nonlocal begun
            part.target.parent.mkdir(parents=True, exist_ok=True)
            if total is not None:
                # A part that is given up is on the disk still, and will be gone.
                self._space.claim(file.name, part.target.parent, max(0, total - part.size))
            again = TransferProgress(file.name, offset, total)
            emit(again if begun else TransferStarted(file.name, total, offset))
            begun = True

        def on_move(done: int, total: int | None) -> None:
            nonlocal told
            moment = time.monotonic()
            if moment - told >= EVERY_S or done == total:
                told = moment
                if total is not None:
                    self._space.update(file.name, total - done)
                emit(TransferProgress(file.name, done, total))

        return Hooks(on_begin, on_move, stop.is_set)

    def _accept(self, file: RemoteFile, part: PartFile, url: str, *, joined: bool) -> None:
        """Give a complete part its name, or drop it and raise if it is not the published file."""
        digest = part.digest()
        reason = wrong_digest(file, digest)
        if reason is None and (differs := self.ledger.contradiction(file.path, digest)):
            reason = (
                f"differs from the file recorded at its first use ({differs}; if it was replaced on purpose: "
                f"darkside cache forget {file.path})"
            )
        if reason is None and file.size is not None and part.size != file.size:
            reason = f"has {part.size} bytes instead of {file.size}"
        reason = reason or wrong_form(part.path, file.name) or self.judge(part.path, file.name)
        if reason:
            note = part.note
            part.discard()
            # Pieces of two tries may have been joined wrongly, and without a length nobody notices that the line
            # dropped; but a file that came whole in one go will not be another one next time.
            if joined or note is None or note.total is None:
                raise Transient(reason, at_once=joined, lasting=True)
            raise Refused(f"what it sent {reason}")
        part.finish()
        self.ledger.record(file.path, part.target, digest, url)


def _size_at(session: requests.Session, url: str) -> int | None:
    local = local_path(url)
    if local is None:
        return probe_size(session, url, _PROBE)
    return local.stat().st_size if local.is_file() else None
