"""Adding to a descriptor file: what is in it stays, block by block, and what is new follows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from darkside_cli.datasets.listing import OutsideError
from darkside_cli.datasets.outputs import InputImage
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.retrieval.describe.descriptor_file import Block, DescriptorFile
from darkside_cli.retrieval.describe.image_jobs import find_images
from darkside_cli.retrieval.describe.journal import Journal
from darkside_cli.retrieval.describe.store import open_descriptors


def open_to_add(path: Path) -> DescriptorFile | None:
    """The file at ``path``; None if there is none. Raises UsageError for one that was made by others."""
    if not path.exists():
        return None
    stored = open_descriptors(path)
    if "digest" not in stored.metadata or stored.names is None:
        raise UsageError(
            f"{os.fsdecode(path)} was not made by darkside extract: nothing can be added to it",
            hint="write to another file",
        )
    return stored


def find_beside(
    stored: DescriptorFile, inputs: Sequence[Path], *, root: Path, recursive: bool
) -> list[InputImage]:
    """Images of ``inputs`` that are added to ``stored``, called by their paths from ``root`` as those that are in it.

    Raises MissingAssetError if ``root`` is not there, OutsideError, with a way out, for images that are not in it.
    """
    if not root.is_dir():
        raise MissingAssetError(
            f"images in {stored.path} are called by their paths from {root}, which is not there",
            hint="say with --image-root where they are now",
        )
    try:
        return find_images(inputs, recursive=recursive, root=root)
    except OutsideError as error:
        with suppress(ValueError):  # two drives
            paths = (path.resolve() if ".." in path.parts else path.absolute() for path in inputs)
            both = Path(os.path.commonpath([root, *paths]))
            if both != Path(both.anchor):
                hint = f"with --image-root {os.fsdecode(both)} all images in {stored.path.name} are called from there"
                raise OutsideError(error.message, hint=hint) from error
        raise OutsideError(error.message, hint="copy or link it there, or write to another file") from error


def described(stored: DescriptorFile) -> set[str]:
    """Names in ``stored`` that have a descriptor. Rows of NaN are those of images that were broken."""
    return set(stored.names or ()).difference(stored.metadata.get("failed", ()))


def called_from(stored: DescriptorFile, root: str | None) -> DescriptorFile:
    """``stored`` with its images called by their paths from ``root``; None is as they are.

    That is another name for each where ``root`` is a folder that the recorded one lies in. Where the images have moved
    to ``root`` as they were, names stay. Raises UsageError for any other folder than the recorded one: names would
    lead nowhere.
    """
    old, names = stored.metadata.get("image_root"), stored.names or ()
    if root is None or not isinstance(old, str) or os.path.realpath(old) == os.path.realpath(root):
        return stored
    if not Path(old).is_dir() and names and Path(root, names[0]).exists():
        return replace(stored, metadata={**stored.metadata, "image_root": root})
    spellings = ((Path(old), Path(root)), (Path(os.path.realpath(old)), Path(os.path.realpath(root))))
    below = next(
        (
            inner.relative_to(outer)
            for inner, outer in spellings
            if inner.is_relative_to(outer) and ".." not in (*inner.parts, *outer.parts)
        ),
        None,
    )
    if below is None:
        raise UsageError(
            f"images in {stored.path} are called by their paths from {old}, not from {root}",
            hint="leave --image-root out, or name a folder that both are in; or write to another file",
        )

    def called(name: str) -> str:
        return (below / name).as_posix()

    failed = [called(name) for name in stored.metadata.get("failed", ())]
    metadata = {**stored.metadata, "image_root": root, "failed": failed}
    return replace(stored, names=tuple(map(called, names)), metadata=metadata)


def with_new_rows(
    stored: DescriptorFile, journal: Journal, names: Sequence[str], failed: Sequence[str], *, rows: int
) -> tuple[list[str], Iterator[Block], list[str]]:
    """Names, blocks ``(n, dim)`` of ``rows`` descriptors at most, and failed images of ``stored`` and ``names``.

    ``journal`` has the rows of ``names`` but for those that are in ``stored``, and for those that ``failed``: they are
    NaN. Images that failed before and were described now have their new rows in their old places.
    """
    there, before = set(stored.names or ()), stored.metadata.get("failed", ())
    asked = {*names, *failed}
    further = [name for name in names if name not in there]
    mended = there.intersection(before).intersection(names).difference(failed)
    all_failed = [*(name for name in before if name not in asked), *failed]

    def old() -> Iterator[Block]:
        first = 0
        for block in stored.blocks(rows):
            part = (stored.names or ())[first : first + len(block)]
            first += len(block)
            for place, name in enumerate(part):
                if name in mended:
                    block[place] = next(journal.read([name], 1))[0]
            yield block

    new = journal.read(further, rows, without=set(failed))
    return [*(stored.names or ()), *further], chain(old(), new), all_failed
