"""Tables of rules that say what each key of a step becomes here, and what is said of a key that has no rule.

A rule's pattern is a dotted key in which ``*`` stands for one part and ``{a,b}`` for either. Values are leaves:
lists count as one. Every leaf has to meet a rule; the first in the table that fits is taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from darkside_cli.scenario.tree import Node, Table, dotted, plain

Converted = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """A key of a scenario that something is to be said about: where it is, and what."""

    path: str
    place: str
    value: Any
    reason: str

    def __str__(self) -> str:
        shown = json.dumps(self.value, default=str)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return f"{self.place}: {self.path} = {shown}: {self.reason}"


@dataclass(frozen=True)
class Rule:
    """What is done with the leaves that ``pattern`` fits.

    ``convert`` gives our keys and values, or raises ValueError with the reason why it cannot.
    """

    pattern: str
    convert: Callable[[Any], Converted]
    without_effect: str = ""

    def fits(self, key: str) -> bool:
        """Whether the rule is for the leaf ``key``."""
        return _compiled(self.pattern).fullmatch(key) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    text = ""
    for part in re.split(r"(\{[^}]*\}|\*)", pattern):
        if part == "*":
            text += "[^.]+"
        elif part.startswith("{"):
            text += f"(?:{'|'.join(map(re.escape, part[1:-1].split(',')))})"
        else:
            text += re.escape(part)
    return re.compile(text)


def to(pattern: str, key: str, convert: Callable[[Any], Any] | None = None) -> Rule:
    """The value, converted, becomes our ``key``."""
    return Rule(pattern, lambda value: {key: convert(value) if convert else value})


def into(pattern: str, convert: Callable[[Any], Converted]) -> Rule:
    """The value becomes several keys of ours, or none."""
    return Rule(pattern, convert)


def must_be(pattern: str, *allowed: Any) -> Rule:
    """Only these values are translated: they are what darkside does."""

    def check(value: Any) -> Converted:
        if not any(_alike(value, each) for each in allowed):
            shown = " or ".join(json.dumps(each) for each in allowed)
            raise ValueError(f"only {shown} is translated")
        return {}

    return Rule(pattern, check)


def _alike(value: Any, other: Any) -> bool:
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, str) and isinstance(other, str):
        return value.replace(" ", "") == other.replace(" ", "")
    return bool(value == other)


def no_matter(pattern: str, why: str) -> Rule:
    """The key changes nothing here; ``why`` is said where a person asks for it."""
    return Rule(pattern, lambda _: {}, why)


@dataclass
class Translated:
    """What rules made of a step's leaves."""

    values: dict[str, Any] = field(default_factory=dict)
    problems: list[Finding] = field(default_factory=list)
    without_effect: list[Finding] = field(default_factory=list)
    sources: dict[str, Finding] = field(default_factory=dict)

    def take(self, key: str, default: Any = None) -> Any:
        """Value for ``key``, which is then no option any more."""
        return self.values.pop(key, default)


def flatten(
    table: Table, whole: Collection[str] = (), base: Sequence[Any] = ()
) -> Iterable[tuple[str, Node]]:
    """Leaves below ``table`` by their dotted keys; lists, empty mappings and those of ``whole`` are leaves."""
    for key, node in table.entries.items():
        path = (*base, key)
        if isinstance(node, Table) and node.entries and dotted(path) not in whole:
            yield from flatten(node, whole, path)
        else:
            yield dotted(path), node


def apply_rules(
    parameters: Table, rules: Sequence[Rule], where: str, *, whole: Collection[str] = ()
) -> Translated:
    """Translate the leaves of a step by ``rules``; ``where`` is the step's path, for what is said about them.

    Mappings at the keys ``whole`` count as leaves.
    """
    result = Translated()
    for key, node in flatten(parameters, whole):
        value = plain(node)
        place = str(node.place)
        path = f"{where}.{key}"
        rule = next((rule for rule in rules if rule.fits(key)), None)
        if rule is None:
            result.problems.append(Finding(path, place, value, "darkside has no counterpart of this key"))
            continue
        if rule.without_effect:
            result.without_effect.append(Finding(path, place, value, rule.without_effect))
            continue
        try:
            converted = rule.convert(value)
        except (ValueError, TypeError) as error:
            result.problems.append(Finding(path, place, value, str(error)))
            continue
        for ours, each in converted.items():
            _set(result, ours, each, Finding(path, place, value, ""))
    return result


def _set(result: Translated, key: str, value: Any, source: Finding) -> None:
    before = result.sources.get(key)
    if before is None or result.values[key] == value:
        result.values[key] = value
        result.sources[key] = source
        return
    reason = f"darkside has one value for this and {before.path} ({before.place}), which says otherwise"
    result.problems.append(Finding(source.path, source.place, source.value, reason))


def with_lists(values: Mapping[str, Any], defaults: Mapping[str, list[Any]]) -> dict[str, Any]:
    """``values`` with ``key[0]``, ``key[1]`` … made one list ``key``; ``defaults`` has what is not given."""
    result = {key: value for key, value in values.items() if not key.endswith("]")}
    for key, default in defaults.items():
        given = [values.get(f"{key}[{position}]", each) for position, each in enumerate(default)]
        if any(f"{key}[{position}]" in values for position in range(len(default))):
            result[key] = given
    return result
