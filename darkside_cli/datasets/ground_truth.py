"""Ground truth of an image retrieval benchmark: which database images answer which query.

There are two kinds. A *graded* one (revisited Oxford and Paris) has ``easy``, ``hard`` and ``junk`` images
for each query, an ungraded one (24/7 Tokyo, places of one's own) ``ok`` and ``junk``. Whatever is in no group
is wrong.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from darkside_cli.errors import UsageError
from darkside_cli.metrics import protocols
from darkside_cli.metrics.protocols import Protocol

#: Left, top, right, bottom in pixels of the whole image, fractions allowed, as Pillow's crop takes it.
Box = tuple[float, float, float, float]

# The published ground truths name images without suffix. What follows the last dot of a name is only taken
# for one if it looks like one, so that "st.pauls_000013" is not.
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_USUAL_SUFFIX = ".jpg"


class GroundTruthError(UsageError):
    """A ground truth contradicts itself or is no ground truth."""


@dataclass(frozen=True)
class Query:
    """One query: its image's name, the database indices of its images by group, and the part of it to look
    at.

    ``groups`` maps "easy", "hard", "junk" or "ok", "junk" to indices into the database's names. ``box`` is
    None where the whole image is the query.
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
    does, and :attr:`contradictions` names them.
    """

    name: str
    database: tuple[str, ...]
    queries: tuple[Query, ...]
    image_root: Path | None = field(default=None, compare=False)
    lenient: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if not self.queries:
            raise GroundTruthError(
                f"{self.name} has no queries", hint="a ground truth needs at least one query"
            )
        seen: set[str] = set()
        for name in self.database:
            if name in seen:
                raise GroundTruthError(
                    f"{self.name} names the database image {name!r} twice", hint="list every image once"
                )
            seen.add(name)
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
        return protocols.GRADED if self.graded else protocols.PLAIN

    def image_path(self, name: str) -> Path:
        """File of a database or query image: below ``image_root``, with ``.jpg`` where ``name`` has no
        suffix.

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
