"""HED, holistically nested edge detection (Xie and Tu, ICCV 2015), in its interpolation form.

A VGG16 trunk; after each of its five stages a 1x1 convolution gives an edge map, the maps are interpolated to
the size of the image and a last 1x1 convolution weighs them. This form neither pads the image nor crops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.networks.edge_detectors import EdgeDetector

MEAN_BGR = (0.40787054, 0.45752458, 0.48109378)
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


@dataclass(frozen=True, kw_only=True)
class HedConfig:
    """HED has one form only."""


class Hed(EdgeDetector):
    """Edge detector for images of any size from 16 pixels a side.

    :meth:`logits` and :meth:`forward` take RGB in [-1, 1]; the network itself works in BGR, [0, 1] minus a
    mean.
    """

    SMALLEST_SIDE_PX = 2 ** (len(_STAGES) - 1)

    def __init__(self, config: HedConfig = HedConfig()) -> None:
        super().__init__(scale=1.0, mean_bgr=MEAN_BGR)
        self.config = config
        channels = 3
        for number, widths in enumerate(_STAGES, start=1):
            modules: list[nn.Module] = [] if number == 1 else [nn.MaxPool2d(2)]
            for width in widths:
                modules += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            self.add_module(f"vgg{number}", nn.Sequential(*modules))
        for number, widths in enumerate(_STAGES, start=1):
            self.add_module(f"score{number}", nn.Conv2d(widths[-1], 1, 1))
        # A sequence of one, so that the keys are those of the published weights.
        self.fusion = nn.Sequential(nn.Conv2d(len(_STAGES), 1, 1))

    def _fused(self, x: Tensor, height: int, width: int) -> Tensor:
        maps: list[Tensor] = []
        for number in range(1, len(_STAGES) + 1):
            x = self.get_submodule(f"vgg{number}")(x)
            score = self.get_submodule(f"score{number}")(x)
            maps.append(F.interpolate(score, size=(height, width), mode="bilinear", align_corners=False))
        logits: Tensor = self.fusion(torch.cat(maps, dim=1))
        return logits


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> HedConfig | None:
    """Tell whether a state dict with these keys and shapes is HED's; None if it is another network."""
    ours = {"vgg1.0.weight": (64, 3, 3, 3), "score5.weight": (1, 512, 1, 1), "fusion.0.weight": (1, 5, 1, 1)}
    return HedConfig() if all(shapes.get(key) == shape for key, shape in ours.items()) else None
