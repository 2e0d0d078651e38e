"""What determines the networks, free of torch: generators and discriminators in one dataclass each.

The same object is the constructor's argument and the checkpoint's record, and the settings of a training inherit its
fields (``methods/network_options.py``): a new option of a network is one field here and its use in the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from darkside_cli.config.limits import (
    MAX_BLOCKS,
    MAX_CHANNELS,
    MAX_CROP_PX,
    MAX_GAIN,
    MAX_GUIDE_EPS,
    MAX_HALVINGS,
    MAX_RADIUS_PX,
    MAX_SEED,
    MAX_WIDTH,
)
from darkside_cli.config.schema import option
from darkside_cli.config.values import check_itself
from darkside_cli.errors import ConfigError, UnknownNameError, UsageError

NormName = Literal["instance", "batch"]
PaddingName = Literal["reflect", "replicate", "zero"]
OutputName = Literal["picture", "gain"]
FeaturesName = Literal["efficientnet_lite0", "efficientnet_lite2"]

SMALLEST_SIDE_PX = 8
"""Shortest side that a ResNet generator takes; see :class:`darkside_cli.networks.generator.ResnetGenerator`."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Base of the others: values have their types and are within their bounds, or it is a ConfigError."""

    in_channels: int = option(3, minimum=1, maximum=MAX_CHANNELS, setting=False)

    def __post_init__(self) -> None:
        check_itself(self)


@dataclass(frozen=True, kw_only=True)
class ResnetGeneratorConfig(NetworkConfig):
    """What determines the ResNet generator's parameters."""

    out_channels: int = option(3, minimum=1, maximum=MAX_CHANNELS, setting=False)
    ngf: int = option(64, help="channels of the first convolution", minimum=1, maximum=MAX_WIDTH)
    n_blocks: int = option(9, help="residual blocks", minimum=1, maximum=MAX_BLOCKS)
    norm: NormName = option("instance", help="normalisation of features")
    antialias_down: bool = option(False, help="blur before subsampling, as CUT's own generators do")
    antialias_up: bool = option(
        False, help="enlarge by blurring instead of transposed convolutions, as CUT does"
    )
    dropout: bool = option(False, help="dropout of one half in the residual blocks")
    padding: PaddingName = option("reflect", help="border of the residual blocks' convolutions")


@dataclass(frozen=True, kw_only=True)
class GuideConfig:
    """How a guided filter brings what a generator made of a small image to the image's own size.

    ``output`` says what the network makes of the small image: "image" (night itself) or "gain" (how much light of
    each colour there is, 0 to ``max_gain`` of the day's; see :func:`darkside_cli.networks.guided.relight`). Radii are
    in pixels of the small image. Narrow windows in training let the network learn where things end, wide ones
    smooth over what it is unsure of.
    """

    output: OutputName = option(
        "picture",
        help="with working_px: the network makes the night picture, or what gain of light turns day into it",
    )
    max_gain: float = option(
        2.0,
        help="the highest gain there can be, also on the way back from night to day (CycleGAN)",
        minimum=1e-6,
        maximum=MAX_GAIN,
    )
    guide_radius_px: int = option(
        4, help="radius of the filter's windows, at the working size", minimum=1, maximum=MAX_RADIUS_PX
    )
    training_radius_px: int | None = option(
        None,
        help="radius while the network learns, such as a narrower one (none: the same)",
        minimum=1,
        maximum=MAX_RADIUS_PX,
    )
    guide_eps: float = option(
        2e-3,
        help="variance of the day picture, in [-1, 1], below which texture is smoothed",
        minimum=1e-12,
        maximum=MAX_GUIDE_EPS,
    )

    def radius_px(self, *, training: bool) -> int:
        """The radius of the filter's windows in train mode or in eval mode."""
        if training and self.training_radius_px is not None:
            return self.training_radius_px
        return self.guide_radius_px


@dataclass(frozen=True, kw_only=True)
class GuidedGeneratorConfig(GuideConfig, ResnetGeneratorConfig):
    """What determines a guided generator; ``working_px`` is the longer side of what the network sees."""

    working_px: int = option(256, minimum=SMALLEST_SIDE_PX, maximum=MAX_CROP_PX)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.in_channels != 3:
            raise ConfigError(
                f"a guided generator sees colours, in_channels must be 3, not {self.in_channels}"
            )


