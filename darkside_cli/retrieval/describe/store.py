"""Descriptor files, read a block at a time, so that a million fit any memory; their form is told by the suffix.

* ``.h5``: for each image a group of its name (slashes make nested groups) with a dataset ``global_descriptor``
  ``(D,)``, as hloc writes and reads them. In ours there is no other dataset, because hloc takes every dataset's parent
  for an image; the order of the images and the metadata are attributes of the root. Others' may be of one table,
  called ``descriptors`` or the only one.
* ``.npz``: ``descriptors`` ``(N, D)``, or the only table, ``names`` ``(N,)``, and ``metadata``, a text ``()`` of JSON;
  all of them plain arrays. Older files have the metadata as ``metadata.json``, which is no array.
* ``.npy``: ``(N, D)``, which maps into memory; beside it ``<stem>.names.txt``, a name a line, and
  ``<stem>.metadata.json``.

Any floating type is read; blocks are float32, and so is what :mod:`darkside_cli.retrieval.describe.write` writes.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from darkside_cli.errors import DarksideError, MissingAssetError, UsageError
from darkside_cli.regular_file import NotRegularError, require_regular
from darkside_cli.stated_size import DEFLATE_RATIO, require_possible_size

#: Name of the table in files that have names for things.
TABLE = "descriptors"
NAMES = "names"
#: hloc's name for a global descriptor, in the group of its image.
GLOBAL = "global_descriptor"
METADATA = "darkside"
"""Attribute of an ``.h5`` file's root that holds the metadata as JSON."""
METADATA_ARRAY = "metadata"
"""Array of an ``.npz`` that holds them."""

_METADATA_MEMBER = "metadata.json"
_LONGEST_METADATA_BYTES = 1 << 28
_BLOCK_BYTES = 1 << 26
_TRANSPOSE = "save it as rows: numpy.save(path, numpy.ascontiguousarray(table))"

Block = NDArray[np.float32]
_Header = tuple[tuple[int, ...], bool, np.dtype[Any]]


class DescriptorFileError(UsageError):
    """A file holds no descriptors, is damaged, or in a form that cannot be read block by block."""


