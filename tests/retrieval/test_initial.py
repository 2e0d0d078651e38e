"""What fine-tuning begins with: published features, torchvision's, random ones, files; nothing is fetched unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_descriptor import BACKBONE, write_small_descriptor
from torch import Tensor

from darkside_cli.assets.catalog import DATA
from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import ConfigError, MissingAssetError, UsageError
from darkside_cli.networks.backbones import build_features
from darkside_cli.retrieval.config import FinetuneConfig
from darkside_cli.retrieval.initial import (
    imagenet_file,
    initial_network,
    torchvision_file,
)
from darkside_cli.retrieval.training_sets import imagenet_asset
from darkside_cli.training.trainer_config import TrainerConfig


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path / "root", "test")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch hub's folder, empty; the network cannot be reached."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("nothing may be fetched")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", never)
    return tmp_path / "torch" / "hub" / "checkpoints"


def config(init: str, backbone: str = BACKBONE, seed: int = 0) -> FinetuneConfig:
    return FinetuneConfig(init=init, backbone=backbone, trainer=TrainerConfig(epochs=1, seed=seed))


def features(value: float, backbone: str = BACKBONE) -> dict[str, Tensor]:
    return {key: torch.full_like(each, value) for key, each in build_features(backbone).state_dict().items()}


def test_random_weights_depend_on_the_seed_alone(root: DataRoot) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = initial_network(config("random"), root).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = initial_network(config("random"), root).state_dict()
    other = initial_network(config("random", seed=1), root).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])
    assert first["pool.p"].item() == 3


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1])
def test_published_features_are_found_at_both_places(root: DataRoot, place: int) -> None:
    file = DATA.get(imagenet_asset("vgg16")).files[0]
    path = root / (file.path, *file.also_at)[place]
    path.parent.mkdir(parents=True)
    torch.save(features(0.25, "vgg16"), path)
    network = initial_network(config("imagenet", "vgg16"), root)
    assert imagenet_file("vgg16", root) == path
    assert all((value == 0.25).all() for value in network.features.state_dict().values())


def test_published_features_that_are_not_here(root: DataRoot) -> None:
    with pytest.raises(MissingAssetError) as told:
        initial_network(config("imagenet", "resnet101"), root)
    assert "darkside download imagenet-resnet101" in str(told.value)
    assert "--init torchvision" in str(told.value)
    with pytest.raises(ConfigError, match="vgg16") as other:
        initial_network(config("imagenet"), root)
    assert "--init torchvision" in str(other.value)


def test_torchvisions_weights(root: DataRoot, hub: Path) -> None:
    with pytest.raises(MissingAssetError, match="--download") as told:
        initial_network(config("torchvision"), root)
    assert str(hub) in str(told.value)
    name = Path(str(told.value).split("(")[1].split(")")[0]).name
    hub.mkdir(parents=True)
    torch.save({f"features.{key}": value for key, value in features(0.5).items()}, hub / name)
    network = initial_network(config("torchvision"), root)
    assert all((value == 0.5).all() for value in network.features.state_dict().values())


def test_torchvisions_weights_are_fetched_when_told_to(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(url: str, target: str, hash_prefix: str, progress: bool) -> None:
        asked.append((url, hash_prefix))
        Path(target).write_bytes(b"weights")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    path = torchvision_file(BACKBONE, download=True)
    assert path.parent == hub
    assert asked[0][0].startswith("https://download.pytorch.org/")
    assert path.stem.endswith(f"-{asked[0][1]}")
    assert torchvision_file(BACKBONE) == path

    def fail(*_: object, **__: object) -> None:
        raise OSError("no network")

    path.unlink()
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(MissingAssetError, match="no network"):
        torchvision_file(BACKBONE, download=True)


def test_a_descriptor_is_gone_on_from_as_a_whole(root: DataRoot, tmp_path: Path) -> None:
    path = write_small_descriptor(tmp_path / "mine.safetensors", seed=5)
    network = initial_network(config(str(path)), root)
    from small_descriptor import small_network

    expected = small_network(5).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())
    with pytest.raises(UsageError, match="is a squeezenet1_1, not a vgg16") as told:
        initial_network(config(str(path), "vgg16"), root)
    assert "--backbone squeezenet1_1" in str(told.value)


def test_a_file_of_features(root: DataRoot, tmp_path: Path) -> None:
    torch.save(features(0.75), tmp_path / "features.pth")
    network = initial_network(config(str(tmp_path / "features.pth")), root)
    assert all((value == 0.75).all() for value in network.features.state_dict().values())
    with pytest.raises(MissingAssetError):
        initial_network(config(str(tmp_path / "none.pth")), root)
    with pytest.raises(UsageError):
        initial_network(config("imagnet"), root)
