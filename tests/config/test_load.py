"""Layers, types and messages of configurations, on schemas small enough to know every answer."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.config import sources
from darkside_cli.config.load import Origin, preset_names, resolve
from darkside_cli.config.schema import option
from darkside_cli.config.words import plain
from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.registry import Entry, Registry

COLOURS = Registry(
    "colour", (Entry(name="amber", summary="", aliases=("yellow",)), Entry(name="blue", summary=""))
)


class Norm(Enum):
    BATCH = "batch"
    INSTANCE = "instance"
    OBJECT = object()


def _even(value: int) -> None:
    if value % 2:
        raise ValueError("must be even")


@dataclass(frozen=True, kw_only=True)
class Optim:
    lr: float = option(2e-4, help="step size", minimum=0)
    lr_decay: float | None = None
    betas: tuple[float, float] = option((0.5, 0.999), minimum=0, maximum=1)
    steps: int = option(10, minimum=1, maximum=1000)


@dataclass(frozen=True, kw_only=True)
class Warmup:
    steps: int = 100
    start: float = 0.1

    def __post_init__(self) -> None:
        if self.start > self.steps:
            raise ValueError("start lies beyond steps")


@dataclass(frozen=True, kw_only=True)
class Train:
    name: str = "run"
    amp: bool = False
    day: Path = Path("day.txt")
    night: Optional[Path] = None  # noqa: UP045 - the old spelling has to work too
    norm: Norm = Norm.BATCH
    edges: Literal["hed", "rcf", 3] = "hed"
    colour: str = option("amber", choices_from=f"{__name__}:COLOURS")
    model: str = option("amber", choices_from=f"{__name__}:COLOURS", open_ended=True)
    sizes: tuple[int, ...] = (256,)
    tags: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=lambda: {"gan": 1.0})
    limit: int | Literal["auto"] | None = "auto"
    batch: int = option(2, help="images per step", validate=_even)
    optim: Optim = field(default_factory=Optim)
    slow: Optim = Optim(lr=1e-6)
    warmup: Warmup | None = None
    stages: tuple[Warmup, ...] = ()
    losses: dict[str, Warmup] = field(default_factory=dict)


def message(schema: type = Train, **layers: Any) -> str:
    """The error that ``resolve`` raises, message and hint."""
    with pytest.raises(ConfigError) as caught:
        resolve(schema, **layers)
    return str(caught.value)


def written(folder: Path, text: str, name: str = "run.toml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


# Layers


def test_defaults_alone() -> None:
    resolved = resolve(Train)
    assert resolved.value == Train()
    assert set(resolved.origins.values()) == {Origin("default")}
    assert "optim.lr" in resolved.origins
    assert "weights.gan" in resolved.origins
    assert resolved.origins.keys() >= {"warmup", "stages", "losses", "tags"}


def test_every_layer_overrides_the_one_below(tmp_path: Path) -> None:
    preset = written(tmp_path, "name = 'p'\nbatch = 4\n[optim]\nlr = 1\nsteps = 2\nlr_decay = 1", "p.toml")
    file = written(tmp_path, "batch = 6\n[optim]\nlr = 2\nsteps = 3")
    resolved = resolve(
        Train,
        preset=preset,
        file=file,
        overrides=["optim.lr=3", "batch=8", "optim.lr=4"],
        flags={"batch": 10, "amp": None, "optim.lr_decay": None},
    )
    assert resolved.value == Train(name="p", batch=10, optim=Optim(lr=4.0, steps=3, lr_decay=1.0))
    origins = resolved.origins
    assert origins["name"] == Origin("preset", str(preset))
    assert origins["optim.lr_decay"] == Origin("preset", str(preset))
    assert origins["optim.steps"] == Origin("file", str(file))
    assert origins["optim.lr"] == Origin("set", "optim.lr=4")
    assert origins["batch"] == Origin("flag", "batch")
    assert origins["amp"] == Origin("default")


def test_origins_in_words() -> None:
    assert str(Origin("default")) == "default"
    assert str(Origin("preset", "train-gan/paper")) == "preset train-gan/paper"
    assert str(Origin("file", "a.toml")) == "file a.toml"
    assert str(Origin("set", "a=1")) == "--set a=1"
    assert str(Origin("flag", "optim.lr")) == "command line, optim.lr"


def test_nested_default_instance_stays_below_what_is_given() -> None:
    value = resolve(Train, overrides=["slow.steps=7"]).value
    assert value.slow == Optim(lr=1e-6, steps=7)


def test_tables_merge_key_by_key_and_lists_are_replaced() -> None:
    value = resolve(
        Train, overrides=["weights.nce=2", "weights={idt = 3}", "sizes=[1, 2]", "sizes=[3]"]
    ).value
    assert value.weights == {"gan": 1.0, "nce": 2.0, "idt": 3.0}
    assert value.sizes == (3,)


def test_optional_table_appears_with_its_first_key_and_goes_with_none(tmp_path: Path) -> None:
    assert resolve(Train, overrides=["warmup.steps=5"]).value.warmup == Warmup(steps=5)
    assert resolve(Train, overrides=["warmup={}"]).value.warmup == Warmup()
    file = written(tmp_path, "[warmup]\nsteps = 5")
    gone = resolve(Train, file=file, overrides=["warmup=none"])
    assert gone.value.warmup is None
    assert gone.origins["warmup"] == Origin("set", "warmup=none")
    back = resolve(Train, file=file, overrides=["warmup=none", "warmup.start=0.2"])
    assert back.value.warmup == Warmup(start=0.2)  # the file's steps went with "none"


def test_tables_in_lists_and_in_tables(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        [[stages]]
        steps = 1
        [[stages]]
        start = 0.5
        [losses.edge]
        steps = 9
        """,
    )
    resolved = resolve(Train, file=file, overrides=["losses.edge.start=0.25"])
    assert resolved.value.stages == (Warmup(steps=1), Warmup(start=0.5))
    assert resolved.value.losses == {"edge": Warmup(steps=9, start=0.25)}
    assert resolved.origins["stages"].kind == "file"
    assert resolved.origins["losses.edge.steps"].kind == "file"
    assert resolved.origins["losses.edge.start"].kind == "set"
    assert not any("[" in key for key in resolved.origins)


