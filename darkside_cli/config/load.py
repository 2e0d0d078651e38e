"""A command's configuration from all the places it is given in, each laid over the one before::

    default  <  preset  <  TOML file  <  --set a.b=1  <  flag

Tables are merged key by key (``dict[str, X]`` fields too), everything else, lists included, is replaced as a
whole. An optional table (``Schedule | None``) comes into being when one of its keys is given, and ``none``
takes it away together with what lower layers had put into it. Relative paths are relative to the working
directory; a leading ``~`` is the home folder. How values are written after ``--set`` is told in
``sources.py``.

A preset's settings give way where they have no meaning: those of one kind of table (``discriminator.kind``) when a
layer above chooses another kind, and those of the method it was made for when another method is chosen.

Every value is checked against its annotation; whatever does not fit is a ConfigError that names the key, the
value, where it came from and what would be accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar

import tomli_w

from darkside_cli.config import sources
from darkside_cli.config.schema import (
    KIND,
    Option,
    as_kind,
    is_schema,
    kind_option,
    schema_fields,
    walk,
    without_none,
)
from darkside_cli.config.sources import Given, Origin, Table, dotted, preset_names
from darkside_cli.config.values import BuildTable, MismatchError, Where, cast
from darkside_cli.config.words import NONE_TEXT, accepted, is_table, plain, show, table_value
from darkside_cli.errors import ConfigError

__all__ = ["Origin", "Resolved", "preset_names", "resolve"]

T = TypeVar("T")
_LISTED_KEYS = 12


def _without_separators(key: str) -> str:
    """Strip ``key`` of what joins its words: "image-size", "image_size" and "image.size" are alike."""
    return re.sub(r"[-_.]", "", key)


@dataclass(frozen=True)
class Resolved(Generic[T]):
    """A configuration and where each of its values came from.

    ``origins`` has one entry per dotted key that takes a value ("optim.lr"); a list is one value.
    """

    value: T
    origins: Mapping[str, Origin]

    def as_dict(self) -> dict[str, Any]:
        """Every value, nested as in the schema, in JSON's types (paths as texts, tuples as lists)."""
        nested: dict[str, Any] = plain(self.value)
        return nested

    def to_toml(self) -> str:
        """Every value as TOML (None is "none"); given back as ``file``, it resolves to an equal value."""
        return tomli_w.dumps(plain(self.value, none=NONE_TEXT))


def resolve(
    schema: type[T],
    *,
    preset: str | Path | None = None,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    command: str | None = None,
    made_for: type | None = None,
) -> Resolved[T]:
    """Fill ``schema``, a frozen dataclass, from all layers.

    ``preset`` is "COMMAND/NAME", a "NAME" shipped for ``command``, or the path of a TOML file; ``overrides``
    are the texts after ``--set``; ``flags`` maps dotted keys to values, None meaning that the flag was not
    given. ``made_for`` is the schema that the preset was written for, if another: what only that has is left out.

    Raises ConfigError for anything that people got wrong (UnknownNameError for a preset), TypeError for a
    schema that a configuration cannot hold.
    """
    for key in walk(schema):
        accepted(
            key.annotation, key.option
        )  # a wrong schema is found at once, not when somebody sets the key
    layers: list[Table] = []
    if preset is not None:
        made = sources.read_preset(preset, command=command)
        layers.append(made if made_for is None else _in_common(made, made_for, schema))
    if file is not None:
        layers.append(sources.read_toml(file))
    layers.extend(sources.parse_override(text) for text in overrides)
    layers.extend(sources.flag_table(key, value) for key, value in (flags or {}).items() if value is not None)
    given = Table(Origin("default"))
    for layer in layers:
        given = sources.merge(given, layer)
    builder = _Builder(schema, borrowed=made_for is not None)
    value = builder.table(schema, given, MISSING, ())
    return Resolved(value, builder.origins)


def _in_common(given: Table, made_for: type, schema: type) -> Table:
    """Return ``given``, a preset for ``made_for``, without what ``schema`` has not; slips of the pen stay."""
    return sources.without(given, _tables_and_keys(made_for) - _tables_and_keys(schema))


