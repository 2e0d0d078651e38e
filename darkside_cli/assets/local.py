"""Takes over what the user has: archives, folders and single files, recognised by name and content."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from darkside_cli.assets.archives import kind_of, members
from darkside_cli.assets.disk import locked
from darkside_cli.assets.entries import ImageSet, RemoteFile
from darkside_cli.assets.inventory import find_images
from darkside_cli.assets.loose import take_over
from darkside_cli.assets.soundness import hashed, wrong_digest, wrong_form
from darkside_cli.assets.store import AssetStore
from darkside_cli.atomic import temporary_beside
from darkside_cli.errors import DarksideError, MissingAssetError, UsageError
from darkside_cli.events import Emit, Notice, TransferFinished, ignore

#: So many members are looked at to tell what an archive without a known name holds.
_LOOK_AT = 2000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Imported:
    """What was taken over: the asset it belongs to, where it is now, and how many files it is.

    ``left_out`` counts those that are named as its images and are none, or are not the published ones.
    """

    asset: str
    path: Path
    files: int
    left_out: int = 0


#: What of a folder could not be taken over, and why.
Failures = list[tuple[Path, DarksideError]]


def import_local(
    store: AssetStore,
    source: Path,
    emit: Emit = ignore,
    stop: threading.Event | None = None,
    failures: Failures | None = None,
) -> list[Imported]:
    """Take over ``source``: an archive of images, an archive or folder of such archives, images, a file.

    It is copied or unpacked, never moved. Archives and files are recognised by their names, else archives
    and folders by the names of the images in them.

    Of a folder, what is refused goes into ``failures``, if that is given, and the rest is taken over all the same.

    Raises MissingAssetError if there is no such file, ArchiveError if an archive is refused, UsageError if
    it is nothing we know, or is not the published file.
    """
    stop = stop or threading.Event()
    store.ledger.read()  # a damaged one is told before anything is unpacked
    if source.is_dir():
        found = list(_import_folder(store, source, emit, stop, failures))
    elif source.is_file():
        found = _import_file(store, source, emit, stop)
    elif source.exists():
        raise UsageError(f"{source} is a pipe or a device", hint="name a file or a folder")
    else:
        raise MissingAssetError(f"there is no file {source}", hint="check the path")
    for asset in store.assets:
        store.make_links(asset, emit)
    return found


def _import_file(store: AssetStore, source: Path, emit: Emit, stop: threading.Event) -> list[Imported]:
    for asset in store.assets:
        for file in asset.files:
            if file.name == source.name:
                return [_import_single(store, asset.name, file, source, emit, stop)]
        for archive in asset.archives:
            if source.name in archive.names and asset.images is not None:
                return [_unpack(store, asset.name, asset.images, archive.name, source, emit, stop)]
    if loose := Counter(_loose_sets_of(store, source.name)):
        return _by_content(store, source, loose, emit, stop)
    if kind_of(source) is None:
        raise UsageError(
            f"{source} is none of the files that darkside knows",
            hint=f"known: {', '.join(_known_names(store))}, or any archive of their images",
        )
    archives, images = _look_into(store, source)
    if archives:
        return [item for name in archives for item in _import_nested(store, source, name, emit, stop)]
    return _by_content(store, source, images, emit, stop)


def _import_folder(
    store: AssetStore, source: Path, emit: Emit, stop: threading.Event, failures: Failures | None
) -> Iterator[Imported]:
    """Everything in a folder that has a known name; and if its images are of a known set, those."""
    known = set(_known_names(store))
    images: Counter[str] = Counter()
    some = False
    for path in sorted(source.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        if path.name in known:
            some = True
            try:
                yield from _import_file(store, path, emit, stop)
            except DarksideError as error:
                if failures is None:
                    raise
                failures.append((path, error))
        else:
            images.update(_sets_of(store, path.absolute().parts))
    if images:
        try:
            yield from _by_content(store, source, images, emit, stop)
        except UsageError as error:
            if failures is None or not some:
                raise
            failures.append((source, error))
    elif not some:
        raise UsageError(f"nothing in {source} is known", hint=f"known: {', '.join(_known_names(store))}")


def _by_content(
    store: AssetStore, source: Path, images: Counter[str], emit: Emit, stop: threading.Event
) -> list[Imported]:
    """Import ``source`` into every set that it holds images of."""
    if not images:
        raise UsageError(
            f"{source} holds no images of a set that darkside knows",
            hint=f"known: {', '.join(asset.name for asset in store.assets if asset.images or asset.loose)}",
        )
    result = []
    for asset in store.assets:
        if asset.name in images and asset.images is not None:
            emit(Notice(f"{source.name} holds images of {asset.name}"))
            result.append(_unpack(store, asset.name, asset.images, source.name, source, emit, stop))
    for asset in store.assets:
        if asset.name in images and asset.loose is not None:
            try:
                taken, others = take_over(store.ledger, asset.name, asset.loose, source, emit, stop)
            except UsageError as error:
                if not result:
                    raise
                emit(Notice(error.message, level="warning"))
            else:
                result.append(Imported(asset.name, store.root / asset.loose.folder, taken, others))
    return result


def _unpack(
    store: AssetStore,
    asset: str,
    images: ImageSet,
    archive: str,
    source: Path,
    emit: Emit,
    stop: threading.Event,
) -> Imported:
    folder = find_images(store.root, images)
    if folder.exists() and folder.samefile(source):
        raise UsageError(
            f"{source} is where the images of {asset} belong", hint="nothing needs to be imported"
        )
    unpacked = store.add_archive(images, archive, source, emit, stop)
    return Imported(asset, folder, len(unpacked.digests), len(unpacked.spoiled))


def _import_nested(
    store: AssetStore, source: Path, name: str, emit: Emit, stop: threading.Event
) -> list[Imported]:
    """Take one known archive out of another, as Kaggle packs them, and import it."""
    target = store.root / "downloads" / f"from-{source.name}" / name
    try:
        for member in members(source):
            if member.parts[-1] == name and member.link is None:
                with temporary_beside(target) as temporary, temporary.open("wb") as file:
                    for piece in member.pieces():
                        file.write(piece)
                return _import_file(store, target, emit, stop)
    except OSError as error:
        raise MissingAssetError(
            f"{name} could not be taken out of {source.name}: {error.strerror or error}",
            hint="mend that and run the same command again",
        ) from error
    finally:
        shutil.rmtree(target.parent, ignore_errors=True)
    raise MissingAssetError(f"{name} went missing from {source}", hint="fetch the archive once more")


def _import_single(
    store: AssetStore, asset: str, file: RemoteFile, source: Path, emit: Emit, stop: threading.Event
) -> Imported:
    target = store.root / file.path
    digest = hashed(source, emit, stop)
    reason = wrong_digest(file, digest) or wrong_form(source) or store.inventory.wrong(source, file.path)
    size = source.stat().st_size
    if reason is None and file.size is not None and size != file.size:
        reason = f"has {size} bytes instead of {file.size}"
    if reason:
        raise UsageError(f"{source} {reason}", hint="it is not the published file, or not all of it")
    with locked(store.ledger.folder, file.path, emit, stop):
        if differs := store.ledger.contradiction(file.path, digest):
            raise UsageError(
                f"{source} differs from the file recorded at its first use ({differs})",
                hint=f"if the new one is right: darkside cache forget {file.path}",
            )
        if not (target.exists() and target.samefile(source)):
            try:
                with temporary_beside(target, sync=True) as temporary:
                    shutil.copyfile(source, temporary)
            except OSError as error:
                raise MissingAssetError(
                    f"{source} could not be copied to {target}: {error.strerror or error}",
                    hint="mend that and run the same command again",
                ) from error
        store.ledger.record(file.path, target, digest, source.name)
    emit(TransferFinished(file.name, target, size, 0.0, activity="copy"))
    return Imported(asset, target, 1)


def _look_into(store: AssetStore, source: Path) -> tuple[list[str], Counter[str]]:
    """Names of known archives inside an archive, and how many of the first images belong to which set."""
    known = {name for asset in store.assets for archive in asset.archives for name in archive.names}
    archives: list[str] = []
    images: Counter[str] = Counter()
    # A zip archive has a table of contents; a tar has to be read through.
    for member in islice(members(source), None if kind_of(source) == "zip" else _LOOK_AT):
        if member.parts[-1] in known:
            archives.append(member.parts[-1])
        else:
            images.update(_sets_of(store, (source.name, *member.parts)))
    return archives, images


def _sets_of(store: AssetStore, parts: Sequence[str]) -> list[str]:
    """Assets whose set an image with this path belongs to."""
    return [
        asset.name
        for asset in store.assets
        if asset.images is not None
        and asset.images.holds(parts[-1])
        and any(asset.images.known_by in part for part in parts)
    ] + _loose_sets_of(store, parts[-1])


def _loose_sets_of(store: AssetStore, name: str) -> list[str]:
    """Assets that have a file called ``name`` among many."""
    return [asset.name for asset in store.assets if asset.loose is not None and name in asset.loose.names]


def _known_names(store: AssetStore) -> list[str]:
    archives = [name for asset in store.assets for archive in asset.archives for name in archive.names]
    return [*archives, *(file.name for asset in store.assets for file in asset.files)]
