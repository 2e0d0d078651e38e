"""The whole demonstration, as small as it can be: what it leaves, and that nothing is done twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from darkside_cli.config.paths import DataRoot
from darkside_cli.demo.request import DemoRequest
from darkside_cli.demo.run import city_root, run
from darkside_cli.events import Event, Notice
from darkside_cli.interop.load import open_checkpoint

pytestmark = pytest.mark.slow

GAN = (
    "generator.ngf=4", "generator.n_blocks=1", "discriminator.ndf=4", "discriminator.n_layers=1",
    "data.size=6", "data.batch_size=3", "trainer.epochs=1", "trainer.validate_every=0",
    "data.workers=1",
)  # fmt: skip
FINETUNE = ("trainer.epochs=2", "data.batch_size=16", "data.workers=1", "data.image_size_px=32")


def request(folder: Path) -> DemoRequest:
    return DemoRequest(
        output=folder / "out",
        data_dir=folder / "data",
        seeds=2,
        size="tiny",
        share=0.75,
        device="cpu",
        set_gan=GAN,
        set_base=FINETUNE,
        set_finetune=FINETUNE,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the city and a demonstration of two seeds."""
    folder = tmp_path_factory.mktemp("demo")
    run(request(folder))
    return folder


def test_scores_are_those_of_the_runs(world: Path) -> None:
    document = json.loads((world / "out" / "results.json").read_text())
    assert [each["seed"] for each in document["seeds"]] == [0, 1]
    for each in document["seeds"]:
        for arm in ("without", "with"):
            folder = world / "out" / f"seed-{each['seed']}" / arm
            sets = json.loads((folder / "evaluation.json").read_text())["sets"]
            for time, name in (("night", "nightfall"), ("day", "nightfall-day")):
                (line,) = sets[name]["lines"]
                assert each["scores"][time][arm] == line["mean_average_precision"]
        assert set(each["seconds"]) >= {"generator", "translate", "without", "with"}
    night = document["mean"]["night"]
    assert document["difference"]["night"] == pytest.approx(night["with"] - night["without"])


def test_what_differs_between_the_descriptors_is_night_alone(world: Path) -> None:
    settings = {}
    for arm in ("without", "with"):
        lines = (world / "out" / "seed-1" / arm / "checkpoints").glob("*/meta.json")
        meta = json.loads(next(iter(sorted(lines))).read_text())
        settings[arm] = meta["config"] if "config" in meta else meta["resolved"]
    one, other = settings["without"], settings["with"]
    assert one["augment"]["kind"] == "none"
    assert other["augment"]["kind"] == "generator"
    assert other["augment"]["share"] == 0.75
    assert one["trainer"] == other["trainer"]
    assert one["trainer"]["seed"] == 1
    rest = [{k: v for k, v in each.items() if k not in ("augment", "night")} for each in (one, other)]
    assert rest[0] == rest[1]


def test_the_results_are_ordinary_models(world: Path) -> None:
    folder = world / "out" / "seed-0"
    assert open_checkpoint(folder / "with" / "descriptor.safetensors").config.backbone == "mininet"
    assert open_checkpoint(folder / "generator" / "generator_day2night.safetensors").kind == "generator"
    assert list((folder / "translated").glob("*_day_*.jpg"))
    assert "nightfall-day" in (folder / "with" / "report.html").read_text()


def test_the_page_needs_nothing_else(world: Path) -> None:
    text = (world / "out" / "report.html").read_text()
    assert text.count("data:image/jpeg;base64,") > 20
    assert "<svg" in text
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")
    document = json.loads((world / "out" / "results.json").read_text())
    assert f"{document['mean']['night']['with']:.2f}" in text


def test_a_finished_demonstration_is_not_repeated(world: Path) -> None:
    out = world / "out"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    told: list[Event] = []
    result = run(request(world), emit=told.append)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before
    assert not [event for event in told if isinstance(event, Notice)]
    document = json.loads((out / "results.json").read_text())
    assert [each.scores for each in result.seeds] == [each["scores"] for each in document["seeds"]]


def test_another_size_is_made_beside(world: Path) -> None:
    root = DataRoot(world / "data", "test")
    assert city_root(root, world / "out", "tiny") is root
    assert city_root(root, world / "out", "small").path == world / "out" / "city"
    assert city_root(DataRoot(world / "none", "test"), world / "out", "small").path == world / "none"
