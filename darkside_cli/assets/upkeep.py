"""Checks, clears and tidies the data root: verify, remove, prune."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from darkside_cli.assets.disk import lock_path
from darkside_cli.assets.entries import COMPLETE, Asset, ImageSet, LooseFiles, maker_of
from darkside_cli.assets.inventory import find_file, find_images
from darkside_cli.assets.store import AssetStore
from darkside_cli.assets.verify import FOUND, size_of
from darkside_cli.atomic import TEMPORARY_PREFIX


@dataclass(frozen=True)
class Leftover:
    """Something in the data root that nothing needs: ``what`` it is, and its ``size`` in bytes."""

    path: Path
    what: str
    size: int


def dependents(store: AssetStore, asset: Asset) -> list[str]:
    """Names of assets on this machine that need ``asset``."""
    return [
        other.name
        for other in store.assets
        if asset.name in other.requires and store.state(other).status == COMPLETE
    ]


def kept_images(store: AssetStore, asset: Asset) -> Path | None:
    """Folder of the asset's images that :func:`remove` leaves, as it is another program's, or behind a link."""
    if asset.images is None:
        return None
    found = find_images(store.root, asset.images)
    own = found == store.root / asset.images.folder and not found.is_symlink()
    return None if own or not found.is_dir() else found


def removable(store: AssetStore, asset: Asset) -> int:
    """How many bytes :func:`remove` frees."""
    size = store.state(asset).size
    if asset.images is not None and kept_images(store, asset) is not None:
        size -= store.inventory.images(asset.images).size
    for file in asset.files:  # of copies that lie in several places the state knows the first
        first = find_file(store.root, file)
        copies = [store.root / path for path in (file.path, *file.also_at)]
        size += sum(path.lstat().st_size for path in copies if path.is_file() and path != first)
    return size


def remove(store: AssetStore, asset: Asset) -> int:
    """Delete what belongs to ``asset`` and return the number of bytes freed; links are removed, not followed.

    Images in the folder of an earlier program (``also_at``) stay, see :func:`kept_images`. Recorded digests
    go as well: who deletes a file because it is wrong must be able to get the right one.
    """
    freed = removable(store, asset)
    maker = maker_of(asset)
    if maker is not None:
        maker.remove(store.root)
    for file in asset.files:
        for path in (file.path, *file.also_at):
            for suffix in ("", ".part", ".part.json"):
                (store.root / f"{path}{suffix}").unlink(missing_ok=True)
    for link in asset.links:
        if (store.root / link.path).is_symlink():
            (store.root / link.path).unlink()
    if asset.images is not None:
        _remove_images(store, asset.images)
    if asset.loose is not None:
        _remove_loose(store, asset.loose)
    with store.ledger.change() as contents:
        if asset.images is not None:
            contents.archives.pop(asset.images.folder, None)
        for path in recorded_paths(asset):
            contents.files.pop(path, None)
    return freed


def recorded_paths(asset: Asset) -> list[str]:
    """Where the files and archives of ``asset`` may lie below the data root, as the ledger knows them."""
    return [path for file in (*asset.files, *asset.archives) for path in (file.path, *file.also_at)]


def leftovers(store: AssetStore) -> list[Leftover]:
    """Find what nothing needs: parts, half-unpacked folders, archives that were unpacked, damaged files.

    What another process is busy with is not among them.
    """
    found = list(_old_archives(store))
    for asset in store.assets:
        maker = maker_of(asset)
        if maker is not None and not _busy(store, store.root / asset.name):
            found += [
                Leftover(path, f"part of a {asset.name} that was not finished", size_of(path))
                for path in maker.leftovers(store.root)
            ]
    folders = {(store.root / file.path).parent for a in store.assets for file in (*a.files, *a.archives)}
    folders |= {(store.root / a.images.folder).parent for a in store.assets if a.images is not None}
    folders |= {
        folder for a in store.assets if a.loose is not None for folder in _loose_folders(store, a.loose)
    }
    for folder in sorted(folders):
        if folder.is_dir():
            found += [
                item for path in sorted(folder.iterdir()) if (item := _leftover(store, path)) is not None
            ]
    return list({item.path: item for item in found}.values())


def prune(found: Sequence[Leftover]) -> int:
    """Delete leftovers and return the number of bytes freed."""
    for item in found:
        if item.path.is_dir() and not item.path.is_symlink():
            shutil.rmtree(item.path)
        else:
            item.path.unlink(missing_ok=True)
    return sum(item.size for item in found)


def last_used(store: AssetStore, asset: Asset) -> str | None:
    """When ``asset`` was last used, as ISO 8601; by its files' times of access where nothing was recorded."""
    recorded = store.ledger.read().used.get(asset.name)
    if recorded is not None:
        return recorded
    times = [
        max(path.stat().st_atime, path.stat().st_mtime)
        for file in (*asset.files, *(asset.loose.listed() if asset.loose is not None else ()))
        if (path := find_file(store.root, file)) is not None
    ]
    if not times:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(max(times)))


