"""What says that a folder of the city is complete: ``nightfall.json``, and digests of its files in ``SHA256SUMS``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkside_cli.nightfall.config import NAME

MARKER, SUMS = "nightfall.json", "SHA256SUMS"


@dataclass(frozen=True)
class Marker:
    """A folder's contents: ``files`` of ``bytes`` in all, whose digests are in a file with the digest ``sums``."""

    format: str
    version: int
    fingerprint: str
    size: str
    files: int
    bytes: int
    sums: str
    config: dict[str, Any]


def read_marker(folder: Path) -> Marker | None:
    """Read a folder's marker; None if there is none, or if it is damaged."""
    try:
        marker = Marker(**json.loads((folder / MARKER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return marker if marker.format == NAME else None


def listed(folder: Path) -> Iterator[tuple[str, str]]:
    """Give the name and the digest of every file of a complete folder. Raises OSError if the list is gone."""
    for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        yield name, digest


def lacking(folder: Path, marker: Marker) -> list[str]:
    """Name the files that are missing or empty; nothing is read but the list."""
    try:
        if hashlib.sha256((folder / SUMS).read_bytes()).hexdigest() != marker.sums:
            return [SUMS]
        names = [name for name, _ in listed(folder)]
    except OSError:
        return [SUMS]
    missing, size = [], 0
    for name in names:
        try:
            own = (folder / name).stat().st_size
        except OSError:
            own = 0
        size += own
        if not own:
            missing.append(name)
    return missing or ([MARKER] if size != marker.bytes else [])


def whole(folder: Path, marker: Marker) -> bool:
    """Whether all files are there, in the size they were written in altogether."""
    return not lacking(folder, marker)
