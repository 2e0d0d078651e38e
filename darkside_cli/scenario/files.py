"""Scenario files: found by name or path, and their YAML read strictly, so that no file can run code or fill the memory.

PyYAML's safe loader finds out what is written; the values are built here. Scalars are read as the reference
reads them (YAML 1.1: ``yes`` is true, ``3.e-4`` is a number, ``3e-4`` a text), except that dates stay texts.
Tags, duplicate keys, keys that are neither texts nor whole numbers, and files that are no mapping are errors
with file and line.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.regular_file import TooLargeError, read_regular
from darkside_cli.scenario import tree
from darkside_cli.scenario.tree import Items, Key, Leaf, Node, Place, Table

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
_CORE = "tag:yaml.org,2002:"
_SCALARS = {f"{_CORE}{name}" for name in ("null", "bool", "int", "float", "str")}
_COLLECTIONS = {True: {f"{_CORE}map"}, False: {f"{_CORE}seq"}}
_MERGE = f"{_CORE}merge"
_PART = re.compile(r'"[^"]+"|[^."=]+')
_OVERRIDE = re.compile(rf"(?P<key>\s*(?:{_PART.pattern})(?:\.(?:{_PART.pattern}))*)=(?P<value>.*)", re.DOTALL)


def published_root() -> Path:
    """Folder of the scenarios that are shipped."""
    return Path(str(resources.files("darkside_cli.scenario") / "published_files"))


def published_scenarios() -> tuple[str, ...]:
    """Names of the shipped scenarios ("iccv23/train/hedngan.yml"), sorted; their templates are not among them."""
    root = published_root()
    found = [path.relative_to(root).as_posix() for path in root.glob("*/*/*.yml")]
    return tuple(sorted(name for name in found if "/_" not in name))


def find_scenario(name: str) -> Path:
    """Path of a scenario file: as it is given, or else that of a shipped one.

    Raises UnknownNameError, which names near matches among the shipped ones.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        raise ConfigError(f"{name} is a folder, not a scenario file")
    if path.exists():  # whoever reads it tells a pipe
        return path
    known = published_scenarios()
    if name in known:
        return published_root() / name
    raise UnknownNameError(
        "scenario",
        name,
        known,
        extra_hint="or the path of a .yml file: 'darkside run list' shows the shipped ones",
    )


class _TooDeepError(yaml.MarkedYAMLError):
    """Nesting beyond ``MAX_DEPTH``."""