def _tables_and_keys(schema: type) -> set[tuple[str, ...]]:
    return {key.path[:end] for key in walk(schema) for end in range(1, len(key.path) + 1)}


class _Builder:
    """Makes one configuration out of a table of what was given, noting where every value came from."""

    def __init__(self, root: type, *, borrowed: bool = False) -> None:
        self.root = root
        self.borrowed = borrowed  # the preset was written for another schema, with tables of other kinds
        self.origins: dict[str, Origin] = {}

    def table(self, schema: type[T], given: Table, base: Any, path: Where) -> T:
        """Make an instance of ``schema``; what ``given`` lacks is as in ``base`` or the default."""
        fields = schema_fields(schema)
        for name, node in given.entries.items():
            if name not in fields:
                raise self._unknown_key(schema, (*path, name), node.origin, path)
        values = {}
        for name, field in fields.items():
            below = field.default() if base is MISSING else getattr(base, name)
            values[name] = self._value(
                field.annotation, field.option, given.entries.get(name), below, (*path, name)
            )
        try:
            # What is no setting is kept as ``base`` has it.
            hidden = (
                schema_fields(schema, settings_only=False).keys() - fields if type(base) is schema else ()
            )
            return schema(**values, **{name: getattr(base, name) for name in hidden})
        except ValueError as error:
            raise self._refused(error, path, values) from error

    def _value(
        self, annotation: Any, option: Option, node: Given | Table | None, base: Any, path: Where
    ) -> Any:
        inner = without_none(annotation)
        if node is None:
            if base is not MISSING:
                self._note_defaults(base, path)
                return base
            if is_schema(annotation):
                return self.table(annotation, Table(Origin("default")), MISSING, path)
            raise ConfigError(
                f"{dotted(path)} is not set and has no default",
                hint=f"give {accepted(annotation, option)}, in a file or with --set {dotted(path)}=VALUE",
            )
        if isinstance(node, Table):
            if option.kinds is not None:
                return self._of_kind(option, node, base, path)
            if is_schema(inner):
                return self.table(inner, node, base if isinstance(base, inner) else MISSING, path)
            if is_table(inner):
                return self._mapping(inner, option, node, base, path)
            node = Given(node.plain(), node.origin)
        return self._leaf(annotation, option, node, base, path)

    def _of_kind(self, option: Option, given: Table, base: Any, path: Where) -> Any:
        """Make a table of the kind that it says, or else of that of ``base``."""
        entries, schemas = dict(given.entries), option.schemas()
        usual = next(name for name, schema in schemas.items() if type(base) is schema)
        where = (*path, KIND)
        chosen = entries.pop(KIND, None)
        kind = self._value(str, kind_option(option), chosen, usual, where)
        if kind == usual:
            del self.origins[dotted(where)]  # it is not written either
        else:
            base = as_kind(schemas[kind], base)
        # What a preset says of one kind is not meant for another, which was chosen after it.
        gives_way = self.borrowed if chosen is None else chosen.origin.kind != "preset"
        for name in entries.keys() - schema_fields(schemas[kind]).keys():
            if others := [each for each, schema in schemas.items() if name in schema_fields(schema)]:
                if gives_way and entries[name].origin.kind == "preset":
                    del entries[name]
                    continue
                raise ConfigError(
                    f"{dotted((*path, name))} is no setting of {kind} ({entries[name].origin})",
                    hint=f"{' or '.join(f'{dotted(where)} = {each}' for each in others)} has it",
                )
        return self.table(schemas[kind], Table(given.origin, entries), base, path)

    def _mapping(
        self, annotation: Any, option: Option, given: Table, base: Any, path: Where
    ) -> dict[str, Any]:
        below: Mapping[str, Any] = base if isinstance(base, Mapping) else {}
        item = table_value(annotation)
        result = {
            key: self._value(item, option, given.entries.get(key), below.get(key, MISSING), (*path, key))
            for key in [*below, *(key for key in given.entries if key not in below)]
        }
        if not result:
            self.origins[dotted(path)] = given.origin
        self._check(option, result, given.origin, path)
        return result

    def _leaf(self, annotation: Any, option: Option, given: Given, base: Any, path: Where) -> Any:
        def build(schema: type, mapping: Mapping[str, Any], where: Where) -> Any:
            # Inside of a list there are no keys to note origins for: the list as a whole has one.
            return _Builder(self.root).table(
                schema, sources.as_table(mapping, given.origin), MISSING, (*path, *where)
            )

        try:
            value = self._cast(annotation, option, given, build)
        except MismatchError as problem:
            hint = problem.hint
            if hint is None and not problem.where and base is not MISSING:
                hint = f"the default is {show(base)}"
            place = dotted((*path, *problem.where))
            raise ConfigError(
                f"{place} = {show(problem.value)} ({given.origin}) is not {problem.accepted}", hint=hint
            ) from None
        self._check(option, value, given.origin, path)
        self.origins[dotted(path)] = given.origin
        return value

    @staticmethod
    def _cast(annotation: Any, option: Option, given: Given, build: BuildTable) -> Any:
        try:
            return cast(given.value, annotation, option, build=build)
        except MismatchError as problem:
            if given.text is None:
                raise
            try:  # --set name=2024, where the name is a text
                return cast(given.text, annotation, option, build=build)
            except MismatchError:
                raise problem from None

    def _check(self, option: Option, value: Any, origin: Origin, path: Where) -> None:
        if option.validate is None:
            return
        try:
            option.validate(value)
        except ValueError as error:
            raise ConfigError(
                f"{dotted(path)} = {show(value)} ({origin}): {error}", hint=option.help or None
            ) from error

    def _note_defaults(self, value: Any, path: Where) -> None:
        if is_schema(type(value)):
            for name in schema_fields(type(value)):
                self._note_defaults(getattr(value, name), (*path, name))
        elif isinstance(value, Mapping) and value:
            for key, each in value.items():
                self._note_defaults(each, (*path, key))
        else:
            self.origins[dotted(path)] = Origin("default")

    def _unknown_key(self, schema: type, path: Where, origin: Origin, table: Where) -> ConfigError:
        wanted, last = dotted(path), str(path[-1])
        everywhere = [dotted(key.path) for key in walk(self.root)]
        here = [dotted((*table, *key.path)) for key in walk(schema)]
        siblings = {name: dotted((*table, name)) for name in schema_fields(schema)}
        # "lr" means "optim.lr" more probably than some key that only looks like it, and a slip of the finger
        # is more probable than a key of another table. Whole keys of one table all look somewhat alike.
        near = [
            key
            for key in everywhere
            if key.rpartition(".")[2] == last or _without_separators(key) == _without_separators(wanted)
        ]
        near = near or [siblings[name] for name in get_close_matches(last, siblings, n=3, cutoff=0.6)]
        near = near or get_close_matches(wanted, everywhere, n=3, cutoff=0.75)
        if not near:
            ends = get_close_matches(last, {key.rpartition(".")[2] for key in everywhere}, n=3, cutoff=0.6)
            near = [key for key in everywhere if key.rpartition(".")[2] in ends]
        if near:
            hint = f"did you mean {' or '.join(near[:3])}?"
        else:
            more = ", …" if len(here) > _LISTED_KEYS else ""
            hint = f"known here: {', '.join(here[:_LISTED_KEYS])}{more}"
        return ConfigError(f"unknown key '{wanted}' ({origin})", hint=hint)

    def _refused(self, error: ValueError, path: Where, values: Mapping[str, Any]) -> ConfigError:
        """Make an error of what a schema's ``__post_init__`` says about fields that do not go together."""
        given = [
            f"{key} = {show(values[name])} ({self.origins[key]})"
            for name in values
            if (key := dotted((*path, name))) in self.origins and self.origins[key].kind != "default"
        ]
        place = f"{dotted(path)}: " if path else ""
        return ConfigError(f"{place}{error}", hint=f"given: {', '.join(given)}" if given else None)
