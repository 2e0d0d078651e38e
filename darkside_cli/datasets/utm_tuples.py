"""Training tuples of images whose names say where they were taken, and perhaps where the camera looked.

Positives are by distance and heading. Negatives are of other cells of a grid, and never taken near the anchor: places
have no borders there, so that images on both sides of one may show the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darkside_cli.datasets.tuple_lists import LARGEST_TURN_DEG
from darkside_cli.datasets.tuples import POSITIVES, IntArray, TupleSet, columns_of
from darkside_cli.datasets.utm import (
    DATABASE,
    POSITIVE_DIST_M,
    QUERIES,
    Stations,
    find_set,
    name_of,
    names_below,
    part_of,
    station_of,
)
from darkside_cli.errors import UsageError

#: Side of the squares, in cells, that are trained on or validated on as a whole.
_BLOCK = 8


def tuples_of_utm(
    root: Path,
    *,
    split: str | None = None,
    positives: int = POSITIVES,
    within_m: float = POSITIVE_DIST_M,
    lone: bool = False,
) -> TupleSet | None:
    """Tuples of ``root``, or of its folder ``split`` (default: train), if it has one; None if it is no such folder.

    Where there are folders ``queries`` and ``database``, anchors are the queries and positives of the database; else
    every image is an anchor, and any other one may be its positive. Positives are up to ``positives`` images, the
    nearest first, that were taken within ``within_m`` and look at most 60 degrees away from where the anchor looks, as
    far as headings are known. Names are relative to the folder. Cells, the places of the set, are squares of
    ``within_m``; what was taken within that, and within 25 m, is never an anchor's negative. With ``lone``, pairs need
    not be there.

    Raises GroundTruthError for images whose names do not say where they were taken, UsageError if there are no pairs.
    """
    folder = part_of(root, split or "train") or root
    found = find_set(folder, parts=("train",))
    if found is not None:
        folder, asked, answers = found, Stations.below(found, QUERIES), Stations.below(found, DATABASE)
        images = Stations(
            (*answers.names, *asked.names),
            np.concatenate([answers.places, asked.places]),
            np.concatenate([answers.headings, asked.headings]),
        )
        anchors = np.arange(len(answers.names), len(images.names))
    elif _mostly_placed(folder):
        images = answers = asked = Stations.below(folder, ("",))
        anchors = np.arange(len(images.names))
    else:
        return None
    pairs: list[tuple[int, int]] = []
    for anchor, there in zip(anchors.tolist(), asked.near(answers, within_m), strict=True):
        turned = np.abs((images.headings[there] - images.headings[anchor] + 180) % 360 - 180)
        usable = there[(there != anchor) & ~(turned > LARGEST_TURN_DEG)]
        away = ((images.places[usable] - images.places[anchor]) ** 2).sum(axis=1)
        pairs += [(anchor, other) for other in usable[np.argsort(away, kind="stable")].tolist()[:positives]]
    if not pairs and not lone:
        sides = "query was taken within" if found is not None else "two images were taken within"
        raise UsageError(
            f"no {sides} {within_m:g} m of {'a database image' if found is not None else 'each other'} in {folder}",
            hint="--positive-dist METRES allows for more; headings, where names have them, may be 60 degrees apart",
        )
    clusters, blocks = _cells(images.places, max(within_m, 1.0))
    return TupleSet(
        name_of(folder),
        images.names,
        tuple(folder / name for name in images.names),
        clusters,
        *columns_of(pairs),
        places=blocks,
        positions=images.places,
        apart_m=max(within_m, POSITIVE_DIST_M),
    )


def _mostly_placed(folder: Path) -> bool:
    """Whether half of the images or more say where they were taken: the others are then a mistake."""
    names = names_below(folder, ("",))
    return 0 < len(names) <= 2 * sum(station_of(name) is not None for name in names)


def _cells(places: NDArray[np.float64], side_m: float) -> tuple[IntArray, tuple[str, ...]]:
    """Numbers (N,) of the squares that the images are in, and the block of each square: what is kept back together."""
    squares, numbers = np.unique(np.floor(places / side_m), axis=0, return_inverse=True)
    blocks = (squares // _BLOCK).astype(np.int64).tolist()
    return numbers.reshape(-1).astype(np.int64), tuple(f"{east}/{north}" for east, north in blocks)
