"""U-Net generator of pix2pix and CycleGAN (Isola et al., CVPR 2017), with skip connections."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from darkside_cli.errors import UsageError
from darkside_cli.networks.configs import UnetGeneratorConfig
from darkside_cli.networks.layers import bias_before_norm, make_norm

_PREFIX = "model.model."
_DEEPER_OUTERMOST = "1.model."
_DEEPER_INNER = "3.model."


class SkipLevel(nn.Module):
    """One inner level: halve, go deeper, double, and hand the level's input on beside the result.

    ``outer`` channels outside, ``inner`` inside; ``deeper`` is the next level, None for the innermost.
    """

    def __init__(
        self, outer: int, inner: int, norm: str, deeper: SkipLevel | None = None, *, dropout: bool = False
    ) -> None:
        super().__init__()
        bias = bias_before_norm(norm)
        # Not in place: this level's input is handed on, too.
        down = nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=bias)
        below = [make_norm(norm, inner), deeper] if deeper is not None else []
        returned = inner if deeper is None else 2 * inner
        up = nn.ConvTranspose2d(returned, outer, 4, stride=2, padding=1, bias=bias)
        last = [make_norm(norm, outer), *([nn.Dropout(0.5)] if dropout else [])]
        self.model = nn.Sequential(nn.LeakyReLU(0.2), down, *below, nn.ReLU(inplace=True), up, *last)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, outer, H, W)`` to ``(B, 2 * outer, H, W)``: the input, then what came back from below.

        The published networks rectify the input in place before handing it on (leaky, slope 0.2). The level
        above begins its way up with a ReLU, which gives the same for both.
        """
        return torch.cat([x, self.model(x)], dim=1)


class OutermostLevel(nn.Module):
    """The level of the image: no norms, a tanh at the end, nothing handed past."""

    def __init__(self, config: UnetGeneratorConfig, deeper: SkipLevel) -> None:
        super().__init__()
        bias = bias_before_norm(config.norm)
        down = nn.Conv2d(config.in_channels, config.ngf, 4, stride=2, padding=1, bias=bias)
        up = nn.ConvTranspose2d(2 * config.ngf, config.out_channels, 4, stride=2, padding=1)
        self.model = nn.Sequential(down, deeper, nn.ReLU(inplace=True), up, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
        y: Tensor = self.model(x)
        return y


class UnetGenerator(nn.Module):
    """Image to image, ``num_downs`` halvings and as many doublings, with skip connections at every level.

    Sides must be multiples of ``input_multiple``, which is also the least side (``input_minimum_px``).
    """

    def __init__(self, config: UnetGeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or UnetGeneratorConfig()
        self.input_multiple = self.input_minimum_px = 2**config.num_downs
        ngf, norm = config.ngf, config.norm
        level = SkipLevel(8 * ngf, 8 * ngf, norm)
        for _ in range(config.num_downs - 5):
            level = SkipLevel(8 * ngf, 8 * ngf, norm, level, dropout=config.dropout)
        for factor in (4, 2, 1):
            level = SkipLevel(factor * ngf, 2 * factor * ngf, norm, level)
        self.model = OutermostLevel(config, level)

    def forward(self, x: Tensor) -> Tensor:
        """Translate images.

        ``(B, in_channels, H, W)`` RGB in [-1, 1] to ``(B, out_channels, H, W)`` in [-1, 1].

        Raises UsageError unless H and W are multiples of ``2 ** num_downs``.
        """
        step = 2**self.config.num_downs
        height, width = x.shape[-2:]
        if height % step or width % step:
            raise UsageError(
                f"{width}x{height} pixels do not fit a U-Net that halves them {self.config.num_downs} times",
                hint=f"pad or crop the sides to multiples of {step}",
            )
        y: Tensor = self.model(x)
        return y


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> UnetGeneratorConfig | None:
    """Read the configuration from the keys and shapes of a state dict; None if it is another network.

    Dropout has no trace in a state dict and comes back as False.
    """
    first, last = shapes.get(f"{_PREFIX}0.weight", ()), shapes.get(f"{_PREFIX}3.weight", ())
    if len(first) != 4 or len(last) != 4 or first[2:] != (4, 4):
        return None
    prefix, downs = _PREFIX + _DEEPER_OUTERMOST, 1
    while f"{prefix}1.weight" in shapes:
        downs += 1
        prefix += _DEEPER_INNER
    if downs < 5:
        return None
    return UnetGeneratorConfig(
        in_channels=first[1],
        out_channels=last[1],
        num_downs=downs,
        ngf=first[0],
        norm="batch" if f"{_PREFIX}{_DEEPER_OUTERMOST}2.weight" in shapes else "instance",
    )
