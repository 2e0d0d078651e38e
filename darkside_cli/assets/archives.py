"""Reads tar and zip archives that nobody vouches for, as a stream of members that are safe to write.

Everything an archive can do to the machine that opens it is refused before a byte is written: names that
lead out of the folder or that a person cannot read, links that leave it, devices and pipes, names that come
twice, members larger than declared, archives that unpack to absurd sizes, and archives that end early.
Nothing here writes: see ``unpack.py``.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from darkside_cli.errors import MissingAssetError

GIB = 1 << 30
MIB = 1 << 20
_CHUNK = 1 << 18
_SKIM = 1 << 16

#: What a damaged or cut stream raises, depending on the format and on where it is cut.
_DAMAGE = (
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,
    UnicodeError,
    ValueError,
)


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


def kind_of(path: Path) -> str | None:
    """Tell "tar" or "zip" by what the file begins with, whatever its name; None if it is neither."""
    with path.open("rb") as file:
        start = file.read(512)
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if start[:2] == b"\x1f\x8b" or start[:3] == b"BZh" or start[:6] == b"\xfd7zXZ\x00":
        return "tar"
    return "tar" if len(start) == 512 and start[257:262] == b"ustar" else None


def members(
    path: Path, *, limits: Limits | None = None, progress: Callable[[int], None] | None = None
) -> Iterator[Member]:
    """Regular files of the archive ``path``, one after the other, in its order; links as what they repeat.

    ``progress`` hears how many bytes of the archive have been read. Raises ArchiveError, before the member in
    question is given out where its header tells, else while its pieces are read.
    """
    limits = limits or Limits()
    kind = kind_of(path)
    if kind is None:
        raise ArchiveError(
            f"{path} is neither a tar nor a zip archive", hint="is it a web page, or cut short?"
        )
    guard = _Guard(path, limits)
    heard = progress or (lambda _done: None)
    with _damage_told(path):
        yield from (_zip_members if kind == "zip" else _tar_members)(path, guard, heard)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
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


class _Guard:
    """Counts what comes out of an archive, and refuses what is too much."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._packed = max(1, path.stat().st_size)
        self._seen: dict[tuple[str, ...], str] = {}
        self._out = 0

    def refuse(self, why: str) -> ArchiveError:
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
        with _damage_told(self.path):
            return stream.read(_CHUNK)


