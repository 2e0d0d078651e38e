"""Values that other programs wrote beside weights, as JSON has them: checked before they are copied.

In a pickle one list can stand in many places, also of lists that do so too: a file of a kilobyte describes more values
than any memory holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_MOST_VALUES, _MOST_CHARACTERS = 100_000, 1 << 22
_DEEPEST = 64


def plain_copy(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in JSON's types: texts, finite numbers, lists and mappings.

    Raises TypeError or ValueError if there is anything else in it, or too much.
    """
    _require_small(value)
    copy: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    return copy


def _require_small(value: Any) -> None:
    """See that values, each counted as often as it is named, and characters of texts are not too many, nor too deep."""
    pending, values, characters = [(value, 0)], 0, 0
    while pending:
        each, depth = pending.pop()
        values += 1 + (len(each) if isinstance(each, (Mapping, list, tuple)) else 0)
        characters += len(each) if isinstance(each, (str, bytes)) else 0
        if values > _MOST_VALUES or characters > _MOST_CHARACTERS:
            raise ValueError(f"more than {_MOST_VALUES:,} values or {_MOST_CHARACTERS:,} characters")
        if depth > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} levels deep")
        if isinstance(each, Mapping):
            pending += ((inner, depth + 1) for pair in each.items() for inner in pair)
        elif isinstance(each, (list, tuple)):
            pending += ((inner, depth + 1) for inner in each)
