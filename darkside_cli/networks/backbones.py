"""Convolutional parts of torchvision's classifiers, of our own, and timm's: what retrieval networks see with.

Children are numbered, as published retrieval networks have them: a ResNet's are conv1, bn1, relu, maxpool,
layer1 … layer4 as 0 … 7, a VGG's or AlexNet's its ``features`` without the last max pooling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn

from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.networks import efficientnet_lite, timm_backbones
from darkside_cli.networks.catalog import IMAGENET_MEAN, IMAGENET_STD
from darkside_cli.networks.configs import BACKBONES, TIMM, TIMM_TOO
from darkside_cli.networks.efficientnet_lite import EfficientNetLite

MININET = "mininet"
_MININET_CHANNELS = (24, 32, 64, 128)


class MiniBlock(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, beside a 1x1 convolution of the same stride."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / 2, W / 2), rounded up."""
        y: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return y


class MiniNet(nn.Module):
    """``features`` takes (B, 3, H, W) to (B, 128, H / 16, W / 16), rounded up, not negative."""

    def __init__(self) -> None:
        super().__init__()
        first, *rest = _MININET_CHANNELS
        stem = [
            nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        ]
        blocks = [MiniBlock(a, b) for a, b in zip(_MININET_CHANNELS, rest, strict=False)]
        self.features = nn.Sequential(*stem, *blocks)


@dataclass(frozen=True)
class _Family:
    """Networks of one design: which torchvision names, and which of their children make the features.

    ``hint`` is a pattern of keys that their state dicts have. ``smallest_side_px`` is the least height and
    width from which features remain. ``last`` is how many layers, side by side, give the last feature maps.
    """

    pattern: str
    hint: str
    smallest_side_px: int
    last: int = 1
    has_features: bool = True
    drop_last: bool = False
    add_relu: bool = False
    headless: bool = False

    def cut(self, classifier: nn.Module) -> list[nn.Module]:
        """Children of ``classifier`` that come before its global pooling."""
        if not self.has_features:
            return list(classifier.children())[: None if self.headless else -2]
        children = list(classifier.get_submodule("features").children())
        if self.drop_last:
            children = children[:-1]
        return [*children, nn.ReLU(inplace=True)] if self.add_relu else children


_FAMILIES = (
    _Family(r"vgg\d+(_bn)?", r"\d+\.weight", 16, drop_last=True),
    _Family(r"alexnet", r"\d+\.weight", 31, drop_last=True),
    _Family(r"(wide_)?resnet\d+(_2)?|resnext\d+_\w+", r"7\.0\.conv1\.weight", 1, has_features=False),
    _Family(r"densenet\d+", r"4\.denselayer1\.conv1\.weight", 29, add_relu=True),
    _Family(r"squeezenet1_\d", r"\d+\.squeeze\.weight", 21, last=2),
    _Family(r"mobilenet_v2", r"1\.conv\.0\.0\.weight", 1),
    _Family(r"mobilenet_v3_\w+", r"1\.block\.0\.0\.weight", 1),
    _Family(r"efficientnet_(b|v2_)\w", r"1\.0\.block\.0\.0\.weight", 1),
    _Family(r"efficientnet_lite\d", r"1\.0\.0\.units\.0\.0\.weight", 1, has_features=False, headless=True),
    _Family(MININET, r"3\.body\.0\.weight", 1),
)
_OWN: Mapping[str, Callable[[], nn.Module]] = {
    MININET: MiniNet,
    **{name: partial(EfficientNetLite, name) for name in efficientnet_lite.VARIANTS},
}
"""Networks that are not torchvision's."""


def backbone_names() -> tuple[str, ...]:
    """Names of all backbones, torchvision's as it calls the classifiers, in alphabetical order."""
    return BACKBONES


def check_backbone(name: str) -> None:
    """Raise UnknownNameError, with near matches, if there is no backbone ``name``; for timm's as that module does."""
    if name.startswith(TIMM):
        timm_backbones.check_name(name)
    else:
        _family(name)


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, of RGB in [0, 1], of the images that published weights of ``name`` expect."""
    if name.startswith(TIMM):
        return timm_backbones.facts(name).mean, timm_backbones.facts(name).std
    if name in efficientnet_lite.VARIANTS:
        return efficientnet_lite.MEAN, efficientnet_lite.STD
    return IMAGENET_MEAN, IMAGENET_STD


def _family(name: str) -> _Family:
    if name in backbone_names():
        for family in _FAMILIES:
            if re.fullmatch(family.pattern, name):
                return family
    raise UnknownNameError("backbone", name, backbone_names(), extra_hint=TIMM_TOO)


def build_features(name: str, *, class_token: bool = False) -> nn.Module:
    """Convolutional part of the network ``name``, freshly initialised on torch's default device.

    Takes ``(B, 3, H, W)`` to ``(B, C, h, w)``. Weights are never downloaded. The classifier's head, most of
    a VGG, is never given memory; under ``torch.device("meta")`` nothing is. Of a transformer of timm's these are the
    patch tokens as a map, or the ``class_token``, ``(B, C, 1, 1)``.

    Raises UnknownNameError, with near matches, for a network that is not among :func:`backbone_names` nor timm's,
    ConfigError for a class token that it has not.
    """
    if name.startswith(TIMM):
        return timm_backbones.TimmFeatures(name, class_token=class_token)
    if class_token:
        raise ConfigError(f"{name} has no class token", hint="that is of transformers: timm:NAME")
    device = torch.empty(0).device
    with torch.device("meta"):
        _, features = features_of_classifier(name)
    if device.type != "meta":
        # As to_empty does, which asks sympy for the strides: half a second, and 20 MB.
        features._apply(lambda value: torch.empty(value.shape, dtype=value.dtype, device=device))  # type: ignore[no-untyped-call]
        _initialise(features)
    return features


def features_of_classifier(name: str) -> tuple[nn.Module, nn.Sequential]:
    """The network ``name``, without weights from anywhere, and its convolutional part: shared modules.

    Raises UnknownNameError as :func:`build_features` does.
    """
    family = _family(name)
    if name in _OWN:
        classifier = _OWN[name]()
    else:
        import torchvision  # takes seconds and 200 MB, which its networks alone should pay

        classifier = torchvision.models.get_model(name, weights=None)
    return classifier, nn.Sequential(*family.cut(classifier))


def _initialise(features: nn.Module) -> None:
    """He's normal initialisation, scaled by the outputs, of convolutions; norms start as the identity."""
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()


def feature_channels(name: str) -> int:
    """Channels of the feature maps of backbone ``name``."""
    if name.startswith(TIMM):
        return timm_backbones.facts(name).channels
    weights = [shape for key, shape in feature_shapes(name).items() if key.endswith(".weight")]
    return sum(shape[0] for shape in weights[-_family(name).last :])


def smallest_side_px(name: str) -> int:
    """Height and width of the smallest image that backbone ``name`` has a feature map for."""
    if name.startswith(TIMM):
        return timm_backbones.smallest_side_px(name)
    return _family(name).smallest_side_px


@cache
def feature_shapes(name: str) -> Mapping[str, tuple[int, ...]]:
    """Shapes of the parameters and buffers of :func:`build_features`, by key, without making them."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in build_features(name).state_dict().items()}


def recognise_backbone(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Name of the backbone whose features have exactly these keys and shapes; None if there is none."""
    for name in _candidates(shapes):
        if feature_shapes(name) == shapes:
            return name
    return None


def _candidates(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    for family in _FAMILIES:
        if any(re.fullmatch(family.hint, key) for key in shapes):
            yield from (name for name in backbone_names() if re.fullmatch(family.pattern, name))
