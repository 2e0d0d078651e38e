"""What a scenario is made of: tables, lists and values that know their file and line, and how one is laid over another.

An alias (``*name``) is the same node as its anchor: what is laid over one shows in the other, as it does in
the reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from darkside_cli.errors import ConfigError

Key: TypeAlias = "str | int"
Path: TypeAlias = "tuple[Key, ...]"
#: A scenario of more nodes than this, aliases counted as often as they are used, is refused.
MAX_NODES = 100_000
#: Parts that a dotted key may have.
MAX_PARTS = 64


@dataclass(frozen=True)
class Place:
    """Where something was written: ``source`` is a file, or an argument of the command line, which has no lines.

    ``rank`` is the number of the argument that brought it (0: the scenario itself, with its templates).
    """

    source: str
    line: int | None = None
    rank: int = 0

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(eq=False)
class Leaf:
    """One value: a text, a number, true or false, or None."""

    value: Any
    place: Place


@dataclass(eq=False)
class Items:
    """A list."""

    items: list[Node]
    place: Place


@dataclass(eq=False)
class Table:
    """A mapping. ``spread`` marks one that was made of a dotted key, where every part is a text."""

    entries: dict[Key, Node]
    place: Place
    spread: bool = field(default=False)


Node: TypeAlias = "Leaf | Items | Table"


def dotted(path: Iterable[Key]) -> str:
    """``("main", "1_first", 0)`` as ``main.1_first.0``."""
    return ".".join(map(str, path))


def plain(node: Node) -> Any:
    """Only the values: dicts, lists, texts, numbers, None."""
    if isinstance(node, Table):
        return {key: plain(each) for key, each in node.entries.items()}
    return [plain(each) for each in node.items] if isinstance(node, Items) else node.value


def from_plain(value: Any, place: Place) -> Node:
    """Nodes of a value made of dicts, lists and simple values, all at ``place``."""
    if isinstance(value, Mapping):
        return Table({key: from_plain(each, place) for key, each in value.items()}, place)
    if isinstance(value, list):
        return Items([from_plain(each, place) for each in value], place)
    return Leaf(value, place)


def children(node: Node) -> Iterator[tuple[Key, Node]]:
    """Keys (positions of a list) and what is there."""
    if isinstance(node, Table):
        yield from node.entries.items()
    elif isinstance(node, Items):
        yield from enumerate(node.items)


def kind(node: Node) -> str:
    """What ``node`` is, in words."""
    if isinstance(node, Table):
        return "a mapping"
    if isinstance(node, Items):
        return "a list"
    return {str: "a text", type(None): "null", bool: "true or false"}.get(type(node.value), "a number")


def check_size(root: Node, limit: int = MAX_NODES) -> None:
    """Raise ConfigError for a tree that contains itself, or is larger than ``limit`` once aliases are written out."""
    sizes: dict[int, float] = {}

    def size(node: Node) -> float:
        known = sizes.get(id(node))
        if known is not None:
            return known
        sizes[id(node)] = math.nan  # under way
        total = 1.0
        for _, child in children(node):
            total += size(child)
            if math.isnan(total):
                raise ConfigError(
                    f"{child.place}: this contains itself", hint="write it out, without an alias"
                )
            if total > limit:
                raise ConfigError(
                    f"{node.place}: this is too large: more than {limit:,} values once aliases are written out"
                )
        sizes[id(node)] = total
        return total

    size(root)


def nested(path: Path, leaf: Node, place: Place) -> Table:
    """Table with ``leaf`` at ``path`` and nothing else, as a dotted key means it."""
    for key in reversed(path):
        leaf = Table({key: leaf}, place, spread=True)
    assert isinstance(leaf, Table)  # noqa: S101 - a path has at least one part
    return leaf


def split_key(key: str, place: Place) -> Path:
    """Parts of a dotted key. Raises ConfigError if one is empty, or if there are too many."""
    parts = tuple(key.split("."))
    if len(parts) > MAX_PARTS:
        raise ConfigError(f"{place}: a key of {len(parts)} parts: no scenario is that deep")
    if "" in parts:
        raise ConfigError(f"{place}: '{key}' is not a key", hint="names joined by dots, as in network.path")
    return parts


def lay_over(base: Table, over: Table, path: Path = ()) -> None:
    """Lay ``over`` over ``base``, which is changed, with all that shares its nodes.

    Mappings are merged key by key. ``key*`` replaces ``key`` whatever there is, ``key+`` appends to the list
    (or text) that has to be there. A mapping whose keys are whole numbers edits items of a list. Of two lists
    neither can be meant to win, so that is an error; of everything else ``over`` wins.

    Raises ConfigError, which names the key and both places.
    """
    for key, node in list(over.entries.items()):
        name, operator = _operator(key)
        if operator == "*":
            base.entries[name] = node
        elif operator == "+":
            _append(base, name, node, path)
        elif key in base.entries:
            base.entries[key] = _combined(base.entries[key], node, (*path, key))
        else:
            base.entries[key] = node


def _operator(key: Key) -> tuple[Key, str]:
    if isinstance(key, str) and len(key) > 1 and key[-1] in "*+":
        return key[:-1], key[-1]
    return key, ""


def _append(base: Table, name: Key, node: Node, path: Path) -> None:
    where = dotted((*path, name))
    below = base.entries.get(name)
    if below is None:
        raise ConfigError(
            f"{node.place}: {where}+ appends to {where}, which is not there",
            hint="an overlay can append only to what stands in the files before it, not in their templates; "
            f"write {name}*: to set it",
        )
    if isinstance(below, Items) and isinstance(node, Items):
        below.items.extend(list(node.items))
        if len(below.items) > MAX_NODES:
            raise ConfigError(f"{node.place}: {where} becomes too long: more than {MAX_NODES:,} items")
    elif isinstance(below, Leaf) and isinstance(node, Leaf) and kind(below) == kind(node) == "a text":
        base.entries[name] = Leaf(below.value + node.value, node.place)
    else:
        raise ConfigError(
            f"{node.place}: {where}+ gives {kind(node)}, and {where} is {kind(below)} ({below.place})",
            hint="lists are appended to lists, texts to texts",
        )


def _combined(below: Node, above: Node, path: Path) -> Node:
    if isinstance(below, Table) and isinstance(above, Table):
        lay_over(below, above, path)
        return below
    if isinstance(below, Items) and isinstance(above, Items):
        raise ConfigError(
            f"{above.place}: {dotted(path)} is a list here and in {below.place}: which one is meant?",
            hint=f"write {path[-1]}*: to replace it, {path[-1]}+: to append to it, or the positions of the items "
            "to change, as in {0: first}"
            + ("; * and + of an overlay reach the first file, not its templates" if above.place.rank else ""),
        )
    if isinstance(below, Items) and isinstance(above, Table) and (edits := _edits(above)):
        for position, node in edits.items():
            where = (*path, position)
            if not -len(below.items) <= position < len(below.items):
                raise ConfigError(
                    f"{node.place}: there is no {dotted(where)}: the list ({below.place}) has "
                    f"{len(below.items)} items"
                )
            below.items[position] = _combined(below.items[position], node, where)
        return below
    return above


def _edits(table: Table) -> dict[int, Node]:
    """Items of a list by position, if that is what the keys are."""
    positions = {
        int(key): node
        for key, node in table.entries.items()
        if isinstance(key, int) or (table.spread and key.isascii() and key.isdigit())
    }
    return positions if len(positions) == len(table.entries) else {}


def without_operators(node: Node, path: Path = ()) -> None:
    """Carry out what ``key*`` and ``key+`` are left: those in mappings that were never laid over anything."""
    for key, child in children(node):
        without_operators(child, (*path, key))
    if isinstance(node, Table) and any(_operator(key)[1] for key in node.entries):
        written = Table(dict(node.entries), node.place)
        node.entries.clear()
        lay_over(node, written, path)
