"""What schemas say of themselves."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from pathlib import Path

import pytest

from darkside_cli.config.schema import Option, option, schema_fields, walk, without_none
from darkside_cli.registry import Entry, Registry

SHAPES = Registry(
    "shape", (Entry(name="disc", summary="", aliases=("circle",)), Entry(name="ring", summary=""))
)
SIZES = ("small", "large")


def edges() -> list[str]:
    return ["sharp", "soft"]


@dataclass(frozen=True, kw_only=True)
class Inner:
    a: int = option(1, help="a number", unit="px", minimum=0)
    b: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    path: Path
    inner: Inner = Inner(a=7)
    maybe: Inner | None = None
    names: list[str] = option(default_factory=lambda: ["x"], help="names")
    table: dict[str, Inner] = field(default_factory=dict)
    hidden: int = field(init=False, default=3)


def test_walk_opens_nested_schemas_and_takes_their_instances_defaults() -> None:
    keys = list(walk(Outer))
    assert [".".join(key.path) for key in keys] == [
        "path",
        "inner.a",
        "inner.b",
        "maybe.a",
        "maybe.b",
        "names",
        "table",
    ]
    assert [key.default for key in keys] == [MISSING, 7, None, 1, None, ["x"], {}]
    assert keys[1].option == Option(help="a number", unit="px", minimum=0)
    assert keys[2].option == Option()
    assert keys[2].annotation == str | None


def test_factories_make_a_new_default_each_time() -> None:
    names = schema_fields(Outer)["names"]
    assert names.default() == names.default()
    assert names.default() is not names.default()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("SHAPES", ("disc", "ring", "circle")),
        ("SIZES", ("small", "large")),
        ("edges", ("sharp", "soft")),
    ],
)
def test_choices_come_from_registries_lists_and_functions(source: str, expected: tuple[str, ...]) -> None:
    assert Option(choices_from=f"{__name__}:{source}").choices() == expected
    assert Option().choices() == ()


def test_one_default_is_enough() -> None:
    with pytest.raises(ValueError, match="not both"):
        option(1, default_factory=list)


@pytest.mark.parametrize(
    ("annotation", "expected"), [(int | None, int), (int, int), (int | str | None, int | str | None)]
)
def test_without_none(annotation: object, expected: object) -> None:
    assert without_none(annotation) == expected
