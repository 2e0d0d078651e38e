"""Names and keys of the reference implementation, mapped to ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.networks.configs import PatchDiscriminatorConfig, ResnetGeneratorConfig, UnetGeneratorConfig
from darkside_cli.networks.edge_detectors import HedConfig, RcfConfig
from darkside_cli.networks.patch_sample import PatchSampleMlpConfig
from darkside_cli.networks.retrieval_net import RetrievalNetConfig

_REQUIRED = object()


class _Parameters:
    """The reference's ``model`` mapping: every key must be taken once, and a key nobody takes is an error."""

    def __init__(self, architecture: str, values: Mapping[str, Any]) -> None:
        self._architecture = architecture
        self._values = dict(values)

    def take(self, key: str, default: Any = _REQUIRED) -> Any:
        value = self._values.pop(key, default)
        if value is _REQUIRED:
            raise ConfigError(f"'{self._architecture}' needs the model parameter '{key}'")
        return value

    def finish(self) -> None:
        if self._values:
            unknown = ", ".join(sorted(map(str, self._values)))
            raise ConfigError(f"'{self._architecture}' has no model parameter {unknown}")


def _resnet_generator(parameters: _Parameters) -> ResnetGeneratorConfig:
    return ResnetGeneratorConfig(
        in_channels=parameters.take("input_nc", 3),
        out_channels=parameters.take("output_nc", 3),
        ngf=parameters.take("ngf", 64),
        n_blocks=parameters.take("n_blocks"),
        norm=parameters.take("norm_layer"),
        antialias_down=not parameters.take("no_antialias", False),
        antialias_up=not parameters.take("no_antialias_up", False),
        dropout=parameters.take("use_dropout", False),
        padding=parameters.take("padding_type", "reflect"),
    )


def _unet_generator(parameters: _Parameters) -> UnetGeneratorConfig:
    return UnetGeneratorConfig(
        in_channels=parameters.take("input_nc", 3),
        out_channels=parameters.take("output_nc", 3),
        num_downs=parameters.take("num_downs"),
        ngf=parameters.take("ngf", 64),
        norm=parameters.take("norm_layer"),
        dropout=parameters.take("use_dropout", False),
    )


def _patch_discriminator(parameters: _Parameters) -> PatchDiscriminatorConfig:
    return PatchDiscriminatorConfig(
        in_channels=parameters.take("input_nc", 3),
        ndf=parameters.take("ndf", 64),
        n_layers=parameters.take("n_layers", 3),
        norm=parameters.take("norm_layer"),
        antialias=not parameters.take("no_antialias", False),
    )


def _patch_sample_mlp(parameters: _Parameters) -> PatchSampleMlpConfig:
    """Map the head's parameters; it assumes the plain generator with ngf 64, told its input channels."""
    layers = parameters.take("nce_layers")
    if isinstance(layers, str):
        layers = [int(layer) for layer in layers.split(",")]
    generator = ResnetGeneratorConfig(in_channels=parameters.take("input_nc", 3))
    return PatchSampleMlpConfig.for_generator(generator, layers, dim=parameters.take("nc", 256))


def _retrieval_net(parameters: _Parameters) -> RetrievalNetConfig:
    return RetrievalNetConfig(
        backbone=parameters.take("cir_architecture"),
        pooling=parameters.take("pooling", "gem"),
        regional=parameters.take("regional", False),
        local_whitening=parameters.take("local_whitening", False),
        whitening=parameters.take("whitening", False),
    )


_ARCHITECTURES: dict[str, tuple[str, Callable[[_Parameters], Any]]] = {
    "official_resnet_generator": ("resnet_generator", _resnet_generator),
    "official_p2p_unet_generator": ("unet_generator", _unet_generator),
    "official_p2p_discriminator": ("patch_discriminator", _patch_discriminator),
    "official_p2p_mlp": ("patch_sample_mlp", _patch_sample_mlp),
    "hed_interpolation": ("hed", lambda _: HedConfig()),
    "rcf": ("rcf", lambda _: RcfConfig()),
    "cirnet": ("retrieval_net", _retrieval_net),
}


def config_from_reference(model_params: Mapping[str, Any]) -> tuple[str, Any]:
    """Our architecture name and configuration for the reference's ``params.model`` mapping.

    ``model_params`` holds ``architecture`` ("official_resnet_generator", …) and its parameters.

    Raises UnknownNameError for an architecture that has no counterpart here, ConfigError for a parameter
    that is missing, unknown or out of range.
    """
    name = model_params.get("architecture")
    if name not in _ARCHITECTURES:
        raise UnknownNameError("reference architecture", str(name), _ARCHITECTURES)
    ours, convert = _ARCHITECTURES[name]
    parameters = _Parameters(
        name, {key: value for key, value in model_params.items() if key != "architecture"}
    )
    parameters.take(
        "pretrained", None
    )  # where the reference got initial weights from: no matter of the network
    config = convert(parameters)
    parameters.finish()
    return ours, config
