"""Photographs that are alone in their place: views of one photograph are each other's positives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.datasets.tuples import TupleSet
from darkside_cli.errors import MissingAssetError, UsageError


def with_photographs(tuples: TupleSet, folders: Sequence[Path]) -> TupleSet:
    """``tuples`` and the images in or below ``folders``, each of a place of its own, without pairs.

    They are called "photographs-1/NAME", by the number of their folder.

    Raises MissingAssetError for a folder that is not there, UsageError for one without images.
    """
    names, paths = list(tuples.names), list(tuples.paths)
    for number, folder in enumerate(folders, 1):
        if not folder.is_dir():
            raise MissingAssetError(f"there is no folder {folder}", hint="check the path of the photographs")
        images = expand_inputs([folder], recursive=True, exclude=None)
        if not images:
            raise UsageError(f"there are no images in {folder}", hint="check the path of the photographs")
        names += [f"photographs-{number}/{image.relative.as_posix()}" for image in images]
        paths += [image.path for image in images]
    new, first = len(names) - len(tuples), int(tuples.clusters.max(initial=-1)) + 1
    known = tuples.places or tuple(map(str, range(first)))
    return replace(
        tuples,
        names=tuple(names),
        paths=tuple(paths),
        clusters=np.concatenate([tuples.clusters, np.arange(first, first + new)]),
        boxes=None if tuples.boxes is None else (*tuples.boxes, *[None] * new),
        places=(*known, *names[len(tuples) :]),
        views=None if tuples.views is None else (*tuples.views, *[0] * new),
        positions=None
        if tuples.positions is None
        else np.concatenate([tuples.positions, np.full((new, 2), np.nan)]),
    )


def with_views(tuples: TupleSet, count: int) -> TupleSet:
    """``tuples``, with ``count`` random views in the place of every image that is alone in its place.

    Each view is a query with another one as its positive. A ``count`` below 2 changes nothing.
    """
    if count < 2:
        return tuples
    is_lone = np.bincount(tuples.clusters, minlength=1)[tuples.clusters] == 1
    is_lone[tuples.query_index] = is_lone[tuples.positive_index] = False
    lone, rest = np.flatnonzero(is_lone).tolist(), tuples.keep(~is_lone)
    views = [(image, number) for image in lone for number in range(1, count + 1)]
    at = len(rest) + np.arange(len(views))
    # The next view of the same image, the first one after the last.
    following = at + np.where(np.arange(len(views)) % count == count - 1, 1 - count, 1)
    images = [image for image, _ in views]
    return replace(
        rest,
        names=(*rest.names, *(f"view-{number}/{tuples.names[image]}" for image, number in views)),
        paths=(*rest.paths, *(tuples.paths[image] for image in images)),
        clusters=np.concatenate([rest.clusters, tuples.clusters[images]]),
        query_index=np.concatenate([rest.query_index, at]),
        positive_index=np.concatenate([rest.positive_index, following]),
        boxes=None
        if tuples.boxes is None
        else (*(rest.boxes or ()), *(tuples.boxes[image] for image in images)),
        views=(*(rest.views or [0] * len(rest)), *(number for _, number in views)),
        positions=None
        if tuples.positions is None or rest.positions is None
        else np.concatenate([rest.positions, tuples.positions[images]]),
    )
