"""Scenario files put together: templates, overlays, overrides, and the laws of laying one thing over another."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resolved_steps import resolve_target

from darkside_cli.errors import ConfigError, UnknownNameError, UsageError
from darkside_cli.scenario.load import load_scenario
from darkside_cli.scenario.resolve import TargetResolver, step_order
from darkside_cli.scenario.tree import Place, Table, from_plain, lay_over, plain


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write files, ``write(**{"a.yml": "..."})``, in the working directory."""
    monkeypatch.chdir(tmp_path)

    def make(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def test_templates_nest_and_the_values_beside_them_win(write: Any) -> None:
    write(
        {
            "a.yml": "__template__: parts/b.yml\nt: {x: {own: 1}}\n",
            "parts/b.yml": "__template__: deep/c.yml\nt: {x: {own: 2, from_b: b}}\n",
            "parts/deep/c.yml": "t: {x: {own: 3, from_b: c, from_c: c, d: {__template__: d.yml, k: 0}}}\n",
            "parts/deep/d.yml": "{k: 5, l: 6}\n",
        }
    )
    assert load_scenario(["a.yml"]).plain() == {
        "t": {"x": {"own": 1, "from_b": "b", "from_c": "c", "d": {"k": 0, "l": 6}}}
    }


def test_a_template_in_a_template_is_replaced_by_naming_another(write: Any) -> None:
    write(
        {
            "a.yml": "__template__: base.yml\nnet: {__template__: two.yml}\n",
            "base.yml": "net: {__template__: one.yml, size: 9}\n",
            "one.yml": "{kind: one, size: 1, only_one: 1}\n",
            "two.yml": "{kind: two, size: 2}\n",
        }
    )
    assert load_scenario(["a.yml"]).plain() == {"net": {"kind": "two", "size": 9}}
    assert load_scenario(["a.yml", "net.__template__=null"]).plain() == {"net": {"size": 9}}


def test_templates_in_lists_and_aliases_are_filled_in(write: Any) -> None:
    write(
        {
            "a.yml": "a: &it {__template__: t.yml, extra: {l: [1]}, extra.l+: [2]}\nb: *it\nc: [*it, 1]\n",
            "t.yml": "k: 1\n",
        }
    )
    one = {"k": 1, "extra": {"l": [1, 2]}}
    assert load_scenario(["a.yml"]).plain() == {"a": one, "b": one, "c": [one, 1]}


def test_a_later_dotted_key_hides_an_overlay_and_that_is_told(write: Any) -> None:
    write({"a.yml": "m: {__template__: t.yml, net.path: here}\n", "t.yml": "net: {path: null}\n"})
    scenario = load_scenario(["a.yml", "m.net.path=there"])
    assert scenario.plain()["m"]["net"]["path"] == "here"
    assert len(scenario.notes) == 1
    assert "has no effect" in scenario.notes[0]
    (quoted,) = re.findall(r'm\."net\.path"', scenario.notes[0])
    mended = load_scenario(["a.yml", f"{quoted}=there"])
    assert mended.plain()["m"]["net"]["path"] == "there"
    assert mended.notes == ()


def test_overrides_are_json_or_text(write: Any) -> None:
    write({"a.yml": "m: {a: 1, l: [1, 2]}\n"})
    for text, value in {
        "m.a=null": None, "m.a=1e-4": 1e-4, "m.a=true": True, "m.a=some text": "some text", 'm.a="1"': "1",
        'm.a=["x", {"y": 2}]': ["x", {"y": 2}], "m.a=/data/a=b": "/data/a=b", "m.a=": "",
    }.items():  # fmt: skip
        if text == "m.a=":
            with pytest.raises(ConfigError, match="not JSON"):
                load_scenario(["a.yml", text])
            continue
        assert load_scenario(["a.yml", text]).plain()["m"]["a"] == value
    assert load_scenario(["a.yml", "m.l.1=9"]).plain()["m"]["l"] == [1, 9]
    assert load_scenario(["a.yml", "m.l*=[3]"]).plain()["m"]["l"] == [3]
    assert load_scenario(["a.yml", "m.l+=[3]"]).plain()["m"]["l"] == [1, 2, 3]
    for wrong in ("m.l=[3]", "m.a=[1", "=1", "m..a=1", ".m=1", 'm."a=1', "m.l.2=1", "m.a+=[1]"):
        with pytest.raises(ConfigError):
            load_scenario(["a.yml", wrong])


def test_operators_that_meet_nothing(write: Any) -> None:
    write({"a.yml": "m: {l*: [1], n: {k*: 2}}\n", "b.yml": "m: {l+: [1]}\n"})
    assert load_scenario(["a.yml"]).plain() == {"m": {"l": [1], "n": {"k": 2}}}
    with pytest.raises(ConfigError, match=r"b\.yml:1: m\.l\+ appends to m\.l, which is not there"):
        load_scenario(["b.yml"])


def test_texts_are_appended_to_texts_alone(write: Any) -> None:
    write({"a.yml": "m: {t: a, n: 1, l: [1]}\n"})
    assert load_scenario(["a.yml", "m.t+=,b"]).plain()["m"]["t"] == "a,b"
    for wrong in ("m.n+=1", "m.t+=[1]", "m.l+=x", "m+=1"):
        with pytest.raises(ConfigError, match="lists are appended to lists"):
            load_scenario(["a.yml", wrong])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.yml": "__template__: a.yml\n"}, r"a\.yml:1: __template__: templates go round in a ring: a\.yml"),
        (
            {
                "a.yml": "__template__: b.yml\n",
                "b.yml": "m: {__template__: c.yml}\n",
                "c.yml": "{x: {__template__: b.yml}}\n",
            },
            r"[bc]\.yml:1: m\.(x|m|\.)*\.__template__: templates go round in a ring: c\.yml -> b\.yml -> c\.yml",
        ),
        (
            {"a.yml": "m:\n  x: {__template__: no.yml}\n"},
            r"a\.yml:2: m\.x\.__template__ names no\.yml, and there is no no\.yml",
        ),
        ({"a.yml": "m: {__template__: [b.yml]}\n"}, r"a\.yml:1: m\.__template__ is not the name of a file"),
        ({"a.yml": "m: {__template__: ''}\n"}, r"m\.__template__ is not the name of a file"),
        ({"a.yml": "m: {__template__: b.yml}\n", "b.yml": "[1]\n"}, r"b\.yml:1: a scenario is a mapping"),
        ({"a.yml": "m: {__template__: .}\n"}, "cannot read the scenario"),
    ],
)  # fmt: skip
def test_wrong_templates_are_told_with_file_and_path(write: Any, files: dict[str, str], message: str) -> None:
    write(files)
    with pytest.raises(ConfigError, match=message):
        load_scenario(["a.yml"])


