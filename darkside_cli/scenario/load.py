"""gandtr's scenario files: templates, overlays and overrides put together into one tree, and its targets and steps.

How files are put together, as the reference does it (and the parity case ``yaml_semantics`` records it):

1. The first file is read, and each further file or ``section.key=value`` laid over it, left to right. A further
   file is completed with its own templates before.
2. Then the templates of the first file are filled in, from the outside in: a mapping with ``__template__: file``
   becomes that file with the values that stand beside ``__template__`` laid over it, and then the templates
   deeper in it are filled in. A file is looked for in the folder of the closest template around it (of the
   first file, where there is none), which is not always the folder of the file that names it.
3. In a mapping with ``__template__``, and only there, keys with dots go deeper (``data.train.size: 4``); they
   come after the keys without.

What laying over means is told at :func:`~darkside_cli.scenario.tree.lay_over`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.scenario import tree
from darkside_cli.scenario.files import find_scenario, parse_override, published_root, read_scenario_file
from darkside_cli.scenario.tree import Items, Key, Leaf, Node, Table

TEMPLATE = "__template__"
FUNCTION = "__function__"
SUFFIXES = (".yml", ".yaml")
_MAX_FILES = 1000

Keys: TypeAlias = "tuple[Key, ...]"
#: Where a template is named, and its name.
Mention: TypeAlias = "tuple[str, str]"


@dataclass(frozen=True)
class Scenario:
    """Scenario files put together; variables are still as they were written.

    ``name`` is what ``${SCENARIO_NAME}`` stands for: that of the last file, without its suffix. ``notes`` say
    what a person may want to know, such as an override that has no effect.
    """

    name: str
    document: Table
    arguments: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Everything as dicts, lists and simple values."""
        values: dict[str, Any] = tree.plain(self.document)
        return values

    def targets(self) -> tuple[str, ...]:
        """What can be run: keys whose mappings hold steps and nothing else, in the order of the file.

        Keys that begin with an underscore are none; anchors may be kept under them.
        """
        return tuple(str(key) for key, node in self.document.entries.items() if _is_target(key, node))

    def target(self, name: str) -> Table:
        """Mapping of the target ``name``, its private keys (those with an underscore before them) included.

        Raises UnknownNameError, which names near matches, and ConfigError for what holds no steps.
        """
        node = next((node for key, node in self.document.entries.items() if str(key) == name), None)
        if node is None or not _public(name):
            raise UnknownNameError(
                "target", name, self.targets(), extra_hint=f"in {' + '.join(self.arguments)}"
            )
        if not isinstance(node, Table):
            raise ConfigError(f"{node.place}: '{name}' is no target: a target is a mapping of steps")
        for key, step in node.entries.items():
            path = f"{name}.{key}"
            if not is_step(key, step):
                continue
            if not isinstance(step, Table):
                raise ConfigError(f"{step.place}: {path} is no step: a step is a mapping with {FUNCTION}")
            function = step.entries.get(FUNCTION)
            if function is None:
                raise ConfigError(
                    f"{step.place}: {path} does not say what it does",
                    hint=f"a step has {FUNCTION}, such as mdir.stages.train.train",
                )
            if not isinstance(function, Leaf) or not isinstance(function.value, str):
                raise ConfigError(f"{function.place}: {path}.{FUNCTION} is not a name")
        return node


def _public(key: Key) -> bool:
    return not str(key).startswith("_")


def is_step(key: Key, node: Node) -> bool:
    """Whether a key of a target is a step: private ones are not, nor those that an overlay has made null."""
    return _public(key) and not (isinstance(node, Leaf) and node.value is None)


def _is_target(key: Key, node: Node) -> bool:
    if not isinstance(node, Table) or not _public(key):
        return False
    steps = [each for key, each in node.entries.items() if is_step(key, each)]
    return bool(steps) and all(isinstance(each, Table) and FUNCTION in each.entries for each in steps)


def load_scenario(arguments: Sequence[str]) -> Scenario:
    """Put together the scenario that ``arguments`` name: a file, then overlays and ``section.key=value``.

    Raises ConfigError (UnknownNameError for a file that is not there), always with file and line.
    """
    if not arguments:
        raise ConfigError("no scenario is given", hint="darkside run list shows the shipped ones")
    try:
        return _Loader(arguments).load()
    except RecursionError:
        raise ConfigError(f"{' + '.join(arguments)}: nested too deep") from None


