"""Every number of every configuration has a lower and an upper bound, of networks that files state too."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, get_args

import pytest

from darkside_cli.config.load import preset_names, resolve
from darkside_cli.config.schema import SchemaKey, option, schema_fields, walk
from darkside_cli.config.values import check_values
from darkside_cli.errors import ConfigError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.methods.catalog import METHODS
from darkside_cli.methods.config import CycleGanConfig, HedGanConfig, RelightConfig
from darkside_cli.methods.network_options import DISCRIMINATORS, GENERATORS
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.registry import resolve as import_target
from darkside_cli.retrieval.config import FinetuneConfig

COMMANDS = [*(import_target(method.config) for method in METHODS), FinetuneConfig]
SCHEMAS = [*COMMANDS, *(import_target(entry.config) for entry in ARCHITECTURES), ClaheSettings]


def is_number(annotation: Any) -> bool:
    """Whether a value can be a number, or have numbers in it."""
    return annotation in (int, float) or any(
        is_number(each) for each in get_args(annotation) if isinstance(each, type) or get_args(each)
    )


def numbers(schema: type) -> Iterator[SchemaKey]:
    return (key for key in walk(schema) if is_number(key.annotation))


def test_what_counts_as_a_number() -> None:
    assert all(map(is_number, (int, float | None, tuple[int, ...], int | tuple[int, int], dict[str, float])))
    assert not any(map(is_number, (str, bool, str | None, tuple[str, ...])))
    assert len(list(numbers(CycleGanConfig))) > 40


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
def test_every_number_has_both_bounds_and_a_default_within_them(schema: type) -> None:
    for key in numbers(schema):
        low, high = key.option.minimum, key.option.maximum
        assert low is not None, f"{schema.__name__}.{'.'.join(key.path)} has no minimum"
        assert high is not None, f"{schema.__name__}.{'.'.join(key.path)} has no maximum"
        assert -math.inf < low < high < math.inf
        values = key.default if isinstance(key.default, tuple) else (key.default,)
        assert all(value is None or low <= value <= high for value in values), key.path


@pytest.mark.parametrize("schema", COMMANDS, ids=lambda schema: schema.__name__)
def test_what_is_beyond_a_bound_is_named_with_its_range(schema: type) -> None:
    for key in numbers(schema):
        name = ".".join(key.path)
        if schema is RelightConfig and _kind_with(schema, key):
            continue  # it takes no other generator
        for given in ("1e300", "1000000000000000", "-1e300", "nan", "inf", "[nan, nan]", "[1, inf]"):
            with pytest.raises(ConfigError) as caught:
                resolve(
                    schema, overrides=[*_kind_with(schema, key), f"{name}={given}"], flags=_method_of(schema)
                )
            assert caught.value.message.startswith(name)
            assert given.startswith("[") or f"from {_shown(key)}" in caught.value.message


def _kind_with(schema: type, key: SchemaKey) -> list[str]:
    """What makes a network of the kind that has the setting ``key``, or nothing if the usual one has it."""
    table = schema_fields(schema)[key.path[0]]
    if table.option.kinds is None or key.path[1] in schema_fields(type(table.default())):
        return []
    registry = {"generator": GENERATORS, "discriminator": DISCRIMINATORS}.get(key.path[0])
    for entry in registry or ():
        if key.path[1] in schema_fields(import_target(entry.target)):
            return [f"{key.path[0]}.kind={entry.name}"]
    return []


def _method_of(schema: type) -> dict[str, Any]:
    method = next((each.name for each in METHODS if import_target(each.config) is schema), None)
    return {} if method is None else {"method": method}


def _shown(key: SchemaKey) -> str:
    low = key.option.minimum
    assert low is not None
    return f"{low:g} to "


@pytest.mark.parametrize(
    ("schema", "setting", "says"),
    [
        (HedGanConfig, "data.size=1e9", "is not a whole number from 1 to 10,000,000"),
        (HedGanConfig, "generator.n_blocks=1000000000", "is not a whole number from 1 to 200"),
        (HedGanConfig, "data.crop_px=1000000000", "is not a whole number from 4 to 4096"),
        (HedGanConfig, "data.crop_px=[256, 1000000000]", "from 4 to 4096"),
        (HedGanConfig, "generator.ngf=1000000000", "is not a whole number from 1 to 1024"),
        (HedGanConfig, "generator.working_px=1000000000", "is not a whole number from 16 to 4096"),
        (HedGanConfig, "discriminator.n_layers=1000", "is not a whole number from 1 to 12"),
        (HedGanConfig, "data.scale=[nan, 1.0]", "data.scale[0] = nan"),
        (FinetuneConfig, "data.image_size_px=1000000000", "is not a whole number from 8 to 4096"),
        (FinetuneConfig, "whitening.scales=nan", "each is from 0.01 to 8, and nan is not"),
        (FinetuneConfig, "evaluation.scales=1,1e9", "each is from 0.01 to 8, and 1e+09 is not"),
    ],
)
def test_absurd_settings(schema: type, setting: str, says: str) -> None:
    """Each of these hung, filled the memory, or ended in an error of torch's."""
    with pytest.raises(ConfigError) as caught:
        resolve(schema, overrides=[setting], flags=_method_of(schema))
    assert setting.partition("=")[0] in caught.value.message
    assert says in caught.value.message
    assert "write 1000000000" not in (caught.value.hint or "")


