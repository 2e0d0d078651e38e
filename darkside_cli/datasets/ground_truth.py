"""Ground truth of an image retrieval benchmark: which database images answer which query.

There are two kinds. A *graded* one (revisited Oxford and Paris) has ``easy``, ``hard`` and ``junk`` images
for each query, an ungraded one (24/7 Tokyo, places of one's own) ``ok`` and ``junk``. Whatever is in no group
is wrong. Our own format is JSON that a person writes by hand for a data set of their own:

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

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

from darkside_cli.errors import UsageError
from darkside_cli.images.boxes import Box
from darkside_cli.metrics import protocols
from darkside_cli.metrics.protocols import Protocol

FORMAT = "darkside-ground-truth"
VERSION = 1

_KEYS = ("format", "version", "name", "images", "database", "queries")
_QUERY_KEYS = ("name", "ok", "easy", "hard", "junk", "box")

# The published ground truths name images without suffix. What follows the last dot of a name is only taken
# for one if it looks like one, so that "st.pauls_000013" is not.
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_USUAL_SUFFIX = ".jpg"


class GroundTruthError(UsageError):
    """A ground truth contradicts itself or is no ground truth."""


@dataclass(frozen=True)
class Query:
    """One query: its image's name, and its images by group.

    ``groups`` maps "easy", "hard", "junk" or "ok", "junk" to indices into the database's names. ``box`` (left, top,
    right, bottom, in pixels of the whole image, fractions allowed) is None where the whole image is the query.
    """

    name: str
    groups: Mapping[str, tuple[int, ...]]
    box: Box | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", dict(self.groups))

    def listed(self) -> tuple[int, ...]:
        """Give the indices of all images in its groups, group after group."""
        return tuple(index for indices in self.groups.values() for index in indices)


@dataclass(frozen=True)
class GroundTruth:
    """A benchmark: names of its database images, its queries, and where the files are, if that is known.

    Raises GroundTruthError, which names the query, if an index is outside the database, an image is listed
    twice in a group or stands in two groups (relevant and junk, easy and hard), groups are missing or
    unknown, a box is empty, or a database name occurs twice. Where it is ``lenient``, as published ones are,
    images that are listed twice or in two groups are let pass: they are scored as cirtorch's evaluation
    does, and :attr:`contradictions` names them. ``within_m`` is the distance that makes images ok, where one does.
    """

    name: str
    database: tuple[str, ...]
    queries: tuple[Query, ...]
    image_root: Path | None = field(default=None, compare=False)
    lenient: bool = field(default=False, compare=False)
    within_m: float | None = None

    def __post_init__(self) -> None:
        if not self.queries:
            raise GroundTruthError(
                f"{self.name} has no queries", hint="a ground truth needs at least one query"
            )
        for name, times in Counter(self.database).items():
            if times > 1:
                raise GroundTruthError(
                    f"{self.name} names the database image {name!r} twice", hint="list every image once"
                )
        for number, query in enumerate(self.queries):
            for problem in chain(self._problems(query), () if self.lenient else self._repetitions(query)):
                raise GroundTruthError(
                    f"{self.name}, query {number} ({query.name}): {problem}", hint="correct the ground truth"
                )

    @property
    def contradictions(self) -> tuple[str, ...]:
        """What a lenient ground truth lists twice or in two groups, each with its query; else empty."""
        return tuple(
            f"query {number} ({query.name}): {problem}"
            for number, query in enumerate(self.queries)
            for problem in self._repetitions(query)
        )

    @property
    def graded(self) -> bool:
        """Whether the queries have easy and hard images rather than ok ones."""
        return "ok" not in self.queries[0].groups

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups that every query has."""
        return protocols.GRADED_GROUPS if self.graded else protocols.PLAIN_GROUPS

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """Protocols that this kind of ground truth is judged by."""
        if self.within_m is not None:
            return (protocols.within(self.within_m),)
        return protocols.GRADED if self.graded else protocols.PLAIN

    def image_path(self, name: str) -> Path:
        """File of a database or query image: below ``image_root``, with ``.jpg`` where ``name`` has no suffix.

        Raises ValueError if no ``image_root`` is known.
        """
        if self.image_root is None:
            raise ValueError(f"{self.name} does not say where its images are")
        return self.image_root / (name if _SUFFIX.search(name) else name + _USUAL_SUFFIX)

    def _problems(self, query: Query) -> Iterator[str]:
        if set(query.groups) != set(self.groups):
            yield f"it has the groups {', '.join(query.groups) or 'none'}, not {', '.join(self.groups)}"
        for group, indices in query.groups.items():
            for index in indices:
                if not 0 <= index < len(self.database):
                    yield f"{group} has the index {index}, but the database has {len(self.database)} images"
        if query.box is not None:
            left, top, right, bottom = query.box
            if not all(map(math.isfinite, query.box)) or right <= left or bottom <= top:
                yield f"the box {query.box} is empty; it is left, top, right, bottom"

    def _repetitions(self, query: Query) -> Iterator[str]:
        holder: dict[int, str] = {}
        for group, indices in query.groups.items():
            for index, times in Counter(indices).items():
                other = holder.setdefault(index, group)
                if other != group:
                    yield f"image {index} ({self.database[index]}) is both {other} and {group}"
                if times > 1:
                    yield f"{group} lists image {index} ({self.database[index]}) twice"


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
    title, images = document.get("name", name), document.get("images", ".")
    if not isinstance(title, str) or not isinstance(images, str):
        raise GroundTruthError(f"{name}: name and images are not both text", hint="put them in quotes")
    database = _names(document.get("database"), f"{name}: database")
    index_of = {image: index for index, image in enumerate(database)}
    queries = document.get("queries")
    if not isinstance(queries, list) or not all(isinstance(query, Mapping) for query in queries):
        raise GroundTruthError(f"{name}: queries is not a list of objects", hint="see the documented example")
    graded = any(group in query for query in queries for group in ("easy", "hard"))
    parsed = (_query(query, f"{name}, query {i}", graded, index_of) for i, query in enumerate(queries))
    return GroundTruth(title, database, tuple(parsed), folder / images if folder is not None else None)


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


def _nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else otherwise


def _indices(value: Any, where: str, index_of: Mapping[str, int]) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise GroundTruthError(f"{where} is not a list", hint="list image names or indices")
    found = []
    for item in value:
        if isinstance(item, str):
            if item not in index_of:
                hint = _nearest(item, index_of, "list it in the database, or take it out")
                raise GroundTruthError(f"{where}: {item!r} is not in the database", hint=hint)
            found.append(index_of[item])
        elif isinstance(item, int) and not isinstance(item, bool):
            found.append(item)
        else:
            raise GroundTruthError(f"{where} has {item!r}", hint="list image names or indices")
    return tuple(found)


def _refuse_unknown(entry: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in entry:
        if key not in known:
            hint = _nearest(str(key), known, f"known keys: {', '.join(known)}")
            raise GroundTruthError(f"{where}: unknown key {key!r}", hint=hint)
