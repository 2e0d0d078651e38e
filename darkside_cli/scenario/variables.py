"""``${a.b.0}`` in scenarios: what a text stands for, given what can be referred to.

A text that is one variable and nothing else stands for the value itself, of whatever type; in a longer text
the value is written as Python writes it (``True``, ``3``). Values that are texts with variables are resolved
too. ``${`` without its ``}`` is text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_MAX_TEXT = 1 << 16


class UndefinedError(Exception):
    """Variable ``name`` stands for nothing: ``reason``."""

    def __init__(self, name: str, reason: str, hint: str | None = None) -> None:
        super().__init__(name, reason)
        self.name, self.reason, self.hint = name, reason, hint


class Unknown(str):
    """Stands for a value that only a run can tell, as the variable that was written; it stays as it is."""


Lookup = Callable[[str], Any]
"""Gives the value of a variable (as it was written), or raises UndefinedError."""


def look_up(name: str, reference: Mapping[str, Any]) -> Any:
    """Value at the dotted path ``name`` in ``reference``; numbers count the items of lists.

    Raises UndefinedError, which says how far the path leads.
    """
    value: Any = reference
    seen: list[str] = []
    for part in name.split("."):
        place = f"'{'.'.join(seen)}'" if seen else "what can be referred to"
        if isinstance(value, Mapping):
            found = value.get(part, value.get(int(part)) if _is_number(part) else None)
            if found is None and part not in value and not (_is_number(part) and int(part) in value):
                known = [str(key) for key in value]
                near = get_close_matches(part, known, n=3, cutoff=0.6)
                hint = (
                    f"did you mean {' or '.join(near)}?"
                    if near
                    else f"it has {', '.join(known[:12]) or 'nothing'}"
                )
                raise UndefinedError(name, f"{place} has no '{part}'", hint)
            value = found
        elif isinstance(value, list):
            if not _is_number(part) or int(part) >= len(value):
                raise UndefinedError(name, f"{place} is a list of {len(value)} items, without '{part}'")
            value = value[int(part)]
        else:
            raise UndefinedError(name, f"{place} is a single value, without '{part}'")
        seen.append(part)
    return value


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) < 10


def substitute(value: Any, lookup: Lookup, inside: tuple[str, ...] = ()) -> Any:
    """``value`` with all variables in it, in keys too, replaced by what they stand for.

    ``inside`` are the variables on the way. Raises UndefinedError, also for a variable that stands for itself.
    """
    if isinstance(value, Mapping):
        return {
            substitute(key, lookup, inside): substitute(each, lookup, inside) for key, each in value.items()
        }
    if isinstance(value, list):
        return [substitute(each, lookup, inside) for each in value]
    if not isinstance(value, str) or isinstance(value, Unknown):
        return value
    whole = VARIABLE.fullmatch(value)
    if whole:
        return _value(whole[1], lookup, inside)
    text = VARIABLE.sub(lambda found: str(_value(found[1], lookup, inside)), value)
    if len(text) > max(_MAX_TEXT, len(value)):
        raise UndefinedError(value[:40], "the text becomes too long")
    return text


def _value(name: str, lookup: Lookup, inside: tuple[str, ...]) -> Any:
    name = name.strip()
    if name in inside:
        raise UndefinedError(name, f"it stands for itself: {' -> '.join((*inside, name))}")
    return substitute(lookup(name), lookup, (*inside, name))
