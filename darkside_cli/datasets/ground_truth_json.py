"""Our own ground-truth format, JSON that a person writes by hand for a data set of their own.

.. code-block:: json

    {
      "format": "darkside-ground-truth",
      "version": 1,
      "name": "my-city",
      "images": "photos",
      "database": ["day/bridge.jpg", "day/tower.jpg", "day/tower2.jpg"],
      "queries": [
        {"name": "night/tower.jpg", "ok": ["day/tower.jpg", "day/tower2.jpg"]},
        {"name": "night/bridge.jpg", "ok": [0], "junk": [], "box": [10, 20, 300, 400]}
      ]
    }

``images`` is the folder that names are relative to, itself relative to the file (default: the file's folder).
A query lists images by name or by index into ``database``, in ``ok`` and ``junk``, or in ``easy``, ``hard``
and ``junk``; a group left out is empty, but all queries are of one kind. ``box`` (left, top, right, bottom in
pixels) restricts a query to a part of its image. ``name`` defaults to the file's name. Unknown keys are
errors, since a misspelt one would silently change the score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from darkside_cli.datasets.ground_truth import Box, GroundTruth, GroundTruthError, Query
from darkside_cli.metrics import protocols

FORMAT = "darkside-ground-truth"
VERSION = 1

_KEYS = ("format", "version", "name", "images", "database", "queries")
_QUERY_KEYS = ("name", "ok", "easy", "hard", "junk", "box")


def from_document(document: Any, *, name: str, folder: Path | None = None) -> GroundTruth:
    """Ground truth from what :func:`json.load` gives.

    ``name`` is used if the document has none; ``folder`` is the one of the file, which ``images`` is relative
    to. Raises GroundTruthError, which names the key or the query, if something is missing, misspelt or
    impossible.
    """
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise GroundTruthError(f"{name} is no ground truth", hint=f'it needs "format": "{FORMAT}"')
    if document.get("version") != VERSION:
        raise GroundTruthError(
            f"{name} has version {document.get('version')!r} of the format",
            hint=f'"version": {VERSION} is known here',
        )
    _refuse_unknown(document, _KEYS, name)
    title = document.get("name", name)
    images = document.get("images", ".")
    if not isinstance(title, str) or not isinstance(images, str):
        raise GroundTruthError(f"{name}: name and images are not both text", hint="put them in quotes")
    database = _names(document.get("database"), f"{name}: database")
    index_of = {image: index for index, image in enumerate(database)}
    queries = document.get("queries")
    if not isinstance(queries, list) or not all(isinstance(query, Mapping) for query in queries):
        raise GroundTruthError(f"{name}: queries is not a list of objects", hint="see the documented example")
    graded = any(group in query for query in queries for group in ("easy", "hard"))
    return GroundTruth(
        name=title,
        database=database,
        queries=tuple(
            _query(query, f"{name}, query {number}", graded, index_of) for number, query in enumerate(queries)
        ),
        image_root=folder / images if folder is not None else None,
    )


def to_document(truth: GroundTruth, *, images: str = ".") -> dict[str, Any]:
    """Give what :func:`json.dump` takes; images are listed by name, and empty groups are left out."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": truth.name,
        "images": images,
        "database": list(truth.database),
        "queries": [
            {
                "name": query.name,
                # The first group stays even if empty: it says of what kind the query is.
                **{
                    group: [truth.database[index] for index in query.groups[group]]
                    for position, group in enumerate(truth.groups)
                    if query.groups[group] or position == 0
                },
                **({"box": list(query.box)} if query.box is not None else {}),
            }
            for query in truth.queries
        ],
    }


def _query(entry: Mapping[str, Any], where: str, graded: bool, index_of: Mapping[str, int]) -> Query:
    _refuse_unknown(entry, _QUERY_KEYS, where)
    name = entry.get("name")
    if not isinstance(name, str):
        raise GroundTruthError(f"{where} has no name", hint='every query needs "name", its image')
    if graded and "ok" in entry:
        raise GroundTruthError(
            f"{where} ({name}) has ok images, where there are queries with easy or hard ones",
            hint="use ok and junk in all queries, or easy, hard and junk",
        )
    groups = {
        group: _indices(entry.get(group, []), f"{where} ({name}): {group}", index_of)
        for group in (protocols.GRADED_GROUPS if graded else protocols.PLAIN_GROUPS)
    }
    return Query(name, groups, parse_box(entry.get("box"), f"{where} ({name})"))


def parse_box(value: Any, where: str) -> Box | None:
    """Four numbers or None. Raises GroundTruthError that begins with ``where`` for anything else."""
    if value is None:
        return None
    try:
        left, top, right, bottom = (float(side) for side in value)
    except (TypeError, ValueError):
        raise GroundTruthError(
            f"{where}: the box is {value!r}", hint="a box is four numbers: left, top, right, bottom"
        ) from None
    return left, top, right, bottom


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise GroundTruthError(f"{where} is not a list of image names", hint="see the documented example")
    return tuple(value)


def _indices(value: Any, where: str, index_of: Mapping[str, int]) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise GroundTruthError(f"{where} is not a list", hint="list image names or indices")
    found = []
    for item in value:
        if isinstance(item, str):
            if item not in index_of:
                near = get_close_matches(item, index_of, n=1)
                hint = f"did you mean {near[0]}?" if near else "list it in the database, or take it out"
                raise GroundTruthError(f"{where}: {item!r} is not in the database", hint=hint)
            found.append(index_of[item])
        elif isinstance(item, int) and not isinstance(item, bool):
            found.append(item)
        else:
            raise GroundTruthError(f"{where} has {item!r}", hint="list image names or indices")
    return tuple(found)


def _refuse_unknown(entry: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in entry:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise GroundTruthError(f"{where}: unknown key {key!r}", hint=hint)
