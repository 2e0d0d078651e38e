"""Descriptor files: written whole or not at all from blocks of rows, and read back the same way, with names.

Three forms, told by suffix:

* ``.h5``: for each image a group of its name (slashes make nested groups) with a dataset ``global_descriptor``
  ``(D,)``, which is what hloc's ``pairs_from_retrieval`` reads. There is no other dataset in the file, because hloc
  takes every dataset's parent for an image; the order of the images and the metadata are attributes of the root.
* ``.npz``: ``descriptors`` ``(N, D)`` float32, ``names`` ``(N,)``, and ``metadata``, a text ``()`` of JSON; all of
  them plain arrays. Older files have the metadata as ``metadata.json``, which is no array.
* ``.npy``: ``(N, D)`` float32, which maps into memory; beside it ``<stem>.names.txt``, a name a line, and
  ``<stem>.metadata.json``.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from darkside_cli.atomic import temporary_beside, write_bytes_atomic
from darkside_cli.errors import NoSpaceError, UnknownNameError, UsageError, why_no_space
from darkside_cli.retrieval.describe import blocks as descriptor_blocks
from darkside_cli.retrieval.describe.blocks import (
    GLOBAL,
    NAMES,
    TABLE,
    Block,
    DescriptorFile,
    DescriptorFileError,
)
from darkside_cli.retrieval.describe.h5_writer import write_h5

FORMATS: Mapping[str, tuple[str, ...]] = {"h5": (".h5", ".hdf5"), "npz": (".npz",), "npy": (".npy",)}
"""Forms of descriptor files, and the suffixes they are told by."""

METADATA = "darkside"
"""Attribute of an ``.h5`` file's root that holds the metadata as JSON."""

_METADATA_ARRAY, _METADATA_MEMBER = "metadata", "metadata.json"
_LONGEST_METADATA_BYTES = 1 << 28
_NAMES_AT_ONCE = 4096


@dataclass(frozen=True)
class StoredDescriptors(DescriptorFile):
    """A descriptor file with what was recorded in it; ``metadata`` is empty in files of other programs."""

    metadata: Mapping[str, Any] = field(default_factory=dict)


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
    """See that images of these names can be told apart in a file of this form.

    Raises UsageError that names the one that cannot.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(
                f"two images are called '{name}'", hint="give a folder that holds both, so that paths differ"
            )
        seen.add(name)
    check = {"h5": _check_h5_name, "npy": _check_line}.get(format)
    if check is not None:
        for name in names:
            check(name, seen)


def _check_h5_name(name: str, all_names: set[str]) -> None:
    if _not_utf8(name):
        raise UsageError(
            f"the name {name!r} is not UTF-8, which .h5 files need", hint="rename it, or write .npz"
        )
    parts = name.split("/")
    if "" in parts or "." in parts or "\0" in name:
        raise UsageError(f"'{name}' is no name for an image in an .h5 file", hint="give it without . and //")
    if any(part == GLOBAL and "/".join(parts[:i]) in all_names for i, part in enumerate(parts)):
        raise UsageError(f"'{name}' is where another image's descriptor belongs", hint="write .npz instead")


def _not_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def _check_line(name: str, _: set[str]) -> None:
    if "\n" in name or not name:
        raise UsageError(f"the name {name!r} is not one line of a list", hint="write .h5 or .npz instead")


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
        if kind == "npy":
            _write_npy(target, names, rows, dim, text)
            return target
        write = {"h5": _write_h5, "npz": _write_npz}[kind]
        with temporary_beside(target, sync=True) as temporary:
            write(temporary, names, rows, dim, text)
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


def _write_h5(path: Path, names: Sequence[str], rows: Iterator[Block], _: int, metadata: str) -> None:
    write_h5(path, names, rows, {METADATA: metadata})


def _write_npz(path: Path, names: Sequence[str], rows: Iterator[Block], dim: int, metadata: str) -> None:
    width = max((len(name) for name in names), default=1)
    dtype = np.dtype(f"<U{width}")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(zipfile.ZipInfo(f"{TABLE}.npy"), "w", force_zip64=True) as file:
            _write_table(file, rows, len(names), dim)
        with archive.open(zipfile.ZipInfo(f"{NAMES}.npy"), "w", force_zip64=True) as file:
            _write_header(file, (len(names),), dtype)
            for first in range(0, len(names), _NAMES_AT_ONCE):
                file.write(np.array(names[first : first + _NAMES_AT_ONCE], dtype).tobytes())
        with archive.open(zipfile.ZipInfo(f"{_METADATA_ARRAY}.npy"), "w") as file:
            np.lib.format.write_array(file, np.array(metadata), allow_pickle=False)


def _write_npy(path: Path, names: Sequence[str], rows: Iterator[Block], dim: int, metadata: str) -> None:
    listing, description = _beside(path)
    with temporary_beside(path, sync=True) as temporary:
        with temporary.open("wb") as file:
            _write_table(file, rows, len(names), dim)
        # The table comes last: a table that is there has its own names beside it, whenever power goes.
        path.unlink(missing_ok=True)
        write_bytes_atomic(listing, b"".join(os.fsencode(name) + b"\n" for name in names), sync=True)
        write_bytes_atomic(description, metadata.encode(), sync=True)


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_suffix(".names.txt"), path.with_suffix(".metadata.json")


def _write_table(file: IO[bytes], rows: Iterator[Block], count: int, dim: int) -> None:
    _write_header(file, (count, dim), np.dtype("<f4"))
    for block in rows:
        file.write(block.data)


def _write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )


def open_descriptors(path: str | Path) -> StoredDescriptors:
    """Look at a descriptor file, of ours or another's, with all that is recorded in it.

    Rows come in the order of ``names``, which is the order they were written in; in ``.h5`` files of other programs
    it is that of the names. Nothing but names is held in memory.

    Raises MissingAssetError if there is no such file, DescriptorFileError if it is of another kind, damaged or
    holds no descriptors.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in FORMATS["h5"] and path.is_file():
        ours = _open_own_h5(path)
        if ours is not None:
            return ours
    plain = descriptor_blocks.open_descriptors(path)
    names, metadata = plain.names, "{}"
    if suffix == ".npz":
        metadata = _npz_metadata(path)
    elif suffix == ".npy":
        names, metadata = _read_beside(path, plain.count)
    return StoredDescriptors(path, plain.count, plain.dim, names, plain._read, _parsed(metadata, path))


