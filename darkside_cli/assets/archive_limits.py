"""What an archive may do to the machine that opens it: names, sizes and damage are held against limits."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from darkside_cli.errors import MissingAssetError

GIB, MIB = 1 << 30, 1 << 20
_CHUNK = 1 << 18

#: What a damaged or cut stream raises, depending on the format and on where it is cut.
_DAMAGE = (
    EOFError, OSError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, NotImplementedError,
    UnicodeError, ValueError,
)  # fmt: skip


class ArchiveError(MissingAssetError):
    """An archive is refused: it is damaged, or (``hostile``) it holds what no data set holds."""

    def __init__(self, message: str, *, hint: str | None = None, hostile: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.hostile = hostile


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to.

    ``ratio`` is unpacked over packed bytes, asked once more than ``slack`` bytes came out; ``header``
    bounds the bytes of one tar extension header, which would be read into memory.
    """

    files: int = 2_000_000
    total: int = 400 * GIB
    ratio: float = 100.0
    slack: int = 64 * MIB
    header: int = MIB
    depth: int = 32
    name_bytes: int = 1024


@dataclass(frozen=True)
class Member:
    """A regular file of an archive. ``parts`` is its checked name, ``link`` the name of the file it repeats.

    ``pieces()`` gives its content; it can be called once, before the next member is asked for.
    """

    parts: tuple[str, ...]
    size: int
    pieces: Callable[[], Iterator[bytes]]
    link: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """Name inside the archive, with forward slashes."""
        return "/".join(self.parts)


def safe_parts(name: str, limits: Limits | None = None) -> tuple[str, ...]:
    """Split a member's name into folders and file name; empty for the root itself.

    Raises ArchiveError for absolute names, drive letters, ``..``, backslashes, colons, characters that do not
    print (control characters, line breaks, direction marks), and names that no file system takes.
    """
    limits = limits or Limits()

    def refuse(why: str) -> ArchiveError:
        shown = ascii(name if len(name) <= 80 else name[:77] + "...")
        return ArchiveError(f"archive member {shown} {why}", hint="do not unpack this archive", hostile=True)

    if not name.isprintable():
        raise refuse("has control characters in its name")
    if "\\" in name or ":" in name:
        raise refuse("has a backslash or colon in its name")
    if name.startswith("/"):
        raise refuse("has an absolute name")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise refuse("leads out of the folder")
    if len(name.encode()) > limits.name_bytes or any(len(part.encode()) > 255 for part in parts):
        raise refuse("has too long a name")
    if len(parts) > limits.depth:
        raise refuse("lies too deep")
    return parts


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turn what the readers raise on a damaged archive into ArchiveError; the disk's own trouble goes on."""
    try:
        yield
    except ArchiveError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ArchiveError(
            f"{path.name} is damaged or cut short: {str(error) or type(error).__name__}",
            hint="fetch it once more",
        ) from error


class Guard:
    """Counts what comes out of an archive, and refuses what is too much."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._packed = max(1, path.stat().st_size)
        self._seen: dict[tuple[str, ...], str] = {}
        self._out = 0

    def refuse(self, why: str) -> ArchiveError:
        """The error for an archive that holds what no data set holds."""
        return ArchiveError(f"{self.path.name} {why}", hint="do not unpack this archive", hostile=True)

    def admit(self, name: str) -> tuple[str, ...]:
        """Check the name of a file, which may come once (also where capitals are not told apart)."""
        parts = safe_parts(name, self.limits)
        if not parts:
            raise self.refuse(f"holds a file without a name: {name!a}")
        key = tuple(part.casefold() for part in parts)
        if key in self._seen:
            raise self.refuse(f"holds {name!a} twice (also as {self._seen[key]!a})")
        self._seen[key] = name
        if len(self._seen) > self.limits.files:
            raise self.refuse(f"holds more than {self.limits.files} files")
        return parts

    def out(self, size: int) -> None:
        """``size`` more bytes came out."""
        self._out += size
        if self._out > self.limits.total:
            raise self.refuse(f"unpacks to more than {self.limits.total} bytes")
        if self._out > self.limits.slack and self._out > self.limits.ratio * self._packed:
            raise self.refuse(f"unpacks to more than {self.limits.ratio:.0f} times its size")

    def declared(self, size: int) -> None:
        """Refuse at once a member that says it has more bytes than could be allowed."""
        if size < 0 or size + self._out > self.limits.total:
            raise self.refuse(f"declares more than {self.limits.total} bytes")

    def pieces(self, stream: IO[bytes], size: int, name: str) -> Iterator[bytes]:
        """Content of a member, which must have exactly the declared ``size``."""
        done = 0
        while piece := self._read(stream):
            done += len(piece)
            if done > size:
                raise self.refuse(f"holds {name!a} with more bytes than it declares ({size})")
            self.out(len(piece))
            yield piece
        if done < size:
            raise ArchiveError(
                f"{self.path.name} is damaged: {name!a} has {done} of {size} bytes",
                hint="fetch it once more",
            )

    def _read(self, stream: IO[bytes]) -> bytes:
        with damage_told(self.path):
            return stream.read(_CHUNK)