def test_templates_that_multiply_end(write: Any) -> None:
    files = {
        f"{n}.yml": f"{{a: {{__template__: {n + 1}.yml}}, b: {{__template__: {n + 1}.yml}}}}\n"
        for n in range(20)
    }
    write({**files, "20.yml": "x: 1\n"})
    with pytest.raises(ConfigError, match="more than 1000 templates"):
        load_scenario(["0.yml"])


def test_what_contains_itself_by_a_dotted_key_is_refused(write: Any) -> None:
    write({"a.yml": "m: {__template__: t.yml, a: &o {x: {y: 1}}, a.x: *o}\n", "t.yml": "k: 1\n"})
    with pytest.raises(ConfigError, match=r"contains itself|nested too deep"):
        load_scenario(["a.yml"])


def test_unknown_scenarios_name_near_matches(write: Any) -> None:
    write({"a.yml": "main: {1_x: {__function__: f}}\n", "dir/x": ""})
    with pytest.raises(UnknownNameError, match=r"did you mean .*iccv23/train/hedngan\.yml"):
        load_scenario(["iccv23/train/hednga.yml"])
    with pytest.raises(ConfigError, match="is a folder"):
        load_scenario(["dir"])
    with pytest.raises(ConfigError, match="is no scenario file"):
        load_scenario(["a.b=1"])
    with pytest.raises(ConfigError, match="no scenario is given"):
        load_scenario([])
    with pytest.raises(UnknownNameError, match="did you mean main"):
        load_scenario(["a.yml"]).target("man")


