"""Descriptor files (``.npy``, ``.npz``, ``.h5``) read a block at a time, so that a million fit any memory.

``.npy``: a table (N, D). ``.npz``: the table is called ``descriptors`` or is the only one; ``names``, if
there, are the images'. ``.h5``: for each image a group of its name with a ``global_descriptor`` (D,), as hloc
writes and reads them; or one table, called ``descriptors`` or the only one. Any floating type; blocks are
float32.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from darkside_cli.errors import DarksideError, MissingAssetError, UsageError
from darkside_cli.regular_file import NotRegularError, require_regular
from darkside_cli.stated_size import DEFLATE_RATIO, require_possible_size

#: Name of the table in files that have names for things.
TABLE = "descriptors"
NAMES = "names"
#: hloc's name for a global descriptor, in the group of its image.
GLOBAL = "global_descriptor"

_BLOCK_BYTES = 1 << 26
_TRANSPOSE = "save it as rows: numpy.save(path, numpy.ascontiguousarray(table))"

Block = npt.NDArray[np.float32]


class DescriptorFileError(UsageError):
    """A file holds no descriptors, is damaged, or in a form that cannot be read block by block."""


@dataclass(frozen=True)
class DescriptorFile:
    """A file of ``count`` descriptors of ``dim`` dimensions, in its order, with ``names`` if it has any."""

    path: Path
    count: int
    dim: int
    names: tuple[str, ...] | None
    _read: Callable[[int], Iterator[Block]]

    def blocks(self, rows: int | None = None) -> Iterator[Block]:
        """Blocks (n, D) float32 of ``rows`` descriptors each but for the last (default: up to 64 MB), in order.

        A block is valid until the next one is asked for. Raises DescriptorFileError if the file is damaged.
        """
        with _explained(self.path):
            yield from self._read(rows or _default_rows(self.dim))

    def read(self) -> Block:
        """Give all of it, (N, D) float32."""
        table = np.empty((self.count, self.dim), dtype=np.float32)
        first = 0
        for block in self.blocks():
            table[first : first + len(block)] = block
            first += len(block)
        return table


def _default_rows(dim: int) -> int:
    # A power of two, as the tiles are that searching scores, so that they need not be put together anew.
    return 1 << max(1, _BLOCK_BYTES // (4 * max(1, dim))).bit_length() - 1


def open_descriptors(path: str | Path) -> DescriptorFile:
    """Look at a descriptor file; its kind is told by its suffix.

    Raises MissingAssetError if there is no such file (or no h5py for ``.h5``), DescriptorFileError if it is
    of another kind, damaged, or holds no descriptors.
    """
    path = Path(path)
    kinds = {".npy": _open_npy, ".npz": _open_npz, ".h5": _open_h5, ".hdf5": _open_h5}
    opener = kinds.get(path.suffix.lower())
    if opener is None:
        raise DescriptorFileError(
            f"{path} is no descriptor file by its name", hint=f"known: {', '.join(kinds)}"
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


def _header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns are contiguous, and type of the .npy data that ``file`` begins with."""
    shape, fortran, dtype = _read_header(file)
    _check_table(path, shape, dtype)
    return shape, fortran, dtype


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def require_whole(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    """See that array ``name`` of an ``.npz`` has as many bytes as it states; only its beginning is read."""
    member = archive.getinfo(f"{name}.npy")
    require_possible_size(member)
    with archive.open(member) as file:
        shape, _, dtype = _read_header(file)
        if member.file_size < file.tell() + prod(shape) * dtype.itemsize:
            raise DescriptorFileError(f"{path} ends too early", hint="make or get the file again")


def _check_table(path: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    if len(shape) != 2 or min(shape) < 0 or not np.issubdtype(dtype, np.floating):
        raise DescriptorFileError(
            f"{path} holds an array of shape {tuple(shape)} and type {dtype}, no descriptors",
            hint="descriptors are a table of floating-point numbers, one row an image",
        )


def _open_npy(path: Path) -> DescriptorFile:
    with path.open("rb") as file:
        shape, fortran, dtype = _header(file, path)
        offset = file.tell()
    if path.stat().st_size < offset + shape[0] * shape[1] * dtype.itemsize:
        raise DescriptorFileError(f"{path} ends too early", hint="make or get the file again")

    def read(rows: int) -> Iterator[Block]:
        for first in range(0, shape[0], rows):
            # A map for each block: pages of a map that is kept would count as this process's memory.
            table = np.memmap(path, dtype, "r", offset, shape, order="F" if fortran else "C")
            yield np.array(table[first : first + rows], dtype=np.float32, order="C")

    return DescriptorFile(path, shape[0], shape[1], None, read)


def _open_npz(path: Path) -> DescriptorFile:
    with zipfile.ZipFile(path) as archive:
        members = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        names = None
        if NAMES in members:
            require_whole(archive, NAMES, path)
            with np.load(path, allow_pickle=False) as arrays:
                names = tuple(str(name) for name in arrays[NAMES].reshape(-1))
        tables = [name for name in members if name != NAMES]
        table = TABLE if TABLE in tables else tables[0] if len(tables) == 1 else None
        if table is None:
            raise DescriptorFileError(
                f"{path} has the arrays {', '.join(tables) or 'none'}",
                hint=f"call that of the descriptors '{TABLE}'",
            )
        with archive.open(f"{table}.npy") as file:
            shape, fortran, dtype = _header(file, path)
        require_whole(archive, table, path)
    if fortran and min(shape) > 1:
        raise DescriptorFileError(f"{path} holds its table column by column", hint=_TRANSPOSE)
    _check_names(path, names, shape[0])

    def read(rows: int) -> Iterator[Block]:
        with zipfile.ZipFile(path) as archive, archive.open(f"{table}.npy") as file:
            _header(file, path)
            for first in range(0, shape[0], rows):
                count = min(rows, shape[0] - first)
                data = file.read(count * shape[1] * dtype.itemsize)
                yield np.frombuffer(data, dtype).reshape(count, shape[1]).astype(np.float32)

    return DescriptorFile(path, shape[0], shape[1], names, read)


def _open_h5(path: Path) -> DescriptorFile:
    h5py = _h5py()
    if not path.exists():
        raise FileNotFoundError(path)
    with h5py.File(path, "r") as file:
        found: dict[str, Any] = {}
        file.visititems(lambda name, item: found.__setitem__(name, item) if hasattr(item, "dtype") else None)
        names = [name.removesuffix(f"/{GLOBAL}") for name in found if name.endswith(f"/{GLOBAL}")]
        if names:
            first = found[f"{names[0]}/{GLOBAL}"]
            _check_table(path, (len(names), *first.shape), first.dtype)
            dim = int(first.shape[0])
            return DescriptorFile(
                path, len(names), dim, tuple(names), lambda rows: _read_h5_groups(path, names, dim, rows)
            )
        tables = [name for name, item in found.items() if item.ndim == 2]
        table = TABLE if TABLE in tables else tables[0] if len(tables) == 1 else None
        if table is None:
            raise DescriptorFileError(
                f"{path} has no {GLOBAL} and no table of descriptors", hint=f"call the table '{TABLE}'"
            )
        shape = tuple(int(side) for side in found[table].shape)
        _check_table(path, shape, found[table].dtype)
        # Rows that were never written take no room in the file, however many it states.
        stored = found[table].id.get_storage_size()
        if prod(shape) * found[table].dtype.itemsize > DEFLATE_RATIO * stored:
            raise DescriptorFileError(f"{path} ends too early", hint="make or get the file again")
        labels = tuple(found[NAMES].asstr()[:].tolist()) if NAMES in found else None
    _check_names(path, labels, shape[0])

    def read(rows: int) -> Iterator[Block]:
        with h5py.File(path, "r") as file:
            for first in range(0, shape[0], rows):
                yield file[table][first : first + rows].astype(np.float32)

    return DescriptorFile(path, shape[0], shape[1], labels, read)


def _read_h5_groups(path: Path, names: Sequence[str], dim: int, rows: int) -> Iterator[Block]:
    with _h5py().File(path, "r") as file:
        for first in range(0, len(names), rows):
            part = names[first : first + rows]
            block = np.empty((len(part), dim), dtype=np.float32)
            for row, name in enumerate(part):
                item = file[f"{name}/{GLOBAL}"]
                if item.shape != (dim,):
                    raise DescriptorFileError(
                        f"{path}: {name} has a descriptor of shape {item.shape}, others of {dim} dimensions",
                        hint="make the file again, with one model",
                    )
                block[row] = item[:]
            yield block


def _check_names(path: Path, names: Sequence[str] | None, count: int) -> None:
    if names is not None and len(names) != count:
        raise DescriptorFileError(
            f"{path} has {count} descriptors, but {len(names)} names", hint="make the file again"
        )


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingAssetError(
            "reading .h5 files needs h5py", hint="install it: pip install h5py"
        ) from error
    return h5py
