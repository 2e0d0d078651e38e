from __future__ import annotations

from typing import Any

import pytest

from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.networks.configs import PatchDiscriminatorConfig, ResnetGeneratorConfig, UnetGeneratorConfig
from darkside_cli.networks.edge_detectors import HedConfig, RcfConfig
from darkside_cli.networks.patch_sample import PatchSampleMlpConfig


def test_published_generator() -> None:
    model = {
        "architecture": "official_resnet_generator",
        "no_antialias": True,
        "no_antialias_up": True,
        "input_nc": 3,
        "output_nc": 3,
        "n_blocks": 9,
        "norm_layer": "batch",
    }
    before = dict(model)
    assert config_from_reference(model) == ("resnet_generator", ResnetGeneratorConfig(norm="batch"))
    assert model == before


@pytest.mark.parametrize(
    ("architecture", "parameters", "expected"),
    [
        (
            "official_resnet_generator",
            {"n_blocks": 6, "norm_layer": "instance", "ngf": 8, "use_dropout": True, "padding_type": "zero"},
            (
                "resnet_generator",
                ResnetGeneratorConfig(
                    n_blocks=6, ngf=8, antialias_down=True, antialias_up=True, dropout=True, padding="zero"
                ),
            ),
        ),
        (
            "official_p2p_unet_generator",
            {"num_downs": 7, "norm_layer": "instance", "output_nc": 1},
            ("unet_generator", UnetGeneratorConfig(num_downs=7, norm="instance", out_channels=1)),
        ),
        (
            "official_p2p_discriminator",
            {"no_antialias": True, "norm_layer": "batch", "n_layers": 2, "ndf": 4},
            ("patch_discriminator", PatchDiscriminatorConfig(norm="batch", n_layers=2, ndf=4)),
        ),
        (
            "official_p2p_discriminator",
            {"norm_layer": "instance"},
            ("patch_discriminator", PatchDiscriminatorConfig(antialias=True)),
        ),
        (
            "official_p2p_mlp",
            {"nce_layers": "0,4,8", "input_nc": 1, "nc": 16},
            ("patch_sample_mlp", PatchSampleMlpConfig(channels=(1, 128, 256), dim=16)),
        ),
        (
            "official_p2p_mlp",
            {"nce_layers": [4, 8, 12, 16]},
            ("patch_sample_mlp", PatchSampleMlpConfig()),
        ),
        ("hed_interpolation", {"pretrained": "http://example.org/hed.pth"}, ("hed", HedConfig())),
        ("rcf", {"pretrained": None}, ("rcf", RcfConfig())),
    ],
)
def test_parameters_are_translated(
    architecture: str, parameters: dict[str, Any], expected: tuple[str, Any]
) -> None:
    assert config_from_reference({"architecture": architecture, **parameters}) == expected


def test_unknown_architecture_names_its_near_match() -> None:
    with pytest.raises(UnknownNameError, match="official_resnet_generator"):
        config_from_reference({"architecture": "official_resnet_generatr"})
    with pytest.raises(UnknownNameError, match="unknown reference architecture 'None'"):
        config_from_reference({})


def test_missing_and_unknown_parameters_are_named() -> None:
    with pytest.raises(ConfigError, match="needs the model parameter 'n_blocks'"):
        config_from_reference({"architecture": "official_resnet_generator", "norm_layer": "batch"})
    with pytest.raises(ConfigError, match="has no model parameter gamma, ngf"):
        config_from_reference({"architecture": "rcf", "ngf": 3, "gamma": 1})
    with pytest.raises(ConfigError, match="norm must be one of"):
        config_from_reference(
            {"architecture": "official_p2p_discriminator", "norm_layer": "layer", "no_antialias": True}
        )
