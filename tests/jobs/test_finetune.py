"""``darkside_cli.finetune``: a descriptor from Python; what a request means and refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stub_tuples import write_places
from utm_folders import utm_name, write_utm_folder

import darkside_cli
from darkside_cli.errors import ConfigError, DarksideError, MissingAssetError, UnknownNameError, UsageError
from darkside_cli.events import Event, Notice, StageDone, StepDone, TrainingStarted
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.jobs.finetune import FinetuneRequest, check

SETTINGS = (
    "mining.anchors=4", "mining.anchor_pool=6", "mining.negatives=1", "mining.negative_pool=8",
    "data.batch_size=2", "data.validation_share=0", "trainer.validate_every=0", "evaluation.datasets=[]",
    "trainer.log_every_s=0", "whitening.scales=ss", "whitening.image_size_px=32",
)  # fmt: skip


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DARKSIDE_HOME", str(tmp_path / "home"))
    write_places(tmp_path / "places", 4, 2, sides=((32, 32),))
    return tmp_path / "places"


def options(run: Path, **others: Any) -> dict[str, Any]:
    return {
        "backbone": "squeezenet1_1", "init": "random", "augment": "gamma", "image_size": 32, "epochs": 1,
        "device": "cpu", "workers": 1, "overrides": SETTINGS, "output": run, **others,
    }  # fmt: skip


def test_from_python(places: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    result = darkside_cli.finetune(places, emit=events.append, **options(tmp_path / "run"))
    assert (result.complete, result.epochs, result.lines) == (True, 1, ())
    assert result.outputs == {"descriptor": tmp_path / "run" / "descriptor.safetensors"}
    assert result.whitening == tmp_path / "run" / "descriptor_whitening.safetensors"
    assert any(isinstance(event, StepDone) for event in events)
    stages = [event.stage for event in events if isinstance(event, StageDone)]
    assert stages == ["whitening", "evaluation"]
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "config.toml").is_file()
    document = result.document()
    assert list(document)[-6:] == ["whitening", "scores", "best_epoch", "best_score", "lines", "seconds"]

    # The same request again has nothing to do; what it made is a model.
    before, events[:] = result.whitening.read_bytes(), []
    again = darkside_cli.finetune(places, emit=events.append, **options(tmp_path / "run"))
    assert again.complete
    assert result.whitening.read_bytes() == before
    assert not any(isinstance(event, StepDone) for event in events)
    assert darkside_cli.load_descriptor(tmp_path / "run", device="cpu").dim == 512


def test_a_run_goes_on_and_is_whitened_anew(places: Path, tmp_path: Path) -> None:
    darkside_cli.finetune(places, **options(tmp_path / "run", whitening="none"))
    assert not (tmp_path / "run" / "descriptor_whitening.safetensors").exists()
    events: list[Event] = []
    result = darkside_cli.finetune(
        places, emit=events.append, **options(tmp_path / "run", whitening="pca", epochs=2)
    )
    started = next(event for event in events if isinstance(event, TrainingStarted))
    assert (started.epoch, result.epochs) == (1, 2)
    assert result.whitening is not None


def test_what_the_fields_stand_for(tmp_path: Path) -> None:
    request = FinetuneRequest(
        data="places", model=("a.pth", "b/c.pth"), dataset=["tokyo247"], whiten_on="others", seed=3
    )
    config = request.resolved.value
    assert config.augment.models == ("a.pth", "b/c.pth")
    assert (config.data.database, config.whitening.database) == ("places", "others")
    assert (config.evaluation.datasets, config.trainer.seed) == (("tokyo247",), 3)
    assert request.name == "vgg16_a+c"
    assert str(request.resolved.origins["trainer.seed"]) == "command line, trainer.seed"
    assert FinetuneRequest(augment="gamma", data_dir=tmp_path).folder.name == "vgg16_gamma"
    assert FinetuneRequest(night_images=tmp_path).resolved.value.augment.kind == "images"
    assert FinetuneRequest(night_images=tmp_path, augment="gamma").resolved.value.augment.kind == "gamma"


def test_a_backbone_of_timms_may_say_how_it_is_pooled() -> None:
    """As a descriptor "timm:NAME:pooling=cls" does."""
    name = "timm:test_vit:pooling=cls"
    for request in (
        FinetuneRequest(backbone=name),
        FinetuneRequest(overrides=(f"backbone={name}",)),
        FinetuneRequest(backbone=name, overrides=("pooling=cls",)),
    ):
        config = request.resolved.value
        assert (config.backbone, config.pooling) == ("timm:test_vit", "cls")
        assert request.resolved.as_dict()["pooling"] == "cls"
        assert request.name.startswith("timm_test_vit_")
    with pytest.raises(UsageError, match=r"pooling=mac contradict each other"):
        FinetuneRequest(backbone=name, overrides=("pooling=mac",))
    with pytest.raises(UsageError, match=r"timm:NAME:pooling=cls"):
        FinetuneRequest(backbone="timm:test_vit:pool=cls")
    with pytest.raises(UsageError, match="unknown pooling 'clas'"):
        FinetuneRequest(backbone="timm:test_vit:pooling=clas")


def test_random_weights_have_a_learning_rate_of_their_own() -> None:
    assert FinetuneRequest().resolved.value.optim.lr == 5e-7
    assert FinetuneRequest(init="random").resolved.value.optim.lr == 1e-4
    assert FinetuneRequest(init="random", overrides=("optim.lr=5e-7",)).resolved.value.optim.lr == 5e-7


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"augment": "gama"}, UnknownNameError, "gama"),
        ({"backbone": "vgg61"}, ConfigError, "did you mean vgg19 or vgg16"),
        ({"whitening": "lv"}, UnknownNameError, "lv"),
        ({"layout": "gandt"}, UnknownNameError, "gandt"),
        ({"device": "tpu"}, UnknownNameError, "tpu"),
        ({"image_size": 7}, UsageError, "image_size must be at least 8"),
        ({"overrides": ("optim.lrr=1",)}, ConfigError, "optim.lr"),
        ({"augment": "images"}, ConfigError, "folder of ready night images"),
        ({"datasets": "tokyo247"}, UsageError, "unknown option 'datasets'"),
    ],
)
def test_what_a_request_refuses(given: dict[str, Any], error: type[DarksideError], message: str) -> None:
    with pytest.raises(error, match=message):
        darkside_cli.finetune("places", **given)


def test_names_are_judged_before_what_is_missing(places: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean retrieval-sfm-120k"):
        darkside_cli.finetune("retrieval-sfm-120", init=tmp_path / "none.pth", data_dir=tmp_path)
    with pytest.raises(MissingAssetError, match=r"none\.pth"):
        darkside_cli.finetune(places, init=tmp_path / "none.pth", augment="none")
    with pytest.raises(MissingAssetError, match="imagenet-vgg16") as missing:
        darkside_cli.finetune(places, augment="none", data_dir=tmp_path, offline=True)
    assert "--init torchvision" in (missing.value.hint or "")
    assert [asset.name for asset in missing.value.assets] == ["imagenet-vgg16"]
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        darkside_cli.finetune(places, output=tmp_path / "file")


def test_the_global_random_numbers_do_not_matter(places: Path, tmp_path: Path) -> None:
    files = []
    for number in range(2):
        torch.manual_seed(number)
        done = darkside_cli.finetune(places, **options(tmp_path / str(number), whitening="none"))
        files.append(done.outputs["descriptor"].read_bytes())
    assert files[0] == files[1]


@pytest.mark.slow
def test_photographs_without_places_and_a_whitening_of_views_and_nights(places: Path, tmp_path: Path) -> None:
    write_places(tmp_path / "more", 1, 3, sides=((40, 32),))
    seen = ("data.views=2", "whitening.views=2", "whitening.nights=3", "whitening.dim=6")
    given = options(tmp_path / "run", whitening="pca", photographs=tmp_path / "more" / "p00")
    result = darkside_cli.finetune(places, **{**given, "overrides": (*SETTINGS, *seen)})
    assert result.whitening is not None
    whitening = read_whitening(result.whitening)
    assert whitening.out_dim == 6
    assert whitening.metadata["images"] == (4 * 2 + 3) * (2 + 3)
    assert whitening.metadata["learned_from"]["pairs"] == 4 * 2 + 3 * 2
    assert whitening.metadata["descriptors"]["nights"] == 3

    before = result.whitening.stat().st_mtime_ns
    again = darkside_cli.finetune(places, **{**given, "overrides": (*SETTINGS, *seen)})
    assert again.whitening is not None
    assert again.whitening.stat().st_mtime_ns == before


def test_plain_photographs_alone_are_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKSIDE_HOME", str(tmp_path / "home"))
    write_places(tmp_path, 1, 4, sides=((40, 32),))
    given = {**options(tmp_path / "run", whitening="lw"), "overrides": (*SETTINGS, "data.views=2")}
    result = darkside_cli.finetune(tmp_path / "p00", **given)
    assert result.complete
    assert result.whitening is not None
    with pytest.raises(ConfigError, match="views"):
        FinetuneRequest(data="places", photographs=(tmp_path,))


def test_from_images_whose_names_say_where_they_were_taken(places: Path, tmp_path: Path) -> None:
    """Trained on its train, validated on its val, scored on its test; negatives are never near."""
    for part, first in (("train", 0), ("val", 1000), ("test", 2000)):
        for place, image in enumerate(sorted(places.glob("*/0.png"))):
            for side, shift in (("database", 0), ("queries", 3)):
                target = tmp_path / "city" / part / side / f"@{first + 60 * place + shift}@0@33@U@@@@@@.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(image.read_bytes())
    told: list[Event] = []
    overrides = [each for each in SETTINGS if "validat" not in each and "datasets" not in each]
    overrides += ["evaluation.scales=ss"]
    result = darkside_cli.finetune(
        tmp_path / "city",
        emit=told.append,
        **options(
            tmp_path / "run",
            overrides=overrides,
            dataset=str(tmp_path / "city"),
            positive_dist=5,
            whitening="none",
        ),
    )
    assert result.complete
    (line,) = result.lines
    assert (line.dataset, line.protocol, len(line.recalls)) == ("city/test", "25 m", 4)
    assert set(result.scores), "it was validated"
    notices = [event.message for event in told if isinstance(event, Notice)]
    assert not any("kept back" in notice for notice in notices)


def test_images_whose_names_say_where_need_no_folders(tmp_path: Path) -> None:
    """As SF-XL trains on: all in one folder, which is no folder of places."""
    write_utm_folder(
        tmp_path / "sf", {"": [utm_name(60 * n + shift, 0) for n in range(3) for shift in (0, 9)]}
    )
    request = FinetuneRequest(data=str(tmp_path / "sf"), **options(tmp_path / "run"))
    check(request)
    with pytest.raises(UsageError, match="no two images were taken within 5 m"):
        check(replace(request, positive_dist=5))
    write_utm_folder(tmp_path / "bad", {"database": ["plain.jpg"], "queries": [utm_name(0, 0)]})
    with pytest.raises(UsageError, match=r"the names of 1 of 1 images .* such as database/plain\.jpg"):
        check(replace(request, data=str(tmp_path / "bad")))
