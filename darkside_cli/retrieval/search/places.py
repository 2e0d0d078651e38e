"""A benchmark from folders: one for each place, with ``day`` and ``night`` photographs in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from darkside_cli.datasets.ground_truth import GroundTruth, GroundTruthError, Query
from darkside_cli.errors import MissingAssetError
from darkside_cli.images.formats import is_image_name

_NAMED = 4


def ground_truth_from_places(
    root: str | Path,
    *,
    queries: str | Sequence[str] = "night",
    database: str | Sequence[str] = "day",
    distractors: Iterable[str | Path] = (),
    name: str | None = None,
) -> GroundTruth:
    """Ground truth of ``root/<place>/{day,night}/<image>``: night photographs ask for the place by day.

    ``queries`` and ``database`` name the folders of a place that are asked and searched, one or several
    (``("night", "dusk")``). All database images of the query's place are ``ok``; where a folder is both, the
    query's own image is ``junk``. Places without queries, and the images of the ``distractors`` folders (with
    all that is below them), are in the database as wrong answers. Places without database images are in
    neither.

    Names are relative to the deepest folder that holds ``root`` and all distractors, which is ``image_root``;
    the order is that of the names. Hidden files, and files that are no images by their suffix, are passed
    over.

    Raises MissingAssetError if a folder does not exist, GroundTruthError if no place has both kinds of
    images.
    """
    root = Path(root)
    others = [Path(folder) for folder in distractors]
    for folder in (root, *others):
        if not folder.is_dir():
            raise MissingAssetError(f"there is no folder {folder}", hint="check the path")
    asked, searched = _as_tuple(queries), _as_tuple(database)
    top = Path(os.path.commonpath([folder.resolve() for folder in (root, *others)]))

    places = sorted(entry for entry in root.resolve().iterdir() if entry.is_dir() and not _hidden(entry))
    answers = {place: _names(_images_of(place, searched), top) for place in places}
    found = {image for names in answers.values() for image in names}
    wrong = set(_names((image for folder in others for image in _images_below(folder.resolve())), top))
    in_database = sorted(found | wrong)
    index_of = {image: index for index, image in enumerate(in_database)}
    entries = []
    for place in places:
        if not answers[place]:
            continue
        for image in _names(_images_of(place, asked), top):
            groups = {
                "ok": tuple(index_of[answer] for answer in answers[place] if answer != image),
                "junk": (index_of[image],) if image in index_of else (),
            }
            entries.append(Query(image, groups))
    if not any(query.groups["ok"] for query in entries):
        raise _no_places(root, places, asked, searched)
    return GroundTruth(name or root.resolve().name, tuple(in_database), tuple(entries), image_root=top)


def _no_places(
    root: Path, places: Sequence[Path], asked: Sequence[str], searched: Sequence[str]
) -> GroundTruthError:
    """Say what is wrong with a folder that gives no ground truth, and what would be right."""
    right = (
        f"make a folder for each place: {root}/<place>/{asked[0]} with the images that ask for it, "
        f"{root}/<place>/{searched[0]} with those to be found"
    )
    names = [place.name for place in places]
    if any(name in (*asked, *searched) for name in names) and not any(
        (place / name).is_dir() for place in places for name in (*asked, *searched)
    ):
        sides = " and ".join(name for name in names if name in (*asked, *searched))
        return GroundTruthError(f"{sides} in {root} do not say which images show the same place", hint=right)
    if not places and any(is_image_name(entry.name) for entry in root.iterdir() if not _hidden(entry)):
        return GroundTruthError(
            f"{root} has images, but nothing says which of them show the same place", hint=right
        )
    inside = sorted(
        {entry.name for place in places for entry in place.iterdir() if entry.is_dir() and not _hidden(entry)}
        - {*asked, *searched}
    )
    if inside:
        right += f"; or name others with --query-folder and --database-folder (there are {_some(inside)})"
    return GroundTruthError(
        f"no folder in {root} has images both in {' or '.join(asked)} and in {' or '.join(searched)}",
        hint=right,
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _as_tuple(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _images_of(place: Path, folders: Sequence[str]) -> Iterator[Path]:
    for folder in folders:
        if (place / folder).is_dir():
            yield from _images_below(place / folder)


def _images_below(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if _hidden(entry):
            continue
        if entry.is_dir():
            yield from _images_below(entry)
        elif is_image_name(entry.name):
            yield entry


def _names(images: Iterable[Path], top: Path) -> list[str]:
    return sorted({image.relative_to(top).as_posix() for image in images})
