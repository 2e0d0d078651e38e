"""Names and parameters of the reference implementation, mapped to ours and back by one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.networks.configs import PatchDiscriminatorConfig, ResnetGeneratorConfig, UnetGeneratorConfig
from darkside_cli.networks.edge_detectors import HedConfig, RcfConfig
from darkside_cli.networks.patch_sample import PatchSampleMlpConfig
from darkside_cli.networks.retrieval_net import RetrievalNetConfig

_REQUIRED: Any = object()


class _Parameter(NamedTuple):
    """A parameter of the reference, what it is here, and what it is there where it is not given.

    ``negated``: it says the opposite here. ``brief``: it is not written where it is the default.
    """

    theirs: str
    ours: str
    default: Any = _REQUIRED
    negated: bool = False
    brief: bool = False


@dataclass(frozen=True)
class _Architecture:
    """An architecture of ours; ``constant`` is written besides its parameters, None if it is never written."""

    name: str
    make: Callable[..., Any]
    parameters: tuple[_Parameter, ...] = ()
    constant: dict[str, Any] | None = field(default_factory=dict)


def _patch_sample_mlp(in_channels: int, layers: Any, dim: int) -> PatchSampleMlpConfig:
    """Make the head's configuration; it assumes the plain generator with ngf 64, told its input channels."""
    if isinstance(layers, str):
        layers = [int(layer) for layer in layers.split(",")]
    return PatchSampleMlpConfig.for_generator(ResnetGeneratorConfig(in_channels=in_channels), layers, dim=dim)


_INPUT, _OUTPUT = _Parameter("input_nc", "in_channels", 3), _Parameter("output_nc", "out_channels", 3)
_NORM, _NGF = _Parameter("norm_layer", "norm"), _Parameter("ngf", "ngf", 64)
_DROPOUT = _Parameter("use_dropout", "dropout", False, brief=True)
_PRETRAINED = "pretrained"  # where the reference got initial weights from: no matter of the network
_ARCHITECTURES = {
    "official_resnet_generator": _Architecture(
        "resnet_generator",
        ResnetGeneratorConfig,
        (
            _Parameter("no_antialias", "antialias_down", False, negated=True),
            _Parameter("no_antialias_up", "antialias_up", False, negated=True),
            *(_INPUT, _OUTPUT, _Parameter("n_blocks", "n_blocks"), _NGF, _NORM, _DROPOUT),
            _Parameter("padding_type", "padding", "reflect", brief=True),
        ),
    ),
    "official_p2p_unet_generator": _Architecture(
        "unet_generator",
        UnetGeneratorConfig,
        (_INPUT, _OUTPUT, _Parameter("num_downs", "num_downs"), _NGF, _NORM, _DROPOUT),
    ),
    "official_p2p_discriminator": _Architecture(
        "patch_discriminator",
        PatchDiscriminatorConfig,
        (
            _Parameter("no_antialias", "antialias", False, negated=True),
            *(_INPUT, _Parameter("ndf", "ndf", 64), _Parameter("n_layers", "n_layers", 3), _NORM),
        ),
    ),
    "official_p2p_mlp": _Architecture(
        "patch_sample_mlp",
        _patch_sample_mlp,
        (_Parameter("nce_layers", "layers"), _INPUT, _Parameter("nc", "dim", 256)),
        constant=None,
    ),
    "hed_interpolation": _Architecture("hed", HedConfig, constant={_PRETRAINED: None}),
    "rcf": _Architecture("rcf", RcfConfig, constant={_PRETRAINED: None}),
    "cirnet": _Architecture(
        "retrieval_net",
        RetrievalNetConfig,
        (
            _Parameter("cir_architecture", "backbone"),
            _Parameter("pooling", "pooling", "gem"),
            *(_Parameter(name, name, False) for name in ("regional", "local_whitening", "whitening")),
        ),
        constant={_PRETRAINED: False},
    ),
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
    architecture = _ARCHITECTURES[name]
    given = {key: value for key, value in model_params.items() if key not in ("architecture", _PRETRAINED)}
    ours = {}
    for each in architecture.parameters:
        value = given.pop(each.theirs, each.default)
        if value is _REQUIRED:
            raise ConfigError(f"'{name}' needs the model parameter '{each.theirs}'")
        ours[each.ours] = not value if each.negated else value
    config = architecture.make(**ours)
    if given:
        raise ConfigError(f"'{name}' has no model parameter {', '.join(sorted(map(str, given)))}")
    return architecture.name, config


def config_to_reference(architecture: str, config: Any) -> dict[str, Any] | None:
    """The reference's ``params.model`` mapping for a configuration of ours; None if it has no such architecture.

    Not all that a configuration can say can be said there: hold what it is read as against ``config``.
    """
    for name, each in _ARCHITECTURES.items():
        if each.name == architecture and each.constant is not None:
            params: dict[str, Any] = {"architecture": name}
            for parameter in each.parameters:
                value = getattr(config, parameter.ours)
                if not parameter.brief or value != parameter.default:
                    params[parameter.theirs] = not value if parameter.negated else value
            return params | each.constant
    return None


def is_expressible(architecture: str) -> bool:
    """Whether the reference has networks of this ``architecture``; not all of their forms need be among them."""
    return any(each.name == architecture and each.constant is not None for each in _ARCHITECTURES.values())
