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
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from darkside_cli.regular_file import require_regular
from darkside_cli.retrieval.describe.descriptor_file import (
    NAMES,
    TABLE,
    Block,
    DescriptorFile,
    DescriptorFileError,
    chosen_table,
    explained,
    parsed_metadata,
    require_length,
    require_names,
    require_table,
)
from darkside_cli.retrieval.describe.h5 import open_h5
from darkside_cli.stated_size import require_possible_size

METADATA_ARRAY = "metadata"
"""Array of an ``.npz`` that holds the metadata as JSON."""

_METADATA_MEMBER = "metadata.json"
_LONGEST_METADATA_BYTES = 1 << 28
_TRANSPOSE = "save it as rows: numpy.save(path, numpy.ascontiguousarray(table))"
_Header = tuple[tuple[int, ...], bool, np.dtype[Any]]


def open_descriptors(path: str | Path) -> DescriptorFile:
    """Look at a descriptor file, of ours or another's, with all that is recorded in it.

    Rows come in the order of ``names``, which is the order they were written in; in ``.h5`` files of other programs
    it is that of the names. Nothing but names is held in memory.

    Raises MissingAssetError if there is no such file (or no h5py for ``.h5``), DescriptorFileError if it is of another
    kind, damaged or holds no descriptors.
    """
    path = Path(path)
    openers = {".npy": _open_npy, ".npz": _open_npz, ".h5": open_h5, ".hdf5": open_h5}
    opener = openers.get(path.suffix.lower())
    if opener is None:
        raise DescriptorFileError(
            f"{path} is no descriptor file by its name", hint=f"known: {', '.join(openers)}"
        )
    with explained(path):
        if path.exists():
            require_regular(path, path.stat().st_mode)
        return opener(path)


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
    require_table(path, shape, dtype)
    require_length(path, path.stat().st_size >= offset + shape[0] * shape[1] * dtype.itemsize)
    listing, description = files_beside(path)
    metadata = (
        parsed_metadata(description.read_text("utf-8", "replace"), path) if description.is_file() else {}
    )
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
        table = chosen_table(tables)
        if table is None:
            raise DescriptorFileError(
                f"{path} has the arrays {', '.join(tables) or 'none'}",
                hint=f"call that of the descriptors '{TABLE}'",
            )
        shape, fortran, dtype = _whole_header(archive, table, path)
        require_table(path, shape, dtype)
        if fortran and min(shape) > 1:
            raise DescriptorFileError(f"{path} holds its table column by column", hint=_TRANSPOSE)
        require_names(path, names, shape[0])
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
        require_length(path, member.file_size >= file.tell() + prod(shape) * dtype.itemsize)
    return header


def _npz_metadata(archive: zipfile.ZipFile, path: Path) -> Mapping[str, Any]:
    there = {member.filename: member for member in archive.infolist()}
    older, array = there.get(_METADATA_MEMBER), there.get(f"{METADATA_ARRAY}.npy")
    member = older or array
    if member is None or member.file_size > _LONGEST_METADATA_BYTES:
        return {}
    if older is not None:
        return parsed_metadata(archive.read(older).decode("utf-8", "replace"), path)
    _whole_header(archive, METADATA_ARRAY, path)
    try:  # an array of that name in another program's file says nothing to us
        with archive.open(member) as file:
            text = np.lib.format.read_array(file, allow_pickle=False)
        found = json.loads(text.item()) if text.shape == () and text.dtype.kind == "U" else None
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
