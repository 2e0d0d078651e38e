"""Unpaired lists of day and night pictures by name: where their files are. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from darkside_cli.errors import UsageError
from darkside_cli.images.formats import is_image_name
from darkside_cli.registry import Entry, Registry


@dataclass(frozen=True, kw_only=True)
class PictureLists(Entry):
    """Lists ``dataset/train_{day,night}.txt`` in ``folder`` (below ``DataRoot.train``), of images in its ``ims``.

    ``assets`` are the names by which ``darkside download`` brings lists and images.
    """

    folder: str
    assets: tuple[str, ...]

    def list_file(self, train: Path, what: str) -> Path:
        """List of ``what``, "day" or "night", below the folder of training data ``train``."""
        return train / self.folder / "dataset" / f"train_{what}.txt"

    def images(self, train: Path) -> Path:
        """Folder of the images."""
        return train / self.folder / "ims"


LISTS: Registry[PictureLists] = Registry(
    "unpaired pictures",
    (
        PictureLists(
            name="retrieval-sfm-120k",
            summary="the published lists of day and night photographs",
            folder="retrieval-SfM-120k",
            assets=("day-night-lists", "retrieval-sfm-120k"),
        ),
        PictureLists(
            name="nightfall",
            summary="the embedded synthetic city",
            folder="nightfall",
            assets=("nightfall",),
        ),
    ),
)
PUBLISHED = LISTS.get("retrieval-sfm-120k")


def lists_of(source: Path | None) -> PictureLists | None:
    """The lists that ``source`` names, the published ones if it is None; None if it is a path.

    A file or folder that is there comes before a name, whose case does not matter.
    """
    if source is None:
        return PUBLISHED
    name = str(source).lower()
    return LISTS.get(name) if name in LISTS and not source.exists() else None


def check_source(source: Path | None, what: str) -> None:
    """See that ``source`` names lists, or is a folder or a list of ``what`` pictures that is there.

    Raises UsageError if it is not.
    """
    if lists_of(source) is not None or source is None or source.is_dir():
        return
    if not source.is_file():
        raise UsageError(f"there is no list or folder {source}", hint=f"check --{what}")
    if is_image_name(source.name):
        raise UsageError(f"{source} is a picture", hint=f"--{what} takes a folder, or a text file of names")