def test_flags_are_values_and_may_be_tables() -> None:
    flags = {"day": Path("d"), "norm": Norm.INSTANCE, "sizes": [1, 2], "optim": {"lr": 1}, "optim.steps": 3}
    value = resolve(Train, flags=flags).value
    assert value == Train(day=Path("d"), norm=Norm.INSTANCE, sizes=(1, 2), optim=Optim(lr=1.0, steps=3))


# Values


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("optim.lr=1e-4", "optim.lr", 1e-4),
        ("optim.lr=1", "optim.lr", 1.0),
        (" optim . lr = 1 ", "optim.lr", 1.0),
        ("optim.steps=1_000", "optim.steps", 1000),
        ("optim.betas=[0, 0.9]", "optim.betas", (0.0, 0.9)),
        ("optim={lr = 3}", "optim.lr", 3.0),
        ("amp=true", "amp", True),
        ("norm=instance", "norm", Norm.INSTANCE),
        ("norm=OBJECT", "norm", Norm.OBJECT),
        ("edges=rcf", "edges", "rcf"),
        ("edges=3", "edges", 3),
        ("colour=yellow", "colour", "yellow"),
        ("model=runs/a.safetensors", "model", "runs/a.safetensors"),
        ("name=night run=2", "name", "night run=2"),
        ("name=2024", "name", "2024"),
        ("name=1e-4", "name", "1e-4"),
        ("name=true", "name", "true"),
        ("name=2024-01-01", "name", "2024-01-01"),
        ("name=#1", "name", "#1"),
        ("name=1\nbatch = 4", "name", "1\nbatch = 4"),
        ('name=""', "name", ""),
        ("name='  x '", "name", "  x "),
        ("name=none", "name", "none"),
        ("day=/data/my photos", "day", Path("/data/my photos")),
        ("day=2024", "day", Path("2024")),
        ("night=none", "night", None),
        ("night=None", "night", None),
        ("night=n.txt", "night", Path("n.txt")),
        ("limit=5", "limit", 5),
        ("limit=auto", "limit", "auto"),
        ("limit=none", "limit", None),
        ('tags=["a", "b=c"]', "tags", ["a", "b=c"]),
        ("tags=[]", "tags", []),
        ('weights."a.b=c"=2', "weights.a.b=c", 2.0),
        ("weights.'x y'=2", "weights.x y", 2.0),
    ],
)
def test_what_set_accepts(text: str, key: str, expected: Any) -> None:
    value: Any = resolve(Train, overrides=[text]).value
    for part in key.split(".", 1) if key.startswith("weights.") else key.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    assert value == expected
    assert type(value) is type(expected)


