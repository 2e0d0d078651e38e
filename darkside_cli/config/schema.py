"""What a schema is: a frozen dataclass whose fields may carry documentation, bounds and choices.

::

    @dataclass(frozen=True, kw_only=True)
    class Optim:
        lr: float = option(2e-4, help="step size of Adam", minimum=0)
        betas: tuple[float, float] = option((0.5, 0.999), help="Adam's decay rates", minimum=0, maximum=1)

Schemas nest. ``load.py`` fills them; :func:`walk` lists their keys, for tables of options and for near
matches.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from darkside_cli.registry import Entry, Registry
from darkside_cli.registry import resolve as import_target

T = TypeVar("T")
_METADATA_KEY = "darkside"
KIND = "kind"
"""Key of a table that says which schema it is of, where it may be of several."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """What is known of a field beyond its type and default.

    ``unit`` is that of the value ("px", "s"). ``choices_from`` is "module:attribute" of a Registry, of names,
    or of a function that returns names; a text that is not among them is refused, unless ``open_ended`` (a
    model may be a path too). ``minimum`` and ``maximum``, both inclusive, hold for every number in the value.
    ``validate`` gets the whole value and raises ValueError with the reason; what concerns several fields
    belongs into the dataclass's ``__post_init__``, which raises ValueError likewise. Unless ``setting``, only Python
    and files give the field a value; it is no key of a configuration.

    For a field that is a table itself, ``kinds`` may be "module:attribute" of a Registry whose targets are schemas,
    subclasses of the annotation: a key ``kind`` in the table then says which of them it is.
    """

    help: str = ""
    unit: str | None = None
    choices_from: str | None = None
    open_ended: bool = False
    minimum: float | None = None
    maximum: float | None = None
    validate: Callable[[Any], None] | None = None
    setting: bool = True
    kinds: str | None = None

    def choices(self) -> tuple[str, ...]:
        """Names that ``choices_from`` points to (imported now), aliases of registry entries included."""
        if self.choices_from is None:
            return ()
        source = import_target(self.choices_from)
        if isinstance(source, Registry):
            return tuple(source.names(aliases=True))
        return tuple(source() if callable(source) else source)

    def schemas(self) -> dict[str, type]:
        """Schemas by the ``kind`` that a table may be of (imported now), the usual one first."""
        if self.kinds is None:
            return {}
        registry: Registry[Entry] = import_target(self.kinds)
        return {entry.name: import_target(entry.target) for entry in registry}


def option(default: Any = MISSING, *, default_factory: Any = MISSING, **known: Any) -> Any:
    """Declare a field of a schema, with what people should know about it: ``known``, as :class:`Option` has it.

    Without ``default`` and ``default_factory`` the field has to be given. Bounds, choices and ``validate``
    are applied to what people give, not to defaults.
    """
    metadata = {_METADATA_KEY: Option(**known)}
    if default_factory is MISSING:
        return field(default=default, metadata=metadata)
    if default is not MISSING:
        raise ValueError("a field has a default or a default_factory, not both")
    return field(default_factory=default_factory, metadata=metadata)


@dataclass(frozen=True)
class SchemaField:
    """One field of a schema, its annotation evaluated."""

    name: str
    annotation: Any
    option: Option
    field: dataclasses.Field[Any]

    def default(self) -> Any:
        """Return the default, made afresh if the field has a factory, or ``dataclasses.MISSING``."""
        if self.field.default_factory is not MISSING:
            return self.field.default_factory()
        return self.field.default


def schema_fields(schema: type, *, settings_only: bool = True) -> Mapping[str, SchemaField]:
    """Fields of ``schema`` that can be given, by name and in order; not only by settings but in Python, if asked for.

    Raises TypeError if it is not a frozen dataclass: that is a fault of the program, not of its user.
    """
    key: Any = schema  # mypy does not see that a type can be hashed
    return _schema_fields(key, settings_only)


@cache
def _schema_fields(schema: type, settings_only: bool) -> Mapping[str, SchemaField]:
    if not is_schema(schema):
        raise TypeError(f"{schema!r} is not a frozen dataclass")
    hints = get_type_hints(schema)
    fields = [
        SchemaField(each.name, hints[each.name], each.metadata.get(_METADATA_KEY, Option()), each)
        for each in dataclasses.fields(schema)
        if each.init
    ]
    return MappingProxyType({each.name: each for each in fields if each.option.setting or not settings_only})


def is_schema(annotation: Any) -> bool:
    """Whether ``annotation`` is a frozen dataclass."""
    return (
        isinstance(annotation, type)
        and dataclasses.is_dataclass(annotation)
        and bool(annotation.__dataclass_params__.frozen)  # type: ignore[attr-defined]
    )


def union_members(annotation: Any) -> tuple[Any, ...]:
    """Members of ``X | Y`` or ``Union[X, Y]``; empty if ``annotation`` is no union."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()


def without_none(annotation: Any) -> Any:
    """Return X for ``X | None``, and ``annotation`` itself for anything else."""
    rest = [each for each in union_members(annotation) if each is not type(None)]
    return rest[0] if len(rest) == 1 else annotation


@dataclass(frozen=True)
class SchemaKey:
    """One key of a schema that takes a value: where it is and what is known of it.

    ``default`` is ``dataclasses.MISSING`` if the key has to be given.
    """

    path: tuple[str, ...]
    annotation: Any
    option: Option
    default: Any


def walk(schema: type, *, default: Any = MISSING) -> Iterator[SchemaKey]:
    """Every key of ``schema``, nested schemas (optional ones too) opened, in the order of declaration.

    ``default`` is an instance of ``schema`` to take the defaults from, instead of the schema's own.
    """
    for each in schema_fields(schema).values():
        value = each.default() if default is MISSING else getattr(default, each.name)
        inner = without_none(each.annotation)
        if is_schema(inner):
            for key in _walk_table(each, inner, value):
                yield SchemaKey((each.name, *key.path), key.annotation, key.option, key.default)
        else:
            yield SchemaKey((each.name,), each.annotation, each.option, value)


def _walk_table(table: SchemaField, inner: type, value: Any) -> Iterator[SchemaKey]:
    if table.option.kinds is None:
        yield from walk(inner, default=value if isinstance(value, inner) else MISSING)
        return
    kinds = {schema: name for name, schema in table.option.schemas().items()}
    yield SchemaKey((KIND,), str, kind_option(table.option), kinds[type(value)])
    keys = {key.path: key for kind in kinds for key in walk(kind)}
    yield from {**keys, **{key.path: key for key in walk(type(value), default=value)}}.values()


def kind_option(option: Option) -> Option:
    """What is known of the key ``kind`` of a table that may be of several."""
    return Option(help="which of these it is", choices_from=option.kinds)


def named_kind(table: SchemaField, value: Any) -> dict[str, str]:
    """The key ``kind`` of ``value``, in a field that has kinds; nothing for that of the field's default."""
    if table.option.kinds is None or type(value) is type(table.default()):
        return {}
    return {KIND: next(name for name, schema in table.option.schemas().items() if type(value) is schema)}


def as_kind(schema: type[T], base: Any) -> T:
    """The defaults of ``schema``, but for fields that ``base``, of another kind, has too and otherwise than usual."""
    fields = schema_fields(schema)
    return schema(
        **{
            name: getattr(base, name)
            for name, each in schema_fields(type(base)).items()
            if name in fields
            and fields[name].annotation == each.annotation
            and getattr(base, name) != each.default()
        }
    )
