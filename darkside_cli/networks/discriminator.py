"""Discriminators: does a patch, a pixel, or what a network sees in an image, look like the target domain?

Those of CycleGAN and CUT: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017.
They return raw scores; what score means "real" is a matter of the loss (``losses/gan.py``).

The projected one is small heads that judge frozen features of a network trained on ImageNet. Sauer, Chitta, Müller and
Geiger, "Projected GANs Converge Faster", NeurIPS 2021: features at strides 4, 8, 16 and 32 are mixed by fixed random
convolutions, across channels (1x1) and, from coarse to fine, across scales (3x3); at each scale a head with spectral
normalisation (Miyato et al., ICLR 2018) gives scores. A discriminator that knows what images are made of needs a few
hundred images and minutes, where one from scratch needs days. Only the heads are learned, and only they are in the
state dict beside the random mixing: the feature network comes from its package or file
(:mod:`darkside_cli.networks.efficientnet_lite`) each time, and is never part of a checkpoint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.networks.configs import (
    FeaturesName,
    PatchDiscriminatorConfig,
    PixelDiscriminatorConfig,
    ProjectedDiscriminatorConfig,
)
from darkside_cli.networks.efficientnet_lite import (
    EfficientNetLite,
    imagenet_file,
    load_imagenet,
    pyramid_channels,
)
from darkside_cli.networks.layers import BlurDownsample, bias_before_norm, make_norm


class PatchDiscriminator(nn.Module):
    """4x4 convolutions: ``n_layers`` halve the sides, two more (nearly) keep them; one score per patch."""

    def __init__(self, config: PatchDiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PatchDiscriminatorConfig()
        stride = 1 if config.antialias else 2
        channels = config.ndf
        first = nn.Conv2d(config.in_channels, channels, 4, stride=stride, padding=1)
        modules: list[nn.Module] = [first, nn.LeakyReLU(0.2, inplace=True), *self._blur(channels)]
        for level in range(1, config.n_layers + 1):
            halves = level < config.n_layers
            width = config.ndf * min(2**level, 8)
            step, bias = stride if halves else 1, bias_before_norm(config.norm)
            modules += [
                nn.Conv2d(channels, width, 4, stride=step, padding=1, bias=bias),
                make_norm(config.norm, width),
                nn.LeakyReLU(0.2, inplace=True),
                *(self._blur(width) if halves else []),
            ]
            channels = width
        modules.append(nn.Conv2d(channels, 1, 4, padding=1))
        self.model = nn.Sequential(*modules)

    def _blur(self, channels: int) -> list[nn.Module]:
        return [BlurDownsample(channels)] if self.config.antialias else []

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` in [-1, 1] to raw scores ``(B, 1, h, w)``, h near H / 2^n_layers - 2."""
        scores: Tensor = self.model(x)
        return scores


