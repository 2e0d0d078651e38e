"""Checks shared by the configurations of the networks: a bad value is a ConfigError that names the field."""

from __future__ import annotations

from collections.abc import Collection

from darkside_cli.errors import ConfigError


def require_at_least(minimum: int, **values: object) -> None:
    """Every one of ``values`` is an integer of at least ``minimum``.

    Raises ConfigError naming the first field that is not.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise ConfigError(f"{name} must be an integer of at least {minimum}, not {value!r}")


def require_choice(choices: Collection[str], **values: str) -> None:
    """Every one of ``values`` is one of ``choices``.

    Raises ConfigError naming the first field that is not.
    """
    for name, value in values.items():
        if value not in choices:
            raise ConfigError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
