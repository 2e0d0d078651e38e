"""Reads what is under the data root and compares it with its digests, published or recorded."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from darkside_cli.assets.entries import COMPLETE, Asset, ImageSet, LooseFiles, RemoteFile, maker_of
from darkside_cli.assets.inventory import find_file, find_images
from darkside_cli.assets.ledger import ArchiveRecord, now, sha256_of
from darkside_cli.assets.soundness import hashed, not_an_image, wrong_digest, wrong_form
from darkside_cli.assets.store import AssetStore
from darkside_cli.assets.transfer import Transfer
from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.events import Emit, ignore

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
        if asset.loose is not None:
            result.append(_verify_loose(store, asset, asset.loose, emit, stop))
    return result


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
        transfer = Transfer(f"{asset.name}: {folder.name}", None, "verify", emit, stop)
        files, reason = maker.damaged(folder, stop)
        transfer.finish(folder, size_of(folder), files)
        yield Verified(asset.name, folder, "damaged" if reason else "ok", reason, files)


def _verify_images(
    store: AssetStore, asset: Asset, images: ImageSet, emit: Emit, stop: threading.Event
) -> Verified:
    folder = find_images(store.root, images)
    if not folder.is_dir():
        return Verified(asset.name, folder, "missing", files=0)
    manifests = (store.manifest(images, name) for name in store.ledger.unpacked(images.folder))
    lines = (line for path in manifests if path.is_file() for line in path.read_text("utf-8").splitlines())
    known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
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


def _verify_loose(
    store: AssetStore, asset: Asset, loose: LooseFiles, emit: Emit, stop: threading.Event
) -> Verified:
    folder = store.root / loose.folder
    if store.inventory.loose(loose).images is None:
        return Verified(asset.name, folder, "missing", files=0)
    files = {file.path: file.sha256 for file in loose.listed()}
    digests = _hash_all(store.root, sorted(files), asset.name, emit, stop)
    bad = [path for path in files if digests[path] != files[path]]
    shown = ", ".join(path.rpartition("/")[2] for path in bad[:3]) + (", …" if len(bad) > 3 else "")
    reason = f"{len(bad)} files are damaged or gone ({shown})" if bad else ""
    return Verified(asset.name, folder, "damaged" if bad else "ok", reason, len(files))


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
    sizes = {name: path.stat().st_size if (path := folder / name).is_file() else 0 for name in names}
    total, done = sum(sizes.values()), 0
    transfer = Transfer(what, total, "verify", emit, stop)
    result: dict[str, str | None] = {}
    for name in names:
        result[name] = sha256_of(folder / name) if (folder / name).is_file() else None
        done += sizes[name]
        transfer.moved(done)
    transfer.finish(folder, total, len(names))
    return result


def _images_in(folder: Path, images: ImageSet) -> Iterator[str]:
    for path in folder.rglob("*") if images.layout == "sharded" else folder.iterdir():
        if images.holds(path.name) and path.name not in images.broken and path.is_file():
            yield path.relative_to(folder).as_posix()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
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