class PixelDiscriminator(nn.Module):
    """Three 1x1 convolutions: every pixel is judged by its colour alone (the "1x1 PixelGAN")."""

    def __init__(self, config: PixelDiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PixelDiscriminatorConfig()
        width, bias = config.ndf, bias_before_norm(config.norm)
        self.net = nn.Sequential(
            nn.Conv2d(config.in_channels, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            make_norm(config.norm, 2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` in [-1, 1] to raw scores ``(B, 1, H, W)``."""
        scores: Tensor = self.net(x)
        return scores


_WEIGHT = re.compile(r"model\.(\d+)\.weight")


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> PatchDiscriminatorConfig | None:
    """Read a PatchGAN's configuration from a state dict's shapes; None if it is another network."""
    convolutions, norms = 0, 0
    for key, shape in shapes.items():
        if _WEIGHT.fullmatch(key):
            convolutions += len(shape) == 4 and shape[2:] == (4, 4)
            norms += len(shape) == 1
        elif not key.startswith("model.") or "conv_block" in key or key.startswith("model.model."):
            return None
    first = shapes.get("model.0.weight", ())
    if len(first) != 4 or first[2:] != (4, 4) or convolutions < 3:
        return None
    return PatchDiscriminatorConfig(
        in_channels=first[1],
        ndf=first[0],
        n_layers=convolutions - 2,
        norm="batch" if norms else "instance",
        antialias="model.2.filt" in shapes,
    )


def recognise_pixel(shapes: Mapping[str, tuple[int, ...]]) -> PixelDiscriminatorConfig | None:
    """Read a pixel discriminator's configuration from a state dict's shapes; None for another network."""
    first, second = shapes.get("net.0.weight", ()), shapes.get("net.2.weight", ())
    if len(first) != 4 or first[2:] != (1, 1) or second != (2 * first[0], first[0], 1, 1):
        return None
    return PixelDiscriminatorConfig(
        in_channels=first[1], ndf=first[0], norm="batch" if "net.3.weight" in shapes else "instance"
    )


class RandomMixing(nn.Module):
    """The fixed random projections: ``channels`` of the maps, from fine to coarse, become ``width`` each."""

    def __init__(self, channels: Sequence[int], width: int, *, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self._scales = range(len(channels))
        for number, each in enumerate(channels):
            # Buffers, not parameters: they are in the state dict, and nobody ever trains them.
            for name, shape in (("channels", (width, each, 1, 1)), ("scales", (width, width, 3, 3))):
                fan_in = math.prod(shape[1:])
                weight = torch.randn(shape, generator=generator, device="cpu") / math.sqrt(fan_in)
                self.register_buffer(f"{name}_{number}", weight)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps ``(B, C, H, W)``, each half the size of the one before, to as many ``(B, width, H, W)``."""
        mixed: list[Tensor] = []
        coarser: Tensor | None = None
        for number in reversed(self._scales):
            x = F.conv2d(maps[number], getattr(self, f"channels_{number}"))
            if coarser is not None:
                x = x + F.interpolate(coarser, size=x.shape[-2:], mode="bilinear")
            coarser = F.conv2d(x, getattr(self, f"scales_{number}"), padding=1)
            mixed.append(coarser)
        return mixed[::-1]


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weights are divided by their largest singular value, as a matrix ``(out, in * k * k)``.

    Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018: one step of the power
    iteration each time it is used in train mode. (torch's own loads its compiler, which takes seconds.)
    """

    left: Tensor
    right: Tensor

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(inside, outside, kernel, stride, padding)
        rows, columns = self.weight.flatten(1).shape
        self.register_buffer("left", torch.full((rows,), rows**-0.5))
        self.register_buffer("right", torch.full((columns,), columns**-0.5))

    @torch.no_grad()
    def iterate(self, steps: int) -> None:
        """Bring the two singular vectors nearer to those of the weights."""
        matrix = self.weight.flatten(1)
        left, right = self.left, self.right
        for _ in range(steps):
            left = F.normalize(matrix @ right, dim=0, eps=1e-12)
            right = F.normalize(matrix.T @ left, dim=0, eps=1e-12)
        self.left.copy_(left)
        self.right.copy_(right)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, H, W)`` to ``(B, out, H', W')``."""
        if self.training:
            self.iterate(1)
        largest = self.left.clone() @ self.weight.flatten(1) @ self.right.clone()
        return F.conv2d(x, self.weight / largest, self.bias, self.stride, self.padding)


def _head(width: int, halvings: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for _ in range(halvings):
        parts += [SpectralConv2d(width, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    parts += [SpectralConv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*parts, SpectralConv2d(width, 1, 1))


class ProjectedDiscriminator(nn.Module):
    """Frozen features, fixed random mixing, learned heads; a list of scores, from fine to coarse.

    ``features`` is the network whose ImageNet features are judged, given where it is at hand already. Raises
    MissingAssetError, with the command that brings it, where its weights are not installed.
    """

    def __init__(
        self, config: ProjectedDiscriminatorConfig | None = None, *, features: EfficientNetLite | None = None
    ) -> None:
        super().__init__()
        config = config or ProjectedDiscriminatorConfig()
        self.config = config
        channels = pyramid_channels(config.features)
        self.mixing = RandomMixing(channels, config.width, seed=config.mixing_seed)
        # The finest map is judged after two halvings, the coarsest as it is: patches of about the same size in each.
        self.heads = nn.ModuleList(_head(config.width, halvings) for halvings in (2, 1, 1, 0))
        # No sub-module: its weights are no part of the state dict. It follows where the discriminator goes.
        self._features = [features] if features is not None else []

    def draw_weights(self, seed: int) -> None:
        """First weights of the heads (Kaiming's, from a random stream of ``seed``); the mixing has its own seed."""
        if not self._features:
            imagenet_file(self.config.features)  # told now, not in the middle of the first step
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for module in self.heads.modules():
                if isinstance(module, SpectralConv2d):
                    weight = torch.empty(module.weight.shape)
                    module.weight.copy_(nn.init.kaiming_normal_(weight, a=0.2, generator=generator))
                    if module.bias is not None:
                        module.bias.zero_()
                    module.iterate(15)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Judge images ``(B, 3, H, W)`` RGB in [-1, 1], 32 pixels a side or more: scores ``(B, 1, h, w)`` by scale."""
        if self.training and self.config.shift_px:
            x = moved(x, self.config.shift_px)
        maps = self._pyramid(x).pyramid(x)
        return [head(each) for head, each in zip(self.heads, self.mixing(maps), strict=True)]

    def _pyramid(self, x: Tensor) -> EfficientNetLite:
        if not self._features:
            self._features.append(load_imagenet(self.config.features))
        network = self._features[0]
        if next(network.parameters()).device != x.device:
            network.to(x.device)
        return network


def moved(x: Tensor, most_px: int) -> Tensor:
    """``x`` ``(B, C, H, W)`` moved by up to ``most_px`` each way, and around the borders, as torch draws.

    So few nights cannot be known by where things stand (Zhao et al., "Differentiable Augmentation", NeurIPS 2020).
    """
    for dim in (2, 3):
        by = torch.randint(-most_px, most_px + 1, (1,), device=x.device)
        x = x.index_select(dim, (torch.arange(x.shape[dim], device=x.device) + by) % x.shape[dim])
    return x


def recognise_projected(shapes: Mapping[str, tuple[int, ...]]) -> ProjectedDiscriminatorConfig | None:
    """Read the configuration from the shapes of a state dict; None if it is another network."""
    first = shapes.get("mixing.channels_0", ())
    if len(first) != 4:
        return None
    for name in get_args(FeaturesName):
        channels = pyramid_channels(name)
        if (channels[0], channels[-1]) == (first[1], shapes.get("mixing.channels_3", (0, 0))[1]):
            return ProjectedDiscriminatorConfig(features=name, width=first[0])
    return None
