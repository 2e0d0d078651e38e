"""Values and types in words: how TOML would write a value, and what an annotation accepts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Literal, get_args, get_origin

from darkside_cli.config.schema import (
    Option,
    is_schema,
    named_kind,
    schema_fields,
    union_members,
    without_none,
)

NO_OPTION = Option()
NONE_TEXT = "none"
_SIMPLE = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
_SHOWN_CHARACTERS = 80


def near_matches(name: str, known: Iterable[str]) -> str | None:
    """``did you mean x or y?``, or None if nothing in ``known`` is near."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else None


def show(value: Any) -> str:
    """``value`` as TOML would write it, on one line and not too long, for messages."""
    text = _toml_like(plain(value))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _toml_like(value: Any) -> str:
    if value is None:
        return NONE_TEXT
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(_toml_like(each) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_toml_like(each)}' for key, each in value.items())}}}"
    return str(value)


def plain(value: Any, *, none: Any = None) -> Any:
    """``value`` in the types that TOML and JSON have; ``none`` stands for None."""
    if value is None:
        return none
    if isinstance(value, Enum):
        return enum_name(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(each, none=none) for each in value]
    if isinstance(value, Mapping):
        return {str(key): plain(each, none=none) for key, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        table: dict[str, Any] = {}
        for name, each in schema_fields(type(value)).items():
            inner = getattr(value, name)
            shown = plain(inner, none=none)
            table[name] = {**kind, **shown} if (kind := named_kind(each, inner)) else shown
        return table
    return value


def enum_name(member: Enum) -> str | int | float:
    """How a configuration calls ``member``: by its value if that is text or a number, else by its name."""
    value = member.value
    return value if isinstance(value, (str, int, float)) else member.name


def accepted(annotation: Any, option: Option = NO_OPTION) -> str:
    """Say what ``annotation`` takes ("a number of at least 0 or none").

    Raises TypeError for annotations that a configuration cannot hold.
    """
    kind, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return "any value"
    if annotation is type(None):
        return NONE_TEXT
    if members := union_members(annotation):
        none_last = sorted(members, key=lambda member: member is type(None))
        return " or ".join(accepted(member, option) for member in none_last)
    if kind is Literal:
        return _one_of(_toml_like(plain(choice)) for choice in arguments)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _one_of(_toml_like(enum_name(member)) for member in annotation)
    if annotation in (int, float):
        return _SIMPLE[annotation] + _limits(option)
    if annotation is str and option.choices_from is not None and not option.open_ended:
        return _one_of(map(_toml_like, option.choices()))
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if is_schema(annotation):
        return "a table"
    if (
        kind is list
        or annotation is list
        or annotation is tuple
        or (kind is tuple and arguments[1:] == (...,))
    ):
        return f"a list, each item {accepted(arguments[0] if arguments else Any, option)}"
    if kind is tuple:
        items = ", ".join(accepted(each, option) for each in arguments)
        return f"a list of {len(arguments)} ({items})" if items else "an empty list"
    if is_table(annotation):
        return f"a table, each value {accepted(table_value(annotation), option)}"
    raise TypeError(f"a configuration cannot hold {annotation!r}")


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"


def _limits(option: Option) -> str:
    low, high = option.minimum, option.maximum
    if low is not None and high is not None:
        return f" from {_bound(low)} to {_bound(high)}"
    if low is not None:
        return f" of at least {_bound(low)}"
    return f" of at most {_bound(high)}" if high is not None else ""


def _bound(number: float) -> str:
    if number != int(number):
        return f"{number:g}"
    return f"{int(number):,}" if abs(number) >= 10_000 else f"{int(number)}"


def is_table(annotation: Any) -> bool:
    """Whether ``annotation`` is ``dict`` or ``dict[str, X]``. Raises TypeError for other kinds of keys."""
    inner = without_none(annotation)
    if inner is not dict and get_origin(inner) is not dict:
        return False
    if get_args(inner) and get_args(inner)[0] is not str:
        raise TypeError(f"a configuration cannot hold {annotation!r}: keys are texts")
    return True


def table_value(annotation: Any) -> Any:
    """Return X for ``dict[str, X]``."""
    arguments = get_args(without_none(annotation))
    return arguments[1] if arguments else Any