def _remove_images(store: AssetStore, images: ImageSet) -> None:
    folder = store.root / images.folder
    if folder.is_symlink():
        folder.unlink()
    elif folder.is_dir():
        shutil.rmtree(folder)
    gone = [store.manifest(images, FOUND)]
    for archive in images.archives:
        gone += [store.root / "downloads" / name for name in archive.names]
        gone += [store.root / f"{archive.path}{suffix}" for suffix in (".part", ".part.json")]
        gone.append(store.manifest(images, archive.name))
    for path in gone:
        path.unlink(missing_ok=True)


def _remove_loose(store: AssetStore, loose: LooseFiles) -> None:
    """Delete the files, what was begun of them, and folders in which nothing else is."""
    top = store.root / loose.folder
    if top.is_symlink():
        top.unlink()
        return
    for file in loose.listed():
        for suffix in ("", ".part", ".part.json"):
            (store.root / f"{file.path}{suffix}").unlink(missing_ok=True)
    inner = {folder for file in loose.listed() for folder in (store.root / file.path).parents}
    for folder in sorted(inner, key=lambda path: len(path.parts), reverse=True):
        if folder.is_relative_to(top) and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _loose_folders(store: AssetStore, loose: LooseFiles) -> set[Path]:
    """Folders of the files; none while another process brings them."""
    top = store.root / loose.folder
    if not top.is_dir() or _busy(store, top):
        return set()
    return {(store.root / file.path).parent for file in loose.listed()}


def _old_archives(store: AssetStore) -> Iterator[Leftover]:
    for asset in store.assets:
        if asset.images is None or store.inventory.images(asset.images).status != COMPLETE:
            continue
        for archive in asset.images.archives:
            path = store.inventory.local_archive(archive)
            if path is not None:
                yield Leftover(path, "archive that was unpacked", path.stat().st_size)


def _leftover(store: AssetStore, path: Path) -> Leftover | None:
    what, target = None, path
    if path.name.endswith((".part", ".part.json")):
        what = "beginning of a download"
        target = path.with_name(path.name.removesuffix(".json").removesuffix(".part"))
    elif path.name.endswith(".unpacking") and path.name.startswith("."):
        what = "half-unpacked archive"
        target = path.with_name(path.name[1:].split(".", 1)[0])
    elif path.name.startswith(TEMPORARY_PREFIX):
        what = "file of a run that was killed"
    elif path.name.endswith(".damaged"):
        what = "damaged file that was put aside"
    if what is None or _busy(store, target):
        return None
    return Leftover(path, what, size_of(path))


def _busy(store: AssetStore, target: Path) -> bool:
    """Whether another process holds the lock of what ``target`` belongs to."""
    lock = lock_path(store.ledger.folder, target.relative_to(store.root).as_posix())
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
