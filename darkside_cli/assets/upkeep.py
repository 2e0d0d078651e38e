"""Checks, clears and tidies the data root: verify, remove, prune."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from darkside_cli.assets.disk import Stopped, lock_path
from darkside_cli.assets.entries import COMPLETE, Asset, ImageSet, RemoteFile, maker_of
from darkside_cli.assets.inventory import find_file, find_images
from darkside_cli.assets.ledger import ArchiveRecord, now, sha256_of
from darkside_cli.assets.soundness import EVERY_S, hashed, not_an_image, wrong_digest, wrong_form
from darkside_cli.assets.store import AssetStore
from darkside_cli.atomic import TEMPORARY_PREFIX, write_bytes_atomic
from darkside_cli.events import Emit, TransferFinished, TransferProgress, TransferStarted, ignore

#: Name under which a set's images are recorded when they were there before we were.
FOUND = "found"


@dataclass(frozen=True)
class Verified:
    """What checking one file or image set found.

    ``verdict`` is "ok", "recorded" (nothing was known of it before; its digest is enforced from now on),
    "damaged" or "missing"; ``reason`` says what is wrong, ``files`` counts what was read.
    """

    asset: str
    path: Path
    verdict: str
    reason: str = ""
    files: int = 1


@dataclass(frozen=True)
class Leftover:
    """Something in the data root that nothing needs: ``what`` it is, and its ``size`` in bytes."""

    path: Path
    what: str
    size: int


def verify(
    store: AssetStore, assets: Sequence[Asset], emit: Emit = ignore, stop: threading.Event | None = None
) -> list[Verified]:
    """Read every file of ``assets`` and compare it with its digest, published or recorded.

    What has no digest yet gets one recorded, where the root can be written to.
    """
    stop = stop or threading.Event()
    result: list[Verified] = []
    for asset in assets:
        result += _verify_made(store, asset, emit, stop)
        result += [_verify_file(store, asset, file, emit, stop) for file in asset.files]
        if asset.images is not None:
            result.append(_verify_images(store, asset, asset.images, emit, stop))
    return result


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
    with store.ledger.change() as contents:
        if asset.images is not None:
            contents.archives.pop(asset.images.folder, None)
        for path in recorded_paths(asset):
            contents.files.pop(path, None)
    return freed


def recorded_paths(asset: Asset) -> list[str]:
    """Where the files and archives of ``asset`` may lie below the data root, as the ledger knows them."""
    archives = asset.images.archives if asset.images is not None else ()
    return [path for file in (*asset.files, *archives) for path in (file.path, *file.also_at)]


def leftovers(store: AssetStore) -> list[Leftover]:
    """Find what nothing needs: parts, half-unpacked folders, archives that were unpacked, damaged files.

    What another process is busy with is not among them.
    """
    found = list(_old_archives(store))
    for asset in store.assets:
        maker = maker_of(asset)
        if maker is not None and not _busy(store, store.root / asset.name):
            found += [
                Leftover(path, f"part of a {asset.name} that was not finished", _size(path))
                for path in maker.leftovers(store.root)
            ]
    folders = {(store.root / file.path).parent for file in _all_files(store)}
    folders |= {(store.root / a.images.folder).parent for a in store.assets if a.images is not None}
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
        for file in asset.files
        if (path := find_file(store.root, file)) is not None
    ]
    if not times:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(max(times)))


def _verify_file(
    store: AssetStore, asset: Asset, file: RemoteFile, emit: Emit, stop: threading.Event
) -> Verified:
    path = find_file(store.root, file)
    if path is None:
        return Verified(asset.name, store.root / file.path, "missing", files=0)
    name = path.relative_to(store.root).as_posix()
    record = store.ledger.read().files.get(name)
    digest = hashed(path, emit, stop)
    reason = wrong_digest(file, digest) or wrong_form(path) or store.inventory.wrong(path, path.name)
    if record is not None and record.sha256 != digest:
        reason = f"has SHA-256 {digest[:12]}… instead of the recorded {record.sha256[:12]}…"
    if reason:
        return Verified(asset.name, path, "damaged", reason)
    if record is None or not record.unchanged(path):
        _quietly(lambda: store.ledger.record(name, path, digest))
    return Verified(asset.name, path, "ok" if record is not None or file.sha256 else "recorded")


def _verify_made(store: AssetStore, asset: Asset, emit: Emit, stop: threading.Event) -> Iterator[Verified]:
    maker = maker_of(asset)
    for folder in maker.folders(store.root) if maker is not None else ():
        if maker is None or not folder.is_dir():
            yield Verified(asset.name, folder, "missing", files=0)
            continue
        label, started = f"{asset.name}: {folder.name}", time.monotonic()
        emit(TransferStarted(label, activity="verify"))
        files, reason = maker.damaged(folder, stop)
        elapsed = time.monotonic() - started
        emit(TransferFinished(label, folder, _size(folder), elapsed, activity="verify", files=files))
        yield Verified(asset.name, folder, "damaged" if reason else "ok", reason, files)


def _verify_images(
    store: AssetStore, asset: Asset, images: ImageSet, emit: Emit, stop: threading.Event
) -> Verified:
    folder = find_images(store.root, images)
    if not folder.is_dir():
        return Verified(asset.name, folder, "missing", files=0)
    names = store.ledger.read().archives.get(images.folder, {})
    manifests = [path for name in names if (path := store.manifest(images, name)).is_file()]
    known = dict(line for path in manifests for line in _lines(path))
    files = sorted(known) or sorted(_images_in(folder, images))
    digests = _hash_all(folder, files, asset.name, emit, stop)
    bad = [
        name
        for name in files
        if digests.get(name) != known.get(name, digests.get(name)) or not_an_image(folder / name) is not None
    ]
    state = store.inventory.images(images, deep=True)
    if bad or state.status != COMPLETE:
        words = [f"{len(bad)} images are damaged or gone ({', '.join(bad[:3])})"] if bad else []
        if state.status != COMPLETE:
            count = f"{len(files)} of {images.count:,} are there" if images.count else "not all are there"
            words += [f"images are missing ({', '.join(state.lacking[:3]) or count})"]
        return Verified(asset.name, folder, "damaged", "; ".join(words), len(files))
    if known:
        return Verified(asset.name, folder, "ok", files=len(files))
    found = {name: digest for name, digest in digests.items() if digest is not None}
    _quietly(lambda: _record_found(store, images, folder, found))
    return Verified(asset.name, folder, "recorded", files=len(files))


def _record_found(store: AssetStore, images: ImageSet, folder: Path, digests: dict[str, str]) -> None:
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    write_bytes_atomic(store.manifest(images, FOUND), text.encode())
    size = sum((folder / name).stat().st_size for name in digests)
    with store.ledger.change() as contents:
        contents.archives.setdefault(images.folder, {})[FOUND] = ArchiveRecord("", len(digests), size, now())


def _hash_all(
    folder: Path, names: Sequence[str], what: str, emit: Emit, stop: threading.Event
) -> dict[str, str | None]:
    """SHA-256 of each file, None for one that is not there."""
    started = told = time.monotonic()
    sizes = {name: path.stat().st_size if (path := folder / name).is_file() else 0 for name in names}
    total, done = sum(sizes.values()), 0
    emit(TransferStarted(what, total, activity="verify"))
    result: dict[str, str | None] = {}
    for name in names:
        if stop.is_set():
            raise Stopped
        path = folder / name
        result[name] = sha256_of(path) if path.is_file() else None
        done += sizes[name]
        if time.monotonic() - told >= EVERY_S:
            told = time.monotonic()
            emit(TransferProgress(what, done, total, activity="verify"))
    elapsed = time.monotonic() - started
    emit(TransferFinished(what, folder, total, elapsed, activity="verify", files=len(names)))
    return result


def _images_in(folder: Path, images: ImageSet) -> Iterator[str]:
    for path in folder.rglob("*") if images.layout == "sharded" else folder.iterdir():
        if images.holds(path.name) and path.name not in images.broken and path.is_file():
            yield path.relative_to(folder).as_posix()


def _lines(manifest: Path) -> Iterator[tuple[str, str]]:
    for line in manifest.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        yield name, digest


def _remove_images(store: AssetStore, images: ImageSet) -> None:
    folder = store.root / images.folder
    if folder.is_symlink():
        folder.unlink()
    elif folder.is_dir():
        shutil.rmtree(folder)
    for archive in images.archives:
        for name in archive.names:
            (store.root / "downloads" / name).unlink(missing_ok=True)
        for suffix in (".part", ".part.json"):
            (store.root / f"{archive.path}{suffix}").unlink(missing_ok=True)
        store.manifest(images, archive.name).unlink(missing_ok=True)
    store.manifest(images, FOUND).unlink(missing_ok=True)


def _all_files(store: AssetStore) -> Iterator[RemoteFile]:
    for asset in store.assets:
        yield from asset.files
        if asset.images is not None:
            yield from asset.images.archives


def _old_archives(store: AssetStore) -> Iterator[Leftover]:
    for asset in store.assets:
        if asset.images is None or store.inventory.images(asset.images).status != COMPLETE:
            continue
        for archive in asset.images.archives:
            path = store.inventory.local_archive(archive)
            if path is not None:
                yield Leftover(path, "archive that was unpacked", path.stat().st_size)


def _leftover(store: AssetStore, path: Path) -> Leftover | None:
    what = None
    target = path
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
    return Leftover(path, what, _size(path))


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


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _quietly(action: Callable[[], None]) -> None:
    """Do ``action`` unless the root cannot be written to: those who may only read it can check it too."""
    try:
        action()
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