def _open_own_h5(path: Path) -> StoredDescriptors | None:
    """Open a file of ours, whose order and names are attributes; None for another's."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if METADATA not in file.attrs or NAMES not in file.attrs:
                return None
            metadata = str(file.attrs[METADATA])
            names = tuple(name.decode() for name in file.attrs[NAMES].tolist())
            shape = file[f"{names[0]}/{GLOBAL}"].shape
    except (OSError, KeyError, ValueError) as error:
        raise DescriptorFileError(
            f"cannot read {path}: {error}", hint="make or get the file again"
        ) from error
    if len(shape) != 1:
        raise DescriptorFileError(f"{path}: {names[0]} has a descriptor of shape {shape}")
    dim = int(shape[0])

    def read(rows: int) -> Iterator[Block]:
        return _read_own_h5(path, names, dim, rows)

    return StoredDescriptors(path, len(names), dim, names, read, _parsed(metadata, path))


def _read_own_h5(path: Path, names: Sequence[str], dim: int, rows: int) -> Iterator[Block]:
    import h5py

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


def _npz_metadata(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        there = {member.filename: member for member in archive.infolist()}
        if _METADATA_MEMBER in there:  # an older file
            if there[_METADATA_MEMBER].file_size > _LONGEST_METADATA_BYTES:
                return "{}"
            return archive.read(_METADATA_MEMBER).decode("utf-8", "replace")
        member = there.get(f"{_METADATA_ARRAY}.npy")
        if member is None or member.file_size > _LONGEST_METADATA_BYTES:
            return "{}"
        descriptor_blocks.require_whole(archive, _METADATA_ARRAY, path)
        with archive.open(member) as file:
            return _text_of(file)


def _text_of(file: IO[bytes]) -> str:
    """JSON in an array of one text; an array of that name in another program's file says nothing to us."""
    try:
        text = np.lib.format.read_array(file, allow_pickle=False)
        if text.shape == () and text.dtype.kind == "U" and isinstance(json.loads(text.item()), dict):
            return str(text.item())
    except ValueError:
        pass
    return "{}"


def _read_beside(path: Path, count: int) -> tuple[tuple[str, ...] | None, str]:
    listing, description = _beside(path)
    metadata = description.read_text("utf-8", "replace") if description.is_file() else "{}"
    if not listing.is_file():
        return None, metadata
    names = tuple(os.fsdecode(line) for line in listing.read_bytes().split(b"\n") if line)
    if len(names) != count:
        raise DescriptorFileError(
            f"{path} has {count} descriptors, but {listing.name} {len(names)} names", hint="make both again"
        )
    return names, metadata


def _parsed(text: str, path: Path) -> Mapping[str, Any]:
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise DescriptorFileError(f"{path} has damaged metadata", hint="make the file again")
    return metadata
