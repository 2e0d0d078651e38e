"""Adding to a descriptor file: what is in it stays, block by block, and what is new follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from darkside_cli.retrieval.describe.descriptor_file import Block, DescriptorFile
from darkside_cli.retrieval.describe.journal import Journal


def described(stored: DescriptorFile) -> set[str]:
    """Names in ``stored`` that have a descriptor. Rows of NaN are those of images that were broken."""
    return set(stored.names or ()).difference(stored.metadata.get("failed", ()))


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
