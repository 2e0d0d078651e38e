"""Writing descriptors as HDF5: the same bytes for the same rows, and a disk without room is an OSError.

HDF5 cannot be stopped by a write that fails: its destructors write again, complain, and crash the process in the end.
So it is given a file that takes everything: from the first failure on, what it writes stays in memory, it closes in
peace, and the failure is raised behind it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from darkside_cli.retrieval.describe.blocks import GLOBAL, NAMES, Block

# Groups of this version of the format are small, and its attributes may be larger than 64 kB; every HDF5 library
# since 2008 reads it.
_VERSION = ("v108", "v108")


def write_h5(path: Path, names: Sequence[str], rows: Iterator[Block], attributes: dict[str, str]) -> None:
    """Write ``rows`` ``(n, D)`` float32 as ``<name>/global_descriptor`` into the file ``path``, which exists.

    ``attributes`` and the names, in their order, are attributes of the root. The bytes depend on nothing else: there
    are no time stamps. Raises OSError, with the file's name, if there is no room for it.
    """
    stop = threading.Event()
    # Not in the main thread: a Ctrl-C there would be raised in what HDF5 calls, which would take it for a failure.
    with ThreadPoolExecutor(1, thread_name_prefix="h5") as pool, path.open("rb+", buffering=0) as raw:
        future = pool.submit(_write, _ForgivingFile(raw), names, rows, attributes, stop)
        try:
            failure = future.result()
        finally:
            stop.set()
            pool.shutdown(wait=True)
    if failure is not None:
        raise OSError(failure.errno, failure.strerror, os.fspath(path)) from failure


def _write(
    file: _ForgivingFile,
    names: Sequence[str],
    rows: Iterator[Block],
    attributes: dict[str, str],
    stop: threading.Event,
) -> OSError | None:
    import h5py

    with h5py.File(file, "w", libver=_VERSION) as root:
        for key, value in attributes.items():
            root.attrs[key] = value
        if names:
            root.attrs.create(NAMES, np.array([name.encode() for name in names]))
        tree = _Tree(root)
        index = 0
        for block in rows:
            for row in block:
                if file.failure is not None or stop.is_set():
                    return file.failure
                tree.add(names[index], row)
                index += 1
    return file.failure


class _Tree:
    """Groups and datasets below ``root``, none with a time stamp.

    h5py's own create_dataset takes ten times as long, mostly over settings that are the same every time.
    """

    def __init__(self, root: Any) -> None:
        import h5py

        self._h5py, self._root = h5py, root.id
        self._links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        self._links.set_char_encoding(h5py.h5t.CSET_UTF8)
        self._group = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        self._group.set_obj_track_times(False)
        self._dataset = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        self._dataset.set_obj_track_times(False)
        self._groups: set[str] = set()

    def add(self, name: str, row: Block) -> None:
        """Write one row, with the groups that it lies in."""
        h5py = self._h5py
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            group = "/".join(parts[:depth])
            if group not in self._groups:
                h5py.h5g.create(self._root, group.encode(), self._links, self._group)
                self._groups.add(group)
        space = h5py.h5s.create_simple(row.shape)
        place = f"{name}/{GLOBAL}".encode()
        dataset = h5py.h5d.create(
            self._root, place, h5py.h5t.IEEE_F32LE, space, dcpl=self._dataset, lcpl=self._links
        )
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, row)


class _ForgivingFile:
    """A file for HDF5 whose writes never fail: ``failure`` is the first error, what comes after it stays in memory."""

    def __init__(self, raw: Any) -> None:
        self.failure: OSError | None = None
        self._raw = raw
        self._place = self._end = 0
        self._held: list[tuple[int, bytes]] = []

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; HDF5 asks for the length of the file in this way, too."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """Give the place."""
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes; there are zeros where nothing was written."""
        data = bytearray(max(0, self._end - self._place) if size < 0 else size)
        self.readinto(data)
        return bytes(data)

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

    def flush(self) -> None:
        """Nothing is held back."""