def test_own_files_come_before_published_ones(write: Any) -> None:
    write({"iccv23/train/cut.yml": "mine: {1_x: {__function__: f}}\n"})
    assert load_scenario(["iccv23/train/cut.yml"]).targets() == ("mine",)
    assert "all" in load_scenario(["iccv23/train/hedgan.yml"]).targets()


def test_targets_steps_and_private_keys(write: Any) -> None:
    write(
        {
            "a.yml": "_shared: &s {__function__: f, v: '${_own.k}-${SCENARIO_NAME}'}\n"
            "good: {_own: {k: 7}, 1_x: *s, 2_y: null}\n"
            "note: {text: hello}\nvalue: 3\nempty: {}\nstep: {1_x: {k: 1}}\n",
        }
    )
    scenario = load_scenario(["a.yml"])
    assert scenario.targets() == ("good",)
    (step,) = resolve_target(scenario, "good")
    assert (step.name, step.function, step.plain()) == ("1_x", "f", {"v": "7-a"})
    for target, message in {
        "note": r"a\.yml:3: note\.text is no step",
        "value": r"a\.yml:4: 'value' is no target",
        "step": r"a\.yml:6: step\.1_x does not say what it does",
        "_shared": "unknown target",
    }.items():
        with pytest.raises(UsageError, match=message):
            scenario.target(target)


def test_the_last_file_gives_the_name(write: Any) -> None:
    write({"sub/a.yml": "m: {}\n", "b.yaml": "m: {}\n"})
    assert load_scenario(["sub/a.yml"]).name == "a"
    assert load_scenario(["sub/a.yml", "b.yaml", "m.x=1"]).name == "b"


def test_order_of_steps() -> None:
    names = ["10_last", "2_b", "1_z", "1_a", "b", "a"]
    assert step_order(names) == ["1_z", "1_a", "2_b", "10_last", "a", "b"]
    assert step_order(names, "original") == ["10_last", "1_a", "1_z", "2_b", "a", "b"]


VARIABLES = """
t:
  1_a: {__function__: f, n: 1, d: {k: [x, y]}, s: SCENARIO}
  2_b:
    __function__: f
    v: %s
  3_c: {__function__: f}
"""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${1_a.parameters.d.k.1}", "y"),
        ("${1_a.d.k.1}", "y"),  # as the original's README writes it
        ("${1_a.n}", 1),
        ("'${1_a.d}'", {"k": ["x", "y"]}),
        ("'{${1_a.n}}'", "{1}"),
        ("'${1_a._output_metadata}'", {}),
        ("'x${1_a._output_metadata.score}'", "x${1_a._output_metadata.score}"),
        ("'${1_a._output_metadata.score}'", "${1_a._output_metadata.score}"),
        ("'{a: [${1_a.n}, {b: x${1_a.n}}]}'", "{a: [1, {b: x1}]}"),
        ("{'k${1_a.n}': ['${1_a.n}']}", {"k1": [1]}),
    ],
)
def test_variables(write: Any, value: str, expected: Any) -> None:
    write({"a.yml": VARIABLES % value})
    assert resolve_target(load_scenario(["a.yml"]), "t")[1].plain()["v"] == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${3_c.k}", r"a\.yml:6: t\.2_b\.v: \$\{3_c\.k\} stands for nothing: '3_c' runs later"),
        ("${2_b.k}", "a step cannot use its own values"),
        ("${1_a.dd}", r"'1_a\.parameters' has no 'dd'; did you mean d\?|has no 'dd'"),
        ("${1_a.n.x}", "is a single value, without 'x'"),
        ("${1_a.d.k.2}", "is a list of 2 items, without '2'"),
        ("${SCENARIO_NAM}", "did you mean SCENARIO_NAME"),
        ("${}", "has no ''"),
        ("{'${1_a.d}': 1}", "cannot be a key|unhashable"),
    ],
)
def test_undefined_variables_are_told(write: Any, value: str, message: str) -> None:
    write({"a.yml": VARIABLES % value})
    with pytest.raises(ConfigError) as raised:
        resolve_target(load_scenario(["a.yml"]), "t")
    assert re.search(message, str(raised.value)), str(raised.value)