class _Counting(io.RawIOBase):
    """Tells how much of a file was read."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None]) -> None:
        self._file = file
        self._progress = progress
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._done += len(data)
        self._progress(self._done)
        return len(data)


def _decompressed(file: BinaryIO) -> BinaryIO:
    buffered = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, file), _CHUNK))
    start = cast(io.BufferedReader, buffered).peek(6)[:6]
    if start[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    if start[:3] == b"BZh":
        return cast(BinaryIO, bz2.BZ2File(buffered))
    if start == b"\xfd7zXZ\x00":
        return cast(BinaryIO, lzma.LZMAFile(buffered))
    return buffered


_EXTENSIONS = frozenset(
    {
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
    }
)


def _header_class(guard: _Guard) -> type[tarfile.TarInfo]:
    """TarInfo that refuses what tarfile passes over: damaged headers, missing ends, huge extensions."""

    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
            if len(buf) != tarfile.BLOCKSIZE:
                raise ArchiveError(f"{guard.path.name} is cut short", hint="fetch it once more")
            try:
                header = super().frombuf(buf, encoding, errors)
            except tarfile.HeaderError as error:
                if any(buf):
                    raise ArchiveError(
                        f"{guard.path.name} is damaged: {error}", hint="fetch it once more"
                    ) from error
                raise
            if header.type in _EXTENSIONS and not 0 <= header.size <= guard.limits.header:
                raise guard.refuse(f"has an extension header of {header.size} bytes")
            return header

    return Header


def _tar_members(path: Path, guard: _Guard, progress: Callable[[int], None]) -> Iterator[Member]:
    with path.open("rb") as file:
        stream = _decompressed(cast(BinaryIO, _Counting(file, progress)))
        with tarfile.open(
            fileobj=stream, mode="r|", tarinfo=_header_class(guard), errors="surrogateescape"
        ) as tar:
            while (header := tar.next()) is not None:
                yield from _tar_member(tar, header, guard)
                # Nobody goes back in a stream, but tarfile keeps every header: 160,000 of them weigh 200 MB.
                cast(Any, tar).members = []
            rest = cast(IO[bytes], tar.fileobj)
            while block := rest.read(_SKIM):
                if any(block):
                    raise guard.refuse("has something hidden after its end")
                guard.out(len(block))


def _tar_member(tar: tarfile.TarFile, header: tarfile.TarInfo, guard: _Guard) -> Iterator[Member]:
    if header.isdir():
        safe_parts(header.name, guard.limits)
        return
    parts = guard.admit(header.name)
    if header.issym() or header.islnk():
        base = () if header.islnk() else parts[:-1]
        yield Member(parts, 0, lambda: iter(()), link=_inside(guard, header.name, base, header.linkname))
    elif header.isreg():
        guard.declared(header.size)
        content = tar.extractfile(header)
        if content is None:
            raise guard.refuse(f"holds {header.name!a}, which is no file")
        yield Member(parts, header.size, lambda: guard.pieces(content, header.size, header.name))
    else:
        raise guard.refuse(f"holds {header.name!a}, a device, a pipe or another special file")


def _inside(guard: _Guard, name: str, base: tuple[str, ...], target: str) -> tuple[str, ...]:
    """Name of the member that a link means. A link is never made; it stands for a second copy of a file."""
    if not target.isprintable() or target.startswith("/") or re.match(r"[A-Za-z]:", target) or "\\" in target:
        raise guard.refuse(f"links {name!a} to {target!a}, outside of it")
    steps = list(base)
    for part in PurePosixPath(target).parts:
        if part != "..":
            steps.append(part)
        elif steps:
            steps.pop()
        else:
            raise guard.refuse(f"links {name!a} to {target!a}, outside of it")
    return tuple(steps)


def _zip_members(path: Path, guard: _Guard, progress: Callable[[int], None]) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _refuse_overlaps(entries, guard)
        done = 0
        for entry in entries:
            yield from _zip_member(archive, entry, guard)
            done += entry.compress_size
            progress(done)


def _refuse_overlaps(entries: list[zipfile.ZipInfo], guard: _Guard) -> None:
    """Entries that share bytes are how a small zip file unpacks to petabytes without nesting."""
    end = 0
    for entry in sorted(entries, key=lambda e: e.header_offset):
        if entry.header_offset < end:
            raise guard.refuse(f"holds entries that overlap, at {entry.filename!a}")
        end = entry.header_offset + 30 + len(entry.orig_filename) + entry.compress_size


def _zip_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, guard: _Guard) -> Iterator[Member]:
    name = entry.orig_filename  # ZipInfo cuts its file name at a NUL, and hides what follows
    mode = entry.external_attr >> 16
    if entry.is_dir() or stat.S_ISDIR(mode):
        safe_parts(name, guard.limits)
        return
    parts = guard.admit(name)
    if entry.flag_bits & 0x1:
        raise ArchiveError(f"{guard.path.name} is encrypted", hint="unpack it by hand and import the folder")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFLNK):
        raise guard.refuse(f"holds {name!a}, a device, a pipe or another special file")
    guard.declared(entry.file_size)
    if stat.S_ISLNK(mode):
        if entry.file_size > guard.limits.name_bytes:
            raise guard.refuse(f"links {name!a} to too long a name")
        with archive.open(entry) as stream:
            target = stream.read(guard.limits.name_bytes + 1).decode("utf-8", "surrogateescape")
        yield Member(parts, 0, lambda: iter(()), link=_inside(guard, name, parts[:-1], target))
        return

    def pieces() -> Iterator[bytes]:
        with _damage_told(guard.path), archive.open(entry) as stream:
            yield from guard.pieces(stream, entry.file_size, name)

    yield Member(parts, entry.file_size, pieces)
