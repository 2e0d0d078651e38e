"""People's own training data as a folder for each place."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.datasets.tuples import POSITIVES, TupleSet, spread_pairs
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.images.formats import is_image_name


def tuples_of_folder(root: str | Path, *, positives: int = POSITIVES, name: str | None = None) -> TupleSet:
    """Images of ``root/<place>/…``: whatever lies in or below a place's folder shows the place.

    Every image is a query with up to ``positives`` others of its place. Places of one image have no pairs, but are
    negatives for others. Hidden files are passed over. Names are relative to ``root``, in natural order.

    Raises MissingAssetError if there is no such folder, UsageError if no place has two images.
    """
    root = Path(root)
    if not root.is_dir():
        raise MissingAssetError(f"there is no folder {root}", hint="check the path")
    images = [
        image
        for image in expand_inputs([root], recursive=True, exclude=None)
        if len(image.relative.parts) > 1 and is_image_name(image.path.name)
    ]
    places: dict[str, list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        places[image.relative.parts[0]].append(number)
    titles = tuple(places)
    clusters = np.empty(len(images), dtype=np.int64)
    for place, members in enumerate(places.values()):
        clusters[members] = place
    queries, found = spread_pairs(places.values(), positives)
    tuples = TupleSet(
        name or root.resolve().name,
        tuple(image.relative.as_posix() for image in images),
        tuple(image.path for image in images),
        clusters,
        queries,
        found,
        places=titles,
    )
    if tuples.pairs == 0:
        raise UsageError(
            f"no folder in {root} has two images or more ({len(images)} images of {len(titles)} places)",
            hint=f"put the images of each place into a folder of its own: {root / '<place>'}",
        )
    return tuples
