"""Scenario files: what is put together, what variables stand for, and every published scenario and target."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import golden
import pytest
from resolved_steps import resolve_target

from darkside_cli.errors import DarksideError
from darkside_cli.interop.transform_words import split_outside_brackets
from darkside_cli.scenario.files import find_scenario, published_scenarios
from darkside_cli.scenario.load import Scenario, load_scenario
from darkside_cli.scenario.plan import translate_step
from darkside_cli.scenario.resolve import TargetResolver, look_up, substitute
from darkside_cli.scenario.step import jsonable

SEMANTICS = golden.load_case("yaml_semantics").values
RESOLVED = golden.load_case("resolved_scenarios").values
#: Recorded targets in which the reference fine-tunes before it trains what that needs: a fault of its order.
TRAINING, TUNING = "1_train_augment", "1_finetune_embed"
DISORDERED = [
    key
    for key, steps in RESOLVED.items()
    if [s["step"] for s in steps if s["step"] in (TRAINING, TUNING)] == [TUNING, TRAINING]
]


def _published(key: str) -> tuple[Scenario, str]:
    """Scenario and target of a recorded key; another set may have scenarios that are not shipped, and fewer."""
    folder, name, target = key.split("/")
    file = f"iccv23/{folder}/{name}.yml"
    if golden.OTHER_SET and file not in published_scenarios():
        pytest.skip(f"{file} is not shipped")
    return _loaded(file), target


@cache
def _loaded(file: str) -> Scenario:
    return load_scenario([file])


@pytest.fixture(autouse=True)
def _in_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(golden.DATA / "files" / "yaml")


def _name(case: dict[str, Any]) -> str:
    return " ".join(case["arguments"])


@pytest.mark.parametrize("case", SEMANTICS["loaded"], ids=_name)
def test_files_are_put_together(case: dict[str, Any]) -> None:
    assert load_scenario(case["arguments"]).plain() == case["result"]


def _resolve_all(case: dict[str, Any]) -> None:
    """Load a case's files and resolve its target, or all that there are."""
    scenario = load_scenario(case["arguments"])
    for target in [case["target"]] if "target" in case else scenario.targets():
        resolve_target(scenario, target)


@pytest.mark.parametrize("case", SEMANTICS["errors"], ids=_name)
def test_mistakes_are_told_with_file_and_line(case: dict[str, Any]) -> None:
    with pytest.raises(DarksideError, match=r"\.yml:\d+: \w+\.") as raised:
        _resolve_all(case)
    assert raised.value.hint or "list of" in raised.value.message


@pytest.mark.parametrize("case", SEMANTICS["executed"], ids=_name)
def test_steps_get_their_parameters(case: dict[str, Any]) -> None:
    scenario = load_scenario(case["arguments"])
    steps = resolve_target(scenario, case["target"], order="original")
    assert scenario.name == case["SCENARIO_NAME"]
    assert [
        {"step": step.name, "function": step.function, "parameters": step.plain()} for step in steps
    ] == case["steps"]


def _evaluated(value: Any, reference: Any) -> Any:
    return substitute(value, lambda name: look_up(name, reference))


def test_expressions() -> None:
    expressions = SEMANTICS["expressions"]
    assert expressions["results"]
    for text, value in expressions["results"]:
        found = _evaluated(text, expressions["reference"])
        assert found == value, text
        assert type(found) is type(value), text


def test_an_expression_in_keys_and_lists() -> None:
    """The recorded mapping, written with variables of the recorded reference."""
    reference = SEMANTICS["expressions"]["reference"]
    if SEMANTICS["expressions"]["dict"] != {"z": 1, "key_1": [3, {"q": "txt"}]}:
        pytest.skip("another set has another mapping")
    given = {"z": 1, "${k}_1": ["${a.n}", {"q": "${a.s}"}]}
    assert _evaluated(given, reference) == SEMANTICS["expressions"]["dict"]


@pytest.mark.parametrize(("text", "parts"), SEMANTICS["split"])
def test_lists_are_split_outside_of_brackets(text: str, parts: list[str]) -> None:
    assert split_outside_brackets(text) == parts


@pytest.mark.parametrize("key", RESOLVED)
def test_published_scenarios_resolve(key: str) -> None:
    scenario, target = _published(key)
    found = [
        {"step": step.name, "function": step.function, "parameters": jsonable(step.plain())}
        for step in resolve_target(scenario, target, order="original")
    ]
    assert found == RESOLVED[key]


def test_every_recorded_target_is_published_and_no_other() -> None:
    published = {
        f"{Path(name).parent.name}/{Path(name).stem}/{target}"
        for name in published_scenarios()
        for target in load_scenario([name]).targets()
    }
    if golden.OTHER_SET:
        assert published & set(RESOLVED)
    else:
        assert published == set(RESOLVED)
    assert all(find_scenario(name).is_file() for name in published_scenarios())


@pytest.mark.parametrize("key", DISORDERED)
def test_our_order_trains_before_it_fine_tunes(key: str) -> None:
    """The reference's order of ``all`` is a fault; ours is the same steps, mended, and it says so."""
    scenario, target = _published(key)
    resolver = TargetResolver(scenario, target, outputs_known=False)
    recorded = [step["step"] for step in RESOLVED[key]]
    assert sorted(resolver.order) == sorted(recorded)
    assert resolver.order.index(TRAINING) < resolver.order.index(TUNING)
    assert f"{TRAINING} runs before {TUNING}" in resolver.notes()[0]
    rest = [step for step in resolver.order if step not in (TRAINING, TUNING)]
    assert rest == [step for step in recorded if step not in (TRAINING, TUNING)]


@pytest.mark.parametrize("key", RESOLVED)
def test_every_key_of_published_scenarios_is_translated(key: str) -> None:
    scenario, target = _published(key)
    for step in resolve_target(scenario, target):
        translated = translate_step(step)
        assert [str(problem) for problem in translated.problems] == []
        assert translated.step is not None
