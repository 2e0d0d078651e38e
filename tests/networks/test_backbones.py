from __future__ import annotations

import re
import sys

import pytest
import torch
import torchvision
from torch import nn

from darkside_cli.errors import UnknownNameError
from darkside_cli.networks.backbones import (
    backbone_names,
    build_features,
    feature_channels,
    feature_shapes,
    recognise_backbone,
    smallest_side_px,
)
from darkside_cli.networks.configs import OWN_BACKBONES
from darkside_cli.networks.efficientnet_lite import SameConv

ONE_OF_EACH_FAMILY = (
    "alexnet", "vgg16", "vgg11_bn", "resnet18", "resnext50_32x4d", "densenet121", "squeezenet1_1",
    "mobilenet_v2", "efficientnet_b0",
)  # fmt: skip
ALL = [
    pytest.param(name, marks=() if name in ONE_OF_EACH_FAMILY else pytest.mark.slow)
    for name in backbone_names()
]


def on_meta(name: str) -> nn.Sequential:
    with torch.device("meta"):
        return build_features(name).eval()


def test_names_are_those_of_torchvision() -> None:
    names = backbone_names()
    assert {"alexnet", "vgg16", "resnet18", "resnet50", "resnet101", "resnet152"} <= set(names)
    assert set(ONE_OF_EACH_FAMILY) <= set(names)
    assert not {"vit_b_16", "googlenet", "vgg", "quantized_resnet18"} & set(names)
    of_torchvision = torchvision.models.list_models(module=torchvision.models)
    fitting = r"vgg\d.*|alexnet|.*resnet\d.*|resnext.*|densenet.*|squeezenet.*|mobilenet.*|efficientnet.*"
    known = [name for name in of_torchvision if re.fullmatch(fitting, name)]
    assert names == tuple(sorted([*known, *OWN_BACKBONES]))


@pytest.mark.parametrize("name", ALL)
def test_channels_and_smallest_image(name: str) -> None:
    features, least = on_meta(name), smallest_side_px(name)
    with torch.device("meta"):
        maps = features(torch.empty(2, 3, least, least + 1))
        assert maps.shape[:2] == (2, feature_channels(name))
        assert min(maps.shape) > 0
        assert all(height < 32 for height in features(torch.empty(1, 3, 64, 64)).shape[2:])


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "squeezenet1_0", "densenet121"])
def test_a_pixel_less_is_too_small(name: str) -> None:
    features, least = on_meta(name), smallest_side_px(name)
    with torch.device("meta"), pytest.raises(RuntimeError):
        features(torch.empty(1, 3, least - 1, least - 1))


@pytest.mark.parametrize("name", ALL)
def test_recognised_by_its_shapes_alone(name: str) -> None:
    assert recognise_backbone(feature_shapes(name)) == name


def test_altered_shapes_are_not_recognised() -> None:
    shapes = dict(feature_shapes("resnet18"))
    assert recognise_backbone({**shapes, "7.1.conv2.weight": (512, 512, 1, 1)}) is None
    assert recognise_backbone({**shapes, "8.weight": (2,)}) is None
    assert recognise_backbone({}) is None


@pytest.mark.parametrize("name", ALL)
def test_everything_with_weights_is_initialised(name: str) -> None:
    """Only layers whose start is defined here own parameters or buffers."""
    owners = {
        type(module)
        for module in on_meta(name).modules()
        if [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    }
    assert owners <= {nn.Conv2d, SameConv, nn.BatchNorm2d}


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small"])
def test_fresh_features_are_sane(name: str) -> None:
    torch.manual_seed(0)
    features = build_features(name)
    for key, value in features.state_dict().items():
        expected = {"running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0.0, "bias": 0.0}
        ending = key.rpartition(".")[2]
        if ending in expected:
            assert (value == expected[ending]).all(), key
        elif value.ndim == 1:
            assert (value == 1).all(), key
        else:
            assert value.std() > 0, key
            assert value.isfinite().all(), key
    assert all(parameter.requires_grad for parameter in features.parameters())


def test_the_random_start_follows_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return build_features("squeezenet1_1")[0].weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_misspelt_names() -> None:
    with pytest.raises(UnknownNameError) as caught:
        build_features("resnet10l")
    assert "resnet101" in caught.value.near
    with pytest.raises(UnknownNameError):
        smallest_side_px("vit_b_16")


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download was asked for")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(sys.modules["torchvision"].models._api, "load_state_dict_from_url", refuse)
    on_meta("resnet50")
