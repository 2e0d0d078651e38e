"""The rules of the house as code: who imports whom, what stays light, what is never called.

``RANKS`` is the order in which packages stand; imports point down only. The checker takes source text, so
that ``test_architecture.py`` can hold it against the package and against small bad modules.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

PACKAGE = "darkside_cli"

#: From the ground up; imports point to lower floors only.
FLOORS = (
    ("errors",),
    ("atomic", "events", "registry", "regular_file", "stated_size", "units"),
    ("config",),
    ("images",),
    ("assets", "metrics"),
    ("datasets", "losses", "networks"),
    ("kernels",),
    ("inference",),
    ("training",),
    ("interop",),
    ("methods", "nightfall", "report", "retrieval"),
    ("jobs",),
    ("scenario",),
    ("demo",),
    ("cli", "hub"),
)
RANKS = {unit: rank for rank, floor in enumerate(FLOORS) for unit in floor}
#: Rooms of retrieval, from the ground up; "" are the modules that lie in none. A room knows those on lower floors.
RETRIEVAL_FLOORS = (("describe",), ("mining", "search", "whitening"), ("",))
# Imports between units of one floor, each with its reason.
SIDEWAYS: dict[tuple[str, str], str] = {}
# Lazy on purpose; their docstrings say so.
EXEMPT = {PACKAGE, f"{PACKAGE}.__main__"}
# What may be taken from the package itself: everything else there is a lazy name for a thing of a submodule.
ROOT_NAMES = {"__version__"}

ONLY_IN = {"typer": "cli", "rich": "cli", "jinja2": "report", "matplotlib": "report"}
NOBODY = {"click"}
# Companions of the core, and who imports them beside themselves. Everybody else has names of theirs in registries.
COMPANIONS = {"nightfall": {"demo"}, "demo": {"cli"}}
HEAVY = {
    "torch",
    "torchvision",
    "cv2",
    "scipy",
    "numpy",
    "matplotlib",
    "jinja2",
    "h5py",
    "onnx",
    "onnxruntime",
}
TORCH_FREE = (
    "jobs.request",
    "networks.architectures",
    "networks.catalog",
    "networks.configs",
    "networks.locate",
    "assets.catalog",
)
TORCH_FREE_UNITS = {
    "config",
    "events",
    "registry",
    "regular_file",
    "errors",
    "stated_size",
    "units",
    "assets",
    "cli",
}


@dataclass(frozen=True)
class Import:
    """One imported module. ``at_import`` is whether it is imported when the importing module is.

    ``level`` counts the dots that a relative import begins with.
    """

    module: str
    name: str | None
    line: int
    at_import: bool
    level: int

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


@dataclass(frozen=True)
class Source:
    """A module of the package: its dotted name, its text, and whether it is a package's ``__init__``."""

    name: str
    text: str
    is_package: bool = False

    @property
    def unit(self) -> str:
        """What has a rank: the subpackage or top-level module ("cli", "errors"); empty for the package."""
        return self.name.removeprefix(PACKAGE).lstrip(".").partition(".")[0]


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _statements(node: ast.AST, at_import: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every statement below ``node``, and whether it runs when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            continue
        runs = at_import and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            yield child, at_import
            for part in child.body:
                yield part, False
                yield from _statements(part, False)
            for part in child.orelse:
                yield part, at_import
                yield from _statements(part, at_import)
            continue
        yield child, runs
        yield from _statements(child, runs)


@cache
def imports(source: Source) -> list[Import]:
    """What a module imports anywhere in it, relative imports made absolute."""
    found = []
    package = source.name if source.is_package else source.name.rpartition(".")[0]
    for node, at_import in _statements(ast.parse(source.text)):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, None, node.lineno, at_import, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found += [Import(module, alias.name, node.lineno, at_import, node.level) for alias in node.names]
    return found


def import_problems(source: Source) -> list[str]:
    """Imports that point up or sideways, and libraries where they do not belong."""
    if source.name in EXEMPT:
        return []
    problems = []
    unit = source.unit
    if unit not in RANKS:
        return [f"{source.name}: '{unit}' has no rank: add it to RANKS, in its place"]
    for each in imports(source):
        place = f"{source.name}:{each.line}"
        if each.level > 1:
            problems.append(f"{place}: relative import of a parent")
        if each.top in NOBODY:
            problems.append(f"{place}: nobody imports {each.top}")
        if each.top in ONLY_IN and ONLY_IN[each.top] != unit:
            problems.append(f"{place}: only {ONLY_IN[each.top]} imports {each.top}")
        if unit == "metrics" and each.top not in {PACKAGE, "numpy", *sys.stdlib_module_names}:
            problems.append(f"{place}: metrics imports NumPy only, not {each.top}")
        if unit != "kernels" and each.module.startswith(f"{PACKAGE}.kernels."):
            problems.append(f"{place}: kernels has one way in, {PACKAGE}.kernels itself")
        if each.top == PACKAGE:
            problems += [f"{place}: {text}" for text in _rank_problems(unit, each)]
    return problems


def _rank_problems(unit: str, each: Import) -> Iterator[str]:
    target = each.module.removeprefix(PACKAGE).lstrip(".").partition(".")[0]
    if not target:  # from darkside_cli import x
        if each.name in ROOT_NAMES:
            return
        target = each.name or ""
        if target not in RANKS:
            yield f"imports {each.module}{f'.{each.name}' if each.name else ''}: name the module that has it"
            return
    if target not in RANKS:
        yield f"'{target}' has no rank"
    elif target != unit and (unit, target) not in SIDEWAYS:
        if unit not in COMPANIONS.get(target, {unit}):
            yield f"only {' and '.join(sorted(COMPANIONS[target]))} imports {target}, not {unit}"
        if RANKS[target] > RANKS[unit]:
            yield f"{unit} imports {target}, which stands above it"
        elif RANKS[target] == RANKS[unit]:
            yield f"{unit} imports {target}, which stands beside it"


def room_problems(source: Source) -> list[str]:
    """Imports between the rooms of retrieval that point up or sideways."""
    ranks = {room: rank for rank, floor in enumerate(RETRIEVAL_FLOORS) for room in floor}

    def room_of(name: str) -> str | None:
        parts = name.removeprefix(f"{PACKAGE}.").split(".")
        if parts[0] != "retrieval" or len(parts) == 1:
            return None
        return parts[1] if parts[1] in ranks else ""

    own = room_of(source.name)
    problems = []
    for each in imports(source) if own is not None else ():
        named = f"{each.module}.{each.name}" if each.module == f"{PACKAGE}.retrieval" else each.module
        room = room_of(named)
        if room is not None and room != own and ranks[room] >= ranks[own or ""]:
            problems.append(
                f"{source.name}:{each.line}: {own} imports {named}, which does not stand below it"
            )
    return problems


def heavy_chains(start: Source, modules: dict[str, Source]) -> list[str]:
    """Ways from ``start`` to a heavy library through imports made at import time, as "a -> b -> torch"."""
    chains = []
    seen = {start.name}
    queue = [(start, start.name)]
    while queue:
        source, trail = queue.pop(0)
        for each in imports(source):
            if not each.at_import:
                continue
            if each.top in HEAVY or each.module == "safetensors.torch":
                chains.append(f"{trail}:{each.line} -> {each.module}")
            for name in _loaded_by(each, modules):
                if name not in seen:
                    seen.add(name)
                    queue.append((modules[name], f"{trail} -> {name}"))
    return chains


def circles(modules: dict[str, Source]) -> list[str]:
    """Modules that import one another, whenever they do it: "a -> b -> a", one shortest way for each knot of them.

    The package itself is left out: its names are lazy so that what they stand for may be anywhere below it.
    """
    above = {
        name: {target for each in imports(source) if (target := _target(each, modules)) not in (None, name)}
        for name, source in modules.items()
        if name != PACKAGE
    }
    found, done = [], set()
    for name in above:
        way = _way_back(name, above) if name not in done else None
        if way is not None:
            found.append(" -> ".join(way))
            done |= set(way)
    return found


def _target(each: Import, modules: dict[str, Source]) -> str | None:
    """Module of ours that an import names; None for the package itself and for everybody else's."""
    named = f"{each.module}.{each.name}"
    target = named if named in modules else each.module
    return target if target in modules and target != PACKAGE else None


def _way_back(start: str, above: dict[str, set[str | None]]) -> list[str] | None:
    """A shortest way of imports that leads from ``start`` to itself."""
    came_from: dict[str, str] = {}
    queue = [start]
    while queue:
        name = queue.pop(0)
        for target in sorted(each for each in above.get(name, ()) if each):
            if target == start:
                way = [name, start]
                while way[0] != start:
                    way.insert(0, came_from[way[0]])
                return way
            if target not in came_from:
                came_from[target] = name
                queue.append(target)
    return None


def _loaded_by(each: Import, modules: dict[str, Source]) -> Iterable[str]:
    """Our modules that an import runs: the one named, the packages around it, the name if it is a module."""
    parts = each.module.split(".")
    candidates = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    if each.name:
        candidates.append(f"{each.module}.{each.name}")
    return [name for name in candidates if name in modules]


def call_problems(source: Source) -> list[str]:
    """Calls that are not made here: prints outside cli, logging set-up, unsafe loading."""
    problems = []
    nodes = list(ast.walk(ast.parse(source.text)))
    known = {}  # local name -> what it stands for
    for node in nodes:
        if isinstance(node, ast.Import):
            known.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    for node in nodes:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
            continue
        first, _, rest = ast.unparse(node.func).partition(".")
        called = ".".join(part for part in (known.get(first, first), rest) if part)
        place = f"{source.name}:{node.lineno}"
        if called == "print" and source.unit != "cli":
            problems.append(f"{place}: prints; only cli talks to people")
        elif called == "logging.basicConfig":
            problems.append(f"{place}: sets logging up, which is for the program that uses us")
        elif called in {"pickle.load", "pickle.loads", "pickle.Unpickler"}:
            problems.append(f"{place}: {called} runs whatever the file says: use interop.safe_pickle")
        elif called == "torch.load" and not any(
            keyword.arg == "weights_only"
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is True
            for keyword in node.keywords
        ):
            problems.append(f"{place}: torch.load without weights_only=True")
    return problems


def is_torch_free(source: Source) -> bool:
    """Whether a module has to be importable without any heavy library."""
    return source.unit in TORCH_FREE_UNITS or source.name in {
        PACKAGE,
        *(f"{PACKAGE}.{name}" for name in TORCH_FREE),
    }
