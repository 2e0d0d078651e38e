"""Files that say which part of each image counts: JSON or CSV, name to left, upper, right, lower."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from darkside_cli.errors import UsageError
from darkside_cli.regular_file import read_list_text

Box = tuple[float, float, float, float]
_MAX_BYTES = 1 << 28  # a million boxes have a third of that
_FORMS = 'JSON {"name": [x1, y1, x2, y2], …} or CSV lines name,x1,y1,x2,y2'


def read_boxes(path: str | Path) -> dict[str, Box]:
    """Boxes (left, upper, right, lower, in pixels) by image name from a ``.json`` or ``.csv`` file.

    A CSV file may begin with a line of column titles. Raises MissingAssetError if there is no such file, UsageError
    if it is no such list, a box is empty, or an image has two.
    """
    path = Path(path)
    text = read_list_text(path, limit_bytes=_MAX_BYTES, hint=f"boxes are {_FORMS}")
    entries = _from_json(text, path) if path.suffix.lower() == ".json" else _from_csv(text)
    boxes: dict[str, Box] = {}
    for name, values in entries:
        if name in boxes:
            raise UsageError(f"{path} has two boxes for '{name}'", hint="leave one of them")
        boxes[name] = _box(name, values, path)
    return boxes


def _from_json(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {error}", hint=f"boxes are {_FORMS}") from error
    if not isinstance(content, Mapping):
        raise UsageError(f"{path} holds no boxes", hint=f"boxes are {_FORMS}")
    yield from content.items()


def _from_csv(text: str) -> Iterator[tuple[str, Any]]:
    rows = list(csv.reader(text.splitlines()))
    if rows and len(rows[0]) == 5 and not any(map(_is_number, rows[0][1:])):
        del rows[0]  # the titles of the columns
    yield from ((row[0], row[1:]) for row in rows if row)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _box(name: str, values: Any, path: Path) -> Box:
    try:
        left, upper, right, lower = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{path} has no box for '{name}' but {values!r}", hint=f"boxes are {_FORMS}"
        ) from error
    box = left, upper, right, lower
    if not all(map(math.isfinite, box)) or left >= right or upper >= lower:
        raise UsageError(
            f"{path} has an empty box for '{name}': {values!r}", hint="a box is left, upper, right, lower"
        )
    return box
