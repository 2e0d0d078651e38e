"""Retrieval networks: an image to one global descriptor.

Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019: a
convolutional backbone, a global pooling (GeM), unit length; perhaps, learned with the network, a whitening of
feature maps, of regions or of the descriptor. State dicts are key for key those of the published networks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from darkside_cli.config.limits import MAX_WEIGHT
from darkside_cli.config.schema import option
from darkside_cli.config.values import check_itself
from darkside_cli.errors import ConfigError, ImageError, UnknownNameError
from darkside_cli.networks.backbones import (
    build_features,
    check_backbone,
    feature_channels,
    normalisation,
    recognise_backbone,
    smallest_side_px,
)
from darkside_cli.networks.catalog import IMAGENET_MEAN, IMAGENET_STD
from darkside_cli.networks.pooling import (
    GeM,
    L2Normalise,
    LearnedWhitening,
    LocalWhitening,
    MaxPool,
    MeanPool,
    RegionalPool,
    RMac,
)

POOLINGS: Mapping[str, Callable[[int], nn.Module]] = {
    "gem": lambda channels: GeM(),  # noqa: ARG005
    "gemmp": lambda channels: GeM(channels=channels),
    "mac": lambda channels: MaxPool(),  # noqa: ARG005
    "spoc": lambda channels: MeanPool(),  # noqa: ARG005
    "rmac": lambda channels: RMac(),  # noqa: ARG005
    "cls": lambda channels: MeanPool(),  # noqa: ARG005
}
"""Pooling by name, made for a number of channels. "gemmp" is GeM with an exponent for every channel, "cls" the class
token, which features then give alone."""


@dataclass(frozen=True, kw_only=True)
class RetrievalNetConfig:
    """What determines a retrieval network.

    ``backbone`` is one of torchvision's classifiers ("vgg16", "resnet101", …), of our own ("efficientnet_lite2") or
    of timm's ("timm:NAME"), ``pooling`` one of :data:`POOLINGS`. ``regional`` pools the squares of R-MAC and adds
    their vectors up, ``regional_whitening`` with an affine map of each before. ``local_whitening`` is such a map of
    every position before pooling, ``whitening`` one of the pooled vector. ``mean`` and ``std`` are those of the
    network's input, of RGB in [0, 1]; :meth:`of` takes those of published weights.
    """

    backbone: str = "vgg16"
    pooling: str = "gem"
    regional: bool = False
    regional_whitening: bool = True
    local_whitening: bool = False
    whitening: bool = False
    mean: tuple[float, ...] = option(IMAGENET_MEAN, minimum=-MAX_WEIGHT, maximum=MAX_WEIGHT)
    std: tuple[float, ...] = option(IMAGENET_STD, minimum=1e-6, maximum=MAX_WEIGHT)

    def __post_init__(self) -> None:
        check_itself(self)
        check_backbone(self.backbone)
        if self.pooling not in POOLINGS:
            raise UnknownNameError("pooling", self.pooling, POOLINGS)
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ConfigError(f"mean {self.mean} and std {self.std} are not those of three channels")

    @classmethod
    def of(cls, backbone: str, **settings: Any) -> RetrievalNetConfig:
        """The configuration with the mean and the standard deviation that published weights of ``backbone`` expect."""
        mean, std = normalisation(backbone)
        return cls(backbone=backbone, **{"mean": mean, "std": std, **settings})

    @property
    def dim(self) -> int:
        """Dimensions of the descriptor."""
        return feature_channels(self.backbone)


class RetrievalNet(nn.Module):
    """Normalised images to descriptors of unit length. Attributes are named as published keys are."""

    def __init__(self, config: RetrievalNetConfig | None = None) -> None:
        super().__init__()
        # Not as a default value: it would ask torchvision for its names as soon as this module is imported.
        config = RetrievalNetConfig() if config is None else config
        self.config = config
        dim = config.dim
        self.features = build_features(config.backbone, class_token=config.pooling == "cls")
        self.lwhiten = LocalWhitening(dim, dim) if config.local_whitening else None
        pool = POOLINGS[config.pooling](dim)
        if config.regional:
            pool = RegionalPool(pool, LearnedWhitening(dim, dim) if config.regional_whitening else None)
        self.pool = pool
        self.whiten = LearnedWhitening(dim, dim) if config.whitening else None
        self.norm = L2Normalise()

    def forward(self, x: Tensor) -> Tensor:
        """Describe images.

        ``x`` is ``(B, 3, H, W)``: RGB in [0, 1], then minus ``config.mean`` and divided by ``config.std``.
        Returns ``(B, D)`` of unit length (norms have 1e-6 added where they divide), in at least
        float32: only the backbone and a local whitening run in less where the network or autocast says so.
        """
        maps: Tensor = self.features(x)
        if self.lwhiten is not None:
            maps = self.lwhiten(maps)
        descriptors: Tensor = self.norm(self.pool(maps))
        if self.whiten is not None:
            descriptors = self.norm(self.whiten(descriptors))
        return descriptors

    def aggregation_power(self) -> Tensor | None:
        """Exponent ``(1,)`` with which descriptors of several scales are averaged; None for the plain mean.

        It is GeM's where the network ends with it. Descriptors of other poolings, or with a whitening behind
        GeM, can be negative.
        """
        if isinstance(self.pool, GeM) and self.config.pooling == "gem" and self.whiten is None:
            return self.pool.p
        return None

    def require_size(self, height_px: int, width_px: int) -> None:
        """See that an image of this size has a feature map.

        Raises ImageError if it is too small for the backbone.
        """
        least = smallest_side_px(self.config.backbone)
        if min(height_px, width_px) < least:
            raise ImageError(
                f"{width_px}x{height_px} pixels are too few for {self.config.backbone}",
                hint=f"it needs {least} pixels a side",
            )


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> RetrievalNetConfig | None:
    """Read the configuration from the keys and shapes of a state dict; None if it is another network.

    Only GeM leaves a trace in a state dict (its exponents): networks with other poolings are not recognised,
    the file must say which it is.
    """
    features = {
        key.removeprefix("features."): shape for key, shape in shapes.items() if key.startswith("features.")
    }
    rest = {key for key in shapes if not key.startswith("features.")}
    exponents = [key for key in rest if re.fullmatch(r"pool\.(rpool\.)?p", key)]
    if not features or len(exponents) != 1:
        return None
    backbone = recognise_backbone(features)
    if backbone is None:
        return None
    regional = exponents[0] == "pool.rpool.p"
    return RetrievalNetConfig.of(
        backbone,
        pooling="gem" if shapes[exponents[0]] == (1,) else "gemmp",
        regional=regional,
        regional_whitening="pool.whiten.weight" in rest or not regional,
        local_whitening="lwhiten.weight" in rest,
        whitening="whiten.weight" in rest,
    )
