"""Images of places, and pairs of them that show the same place: what metric learning and whitening learn from."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.datasets.utm import near
from darkside_cli.errors import ImageError, MissingAssetError, UsageError
from darkside_cli.events import Emit, ItemFailed, Notice, ignore
from darkside_cli.images.boxes import Box
from darkside_cli.images.formats import is_image_name
from darkside_cli.images.identify import identify, open_regular_file, reason_of

IntArray = NDArray[np.int64]

POSITIVES = 4
"""Positives that an image gets at most, where nobody names them."""

_HEADER_THREADS = 8


@dataclass(frozen=True, eq=False)
class TupleSet:
    """Images, the place each shows, and pairs of a query and a positive of the same place.

    ``names`` are the images' in their source, ``paths`` their files. ``clusters`` (N,) are the numbers of places:
    images of one cluster are never each other's negatives. ``query_index`` and ``positive_index`` (P,) are images by
    index. ``boxes``, if any, are the parts of the images that count (left, upper, right, lower, in pixels);
    ``places`` names the clusters, if they have names. ``views``, if any, are numbers of random views
    (:func:`darkside_cli.images.views.random_view`) that are meant instead of whole images (0), by their names.
    ``positions`` (N, 2), if any, say where images were taken, in metres, NaN where nobody knows: those within
    ``apart_m`` are never each other's negatives, whatever their clusters.

    Raises UsageError for numbers that do not belong together.
    """

    name: str
    names: tuple[str, ...]
    paths: tuple[Path, ...]
    clusters: IntArray
    query_index: IntArray
    positive_index: IntArray
    boxes: tuple[Box | None, ...] | None = None
    places: tuple[str, ...] | None = None
    views: tuple[int, ...] | None = None
    positions: NDArray[np.float64] | None = None
    apart_m: float = 0.0

    def __post_init__(self) -> None:
        for key in ("clusters", "query_index", "positive_index"):
            value = np.ascontiguousarray(getattr(self, key), dtype=np.int64).reshape(-1)
            object.__setattr__(self, key, value)
        images = {len(each) for each in (self.names, self.paths, self.clusters)}
        images |= {len(each) for each in (self.boxes, self.views, self.positions) if each is not None}
        if len(images) != 1:
            raise UsageError(
                f"{self.name}: names, files and places are not equally many", hint="make it again"
            )
        if len(self.query_index) != len(self.positive_index):
            raise UsageError(f"{self.name}: queries and positives are not equally many", hint="make it again")
        ends = np.concatenate([self.query_index, self.positive_index])
        if len(ends) and not (ends.min() >= 0 and ends.max() < len(self.names)):
            raise UsageError(f"{self.name}: a pair has an image that is not there", hint="make it again")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.query_index)

    def keep(self, wanted: NDArray[np.bool_]) -> TupleSet:
        """Give the images with ``wanted`` (N,) and the pairs of which both are among them."""
        index = np.cumsum(wanted) - 1
        both = wanted[self.query_index] & wanted[self.positive_index]
        chosen = np.flatnonzero(wanted).tolist()
        return replace(
            self,
            names=tuple(self.names[i] for i in chosen),
            paths=tuple(self.paths[i] for i in chosen),
            clusters=self.clusters[wanted],
            query_index=index[self.query_index[both]],
            positive_index=index[self.positive_index[both]],
            boxes=None if self.boxes is None else tuple(self.boxes[i] for i in chosen),
            views=None if self.views is None else tuple(self.views[i] for i in chosen),
            positions=None if self.positions is None else self.positions[wanted],
        )

    def fewest_others(self) -> int:
        """Of how many places besides its own an anchor can have negatives, at least."""
        found, of_image, sizes = np.unique(self.clusters, return_inverse=True, return_counts=True)
        if self.positions is None:
            return len(found) - 1
        anchors = np.unique(self.query_index)
        fewest = len(found) - 1
        where = near(self.positions[anchors], self.positions, self.apart_m)
        for anchor, close in zip(anchors.tolist(), where, strict=True):
            cells, counts = np.unique(of_image[close], return_counts=True)
            barred = {of_image[anchor], *cells[counts == sizes[cells]].tolist()}
            fewest = min(fewest, len(found) - len(barred))
        return fewest

    def places_among(self, images: IntArray) -> IntArray:
        """Numbers (like ``images``) of the places of these: their clusters, joined where images were taken near."""
        places = self.clusters[images]
        if self.positions is None:
            return places
        flat, where = places.reshape(-1).copy(), self.positions[images.reshape(-1)]
        for close in near(where, where, self.apart_m):
            flat[np.isin(flat, flat[close])] = flat[close].min(initial=np.iinfo(np.int64).max)
        return flat.reshape(places.shape)

    def require_pairs(self) -> TupleSet:
        """Give itself. Raises UsageError if there are no pairs."""
        if self.pairs == 0:
            raise UsageError(
                f"{self.name} has no two images of one place ({len(self)} images of "
                f"{len(np.unique(self.clusters))} places)",
                hint="places need two images or more",
            )
        return self

    def describe(self) -> dict[str, Any]:
        """JSON-able facts, for reports; ``fingerprint`` changes with names, places and pairs."""
        digest = hashlib.sha256("\0".join(self.names).encode("utf-8", "surrogateescape"))
        for array in (self.clusters, self.query_index, self.positive_index):
            digest.update(array.tobytes())
        return {
            "name": self.name,
            "images": len(self),
            "places": len(np.unique(self.clusters)),
            "pairs": self.pairs,
            "fingerprint": digest.hexdigest()[:16],
        }


def without_broken(tuples: TupleSet, *, emit: Emit = ignore) -> TupleSet:
    """Look for every image's file and at its header; leave those out that are missing or no images, and name them.

    Nothing is decoded. Raises UsageError if no pair is left.
    """
    if not len(tuples):
        return tuples.require_pairs()
    with ThreadPoolExecutor(_HEADER_THREADS) as pool:
        reasons = list(pool.map(_why_unreadable, tuples.paths))
    for path, reason in zip(tuples.paths, reasons, strict=True):
        if reason is not None:
            emit(ItemFailed(path, reason))
    kept = tuples.keep(np.array([reason is None for reason in reasons]))
    lost = len(tuples) - len(kept)
    if lost:
        text = (
            f"{lost} of {len(tuples)} images of {tuples.name} are passed over, and {tuples.pairs - kept.pairs} of "
            f"{tuples.pairs} pairs with them"
        )
        emit(Notice(text, level="warning"))
    if tuples.pairs and not kept.pairs:
        raise UsageError(
            f"no pair of {tuples.name} is left: {lost} of {len(tuples)} images cannot be read, such as "
            f"{os.fsdecode(next(p for p, r in zip(tuples.paths, reasons, strict=True) if r))}",
            hint="check where its images are",
        )
    return kept


def _why_unreadable(path: Path) -> str | None:
    try:
        with open_regular_file(path) as stream:
            identify(stream)
    except ImageError as error:
        return error.message
    except OSError as error:
        return reason_of(error)
    return None


def split_off(
    tuples: TupleSet, share: float, *, seed: int = 0, fewest_places: int = 1
) -> tuple[TupleSet, TupleSet]:
    """Part whole places off, about ``share`` of them, for validation: the rest, and that part.

    The hash of a place's name (its number, where it has none) and of ``seed`` decides, of each by itself: places that
    are added later move no other to the other side. At least ``fewest_places`` of those with pairs go to each side.

    Raises UsageError if there are not as many.
    """
    if not 0 < share < 1:
        raise UsageError(
            f"a share of {share:g} cannot be kept for validation", hint="between 0 and 1, such as 0.1"
        )
    with_pairs = np.unique(tuples.clusters[tuples.query_index]).tolist()
    if len(with_pairs) < 2 * fewest_places:
        raise UsageError(
            f"{tuples.name} has pairs of {len(with_pairs)} places, too few to keep some for validation: "
            f"{fewest_places} are needed on each side",
            hint="name a validation set, or add places with two images or more",
        )

    def drawn(number: int) -> float:
        name = str(number) if tuples.places is None else tuples.places[number]
        digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    chosen = {number for number in np.unique(tuples.clusters).tolist() if drawn(number) < share}
    ordered = sorted(with_pairs, key=drawn)
    chosen |= set(ordered[:fewest_places])
    chosen -= set(ordered[-fewest_places:])
    is_chosen = np.isin(tuples.clusters, sorted(chosen))
    rest, part = tuples.keep(~is_chosen), tuples.keep(is_chosen)
    return replace(rest, name=f"{tuples.name} (training)"), replace(part, name=f"{tuples.name} (validation)")


def spread_pairs(groups: Iterable[Sequence[int]], positives: int) -> tuple[IntArray, IntArray]:
    """Queries and positives (P,) of groups of image numbers: to every image up to ``positives`` others of its group.

    They are taken all round the group at even distances, since neighbours in a list are often nearly the same image.
    """
    pairs: list[tuple[int, int]] = []
    for group in groups:
        size = len(group)
        steps = min(positives, size - 1)
        strides = [-(-step * size // (steps + 1)) for step in range(1, steps + 1)]
        pairs += [(image, group[(at + step) % size]) for at, image in enumerate(group) for step in strides]
    return columns_of(pairs)


def columns_of(pairs: Sequence[tuple[int, int]]) -> tuple[IntArray, IntArray]:
    """Queries (P,) and positives (P,) of pairs."""
    queries, found = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return queries, found


def chosen_by_name(name: str, ratio: float) -> bool:
    """Whether the image ``name`` is among the share ``ratio`` of all images.

    What counts is the file name without folders and suffix: the last four hexadecimal digits of its MD5,
    divided by 65536, must be below ``ratio``. The same image is chosen every time, and whoever is chosen at a
    ratio is chosen at every higher one.
    """
    digest = hashlib.md5(PurePosixPath(name).stem.encode(), usedforsecurity=False).hexdigest()
    return int(digest[-4:], 16) / 65536 < ratio


def tuples_of_folder(
    root: str | Path,
    *,
    positives: int = POSITIVES,
    name: str | None = None,
    part: str | None = None,
    lone: bool = False,
) -> TupleSet:
    """Images of ``root/<place>/…``: whatever lies in or below a place's folder shows the place.

    Every image is a query with up to ``positives`` others of its place. Places of one image have no pairs, but are
    negatives for others. Hidden files are passed over. Names are relative to ``root``, in natural order. Of
    places with a folder ``part``, such as "day", only what is in it counts. With ``lone``, images may be alone:
    those in ``root`` itself are of a place each, and pairs need not be there.

    Raises MissingAssetError if there is no such folder, UsageError if no place has two images.
    """
    root = Path(root)
    if not root.is_dir():
        raise MissingAssetError(f"there is no folder {root}", hint="check the path")
    least = 1 if lone else 2
    images = [
        image
        for image in expand_inputs([root], recursive=True, exclude=None)
        if len(image.relative.parts) >= least and is_image_name(image.path.name)
    ]
    parted = {each.relative.parts[0] for each in images if part in each.relative.parts[1:-1]}
    images = [
        each for each in images if each.relative.parts[0] not in parted or part in each.relative.parts[1:-1]
    ]
    places: dict[str, list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        places[image.relative.parts[0]].append(number)
    clusters = np.empty(len(images), dtype=np.int64)
    for place, members in enumerate(places.values()):
        clusters[members] = place
    names, paths = (image.relative.as_posix() for image in images), (image.path for image in images)
    title, pairs = name or root.resolve().name, spread_pairs(places.values(), positives)
    tuples = TupleSet(title, tuple(names), tuple(paths), clusters, *pairs, places=tuple(places))
    if tuples.pairs == 0 and not (lone and images):
        raise UsageError(
            f"no folder in {root} has two images or more ({len(images)} images of {len(places)} places)",
            hint=f"put the images of each place into a folder of its own: {root / '<place>'}",
        )
    return tuples
