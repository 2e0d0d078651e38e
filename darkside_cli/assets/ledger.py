"""What the data root remembers of its files: digests recorded at first use, archives unpacked, last uses.

One small JSON file, ``.darkside/ledger.json``, changed under a lock between processes and replaced whole, so
that it is never seen half-written. A digest that is recorded is enforced from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.errors import DarksideError

FOLDER = ".darkside"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class FileRecord:
    """What is known of one file: SHA-256, size in bytes, time of change (ns) when it was hashed, origin."""

    sha256: str
    size: int
    mtime_ns: int = 0
    url: str = ""
    recorded: str = ""

    def unchanged(self, path: Path) -> bool:
        """Whether ``path`` still has the size and the time of change it had when it was hashed."""
        status = path.stat()
        return (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True)
class ArchiveRecord:
    """An archive that was unpacked: its digest, what came out of it, and when."""

    sha256: str
    files: int
    bytes: int
    unpacked: str


@dataclass
class Contents:
    """The ledger's three tables, by path under the root, by folder and archive name, and by asset name."""

    files: dict[str, FileRecord] = field(default_factory=dict)
    archives: dict[str, dict[str, ArchiveRecord]] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)


def now() -> str:
    """Tell the present moment, UTC, to the second, as ISO 8601."""
    from datetime import datetime, timezone

    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def sha256_of(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """Lower-case hex SHA-256 of a file, read in pieces; ``progress`` hears how many bytes are done."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done)
    return digest.hexdigest()


class Ledger:
    """The ledger of one data root. Reading needs no folder; the first change makes it."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.folder = self.root / FOLDER
        self.path = self.folder / "ledger.json"

    def read(self) -> Contents:
        """Read what is recorded now.

        Raises DarksideError if the ledger is damaged: later checks rest on it, so it is not passed over.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Contents()
        try:
            data: dict[str, Any] = json.loads(text)
            return Contents(
                files={path: FileRecord(**record) for path, record in data["files"].items()},
                archives={
                    folder: {name: ArchiveRecord(**record) for name, record in records.items()}
                    for folder, records in data["archives"].items()
                },
                used={str(name): str(moment) for name, moment in data["used"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DarksideError(
                f"the record of downloaded files is damaged: {self.path}",
                hint="move it away; digests are then recorded anew at the next download or verify",
            ) from error

    @contextmanager
    def change(self) -> Iterator[Contents]:
        """Hold the contents for a change, under the lock; they are written when the block ends well."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "ledger.lock"):
            contents = self.read()
            yield contents
            data = {"version": 1, **asdict(contents)}
            write_bytes_atomic(self.path, json.dumps(data, indent=1, sort_keys=True).encode(), sync=True)

    def record(self, name: str, path: Path, sha256: str, url: str = "") -> None:
        """Record the digest of the file ``path``, which is called ``name`` under the root."""
        status = path.stat()
        record = FileRecord(sha256, status.st_size, status.st_mtime_ns, url, now())
        with self.change() as contents:
            contents.files[name] = record

    def contradiction(self, name: str, sha256: str) -> str | None:
        """Say how ``sha256`` differs from what is recorded of the file called ``name``; None if it does not."""
        record = self.read().files.get(name)
        if record is None or record.sha256 == sha256:
            return None
        return f"SHA-256 {sha256[:12]}… instead of {record.sha256[:12]}…"

    def unpacked(self, folder: str) -> dict[str, ArchiveRecord]:
        """Records of the archives that were unpacked into ``folder``, by name."""
        return self.read().archives.get(folder, {})

    def forget(self, *names: str) -> None:
        """Forget the digests of the files called ``names``."""
        with self.change() as contents:
            for name in names:
                contents.files.pop(name, None)

    def touch(self, *assets: str) -> None:
        """Note that ``assets`` were used now. A root that cannot be written to is left as it is."""
        try:
            with self.change() as contents:
                contents.used.update(dict.fromkeys(assets, now()))
        except OSError:
            return