class _Loader:
    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = tuple(arguments)
        self.notes: list[str] = []
        self.files = 0

    def load(self) -> Scenario:
        first, *others = self.arguments
        if not _is_file(first):
            raise ConfigError(
                f"'{first}' is no scenario file",
                hint="darkside run TARGET FILE.yml [OVERLAY.yml | a.b=VALUE]...",
            )
        path = find_scenario(first)
        name = path.stem
        document = self._read(path, first, 0)
        for rank, argument in enumerate(others, 1):
            if _is_file(argument):
                path_above = find_scenario(argument)
                above = self._complete(self._read(path_above, argument, rank), path_above)
                name = path_above.stem
            else:
                above = parse_override(argument, rank=rank)
            tree.lay_over(document, above)
        document = self._complete(document, path)
        tree.check_size(document)
        tree.without_operators(document)
        return Scenario(name, document, self.arguments, tuple(self.notes))

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _read(self, path: Path, name: str, rank: int) -> Table:
        self.files += 1
        if self.files > _MAX_FILES:
            raise ConfigError(f"{self.arguments[0]} asks for more than {_MAX_FILES} templates")
        return read_scenario_file(path, name=name, rank=rank)

    def _complete(self, table: Table, path: Path) -> Table:
        """Fill in all templates of the file ``path``."""
        return cast("Table", self._filled(table, path.parent, (), ()))

    def _filled(self, node: Node, folder: Path, chain: tuple[Mention, ...], where: Keys) -> Node:
        """``node`` with the templates in it, looked for in ``folder``; ``chain`` is what led here.

        The nodes given stay as they are, since aliases may use them elsewhere.
        """
        if isinstance(node, Table):
            node, folder, chain = self._with_template(node, folder, chain, where)
        filled = {
            key: self._filled(child, folder, chain, (*where, key)) for key, child in tree.children(node)
        }
        if all(filled[key] is child for key, child in tree.children(node)):
            return node
        if isinstance(node, Table):
            return Table(filled, node.place)
        return Items(list(filled.values()), node.place)

    def _with_template(
        self, own: Table, folder: Path, chain: tuple[Mention, ...], where: Keys
    ) -> tuple[Table, Path, tuple[Mention, ...]]:
        """``own`` laid over its template, and that over its own, if it has one; what is deeper is left for later."""
        named = own.entries.get(TEMPLATE)
        if named is None:
            return own, folder, chain
        given = copy.deepcopy(own).entries  # what is laid over goes on to change, and aliases have it too
        direct = {key: node for key, node in given.items() if key != TEMPLATE and "." not in str(key)}
        deep = {str(key): node for key, node in given.items() if "." in str(key)}
        table = Table({}, own.place)
        if not (isinstance(named, Leaf) and named.value is None):  # an overlay may take a template away
            path = self._template_path(named, folder, where)
            chain = (*chain, self._mention(named, chain, where))
            table = self._template(path, named, where)
            table, folder, chain = self._with_template(table, path.parent, chain, where)
        table = Table(dict(table.entries), table.place)
        tree.lay_over(table, Table(direct, own.place), where)
        for key, node in deep.items():
            self._lay_deep(table, tree.split_key(key, node.place), node, where)
        return table, folder, chain

    @staticmethod
    def _template_path(named: Node, folder: Path, where: Keys) -> Path:
        if not isinstance(named, Leaf) or not isinstance(named.value, str) or not named.value:
            raise ConfigError(f"{named.place}: {tree.dotted((*where, TEMPLATE))} is not the name of a file")
        return Path(os.path.normpath(folder / Path(named.value).expanduser()))

    @staticmethod
    def _mention(named: Node, chain: tuple[Mention, ...], where: Keys) -> Mention:
        """Note who names a template, and refuse what goes round: the same mention inside of itself, twice."""
        mention = (str(named.place), str(tree.plain(named)))
        if chain.count(mention) > 1:
            start = len(chain) - 1 - chain[::-1].index(mention)
            ring = " -> ".join([*(name for _, name in chain[start:]), mention[1]])
            raise ConfigError(
                f"{named.place}: {tree.dotted((*where, TEMPLATE))}: templates go round in a ring: {ring}",
                hint="one of them has to stop naming the next",
            )
        return mention

    def _template(self, path: Path, named: Node, where: Keys) -> Table:
        shipped = published_root()
        name = path.relative_to(shipped).as_posix() if path.is_relative_to(shipped) else str(path)
        try:
            return self._read(path, name, named.place.rank)
        except FileNotFoundError:
            raise ConfigError(
                f"{named.place}: {tree.dotted((*where, TEMPLATE))} names {tree.plain(named)}, and there is no {path}",
                hint="templates are looked for in the folder of the closest template around them, else in that "
                "of the scenario",
            ) from None

    def _lay_deep(self, table: Table, path: Keys, node: Node, where: Keys) -> None:
        hidden = _find(table, path)
        if isinstance(hidden, Leaf) and hidden.place.rank > node.place.rank:
            quoted = tree.dotted((*where, f'"{tree.dotted(path)}"'))
            self._note(
                f"{hidden.place} has no effect: {tree.dotted((*where, *path))} is set after it, by a key with dots "
                f"({node.place}); give that one: {quoted}=VALUE"
            )
        tree.lay_over(table, tree.nested(path, node, node.place), where)


def _is_file(argument: str) -> bool:
    return "=" not in argument or (argument.endswith(SUFFIXES) and Path(argument).is_file())


def _find(table: Table, path: Sequence[Key]) -> Node | None:
    node: Node | None = table
    for key in path:
        node = node.entries.get(key) if isinstance(node, Table) else None
    return node
