from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from darkside_cli.errors import ConfigError, ImageError, UnknownNameError
from darkside_cli.networks.retrieval_net import POOLINGS, RetrievalNet, RetrievalNetConfig, recognise

SMALL = RetrievalNetConfig(backbone="squeezenet1_1")


def without_backbone(config: RetrievalNetConfig) -> RetrievalNet:
    """A network that takes feature maps instead of images; small enough for every test."""
    torch.manual_seed(0)
    network = RetrievalNet(replace(config, backbone="alexnet")).eval()
    network.features = nn.Sequential()
    return network


def maps(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("regional", [False, True])
@pytest.mark.parametrize("pooling", [each for each in POOLINGS if each != "cls"])
def test_descriptors_of_unit_length(pooling: str, regional: bool) -> None:
    config = RetrievalNetConfig(pooling=pooling, regional=regional, local_whitening=True, whitening=True)
    network = without_backbone(config)
    batch = maps(2, network.config.dim, 4, 6)
    descriptors = network(batch)
    assert descriptors.shape == (2, network.config.dim)
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(descriptors[1:], network(batch[1:]))


def test_the_order_of_things() -> None:
    """Feature maps, local whitening, pooling, unit length, whitening, unit length: computed apart."""
    network = without_backbone(RetrievalNetConfig(pooling="spoc", local_whitening=True, whitening=True))
    x = maps(1, network.config.dim, 2, 3)
    local, final = network.lwhiten, network.whiten
    assert isinstance(local, nn.Linear)
    assert isinstance(final, nn.Linear)
    pooled = (local.weight @ x[0].flatten(1) + local.bias[:, None]).mean(dim=1)
    unit = pooled / (pooled.norm() + 1e-6)
    whitened = final.weight @ unit + final.bias
    torch.testing.assert_close(network(x)[0], whitened / (whitened.norm() + 1e-6))


def test_gem_at_the_end_of_a_real_backbone() -> None:
    torch.manual_seed(0)
    network = RetrievalNet(SMALL).eval()
    x = torch.randn(2, 3, 40, 56)
    with torch.no_grad():
        features = network.features(x)
        pooled = features.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)
        torch.testing.assert_close(network(x), pooled / (pooled.norm(dim=1, keepdim=True) + 1e-6))


CONFIGS = [
    SMALL,
    replace(SMALL, pooling="gemmp"),
    replace(SMALL, regional=True),
    replace(SMALL, regional=True, regional_whitening=False, pooling="gemmp"),
    replace(SMALL, local_whitening=True, whitening=True),
    RetrievalNetConfig(backbone="resnet50", whitening=True),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_recognised_by_its_keys(config: RetrievalNetConfig) -> None:
    with torch.device("meta"):
        state = RetrievalNet(config).state_dict()
    assert recognise({key: tuple(value.shape) for key, value in state.items()}) == config


@pytest.mark.parametrize("pooling", ["mac", "spoc", "rmac"])
def test_poolings_without_parameters_leave_no_trace(pooling: str) -> None:
    with torch.device("meta"):
        state = RetrievalNet(replace(SMALL, pooling=pooling)).state_dict()
    assert recognise({key: tuple(value.shape) for key, value in state.items()}) is None


def test_other_networks_are_not_recognised() -> None:
    assert recognise({}) is None
    assert recognise({"pool.p": (1,)}) is None
    assert recognise({"pool.p": (1,), "features.0.weight": (64, 3, 3, 3)}) is None


def test_keys_of_all_parts() -> None:
    """The names that published networks with whitenings have, after those of the backbone."""
    config = replace(SMALL, regional=True, local_whitening=True, whitening=True)
    with torch.device("meta"):
        keys = [key for key in RetrievalNet(config).state_dict() if not key.startswith("features.")]
    assert keys == [
        "lwhiten.weight", "lwhiten.bias", "pool.rpool.p", "pool.whiten.weight", "pool.whiten.bias",
        "whiten.weight", "whiten.bias",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "has_power"),
    [
        ({}, True),
        ({"local_whitening": True}, True),
        ({"whitening": True}, False),
        ({"regional": True}, False),
        ({"pooling": "gemmp"}, False),
        ({"pooling": "mac"}, False),
    ],
)
def test_exponent_for_several_scales(options: dict[str, object], has_power: bool) -> None:
    power = without_backbone(RetrievalNetConfig(**options)).aggregation_power()  # type: ignore[arg-type]
    assert (power is not None) == has_power
    assert power is None or power.tolist() == [3.0]


def test_images_that_are_too_small() -> None:
    network = without_backbone(RetrievalNetConfig())
    network.require_size(31, 31)
    with pytest.raises(ImageError, match="200x30 pixels are too few for alexnet"):
        network.require_size(30, 200)


def test_configuration() -> None:
    assert RetrievalNetConfig(backbone="resnet101").dim == 2048
    assert RetrievalNetConfig(mean=[0, 0, 0]).mean == (0.0, 0.0, 0.0)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="unknown backbone 'vgg61'"):
        RetrievalNetConfig(backbone="vgg61")
    with pytest.raises(UnknownNameError, match="unknown pooling 'gme'"):
        RetrievalNetConfig(pooling="gme")
    for wrong, says in (
        ((0.5, 0.5), "three channels"),
        ((0.5, 0.5, 0.0), r"std\[2\] must be a number from 1e-06"),
    ):
        with pytest.raises(ConfigError, match=says):
            RetrievalNetConfig(std=wrong)


def test_half_precision_keeps_descriptors_exact_in_length() -> None:
    network = without_backbone(RetrievalNetConfig(whitening=True))
    x = maps(2, network.config.dim, 4, 4)
    exact = network(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(network(x), exact)
    rounded = network.bfloat16()(x.bfloat16())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.norm(dim=1), torch.ones(2), atol=1e-5, rtol=0)
    assert (rounded * exact).sum(dim=1).min() > 0.999


@pytest.mark.slow  # a process of its own that imports torch
def test_importing_it_does_not_import_torchvision() -> None:
    """Every generator that is opened asks this module whether the weights are its own."""
    code = (
        "import sys; from darkside_cli.networks.retrieval_net import recognise;"
        "recognise({'model.1.weight': (64, 3, 7, 7)}); print('torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