def test_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert resolve(Train, overrides=["day=~/d", "night=~d/x"]).value.day == tmp_path / "d"
    assert resolve(Train, overrides=["day=a/~"]).value.day == Path("a/~")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "optim.lr=fast",
            'optim.lr = "fast" (--set optim.lr=fast) is not a number of at least 0 (the default is 0.0002)',
        ),
        ("optim.lr=true", "optim.lr = true (--set optim.lr=true) is not a number of at least 0 (the default"),
        ("optim.lr=-1", "optim.lr = -1 (--set optim.lr=-1) is not a number of at least 0 (the default"),
        ("optim.lr=nan", "optim.lr = nan (--set optim.lr=nan) is not a number of at least 0 (the default"),
        (
            "optim.steps=5.0",
            "optim.steps = 5.0 (--set optim.steps=5.0) is not a whole number from 1 to 1000 (write 5)",
        ),
        ("optim.steps=5.5", "is not a whole number from 1 to 1000 (the default is 10)"),
        (
            "optim.steps=true",
            "optim.steps = true (--set optim.steps=true) is not a whole number from 1 to 1000",
        ),
        (
            "optim.steps=1001",
            "optim.steps = 1001 (--set optim.steps=1001) is not a whole number from 1 to 1000",
        ),
        (
            "optim.betas=[0.5, 2]",
            "optim.betas[1] = 2 (--set optim.betas=[0.5, 2]) is not a number from 0 to 1",
        ),
        (
            "optim.betas=[0.5]",
            "optim.betas = [0.5] (--set optim.betas=[0.5]) is not a list of 2 (a number from 0 to 1, "
            "a number from 0 to 1) (the default is [0.5, 0.999])",
        ),
        (
            "optim.lr_decay=x",
            'optim.lr_decay = "x" (--set optim.lr_decay=x) is not a number or none (the default is none)',
        ),
        (
            "optim=3",
            "optim = 3 (--set optim=3) is not a table (the default is {lr = 0.0002, lr_decay = none, ",
        ),
        ("optim.lr.x=1", "optim.lr = {x = 1} (--set optim.lr.x=1) is not a number of at least 0"),
        ("amp=1", "amp = 1 (--set amp=1) is not true or false (the default is false)"),
        ("amp=True", 'amp = "True" (--set amp=True) is not true or false (the default is false)'),
        (
            "norm=bach",
            'norm = "bach" (--set norm=bach) is not one of "batch", "instance", "OBJECT" '
            "(did you mean batch?)",
        ),
        (
            "norm=1",
            'norm = 1 (--set norm=1) is not one of "batch", "instance", "OBJECT" (the default is "batch")',
        ),
        ("edges=head", 'edges = "head" (--set edges=head) is not one of "hed", "rcf", 3 (did you mean hed?)'),
        ("edges=3.0", 'edges = 3.0 (--set edges=3.0) is not one of "hed", "rcf", 3 (the default is "hed")'),
        (
            "colour=ambre",
            'colour = "ambre" (--set colour=ambre) is not one of "amber", "blue", "yellow" '
            "(did you mean amber?)",
        ),
        (
            "sizes=5",
            "sizes = 5 (--set sizes=5) is not a list, each item a whole number (the default is [256])",
        ),
        ("sizes=[1, x]", "--set sizes=[1, x]: the value is not valid TOML: "),
        ('sizes=[1, "x"]', 'sizes[1] = "x" (--set sizes=[1, "x"]) is not a whole number'),
        ("tags=[1]", "tags[0] = 1 (--set tags=[1]) is not text"),
        ("tags=x", 'tags = "x" (--set tags=x) is not a list, each item text (the default is [])'),
        ('weights.gan="x"', 'weights.gan = "x" (--set weights.gan="x") is not a number (the default is 1.0)'),
        (
            "weights=1",
            "weights = 1 (--set weights=1) is not a table, each value a number (the default is {gan = 1.0})",
        ),
        (
            "limit=fast",
            'limit = "fast" (--set limit=fast) is not a whole number or one of "auto" or none '
            '(the default is "auto")',
        ),
        ("limit=atuo", "(did you mean auto?)"),
        ('day=""', 'day = "" (--set day="") is not a path (the default is "day.txt")'),
        ("name=[1]", 'name = [1] (--set name=[1]) is not text (the default is "run")'),
        ("batch=3", "batch = 3 (--set batch=3): must be even (images per step)"),
        (
            "stages=[{steps = true}]",
            "stages[0].steps = true (--set stages=[{steps = true}]) is not a whole number",
        ),
        ("stages=[1]", "stages[0] = 1 (--set stages=[1]) is not a table"),
        ("losses.a=1", "losses.a = 1 (--set losses.a=1) is not a table"),
        (
            "warmup={steps = 1, start = 2}",
            "warmup: start lies beyond steps (given: warmup.steps = 1 (--set warmup={steps = 1, start = 2}), "
            "warmup.start = 2.0 (--set warmup={steps = 1, start = 2}))",
        ),
        (
            "stages=[{start = 200}]",
            "stages[0]: start lies beyond steps (given: stages[0].start = 200.0 (--set ",
        ),
    ],
)
def test_what_a_wrong_value_says(text: str, problem: str) -> None:
    said = message(overrides=[text])
    assert said.startswith(problem) or said.endswith(problem)