@dataclass(frozen=True)
class DescriptorFile:
    """A file of ``count`` descriptors of ``dim`` dimensions, in its order, with ``names`` if it has any.

    ``metadata`` is what was recorded in it; empty in files of other programs.
    """

    path: Path
    count: int
    dim: int
    names: tuple[str, ...] | None
    _read: Callable[[int], Iterator[Block]]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def blocks(self, rows: int | None = None) -> Iterator[Block]:
        """Blocks (n, D) float32 of ``rows`` descriptors each but for the last (default: up to 64 MB), in order.

        A block is valid until the next one is asked for. Raises DescriptorFileError if the file is damaged.
        """
        if rows is None:
            # A power of two, as the tiles are that searching scores, so that they need not be put together anew.
            rows = 1 << max(1, _BLOCK_BYTES // (4 * max(1, self.dim))).bit_length() - 1
        with _explained(self.path):
            yield from self._read(rows)

    def read(self) -> Block:
        """Give all of it, (N, D) float32."""
        table = np.empty((self.count, self.dim), dtype=np.float32)
        first = 0
        for block in self.blocks():
            table[first : first + len(block)] = block
            first += len(block)
        return table


def open_descriptors(path: str | Path) -> DescriptorFile:
    """Look at a descriptor file, of ours or another's, with all that is recorded in it.

    Rows come in the order of ``names``, which is the order they were written in; in ``.h5`` files of other programs
    it is that of the names. Nothing but names is held in memory.

    Raises MissingAssetError if there is no such file (or no h5py for ``.h5``), DescriptorFileError if it is of another
    kind, damaged or holds no descriptors.
    """
    path = Path(path)
    openers = {".npy": _open_npy, ".npz": _open_npz, ".h5": _open_h5, ".hdf5": _open_h5}
    opener = openers.get(path.suffix.lower())
    if opener is None:
        raise DescriptorFileError(
            f"{path} is no descriptor file by its name", hint=f"known: {', '.join(openers)}"
        )
    with _explained(path):
        if path.exists():
            require_regular(path, path.stat().st_mode)
        return opener(path)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what readers raise for missing and damaged files into our errors."""
    try:
        yield
    except DarksideError:
        raise
    except FileNotFoundError as error:
        raise MissingAssetError(f"there is no file {path}", hint="check the path") from error
    except NotRegularError as error:
        raise DescriptorFileError(f"cannot read {path}: {error.strerror}", hint="name a file") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error) or type(error).__name__
        raise DescriptorFileError(
            f"cannot read {path}: {reason}", hint="make or get the file again"
        ) from error


def _require_table(path: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    if len(shape) != 2 or min(shape) < 0 or not np.issubdtype(dtype, np.floating):
        raise DescriptorFileError(
            f"{path} holds an array of shape {tuple(shape)} and type {dtype}, no descriptors",
            hint="descriptors are a table of floating-point numbers, one row an image",
        )


def _require_length(path: Path, whole: bool) -> None:
    if not whole:
        raise DescriptorFileError(f"{path} ends too early", hint="make or get the file again")


def _require_names(path: Path, names: Sequence[str] | None, count: int) -> None:
    if names is not None and len(names) != count:
        raise DescriptorFileError(
            f"{path} has {count} descriptors, but {len(names)} names", hint="make the file again"
        )


def _parsed(text: str | bytes, path: Path) -> Mapping[str, Any]:
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise DescriptorFileError(f"{path} has damaged metadata", hint="make the file again")
    return metadata


def _header(file: IO[bytes]) -> _Header:
    """Shape, whether columns are contiguous, and type of the .npy data that ``file`` begins with."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def files_beside(path: Path) -> tuple[Path, Path]:
    """Files of the names and of the metadata of an ``.npy``."""
    return path.with_suffix(".names.txt"), path.with_suffix(".metadata.json")


def _open_npy(path: Path) -> DescriptorFile:
    with path.open("rb") as file:
        shape, fortran, dtype = _header(file)
        offset = file.tell()
    _require_table(path, shape, dtype)
    _require_length(path, path.stat().st_size >= offset + shape[0] * shape[1] * dtype.itemsize)
    listing, description = files_beside(path)
    metadata = _parsed(description.read_text("utf-8", "replace"), path) if description.is_file() else {}
    names = None
    if listing.is_file():
        names = tuple(os.fsdecode(line) for line in listing.read_bytes().split(b"\n") if line)
        if len(names) != shape[0]:
            raise DescriptorFileError(
                f"{path} has {shape[0]} descriptors, but {listing.name} {len(names)} names",
                hint="make both again",
            )

    def read(rows: int) -> Iterator[Block]:
        for first in range(0, shape[0], rows):
            # A map for each block: pages of a map that is kept would count as this process's memory.
            table = np.memmap(path, dtype, "r", offset, shape, order="F" if fortran else "C")
            yield np.array(table[first : first + rows], dtype=np.float32, order="C")

    return DescriptorFile(path, shape[0], shape[1], names, read, metadata)


def _open_npz(path: Path) -> DescriptorFile:
    with zipfile.ZipFile(path) as archive:
        members = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        names = None
        if NAMES in members:
            _whole_header(archive, NAMES, path)
            with np.load(path, allow_pickle=False) as arrays:
                names = tuple(str(name) for name in arrays[NAMES].reshape(-1))
        tables = [name for name in members if name != NAMES]
        table = TABLE if TABLE in tables else tables[0] if len(tables) == 1 else None
        if table is None:
            raise DescriptorFileError(
                f"{path} has the arrays {', '.join(tables) or 'none'}",
                hint=f"call that of the descriptors '{TABLE}'",
            )
        shape, fortran, dtype = _whole_header(archive, table, path)
        _require_table(path, shape, dtype)
        if fortran and min(shape) > 1:
            raise DescriptorFileError(f"{path} holds its table column by column", hint=_TRANSPOSE)
        _require_names(path, names, shape[0])
        metadata = _npz_metadata(archive, path)

    def read(rows: int) -> Iterator[Block]:
        with zipfile.ZipFile(path) as archive, archive.open(f"{table}.npy") as file:
            _header(file)
            for first in range(0, shape[0], rows):
                count = min(rows, shape[0] - first)
                data = file.read(count * shape[1] * dtype.itemsize)
                yield np.frombuffer(data, dtype).reshape(count, shape[1]).astype(np.float32)

    return DescriptorFile(path, shape[0], shape[1], names, read, metadata)


def _whole_header(archive: zipfile.ZipFile, name: str, path: Path) -> _Header:
    """Header of an array, after seeing that it has as many bytes as it states; only its beginning is read."""
    member = archive.getinfo(f"{name}.npy")
    require_possible_size(member)
    with archive.open(member) as file:
        header = shape, _, dtype = _header(file)
        _require_length(path, member.file_size >= file.tell() + prod(shape) * dtype.itemsize)
    return header


def _npz_metadata(archive: zipfile.ZipFile, path: Path) -> Mapping[str, Any]:
    there = {member.filename: member for member in archive.infolist()}
    older, array = there.get(_METADATA_MEMBER), there.get(f"{METADATA_ARRAY}.npy")
    member = older or array
    if member is None or member.file_size > _LONGEST_METADATA_BYTES:
        return {}
    if older is not None:
        return _parsed(archive.read(older).decode("utf-8", "replace"), path)
    _whole_header(archive, METADATA_ARRAY, path)
    try:  # an array of that name in another program's file says nothing to us
        with archive.open(member) as file:
            text = np.lib.format.read_array(file, allow_pickle=False)
        found = json.loads(text.item()) if text.shape == () and text.dtype.kind == "U" else None
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _open_h5(path: Path) -> DescriptorFile:
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
            metadata = _parsed(str(file.attrs[METADATA]), path)
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
        _require_table(path, (len(names), *first.shape), first.dtype)
        dim = int(first.shape[0])

    def read(rows: int) -> Iterator[Block]:
        with h5py.File(path, "r") as file:
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


def _open_h5_table(path: Path, found: Mapping[str, Any]) -> DescriptorFile:
    tables = [name for name, item in found.items() if item.ndim == 2]
    table = TABLE if TABLE in tables else tables[0] if len(tables) == 1 else None
    if table is None:
        raise DescriptorFileError(
            f"{path} has no {GLOBAL} and no table of descriptors", hint=f"call the table '{TABLE}'"
        )
    stored = found[table]
    shape = tuple(int(side) for side in stored.shape)
    _require_table(path, shape, stored.dtype)
    # Rows that were never written take no room in the file, however many it states.
    _require_length(path, prod(shape) * stored.dtype.itemsize <= DEFLATE_RATIO * stored.id.get_storage_size())
    names = tuple(found[NAMES].asstr()[:].tolist()) if NAMES in found else None
    _require_names(path, names, shape[0])

    def read(rows: int) -> Iterator[Block]:
        import h5py

        with h5py.File(path, "r") as file:
            for first in range(0, shape[0], rows):
                yield file[table][first : first + rows].astype(np.float32)

    return DescriptorFile(path, shape[0], shape[1], names, read)