def test_what_is_shipped_is_within_the_bounds() -> None:
    for preset in preset_names("train-gan"):
        found = 0
        for schema in COMMANDS[:-1]:
            with suppress(ConfigError):  # some presets are of some methods only
                check_values(
                    resolve(schema, preset=preset, command="train-gan", flags=_method_of(schema)).value
                )
                found += 1
        assert found, preset
    for preset in preset_names("finetune"):
        check_values(resolve(FinetuneConfig, preset=preset, command="finetune").value)


# Of instances


def test_configurations_made_in_python_are_checked_too() -> None:
    usual = CycleGanConfig()
    assert check_values(usual)["pool_size"] == 50
    wrong = replace(usual, data=replace(usual.data, size=10**9))
    with pytest.raises(
        ConfigError, match=r"^data\.size must be a whole number from 1 to 10,000,000 or none, not 10{9}"
    ):
        check_values(wrong)
    with pytest.raises(ConfigError, match=r"^data\.scale\[1\] must be a number from 0\.01 to 8, not 9\.0"):
        check_values(replace(usual, data=replace(usual.data, crop_px=[256, 256], scale=(1.0, 9.0))))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"method = .*: these are the options of cyclegan"):
        check_values(replace(usual, method="cut"))


@dataclass(frozen=True)
class Sizes:
    sides: tuple[int, ...] = option((1,), minimum=1, maximum=9)
    inner: ClaheSettings | None = None


def test_instances() -> None:
    assert check_values(Sizes([3, 4]))["sides"] == (3, 4)  # type: ignore[arg-type]
    assert check_values(Sizes(inner=ClaheSettings(2)))["inner"] == ClaheSettings(2.0)
    for wrong in (Sizes((0,)), Sizes((1, 10)), Sizes("12"), Sizes(None), Sizes(inner=3)):  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"^(sides|inner)"):
            check_values(wrong)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ((1.0, 10**9), "clahe.grid_size must be a whole number from 1 to 256, not 1000000000"),
        ((1.0, 8.5), "clahe.grid_size must be a whole number"),
        ((1.0, True), "clahe.grid_size must be a whole number"),
        ((math.nan, 8), "clahe.clip_limit must be a number from 1e-06 to 1000, not nan"),
        ((0.0, 8), "clahe.clip_limit must be a number"),
        (("1", 8), "clahe.clip_limit must be a number"),
    ],
)
def test_clahe(settings: tuple[Any, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClaheSettings(*settings)
    assert says in caught.value.message
    assert ClaheSettings(2, 4.0) == ClaheSettings(2.0, 4)  # type: ignore[arg-type]