def test_hint_is_separate_from_the_message() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Train, overrides=["norm=bach"])
    assert caught.value.hint == "did you mean batch?"
    assert "did you mean" not in caught.value.message
    assert caught.value.exit_code == 2


def test_int_too_large_for_a_float() -> None:
    assert "is not a number of at least 0" in message(overrides=[f"optim.lr=1{'0' * 400}"])


def test_a_long_value_is_cut() -> None:
    said = message(overrides=[f"amp={'x' * 500}"])
    assert said.startswith(f'amp = "{"x" * 76}... (--set ')


# Keys


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "lr_decay=1",
            "unknown key 'lr_decay' (--set lr_decay=1) (did you mean optim.lr_decay or slow.lr_decay?)",
        ),
        (
            "optim.betass=1",
            "unknown key 'optim.betass' (--set optim.betass=1) (did you mean optim.betas?)",
        ),
        ("optim_lr=1", "unknown key 'optim_lr' (--set optim_lr=1) (did you mean optim.lr?)"),
        (
            "slow.lr-decay=1",
            "unknown key 'slow.lr-decay' (--set slow.lr-decay=1) (did you mean slow.lr_decay?)",
        ),
        ("lr_decays=1", "(did you mean optim.lr_decay or slow.lr_decay?)"),
        ("wieghts.gan=1", "unknown key 'wieghts' (--set wieghts.gan=1) (did you mean weights or night?)"),
        (
            "losses.a.stepz=1",
            "unknown key 'losses.a.stepz' (--set losses.a.stepz=1) (did you mean losses.a.steps?)",
        ),
        ("stages=[{stepz = 1}]", "(did you mean stages[0].steps?)"),
        (
            "warmup.qqq=1",
            "unknown key 'warmup.qqq' (--set warmup.qqq=1) (known here: warmup.steps, warmup.start)",
        ),
        ("qqq=1", "sizes, tags, weights, limit, …)"),
    ],
)
def test_unknown_keys_are_answered_with_near_ones(text: str, problem: str) -> None:
    said = message(overrides=[text])
    assert said.startswith(problem) or said.endswith(problem)


