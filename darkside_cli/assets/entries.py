"""What an asset is: files, images that come in archives, links between folders; and how names choose."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from darkside_cli.assets.remote import RemoteFile
from darkside_cli.errors import UnknownNameError
from darkside_cli.registry import Entry, Registry

#: Groups that commands take in place of names.
GROUPS = ("weights", "eval", "train", "all")


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
class Link:
    """``path`` is to be the same as ``target``; both are relative to the data root."""

    path: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Asset(Entry):
    """What can be asked for by one name.

    ``groups`` it belongs to (besides "all"); ``requires`` names other assets that come along; ``needed_by``
    are the commands that use it; ``by_hand`` says what to do where the addresses give nothing. ``made_by`` is where the
    code of its :class:`~darkside_cli.assets.making.Maker` is, if it is made here rather than downloaded.
    """

    groups: tuple[str, ...] = ()
    files: tuple[RemoteFile, ...] = ()
    images: ImageSet | None = None
    links: tuple[Link, ...] = ()
    requires: tuple[str, ...] = ()
    needed_by: tuple[str, ...] = ()
    licence: str = "not stated"
    citation: str = ""
    source: str = ""
    by_hand: str = ""
    made_by: str = ""


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