@dataclass(frozen=True, kw_only=True)
class RelightGeneratorConfig(NetworkConfig):
    """What determines a generator that makes light; see :mod:`darkside_cli.networks.relight`."""

    width: int = option(28, help="channels of the first level, a multiple of 4", minimum=4, maximum=MAX_WIDTH)
    levels: int = option(4, help="halvings after the first one", minimum=1, maximum=8)
    code: int = option(8, help="numbers that choose among the nights of one day", minimum=1, maximum=256)
    working_px: int = option(
        384,
        help="longest side at which the network looks at larger images",
        minimum=32,
        maximum=MAX_CROP_PX,
        unit="px",
    )
    darkness: float = option(
        0.0, help="once it has learned, make nights darker by so many stops", minimum=-4, maximum=8
    )
    lights: float = option(
        1.0, help="once it has learned, factor of the light of lamps and windows", minimum=0, maximum=16
    )
    guide_radius_px: int = option(
        2, help="radius of the guided filter's windows, at the working size", minimum=1, maximum=MAX_RADIUS_PX
    )
    guide_eps: float = option(
        6e-3,
        help="variance of the day image, in [-1, 1], below which the gain is smoothed",
        minimum=1e-6,
        maximum=MAX_GUIDE_EPS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.in_channels != 3:
            raise ConfigError(
                f"a relighting generator sees colours, in_channels must be 3, not {self.in_channels}"
            )
        if self.width % 4:
            raise ConfigError(f"width must be a multiple of 4, not {self.width}")


@dataclass(frozen=True, kw_only=True)
class UnetGeneratorConfig(NetworkConfig):
    """What determines the U-Net's parameters.

    ``num_downs`` is the number of halvings (8: down to one pixel at 256 px), ``ngf`` the width of the outermost
    level; ``dropout`` puts a 50 % dropout into the widest levels but the innermost.
    """

    out_channels: int = option(3, minimum=1, maximum=MAX_CHANNELS, setting=False)
    num_downs: int = option(8, minimum=5, maximum=MAX_HALVINGS)
    ngf: int = option(64, minimum=1, maximum=MAX_WIDTH)
    norm: NormName = "batch"
    dropout: bool = False


@dataclass(frozen=True, kw_only=True)
class PatchDiscriminatorConfig(NetworkConfig):
    """What determines the PatchGAN's parameters."""

    ndf: int = option(64, help="channels of the first convolution", minimum=1, maximum=MAX_WIDTH)
    n_layers: int = option(3, help="halvings; 3 judges patches of 70 pixels", minimum=1, maximum=MAX_HALVINGS)
    norm: NormName = option("instance", help="normalisation of features")
    antialias: bool = option(False, help="blur before subsampling, as CUT's own discriminators do")


@dataclass(frozen=True, kw_only=True)
class ProjectedDiscriminatorConfig(NetworkConfig):
    """What determines the heads of a projected discriminator; see :mod:`darkside_cli.networks.discriminator`."""

    features: FeaturesName = option(
        "efficientnet_lite0", help="network whose ImageNet features are judged (extra features)"
    )
    width: int = option(
        64, help="channels of the mixed features and of the heads", minimum=8, maximum=MAX_WIDTH
    )
    mixing_seed: int = option(0, help="seed of the fixed random mixing", minimum=0, maximum=MAX_SEED)
    shift_px: int = option(
        12,
        help="while it learns, images are moved by up to this, around their borders",
        minimum=0,
        maximum=256,
    )


@dataclass(frozen=True, kw_only=True)
class PixelDiscriminatorConfig(NetworkConfig):
    """What determines the pixel discriminator's parameters; see :class:`PatchDiscriminatorConfig`."""

    ndf: int = option(64, minimum=1, maximum=MAX_WIDTH)
    norm: NormName = "instance"


# What retrieval networks may be made of, by name; what that stands for: ``backbones.py`` and ``retrieval_net.py``.


POOLINGS = ("gem", "gemmp", "mac", "spoc", "rmac", "cls")
"""Global poolings of a retrieval network; "cls" is the class token of a transformer of timm's."""

TIMM = "timm:"
"""What a backbone of the package timm begins with: "timm:convnext_tiny.fb_in1k"."""
TIMM_TOO = "all of timm's are timm:NAME"

LITE_BACKBONES = tuple(f"efficientnet_lite{size}" for size in range(5))
OWN_BACKBONES = ("mininet", *LITE_BACKBONES)
"""Backbones that are not torchvision's."""

BACKBONES = tuple(
    sorted(
        (
            *OWN_BACKBONES,
            "alexnet",
            *(f"densenet{layers}" for layers in (121, 161, 169, 201)),
            *(f"efficientnet_b{size}" for size in range(8)),
            *(f"efficientnet_v2_{size}" for size in "lms"),
            *("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"),
            *(f"resnet{layers}" for layers in (18, 34, 50, 101, 152)),
            *("resnext101_32x8d", "resnext101_64x4d", "resnext50_32x4d"),
            *("squeezenet1_0", "squeezenet1_1"),
            *(f"vgg{layers}{norm}" for layers in (11, 13, 16, 19) for norm in ("", "_bn")),
            *("wide_resnet50_2", "wide_resnet101_2"),
        )
    )
)
"""Backbones, torchvision's as it calls the classifiers, in alphabetical order."""


def split_pooling(spec: str) -> tuple[str, str | None]:
    """Backbone and pooling of "timm:NAME:pooling=POOLING"; of what names no pooling, itself and None.

    Raises UsageError for another setting, UnknownNameError for another pooling.
    """
    name, _, setting = spec.removeprefix(TIMM).partition(":")
    if not spec.startswith(TIMM) or not setting:
        return spec, None
    key, _, pooling = setting.partition("=")
    if key != "pooling":
        raise UsageError(f"'{spec}' is no network of timm's", hint="timm:NAME or timm:NAME:pooling=cls")
    if pooling not in POOLINGS:
        raise UnknownNameError("pooling", pooling, POOLINGS)
    return f"{TIMM}{name}", pooling


def check_backbone_name(name: str) -> None:
    """Raise ValueError for what is no backbone; whether timm has one is found out later."""
    if name not in BACKBONES and not name.startswith(TIMM):
        raise ValueError(f"{UnknownNameError('backbone', name, BACKBONES, extra_hint=TIMM_TOO)}")
