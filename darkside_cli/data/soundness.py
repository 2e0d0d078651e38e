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
_PRINTABLE = frozenset(range(32, 127)) | {9, 10, 13}


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


def _is_prose(head: bytes) -> bool:
    """Whether a file begins with words, as a server's excuse does; a pickle in text has a line for each opcode."""
    first, _, _ = head.partition(b"\n")
    return b" " in first.strip() and all(byte in _PRINTABLE for byte in head)


def wrong_form(path: Path, name: str | None = None) -> str | None:
    """Say how the file shows that it is not whole; None if nothing speaks against it.

    Looks at the two ends only, and only where a format must end in a certain way: where a server lies about
    the length of a zip archive (as PyTorch's weights are) or a pickle, this finds it. Archives are read
    through later.
    """
    suffix = Path(name or path.name).suffix.lower()
    with path.open("rb") as file:
        head = file.read(256)
        if not head:
            return "is empty"
        file.seek(-1, 2)
        end = file.read(1)
    if suffix in (".pth", ".pt", ".pkl") and _is_prose(head):
        return "is text, not a file of weights or data"
    start = head[:2]
    if start == b"PK" and suffix in (".zip", ".pth", ".pt") and not zipfile.is_zipfile(path):
        return "is cut short"
    if suffix == ".pkl" and start[:1] in (b"\x80", b"(") and end != b".":
        return "is cut short"
    return None