def test_unknown_keys_of_files_and_flags_name_their_origin(tmp_path: Path) -> None:
    file = written(tmp_path, "[optim]\nlearning_rate = 1")
    assert message(file=file).startswith(f"unknown key 'optim.learning_rate' (file {file})")
    assert message(flags={"optin.lr": 1}).startswith("unknown key 'optin' (command line, optin.lr)")
    assert message(flags={"a b": 1}) == "'a b' is not a configuration key (names joined by dots)"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("optim.lr", "--set optim.lr: there is no '=' after the key (write --set KEY=VALUE)"),
        ("", "--set : there is no '=' after the key (write --set KEY=VALUE)"),
        (
            "optim.lr=",
            "--set optim.lr=: there is no value after '=' (write optim.lr=VALUE, 'optim.lr=\"\"' for an "
            "empty text, "
            "or optim.lr=none where nothing is allowed)",
        ),
        ("optim.lr= ", "--set optim.lr= : there is no value after '=' (write optim.lr=VALUE, "),
        ("=1", "--set =1: '' is not a key (a key is names joined by dots, as in --set optim.lr=1e-4)"),
        ("optim..lr=1", "--set optim..lr=1: 'optim..lr' is not a key (a key is names joined by dots, "),
        ("a b=1", "--set a b=1: 'a b' is not a key (a key is names joined by dots, "),
        ("a\nb=1", "--set a\nb=1: 'a\nb' is not a key (a key is names joined by dots, "),
        (
            "tags=[a]",
            "--set tags=[a]: the value is not valid TOML: Invalid value "
            '(inside brackets texts need quotes, as in --set \'names=["a", "b"]\')',
        ),
        ("optim.betas=[0.5,0.9", "--set optim.betas=[0.5,0.9: the value is not valid TOML: Unclosed array"),
        ("name='x", "--set name='x: the value is not valid TOML: "),
        ('name="x"\nbatch=2', '--set name="x"\nbatch=2: the value is not valid TOML: more than one value'),
    ],
)
def test_what_a_wrong_set_says(text: str, problem: str) -> None:
    assert message(overrides=[text]).startswith(problem)


# Files


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b"name = 'x'\nnorm = batch\n",
            ":2: not valid TOML: Invalid value (the line reads: norm = batch; texts need",
        ),
        (b"\n\n[optim\nlr = 1\n", ":3: not valid TOML: "),
        (
            b"name = 1\n\nname = 2\n\n",
            ":3: not valid TOML: Cannot overwrite a value (the line reads: name = 2)",
        ),
        (b"name =", ":1: not valid TOML: Invalid value"),
        (b"name = 'a'\nday = '\xff'\n", ":2: not valid TOML: not UTF-8 (save it as UTF-8)"),
    ],
)
def test_faulty_toml_names_file_and_line(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    assert message(file=file).startswith(f"{file}{problem}")


def test_file_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert message(file=missing) == f"there is no configuration file '{missing}' (check the path)"
    assert message(file=tmp_path).startswith(f"cannot read the configuration file '{tmp_path}': ")


def test_wrong_value_in_a_file_names_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "amp = 'yes'")
    assert message(file=file) == f'amp = "yes" (file {file}) is not true or false (the default is false)'
    file = written(tmp_path, "name = 5")  # a file can quote; only --set takes 5 for a text
    assert message(file=file) == f'name = 5 (file {file}) is not text (the default is "run")'


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(b"\xef\xbb\xbfname = 'x'\r\nbatch = 4\r\n")
    assert resolve(Train, file=file).value == Train(name="x", batch=4)


