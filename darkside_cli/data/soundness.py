"""Whether a file is the published one, and whole: its digest, its size, its form."""

from __future__ import annotations

import threading
import time
import zipfile
from pathlib import Path

from darkside_cli.data.disk import Stopped
from darkside_cli.data.ledger import sha256_of
from darkside_cli.events import Emit, TransferFinished, TransferProgress, TransferStarted
from darkside_cli.remote import RemoteFile

#: Seconds between two progress events of one transfer.
EVERY_S = 0.1


def hashed(path: Path, emit: Emit, stop: threading.Event) -> str:
    """SHA-256 of a file, with events of activity "verify". Raises Stopped when ``stop`` is set meanwhile."""
    total = path.stat().st_size
    started = told = time.monotonic()
    emit(TransferStarted(path.name, total, activity="verify"))

    def moved(done: int) -> None:
        nonlocal told
        if stop.is_set():
            raise Stopped
        if time.monotonic() - told >= EVERY_S:
            told = time.monotonic()
            emit(TransferProgress(path.name, done, total, activity="verify"))

    digest = sha256_of(path, moved)
    emit(TransferFinished(path.name, path, total, time.monotonic() - started, activity="verify"))
    return digest


def wrong_digest(file: RemoteFile, digest: str) -> str | None:
    """Say how ``digest`` contradicts what is published of ``file``; None if it does not."""
    if file.sha256 and not digest.startswith(file.sha256):
        return f"has SHA-256 {digest[:12]}… instead of {file.sha256[:12]}…"
    return None


def wrong_form(path: Path, name: str | None = None) -> str | None:
    """Say why the file cannot be a whole one of the kind its name tells; None if nothing speaks against it.

    Looks at the two ends only: where a server lies about the length, this is what finds a file that was cut.
    """
    suffix = Path(name or path.name).suffix.lower()
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(-1, 2) if start else None
        end = file.read(1)
    if not start:
        return "is empty"
    zipped = start[:2] == b"PK"
    if suffix == ".zip" and not zipped:
        return "is no zip archive"
    if zipped and suffix in (".zip", ".pth", ".pt") and not zipfile.is_zipfile(path):
        return "is cut short"
    if suffix in (".tgz", ".gz") and start[:2] != b"\x1f\x8b":
        return "is not gzip-compressed"
    if suffix == ".pkl" and end != b".":
        return "is cut short or no pickle"
    return None
