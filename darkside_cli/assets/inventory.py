"""What of the assets is on this machine, judged by what it is and not by who brought it.

A tree that gandtr or cirtorch made is recognised as it is. Files are looked at, not read; ``verify.verify``
reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from darkside_cli.assets.entries import (
    COMPLETE,
    MISSING,
    PARTIAL,
    Archive,
    Asset,
    ImageSet,
    Link,
    LooseFiles,
    RemoteFile,
    State,
    maker_of,
    shard_path,
)
from darkside_cli.assets.ledger import Ledger
from darkside_cli.assets.soundness import SMALLEST_IMAGE
from darkside_cli.errors import DarksideError

#: Reads the names of images out of a ground truth, a training database or a list, without folders.
NameReader = Callable[[Path], Iterable[str]]

#: Says why the file (path, published name) does not hold what it should; None if it may.
Judge = Callable[[Path, str], "str | None"]

#: Top folders that retrieval-SfM's images fill: two hexadecimal digits.
_SHARDS = 256


def read_list(path: Path) -> Iterable[str]:
    """Names in a text list, one a line; other files have none for us."""
    return path.read_text(encoding="utf-8").split() if path.suffix == ".txt" else ()


def find_file(root: Path, file: RemoteFile) -> Path | None:
    """Where ``file`` lies under ``root``: at its own place, or where earlier software left it."""
    places = (root / path for path in (file.path, *file.also_at))
    return next((place for place in places if place.is_file()), None)


def find_images(root: Path, images: ImageSet) -> Path:
    """Folder of an image set: its own, or the one where earlier software left the images."""
    places = [root / path for path in (images.folder, *images.also_at)]
    return next((place for place in places if place.is_dir()), places[0])


def _may_be_image(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size >= SMALLEST_IMAGE
    except OSError:
        return False


class Inventory:
    """What is under ``root``. ``read_names`` reads the files that say which images a set must have.

    Without it only text lists are read, and other sets are judged by the number of their images. ``judge`` looks
    into files whose form alone does not tell whether they are the right ones: see :meth:`wrong`.
    """

    def __init__(
        self, root: Path, ledger: Ledger, read_names: NameReader = read_list, judge: Judge | None = None
    ) -> None:
        self.root, self.ledger = root, ledger
        self._read_names, self._judge = read_names, judge
        self._names: dict[tuple[Path, int], tuple[str, ...]] = {}

    def state(self, asset: Asset) -> State:
        """How much of ``asset``, without what it requires, is there."""
        maker = maker_of(asset)
        if maker is not None:
            return maker.state(self.root)
        states = [self.file(file) for file in asset.files]
        if asset.images is not None:
            states.append(self.images(asset.images))
        if asset.loose is not None:
            states.append(self.loose(asset.loose))
        states += [self.link(link) for link in asset.links]
        found = {state.status for state in states}
        counts = [state.images for state in states if state.images is not None]
        return State(
            found.pop() if len(found) == 1 else PARTIAL,
            sum(state.size for state in states),
            sum(counts) if counts else None,
            tuple(name for state in states for name in state.lacking),
        )

    def file(self, file: RemoteFile) -> State:
        """How much of one file is there."""
        path = find_file(self.root, file)
        if path is None:
            part = self.root / f"{file.path}.part"
            size = part.stat().st_size if part.is_file() else 0
            return State(PARTIAL if size else MISSING, size, lacking=(file.path,))
        size = path.stat().st_size
        whole = size > 0 if file.size is None else size == file.size
        return State(COMPLETE if whole else PARTIAL, size, lacking=() if whole else (file.path,))

    def loose(self, loose: LooseFiles) -> State:
        """How many of many small files are there; their list is read only where their folder is."""
        if not (self.root / loose.folder).is_dir():
            return State(MISSING, lacking=(loose.folder,))
        states = [self.file(file) for file in loose.listed()]
        lacking = tuple(name for state in states for name in state.lacking)
        some = any(state.size for state in states)
        return State(
            PARTIAL if some and lacking else MISSING if lacking else COMPLETE,
            sum(state.size for state in states),
            len(states) - len(lacking) if some else None,
            lacking[:5],
        )

    def link(self, link: Link) -> State:
        """Whether a link, or something in its place, is there."""
        there = (self.root / link.path).exists()
        return State(COMPLETE if there else MISSING, lacking=() if there else (link.path,))

    def images(self, images: ImageSet, *, deep: bool = False) -> State:
        """How much of an image set is there; ``deep`` asks large training databases too, which takes time.

        It is complete when every image that the ground truths and lists on this machine name is there;
        where there are none of them, when it has as many images as it should, or, if nobody knows how many,
        when all its archives were unpacked.
        """
        folder = find_images(self.root, images)
        if folder.is_dir():
            sharded = images.layout == "sharded"
            return self._sharded(images, folder, deep) if sharded else self._flat(images, folder)
        begun = [self.file(archive) for archive in images.archives]
        size = sum(state.size for state in begun)
        return State(PARTIAL if size else MISSING, size, lacking=(images.folder,))

    def wanting(self, asset: Asset) -> list[Archive]:
        """List the archives its images still need: none when they are complete, however they came to be."""
        if asset.images is None or self.images(asset.images).status == COMPLETE:
            return []
        records = self.ledger.unpacked(asset.images.folder)
        left = [archive for archive in asset.archives if archive.name not in records]
        return left or list(asset.archives)  # all were unpacked once, yet images are missing

    def local_archive(self, archive: Archive) -> Path | None:
        """Archive in ``downloads/``, under any of its names."""
        folder = (self.root / archive.path).parent
        return next((folder / name for name in archive.names if (folder / name).is_file()), None)

    def _flat(self, images: ImageSet, folder: Path) -> State:
        records = self.ledger.unpacked(images.folder)
        with os.scandir(folder) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        sizes = {name: size for name, size in sizes.items() if size >= SMALLEST_IMAGE}
        ours = [name for name in sizes if images.holds(name) and name not in images.broken]
        wanted = self._wanted(images)
        lacking = [name for name in wanted if name not in sizes]
        if wanted:
            some = len(lacking) < len(wanted)
            status = COMPLETE if not lacking else PARTIAL if some else MISSING
        else:
            unpacked = all(archive.name in records for archive in images.archives)
            full = unpacked if images.count is None else len(ours) >= images.count
            status = COMPLETE if full else PARTIAL if ours else MISSING
        return State(status, sum(sizes[name] for name in ours), len(ours), tuple(lacking[:5]))

    def _sharded(self, images: ImageSet, folder: Path, deep: bool) -> State:
        # Counting would walk 65,536 folders, so what is wanted is asked for one by one.
        records = self.ledger.unpacked(images.folder)
        lacking = [name for name in self._wanted(images, deep) if not _may_be_image(folder / name)]
        unpacked = all(archive.name in records for archive in images.archives)
        whole = not lacking and (unpacked or sum(1 for _ in folder.iterdir()) >= _SHARDS)
        return State(
            COMPLETE if whole else PARTIAL,
            sum(record.bytes for record in records.values()),
            sum(record.files for record in records.values()) if records else None,
            tuple(lacking[:5]),
        )

    def wrong(self, path: Path, name: str) -> str | None:
        """Say why the contents of the file ``name``, at ``path``, are not what it should hold; None if they may be.

        Reads what the judge of this inventory knows. Without one, pickles are read as names are, so that those which
        are damaged or would run something are found.
        """
        if self._judge is not None:
            return self._judge(path, name)
        if not name.endswith(".pkl"):
            return None
        with suppress(UnicodeDecodeError):  # read as a list of words: this inventory knows no pickles
            try:
                tuple(self._read_names(path))
            except DarksideError as error:
                return f"is refused: {error.message}"
        return None

    def _wanted(self, images: ImageSet, deep: bool = True) -> list[str]:
        """Places, in its folder, of the images that ground truths and lists on this machine name."""
        names: dict[str, None] = {}
        for path in (self.root / path for path in images.named_by):
            if path.is_file() and (deep or path.suffix == ".txt"):
                key = (path, path.stat().st_mtime_ns)
                if key not in self._names:
                    try:
                        self._names[key] = tuple(self._read_names(path))
                    except DarksideError:  # damaged or unsafe: it names nothing, and must not be in the way
                        self._names[key] = ()
                names.update(dict.fromkeys(self._names[key]))
        if images.layout == "sharded":
            return [shard_path(name.rpartition("/")[2]) for name in names]
        return [name if "." in name else f"{name}.jpg" for name in names]
