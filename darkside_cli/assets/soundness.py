"""Whether a file is the published one, and whole: its digest, its size, its form."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path

from darkside_cli.assets.archives import kind_of
from darkside_cli.assets.entries import RemoteFile
from darkside_cli.assets.ledger import sha256_of
from darkside_cli.assets.transfer import Transfer
from darkside_cli.errors import ImageError
from darkside_cli.events import Emit

_CHUNK = 1 << 20
_PRINTABLE = frozenset(range(32, 127)) | {9, 10, 13}


def hashed(path: Path, emit: Emit, stop: threading.Event) -> str:
    """SHA-256 of a file, with events of activity "verify". Raises Stopped when ``stop`` is set meanwhile."""
    total = path.stat().st_size
    transfer = Transfer(path.name, total, "verify", emit, stop)
    digest = sha256_of(path, transfer.moved)
    transfer.finish(path, total)
    return digest


def wrong_digest(file: RemoteFile, digest: str) -> str | None:
    """Say how ``digest`` contradicts what is published of ``file``; None if it does not."""
    if file.sha256 and not digest.startswith(file.sha256):
        return f"has SHA-256 {digest[:12]}… instead of {file.sha256[:12]}…"
    return None


#: What torch's old container begins with: its magic number as a pickle of its own.
_TORCH_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_WEIGHTS, _ARCHIVES = (".pth", ".pt"), (".zip", ".tgz", ".gz", ".bz2", ".xz", ".tar")
#: Weights are stored, not packed; what unpacks to this many times its size is none.
_MOST_UNPACKED = 4
_LONGEST_LIST = 1 << 28
#: No image of any format has fewer bytes.
SMALLEST_IMAGE = 20


def _is_prose(head: bytes) -> bool:
    """Whether a file begins with words, as a server's excuse does; a pickle in text has a line for each opcode."""
    first, _, _ = head.partition(b"\n")
    worded = b" " in first.strip() or head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    return worded and all(byte in _PRINTABLE for byte in head.removeprefix(b"\xef\xbb\xbf"))


def wrong_form(path: Path, name: str | None = None) -> str | None:
    """Say why the file cannot be what its published ``name`` says, or is not whole; None if nothing speaks against it.

    Weights must be one of torch's two containers, with right checksums where it has them; archives must begin as one
    (they are read through when they are unpacked); lists have one name a line; pickles must end as they should, and
    are read by those who know what is in them (see ``Inventory.wrong``). Nothing in the file is run.
    """
    suffix = Path(name or path.name).suffix.lower()
    with path.open("rb") as file:
        head = file.read(256)
        if not head:
            return "is empty"
        file.seek(-1, 2)
        end = file.read(1)
    if suffix in (*_WEIGHTS, ".pkl", *_ARCHIVES) and _is_prose(head):
        return "is text, not a file of weights or data"
    if suffix in _WEIGHTS:
        return _wrong_weights(path, head)
    if suffix == ".txt":
        return _wrong_list(path)
    if suffix in _ARCHIVES and kind_of(path) is None:
        return "is no archive"
    cut = suffix in _ARCHIVES and head[:2] == b"PK" and not zipfile.is_zipfile(path)
    cut = cut or (suffix == ".pkl" and head[:1] in (b"\x80", b"(") and end != b".")
    return "is cut short" if cut else None


def _wrong_weights(path: Path, head: bytes) -> str | None:
    if head.startswith(_TORCH_LEGACY):
        return None
    if head[:2] != b"PK":
        return "is no file of weights"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if not any(member.filename.endswith("/data.pkl") for member in members):
                return "is a zip archive, but no file of weights"
            if sum(member.file_size for member in members) > _MOST_UNPACKED * path.stat().st_size:
                return f"unpacks to more than {_MOST_UNPACKED} times its size, which weights do not"
            for member in members:
                if member.CRC:  # torch can be told not to compute checksums
                    with archive.open(member) as content:
                        while content.read(_CHUNK):
                            pass
    except zipfile.BadZipFile as error:
        return "is damaged" if "CRC" in str(error) else "is cut short"
    except Exception as error:  # zipfile raises whatever damaged fields lead to
        return f"is damaged ({type(error).__name__})"
    return None


def _wrong_list(path: Path) -> str | None:
    if path.stat().st_size > _LONGEST_LIST:
        return "is too long for a list of names"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return "is no list of names"
    words = [line.strip() for line in lines if line.strip()]
    if not words:
        return "is a list without names"
    if not all(word.isprintable() and not set(word) & set(' <>{}"') for word in words):
        return "is no list of names, one a line"
    return None


def not_an_image(path: Path) -> str | None:
    """Say why a file is no image, by its size and beginning; None if it looks like one. It is not decoded."""
    from darkside_cli.images.identify import identify

    size = path.stat().st_size
    if size < SMALLEST_IMAGE:
        return "it is empty" if not size else f"it has only {size} byte{'s' if size > 1 else ''}"
    try:
        with path.open("rb") as stream:
            identify(stream).close()
    except ImageError as error:
        return error.message
    return None
