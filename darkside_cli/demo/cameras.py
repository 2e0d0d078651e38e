"""Places with images by day and at night, parted into folds: what is trained on and what is asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from darkside_cli.assets.catalog import DATA
from darkside_cli.assets.entries import COMPLETE
from darkside_cli.assets.inventory import Inventory
from darkside_cli.assets.ledger import Ledger
from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.ground_truth import FORMAT, VERSION
from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.demo.request import DAY, NIGHT
from darkside_cli.errors import MissingAssetError, UsageError

TIMES = (NIGHT, DAY)
FEWEST_PLACES = 3
"""One place at least is held back of each training, and a network learns to tell two or more apart."""
_WORDS = {NIGHT: "at night", DAY: "by day"}
_NAMED = 4


@dataclass(frozen=True)
class Cameras:
    """Images by day and by night of each place, by their names from ``folder``."""

    folder: Path
    images: dict[str, dict[str, tuple[str, ...]]]
    left_out: tuple[str, ...] = ()
    """Folders without images of one of the times, in words."""

    @classmethod
    def of(cls, folder: Path, *, fewest: int = FEWEST_PLACES) -> Cameras:
        """Look for ``folder/<place>/{day,night}``.

        Raises UsageError for fewer than ``fewest`` places that have both, and where no place has two images by day:
        then none by day could find another.
        """
        if not folder.is_dir():
            raise MissingAssetError(f"there is no folder {folder}", hint="check the path of the photographs")
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        left_out: list[str] = []
        for place in sorted(folder.iterdir()):
            images = {time: _images(place, time, folder) for time in TIMES}
            if all(images.values()):
                found[place.name] = images
            elif place.is_dir() and not place.name.startswith("."):
                lacking = " or ".join(_WORDS[time] for time in reversed(TIMES) if not images[time])
                left_out.append(f"{place.name} has no images {lacking}")
        if len(found) < fewest:
            more = f" ({'; '.join(left_out[:_NAMED])})" if left_out else ""
            raise UsageError(
                f"{folder} has {counted(len(found))} with images both by day and at night{more}, and "
                f"{'three or more are needed' if fewest > 2 else 'two or more are needed'}",
                hint=f"make a folder for each place: {folder / '<place>'}/day and night"
                + ("; with --extra photographs two will do" if len(found) == fewest - 1 > 1 else ""),
            )
        if all(len(images[DAY]) < 2 for images in found.values()):
            raise UsageError(
                f"no place of {folder} has two images by day: asked by day, there is none to be found",
                hint="give one place two or more",
            )
        return cls(folder.resolve(), found, tuple(left_out))

    def folds(self, count: int) -> list[list[str]]:
        """Places of each fold; as many folds as there are places at most."""
        count = min(count, len(self.images))
        return [list(self.images)[first::count] for first in range(count)]

    def truth(self, places: Sequence[str], time: str) -> dict[str, Any]:
        """Ground truth: images of ``places`` at ``time`` ask for theirs among all that there are by day."""
        queries = [
            {
                "name": name,
                "ok": [other for other in self.images[place][DAY] if other != name],
                "junk": [name] if time == DAY else [],
            }
            for place in places
            for name in self.images[place][time]
        ]
        database = [name for images in self.images.values() for name in images[DAY]]
        head = {"format": FORMAT, "version": VERSION, "images": str(self.folder)}
        return {**head, "name": time, "database": database, "queries": queries}

    def training_list(self, without: Sequence[str], times: Sequence[str]) -> str:
        """The images of all places but those ``without``, as a list to train on (CSV)."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(("image", "place"))
        for place, images in self.images.items():
            if place not in without:
                lines.writerows((name, place) for time in times for name in images[time])
        return text.getvalue()


def photographs(photos: Path, root: DataRoot) -> Path:
    """The folder that ``--photos`` names: a folder, or else pictures that ``darkside download`` brings, by their name.

    Raises MissingAssetError, with the command that gets them, for those that are not here, and for what is neither.
    """
    if photos.exists():
        return photos
    name, sets = str(photos), {asset.name: asset.loose for asset in DATA if asset.loose is not None}
    loose = sets.get(name)
    if loose is None:
        near = get_close_matches(name.lower(), sets, 1)
        meant = f"did you mean {near[0]}? (darkside download {near[0]} gets it)" if near else ""
        raise MissingAssetError(
            f"there is no folder {photos}", hint=meant or "check the path of the photographs"
        )
    ledger = Ledger(root.path)
    state = Inventory(root.path, ledger).loose(loose)
    if state.status != COMPLETE:
        lacking = loose.count - (state.images or 0)
        what = f"{lacking} of the {loose.count} pictures" if state.images else "the pictures"
        raise MissingAssetError(
            f"there is no folder {photos}, and {what} of that name are not in {root.path}",
            hint=f"darkside download {name}",
        )
    ledger.touch(name)
    return root.path / loose.folder


def counted(places: int) -> str:
    """That many places, in words."""
    return f"{places} place{'s' * (places != 1)}"


def _images(place: Path, time: str, top: Path) -> tuple[str, ...]:
    """Names from ``top`` of the images in the folder of ``place`` for ``time``, "Day" or "day", and in its folders."""
    if not place.is_dir():
        return ()
    folders = [path for path in place.iterdir() if path.name.lower() == time and path.is_dir()]
    paths = sorted(image.path for image in expand_inputs(folders, recursive=True, exclude=None))
    return tuple(path.relative_to(top).as_posix() for path in paths if path.is_file())
