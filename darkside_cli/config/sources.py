"""Where configuration comes from: TOML files, shipped presets, ``--set`` texts and flags, each made a table.

Quoting in ``--set key=value``: the value is read as TOML (``1e-4``, ``true``, ``[0.5, 0.999]``, ``"some
text"``, ``{a = 1}``). What is not TOML is text as it stands (``norm=batch``, ``day=/data/my photos``), unless
it begins with ``[``, ``{`` or a quote: then it was meant as TOML and is an error. A text field takes numbers
and the like as typed (``name=2024``). Inside brackets texts need their quotes, and so do an empty text
(``name=""``) and one with blanks at its ends; a shell wants single quotes around these: ``--set 'scales=["a",
"b"]'``. A key that is more than letters, digits, ``_`` and ``-`` is quoted too: ``--set 'weights."a.b"=1'``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.regular_file import read_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MAX_BYTES = 1 << 20
"""Of a configuration file; real ones have a few kilobytes."""
MAX_DEPTH = 64
"""Of tables and lists inside one another; what a configuration can hold has a few levels."""

Kind = Literal["default", "preset", "file", "set", "flag"]
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ASSIGNMENT = re.compile(r"""(?P<key>(?:"(?:\\.|[^"\\])*"|'[^']*'|[^"'=])*)=(?P<value>.*)""", re.DOTALL)
_POSITION = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


@dataclass(frozen=True)
class Origin:
    """Where a value comes from.

    ``where`` is the preset's name, the file's path, the text after ``--set``, or the flag's dotted key; for a
    default it is empty.
    """

    kind: Kind
    where: str = ""

    def __str__(self) -> str:
        if self.kind == "default":
            return "default"
        if self.kind == "flag":
            return f"command line, {self.where}"
        return f"--set {self.where}" if self.kind == "set" else f"{self.kind} {self.where}"


@dataclass(frozen=True)
class Given:
    """A value somebody gave; ``text`` is how it was typed, where that may be meant (``--set name=2024``)."""

    value: Any
    origin: Origin
    text: str | None = None


@dataclass
class Table:
    """A table of what was given; ``origin`` is that of the last layer that has it."""

    origin: Origin
    entries: dict[str, Given | Table] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Only the values."""
        return {
            key: each.plain() if isinstance(each, Table) else each.value for key, each in self.entries.items()
        }


class _TooDeepError(ValueError):
    """Tables and lists are nested beyond ``MAX_DEPTH``."""

    def __init__(self) -> None:
        super().__init__(f"nested more than {MAX_DEPTH} levels deep")


def _loads(text: str) -> dict[str, Any]:
    """Parse TOML. Raises ValueError: TOMLDecodeError, or another for what no configuration holds."""
    try:
        parsed = tomllib.loads(text)
    except RecursionError:
        raise _TooDeepError from None
    level: list[Any] = [parsed]
    for _ in range(MAX_DEPTH + 1):
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [value for each in inner for value in each if isinstance(value, (dict, list))]
    if level:
        raise _TooDeepError
    return parsed


def as_table(mapping: Mapping[Any, Any], origin: Origin) -> Table:
    """Make a table of ``mapping``, everything in it ascribed to ``origin``."""
    entries = {
        str(key): as_table(value, origin) if isinstance(value, Mapping) else Given(value, origin)
        for key, value in mapping.items()
    }
    return Table(origin, entries)


def merge(below: Table, above: Table) -> Table:
    """Lay ``above`` over ``below``: tables key by key, and anything else as a whole."""
    entries = dict(below.entries)
    for key, each in above.entries.items():
        under = entries.get(key)
        entries[key] = merge(under, each) if isinstance(under, Table) and isinstance(each, Table) else each
    return Table(above.origin, entries)


def without(table: Table, paths: Set[tuple[str, ...]], at: tuple[str, ...] = ()) -> Table:
    """Return ``table``, which is at ``at``, without what is at ``paths``."""
    entries = {
        name: without(each, paths, (*at, name)) if isinstance(each, Table) else each
        for name, each in table.entries.items()
        if (*at, name) not in paths
    }
    return Table(table.origin, entries)


def dotted(path: Iterable[str | int]) -> str:
    """``("optim", "betas", 0)`` as ``optim.betas[0]``, keys quoted where TOML wants that."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (
                part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            )
    return text


def parse_key(text: str) -> tuple[str, ...]:
    """Parts of a dotted key. Raises ValueError if ``text`` is not one."""
    path: list[str] = []
    if "\n" in text:
        raise ValueError(text)
    table: Any = _loads(f"{text} = 0")
    while isinstance(table, dict):
        ((key, table),) = table.items()
        path.append(key)
    return tuple(path)


def assignment(path: tuple[str, ...], leaf: Given | Table, origin: Origin) -> Table:
    """Return the table that has ``leaf`` at ``path`` and nothing else."""
    for key in reversed(path):
        leaf = Table(origin, {key: leaf})
    assert isinstance(leaf, Table)  # noqa: S101 - a path has at least one part
    return leaf


