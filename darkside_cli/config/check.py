"""What is asked of a configuration's values, asked of an instance: one made in Python, or stated in a file."""

from __future__ import annotations

from typing import Any

from darkside_cli.config.schema import is_schema, schema_fields, without_none
from darkside_cli.config.values import MismatchError, Where, cast, show
from darkside_cli.errors import ConfigError


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
                f"{place}{inside} must be {problem.accepted}, not {show(problem.value)}"
            ) from None
        if each.option.validate is not None:
            try:
                each.option.validate(value)
            except ValueError as error:
                raise ConfigError(f"{place} = {show(value)}: {error}") from error
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
