"""Names for things: a registry maps a name to a frozen entry, without importing what the entry points to.

Entries carry ``target="package.module:attribute"`` and metadata only, so command-line choices, completions, tables
and documentation can be made from them in milliseconds; :func:`resolve` imports the code when work begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from darkside_cli.errors import UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One registered thing. ``aliases`` are other names it answers to; ``target`` is where its code is."""

    name: str
    summary: str
    target: str = ""
    aliases: tuple[str, ...] = ()


E_co = TypeVar("E_co", bound=Entry, covariant=True)


class Registry(Generic[E_co]):
    """An ordered, read-only collection of entries. ``what`` names one of them in error messages ("model").

    Raises ValueError at construction if two entries claim a name.
    """

    def __init__(self, what: str, entries: tuple[E_co, ...]) -> None:
        self.what = what
        self._entries = {entry.name: entry for entry in entries}
        self._aliases: dict[str, str] = {}
        if len(self._entries) != len(entries):
            raise ValueError(f"a {what} is registered twice")
        for entry in entries:
            for alias in entry.aliases:
                if alias in self._entries or alias in self._aliases:
                    raise ValueError(f"{what} name {alias!r} is registered twice")
                self._aliases[alias] = entry.name

    def __iter__(self) -> Iterator[E_co]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._aliases

    def names(self, *, aliases: bool = False) -> list[str]:
        """Registered names in order; with ``aliases`` the other names follow."""
        return [*self._entries, *(self._aliases if aliases else ())]

    def get(self, name: str, *, extra_hint: str | None = None) -> E_co:
        """Entry called ``name`` (or having it as an alias).

        Raises UnknownNameError, which names the near matches.
        """
        entry = self._entries.get(self._aliases.get(name, name))
        if entry is None:
            raise UnknownNameError(self.what, name, self.names(aliases=True), extra_hint=extra_hint)
        return entry


def resolve(target: str) -> Any:
    """Import what ``"package.module:attribute"`` points to."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