def parse_override(text: str) -> Table:
    """Read what follows ``--set``; the module's docstring has the rules of quoting. Raises ConfigError."""
    origin = Origin("set", text)
    match = _ASSIGNMENT.fullmatch(text)
    if match is None:
        raise ConfigError(f"--set {text}: there is no '=' after the key", hint="write --set KEY=VALUE")
    key, typed = match["key"].strip(), match["value"].strip()
    try:
        path = parse_key(key)
    except ValueError:
        raise ConfigError(
            f"--set {text}: '{key}' is not a key",
            hint="a key is names joined by dots, as in --set optim.lr=1e-4",
        ) from None
    if not typed:
        raise ConfigError(
            f"--set {text}: there is no value after '='",
            hint=f"write {key}=VALUE, '{key}=\"\"' for an empty text, or {key}=none where nothing is allowed",
        )
    return assignment(path, _parse_value(typed, origin), origin)


def _parse_value(typed: str, origin: Origin) -> Given | Table:
    structured = typed[0] in "[{\"'"
    try:
        parsed = _loads(f"value = {typed}")
        if parsed.keys() != {"value"}:  # a line break and more TOML after it
            raise ValueError("more than one value")
    except ValueError as error:
        if structured:
            reason = _POSITION.sub("", str(error))
            raise ConfigError(
                f"--set {origin.where}: the value is not valid TOML: {reason}",
                hint='inside brackets texts need quotes, as in --set \'names=["a", "b"]\'',
            ) from None
        return Given(typed, origin)
    value = parsed["value"]
    if isinstance(value, dict):
        return as_table(value, origin)
    return Given(value, origin, None if structured else typed)


def flag_table(key: str, value: Any) -> Table:
    """Table for one flag. Raises ConfigError if ``key`` is not a dotted key."""
    origin = Origin("flag", key)
    try:
        path = parse_key(key)
    except ValueError:
        raise ConfigError(f"'{key}' is not a configuration key", hint="names joined by dots") from None
    return assignment(
        path, as_table(value, origin) if isinstance(value, Mapping) else Given(value, origin), origin
    )


def read_toml(path: Path, *, kind: Kind = "file") -> Table:
    """Read a TOML file, a regular one of at most 1 MB.

    Raises ConfigError, with file and line where the TOML is at fault.
    """
    try:
        content = read_regular(path, limit_bytes=MAX_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file '{path}'", hint="check the path") from None
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration file '{path}': {error.strerror}",
            hint=f"a configuration is a regular file of at most {MAX_BYTES >> 20} MB",
        ) from None
    return _parse_toml(content, str(path), Origin(kind, str(path)))


def _parse_toml(content: bytes, name: str, origin: Origin) -> Table:
    try:
        text = content.decode("utf-8-sig")  # editors on Windows put a byte-order mark first
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}:{line}: not valid TOML: not UTF-8", hint="save it as UTF-8") from None
    try:
        return as_table(_loads(text), origin)
    except tomllib.TOMLDecodeError as error:
        lines = text.rstrip().split("\n")
        position = _POSITION.search(str(error))
        number = int(position["line"]) if position and position["line"] else len(lines)
        reason = _POSITION.sub("", str(error))
        shown = lines[min(number, len(lines)) - 1].strip()[:80]
        advice = "; texts need quotes in TOML" if reason == "Invalid value" else ""
        raise ConfigError(
            f"{name}:{number}: not valid TOML: {reason}", hint=f"the line reads: {shown}{advice}"
        ) from None
    except ValueError as error:  # nested too deeply, or a number of thousands of digits
        raise ConfigError(f"{name}: no configuration: {error}") from None


def _presets_root() -> Traversable:
    return files("darkside_cli.config") / "presets"


def preset_names(command: str) -> list[str]:
    """Names of the presets shipped for ``command`` ("train-gan"), sorted."""
    folder = _presets_root() / command
    if not folder.is_dir():
        return []
    return sorted(each.name.removesuffix(".toml") for each in folder.iterdir() if each.name.endswith(".toml"))


def read_preset(preset: str | Path, *, command: str | None = None) -> Table:
    """Read a preset: "COMMAND/NAME", "NAME" of ``command``, or the path of a TOML file (a Path, or "….toml").

    Raises UnknownNameError, which names the near matches, and ConfigError.
    """
    if isinstance(preset, Path) or preset.endswith(".toml"):
        return read_toml(Path(preset), kind="preset")
    folder, _, name = preset.rpartition("/")
    folder = folder or command or ""
    known = preset_names(folder) if folder else []
    if not known:
        raise ConfigError(
            f"unknown preset '{preset}'", hint="none are shipped here: give the path of a .toml file"
        )
    if name not in known:
        raise UnknownNameError(
            f"preset of {folder}", name, known, extra_hint="or give the path of a .toml file"
        )
    content = (_presets_root() / folder / f"{name}.toml").read_bytes()
    return _parse_toml(content, f"preset {folder}/{name}", Origin("preset", f"{folder}/{name}"))
