"""The steps of a target: in which order they run, and what their variables stand for when they do.

A step can use ``${SCENARIO_NAME}`` and, of the steps that ran before it, ``${<step>.parameters.<key>}`` (or
``${<step>.<key>}`` for short) and ``${<step>._output_metadata.<key>}``, what the step gave back. Private keys
of the target (``_shared``) can be used by their names.

Order. The reference sorts steps by their names as texts; that puts 10_x before 2_x, and the fine-tuning of the
published target ``all`` (1_finetune_embed) before the training (1_train_augment) that it needs. Here steps go by
the number before their name, steps of one number as they stand in the file, and steps without a number by name
behind them. A step that an overlay has made null is left out. ``order="original"`` is the reference's.

Variables. A text that is one variable and nothing else stands for the value itself, of whatever type; in a longer
text the value is written as Python writes it (``True``, ``3``). Values that are texts with variables are resolved
too. ``${`` without its ``}`` is text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

from darkside_cli.errors import ConfigError
from darkside_cli.scenario import tree
from darkside_cli.scenario.load import FUNCTION, Scenario, is_step
from darkside_cli.scenario.tree import MAX_NODES, Items, Key, Leaf, Node, Place, Table

NAME = "SCENARIO_NAME"
PARAMETERS, OUTPUTS = "parameters", "_output_metadata"
_NUMBER, _VARIABLE = re.compile(r"\d+"), re.compile(r"\$\{([^{}]*)\}")
_MAX_TEXT = 1 << 16
#: Gives the value of a variable (as it was written), or raises UndefinedError.
Lookup: TypeAlias = "Callable[[str], Any]"


class UndefinedError(Exception):
    """Variable ``name`` stands for nothing: ``reason``."""

    def __init__(self, name: str, reason: str, hint: str | None = None) -> None:
        super().__init__(name, reason)
        self.name, self.reason, self.hint = name, reason, hint


class Unknown(str):
    """Stands for a value that only a run can tell, as the variable that was written; it stays as it is."""


def look_up(name: str, reference: Mapping[str, Any]) -> Any:
    """Value at the dotted path ``name`` in ``reference``; numbers count the items of lists.

    Raises UndefinedError, which says how far the path leads.
    """
    value: Any = reference
    seen: list[str] = []
    for part in name.split("."):
        place = f"'{'.'.join(seen)}'" if seen else "what can be referred to"
        if isinstance(value, Mapping):
            key = int(part) if _is_number(part) and part not in value else part
            if key not in value:
                known = [str(each) for each in value]
                near = " or ".join(get_close_matches(part, known, n=3, cutoff=0.6))
                hint = f"did you mean {near}?" if near else f"it has {', '.join(known[:12]) or 'nothing'}"
                raise UndefinedError(name, f"{place} has no '{part}'", hint)
            value = value[key]
        elif isinstance(value, list):
            if not _is_number(part) or int(part) >= len(value):
                raise UndefinedError(name, f"{place} is a list of {len(value)} items, without '{part}'")
            value = value[int(part)]
        else:
            raise UndefinedError(name, f"{place} is a single value, without '{part}'")
        seen.append(part)
    return value


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) < 10


def substitute(value: Any, lookup: Lookup, inside: tuple[str, ...] = ()) -> Any:
    """``value`` with all variables in it, in keys too, replaced by what they stand for.

    ``inside`` are the variables on the way. Raises UndefinedError, also for a variable that stands for itself.
    """
    if isinstance(value, Mapping):
        return {
            substitute(key, lookup, inside): substitute(each, lookup, inside) for key, each in value.items()
        }
    if isinstance(value, list):
        return [substitute(each, lookup, inside) for each in value]
    if not isinstance(value, str) or isinstance(value, Unknown):
        return value
    whole = _VARIABLE.fullmatch(value)
    if whole:
        return _value(whole[1], lookup, inside)
    text = _VARIABLE.sub(lambda found: str(_value(found[1], lookup, inside)), value)
    if len(text) > max(_MAX_TEXT, len(value)):
        raise UndefinedError(value[:40], "the text becomes too long")
    return text


def _value(name: str, lookup: Lookup, inside: tuple[str, ...]) -> Any:
    name = name.strip()
    if name in inside:
        raise UndefinedError(name, f"it stands for itself: {' -> '.join((*inside, name))}")
    return substitute(lookup(name), lookup, (*inside, name))


@dataclass(frozen=True)
class ResolvedStep:
    """One step whose variables have been replaced. ``path`` is its place in the scenario ("train.1_train")."""

    name: str
    path: str
    function: str
    parameters: Table
    place: Place

    def plain(self) -> dict[str, Any]:
        """Parameters as dicts, lists and simple values."""
        values: dict[str, Any] = tree.plain(self.parameters)
        return values

    @property
    def identity(self) -> dict[str, Any]:
        """What every planned step keeps of it."""
        return {"name": self.name, "path": self.path, "function": self.function}


def step_order(names: list[str], order: str = "mended") -> list[str]:
    """Names of steps (given as they stand in the file) in the order in which they run."""
    by_name = sorted(names)
    if order == "original":
        return by_name
    numbers = {name: int(found[0]) for name in names if (found := _NUMBER.match(name))}
    numbered = sorted(numbers, key=numbers.__getitem__)  # stable
    return numbered + [name for name in by_name if name not in numbers]


class TargetResolver:
    """Resolves the steps of one target, one after the other.

    Call :meth:`resolve` for each name in ``order``, and :meth:`finish` with what it gave back. With
    ``outputs_known=False`` nothing runs: where a step uses what another gave back, the variable stays.
    """

    def __init__(
        self, scenario: Scenario, target: str, *, order: str = "mended", outputs_known: bool = True
    ) -> None:
        table = scenario.target(target)
        self.target = target
        self.steps = {str(key): node for key, node in table.entries.items() if is_step(key, node)}
        self.order = tuple(step_order(list(self.steps), order))
        self.outputs_known = outputs_known
        private = {
            str(key): tree.plain(node) for key, node in table.entries.items() if str(key).startswith("_")
        }
        self.reference: dict[str, Any] = {**private, NAME: scenario.name}
        self._budget = MAX_NODES

    def notes(self) -> tuple[str, ...]:
        """Where the order is not the reference's, a sentence that says so."""
        original = step_order(list(self.steps), "original")
        if list(self.order) == original:
            return ()
        moved = next(one for one, other in zip(self.order, original, strict=True) if one != other)
        behind = original[self.order.index(moved)]
        return (
            f"{self.target}: {moved} runs before {behind}; gandtr sorts steps as texts and would run {behind} first",
        )

    def resolve(self, name: str) -> ResolvedStep:
        """Step ``name`` with its variables replaced. Raises ConfigError, naming file, line and key path."""
        step = self.steps[name]
        assert isinstance(step, Table)  # noqa: S101 - Scenario.target has seen to it
        self._budget = MAX_NODES
        entries = {key: node for key, node in step.entries.items() if key != FUNCTION}
        path: tuple[Key, ...] = (self.target, name)
        parameters = self._node(Table(entries, step.place), name, path)
        function = self._node(step.entries[FUNCTION], name, (*path, FUNCTION))
        assert isinstance(parameters, Table)  # noqa: S101 - made of one
        self.reference[name] = {PARAMETERS: tree.plain(parameters), OUTPUTS: {}}
        return ResolvedStep(name, tree.dotted(path), str(tree.plain(function)), parameters, step.place)

    def finish(self, name: str, outputs: Mapping[str, Any]) -> None:
        """Tell what step ``name`` gave back."""
        self.reference[name][OUTPUTS] = dict(outputs)

    def _node(self, node: Node, step: str, path: tuple[Key, ...]) -> Node:
        if isinstance(node, Leaf):
            return tree.from_plain(self._value(node.value, node.place, step, path), node.place)
        if isinstance(node, Items):
            return Items([self._node(each, step, (*path, i)) for i, each in tree.children(node)], node.place)
        entries: dict[Key, Node] = {}
        for key, each in node.entries.items():
            resolved = self._value(key, each.place, step, (*path, key))
            if not isinstance(resolved, (str, int)) or resolved in entries:
                raise ConfigError(
                    f"{each.place}: {tree.dotted((*path, key))}: '{resolved}' cannot be a key here"
                )
            entries[resolved] = self._node(each, step, (*path, resolved))
        return Table(entries, node.place)

    def _value(self, value: Any, place: Place, step: str, path: tuple[Key, ...]) -> Any:
        try:
            return substitute(value, lambda name: self._look_up(name, step))
        except UndefinedError as error:
            raise ConfigError(
                f"{place}: {tree.dotted(path)}: ${{{error.name}}} stands for nothing: {error.reason}",
                hint=error.hint,
            ) from None

    def _look_up(self, name: str, step: str) -> Any:
        first, _, rest = name.partition(".")
        if first == step:
            raise UndefinedError(name, "a step cannot use its own values", "only those of steps before it")
        if first in self.steps and first not in self.reference:
            raise UndefinedError(name, f"'{first}' runs later", f"the order is {', '.join(self.order)}")
        part = rest.partition(".")[0]
        if first in self.steps and rest and part not in (PARAMETERS, OUTPUTS):
            name = f"{first}.{PARAMETERS}.{rest}"
        if not self.outputs_known and first in self.steps and part == OUTPUTS and rest != OUTPUTS:
            return Unknown(f"${{{name}}}")
        value = look_up(name, self.reference)
        self._budget -= _count(value)
        if self._budget < 0:
            raise UndefinedError(name, f"the step becomes larger than {MAX_NODES:,} values")
        return value


def _count(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + sum(map(_count, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_count, value))
    return 1 + (len(value) >> 6 if isinstance(value, str) else 0)
