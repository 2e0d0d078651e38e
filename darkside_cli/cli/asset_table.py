"""Assets as rows, JSON and Markdown: ``download --list``, ``cache`` and README show the same registry."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from darkside_cli.units import human_size

if TYPE_CHECKING:
    from darkside_cli.assets.entries import Asset, State

COLUMNS = ("name", "groups", "here", "size", "what", "licence", "source", "needed by")
#: Left out, in this order, where the terminal is narrow.
SPARE = ("source", "needed by", "licence", "groups")


def published_size(asset: Asset) -> int | None:
    """Bytes that ``asset`` is published with, None as long as one of its files has no known size."""
    files = [*asset.files, *(asset.images.archives if asset.images is not None else ())]
    sizes = [file.size for file in files]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def row(asset: Asset, state: State) -> tuple[str, ...]:
    """One line of the table, for people."""
    here = state.status
    if state.images is not None:
        here += f" ({state.images:,} images)"
    size = state.size or (published_size(asset) if asset.files or asset.images else None)
    groups = ",".join(asset.groups) or "-"
    return (
        asset.name,
        groups,
        here,
        human_size(size) if size else "?",
        asset.summary,
        _short(asset.licence),
        asset.source or "-",
        ", ".join(asset.needed_by),
    )


def as_json(asset: Asset, state: State) -> dict[str, Any]:
    """Everything the registry knows of ``asset``, and what of it is on this machine."""
    return {
        "name": asset.name,
        "aliases": list(asset.aliases),
        "summary": asset.summary,
        "groups": list(asset.groups),
        "state": state.status,
        "size_bytes": state.size,
        "images": state.images,
        "lacking": list(state.lacking),
        "published_bytes": published_size(asset),
        "requires": list(asset.requires),
        "needed_by": list(asset.needed_by),
        "licence": asset.licence,
        "citation": asset.citation,
        "source": asset.source,
        "by_hand": asset.by_hand,
        "files": [asdict(file) for file in asset.files],
        "images_folder": asset.images.folder if asset.images is not None else None,
        "archives": [asdict(archive) for archive in asset.images.archives] if asset.images else [],
        "links": [asdict(link) for link in asset.links],
    }


def markdown(assets: Iterable[Asset]) -> str:
    """Table of README: ``python -m darkside_cli.cli.asset_table`` prints it."""
    lines = ["| name | groups | what | licence | needed by |", "|---|---|---|---|---|"]
    for asset in assets:
        needed = ", ".join(f"`{command}`" for command in asset.needed_by)
        groups = ", ".join(asset.groups) or "-"
        lines.append(f"| `{asset.name}` | {groups} | {asset.summary} | {_short(asset.licence)} | {needed} |")
    return "\n".join(lines) + "\n"


def _short(licence: str) -> str:
    """Name of a licence without the remark in brackets, which ``--json`` has."""
    return licence.partition(" (")[0]


if __name__ == "__main__":
    from darkside_cli.jobs.catalog import ASSETS

    sys.stdout.write(markdown(ASSETS))
