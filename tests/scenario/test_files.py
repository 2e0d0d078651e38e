"""Scenario files as text: nothing in them runs, nothing in them fills the memory, and mistakes have a line."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.errors import ConfigError, DarksideError
from darkside_cli.scenario.files import MAX_BYTES, parse_override, parse_scenario, read_scenario_file
from darkside_cli.scenario.tree import plain

RAN: list[str] = []


def ran(text: str) -> str:
    """What a hostile file would like to call."""
    RAN.append(text)
    return text


def laughs(merge: bool) -> str:
    lines = ["a0: &a0 {x: 1, y: 2}"]
    for n in range(1, 40):
        inner = ", ".join(f"k{i}: *a{n - 1}" for i in range(8))
        lines.append(
            f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], {inner}}}" if merge else f"a{n}: &a{n} {{{inner}}}"
        )
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: !!python/object/apply:test_scenario_yaml.ran ['ouch']",
            r"x\.yml:1: the tag .*python.* is not allowed",
        ),
        ("a: !!python/name:os.system", r"x\.yml:1: the tag"),
        ("a: !!python/object/new:os.system [echo ouch]", r"x\.yml:1: the tag"),
        ("a:\n  - !!python/module:os x", r"x\.yml:2: the tag"),
        ("!!python/object:os.path {}", r"x\.yml:1: the tag"),
        ("? !!python/name:os.system\n: 1", "cannot be a key"),
        ("a: !include other.yml", r"the tag !include is not allowed"),
        ("a: !!binary aGVsbG8=", "the tag !!binary is not allowed"),
        ("a: !!set {b, c}", "the tag !!set"),
        ("a: !!timestamp 2001-01-01", "the tag !!timestamp"),
        (laughs(merge=False), "too large"),
        (laughs(merge=True), "too large"),
        ("a: &a [*a]", r"x\.yml:1: this contains itself"),
        ("a: &a\n  b: {c: *a}", r"x\.yml:\d: this contains itself"),
        ("a: " + "[" * 100_000, r"x\.yml:1: not valid YAML: nested more than 64"),
        ("a: " + "{a: " * 100_000, r"x\.yml:1: not valid YAML: nested more than 64"),
        ("a: " + "9" * 5000, r"x\.yml:1: '9+' cannot be read as int"),
        ("a: !!int x", "cannot be read as int"),
        ("a: !!bool perhaps", "cannot be read as bool"),
        ("a: !!int ''", "cannot be read as int"),
        ("m:\n  a: 1\n  b: 2\n  a: 3", r"x\.yml:4: the key 'a' is here twice"),
        ("m: {1: a, 1: b}", r"x\.yml:1: the key '1' is here twice"),
        ("m:\n  yes: 1", r"x\.yml:2: 'yes' cannot be a key"),
        ("m:\n  1.5: 1", r"x\.yml:2: '1\.5' cannot be a key"),
        ("m:\n  ~: 1", r"x\.yml:2: '~' cannot be a key"),
        ("m:\n  ? [a]\n  : 1", r"x\.yml:2: this cannot be a key"),
        ("m:\n  <<: 3", r"x\.yml:2: << takes a mapping"),
        ("- a\n- b", r"x\.yml:1: a scenario is a mapping"),
        ("just text", r"x\.yml:1: a scenario is a mapping"),
        ("", r"x\.yml: the file is empty"),
        ("# nothing", r"x\.yml: the file is empty"),
        ("a: 1\n---\nb: 2", r"x\.yml:2: not valid YAML"),
        ("a: 1\n b: 2", r"x\.yml:2: not valid YAML"),
        ("a: *nobody", r"x\.yml:1: not valid YAML: found undefined alias"),
        ("a: 'open", r"x\.yml:1: not valid YAML"),
        ("a:\t1\n\tb: 2", r"x\.yml:\d: not valid YAML"),
        ("a: \x07", r"x\.yml: not valid YAML"),
        ("%YAML 9.9\n---\na: 1", r"x\.yml:1: not valid YAML"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_hostile_and_wrong_files_are_one_message(text: str, message: str) -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError) as raised:
        parse_scenario(text, "x.yml")
    assert time.monotonic() - began < 60
    assert RAN == []
    assert re.search(message, str(raised.value)), str(raised.value)
    assert "\n" not in raised.value.message


@given(st.text(alphabet=st.sampled_from("ab:- \n&*{}[]'\"!<>|?#%1,"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_whatever_is_written_is_values_or_one_error(text: str) -> None:
    told = ""
    try:
        values = plain(parse_scenario(text, "x.yml"))
    except DarksideError as error:
        told = error.message
    assert told.startswith("x.yml") if told else isinstance(values, dict)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
            ),
            max_leaves=10,
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=200, deadline=None)
def test_what_pyyaml_writes_is_read_as_it_was(values: dict[str, Any]) -> None:
    assert plain(parse_scenario(yaml.safe_dump(values), "x.yml")) == values


def test_values_are_those_of_the_reference() -> None:
    text = (
        "{a: 3.e-4, b: 3e-4, c: yes, d: null, e: ~, f: .inf, g: 0_1, h: 2001-01-01, i: 0x1f, j: '1', k: 1.0}"
    )
    values = {
        "a": 3e-4, "b": "3e-4", "c": True, "d": None, "e": None, "f": float("inf"), "g": 1, "h": "2001-01-01",
        "i": 31, "j": "1", "k": 1.0,
    }  # fmt: skip
    assert plain(parse_scenario(f"m: {text}", "x.yml")) == {"m": values}


def test_merge_keys_and_places() -> None:
    text = "base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\nm:\n  <<: [*b, *o]\n  x: 5\n"
    table = parse_scenario(text, "x.yml", rank=3)
    assert plain(table)["m"] == {"x": 5, "y": 2, "z": 4}
    m = table.entries["m"]
    assert str(m.place) == "x.yml:3"
    assert m.place.rank == 3
    assert str(m.entries["x"].place) == "x.yml:5"  # type: ignore[union-attr]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    big = tmp_path / "big.yml"
    big.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        read_scenario_file(big)
    latin = tmp_path / "latin.yml"
    latin.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"latin\.yml:2: not UTF-8"):
        read_scenario_file(latin)
    with pytest.raises(ConfigError, match="cannot read"):
        read_scenario_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_scenario_file(tmp_path / "no.yml")
    marked = tmp_path / "marked.yml"
    marked.write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert plain(read_scenario_file(marked)) == {"a": 1}


@pytest.mark.parametrize("text", ["a=" + "[" * 100_000, ".".join("a" * 200) + "=1", "a=[NaN", 'a="', "a={"])
def test_hostile_overrides(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_override(text)
    assert len(raised.value.message) < 1000 or "argument" in raised.value.message
