"""Writing descriptor files, whole or not at all, from blocks of rows; their forms are told in ``store.py``.

HDF5 cannot be stopped by a write that fails: its destructors write again, complain, and crash the process in the end.
So it is given a file that takes everything: from the first failure on, what it writes stays in memory, it closes in
peace, and the failure is raised behind it.
"""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np

from darkside_cli.atomic import temporary_beside, write_bytes_atomic
from darkside_cli.errors import NoSpaceError, UnknownNameError, UsageError, why_no_space
from darkside_cli.retrieval.describe.store import (
    GLOBAL,
    METADATA,
    METADATA_ARRAY,
    NAMES,
    TABLE,
    Block,
    files_beside,
)

FORMATS: Mapping[str, tuple[str, ...]] = {"h5": (".h5", ".hdf5"), "npz": (".npz",), "npy": (".npy",)}
"""Forms of descriptor files, and the suffixes they are told by."""

_NAMES_AT_ONCE = 4096
# Groups of this version of the format are small, and its attributes may be larger than 64 kB; every HDF5 library
# since 2008 reads it.
_H5_VERSION = ("v108", "v108")


def format_of(path: str | Path, format: str | None = None) -> str:
    """Form of a descriptor file: ``format`` if given, else what the suffix says ("h5", "npz" or "npy").

    Raises UnknownNameError for a format that does not exist, UsageError for a suffix that says none or another.
    """
    if format is not None and format not in FORMATS:
        raise UnknownNameError("descriptor format", format, FORMATS)
    suffix = Path(path).suffix.lower()
    told = next((name for name, suffixes in FORMATS.items() if suffix in suffixes), None)
    if told is None or format not in (None, told):
        wanted = FORMATS[format][0] if format else ".h5, .npz or .npy"
        raise UsageError(
            f"{os.fspath(path)} is no name for a file of {format or 'descriptors'}",
            hint=f"end it in {wanted}",
        )
    return told


