"""Images by their paths from one folder, as hloc calls them: names that do not depend on what else is given."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO

from darkside_cli.datasets.listing import expand_inputs, iter_path_tokens
from darkside_cli.datasets.outputs import InputImage, Locations
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.regular_file import read_regular

_MAX_BYTES = 1 << 28


def rooted_images(
    root: Path, given: Iterable[Path], listed: Sequence[str] = (), *, recursive: bool
) -> list[InputImage]:
    """Images that the paths ``given`` stand for, and those ``listed`` by their names from ``root``, each once.

    ``relative`` is the path from ``root``, whatever else is given. ``given`` is as in
    :func:`darkside_cli.datasets.listing.expand_inputs`. Raises MissingAssetError if there is no such folder, UsageError
    for an image that is not in it.
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
            raise UsageError(
                f"{os.fsdecode(image.path)} is not in {os.fsdecode(root)}",
                hint="--image-list takes names from there, other paths are from the working directory",
            )
        images.append(InputImage(image.path, name))
    images += [InputImage(root / name, PurePath(name)) for name in listed]
    first: dict[str, InputImage] = {}
    for image in images:
        first.setdefault(locations.of_name(image.path), image)
    return list(first.values())


def read_image_list(path: Path, root: Path, *, null: bool = False) -> list[str]:
    """Names from ``root``, one a line of the file ``path``, or separated by NUL bytes with ``null``.

    As in hloc's lists, lines that begin with ``#`` are passed over, and so is what follows a name that is a file's
    (a camera's model and numbers). Raises MissingAssetError if there is no such file, UsageError if it is no list, or
    a name leads out of ``root``.
    """
    try:
        data = read_regular(path, limit_bytes=_MAX_BYTES)
    except FileNotFoundError as error:
        raise MissingAssetError(f"there is no file {os.fsdecode(path)}", hint="check --image-list") from error
    except OSError as error:
        raise UsageError(
            f"cannot read {os.fsdecode(path)}: {error.strerror}", hint="--image-list - reads standard input"
        ) from error
    return listed_names(io.BytesIO(data), root, null=null)


def listed_names(stream: BinaryIO, root: Path, *, null: bool = False) -> list[str]:
    """Names of images in ``root`` from a list as :func:`read_image_list` reads it."""
    names = []
    for line in map(os.fspath, iter_path_tokens(stream, null)):
        name = line if null else _without_camera(line, root)
        if name.startswith("#") and not null:
            continue
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise UsageError(
                f"'{name}' in the list of images is no name of one in {os.fsdecode(root)}",
                hint="names are paths from --image-root",
            )
        names.append(path.as_posix())
    return names


def _without_camera(line: str, root: Path) -> str:
    first = line.split(maxsplit=1)[0]
    alone = first == line or (root / line).is_file() or not (root / first).is_file()
    return line if alone else first
