"""Training a generator from Python: requests, what is told, what is left, and what is missing."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import darkside_cli
from darkside_cli.config.sources import tomllib  # the standard one, or tomli
from darkside_cli.errors import ConfigError, MissingAssetError, UnknownNameError, UsageError
from darkside_cli.events import CheckpointSaved, Event, StepDone, TrainingFinished, TrainingStarted
from darkside_cli.jobs.request import make
from darkside_cli.jobs.train_gan import TrainGanRequest, check, prepare, run

MakeImage = Callable[..., Path]
OVERRIDES = (
    "generator.ngf=4",
    "generator.n_blocks=1",
    "discriminator.ndf=4",
    "discriminator.n_layers=1",
    "data.size=4",
    "trainer.log_every_s=0",
    "trainer.validate_every=0",
    "samples.every=0",
)


@pytest.fixture
def small(tmp_path: Path, make_image: MakeImage) -> dict[str, Any]:
    """What a request is made of: a few images of each kind, and the smallest networks."""
    for number in range(3):
        make_image(tmp_path / "day" / f"{number}.png", 72, 72, seed=number)
        make_image(tmp_path / "night" / f"{number}.png", 72, 72, seed=50 + number)
    return {
        "day": tmp_path / "day",
        "night": str(tmp_path / "night"),
        "edge_detector": "sobel",
        "overrides": OVERRIDES,
        "crop": 32,
        "batch_size": 2,
        "epochs": 1,
        "workers": 1,
        "device": "cpu",
        "output": tmp_path / "run",
        "data_dir": tmp_path / "root",
    }


def test_a_run_and_what_it_leaves(small: dict[str, Any], tmp_path: Path) -> None:
    told: list[Event] = []
    result = darkside_cli.train_gan("hedgan", **small, emit=told.append)
    assert (result.complete, result.epochs, result.is_first) == (True, 1, True)
    assert result.paths == (tmp_path / "run" / "generator_day2night.safetensors",)
    assert result.paths[0].is_file()
    assert json.loads(json.dumps(result.document())) == {
        "run": str(tmp_path / "run"),
        "complete": True,
        "epochs": 1,
        "outputs": {"generator_day2night": str(result.paths[0])},
        "scores": {},
        "best_epoch": None,
        "seconds": round(result.seconds, 1),
    }
    kinds = [type(each) for each in told]
    assert kinds.index(TrainingStarted) < kinds.index(StepDone) < kinds.index(TrainingFinished)
    settings = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert (settings["data"]["crop_px"], settings["trainer"]["epochs"]) == (32, 1)
    origins = json.loads((tmp_path / "run" / "origins.json").read_text())
    assert origins["generator.ngf"].startswith("--set")
    assert (tmp_path / "run" / "report.html").is_file()

    # The same once more finds all epochs done; another layout adds files.
    again = run(make(TrainGanRequest, "hedgan", **small, layout="gandtr"))
    assert again.complete
    assert [path.name for path in again.gandtr][:1] == ["generator_X_best.pth"]
    assert again.document()["gandtr"] == [str(path) for path in again.gandtr]


def test_an_interruption_saves(small: dict[str, Any]) -> None:
    told: list[Event] = []

    def emit(event: Event) -> None:
        first = not any(isinstance(each, StepDone) for each in told)
        told.append(event)
        if isinstance(event, StepDone) and first:
            signal.raise_signal(signal.SIGINT)

    stopped = run(make(TrainGanRequest, "hedgan", **{**small, "epochs": 1000}), emit=emit)
    assert (stopped.complete, stopped.epochs < 1000) == (False, True)
    assert any(isinstance(event, CheckpointSaved) for event in told)
    assert run(make(TrainGanRequest, "hedgan", **small)).complete


def test_settings_come_from_all_places_and_fields_last(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('method = "cyclegan"\n[trainer]\nepochs = 7\n[data]\ncrop_px = 64\n')
    request = TrainGanRequest(
        config=file, data="nightfall", night=tmp_path, overrides=("data.crop_px=96",), epochs=9
    )
    config = request.resolved.value
    assert (config.method, config.trainer.epochs, config.data.crop_px) == ("cyclegan", 9, 96)
    assert (config.data.day, config.data.night) == (Path("nightfall"), tmp_path)
    assert request.folder == request.root.experiments / "gan" / "cyclegan"
    assert TrainGanRequest(preset="mini").name == "hedgan"


@pytest.mark.parametrize(
    ("method", "preset", "overrides", "key", "value"),
    [
        ("cyclegan", "tiny", ["discriminator.kind=projected"], "discriminator.kind", "projected"),
        ("relight", "tiny", [], "data.crop_px", 64),
        ("cyclegan", "mini", [], "generator.ngf", 16),
        ("cut", "night", [], "data.crop_px", 224),
    ],
)
def test_a_preset_gives_way_to_another_method_and_network(
    method: str, preset: str, overrides: list[str], key: str, value: Any
) -> None:
    found = make(TrainGanRequest, method, preset=preset, overrides=tuple(overrides)).resolved
    assert found.value.method == method
    table, name = key.split(".")
    assert found.as_dict()[table][name] == value


def test_requests_that_contradict_themselves(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no method"):
        TrainGanRequest()
    with pytest.raises(UnknownNameError, match="hedgn"):
        TrainGanRequest(model="hedgn")
    with pytest.raises(UsageError, match="no edge detector"):
        TrainGanRequest(model="cut", edge_detector="sobel")
    with pytest.raises(ConfigError, match=r"optim\.lrr"):
        TrainGanRequest(model="cut", overrides=("optim.lrr=1",))
    with pytest.raises(UsageError, match="guided"):
        TrainGanRequest(model="cut", layout="gandtr", overrides=("generator.working_px=96",))
    with pytest.raises(UsageError, match="batch_size must be at least 1"):
        TrainGanRequest(model="cut", batch_size=0)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not a folder"):
        check(TrainGanRequest(model="cut", output=tmp_path / "file"))


def test_wrong_usage_is_told_before_what_is_missing(small: dict[str, Any], tmp_path: Path) -> None:
    missing = {**small, "edge_detector": str(tmp_path / "none.pth")}
    with pytest.raises(UsageError, match="no list or folder"):
        check(make(TrainGanRequest, "hedgan", **{**missing, "day": tmp_path / "nowhere"}))
    with pytest.raises(MissingAssetError, match=r"none\.pth"):
        check(make(TrainGanRequest, "hedgan", **missing))


def test_what_is_missing_is_told_with_a_way_out(small: dict[str, Any]) -> None:
    with pytest.raises(MissingAssetError) as told:
        prepare(make(TrainGanRequest, "hedgan", **{**small, "edge_detector": "hed"}))
    assert told.value.hint is not None
    assert "darkside download hed" in told.value.hint
    assert "licence: " in told.value.hint
    assert [asset.name for asset in told.value.assets] == ["hed"]
    del small["day"], small["night"]
    with pytest.raises(MissingAssetError) as told:
        prepare(make(TrainGanRequest, "hedgan", **small))
    assert told.value.hint is not None
    assert told.value.hint.endswith("give your own with --day and --night")
