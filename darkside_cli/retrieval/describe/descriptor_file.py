"""A descriptor file that was looked at, whatever its form, and what is checked of all forms."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkside_cli.errors import DarksideError, MissingAssetError, UsageError
from darkside_cli.regular_file import NotRegularError

#: Name of the table in files that have names for things.
TABLE = "descriptors"
NAMES = "names"

_BLOCK_BYTES = 1 << 24

Block = NDArray[np.float32]


class DescriptorFileError(UsageError):
    """A file holds no descriptors, is damaged, or in a form that cannot be read block by block."""

    def __init__(self, message: str, *, hint: str = "make or get the file again") -> None:
        super().__init__(message, hint=hint)


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

    @property
    def block_rows(self) -> int:
        """How many rows :meth:`blocks` gives at once: a power of two, as the tiles are that searching scores."""
        return 1 << max(1, _BLOCK_BYTES // (4 * max(1, self.dim))).bit_length() - 1

    def blocks(self, rows: int | None = None) -> Iterator[Block]:
        """Blocks (n, D) float32 of ``rows`` descriptors each but for the last (default: up to 16 MB), in order.

        A block is valid until the next one is asked for. Raises DescriptorFileError if the file is damaged.
        """
        with explained(self.path):
            yield from self._read(self.block_rows if rows is None else rows)

    def read(self) -> Block:
        """Give all of it, (N, D) float32."""
        table = np.empty((self.count, self.dim), dtype=np.float32)
        first = 0
        for block in self.blocks():
            table[first : first + len(block)] = block
            first += len(block)
        return table


@contextmanager
def explained(path: Path) -> Iterator[None]:
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
        raise DescriptorFileError(f"cannot read {path}: {str(error) or type(error).__name__}") from error


def require_table(path: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Raise DescriptorFileError unless it is a table of floating-point numbers."""
    if len(shape) != 2 or min(shape) < 0 or not np.issubdtype(dtype, np.floating):
        raise DescriptorFileError(
            f"{path} holds an array of shape {tuple(shape)} and type {dtype}, no descriptors",
            hint="descriptors are a table of floating-point numbers, one row an image",
        )


def require_length(path: Path, whole: bool) -> None:
    """Raise DescriptorFileError unless the file is ``whole``."""
    if not whole:
        raise DescriptorFileError(f"{path} ends too early")


def require_names(path: Path, names: Sequence[str] | None, count: int) -> None:
    """Raise DescriptorFileError for another number of names, where there are any, than of rows."""
    if names is not None and len(names) != count:
        raise DescriptorFileError(
            f"{path} has {count} descriptors, but {len(names)} names", hint="make the file again"
        )


def chosen_table(tables: Sequence[str]) -> str | None:
    """Which of the ``tables`` is that of the descriptors: the one called so, or the only one."""
    return TABLE if TABLE in tables else tables[0] if len(tables) == 1 else None


def parsed_metadata(text: str | bytes, path: Path) -> Mapping[str, Any]:
    """Metadata from JSON. Raises DescriptorFileError for anything but an object."""
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise DescriptorFileError(f"{path} has damaged metadata", hint="make the file again")
    return metadata
