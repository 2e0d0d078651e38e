"""Which images something was learned from, compactly: enough to say of others whether they were among them.

An image is known by its size and its first and last kilobytes, whatever it is called. Of very many the smallest
digests alone are kept: an image whose digest is not larger than all of them is told for certain, and which ones these
are is chance, so that their share stands for the others'.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

KEY = "pictures"
"""Under which a record is in the metadata of a network or a whitening."""
_MOST, _BYTES, _ENDS = 1024, 6, 4096


def record(paths: Iterable[Path]) -> dict[str, Any]:
    """What to keep of ``paths``, JSON-able: at most some 8 kB. Files that cannot be read are left out."""
    digests = sorted(_digests(paths))
    return {"count": len(digests), "digests": base64.b64encode(b"".join(digests[:_MOST])).decode("ascii")}


def overlap(known: Any, paths: Iterable[Path]) -> tuple[int, int]:
    """How many of ``paths`` are among the ``known`` (:func:`record`), and of how many that could be told.

    (0, 0) where nothing is known.
    """
    digests, count = _read(known)
    if not digests:
        return 0, 0
    asked = _digests(paths)
    if count > len(digests):
        limit = max(digests)
        asked = {digest for digest in asked if digest <= limit}
    return len(asked & digests), len(asked)


def is_whole(known: Any) -> bool:
    """Whether ``known`` (:func:`record`) knows every image, and not only some of very many."""
    digests, count = _read(known)
    return 0 < count <= len(digests)


def _read(known: Any) -> tuple[set[bytes], int]:
    """The digests of a record, and how many there were of them; none and 0 of what is no record."""
    try:
        content, count = base64.b64decode(known["digests"], validate=True), int(known["count"])
    except (KeyError, TypeError, ValueError, binascii.Error):
        return set(), 0
    return {content[start : start + _BYTES] for start in range(0, len(content), _BYTES)}, count


def _digests(paths: Iterable[Path]) -> set[bytes]:
    found = set()
    for path in paths:
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                ends = file.read(_ENDS)
                if size > 2 * _ENDS:
                    file.seek(-_ENDS, os.SEEK_END)
                ends += file.read(_ENDS)
        except OSError:
            continue
        found.add(hashlib.sha256(f"{size}:".encode() + ends).digest()[:_BYTES])
    return found
