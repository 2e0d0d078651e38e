"""People's own training data as a list of images, or of pairs of them, in CSV or JSON.

It has a line of column titles (CSV) or objects with these keys (JSON, a list of them or ``{"images": [...]}``):

* ``image`` and ``place``, and perhaps ``x``, ``y`` (``z``), where the camera stood, in any unit, and ``heading``, where
  it looked, in degrees: positives are then the nearest cameras of the place that looked much the same way. Or
  ``covisible``, the images that see the same part of the place (in CSV separated by ``;``): they are the positives.
  Without ``place``, images that see the same thing, directly or through others, are one place.
* ``query`` and ``positive``: pairs. Images joined by pairs are one place.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkside_cli.datasets.tuples import POSITIVES, IntArray, TupleSet, columns_of, spread_pairs
from darkside_cli.errors import UsageError
from darkside_cli.regular_file import read_list_text

LARGEST_TURN_DEG = 60.0
"""Cameras that look further apart than this see different sides of a place."""

SUFFIXES = (".csv", ".json")
_MAX_BYTES = 1 << 30
_FORMS = "columns image,place[,x,y,z,heading][,covisible], or query,positive"


@dataclass(frozen=True)
class _Record:
    """One image of a list."""

    image: str
    place: str | None
    position: tuple[float, ...] | None
    heading: float | None
    covisible: tuple[str, ...]


def tuples_of_list(
    path: str | Path,
    *,
    images: Path | None = None,
    positives: int = POSITIVES,
    name: str | None = None,
    lone: bool = False,
) -> TupleSet:
    """Read a ``.csv`` or ``.json`` list (see the module). Names are relative to ``images``, else to the list's folder.

    Where neither positions nor covisible images are given, every image is a query with up to ``positives`` others of
    its place. The order is that of the list. With ``lone``, all images may be alone in their places.

    Raises MissingAssetError if there is no such file, UsageError that names the entry if one cannot be meant.
    """
    path = Path(path)
    entries = list(_entries(path))
    folder = images if images is not None else path.parent
    title = name or path.stem
    if not entries:
        raise UsageError(f"{path} lists no images", hint=_FORMS)
    if "query" in entries[0]:
        pairs = [
            (_text(entry, "query", path, number), _text(entry, "positive", path, number))
            for number, entry in enumerate(entries, 1)
        ]
        return _of_pairs(pairs, folder, title)
    records = [_record(entry, path, number) for number, entry in enumerate(entries, 1)]
    index = {record.image: number for number, record in enumerate(records)}
    if len(index) < len(records):
        twice = next(r.image for number, r in enumerate(records) if index[r.image] != number)
        raise UsageError(f"{path} lists '{twice}' twice", hint="leave one of them")
    links = [
        (number, _known(other, index, record, path))
        for number, record in enumerate(records)
        for other in record.covisible
    ]
    clusters, places = _places(records, links, path)
    for query, positive in links:
        if clusters[query] != clusters[positive]:
            raise UsageError(
                f"{path}: {records[query].image} and {records[positive].image} see the same, but are of the places "
                f"{places[clusters[query]]} and {places[clusters[positive]]}",
                hint="give them the same place, or leave the place out",
            )
    names = tuple(record.image for record in records)
    files = tuple(folder / name for name in names)
    queries, found = columns_of(links) if links else _positives(records, clusters, positives, path)
    tuples = TupleSet(title, names, files, clusters, queries, found, places=places)
    return tuples if lone else tuples.require_pairs()


def _entries(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a JSON list, or the lines of a CSV one by its titles."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path} is no list by its name", hint=f"known: {', '.join(SUFFIXES)}")
    text = read_list_text(path, limit_bytes=_MAX_BYTES, hint=_FORMS)
    if path.suffix.lower() == ".csv":
        yield from _csv_rows(text, path)
        return
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {error}", hint=_FORMS) from error
    if isinstance(content, Mapping):
        content = content.get("images", content.get("pairs"))
    if not isinstance(content, list) or not all(isinstance(entry, Mapping) for entry in content):
        raise UsageError(f"{path} is no list of images", hint=f'[{{"image": …, "place": …}}, …], {_FORMS}')
    yield from content


def _csv_rows(text: str, path: Path) -> Iterator[Mapping[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        titles = {(title or "").strip().lower() for title in reader.fieldnames or ()}
        if not ({"image"} <= titles or {"query", "positive"} <= titles):
            named = ", ".join(sorted(titles)) or "none"
            raise UsageError(f"{path} has no such columns: {named}", hint=_FORMS)
        for row in reader:
            texts = ((key, value) for key, value in row.items() if isinstance(value, str))
            yield {str(key).strip().lower(): value.strip() for key, value in texts}
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}", hint=_FORMS) from error


def _text(entry: Mapping[str, Any], key: str, path: Path, number: int) -> str:
    value = entry.get(key)
    if not isinstance(value, (str, int)) or isinstance(value, bool) or value == "":
        raise UsageError(f"{path}, entry {number} has no '{key}'", hint=_FORMS)
    return str(value)


def _number(entry: Mapping[str, Any], key: str, path: Path, number: int) -> float | None:
    value = entry.get(key)
    if value is None or value == "":
        return None
    try:
        result = float(value)
    except (TypeError, ValueError):
        result = math.nan
    if not math.isfinite(result):
        raise UsageError(f"{path}, entry {number}: '{key}' is {value!r}, not a number", hint=_FORMS)
    return result


def _record(entry: Mapping[str, Any], path: Path, number: int) -> _Record:
    place = entry.get("place")
    position = [_number(entry, key, path, number) for key in ("x", "y", "z")]
    given = tuple(value for value in position if value is not None)
    if given and (position[0] is None or position[1] is None):
        raise UsageError(f"{path}, entry {number}: a position needs x and y", hint=_FORMS)
    covisible = entry.get("covisible") or ()
    if isinstance(covisible, str):
        covisible = [part.strip() for part in covisible.split(";") if part.strip()]
    if not isinstance(covisible, (list, tuple)) or not all(isinstance(other, str) for other in covisible):
        raise UsageError(f"{path}, entry {number}: 'covisible' is no list of images", hint=_FORMS)
    return _Record(
        _text(entry, "image", path, number),
        None if place is None or place == "" else _text(entry, "place", path, number),
        given or None,
        _number(entry, "heading", path, number),
        tuple(covisible),
    )


def _known(other: str, index: Mapping[str, int], record: _Record, path: Path) -> int:
    if other not in index:
        raise UsageError(f"{path}: {record.image} names '{other}', which is not listed", hint="list it too")
    if other == record.image:
        raise UsageError(f"{path}: {record.image} names itself", hint="name other images")
    return index[other]


def _places(
    records: Sequence[_Record], links: Sequence[tuple[int, int]], path: Path
) -> tuple[IntArray, tuple[str, ...]]:
    """Number of every image's place, and the places' names."""
    with_place = [record for record in records if record.place is not None]
    if len(with_place) == len(records):
        titles = tuple(dict.fromkeys(str(record.place) for record in records))
        number_of = {title: number for number, title in enumerate(titles)}
        return np.array([number_of[str(record.place)] for record in records], dtype=np.int64), titles
    if with_place or not links:
        unplaced = next(record.image for record in records if record.place is None)
        raise UsageError(
            f"{path}: {unplaced} has no place", hint=f"{_FORMS}; name a place, or for all what they see"
        )
    clusters = _joined(len(records), links)
    return clusters, tuple(map(str, range(int(clusters.max()) + 1)))


def _positives(
    records: Sequence[_Record], clusters: IntArray, positives: int, path: Path
) -> tuple[IntArray, IntArray]:
    members = [np.flatnonzero(clusters == number).tolist() for number in range(int(clusters.max()) + 1)]
    located = [record for record in records if record.position is not None]
    if not located:
        if any(record.heading is not None for record in records):
            raise UsageError(f"{path} has headings, but no positions", hint=_FORMS)
        return spread_pairs(members, positives)
    if len({len(record.position or ()) for record in records}) != 1:
        raise UsageError(
            f"{path}: some images have no position, or another number of coordinates", hint=_FORMS
        )
    pairs: list[tuple[int, int]] = []
    for group in members:
        places = np.array([records[image].position for image in group])
        for at, image in enumerate(group):
            away = np.linalg.norm(places - places[at], axis=1)
            nearest = [
                (image, group[i])
                for i in np.argsort(away, kind="stable").tolist()
                if i != at and _turn(records[image].heading, records[group[i]].heading) <= LARGEST_TURN_DEG
            ]
            pairs += nearest[:positives]
    return columns_of(pairs)


def _turn(first: float | None, second: float | None) -> float:
    """Angle between two headings in degrees, 0 to 180; 0 where one is not known."""
    if first is None or second is None:
        return 0.0
    return abs((first - second + 180) % 360 - 180)


def _of_pairs(pairs: Sequence[tuple[str, str]], folder: Path, title: str) -> TupleSet:
    for query, positive in pairs:
        if query == positive:
            raise UsageError(f"{title}: {query} is its own positive", hint="name another image")
    names = tuple(dict.fromkeys(name for pair in pairs for name in pair))
    index = {name: number for number, name in enumerate(names)}
    links = [(index[query], index[positive]) for query, positive in pairs]
    files = tuple(folder / name for name in names)
    return TupleSet(title, names, files, _joined(len(names), links), *columns_of(links))


def _joined(count: int, links: Iterable[tuple[int, int]]) -> IntArray:
    """Numbers (N,) of the groups that ``links`` join ``count`` things to, in the order of their first members."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for one, other in links:
        ends = sorted((root(one), root(other)))
        parent[ends[1]] = ends[0]
    _, numbers = np.unique([root(item) for item in range(count)], return_inverse=True)
    result: IntArray = numbers.astype(np.int64).reshape(-1)
    return result
