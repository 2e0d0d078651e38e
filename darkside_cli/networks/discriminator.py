"""Discriminators of CycleGAN and CUT: does a patch, or a pixel, look like the target domain?

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017. They return raw
scores; what score means "real" is a matter of the loss (``losses/gan.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from darkside_cli.networks.configs import PatchDiscriminatorConfig, PixelDiscriminatorConfig
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
