"""One value against one annotation: what a type accepts, in words, and the conversion from what TOML can say.

A field that may be None takes the text ``none`` (TOML has no null); it can therefore not hold that text
itself.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
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
from darkside_cli.errors import ConfigError

Where = tuple[str | int, ...]
BuildTable = Callable[[type, Mapping[str, Any], Where], Any]
NO_OPTION = Option()
NONE_TEXT = "none"
_SIMPLE = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
_SHOWN_CHARACTERS = 80


class MismatchError(Exception):
    """``value``, at ``where`` inside of what was given, is not what is ``accepted``; ``hint`` is advice."""

    def __init__(self, value: Any, accepted: str, *, where: Where = (), hint: str | None = None) -> None:
        super().__init__(value, accepted)
        self.value, self.accepted, self.where, self.hint = value, accepted, where, hint


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


def cast(
    value: Any, annotation: Any, option: Option = NO_OPTION, *, build: BuildTable, where: Where = ()
) -> Any:
    """``value`` as ``annotation`` wants it: lists as tuples, texts as paths and enum members, ints as floats.

    ``build`` makes an instance of a schema from a table. Raises MismatchError.
    """
    kind, arguments = get_origin(annotation), get_args(annotation)

    def mismatch(hint: str | None = None) -> MismatchError:
        return MismatchError(value, accepted(annotation, option), where=where, hint=hint)

    if annotation is Any:
        return value
    if members := union_members(annotation):
        return _cast_union(value, annotation, members, option, build=build, where=where)
    if annotation is type(None):
        if not _is_none(value):
            raise mismatch()
        return None
    if kind is Literal:
        return _pick(value, [(plain(choice, none=NONE_TEXT), choice) for choice in arguments], mismatch)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _pick(value, [(enum_name(member), member) for member in annotation], mismatch)
    if annotation in (int, float):
        return _cast_number(value, annotation, option, mismatch)
    if annotation is bool:
        if not isinstance(value, bool):
            raise mismatch()
        return value
    if annotation is str:
        if not isinstance(value, str):
            raise mismatch()
        known = () if option.open_ended else option.choices()
        if known and value not in known:
            raise mismatch(near_matches(value, known))
        return value
    if annotation is Path:
        return _cast_path(value, mismatch)
    if is_schema(annotation):
        if not isinstance(value, Mapping):
            raise mismatch()
        return build(annotation, value, where)
    if is_table(annotation):
        if not isinstance(value, Mapping):
            raise mismatch()
        item = table_value(annotation)
        return {
            str(key): cast(each, item, option, build=build, where=(*where, str(key)))
            for key, each in value.items()
        }
    if annotation not in (list, tuple) and kind not in (list, tuple):
        raise TypeError(f"a configuration cannot hold {annotation!r}")
    if not isinstance(value, (list, tuple)):
        raise mismatch()
    if kind is tuple and arguments[1:] != (...,):
        if len(value) != len(arguments):
            raise mismatch()
        types = arguments
    else:
        types = (arguments[0] if arguments else Any,) * len(value)
    items = [
        cast(each, item, option, build=build, where=(*where, index))
        for index, (each, item) in enumerate(zip(value, types, strict=True))
    ]
    return items if annotation is list or kind is list else tuple(items)


def _cast_union(
    value: Any, annotation: Any, members: tuple[Any, ...], option: Option, *, build: BuildTable, where: Where
) -> Any:
    if type(None) in members and _is_none(value):
        return None
    rest = [member for member in members if member is not type(None)]
    problems: list[MismatchError] = []
    for member in rest:
        try:
            return cast(value, member, option, build=build, where=where)
        except MismatchError as problem:
            problems.append(problem)
        except ConfigError:  # a table that is not one of this member's
            if len(rest) == 1:
                raise
    if len(problems) == 1 and problems[0].where != where:  # something inside a list: name that
        raise problems[0]
    hint = next((problem.hint for problem in problems if problem.hint), None)
    raise MismatchError(value, accepted(annotation, option), where=where, hint=hint)


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() == NONE_TEXT)


def _pick(value: Any, choices: list[tuple[Any, Any]], mismatch: Callable[[str | None], MismatchError]) -> Any:
    """Find ``value`` among ``choices``, which are pairs (what it is called, what it stands for)."""
    for name, choice in choices:
        # true is not 1 and 1.0 is not 1 here, although they are equal to Python.
        alike = isinstance(value, type(name)) and isinstance(value, bool) == isinstance(name, bool)
        if choice is value or (alike and value == name):
            return choice
    texts = [name for name, _ in choices if isinstance(name, str)]
    raise mismatch(near_matches(value, texts) if isinstance(value, str) else None)


def _cast_number(
    value: Any, kind: Any, option: Option, mismatch: Callable[[str | None], MismatchError]
) -> int | float:
    number: int | float
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise mismatch(None)
    if kind is int:
        if isinstance(value, float):
            meant = int(value) if value.is_integer() else None
            raise mismatch(None if meant is None or not _within(meant, option) else f"write {meant}")
        number = value
    else:
        try:
            number = float(value)
        except OverflowError:
            raise mismatch(None) from None
    if not _within(number, option):
        raise mismatch(None)
    return number


def _within(number: float, option: Option) -> bool:
    # Written so that nan, which compares false with everything, is refused wherever there is a bound.
    return (option.minimum is None or number >= option.minimum) and (
        option.maximum is None or number <= option.maximum
    )


def _cast_path(value: Any, mismatch: Callable[[str | None], MismatchError]) -> Path:
    if not isinstance(value, (str, PurePath)) or value == "":
        raise mismatch(None)
    path = Path(value)
    if path.parts[:1] != ("~",):
        return path
    try:
        return path.expanduser()
    except RuntimeError:
        raise mismatch("the home folder '~' cannot be found: write the whole path") from None