def check_names(names: Sequence[str], format: str) -> None:
    """Raise UsageError for the first of ``names`` that cannot be told apart in a file of this form."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(
                f"two images are called '{name}'", hint="give a folder that holds both, so that paths differ"
            )
        seen.add(name)
    for name in names:
        if format == "h5":
            _check_h5_name(name, seen)
        elif format == "npy" and ("\n" in name or not name):
            raise UsageError(f"the name {name!r} is not one line of a list", hint="write .h5 or .npz instead")


def _check_h5_name(name: str, all_names: set[str]) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"the name {name!r} is not UTF-8, which .h5 files need", hint="rename it, or write .npz"
        ) from None
    parts = name.split("/")
    if "" in parts or "." in parts or "\0" in name:
        raise UsageError(f"'{name}' is no name for an image in an .h5 file", hint="give it without . and //")
    if any(part == GLOBAL and "/".join(parts[:i]) in all_names for i, part in enumerate(parts)):
        raise UsageError(f"'{name}' is where another image's descriptor belongs", hint="write .npz instead")


def write_descriptors(
    path: str | Path,
    names: Sequence[str],
    blocks: Iterable[Block],
    dim: int,
    *,
    metadata: Mapping[str, Any] | None = None,
    format: str | None = None,
) -> Path:
    """Write descriptors, whole or not at all, and return the path.

    ``blocks`` yields rows ``(n, dim)`` in the order of ``names``; they are written as they come, so that memory
    holds one at a time. ``metadata`` is JSON-able. What is on the disk is there to stay when this returns.

    Raises UsageError for names that cannot be written in this form (see :func:`check_names`), ValueError if there
    are not as many rows as names, NoSpaceError if there is no room, and else OSError as the system gives it.
    """
    target = Path(path)
    kind = format_of(target, format)
    check_names(names, kind)
    text = json.dumps(dict(metadata or {}), allow_nan=False, sort_keys=True)
    rows = _checked(blocks, len(names), dim)
    try:
        with temporary_beside(target, sync=True) as temporary:
            if kind == "h5":
                _write_h5(temporary, names, rows, text)
            elif kind == "npz":
                _write_npz(temporary, names, rows, dim, text)
            else:
                with temporary.open("wb") as file:
                    _write_table(file, rows, len(names), dim)
                # The table comes last: a table that is there has its own names beside it, whenever power goes.
                target.unlink(missing_ok=True)
                listing, description = files_beside(target)
                write_bytes_atomic(listing, b"".join(os.fsencode(name) + b"\n" for name in names), sync=True)
                write_bytes_atomic(description, text.encode(), sync=True)
    except OSError as error:
        why = why_no_space(error)
        if why is None:
            raise
        raise NoSpaceError(f"cannot write {os.fspath(target)}: {why}", why=why) from error
    return target


def _checked(blocks: Iterable[Block], count: int, dim: int) -> Iterator[Block]:
    """Pass blocks on as contiguous float32; see that there are ``count`` rows of ``dim`` in all."""
    written = 0
    for block in blocks:
        if block.ndim != 2 or block.shape[1] != dim:
            raise ValueError(f"a block of shape {block.shape}, not (n, {dim})")
        written += len(block)
        if written > count:
            break
        yield np.ascontiguousarray(block, dtype="<f4")
    if written != count:
        raise ValueError(f"{written} descriptors for {count} names")


def _write_npz(path: Path, names: Sequence[str], rows: Iterator[Block], dim: int, metadata: str) -> None:
    dtype = np.dtype(f"<U{max((len(name) for name in names), default=1)}")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(zipfile.ZipInfo(f"{TABLE}.npy"), "w", force_zip64=True) as file:
            _write_table(file, rows, len(names), dim)
        with archive.open(zipfile.ZipInfo(f"{NAMES}.npy"), "w", force_zip64=True) as file:
            _write_header(file, (len(names),), dtype)
            for first in range(0, len(names), _NAMES_AT_ONCE):
                file.write(np.array(names[first : first + _NAMES_AT_ONCE], dtype).tobytes())
        with archive.open(zipfile.ZipInfo(f"{METADATA_ARRAY}.npy"), "w") as file:
            np.lib.format.write_array(file, np.array(metadata), allow_pickle=False)


def _write_table(file: IO[bytes], rows: Iterator[Block], count: int, dim: int) -> None:
    _write_header(file, (count, dim), np.dtype("<f4"))
    for block in rows:
        file.write(block.data)


def _write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )


def _write_h5(path: Path, names: Sequence[str], rows: Iterator[Block], metadata: str) -> None:
    """Write into the file ``path``, which exists. The bytes depend on nothing else: there are no time stamps."""
    stop = threading.Event()
    # Not in the main thread: a Ctrl-C there would be raised in what HDF5 calls, which would take it for a failure.
    with ThreadPoolExecutor(1, thread_name_prefix="h5") as pool, path.open("rb+", buffering=0) as raw:
        future = pool.submit(_write_groups, _ForgivingFile(raw), names, rows, metadata, stop)
        try:
            failure = future.result()
        finally:
            stop.set()
            pool.shutdown(wait=True)
    if failure is not None:
        raise OSError(failure.errno, failure.strerror, os.fspath(path)) from failure


def _write_groups(
    file: _ForgivingFile, names: Sequence[str], rows: Iterator[Block], metadata: str, stop: threading.Event
) -> OSError | None:
    # h5py's own create_dataset takes ten times as long, mostly over settings that are the same every time.
    import h5py
    from h5py import h5d, h5g, h5p, h5s, h5t

    links, group, dataset = (
        h5p.create(kind) for kind in (h5p.LINK_CREATE, h5p.GROUP_CREATE, h5p.DATASET_CREATE)
    )
    links.set_char_encoding(h5t.CSET_UTF8)
    for each in (group, dataset):
        each.set_obj_track_times(False)
    made: set[str] = set()
    with h5py.File(file, "w", libver=_H5_VERSION) as root:
        root.attrs[METADATA] = metadata
        if names:
            root.attrs.create(NAMES, np.array([name.encode() for name in names]))
        left = iter(names)
        for block in rows:
            for row in block:
                if file.failure is not None or stop.is_set():
                    return file.failure
                name = next(left)
                parts = name.split("/")
                for depth in range(1, len(parts) + 1):
                    folder = "/".join(parts[:depth])
                    if folder not in made:
                        h5g.create(root.id, folder.encode(), links, group)
                        made.add(folder)
                place, space = f"{name}/{GLOBAL}".encode(), h5s.create_simple(row.shape)
                stored = h5d.create(root.id, place, h5t.IEEE_F32LE, space, dcpl=dataset, lcpl=links)
                stored.write(h5s.ALL, h5s.ALL, row)
    return file.failure


class _ForgivingFile(io.RawIOBase):
    """A file for HDF5 whose writes never fail: ``failure`` is the first error, what comes after it stays in memory."""

    def __init__(self, raw: Any) -> None:
        self.failure: OSError | None = None
        self._raw = raw
        self._place = self._end = 0
        self._held: list[tuple[int, bytes]] = []

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; HDF5 asks for the length of the file in this way, too."""
        self._place = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence] + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the place on; there are zeros where nothing was written."""
        view, start, done = memoryview(buffer).cast("B"), self._place, 0
        try:
            while done < len(view) and (data := os.pread(self._raw.fileno(), len(view) - done, start + done)):
                view[done : done + len(data)] = data
                done += len(data)
        except OSError as error:
            self.failure = self.failure or error
        view[done:] = bytes(len(view) - done)
        for at, data in self._held:
            first, last = max(start, at), min(start + len(view), at + len(data))
            if first < last:
                view[first - start : last - start] = data[first - at : last - at]
        self._place = start + len(view)
        return len(view)

    def write(self, data: Any) -> int:
        """Write all of ``data``, or hold it."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view) and self.failure is None:
                done += os.pwrite(self._raw.fileno(), view[done:], self._place + done)
        except OSError as error:
            self.failure = error
        if done < len(view):
            self._held.append((self._place + done, bytes(view[done:])))
        self._place += len(view)
        self._end = max(self._end, self._place)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Make the file ``size`` bytes long."""
        self._end = self._place if size is None else size
        if self.failure is None:
            try:
                os.ftruncate(self._raw.fileno(), self._end)
            except OSError as error:
                self.failure = error
        return self._end
