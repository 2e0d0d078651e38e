"""Unpacks an archive of images into its folder: all of it or none of it.

The archive goes into a hidden folder beside the final one, file by file, each hashed on its way. Only when
its last byte was read and found right are the files moved to where they belong; whatever a killed run left
is thrown away by the next. Files that are there already are never overwritten.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from darkside_cli.assets.archive_limits import ArchiveError, Limits, Member
from darkside_cli.assets.archives import members
from darkside_cli.assets.entries import ImageSet, shard_path
from darkside_cli.assets.soundness import not_an_image
from darkside_cli.assets.transfer import Transfer
from darkside_cli.events import Emit, Notice, ignore

#: Where a member goes, relative to the folder of the set; None if it does not belong to it.
Placement = Callable[[tuple[str, ...]], "str | None"]

_IMAGES = frozenset({".jpg", ".jpeg", ".png"})
_CID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Unpacked:
    """What came out of an archive.

    ``digests`` maps each placed file (relative to its folder) to its SHA-256; ``kept`` are files that were
    there before with another content and stayed, ``skipped`` the known-broken ones that were left out,
    ``spoiled`` those that are named as images and are none, each with the reason; they were left out too.
    ``ignored`` counts members that do not belong to the set.
    """

    digests: dict[str, str]
    size: int
    kept: tuple[str, ...]
    skipped: tuple[str, ...]
    ignored: int
    spoiled: tuple[tuple[str, str], ...] = ()


def flat(parts: tuple[str, ...]) -> str | None:
    """Place images side by side under their own names, whatever folders they came in."""
    if any(part == "__MACOSX" for part in parts) or parts[-1].startswith("."):
        return None
    return parts[-1] if PurePosixPath(parts[-1]).suffix.lower() in _IMAGES else None


def flat_of(images: ImageSet) -> Placement:
    """Place the images of this set side by side, and no others."""

    def place(parts: tuple[str, ...]) -> str | None:
        name = flat(parts)
        return name if name is not None and images.holds(name) else None

    return place


def sharded(parts: tuple[str, ...]) -> str | None:
    """Place retrieval-SfM images by their id: ``<cid[-2:]>/<cid[-4:-2]>/<cid[-6:-4]>/<cid>``."""
    return shard_path(parts[-1]) if _CID.fullmatch(parts[-1]) else None


def working_folder(folder: Path, archive: str) -> Path:
    """Hidden folder, beside ``folder``, that an archive is unpacked into first."""
    return folder.with_name(f".{folder.name}.{archive}.unpacking")


def unpack(
    source: Path,
    folder: Path,
    place: Placement,
    *,
    broken: frozenset[str] = frozenset(),
    limits: Limits | None = None,
    emit: Emit = ignore,
    stop: threading.Event | None = None,
) -> Unpacked:
    """Unpack the archive (or take over the folder) ``source`` into ``folder``.

    ``broken`` names files that are known to be no images and are left out. Raises ArchiveError when the
    archive is refused, damaged, or holds nothing for this folder, OSError when the disk refuses, Stopped
    when ``stop`` is set; ``folder`` is then as it was.
    Files that are no images are left out, and none of them keeps an image from its place.
    """
    total = source.stat().st_size if source.is_file() else None
    transfer = Transfer(source.name, total, "unpack", emit, stop or threading.Event())
    if folder.is_symlink():  # the images live on another disk
        folder = folder.resolve()
    work = working_folder(folder, source.name)
    _remove(work)
    if source.is_file():
        content = members(source, limits=limits, progress=transfer.moved)
    else:
        content = _walk(source, transfer.moved)
    try:
        work.mkdir(parents=True)
        placed, ignored, skipped, spoiled = _write(content, source, work, place, broken)
        kept = _move(work, folder, placed)
    finally:
        _remove(work)
    size = sum(size for _, size in placed.values())
    transfer.finish(folder, size, len(placed))
    digests = {name: digest for name, (digest, _) in placed.items() if name not in set(kept)}
    return Unpacked(digests, size, tuple(kept), tuple(skipped), ignored, tuple(spoiled.items()))


def tell_unpacked(source: Path, result: Unpacked, emit: Emit) -> None:
    """Tell what of ``source`` did not come out of it."""
    if result.skipped:
        emit(Notice(f"{source.name}: {len(result.skipped)} files that are known to be broken were left out"))
    if result.spoiled:
        shown = ", ".join(f"{name}: {reason}" for name, reason in result.spoiled[:3])
        more = ", …" if len(result.spoiled) > 3 else ""
        text = f"{source.name}: {len(result.spoiled)} files are no images and were left out ({shown}{more})"
        emit(Notice(text, level="warning"))
    if result.kept:
        shown = ", ".join(result.kept[:3]) + (", …" if len(result.kept) > 3 else "")
        text = f"{len(result.kept)} images were there before and differ from those in {source.name}"
        emit(Notice(f"{text}; they stay as they were ({shown})", level="warning"))


def _write(
    content: Iterator[Member], source: Path, work: Path, place: Placement, broken: frozenset[str]
) -> tuple[dict[str, tuple[str, int]], int, list[str], dict[str, str]]:
    """Write all members that belong to the set below ``work``.

    Gives digest and size of each by its place, how many did not belong to the set, the known-broken ones, and why
    others are no images.
    """
    placed: dict[str, tuple[str, int]] = {}
    origins: dict[str, str] = {}
    by_name: dict[tuple[str, ...], str] = {}
    links: list[Member] = []
    ignored = 0
    skipped: list[str] = []
    spoiled: dict[str, str] = {}
    for member in content:
        if member.link is not None:
            links.append(member)
            continue
        target = place(member.parts)
        if target is None or member.parts[-1] in broken:
            ignored += target is None
            skipped += [] if target is None else [member.parts[-1]]
            if source.is_file():
                deque(member.pieces(), maxlen=0)  # read all the same: a bomb or a cut must be found
            continue
        _claim(origins, target, member, source)
        placed[target] = _write_one(member, work / target)
        by_name[member.parts] = target
        reason = not_an_image(work / target)
        if reason is not None:
            (work / target).unlink()
            del placed[target]
            spoiled[target] = reason
    for link in links:
        target = place(link.parts)
        if target is None:
            ignored += 1
            continue
        original = by_name.get(link.link or ())
        if original is None:
            raise ArchiveError(
                f"{source.name} links {link.name!a} to a file that it does not hold",
                hint="do not unpack this archive",
                hostile=True,
            )
        _claim(origins, target, link, source)
        if original in spoiled:
            spoiled[target] = spoiled[original]
            continue
        second_name(work / original, work / target)
        placed[target] = placed[original]
    if not placed and spoiled:
        why = "{}: {}".format(*next(iter(spoiled.items())))
        raise ArchiveError(
            f"{source.name} holds no image: {len(spoiled)} files are named so and are none ({why})",
            hint="is it the right archive, and whole?",
        )
    if not placed:
        raise ArchiveError(f"{source.name} holds no image of this set", hint="is it the right archive?")
    return placed, ignored, skipped, spoiled


def _claim(origins: dict[str, str], target: str, member: Member, source: Path) -> None:
    key = target.casefold()
    if key in origins:
        raise ArchiveError(
            f"{source.name} holds two files for {target}: {origins[key]!a} and {member.name!a}",
            hint="unpack it by hand and import the folder that holds the right ones",
            hostile=True,
        )
    origins[key] = member.name


def _write_one(member: Member, path: Path) -> tuple[str, int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    # "x" never follows or replaces anything; the mode is the umask's, whatever setuid bits the archive has.
    with path.open("xb") as file:
        for piece in member.pieces():
            file.write(piece)
            digest.update(piece)
        return digest.hexdigest(), file.tell()


def second_name(original: str | Path, path: str | Path) -> None:
    """Make ``path`` a second name of the file ``original``; a copy where the disk has no hard links."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        Path(path).hardlink_to(original)
    except OSError:
        shutil.copy2(original, path)


def _move(work: Path, folder: Path, placed: dict[str, tuple[str, int]]) -> list[str]:
    """Move everything to its place; names of images that were there before with another size, and stayed."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        work.replace(folder)
        return []
    kept = []
    for name, (_, size) in placed.items():
        target = folder / name
        if target.exists() and not_an_image(target) is None:
            if target.stat().st_size != size:
                kept.append(name)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        (work / name).replace(target)
    return kept


def _walk(folder: Path, progress: Callable[[int], None]) -> Iterator[Member]:
    """Regular files below a folder that a person unpacked by hand. Links are passed over."""
    done = 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        size = path.stat().st_size

        def pieces(path: Path = path) -> Iterator[bytes]:
            with path.open("rb") as stream:
                while piece := stream.read(1 << 20):
                    yield piece

        yield Member(path.relative_to(folder).parts, size, pieces)
        done += size
        progress(done)


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)
