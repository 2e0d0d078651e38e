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
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from darkside_cli.assets.archive_limits import ArchiveError, Guard, Limits, Member, damage_told, safe_parts

_CHUNK = 1 << 18
_SKIM = 1 << 16


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
    guard = Guard(path, limits)
    heard = progress or (lambda _done: None)
    with damage_told(path):
        yield from (_zip_members if kind == "zip" else _tar_members)(path, guard, heard)


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


_EXTENSIONS = {
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE
}  # fmt: skip


def _header_class(guard: Guard) -> type[tarfile.TarInfo]:
    """TarInfo that refuses what tarfile passes over: damaged headers, missing ends, huge extensions."""

    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
            if len(buf) != tarfile.BLOCKSIZE:
                raise ArchiveError(f"{guard.path.name} is cut short", hint="fetch it once more")
            try:
                header = super().frombuf(buf, encoding, errors)
            except tarfile.HeaderError as error:
                if not any(buf):
                    raise
                damage = f"{guard.path.name} is damaged: {error}"
                raise ArchiveError(damage, hint="fetch it once more") from error
            if header.type in _EXTENSIONS and not 0 <= header.size <= guard.limits.header:
                raise guard.refuse(f"has an extension header of {header.size} bytes")
            return header

    return Header


def _tar_members(path: Path, guard: Guard, progress: Callable[[int], None]) -> Iterator[Member]:
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


def _tar_member(tar: tarfile.TarFile, header: tarfile.TarInfo, guard: Guard) -> Iterator[Member]:
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


def _inside(guard: Guard, name: str, base: tuple[str, ...], target: str) -> tuple[str, ...]:
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


def _zip_members(path: Path, guard: Guard, progress: Callable[[int], None]) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _refuse_overlaps(entries, guard)
        done = 0
        for entry in entries:
            yield from _zip_member(archive, entry, guard)
            done += entry.compress_size
            progress(done)


def _refuse_overlaps(entries: list[zipfile.ZipInfo], guard: Guard) -> None:
    """Entries that share bytes are how a small zip file unpacks to petabytes without nesting."""
    end = 0
    for entry in sorted(entries, key=lambda e: e.header_offset):
        if entry.header_offset < end:
            raise guard.refuse(f"holds entries that overlap, at {entry.filename!a}")
        end = entry.header_offset + 30 + len(entry.orig_filename) + entry.compress_size


def _zip_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, guard: Guard) -> Iterator[Member]:
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
        with damage_told(guard.path), archive.open(entry) as stream:
            yield from guard.pieces(stream, entry.file_size, name)

    yield Member(parts, entry.file_size, pieces)
