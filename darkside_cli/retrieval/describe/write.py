"""Writing descriptor files, whole or not at all, from blocks of rows. Their forms are told in ``store.py``."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from darkside_cli.atomic import temporary_beside, write_bytes_atomic
from darkside_cli.errors import NoSpaceError, UnknownNameError, UsageError, why_no_space
from darkside_cli.retrieval.describe.descriptor_file import NAMES, TABLE, Block
from darkside_cli.retrieval.describe.h5 import GLOBAL, write_h5
from darkside_cli.retrieval.describe.store import METADATA_ARRAY, files_beside

FORMATS: Mapping[str, tuple[str, ...]] = {"h5": (".h5", ".hdf5"), "npz": (".npz",), "npy": (".npy",)}
"""Forms of descriptor files, and the suffixes they are told by."""

_NAMES_AT_ONCE = 4096


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
                write_h5(temporary, names, rows, text)
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
