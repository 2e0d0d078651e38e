"""Brings assets under one data root: fetches, unpacks, links, and leaves alone what is complete."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from darkside_cli.assets.archive_limits import ArchiveError
from darkside_cli.assets.disk import free_bytes, locked, not_enough_space
from darkside_cli.assets.download import Downloader, Planned
from darkside_cli.assets.download_options import Options
from darkside_cli.assets.entries import (
    COMPLETE,
    Archive,
    Asset,
    ImageSet,
    RemoteFile,
    State,
    maker_of,
    select,
)
from darkside_cli.assets.inventory import Inventory, Judge, NameReader, find_images, read_list
from darkside_cli.assets.ledger import ArchiveRecord, now, sha256_of
from darkside_cli.assets.loose import fetch_loose, planned
from darkside_cli.assets.transfer import Work, run_parallel
from darkside_cli.assets.unpack import Unpacked, flat_of, second_name, sharded, tell_unpacked, unpack
from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.errors import DarksideError, MissingAssetError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.registry import Registry


@dataclass(frozen=True)
class Plan:
    """What getting some assets takes: ``needed`` of ``free`` bytes, as far as sizes are known.

    ``unknown`` are the files whose size nobody could tell.
    """

    files: tuple[Planned, ...]
    needed: int
    free: int
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Got:
    """What getting brought: names of assets that are complete now, and why others are not."""

    complete: tuple[str, ...]
    failed: dict[str, DarksideError]


class AssetStore:
    """The assets of the registry ``assets`` under ``root``; Inventory tells of ``read_names`` and ``judge``."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        assets: Registry[Asset],
        options: Options | None = None,
        read_names: NameReader = read_list,
        judge: Judge | None = None,
    ) -> None:
        self.root = Path(root)
        self.assets = assets
        self.downloads = Downloader(self.root, options)
        self.ledger = self.downloads.ledger
        self.inventory = Inventory(self.root, self.ledger, read_names, judge)
        self.downloads.judge = self.inventory.wrong

    def select(self, names: Iterable[str]) -> list[Asset]:
        """As :func:`~darkside_cli.assets.entries.select` of its assets."""
        return select(self.assets, names)

    def state(self, asset: Asset) -> State:
        """How much of ``asset``, without what it requires, is there."""
        return self.inventory.state(asset)

    def made(self, asset: Asset) -> bool:
        """Whether an asset that is made here is there as it is wanted; True for all others."""
        maker, size = maker_of(asset), self.downloads.options.size
        return maker is None or (maker.right_size(self.root, size) and self.state(asset).status == COMPLETE)

    def plan(self, assets: Sequence[Asset]) -> Plan:
        """Tell what :meth:`get` would fetch, and the space it takes; servers are asked for unknown sizes."""
        files: dict[str, RemoteFile] = {}
        unpacked: set[str] = set()
        needed = 0
        for asset in assets:
            files |= {file.path: file for file in asset.files}
            for archive in self.inventory.wanting(asset):
                local = self.inventory.local_archive(archive)
                if local is not None:
                    needed += local.stat().st_size
                else:
                    files[archive.path] = archive
                    unpacked.add(archive.path)
        found = self.downloads.plan(list(files.values()))
        needed += sum(item.remaining or 0 for item in found)
        # Photographs do not get smaller in an archive, so what comes out is about as large as what goes in.
        needed += sum(item.size or 0 for item in found if item.file.path in unpacked)
        unknown = [item.file.name for item in found if item.remaining is None]
        for loose in (asset.loose for asset in assets if asset.loose is not None):
            state = self.inventory.loose(loose)
            found.append(planned(self.root, loose, state))
            unknown += [loose.folder] * (loose.count - (state.images or 0))
        return Plan(tuple(found), needed, free_bytes(self.root), tuple(unknown))

    def get(self, assets: Sequence[Asset], emit: Emit = ignore, *, keep_archives: bool = False) -> Got:
        """Bring ``assets``: fetch files and archives in parallel, unpack, link, make. Those that are complete stay.

        What cannot be had is in the result, with its error; the rest is done all the same. Raises
        MissingAssetError before anything starts if the disk is too small for what is known to come.
        """
        options = self.downloads.options
        if not options.offline:
            plan = self.plan(assets)
            if plan.needed and plan.needed + options.spare_bytes > plan.free:
                what = ", ".join(asset.name for asset in assets)
                raise not_enough_space(what, self.root, plan.needed, max(0, plan.free - options.spare_bytes))
        work: dict[str, Work[Any]] = {}
        users: dict[str, list[str]] = {}
        for asset in assets:
            for key, job in self._work(asset, keep_archives):
                work.setdefault(key, job)
                users.setdefault(key, []).append(asset.name)
        failed: dict[str, DarksideError] = {}
        results = run_parallel(list(work.values()), workers=options.jobs, emit=emit)
        for asset in assets:  # each of them keeps all workers busy
            if asset.loose is not None:
                job = partial(fetch_loose, self.downloads, asset.name, asset.loose)
                results += run_parallel([job], workers=1, emit=emit)
                users[asset.loose.folder] = [asset.name]
        for key, result in zip(users, results, strict=True):
            try:
                result.result()
            except DarksideError as error:
                for name in users[key]:
                    failed.setdefault(name, self._with_by_hand(name, error))
        for asset in assets:
            self.make_links(asset, emit)
        complete = []
        for asset in assets:
            blocked = [name for name in asset.requires if name in failed]
            if asset.name not in failed and not blocked and self.state(asset).status == COMPLETE:
                complete.append(asset.name)
            else:
                failed.setdefault(asset.name, self._still_lacking(asset, blocked, failed))
        return Got(tuple(complete), failed)

    def make_links(self, asset: Asset, emit: Emit = ignore) -> None:
        """Make the links of ``asset`` whose targets are there; what is in their place already stays."""
        for link in asset.links:
            self._link(self.root / link.path, self.root / link.target, emit)
        if asset.images is not None:
            self._link(self.root / asset.images.folder, find_images(self.root, asset.images), emit)

    def add_archive(
        self, images: ImageSet, name: str, source: Path, emit: Emit, stop: threading.Event
    ) -> Unpacked:
        """Unpack ``source`` (an archive or a folder), known as ``name``, into its set, and record it.

        Raises ArchiveError, MissingAssetError (disk full) or Stopped; the set is then as it was.
        """
        folder = find_images(self.root, images)
        with locked(self.ledger.folder, images.folder, emit, stop):
            size, free = source.stat().st_size, free_bytes(folder) - self.downloads.options.spare_bytes
            if source.is_file() and size > free:
                raise not_enough_space(f"what {source.name} holds", self.root, size, max(0, free))
            place = sharded if images.layout == "sharded" else flat_of(images)
            try:
                result = unpack(source, folder, place, broken=images.broken, emit=emit, stop=stop)
            except OSError as error:
                raise MissingAssetError(
                    f"{source.name} could not be unpacked: {error.strerror or error}",
                    hint="mend that and run the same command again, it starts from the archive",
                ) from error
            self._record(images, name, source, result)
        tell_unpacked(source, result, emit)
        return result

    def manifest(self, images: ImageSet, archive: str) -> Path:
        """Digests of what came out of an archive, as ``sha256sum --check`` reads them in the set's folder."""
        return self.ledger.folder / "manifests" / f"{images.folder.replace('/', '__')}__{archive}.sha256"

    def _work(self, asset: Asset, keep_archives: bool) -> Iterator[tuple[str, Work[Any]]]:
        maker = maker_of(asset)
        if maker is not None and not self.made(asset):
            yield f"making {asset.name}", partial(maker.make, self.root, self.downloads.options.size)
        for file in asset.files:
            yield file.path, partial(self.downloads.fetch, file)
        if asset.images is not None:
            known = self.ledger.unpacked(asset.images.folder)
            for archive in self.inventory.wanting(asset):
                before = known.get(archive.name)
                job = partial(self._bring_archive, asset.images, archive, before, keep_archives)
                yield archive.path, job

    def _bring_archive(
        self,
        images: ImageSet,
        archive: Archive,
        known: ArchiveRecord | None,
        keep: bool,
        emit: Emit,
        stop: threading.Event,
    ) -> None:
        with locked(self.ledger.folder, f"{images.folder}/{archive.name}", emit, stop):
            record = self.ledger.unpacked(images.folder).get(archive.name)
            if record is not None and record != known:
                return  # another process did it while this one waited
            path = self.inventory.local_archive(archive) or self.downloads.fetch(archive, emit, stop)
            ours = path == self.root / archive.path
            try:
                result = self.add_archive(images, archive.name, path, emit, stop)
            except ArchiveError as error:
                if ours and not error.hostile:  # what was fetched is not whole, whatever its length said
                    path.unlink(missing_ok=True)
                    self.ledger.forget(archive.path)
                raise
            if ours and not keep:
                path.unlink(missing_ok=True)
            if ours and result.spoiled:  # a better one must not be held against this one
                self.ledger.forget(archive.path)

    def _link(self, path: Path, target: Path, emit: Emit) -> None:
        if path == target or path.exists() or not target.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():  # it leads nowhere
            path.unlink()
        try:
            path.symlink_to(os.path.relpath(target, path.parent), target_is_directory=target.is_dir())
        except OSError as error:
            if target.is_dir():
                shutil.copytree(target, path, copy_function=second_name)
            else:
                second_name(target, path)
            emit(Notice(f"{path} cannot be a link here ({error.strerror}), its files are second names"))

    def _record(self, images: ImageSet, name: str, source: Path, result: Unpacked) -> None:
        lines = [f"{sha256}  {path}\n" for path, sha256 in sorted(result.digests.items())]
        write_bytes_atomic(self.manifest(images, name), "".join(lines).encode())
        digest = self._digest(source) if source.is_file() else ""
        with self.ledger.change() as contents:
            contents.archives.setdefault(images.folder, {})[name] = ArchiveRecord(
                digest, len(result.digests), result.size, now()
            )

    def _digest(self, path: Path) -> str:
        if path.is_relative_to(self.root):
            record = self.ledger.read().files.get(path.relative_to(self.root).as_posix())
            if record is not None and record.unchanged(path):
                return record.sha256
        return sha256_of(path)

    def _with_by_hand(self, name: str, error: DarksideError) -> DarksideError:
        by_hand = self.assets.get(name).by_hand
        if not by_hand or isinstance(error, ArchiveError):
            return error
        return MissingAssetError(error.message, hint="; ".join(filter(None, (error.hint, by_hand))))

    def _still_lacking(
        self, asset: Asset, blocked: Sequence[str], failed: dict[str, DarksideError]
    ) -> DarksideError:
        if blocked:
            return MissingAssetError(
                f"{asset.name} needs {' and '.join(blocked)}: {failed[blocked[0]].message}",
                hint=failed[blocked[0]].hint,
            )
        lacking = ", ".join(self.state(asset).lacking[:3])
        return MissingAssetError(
            f"{asset.name}: everything was fetched and unpacked, but some of it is still missing: {lacking}",
            hint=asset.by_hand or f"darkside download --verify {asset.name} tells what is damaged",
        )
