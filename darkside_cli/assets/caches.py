"""Folders of the data root where commands keep what they would otherwise make again, as torch-free entries.

They are no assets: nothing can be brought back by ``download``, and nothing is lacking where they are empty. Nor are
they leftovers: what is in them is used again, so only who names one deletes it.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from darkside_cli.atomic import TEMPORARY_PREFIX
from darkside_cli.registry import Entry, Registry


@dataclass(frozen=True, kw_only=True)
class Cache(Entry):
    """What is kept below ``folder`` (relative to the data root) in files called ``pattern`` (a regular expression)."""

    folder: str
    pattern: str


@dataclass(frozen=True)
class CacheState:
    """What a cache holds: ``files``, their ``size`` in bytes, when it was ``last_used`` (ISO 8601; None if empty)."""

    files: int
    size: int
    last_used: str | None


NIGHT_CACHE = Cache(
    name="night-cache",
    summary="translations to night that finetune made, kept for later epochs and runs",
    folder="cache/night",
    # By generator, then by image: retrieval/mining/night_cache.py.
    pattern=r"[0-9a-f]{24}/[0-9a-f]{2}/[0-9a-f]{40}\.npy",
)

CACHES: Registry[Cache] = Registry("cache", (NIGHT_CACHE,))


def cache_state(root: Path, cache: Cache) -> CacheState:
    """Look at what ``cache`` holds below the data root ``root``.

    When it was last used is told by the newest of its files and folders: who reads from it gives these a new time.
    """
    folder = root / cache.folder
    files, size, newest = 0, 0, 0.0
    for path in _own_files(folder, cache):
        with suppress(OSError):  # another process removed it
            status = path.lstat()
            files, size, newest = files + 1, size + status.st_size, max(newest, status.st_mtime)
    if not files:
        return CacheState(0, 0, None)
    for each in (folder, *_subfolders(folder)):
        with suppress(OSError):
            newest = max(newest, each.stat().st_mtime)
    return CacheState(files, size, time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(newest)))


def clear_cache(root: Path, cache: Cache) -> int:
    """Delete what ``cache`` keeps and return the number of bytes freed; what others put there stays.

    A process that uses it goes on, and makes again what it needs. Where the folder is a link, what it leads to is
    cleared and the link stays. Raises OSError for what cannot be deleted.
    """
    folder, freed = root / cache.folder, 0
    for path in list(_own_files(folder, cache)):
        with suppress(FileNotFoundError):
            size = path.lstat().st_size
            path.unlink()
            freed += size
    for each in reversed(list(_subfolders(folder))):  # inner ones first
        with suppress(OSError):  # something of somebody else's is in it
            each.rmdir()
    if not folder.is_symlink():
        for each in (folder, folder.parent):
            with suppress(OSError):
                each.rmdir()
    return freed


def _own_files(folder: Path, cache: Cache) -> Iterator[Path]:
    """Files of ``cache``, and those of processes that were killed while they wrote one."""
    for path in (Path(where, name) for where, _, names in os.walk(folder) for name in sorted(names)):
        named = re.fullmatch(cache.pattern, path.relative_to(folder).as_posix())
        with suppress(OSError):
            if (named or path.name.startswith(TEMPORARY_PREFIX)) and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _subfolders(folder: Path) -> Iterator[Path]:
    """Folders below ``folder``, outer ones first; links are not followed."""
    for where, names, _ in os.walk(folder):
        yield from (path for name in sorted(names) if not (path := Path(where, name)).is_symlink())
