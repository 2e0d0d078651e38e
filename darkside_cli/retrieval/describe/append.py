"""Adding to a descriptor file: what is in it stays, block by block, and what is new follows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from darkside_cli.errors import UsageError
from darkside_cli.retrieval.describe.descriptor_file import Block, DescriptorFile
from darkside_cli.retrieval.describe.journal import Journal


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
        (inner.relative_to(outer) for inner, outer in spellings if inner.is_relative_to(outer)), None
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
