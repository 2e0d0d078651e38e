"""The package keeps to the rules of the house, and the checker of those rules finds what breaks them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from architecture_checker import (
    PACKAGE,
    RANKS,
    SIDEWAYS,
    Source,
    call_problems,
    circles,
    heavy_chains,
    import_problems,
    is_torch_free,
    room_problems,
)

ROOT = Path(__file__).resolve().parent.parent


def _package() -> dict[str, Source]:
    modules = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = Source(name, path.read_text(encoding="utf-8"), is_package)
    return modules


MODULES = _package()
OTHERS = [
    Source("hubconf", path.read_text(encoding="utf-8")) for path in [ROOT / "hubconf.py"] if path.exists()
]


# The package


@pytest.mark.parametrize("source", MODULES.values(), ids=MODULES)
def test_imports_point_down(source: Source) -> None:
    assert import_problems(source) == []


def test_rooms_of_retrieval_know_those_below_them() -> None:
    assert [problem for source in MODULES.values() for problem in room_problems(source)] == []


@pytest.mark.parametrize(
    "source", [each for each in MODULES.values() if is_torch_free(each)], ids=lambda source: source.name
)
def test_light_modules_load_nothing_heavy(source: Source) -> None:
    assert heavy_chains(source, MODULES) == []


@pytest.mark.parametrize("source", [*MODULES.values(), *OTHERS], ids=lambda source: source.name)
def test_nothing_unsafe_is_called(source: Source) -> None:
    assert call_problems(source) == []


def test_no_modules_import_one_another() -> None:
    assert circles(MODULES) == []


def test_there_is_something_to_check() -> None:
    assert {PACKAGE, f"{PACKAGE}.errors", f"{PACKAGE}.config.load"} <= MODULES.keys()
    assert sum(is_torch_free(source) for source in MODULES.values()) > 5


def test_the_trainer_knows_no_method_and_exceptions_stay_on_one_floor() -> None:
    assert not any(unit == "training" for unit, _ in SIDEWAYS)
    assert all(RANKS[unit] == RANKS[target] for unit, target in SIDEWAYS)


@pytest.mark.parametrize("module", [PACKAGE, f"{PACKAGE}.config.load", f"{PACKAGE}.cli.app"])
def test_import_loads_nothing_heavy(module: str) -> None:
    if module == f"{PACKAGE}.cli.app" and not (ROOT / PACKAGE / "cli" / "app.py").exists():
        pytest.skip("there is no command line yet")
    heavy = "{'torch', 'torchvision', 'cv2', 'scipy', 'numpy'}"
    code = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


# The checker


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("training.a", "import darkside_cli.methods.cut", "training imports methods, which stands above it"),
        ("losses.a", "from darkside_cli import networks", "losses imports networks, which stands beside it"),
        ("images.a", "from darkside_cli.datasets import b", "images imports datasets, which stands above it"),
        ("metrics.a", "import darkside_cli.assets", "metrics imports assets, which stands beside it"),
        (
            "kernels.a",
            "from darkside_cli.training import b",
            "kernels imports training, which stands above it",
        ),
        ("methods.a", "from darkside_cli.kernels.bands import b", "kernels has one way in"),
        ("errors", "import darkside_cli.events", "errors imports events, which stands above it"),
        ("interop.a", "from darkside_cli.methods import b", "interop imports methods, which stands above it"),
        ("methods.a", "from darkside_cli.cli.app import main", "methods imports cli, which stands above it"),
        (
            "methods.a",
            "def f():\n    import darkside_cli.report",
            ":2: methods imports report, which stands beside it",
        ),
        (
            "methods.a",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import darkside_cli.hub",
            ":3: methods imports hub, which stands above it",
        ),
        ("hub", "from darkside_cli.cli import app", "hub imports cli, which stands beside it"),
        (
            "methods.a",
            "from darkside_cli import load_generator",
            "darkside_cli.load_generator: name the module",
        ),
        ("methods.a", "import darkside_cli", "imports darkside_cli: name the module"),
        ("methods.a", "import darkside_cli.novel", "'novel' has no rank"),
        ("novel.a", "", "'novel' has no rank: add it"),
        ("methods.sub.a", "from .. import b", "relative import of a parent"),
        ("methods.a", "from ..interop import b", "relative import of a parent"),
        ("methods.a", "from ..cli import b", "methods imports cli, which stands above it"),
        (
            "jobs.a",
            "def f():\n    from darkside_cli.nightfall.config import SIZES",
            ":2: only demo imports nightfall, not jobs",
        ),
        ("cli.a", "import darkside_cli.nightfall", "only demo imports nightfall, not cli"),
        ("hub", "from darkside_cli import demo", "only cli imports demo, not hub"),
        ("images.a", "import rich.progress", "only cli imports rich"),
        ("hub", "def f():\n    from typer import Option", "only cli imports typer"),
        ("cli.a", "import click", "nobody imports click"),
        ("cli.a", "import matplotlib.pyplot", "only report imports matplotlib"),
        ("retrieval.a", "from jinja2 import Template", "only report imports jinja2"),
        ("metrics.a", "import torch", "metrics imports NumPy only, not torch"),
    ],
)
def test_checker_finds_a_wrong_import(name: str, text: str, problem: str) -> None:
    problems = import_problems(Source(f"{PACKAGE}.{name}", text))
    assert any(problem in each for each in problems), problems


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (
            "mining.a",
            "from darkside_cli.retrieval.task import b",
            "mining imports darkside_cli.retrieval.task",
        ),
        ("mining.a", "from darkside_cli.retrieval import task", "mining imports darkside_cli.retrieval.task"),
        ("search.a", "def f():\n    from darkside_cli.retrieval.mining import b", ":2: search imports"),
        ("describe.a", "import darkside_cli.retrieval.search.b", "describe imports"),
        ("mining.a", "from .b import c\nfrom darkside_cli.retrieval.describe import tables", None),
        ("task", "from darkside_cli.retrieval.mining.b import c", None),
    ],
)
def test_checker_finds_an_import_of_a_room_above(name: str, text: str, problem: str | None) -> None:
    problems = room_problems(Source(f"{PACKAGE}.retrieval.{name}", text))
    assert len(problems) == (problem is not None), problems
    assert all(str(problem) in each for each in problems)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "methods.a",
            "from darkside_cli.interop.load import open_checkpoint\nfrom . import b\nfrom .b import c",
        ),
        ("methods.a", "from darkside_cli import __version__, errors\nimport torch"),
        ("cli.a", "import typer\nimport rich.table\nimport darkside_cli.methods.translate"),
        ("report.html", "import jinja2\nimport matplotlib.pyplot\nfrom darkside_cli.metrics import a"),
        ("demo.a", "from darkside_cli.nightfall.asset import MAKER"),
        ("nightfall.a", "from darkside_cli.nightfall import b\nfrom .c import d"),
        ("cli.a", "from darkside_cli.demo import run"),
        ("jobs.a", "TARGET = 'darkside_cli.nightfall.config:SIZES'"),
        ("metrics.a", "import math\nimport numpy as np\nfrom darkside_cli.errors import DarksideError"),
        ("kernels.a", "import torch\nimport collections.abc\nfrom darkside_cli.kernels.b import c"),
    ],
)
def test_checker_lets_right_imports_pass(name: str, text: str) -> None:
    assert import_problems(Source(f"{PACKAGE}.{name}", text)) == []


@pytest.mark.parametrize(
    ("text", "heavy"),
    [
        ("import torch", True),
        ("from scipy.linalg import eigh", True),
        ("from safetensors.torch import load_file", True),
        ("try:\n    import cv2\nexcept ImportError:\n    pass", True),
        ("class A:\n    import numpy", True),
        ("if not TYPE_CHECKING:\n    import torch", True),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import torch", True),
        ("from darkside_cli.images import slow", True),  # which imports NumPy
        ("from darkside_cli.heavy.light import a", True),  # a light module in a package that is not
        ("import darkside_cli.images.lazy", False),
        ("def f():\n    import torch", False),
        ("f = lambda: __import__('torch')", False),
        ("import typing\nif typing.TYPE_CHECKING:\n    import torch\n    if x:\n        import cv2", False),
        ("def f():\n    from darkside_cli.images import slow", False),
        ("import torchlike", False),
    ],
)
def test_checker_follows_imports_to_heavy_libraries(text: str, heavy: bool) -> None:
    others = [
        Source(f"{PACKAGE}.images", "", is_package=True),
        Source(f"{PACKAGE}.images.slow", "import darkside_cli.images.slower"),
        Source(f"{PACKAGE}.images.slower", "from . import slow\nimport numpy"),
        Source(f"{PACKAGE}.images.lazy", "def f():\n    import numpy"),
        Source(f"{PACKAGE}.heavy", "import torch", is_package=True),
        Source(f"{PACKAGE}.heavy.light", ""),
    ]
    start = Source(f"{PACKAGE}.cli.a", text)
    assert bool(heavy_chains(start, {each.name: each for each in others})) is heavy


def test_checker_names_the_way_to_the_heavy_library() -> None:
    slow = Source(f"{PACKAGE}.images.slow", "\nimport numpy")
    start = Source(f"{PACKAGE}.cli.a", "import darkside_cli.images.slow")
    assert heavy_chains(start, {slow.name: slow}) == [
        "darkside_cli.cli.a -> darkside_cli.images.slow:2 -> numpy"
    ]


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ({"a": "import darkside_cli.b", "b": ""}, []),
        ({"a": "import darkside_cli.b", "b": "from darkside_cli import a"}, ["a -> b -> a"]),
        ({"a": "from darkside_cli.b import x", "b": "def f():\n    import darkside_cli.a"}, ["a -> b -> a"]),
        (
            {
                "a": "from . import b",
                "b": "from .c import x",
                "c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import y",
            },
            ["a -> b -> c -> a"],
        ),
        ({"a": "from darkside_cli import __version__, Translator"}, []),  # the package's own names are lazy
    ],
)
def test_checker_finds_circles(texts: dict[str, str], found: list[str]) -> None:
    sources = [Source(f"{PACKAGE}.{name}", text) for name, text in texts.items()]
    root = Source(PACKAGE, "from darkside_cli.a import Translator", is_package=True)
    modules = {each.name: each for each in (root, *sources)}
    assert [way.replace(f"{PACKAGE}.", "") for way in circles(modules)] == found


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("methods.a", "print('x')", "prints"),
        ("cli.a", "print('x')", None),
        ("methods.a", "fingerprint('x')\nself.print('x')", None),
        ("cli.a", "import logging\nlogging.basicConfig()", "sets logging up"),
        ("cli.a", "from logging import basicConfig as b\nb()", "sets logging up"),
        ("interop.a", "import pickle\npickle.load(f)", "pickle.load runs"),
        ("interop.a", "import pickle as p\nx = [p.loads(f)]", "pickle.loads runs"),
        ("interop.a", "from pickle import load\nload(f)", "pickle.load runs"),
        ("interop.a", "import pickle\npickle.Unpickler(f).load()", "pickle.Unpickler runs"),
        ("interop.a", "import pickle\nclass U(pickle.Unpickler): pass\nU(f).load()", None),
        ("networks.a", "import torch\ntorch.load(p)", "torch.load without"),
        ("networks.a", "import torch as t\nt.load(p, weights_only=False)", "torch.load without"),
        ("networks.a", "from torch import load\nload(p, weights_only=safe)", "torch.load without"),
        ("networks.a", "import torch\ntorch.load(p, **options)", "torch.load without"),
        ("networks.a", "import torch\ntorch.load(p, map_location='cpu', weights_only=True)", None),
        ("networks.a", "import json\njson.load(f)", None),
    ],
)
def test_checker_finds_what_is_never_called(name: str, text: str, problem: str | None) -> None:
    problems = call_problems(Source(f"{PACKAGE}.{name}", text))
    assert len(problems) == (problem is not None)
    assert all(str(problem) in each for each in problems)