def test_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train-gan").mkdir()
    written(tmp_path / "train-gan", "batch = 4", "paper.toml")
    written(tmp_path / "train-gan", "batch = '", "tiny.toml")
    written(tmp_path / "train-gan", "", "README.md")
    monkeypatch.setattr(sources, "_presets_root", lambda: tmp_path)
    assert preset_names("train-gan") == ["paper", "tiny"]
    assert preset_names("translate") == []
    for preset, command in (("paper", "train-gan"), ("train-gan/paper", None)):
        resolved = resolve(Train, preset=preset, command=command)
        assert resolved.value.batch == 4
        assert resolved.origins["batch"] == Origin("preset", "train-gan/paper")
    assert message(preset="train-gan/tiny").startswith("preset train-gan/tiny:1: not valid TOML: ")
    with pytest.raises(UnknownNameError) as caught:
        resolve(Train, preset="papre", command="train-gan")
    assert str(caught.value) == (
        "unknown preset of train-gan 'papre' (did you mean paper?; or give the path of a .toml file)"
    )
    expected = "unknown preset 'paper' (none are shipped here: give the path of a .toml file)"
    assert message(preset="paper") == message(preset="paper", command="translate") == expected
    missing = str(tmp_path / "mine.toml")
    assert message(preset=missing) == f"there is no configuration file '{missing}' (check the path)"


# Schemas


@dataclass(frozen=True, kw_only=True)
class Required:
    path: Path
    inner: Optim  # no default of its own, but one for each of its keys


@dataclass(frozen=True, kw_only=True)
class Pair:
    low: int = 0
    high: int = 1
    ratio: float = field(init=False, default=0.5)

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low exceeds high")


@dataclass(frozen=True, kw_only=True)
class Loose:
    anything: Any = None
    table: dict = field(default_factory=dict)  # type: ignore[type-arg]
    items: list = field(default_factory=list)  # type: ignore[type-arg]
    either: Optim | Warmup | bool = False


@dataclass
class Thawed:
    a: int = 1


@dataclass(frozen=True)
class Unsupported:
    a: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class WrongKeys:
    a: dict[int, int] = field(default_factory=dict)


def test_required_keys() -> None:
    assert (
        message(Required)
        == "path is not set and has no default (give a path, in a file or with --set path=VALUE)"
    )
    assert resolve(Required, overrides=["path=x"]).value == Required(path=Path("x"), inner=Optim())


def test_fields_that_do_not_go_together_name_what_was_given() -> None:
    assert message(Pair, overrides=["low=3"]) == "low exceeds high (given: low = 3 (--set low=3))"
    assert resolve(Pair, overrides=["high=3"]).as_dict() == {"low": 0, "high": 3}  # ratio is not the user's


def test_loose_annotations() -> None:
    texts = ["anything={a = [1]}", "table.x=y", "items=[1, 'a']", "either={start = 0.5}"]
    resolved = resolve(Loose, overrides=texts)
    assert resolved.value == Loose(
        anything={"a": [1]}, table={"x": "y"}, items=[1, "a"], either=Warmup(start=0.5)
    )
    assert resolved.origins["either"] == Origin("set", "either={start = 0.5}")
    assert not any(key.startswith("either.") for key in resolved.origins)
    said = message(Loose, overrides=["either=5"])
    assert (
        said
        == "either = 5 (--set either=5) is not a table or a table or true or false (the default is false)"
    )


@pytest.mark.parametrize("schema", [Thawed, Unsupported, WrongKeys, int])
def test_schemas_that_cannot_be_are_the_programs_fault(schema: type) -> None:
    with pytest.raises(TypeError):
        resolve(schema)


