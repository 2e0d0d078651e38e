"""One value against one annotation: the conversion from what TOML can say, and the same asked of a whole instance.

A field that may be None takes the text ``none`` (TOML has no null); it can therefore not hold that text
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Literal, get_args, get_origin

from darkside_cli.config import words
from darkside_cli.config.schema import (
    Option,
    is_schema,
    schema_fields,
    union_members,
    without_none,
)
from darkside_cli.config.words import NO_OPTION, NONE_TEXT
from darkside_cli.errors import ConfigError

Where = tuple[str | int, ...]
BuildTable = Callable[[type, Mapping[str, Any], Where], Any]


class MismatchError(Exception):
    """``value``, at ``where`` inside of what was given, is not what is ``accepted``; ``hint`` is advice."""

    def __init__(self, value: Any, accepted: str, *, where: Where = (), hint: str | None = None) -> None:
        super().__init__(value, accepted)
        self.value, self.accepted, self.where, self.hint = value, accepted, where, hint


def cast(
    value: Any, annotation: Any, option: Option = NO_OPTION, *, build: BuildTable, where: Where = ()
) -> Any:
    """``value`` as ``annotation`` wants it: lists as tuples, texts as paths and enum members, ints as floats.

    ``build`` makes an instance of a schema from a table. Raises MismatchError.
    """
    kind, arguments = get_origin(annotation), get_args(annotation)

    def mismatch(hint: str | None = None) -> MismatchError:
        return MismatchError(value, words.accepted(annotation, option), where=where, hint=hint)

    if annotation is Any:
        return value
    if members := union_members(annotation):
        return _cast_union(value, annotation, members, option, build=build, where=where)
    if annotation is type(None):
        if not _is_none(value):
            raise mismatch()
        return None
    if kind is Literal:
        return _pick(value, [(words.plain(choice, none=NONE_TEXT), choice) for choice in arguments], mismatch)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _pick(value, [(words.enum_name(member), member) for member in annotation], mismatch)
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
            raise mismatch(words.near_matches(value, known))
        return value
    if annotation is Path:
        return _cast_path(value, mismatch)
    if is_schema(annotation):
        if not isinstance(value, Mapping):
            raise mismatch()
        return build(annotation, value, where)
    if words.is_table(annotation):
        if not isinstance(value, Mapping):
            raise mismatch()
        item = words.table_value(annotation)
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
    raise MismatchError(value, words.accepted(annotation, option), where=where, hint=hint)


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
    raise mismatch(words.near_matches(value, texts) if isinstance(value, str) else None)


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


# What is asked of a configuration's values, asked of an instance: one made in Python, or stated in a file.


def check_values(config: Any, path: str = "") -> dict[str, Any]:
    """See that the fields of ``config``, an instance of a schema, have their types and are within their bounds.

    Gives the values by field, lists as tuples where the field has tuples. Nested schemas are looked at, too. Raises
    ConfigError that names the field, what it accepts, and what it has.
    """
    values: dict[str, Any] = {}
    for name, each in schema_fields(type(config), settings_only=False).items():
        value = values[name] = getattr(config, name)
        place = f"{path}.{name}" if path else name
        if is_schema(type(value)) and isinstance(value, without_none(each.annotation)):
            check_values(value, place)
            continue
        try:
            values[name] = cast(value, each.annotation, each.option, build=_no_tables)
        except MismatchError as problem:
            inside = "".join(f"[{part}]" for part in problem.where)
            raise ConfigError(
                f"{place}{inside} must be {problem.accepted}, not {words.show(problem.value)}"
            ) from None
        if each.option.validate is not None:
            try:
                each.option.validate(value)
            except ValueError as error:
                raise ConfigError(f"{place} = {words.show(value)}: {error}") from error
    return values


def check_itself(config: Any, path: str = "") -> None:
    """Call it in a frozen dataclass's ``__post_init__``: :func:`check_values`, and lists become tuples, ints floats.

    Raises ConfigError as that does.
    """
    for name, value in check_values(config, path).items():
        object.__setattr__(config, name, value)


def _no_tables(schema: type, values: Any, where: Where) -> Any:
    del schema
    raise MismatchError(values, "a configuration", where=where)
