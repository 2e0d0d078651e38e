"""A published file: where it can be had, where it belongs, and how it is known to be the right one.

Models and data sets both are made of such files, so the description stands below both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_HEX = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file of an asset.

    ``path`` is relative to the data root, with forward slashes; ``also_at`` are other places in it where
    earlier software left the same file. ``urls`` are tried in order. ``sha256`` is the whole digest or the
    part of its beginning that is known (at least 6 lower-case hex digits), "" when nothing is; ``size`` is
    in bytes.

    Raises ValueError for a path that leaves the root, and for a digest that is none.
    """

    path: str
    urls: tuple[str, ...] = ()
    sha256: str = ""
    size: int | None = None
    also_at: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for path in (self.path, *self.also_at):
            pure = PurePosixPath(path)
            if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path:
                raise ValueError(f"not a path inside the data root: {path!r}")
        if self.sha256 and not _HEX.fullmatch(self.sha256):
            raise ValueError(f"not the beginning of a SHA-256 digest: {self.sha256!r}")

    @property
    def name(self) -> str:
        """File name without its folders."""
        return PurePosixPath(self.path).name