def test_outputs_of_steps_reach_later_ones(write: Any) -> None:
    write({"a.yml": VARIABLES % "'${1_a._output_metadata.score} of ${1_a.n}'"})
    resolver = TargetResolver(load_scenario(["a.yml"]), "t")
    resolver.resolve("1_a")
    resolver.finish("1_a", {"score": 0.5})
    assert resolver.resolve("2_b").plain()["v"] == "0.5 of 1"
    assert resolver.notes() == ()


def test_steps_that_copy_one_another_do_not_explode(write: Any) -> None:
    lines = ["t:", "  01_s: {__function__: f, a: [0, 0, 0, 0, 0, 0, 0, 0]}"]
    for n in range(2, 30):
        copies = ", ".join(f"k{i}: '${{{n - 1:02}_s.parameters}}'" for i in range(8))
        lines.append(f"  {n:02}_s: {{__function__: f, {copies}}}")
    write({"a.yml": "\n".join(lines)})
    with pytest.raises(ConfigError, match="larger than"):
        resolve_target(load_scenario(["a.yml"]), "t")


# The laws of laying one mapping over another

KEYS = st.sampled_from(["a", "b", "c"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text("xyz", max_size=2)
TREES = st.recursive(SCALARS, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=12)
TABLES = st.dictionaries(KEYS, TREES, max_size=3)
WITH_LISTS = st.recursive(
    SCALARS,
    lambda inner: st.dictionaries(KEYS, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=12,
)


def tree(value: dict[str, Any]) -> Table:
    node = from_plain(json.loads(json.dumps(value)), Place("x"))
    assert isinstance(node, Table)
    return node


def laid(*layers: dict[str, Any]) -> Any:
    base = tree(layers[0])
    for layer in layers[1:]:
        lay_over(base, tree(layer))
    return plain(base)


@given(TABLES, TABLES, TABLES)
@settings(max_examples=200, deadline=None)
def test_laying_over_is_associative_and_idempotent(
    a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]
) -> None:
    above = laid(b, c)
    assert laid(a, b, c) == laid(a, above) or _replaced_by_scalar(a, b, c)
    assert laid(a, b, b) == laid(a, b)
    assert laid(a, {}) == a
    assert laid({}, a) == a


def _replaced_by_scalar(a: Any, b: Any, c: Any) -> bool:
    """Where a value in between is no mapping, it forgets what is below: then the two ways may differ."""
    if not all(isinstance(each, dict) for each in (a, b, c)):
        return not isinstance(b, dict) and isinstance(a, dict) and isinstance(c, dict)
    return any(_replaced_by_scalar(a.get(k, {}), b[k], c.get(k, {})) for k in b)


@given(TABLES, TABLES)
@settings(max_examples=200, deadline=None)
def test_every_value_of_the_overlay_is_there(a: dict[str, Any], b: dict[str, Any]) -> None:
    result = laid(a, b)

    def holds(value: Any, within: Any) -> bool:
        if isinstance(value, dict) and value:
            return isinstance(within, dict) and all(
                k in within and holds(v, within[k]) for k, v in value.items()
            )
        return value == {} or value == within

    assert holds(b, result)
    assert set(result) == set(a) | set(b)
    assert list(result)[: len(a)] == list(a)  # what was there keeps its place


@given(st.dictionaries(KEYS, WITH_LISTS, max_size=3), st.dictionaries(KEYS, WITH_LISTS, max_size=3))
@settings(max_examples=200, deadline=None)
def test_two_lists_are_an_error_unless_it_is_said_how(a: dict[str, Any], b: dict[str, Any]) -> None:
    def clash(x: Any, y: Any) -> bool:
        if isinstance(x, list) and isinstance(y, list):
            return True
        return (
            isinstance(x, dict)
            and isinstance(y, dict)
            and any(clash(x[k], y[k]) for k in x.keys() & y.keys())
        )

    if clash(a, b):
        with pytest.raises(ConfigError, match="which one is meant"):
            laid(a, b)
    else:
        laid(a, b)
    replaced = laid(a, {f"{key}*": value for key, value in b.items()})
    assert replaced == {**a, **b}