def test_as_dict_is_json() -> None:
    recorded = resolve(Train, overrides=["norm=instance", "warmup.steps=5"]).as_dict()
    assert json.loads(json.dumps(recorded)) == recorded
    assert recorded["norm"] == "instance"
    assert recorded["night"] is None
    assert recorded["warmup"] == {"steps": 5, "start": 0.1}
    assert recorded["optim"]["betas"] == [0.5, 0.999]


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_paths = _texts.map(Path).filter(lambda path: path.parts[:1] != ("~",))  # which would be opened out
_numbers = st.floats(allow_nan=False)
_optims = st.builds(
    Optim,
    lr=st.floats(0, 10),
    lr_decay=st.none() | _numbers,
    betas=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    steps=st.integers(1, 1000),
)
_warmups = st.builds(Warmup, steps=st.integers(5, 99), start=st.floats(0, 5))
_configurations = st.builds(
    Train,
    name=_texts,
    amp=st.booleans(),
    day=_paths,
    night=st.none() | _paths.filter(lambda path: str(path).lower() != "none"),
    norm=st.sampled_from(Norm),
    edges=st.sampled_from(["hed", "rcf", 3]),
    colour=st.sampled_from(["amber", "yellow", "blue"]),
    model=_texts,
    sizes=st.lists(st.integers(), max_size=3).map(tuple),
    tags=st.lists(_texts, max_size=3),
    weights=st.dictionaries(_texts, _numbers, max_size=3).map(lambda weights: {"gan": 0.5, **weights}),
    limit=st.none() | st.just("auto") | st.integers(),
    batch=st.integers(-9, 9).map(lambda half: 2 * half),
    optim=_optims,
    slow=_optims,
    warmup=st.none() | _warmups,
    stages=st.lists(_warmups, max_size=2).map(tuple),
    losses=st.dictionaries(_texts, _warmups, max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(configuration=_configurations)
def test_what_is_written_is_read_back(configuration: Train, tmp_path_factory: pytest.TempPathFactory) -> None:
    resolved = resolve(Train, flags=plain(configuration, none="none"))
    assert resolved.value == configuration
    file = tmp_path_factory.getbasetemp() / "written.toml"
    file.write_text(resolved.to_toml(), encoding="utf-8")
    again = resolve(Train, file=file)
    assert again.value == configuration
    assert again.origins.keys() == resolved.origins.keys()
    assert {origin.kind for origin in again.origins.values()} == {"file"}
    assert again.to_toml() == resolved.to_toml()


# Files that are none


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes and devices")
def test_configuration_files_are_regular_and_small(tmp_path: Path) -> None:
    """A pipe hung, and /dev/zero filled the memory."""
    os.mkfifo(tmp_path / "pipe.toml")
    assert "it is a pipe, not a file" in message(file=tmp_path / "pipe.toml")
    assert "it is a device, not a file" in message(file=Path("/dev/zero"))
    assert "it is a pipe, not a file" in message(preset=tmp_path / "pipe.toml")
    (tmp_path / "large.toml").touch()
    os.truncate(tmp_path / "large.toml", 1 << 34)
    told = message(file=tmp_path / "large.toml")
    assert "large.toml': it has more than 1 MB" in told
    assert "a configuration is a regular file of at most 1 MB" in told


@pytest.mark.parametrize(
    "text",
    [
        "batch = " + "[" * 5000 + "]" * 5000,
        "batch = " + "[" * 100 + "1" + "]" * 100,
        "batch = " + "{a = " * 300 + "1" + "}" * 300,
        ".".join("a" * 5000) + " = 1",
        "[" + ".".join("a" * 5000) + "]\nx = 1",
    ],
    ids=["lists", "a hundred lists", "tables", "dotted key", "dotted table"],
)
def test_deep_nesting(text: str, tmp_path: Path) -> None:
    """It ended as RecursionError, at one level or another."""
    told = message(file=written(tmp_path, text))
    assert "nested more than 64 levels deep" in told
    if text.startswith("batch"):
        assert "nested more than 64 levels deep" in message(overrides=[text.replace(" ", "")])
    else:
        assert "is not a key" in message(overrides=[f"{'.'.join('a' * 5000)}=1"])


def test_numbers_of_thousands_of_digits(tmp_path: Path) -> None:
    assert "no configuration" in message(file=written(tmp_path, f"batch = {'1' * 5000}"))


def test_what_a_configuration_can_hold_is_not_too_deep(tmp_path: Path) -> None:
    told = message(file=written(tmp_path, "batch = " + "[" * 60 + "]" * 60))
    assert "is not a whole number" in told
