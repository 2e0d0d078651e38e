"""Features from files: published ones, torchvision's classifiers, whole retrieval networks, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from darkside_cli.errors import CheckpointError, MissingAssetError
from darkside_cli.networks.backbone_weights import classifier_keys, load_features
from darkside_cli.networks.backbones import backbone_names, build_features, feature_shapes
from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig

SMALL = "squeezenet1_1"


def numbered(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with each tensor full of a number of its own."""
    return {
        key: torch.full_like(value, n + 1) if value.is_floating_point() else torch.zeros_like(value)
        for n, (key, value) in enumerate(state.items())
    }


def loaded(backbone: str, path: Path) -> dict[str, Tensor]:
    features = build_features(backbone)
    load_features(features, backbone, path)
    return features.state_dict()


def assert_same(state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(state[key], value), key


def test_features_alone_as_published_for_retrieval(tmp_path: Path) -> None:
    expected = numbered(build_features(SMALL).state_dict())
    torch.save(expected, tmp_path / "a.pth")
    assert_same(loaded(SMALL, tmp_path / "a.pth"), expected)
    torch.save(expected, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(loaded(SMALL, tmp_path / "old.pth"), expected)


@pytest.mark.parametrize("backbone", ["resnet18", SMALL])
def test_classifiers_of_torchvision(backbone: str, tmp_path: Path) -> None:
    classifier = torchvision.models.get_model(backbone, weights=None)
    state = numbered(classifier.state_dict())
    classifier.load_state_dict(state)
    torch.save(state, tmp_path / "a.pth")
    # What torchvision's own children give is what ours have to hold.
    children = (
        list(classifier.children())[:-2] if backbone == "resnet18" else list(classifier.features.children())
    )
    assert_same(loaded(backbone, tmp_path / "a.pth"), nn.Sequential(*children).state_dict())


def test_keys_of_well_known_classifiers() -> None:
    vgg = classifier_keys("vgg16")
    assert vgg["features.28.bias"] == "28.bias"
    assert not any(key.startswith("classifier") for key in vgg)
    resnet = classifier_keys("resnet101")
    assert resnet["conv1.weight"] == "0.weight"
    assert resnet["layer3.22.bn3.running_var"] == "6.22.bn3.running_var"
    assert "fc.weight" not in resnet


@pytest.mark.parametrize(
    "backbone", ["alexnet", "densenet121", "mobilenet_v2", "efficientnet_b0", "vgg11_bn"]
)
def test_every_feature_has_a_key_of_the_classifier(backbone: str) -> None:
    assert backbone in backbone_names()
    assert set(classifier_keys(backbone).values()) == set(feature_shapes(backbone))


def test_whole_networks_and_wrapped_states(tmp_path: Path) -> None:
    network = RetrievalNet(RetrievalNetConfig(backbone=SMALL))
    state = numbered(network.state_dict())
    expected = {
        key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")
    }
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "a.pth")
    assert_same(loaded(SMALL, tmp_path / "a.pth"), expected)


def test_files_of_old_torch_versions_count_no_batches(tmp_path: Path) -> None:
    state = numbered(build_features("resnet18").state_dict())
    old = {key: value for key, value in state.items() if "num_batches" not in key}
    torch.save(old, tmp_path / "a.pth")
    assert_same(loaded("resnet18", tmp_path / "a.pth"), state)


def test_files_of_something_else(tmp_path: Path) -> None:
    torch.save(build_features("resnet18").state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match=r"does not hold the features of vgg16.*0\.weight is 64x3x7x7"):
        load_features(nn.Identity(), "vgg16", tmp_path / "resnet.pth")
    torch.save({"a": 3}, tmp_path / "numbers.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_features(nn.Identity(), SMALL, tmp_path / "numbers.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(CheckpointError):
        load_features(nn.Identity(), SMALL, tmp_path / "text.pth")
    with pytest.raises(MissingAssetError):
        load_features(nn.Identity(), SMALL, tmp_path / "none.pth")
