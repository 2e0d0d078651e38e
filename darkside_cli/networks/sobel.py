"""An edge detector by formula: gradients of the luminance at several scales, held against their surroundings.

It stands in for learned detectors where their weights are not to be had, and has the same interface: differentiable,
logits first. With the filters of Sobel (Sobel and Feldman, 1968) and divisive normalisation (Heeger, Visual
Neuroscience 1992): what counts is not how strong a gradient is but how strong compared with those around it and with
the local brightness, so that a street has much the same edges by day and in dim light, as long as they can be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.config.limits import MAX_HALVINGS, MAX_WIDTH
from darkside_cli.config.schema import option
from darkside_cli.config.values import check_itself
from darkside_cli.networks.edge_detectors import EdgeDetector
from darkside_cli.networks.layers import initialise, without_autocast

LUMINANCE_BGR = (0.114, 0.587, 0.299)
_ACROSS, _ALONG = (-1.0, 0.0, 1.0), (1.0, 2.0, 1.0)
_SURROUNDINGS_PX = 8
_BRIGHTNESS_SHARE = 0.05
"""A gradient of this share of the local brightness, per pixel, counts as much as the gradients around it do."""
_DARKNESS = 0.02
"""Gradients well below this, in units of the full range, cannot be seen: what is to keep its edges must not go black.

Tried in training (2026-11): with 0.005 and a share of 0.1 generators went black, since edges survived in that."""
_EPS = 1e-6
_FLAT_LOGIT, _EDGE_LOGITS = -4.0, 6.0
"""Logit of no gradient at all, and what a gradient as strong as what it is compared with adds to it."""
STUDENT_WIDTH = 16


@dataclass(frozen=True, kw_only=True)
class SobelConfig:
    """``scales`` is the number of sizes, each half of the one before.

    ``width`` is that of a small network which corrects the formula's logits; 0: there is none.
    """

    scales: int = option(3, minimum=1, maximum=MAX_HALVINGS)
    width: int = option(0, minimum=0, maximum=MAX_WIDTH)

    def __post_init__(self) -> None:
        check_itself(self)


class Sobel(EdgeDetector):
    """Edge detector for images of any size from 8 pixels a side; see the module's docstring.

    Every constant of the formula is a parameter, so that a student may improve it. A new detector, with or without
    correcting network, gives exactly the formula: that network's last layer begins with zeros.
    """

    SMALLEST_SIDE_PX = 8

    def __init__(self, config: SobelConfig = SobelConfig()) -> None:
        super().__init__(scale=1.0, mean_bgr=(0.0, 0.0, 0.0))
        self.config = config
        # In plain numbers: on the meta device torch.outer loads torch's compiler, for seconds.
        horizontal = [[a * b / 8 for b in _ACROSS] for a in _ALONG]
        vertical = [list(column) for column in zip(*horizontal, strict=True)]
        filters = torch.tensor([horizontal, vertical])[:, None]
        self.luminance = nn.Parameter(torch.tensor(LUMINANCE_BGR).view(1, 3, 1, 1))
        self.gradients = nn.ParameterList(filters.clone() for _ in range(config.scales))
        self.fusion_weight = nn.Parameter(torch.full((1, config.scales, 1, 1), _EDGE_LOGITS / config.scales))
        self.fusion_bias = nn.Parameter(torch.full((1,), _FLAT_LOGIT))
        self.correction: nn.Sequential | None = None
        if config.width:
            last = nn.Conv2d(config.width, 1, 1)
            layers = nn.Sequential(
                nn.Conv2d(config.scales + 3, config.width, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(config.width, config.width, 3, padding=2, dilation=2),
                nn.ReLU(inplace=True),
                last,
            )
            self.correction = initialise(layers, "kaiming")
            nn.init.zeros_(last.weight)

    def trainable_copy(self) -> Sobel:
        """A detector with a correcting network (a new one if this has none) that gives the same logits as this."""
        config = self.config if self.config.width else replace(self.config, width=STUDENT_WIDTH)
        copy = Sobel(config).to(self.mean.device)
        copy.load_state_dict(self.state_dict(), strict=False)
        return copy

    def _fused(self, x: Tensor, height: int, width: int) -> Tensor:
        # Differences of nearby values and their squares lose too much in half precision.
        with without_autocast(x.device.type):
            luminance = F.conv2d(x.float(), self.luminance)
            maps: list[Tensor] = []
            seen: list[Tensor] = []
            at_scale = luminance
            for number, gradient in enumerate(self.gradients):
                if number:
                    at_scale = F.avg_pool2d(at_scale, 2, ceil_mode=True, count_include_pad=False)
                slopes = F.conv2d(F.pad(at_scale, (1, 1, 1, 1), mode="replicate"), gradient)
                energy = slopes.square().sum(dim=1, keepdim=True)
                brightness = _surroundings(at_scale)
                reference = (_surroundings(energy) + _EPS).sqrt() + _BRIGHTNESS_SHARE * brightness + _DARKNESS
                relative = ((energy + _EPS).sqrt() - _EPS**0.5) / reference
                if number:
                    relative = F.interpolate(relative, (height, width), mode="bilinear", align_corners=False)
                else:
                    seen += [slopes / reference, (at_scale - brightness) / (brightness + _DARKNESS)]
                maps.append(relative)
            logits = F.conv2d(torch.cat(maps, dim=1), self.fusion_weight, self.fusion_bias)
        if self.correction is not None:
            logits = logits + self.correction(torch.cat([*maps, *seen], dim=1)).float()
        return logits


def _surroundings(x: Tensor) -> Tensor:
    """Local means of ``(B, 1, H, W)``, non-negative where ``x`` is, over some 24 pixels a side."""
    size = min(_SURROUNDINGS_PX, *x.shape[-2:])
    coarse = F.avg_pool2d(x, size, ceil_mode=True, count_include_pad=False)
    smooth = F.avg_pool2d(F.pad(coarse, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return F.interpolate(smooth, x.shape[-2:], mode="bilinear", align_corners=False)


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> SobelConfig | None:
    """Read the configuration from the keys and shapes of a state dict; None if it is another network."""
    fusion, last = shapes.get("fusion_weight", ()), shapes.get("correction.0.weight", (0,))
    if shapes.get("luminance") != (1, 3, 1, 1) or len(fusion) != 4:
        return None
    return SobelConfig(scales=fusion[1], width=last[0])
