"""Tables of rules that say what each key of a step becomes here, and what is said of a key that has no rule.

A rule's pattern is a dotted key in which ``*`` stands for one part and ``{a,b}`` for either. Values are leaves:
lists count as one. Every leaf has to meet a rule; the first in the table that fits is taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from darkside_cli.scenario.resolve import ResolvedStep
from darkside_cli.scenario.step import PlannedStep
from darkside_cli.scenario.tree import Node, Table, dotted, plain


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

    ``convert`` gives our keys and values, or raises ValueError with the reason why it cannot. ``without_effect`` says
    why the key changes nothing here.
    """

    pattern: str
    convert: Callable[[Any], Mapping[str, Any]]
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


def to(pattern: str, key: str, convert: Callable[[Any], Any] = lambda value: value) -> Rule:
    """The value, converted, becomes our ``key``."""
    return Rule(pattern, lambda value: {key: convert(value)})


def all_to(
    prefix: str, ours: str, keys: Mapping[str, str], convert: Callable[[Any], Any] = lambda value: value
) -> list[Rule]:
    """:func:`to` for several ``keys`` below ``prefix``, which become keys below ``ours``."""
    return [to(f"{prefix}.{key}", f"{ours}.{our}", convert) for key, our in keys.items()]


def must_be(pattern: str, *allowed: Any) -> Rule:
    """Only these values are translated: they are what darkside does."""

    def check(value: Any) -> Mapping[str, Any]:
        if not any(_equals(value, each) for each in allowed):
            raise ValueError(f"only {' or '.join(map(json.dumps, allowed))} is translated")
        return {}

    return Rule(pattern, check)


def all_must_be(prefix: str, allowed: Mapping[str, Any]) -> list[Rule]:
    """:func:`must_be` for several keys below ``prefix``, with one value each."""
    return [must_be(f"{prefix}.{key}", value) for key, value in allowed.items()]


def _equals(value: Any, other: Any) -> bool:
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, str) and isinstance(other, str):
        return value.replace(" ", "") == other.replace(" ", "")
    return bool(value == other)


def ignored(pattern: str, why: str) -> Rule:
    """The key changes nothing here; ``why`` is said where a person asks for it."""
    return Rule(pattern, lambda _: {}, why)


@dataclass
class Translated:
    """A step of a scenario, ``source``, and what it is here, ``step``, None where that cannot be said.

    ``values`` are by our keys, and ``origins`` says which key of the scenario each comes from. ``problems`` are keys
    that could not be translated, ``without_effect`` those that change nothing here, with the reason.
    """

    source: ResolvedStep
    step: PlannedStep | None = None
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Finding] = field(default_factory=dict)
    problems: list[Finding] = field(default_factory=list)
    without_effect: list[Finding] = field(default_factory=list)

    def put(self, key: str, value: Any, origin: Finding) -> None:
        """Let our ``key`` have the value. Raises ValueError if it has another one already."""
        before = self.origins.get(key)
        if before is not None and self.values[key] != value:
            raise ValueError(
                f"darkside has one value for this and {before.path} ({before.place}), which says otherwise"
            )
        self.values[key], self.origins[key] = value, origin

    def refuse(self, key: str, value: Any, reason: str) -> None:
        """Note that ``key`` of the step has a problem."""
        self.problems.append(Finding(f"{self.source.path}.{key}", str(self.source.place), value, reason))

    def is_complete(self, needed: Mapping[str, str]) -> bool:
        """Whether all ``needed`` values are there; the keys of those that are not are noted as problems."""
        told = {finding.path for finding in self.problems}
        missing = [key for ours, key in needed.items() if self.values.get(ours) is None]
        for key in missing:
            if f"{self.source.path}.{key}" not in told:
                self.refuse(key, None, "this is needed and not there")
        return not missing

    def describe(self) -> str:
        """What the step does, in a few words."""
        return "not translated" if self.step is None else self.step.describe()

    def commands(self, root: Path) -> list[str]:
        """Command lines that do the same; none where something of the step could not be translated."""
        return [] if self.step is None or self.problems else self.step.commands(root)


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


def apply_rules(step: ResolvedStep, rules: Sequence[Rule], *, whole: Collection[str] = ()) -> Translated:
    """Translate the leaves of a step by ``rules``. Mappings at the keys ``whole`` count as leaves."""
    result = Translated(step)
    for key, node in flatten(step.parameters, whole):
        found = Finding(f"{step.path}.{key}", str(node.place), plain(node), "")
        rule = next((rule for rule in rules if rule.fits(key)), None)
        if rule is None:
            result.problems.append(replace(found, reason="darkside has no counterpart of this key"))
        elif rule.without_effect:
            result.without_effect.append(replace(found, reason=rule.without_effect))
        else:
            try:
                for ours, value in rule.convert(found.value).items():
                    result.put(ours, value, found)
            except (ValueError, TypeError) as error:
                result.problems.append(replace(found, reason=str(error)))
    return result
