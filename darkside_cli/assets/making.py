"""Assets that are made on the spot rather than downloaded: what the store asks of whoever makes them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from darkside_cli.assets.entries import Asset
from darkside_cli.events import Emit
from darkside_cli.registry import resolve

if TYPE_CHECKING:
    from darkside_cli.assets.inventory import State


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
