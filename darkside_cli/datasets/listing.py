"""From what a person names (files, folders) to images, the same ones for the same names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from darkside_cli.datasets.outputs import InputImage, Locations
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.images.formats import is_image_name


class OutsideError(UsageError):
    """An image is not in the folder that images are called by their paths from."""


_DIGITS = re.compile("([0-9]+)")
# Stands in the output tree for a path that has no name of its own ("missing/.."); such a path is never an
# image.
_NAMELESS = PurePath("unnamed")


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sort key that puts img2 before img10, and case last."""
    parts = _DIGITS.split(text)  # text and digits by turns
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)], text


def expand_inputs(paths: Iterable[Path], *, recursive: bool, exclude: Path | None) -> list[InputImage]:
    """Images that ``paths`` stand for, each once, in the order given.

    A folder stands for the images in it (by suffix, naturally sorted), with ``recursive`` for those of its
    tree. Hidden files and folders in it are passed over, and so is ``exclude``, where results go, unless the
    folder given is that one or in it. Links to folders are followed, but nothing is walked twice, nor a link
    to a folder that the given one is in. Every other path is a file, whatever its suffix, and also if it does
    not exist: the run will say so. The same goes for folders that cannot be listed.

    ``relative`` of an image in a folder is its path from there; if several folders are given, from the
    deepest one that holds them all, so that equal names stay apart. A file given by itself keeps its path
    from the working directory; if it is not in there, its path from the deepest folder that holds all such
    files.
    """
    walker = _Walker(recursive=recursive, exclude=exclude)
    folders: dict[str, Path] = {}
    images: list[tuple[Path, Path | None, PurePath]] = []  # path, absolute folder given, path from there
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a parent must not be searched
            top = _absolute(path, walker.locations)
            folders.setdefault(walker.locations.of_folder(path), top)
            images.extend((path / inner, top, inner) for inner in walker.walk(path))
        elif walker.is_new(walker.locations.of_name(path)):
            images.append((path, None, PurePath()))

    base = _deepest_common(list(folders.values()))
    outside = [path for path, top, _ in images if top is None and _in_cwd(path, walker.locations) is None]
    outside_base = _deepest_common([_absolute(path, walker.locations).parent for path in outside])
    result: list[InputImage] = []
    for path, folder, inner in images:
        if folder is not None:
            relative: PurePath | None = _below(base, folder) / inner
        else:
            relative = _in_cwd(path, walker.locations)
        if relative is None:
            relative = _below(outside_base, _absolute(path, walker.locations))
        result.append(InputImage(path, relative if relative.name else _NAMELESS))
    return result


def rooted_images(
    root: Path, given: Iterable[Path], listed: Sequence[str] = (), *, recursive: bool
) -> list[InputImage]:
    """Images that the paths ``given`` stand for, and those ``listed`` by their names from ``root``, each once.

    ``relative`` is the path from ``root``, whatever else is given. ``given`` is as in
    :func:`expand_inputs`. Raises MissingAssetError if there is no such folder, OutsideError for an image that is not
    in it, and MissingAssetError if that is nowhere.
    """
    if not root.is_dir():
        raise MissingAssetError(f"there is no folder {os.fsdecode(root)}", hint="check --image-root")
    locations = Locations()
    roots = (root.absolute(), Path(locations.of_folder(root)))
    images: list[InputImage] = []
    for image in expand_inputs(given, recursive=recursive, exclude=None):
        spelled = (image.path.absolute(), Path(locations.of_name(image.path)))
        names = [path.relative_to(top) for path in spelled for top in roots if path.is_relative_to(top)]
        name = next((name for name in names if ".." not in name.parts), None)
        if name is None:
            if not os.path.lexists(image.path):
                raise MissingAssetError(f"there is no file {os.fsdecode(image.path)}", hint="check the path")
            raise OutsideError(
                f"{os.fsdecode(image.path)} is not in {os.fsdecode(root)}",
                hint="--image-list takes names from there, other paths are from the working directory",
            )
        images.append(InputImage(image.path, name))
    images += [InputImage(root / name, PurePath(name)) for name in listed]
    first: dict[str, InputImage] = {}
    for image in images:
        first.setdefault(locations.of_name(image.path), image)
    return list(first.values())


class _Walker:
    """Lists the images of folders; remembers what it has seen, so that nothing is listed twice."""

    def __init__(self, *, recursive: bool, exclude: Path | None) -> None:
        self.locations = Locations()
        self._recursive = recursive
        self._exclude = os.path.realpath(exclude) if exclude is not None else None
        self._walked: set[str] = set()
        self._seen: set[str] = set()

    def is_new(self, place: str) -> bool:
        """Whether ``place`` has not been asked for before."""
        new = place not in self._seen
        self._seen.add(place)
        return new

    def walk(self, top: Path) -> list[PurePath]:
        """Paths from ``top`` of its images, naturally sorted, and of folders that cannot be listed."""
        found: list[PurePath] = []
        top_place = self.locations.of_folder(top)
        excluded = None if self._exclude is None or _contains(self._exclude, top_place) else self._exclude
        pending, links = [PurePath()], list[PurePath]()
        while pending or links:
            # Links wait until all real folders are done, so that images are listed under their real names.
            inner = pending.pop() if pending else links.pop()
            place = self.locations.of_folder(top / inner)
            if place in self._walked or (excluded is not None and _contains(excluded, place)):
                continue
            if inner.parts and _contains(place, top_place):
                continue
            self._walked.add(place)
            try:
                with os.scandir(top / inner) as entries:
                    listing = sorted(entries, key=lambda entry: natural_key(entry.name), reverse=True)
            except OSError:
                found.append(inner)
                continue
            for entry in listing:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    if self._recursive:
                        (links if entry.is_symlink() else pending).append(inner / entry.name)
                elif is_image_name(entry.name) and self.is_new(f"{place.rstrip(os.sep)}{os.sep}{entry.name}"):
                    found.append(inner / entry.name)
        return sorted(found, key=lambda inner: [natural_key(part) for part in inner.parts])


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _contains(folder: str, place: str) -> bool:
    """Whether ``place`` is ``folder`` or in it; both are absolute and without links."""
    return place == folder or place.startswith(folder.rstrip(os.sep) + os.sep)


def _absolute(path: Path, locations: Locations) -> Path:
    """``path`` from the root, as it is spelled; links are resolved only where a ``..`` makes them matter."""
    return Path(locations.of_name(path)) if ".." in path.parts else Path.cwd() / path


def _in_cwd(path: Path, locations: Locations) -> PurePath | None:
    """``path`` of a file from the working directory; None if it is not in there."""
    if not path.is_absolute() and ".." not in path.parts:
        return PurePath(path)
    for spelling in (_absolute(path, locations), Path(locations.of_name(path))):
        if spelling.is_relative_to(Path.cwd()):
            return PurePath(spelling.relative_to(Path.cwd()))
    return None


def _deepest_common(folders: Sequence[Path]) -> Path | None:
    """Deepest folder that holds all ``folders`` (a single one: itself); None: there is none (two drives)."""
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:
        return None


def _below(base: Path | None, path: Path) -> PurePath:
    if base is not None:
        return PurePath(path.relative_to(base))
    return PurePath(path.drive.rstrip(":\\/").replace("\\", "_"), *path.parts[1:])
