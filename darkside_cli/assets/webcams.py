"""Pictures of eight webcams by day and at night: which ones, of which place, and where they are published.

``webcams.csv`` beside this module parts the pictures of a repository into places. It is read when somebody wants to
know, and not when this is imported.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from darkside_cli.assets.entries import RemoteFile

REPOSITORY = "https://github.com/udacity/CVND_Exercises"
COMMIT = "9f8216c0443d833bb10f66f94524bab4d3ad8ffd"

#: What the addresses of all pictures begin with.
BASE = (
    f"https://raw.githubusercontent.com/udacity/CVND_Exercises/{COMMIT}/"
    "1_1_Image_Representation/day_night_images"
)
#: Where the pictures lie below the data root: ``<place>/day`` and ``<place>/night`` in it.
FOLDER = "data/webcams"
#: So many there are.
COUNT = 226

_LIST = Path(__file__).with_name("webcams.csv")


@cache
def webcam_files() -> tuple[RemoteFile, ...]:
    """All pictures, by place, time and name; each with its whole digest."""
    with _LIST.open(encoding="utf-8", newline="") as stream:
        return tuple(
            RemoteFile(
                path=f"{FOLDER}/{row['place']}/{row['time']}/{row['path'].rpartition('/')[2]}",
                urls=(f"{BASE}/{row['path']}",),
                sha256=row["sha256"],
            )
            for row in csv.DictReader(stream)
        )