class _Loader(yaml.SafeLoader):
    """The safe loader with a limit to nesting, and without dates."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _TooDeepError(None, None, f"nested more than {MAX_DEPTH} levels deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _SCALARS | {_MERGE}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_scenario_file(path: Path, *, name: str | None = None, rank: int = 0) -> Table:
    """Read one file. ``name`` is what messages call it, ``rank`` goes into the places.

    Raises FileNotFoundError if there is none, ConfigError for whatever is wrong with it.
    """
    name = name or str(path)
    try:
        content = read_regular(path, limit_bytes=MAX_BYTES)
    except FileNotFoundError:
        raise
    except TooLargeError:
        raise ConfigError(f"{name} is larger than {MAX_BYTES:,} bytes, which no scenario is") from None
    except OSError as error:
        raise ConfigError(f"cannot read the scenario {name}: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}:{line}: not UTF-8", hint="save the file as UTF-8") from None
    return parse_scenario(text, name, rank=rank)


def parse_scenario(text: str, name: str, *, rank: int = 0) -> Table:
    """Read a scenario's text; ``name`` is what messages call it. Raises ConfigError."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise ConfigError(
                    f"{name}: the file is empty", hint="a scenario begins with the name of a target"
                )
            table = _Builder(loader, name, rank).build(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = error.problem or error.context or "not valid YAML"
        raise ConfigError(f"{name}{line}: not valid YAML: {problem}") from None
    except yaml.YAMLError as error:  # characters that YAML does not allow
        raise ConfigError(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(table, Table):
        raise ConfigError(
            f"{table.place}: a scenario is a mapping of targets", hint="it begins with the name of a target"
        )
    return table


class _Builder:
    """Makes our nodes of PyYAML's; what is one node there (an alias and its anchor) is one node here."""

    def __init__(self, loader: _Loader, name: str, rank: int) -> None:
        self.loader, self.name, self.rank = loader, name, rank
        self.built: dict[int, Node] = {}

    def build(self, root: yaml.Node) -> Node:
        node = self._node(root, self._place(root))
        tree.check_size(node)
        return node

    def _place(self, node: yaml.Node) -> Place:
        return Place(self.name, node.start_mark.line + 1, self.rank)

    def _error(self, node: yaml.Node, problem: str, hint: str | None = None) -> ConfigError:
        return ConfigError(f"{self._place(node)}: {problem}", hint=hint)

    def _node(self, node: yaml.Node, place: Place) -> Node:
        if id(node) in self.built:
            return self.built[id(node)]
        allowed = (
            _SCALARS
            if isinstance(node, yaml.ScalarNode)
            else _COLLECTIONS[isinstance(node, yaml.MappingNode)]
        )
        if node.tag not in allowed:
            tag = node.tag.replace(_CORE, "!!")
            raise self._error(node, f"the tag {tag} is not allowed", "a scenario has plain values only")
        if isinstance(node, yaml.MappingNode):
            table = self.built[id(node)] = Table({}, place)
            table.entries.update(self._entries(node))
            return table
        if isinstance(node, yaml.SequenceNode):
            items = self.built[id(node)] = Items([], place)
            items.items.extend(self._node(child, self._place(child)) for child in node.value)
            return items
        leaf = self.built[id(node)] = Leaf(self._scalar(node), place)
        return leaf

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return self.loader.construct_object(node)
        except (ValueError, KeyError, IndexError):  # "!!int x", or more digits than Python converts
            kind = node.tag.removeprefix(_CORE)
            raise self._error(node, f"'{str(node.value)[:20]}' cannot be read as {kind}") from None

    def _entries(self, mapping: yaml.MappingNode) -> dict[Key, Node]:
        own: dict[Key, Node] = {}
        merged: dict[Key, Node] = {}
        lines: dict[Key, int] = {}
        for key_node, value_node in mapping.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                for key, node in self._merged(value_node).items():
                    merged.setdefault(key, node)
                continue
            key = self._key(key_node)
            if key in own:
                raise self._error(
                    key_node, f"the key '{key}' is here twice", f"it is in line {lines[key]} already"
                )
            own[key] = self._node(value_node, Place(self.name, line, self.rank))
            lines[key] = line
        return {**merged, **own}

    def _key(self, node: yaml.Node) -> Key:
        key = self._scalar(node) if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS else None
        if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
            return key
        shown = f"'{node.value}'" if isinstance(node, yaml.ScalarNode) else "this"
        raise self._error(node, f"{shown} cannot be a key: keys are texts", "write it in quotes")

    def _merged(self, node: yaml.Node) -> dict[Key, Node]:
        """Entries that ``<<`` brings: those of one mapping, or of several, of which the first wins."""
        entries: dict[Key, Node] = {}
        for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            table = self._node(each, self._place(each)) if isinstance(each, yaml.MappingNode) else None
            if not isinstance(table, Table):
                raise self._error(node, "<< takes a mapping, or a list of mappings")
            for key, value in table.entries.items():
                entries.setdefault(key, value)
        return entries


def parse_override(argument: str, *, rank: int = 0) -> Table:
    """``main.1_first.learning.lr=42`` as the overlay that it means.

    Parts of the key that have dots themselves are put in quotes (``main.1_first."network.path"=x``). The value
    is JSON; what is neither JSON nor begins like it (with a bracket or a quote) is a text as it stands. Raises
    ConfigError.
    """
    place = Place(f"argument {argument}", rank=rank)
    match = _OVERRIDE.fullmatch(argument)
    if match is None:
        raise ConfigError(
            f"{place}: what stands before '=' is no key", hint="write main.1_step.learning.lr=42"
        )
    key, typed = match["key"].strip(), match["value"].strip()
    path: tuple[Key, ...] = tuple(part.strip('"') for part in _PART.findall(key))
    if '"' not in key:
        path = tree.split_key(key, place)
    try:
        value = json.loads(typed)
    except ValueError:
        if not typed or typed[0] in "[{\"'":
            raise ConfigError(
                f"{place}: what follows '=' is not JSON",
                hint=f"write {key}=null, {key}=0.5, {key}=text or {key}='[1, \"two\"]'",
            ) from None
        value = typed
    except RecursionError:
        raise ConfigError(f"argument {key}=…: nested too deep") from None
    return tree.nested(path, tree.from_plain(value, place), place)
