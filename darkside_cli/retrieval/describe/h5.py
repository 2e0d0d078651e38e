"""Descriptors in HDF5: the same bytes for the same rows, and a disk without room is an OSError.

HDF5 cannot be stopped by a write that fails: its destructors write again, complain, and crash the process in the end.
So it is given a file that takes everything: from the first failure on, what it writes stays in memory, it closes in
peace, and the failure is raised behind it.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from darkside_cli.errors import MissingAssetError
from darkside_cli.retrieval.describe.descriptor_file import (
    NAMES,
    TABLE,
    Block,
    DescriptorFile,
    DescriptorFileError,
    chosen_table,
    parsed_metadata,
    require_length,
    require_names,
    require_table,
)
from darkside_cli.stated_size import DEFLATE_RATIO

#: hloc's name for a global descriptor, in the group of its image.
GLOBAL = "global_descriptor"
METADATA = "darkside"
"""Attribute of the root that holds the metadata as JSON."""
# Groups of this version of the format are small, and its attributes may be larger than 64 kB; every HDF5 library
# since 2008 reads it.
_VERSION = ("v108", "v108")
_CACHE_BYTES = 1 << 21


def open_h5(path: Path) -> DescriptorFile:
    """Look at an ``.h5`` file (see ``store.py``). Raises FileNotFoundError, MissingAssetError if there is no h5py."""
    try:
        import h5py
    except ImportError as error:
        raise MissingAssetError(
            "reading .h5 files needs h5py", hint="install it: pip install h5py"
        ) from error
    if not path.exists():
        raise FileNotFoundError(path)
    with h5py.File(path, "r") as file:
        if METADATA in file.attrs and NAMES in file.attrs:  # ours, whose order and names are attributes
            names = tuple(name.decode() for name in file.attrs[NAMES].tolist())
            metadata = parsed_metadata(str(file.attrs[METADATA]), path)
            first = file[f"{names[0]}/{GLOBAL}"]
        else:
            found: dict[str, Any] = {}
            file.visititems(
                lambda name, item: found.__setitem__(name, item) if hasattr(item, "dtype") else None
            )
            names = tuple(name.removesuffix(f"/{GLOBAL}") for name in found if name.endswith(f"/{GLOBAL}"))
            if not names:
                return _open_h5_table(path, found)
            metadata, first = {}, found[f"{names[0]}/{GLOBAL}"]
        require_table(path, (len(names), *first.shape), first.dtype)
        dim = int(first.shape[0])

    def read(rows: int) -> Iterator[Block]:
        with h5py.File(path, "r") as file:
            _keep_little(file)
            for first in range(0, len(names), rows):
                part = names[first : first + rows]
                block = np.empty((len(part), dim), dtype=np.float32)
                for row, name in zip(block, part, strict=True):
                    dataset = h5py.h5d.open(file.id, f"{name}/{GLOBAL}".encode())
                    if dataset.shape != (dim,):
                        raise DescriptorFileError(
                            f"{path}: {name} has a descriptor of shape {dataset.shape}, others of {dim} dimensions",
                            hint="make the file again, with one model",
                        )
                    dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, row)
                yield block

    return DescriptorFile(path, len(names), dim, names, read, metadata)


def _keep_little(file: Any) -> None:
    """Let HDF5 keep 2 MB of what it knows of groups, which are each read once, and not 32."""
    config = file.id.get_mdc_config()
    config.set_initial_size, config.initial_size = True, _CACHE_BYTES // 2
    config.min_size, config.max_size = _CACHE_BYTES // 2, _CACHE_BYTES
    file.id.set_mdc_config(config)


def _open_h5_table(path: Path, found: Mapping[str, Any]) -> DescriptorFile:
    tables = [name for name, item in found.items() if item.ndim == 2]
    table = chosen_table(tables)
    if table is None:
        raise DescriptorFileError(
            f"{path} has no {GLOBAL} and no table of descriptors", hint=f"call the table '{TABLE}'"
        )
    stored = found[table]
    shape = tuple(int(side) for side in stored.shape)
    require_table(path, shape, stored.dtype)
    # Rows that were never written take no room in the file, however many it states.
    require_length(path, prod(shape) * stored.dtype.itemsize <= DEFLATE_RATIO * stored.id.get_storage_size())
    names = tuple(found[NAMES].asstr()[:].tolist()) if NAMES in found else None
    require_names(path, names, shape[0])

    def read(rows: int) -> Iterator[Block]:
        import h5py

        with h5py.File(path, "r") as file:
            for first in range(0, shape[0], rows):
                yield file[table][first : first + rows].astype(np.float32)

    return DescriptorFile(path, shape[0], shape[1], names, read)


def write_h5(path: Path, names: Sequence[str], rows: Iterator[Block], metadata: str) -> None:
    """Write ``rows`` (n, D) float32 by name, and ``metadata``, JSON, into the file ``path``, which exists.

    The bytes depend on nothing else: there are no time stamps. Raises OSError, with the file's name, if there is no
    room for it.
    """
    begin, stop = threading.Event(), threading.Event()

    def work() -> OSError | None:
        begin.wait()
        return None if stop.is_set() else _write_groups(_ForgivingFile(raw), names, rows, metadata, stop)

    # Not in the main thread: a Ctrl-C there would be raised in what HDF5 calls, which would take it for a failure.
    with ThreadPoolExecutor(1, thread_name_prefix="h5") as pool, path.open("rb+", buffering=0) as raw:
        try:
            future = pool.submit(work)
            # A Ctrl-C before this point may leave a thread that the pool does not know of, and nobody waits for.
            begin.set()
            failure = future.result()
        finally:
            stop.set()
            begin.set()
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
    with h5py.File(file, "w", libver=_VERSION) as root:
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
