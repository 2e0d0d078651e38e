"""Places with images by day and at night, parted into folds: what is trained on and what is asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkside_cli.datasets.ground_truth import FORMAT, VERSION
from darkside_cli.demo.request import DAY, NIGHT
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.images.formats import is_image_name

TIMES = (NIGHT, DAY)


@dataclass(frozen=True)
class Cameras:
    """Images by day and by night of each place, by their names from ``folder``."""

    folder: Path
    images: dict[str, dict[str, tuple[str, ...]]]

    @classmethod
    def of(cls, folder: Path) -> Cameras:
        """Look for ``folder/<place>/{day,night}``. Raises UsageError for fewer than two places that have both."""
        if not folder.is_dir():
            raise MissingAssetError(f"there is no folder {folder}", hint="check the path of the photographs")
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for place in sorted(folder.iterdir()):
            images = {time: _images(place / time, folder) for time in TIMES}
            if all(images.values()):
                found[place.name] = images
        if len(found) < 2:
            raise UsageError(
                f"{folder} has {len(found)} places with images both by day and at night: two or more are needed",
                hint=f"make a folder for each place: {folder / '<place>'}/day and night",
            )
        return cls(folder.resolve(), found)

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


def _images(folder: Path, top: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    paths = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
    return tuple(path.relative_to(top).as_posix() for path in paths if is_image_name(path.name))
