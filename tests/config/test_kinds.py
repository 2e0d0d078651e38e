"""A table that is one of several schemas, by its key ``kind``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import tomllib

from darkside_cli.config.load import resolve
from darkside_cli.config.schema import option, walk
from darkside_cli.config.values import check_values
from darkside_cli.errors import ConfigError
from darkside_cli.registry import Entry, Registry


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What all have."""

    colour: str = option("red", help="paint")
    sides: int = option(0, setting=False, minimum=0)


@dataclass(frozen=True, kw_only=True)
class Circle(Shape):
    """The usual one."""

    radius: float = option(1.0, minimum=0)
    edge: Literal["thin", "thick"] = "thin"


@dataclass(frozen=True, kw_only=True)
class Square(Shape):
    """The other."""

    side: float = option(2.0, minimum=0)
    edge: Literal["thin", "none"] = "none"


SHAPES: Registry[Entry] = Registry(
    "shape",
    (
        Entry(name="circle", summary="", target=f"{__name__}:Circle"),
        Entry(name="square", summary="", target=f"{__name__}:Square"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Holds a shape."""

    shape: Shape = option(Circle(colour="blue", edge="thick", sides=1), kinds=f"{__name__}:SHAPES")


def test_the_usual_kind_needs_no_name() -> None:
    found = resolve(Drawing, overrides=["shape.radius=3"])
    assert found.value.shape == Circle(colour="blue", edge="thick", radius=3.0, sides=1)
    assert found.as_dict() == {"shape": {"colour": "blue", "radius": 3.0, "edge": "thick"}}
    assert set(found.origins) == {"shape.colour", "shape.radius", "shape.edge"}
    assert resolve(Drawing, overrides=["shape.kind=circle", "shape.radius=3"]) == found


def test_another_kind_has_its_own_keys_and_keeps_what_both_have() -> None:
    found = resolve(Drawing, overrides=["shape.side=5", "shape.kind=square"])
    assert found.value.shape == Square(colour="blue", side=5.0), "thick is no edge of a square"
    assert found.as_dict() == {"shape": {"kind": "square", "colour": "blue", "side": 5.0, "edge": "none"}}
    assert set(found.origins) == {f"shape.{key}" for key in found.as_dict()["shape"]}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    for given in ([], ["shape.kind=square", "shape.colour=green"]):
        found = resolve(Drawing, overrides=given)
        path = tmp_path / "x.toml"
        path.write_text(found.to_toml())
        assert resolve(Drawing, file=path).value == found.value
        assert ("kind" in tomllib.loads(path.read_text())["shape"]) == bool(given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("shape.kind=oval", 'is not one of "circle", "square"'),
        ("shape.kind=5", "is not one of"),
        ("shape.kind.x=5", "is not one of"),
        ("shape.side=1", "shape.side is no setting of circle"),
        ("shape.sides=1", "unknown key 'shape.sides'"),
        ("shape=circle", "is not a table"),
    ],
)
def test_what_cannot_be(given: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Drawing, overrides=[given])
    assert says in caught.value.message


def test_keys_of_all_kinds_are_known() -> None:
    keys: dict[str, Any] = {".".join(key.path): key.default for key in walk(Drawing)}
    assert keys == {
        "shape.kind": "circle",
        "shape.colour": "blue",
        "shape.radius": 1.0,
        "shape.edge": "thick",
        "shape.side": 2.0,
    }


def test_what_is_no_setting_has_bounds_in_python() -> None:
    with pytest.raises(ConfigError, match=r"shape\.sides must be a whole number of at least 0, not -1"):
        check_values(Drawing(shape=Square(sides=-1)))


def preset(folder: Path, text: str) -> Path:
    path = folder / "preset.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_preset_gives_way_to_another_kind_that_was_chosen(tmp_path: Path) -> None:
    usual = preset(tmp_path, 'shape.radius = 3\nshape.colour = "green"\n')
    found = resolve(Drawing, preset=usual, overrides=["shape.kind=square"])
    assert found.value.shape == Square(colour="green"), "what both have is kept"
    assert resolve(Drawing, preset=usual, flags={"shape.kind": "square"}).value == found.value
    other = preset(tmp_path, 'shape.kind = "square"\nshape.side = 3\n')
    assert resolve(Drawing, preset=other).value.shape == Square(colour="blue", side=3.0)
    back = resolve(Drawing, preset=other, overrides=["shape.kind=circle"]).value.shape
    assert isinstance(back, Circle)


@pytest.mark.parametrize(
    ("text", "overrides", "says"),
    [
        ("shape.radius = 3", ["shape.kind=square", "shape.radius=4"], "no setting of square (--set"),
        ("shape.side = 3", [], "no setting of circle (preset"),
        ('shape.kind = "square"\nshape.radius = 3', [], "no setting of square (preset"),
        ("shape.radios = 3", ["shape.kind=square"], "unknown key 'shape.radios'"),
    ],
)
def test_nothing_else_gives_way(tmp_path: Path, text: str, overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Drawing, preset=preset(tmp_path, text), overrides=overrides)
    assert says in caught.value.message


@dataclass(frozen=True, kw_only=True)
class Sculpture:
    """Holds another shape, and has a weight."""

    weight: float = 1.0
    shape: Shape = option(Square(), kinds=f"{__name__}:SHAPES")


def test_of_a_preset_for_another_schema_what_both_have_is_taken(tmp_path: Path) -> None:
    made = preset(tmp_path, 'weight = 5\nshape.side = 3\nshape.colour = "green"\n')
    found = resolve(Drawing, preset=made, made_for=Sculpture).value.shape
    assert found == Circle(colour="green", edge="thick", sides=1)
    with pytest.raises(ConfigError, match="unknown key 'weight'"):
        resolve(Drawing, preset=made)
    with pytest.raises(ConfigError, match="unknown key 'wieght'"):
        resolve(Drawing, preset=preset(tmp_path, "wieght = 5"), made_for=Sculpture)
