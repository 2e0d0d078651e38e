"""``darkside config``: where values come from, and scenarios as TOML that trains the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_calls import RunHere

from darkside_cli.jobs.finetune import FinetuneRequest
from darkside_cli.jobs.train_gan import TrainGanRequest


def shown(run_here: RunHere, *arguments: str) -> dict[str, dict[str, object]]:
    done = run_here("config", "show", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    values: dict[str, dict[str, object]] = json.loads(done.stdout)["values"]
    return values


def test_show_says_where_each_value_comes_from(run_here: RunHere, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[data]\nsize = 7\n")
    values = shown(
        run_here, "train-gan", "--model", "hedngan", "--preset", "tiny", "--config", "mine.toml",
        "--set", "optim.lr=1e-4", "--epochs", "9",
    )  # fmt: skip
    assert values["optim.lr"] == {"value": 1e-4, "origin": "--set optim.lr=1e-4"}
    assert values["data.size"] == {"value": 7, "origin": "file mine.toml"}
    assert values["generator.ngf"] == {"value": 8, "origin": "preset train-gan/tiny"}
    assert values["trainer.epochs"] == {"value": 9, "origin": "command line, trainer.epochs"}
    assert values["pool_size" if "pool_size" in values else "distillation"]["origin"] == "default"
    assert values["model"] == {"value": "hedngan", "origin": "command line"}
    assert values["set"] == {"value": ["optim.lr=1e-4"], "origin": "command line"}  # as people write it
    assert values["data_dir"]["origin"] == "DARKSIDE_HOME"


def test_show_of_commands_without_a_schema(run_here: RunHere, monkeypatch: pytest.MonkeyPatch) -> None:
    values = shown(run_here, "translate", "--max-size", "40", "a.jpg")
    assert values["max_size"] == {"value": 40, "origin": "command line"}
    assert values["images"] == {"value": ["a.jpg"], "origin": "command line"}
    assert values["quality"] == {"value": 95, "origin": "default"}
    assert "print_config" not in values
    assert shown(run_here, "export", "a.pth")["check"] == {"value": True, "origin": "default"}
    text = run_here("config", "show", "translate", "-o", "night").stdout
    assert "output\tnight\tcommand line" in text.splitlines()
    assert "recursive\tfalse\tdefault" in text.splitlines()


def test_show_passes_wrong_calls_on(run_here: RunHere) -> None:
    for arguments, message in {
        (): "no command is given",
        ("trnslate",): "did you mean translate?",
        ("config",): "unknown command 'config'",
        ("translate", "--nope"): "No such option: --nope",
        ("translate", "--quality", "0"): "--quality",
        ("train-gan",): "no method given",
        ("train-gan", "--model", "hedngan", "--set", "optim.rl=1"): "did you mean optim.lr",
    }.items():
        done = run_here("config", "show", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stdout == ""
    assert run_here("config", "shwo").returncode == 2
    assert run_here("config", "show", "translate", "--target", "x").returncode == 2


@pytest.mark.parametrize("method", ["cyclegan", "cut", "hedgan", "hedngan", "rcfgan", "rcfngan"])
def test_a_converted_scenario_is_the_published_training(
    run_here: RunHere, tmp_path: Path, method: str
) -> None:
    file = tmp_path / f"{method}.toml"
    done = run_here("config", "convert", f"iccv23/train/{method}.yml", "-o", file)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{file}\n"
    converted = TrainGanRequest(config=file).resolved
    assert converted.value.method == method
    assert str(converted.origins["generator.norm"]) == f"file {file}"
    if method == "cut":  # whose variant's weights are written out
        return
    assert converted.value == TrainGanRequest(model=method).resolved.value


def test_a_converted_fine_tuning(run_here: RunHere, tmp_path: Path) -> None:
    done = run_here("config", "convert", "iccv23/train/cyclegan.yml", "--target", "finetune_r101")
    assert done.returncode == 0, done.stderr
    assert "#   darkside finetune --config THIS_FILE --output" in done.stdout
    file = tmp_path / "f.toml"
    file.write_text(done.stdout)
    ours = FinetuneRequest(backbone="resnet101", model=("cyclegan",), overrides=("loss.margin=0.85",))
    assert FinetuneRequest(config=file).resolved.value == ours.resolved.value
    published = FinetuneRequest(backbone="resnet101").resolved.value
    assert ours.resolved.value.margin == published.margin


def test_overlays_and_json(run_here: RunHere) -> None:
    change = "train.1_train_augment.learning.training.epochs=4"
    done = run_here("config", "convert", "iccv23/train/cut.yml", change, "--json")
    answer = json.loads(done.stdout)
    assert (answer["target"], answer["step"]) == ("train", "1_train_augment")
    assert "epochs = 4" in answer["toml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("iccv23/train/cut.yml", "--target", "all"), "several steps with settings"),
        (("iccv23/train/cut.yml", "--target", "output"), "nothing is trained there"),
        (("iccv23/train/cut.yml", "--step", "1_trian_augment"), "did you mean 1_train_augment?"),
        (("iccv23/train/cut.yml", "--target", "trian"), "did you mean train?"),
        (("iccv23/eval/hedngan.yml",), "which target is to be converted?"),
        (("iccv23/train/cut.yml", "train.1_train_augment.network.x=1"), "cannot be translated"),
        ((), "no scenario is given"),
        (("iccv23/train/cut.yml", "-o", "."), "is a folder"),
    ],
)
def test_what_cannot_be_converted(run_here: RunHere, arguments: tuple[str, ...], message: str) -> None:
    done = run_here("config", "convert", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_one_step_of_several(run_here: RunHere) -> None:
    done = run_here(
        "config", "convert", "iccv23/train/cut.yml", "--target", "all", "--step", "1_finetune_embed"
    )
    assert done.returncode == 0, done.stderr
    assert 'backbone = "vgg16"' in done.stdout
