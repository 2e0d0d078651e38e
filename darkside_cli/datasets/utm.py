"""Folders of visual place recognition: ``database/`` and ``queries/`` of images named ``@UTM_east@UTM_north@…@.jpg``.

The names are those of VPR-datasets-downloader and SF-XL (Berton et al., CVPR 2022): between the ``@`` stand the easting
and the northing in metres, the zone's number and letter, latitude, longitude, the panorama, the tile, the heading in
degrees, and more; what nobody knows is empty. An image answers a query that was taken within some metres of it, 25 by
convention (Torii et al., CVPR 2013). All is as VPR-methods-evaluation does it: zones are not looked at, images of
sub-folders belong to the set, and the order, which decides between equal scores, is that of the paths as texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from darkside_cli.datasets.ground_truth import GroundTruth, GroundTruthError, Query
from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.errors import UsageError
from darkside_cli.images.formats import is_image_name

FORM = "@UTM_east@UTM_north@…@.jpg"
POSITIVE_DIST_M = 25.0
QUERIES, DATABASE = ("queries",), ("database",)

_EAST, _NORTH, _HEADING = 1, 2, 9
#: Folders inside of which a set may lie, and those of its parts that are known by name.
_ABOVE, _PARTS = ("", "images"), ("test", "val", "train")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Station(NamedTuple):
    """Where the camera stood, in metres, and where it looked, in degrees clockwise from north, if that is known."""

    east: float
    north: float
    heading: float | None


def station_of(name: str) -> Station | None:
    """What the name of a file says; None if it is no such name."""
    parts = name.rpartition("/")[2].split("@")
    east, north, heading = (_number(parts, at) for at in (_EAST, _NORTH, _HEADING))
    return None if east is None or north is None else Station(east, north, heading)


def _number(parts: Sequence[str], at: int) -> float | None:
    try:
        value = float(parts[at])
    except (IndexError, ValueError):
        return None
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Stations:
    """Images, and where each was taken: ``names`` from the set's folder, ``places`` (N, 2) in metres east and north.

    ``headings`` (N,) are in degrees, NaN where nobody knows.
    """

    names: tuple[str, ...]
    places: FloatArray
    headings: FloatArray

    @classmethod
    def below(cls, top: Path, folders: Iterable[str]) -> Stations:
        """Those in and below ``folders`` of ``top``, in the order of their names as texts; hidden ones are passed over.

        Raises GroundTruthError where a name does not say where, or there are no images.
        """
        names = names_below(top, folders)
        found = [station_of(name) for name in names]
        unplaced = [name for name, station in zip(names, found, strict=True) if station is None]
        if unplaced or not names:
            where = " and ".join(str(top / folder) for folder in folders)
            reason = f"{where} has no images"
            if unplaced:
                count = f"{len(unplaced)} of {len(names)} images in {where}"
                reason = f"the names of {count} do not say where they were taken, such as {unplaced[0]}"
            raise GroundTruthError(reason, hint=f"such images are named {FORM}")
        table = np.array(
            [[s.east, s.north, math.nan if s.heading is None else s.heading] for s in found if s]
        )
        return cls(tuple(names), table[:, :2], table[:, 2])

    def near(self, others: Stations, within_m: float) -> list[IntArray]:
        """For each image, the numbers of the ``others`` that were taken within ``within_m``: see :func:`near`."""
        return near(self.places, others.places, within_m)


def near(places: FloatArray, others: FloatArray, within_m: float) -> list[IntArray]:
    """For each of ``places`` (N, 2) the numbers of the ``others`` (M, 2) that are within ``within_m``, increasing.

    The distance itself counts as within, as in scikit-learn's ``radius_neighbors``. Nothing is near to NaN.
    """
    by_east = np.argsort(others[:, 0], kind="stable")
    east = others[by_east, 0]
    first = np.searchsorted(east, places[:, 0] - within_m - 1)
    last = np.searchsorted(east, places[:, 0] + within_m + 1)
    found = []
    for place, start, stop in zip(places, first.tolist(), last.tolist(), strict=True):
        some = by_east[start:stop]
        away = ((others[some] - place) ** 2).sum(axis=1)
        found.append(np.sort(some[away <= within_m**2]).astype(np.int64))
    return found


def names_below(top: Path, folders: Iterable[str]) -> list[str]:
    """Names from ``top`` of the images in and below ``folders``, in the order of texts."""
    return sorted(
        {
            (Path(folder) / image.relative).as_posix()
            for folder in folders
            for image in expand_inputs([top / folder], recursive=True, exclude=None)
            if is_image_name(image.path.name)
        }
    )


def find_set(
    root: Path,
    *,
    queries: Sequence[str] = (),
    database: Sequence[str] = (),
    parts: Sequence[str] = _PARTS,
) -> Path | None:
    """The folder, ``root`` or one inside (``test``, ``images/val``, …), that has folders of queries and a database.

    ``queries`` and ``database`` name these (default: ``queries`` and ``database``). Of several the first of ``parts``
    is taken. None if there is none, or folders that were named have images without places in their names: those may be
    folders of places (see :mod:`darkside_cli.retrieval.search.benchmark`).

    Raises UsageError if there are several, and nothing says which.
    """
    sides = (*(queries or QUERIES), *(database or DATABASE))
    found = [each for each in _inside(root) if all((each / side).is_dir() for side in sides)]
    if queries or database:
        found = [each for each in found if _has_places(each, sides)]
    if root in found or len(found) < 2:
        return root if root in found else next(iter(found), None)
    known = [each for part in parts for each in found if each.name == part]
    if known:
        return known[0]
    if queries or database:
        return None
    names = [each.relative_to(root).as_posix() for each in found]
    raise UsageError(f"{root} has several sets: {', '.join(names)}", hint="name the folder of one of them")


def refuse_half(root: Path, *, queries: Sequence[str] = (), database: Sequence[str] = ()) -> None:
    """Raise UsageError if ``root``, or a folder inside, is such a set but for a folder that it does not have."""
    sides = (*(queries or QUERIES), *(database or DATABASE))
    for each in _inside(root):
        there = [side for side in dict.fromkeys((*sides, *QUERIES, *DATABASE)) if (each / side).is_dir()]
        missing = [side for side in sides if side not in there]
        if there and missing and _has_places(each, there):
            others = sorted(path.name for path in each.iterdir() if path.is_dir() and path.name[0] != ".")
            raise UsageError(
                f"{each} has no folder {missing[0]}, only {', '.join(others)}",
                hint="--query-folder and --database-folder name others",
            )


def part_of(root: Path, part: str) -> Path | None:
    """The folder ``part`` ("train", "val") in ``root`` or in its ``images``, if there is one."""
    return next((each for above in _ABOVE if (each := root / above / part).is_dir()), None)


def _inside(root: Path) -> list[Path]:
    parents = [root / above for above in _ABOVE if (root / above).is_dir()]
    inside = (each for parent in parents for each in sorted(parent.iterdir()))
    return [root, *(each for each in inside if each.is_dir() and not each.name.startswith("."))]


def _has_places(top: Path, folders: Iterable[str]) -> bool:
    names = names_below(top, folders)
    return any(station_of(name) is not None for name in names)


def ground_truth_of_utm(
    folder: Path,
    *,
    queries: Sequence[str] = (),
    database: Sequence[str] = (),
    within_m: float = POSITIVE_DIST_M,
) -> GroundTruth:
    """Ground truth of a folder that :func:`find_set` found: database images within ``within_m`` of a query are ``ok``.

    Names are relative to ``folder``. Queries without such images stay: recall@k counts them as not answered.

    Raises GroundTruthError for images whose names do not say where they were taken, and where no query has an answer.
    """
    asked = Stations.below(folder, queries or QUERIES)
    searched = Stations.below(folder, database or DATABASE)
    near = asked.near(searched, within_m)
    if not any(len(answers) for answers in near):
        away = min(np.hypot(*(searched.places - place).T).min() for place in asked.places)
        raise GroundTruthError(
            f"no query of {folder} has a database image within {within_m:g} m: the nearest is {away:,.0f} m away",
            hint="--positive-dist METRES allows for more; or are these of two UTM zones or cities?",
        )
    entries = (
        Query(image, {"ok": tuple(answers.tolist()), "junk": ()})
        for image, answers in zip(asked.names, near, strict=True)
    )
    return GroundTruth(
        name_of(folder), searched.names, tuple(entries), image_root=folder.resolve(), within_m=within_m
    )


def name_of(folder: Path) -> str:
    """What a set is called: as its folder, and where that is a part of a set ("pitts30k/test"), as both."""
    *above, own = (part for part in folder.resolve().parts if part not in _ABOVE)
    return f"{above[-1]}/{own}" if own in _PARTS and len(above) > 1 else own
