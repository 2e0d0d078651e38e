"""What an asset is: published files, images that come in archives, links, what is made here; how names choose."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol, cast

from darkside_cli.errors import UnknownNameError
from darkside_cli.events import Emit
from darkside_cli.registry import Entry, Registry, resolve

#: Groups that commands take in place of names.
GROUPS = ("weights", "eval", "train", "all")

COMPLETE, PARTIAL, MISSING = "complete", "partial", "missing"

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


@dataclass(frozen=True, kw_only=True)
class Archive(RemoteFile):
    """An archive of images. ``names`` are the file names under which people have the same images."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A folder of images that archives are unpacked into.

    ``layout`` is "flat" (all images side by side) or "sharded" (by the end of their id). ``pattern`` is a
    regular expression that the name of each image matches and those of other sets do not; where names alone
    are not enough, ``known_by`` is found in the path of the images too. ``also_at`` are folders where
    earlier software may have left the same images instead. ``count`` images make the set complete where no
    file of ``named_by`` (ground truths and lists, relative to the data root) says which ones are needed.
    ``broken`` are names in the archives that are known to be no images and that nothing uses.
    """

    folder: str
    archives: tuple[Archive, ...]
    pattern: str
    also_at: tuple[str, ...] = ()
    layout: str = "flat"
    count: int | None = None
    named_by: tuple[str, ...] = ()
    broken: frozenset[str] = frozenset()
    known_by: str = ""

    def holds(self, name: str) -> bool:
        """Whether an image called ``name`` belongs to this set."""
        return re.fullmatch(self.pattern, name) is not None


@dataclass(frozen=True, kw_only=True)
class LooseFiles:
    """Many small pictures that are published one by one, and are one thing to whoever wants them.

    They lie below ``folder``, and ``listed`` gives them, each with its whole digest and a name of its own; there are
    ``count``, so that one need not ask. ``base`` is what their addresses begin with. Their digests are not recorded.
    """

    folder: str
    count: int
    base: str
    listed: Callable[[], tuple[RemoteFile, ...]]

    @cached_property
    def names(self) -> frozenset[str]:
        """What the files are called, without folders."""
        return frozenset(file.name for file in self.listed())


@dataclass(frozen=True, kw_only=True)
class Link:
    """``path`` is to be the same as ``target``; both are relative to the data root."""

    path: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Asset(Entry):
    """What can be asked for by one name.

    ``groups`` it belongs to (besides "all"); ``requires`` names other assets that come along; ``needed_by``
    are the commands that use it; ``by_hand`` says what to do where the addresses give nothing. ``made_by`` is where the
    code of its :class:`Maker` is, if it is made here rather than downloaded.
    """

    groups: tuple[str, ...] = ()
    files: tuple[RemoteFile, ...] = ()
    images: ImageSet | None = None
    loose: LooseFiles | None = None
    links: tuple[Link, ...] = ()
    requires: tuple[str, ...] = ()
    needed_by: tuple[str, ...] = ()
    licence: str = "not stated"
    citation: str = ""
    source: str = ""
    by_hand: str = ""
    made_by: str = ""

    @property
    def archives(self) -> tuple[Archive, ...]:
        """Archives of its images."""
        return self.images.archives if self.images is not None else ()

    @property
    def published_size(self) -> int | None:
        """Bytes that it is published with, None as long as one of its files has no known size."""
        sizes = [file.size for file in (*self.files, *self.archives)]
        return (
            None
            if self.loose is not None or None in sizes
            else sum(size for size in sizes if size is not None)
        )


@dataclass(frozen=True)
class State:
    """How much of something is there: ``status`` is "complete", "partial" or "missing".

    ``size`` is in bytes, of what is there; ``images`` counts images (None where there are none to count, or
    where that would take long), ``lacking`` names some of what is missing.
    """

    status: str
    size: int = 0
    images: int | None = None
    lacking: tuple[str, ...] = ()


class Maker(Protocol):
    """Makes one asset below a data root."""

    def state(self, root: Path) -> State:
        """How much of it is there; what an older version made is not complete."""

    def right_size(self, root: Path, size: str) -> bool:
        """Whether what is there has the size called ``size`` ("": any will do)."""

    def make(self, root: Path, size: str, emit: Emit, stop: threading.Event) -> None:
        """Make what is not there, in the size called ``size`` ("": the one that is there, else the usual one).

        Raises UnknownNameError for a size that is none, and other DarksideErrors where it cannot be made.
        """

    def folders(self, root: Path) -> list[Path]:
        """Folders that it is in."""

    def damaged(self, folder: Path, stop: threading.Event) -> tuple[int, str]:
        """Read a folder: how many files should be there, and what is wrong with them ("": nothing)."""

    def remove(self, root: Path) -> None:
        """Delete it."""

    def leftovers(self, root: Path) -> list[Path]:
        """Folders of tries that did not come to an end."""


def maker_of(asset: Asset) -> Maker | None:
    """Who makes ``asset``; None for assets that are downloaded."""
    return cast(Maker, resolve(asset.made_by)) if asset.made_by else None


def select(assets: Registry[Asset], names: Iterable[str]) -> list[Asset]:
    """Assets called ``names`` (groups and aliases too) and all they require, each once, needed ones first.

    Raises UnknownNameError, which names the near matches.
    """
    chosen: dict[str, Asset] = {}

    def add(asset: Asset) -> None:
        for name in asset.requires:
            add(assets.get(name))
        chosen.setdefault(asset.name, asset)

    for name in names:
        if name in GROUPS:
            for asset in assets:
                if name == "all" or name in asset.groups:
                    add(asset)
        elif name in assets:
            add(assets.get(name))
        else:
            raise UnknownNameError("asset", name, [*assets.names(aliases=True), *GROUPS])
    return list(chosen.values())


def shard_path(cid: str) -> str:
    """Where the retrieval-SfM image ``cid`` lies below ``ims/``."""
    return f"{cid[-2:]}/{cid[-4:-2]}/{cid[-6:-4]}/{cid}"
