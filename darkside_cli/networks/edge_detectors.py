"""The edge detectors of published weights: images as generators give them go in, edge maps come out.

HED, holistically nested edge detection (Xie and Tu, ICCV 2015), in its interpolation form: a VGG16 trunk; after each
of its five stages a 1x1 convolution gives an edge map, the maps are interpolated to the size of the image and a last
1x1 convolution weighs them. This form neither pads the image nor crops.

RCF, richer convolutional features for edge detection (Liu et al., CVPR 2017): a VGG16 trunk whose last stage is
dilated instead of halved. Every one of its thirteen convolutions gives 21 channels; they are summed per stage, scored,
enlarged to the size of the image by fixed bilinear deconvolutions, cropped and weighed by a last 1x1 convolution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.errors import UsageError


class EdgeDetector(nn.Module, ABC):
    """A network that takes images as generators give them, RGB in [-1, 1], and adapts them to its training.

    ``scale`` is the range its training images had (1 or 255), ``mean_bgr`` the mean colour it subtracts, in
    that range and in the order blue, green, red. Neither is part of the state dict.
    """

    SMALLEST_SIDE_PX: ClassVar[int]
    """Below this the deepest stage has no pixels left."""

    mean: Tensor

    def __init__(self, *, scale: float, mean_bgr: Sequence[float]) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", torch.tensor(mean_bgr).view(1, 3, 1, 1), persistent=False)

    def prepare(self, images: Tensor) -> Tensor:
        """Adapt RGB ``(B, 3, H, W)`` in [-1, 1] to the bare network: BGR in [0, scale] minus its mean."""
        return (images.flip(1) * 0.5 + 0.5) * self.scale - self.mean

    def bare_logits(self, x: Tensor) -> Tensor:
        """Edge logits ``(B, 1, H, W)`` of images that :meth:`prepare` has adapted, ``(B, 3, H, W)``.

        Raises UsageError if a side is shorter than ``SMALLEST_SIDE_PX``.
        """
        height, width = x.shape[-2:]
        if min(height, width) < self.SMALLEST_SIDE_PX:
            raise UsageError(
                f"{type(self).__name__} cannot find edges in {width}x{height} pixels",
                hint=f"give images of at least {self.SMALLEST_SIDE_PX} pixels a side",
            )
        return self._fused(x, height, width)

    @abstractmethod
    def _fused(self, x: Tensor, height: int, width: int) -> Tensor:
        """Edge logits ``(B, 1, height, width)`` of adapted images that are known to be large enough."""

    def logits(self, images: Tensor) -> Tensor:
        """Edge logits ``(B, 1, H, W)`` of RGB images ``(B, 3, H, W)`` in [-1, 1]."""
        return self.bare_logits(self.prepare(images))

    def forward(self, images: Tensor) -> Tensor:
        """Edge probabilities in [0, 1], ``(B, 1, H, W)``, of RGB images ``(B, 3, H, W)`` in [-1, 1]."""
        return torch.sigmoid(self.logits(images))


HED_MEAN_BGR = (0.40787054, 0.45752458, 0.48109378)
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
        super().__init__(scale=1.0, mean_bgr=HED_MEAN_BGR)
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


def recognise_hed(shapes: Mapping[str, tuple[int, ...]]) -> HedConfig | None:
    """Tell whether a state dict with these keys and shapes is HED's; None if it is another network."""
    ours = {"vgg1.0.weight": (64, 3, 3, 3), "score5.weight": (1, 512, 1, 1), "fusion.0.weight": (1, 5, 1, 1)}
    return HedConfig() if all(shapes.get(key) == shape for key, shape in ours.items()) else None


RCF_MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)
_DOWN_CHANNELS = 21
_ENLARGEMENTS = {2: (4, 2, 1), 3: (8, 4, 2), 4: (16, 8, 4), 5: (16, 8, 0)}
"""Stage: size and stride of its deconvolution kernel, and the rows and columns cropped at the top and left.

The pooling before stage 5 has stride 1 and takes one row and column away, hence the other offset.
"""


@dataclass(frozen=True, kw_only=True)
class RcfConfig:
    """RCF has one form only."""


def bilinear_kernel(size: int) -> Tensor:
    """Kernel ``(1, 1, size, size)`` of a deconvolution that enlarges by ``size / 2``; ``size`` is even.

    The weights fall off linearly from the centre; those of one direction sum to ``size / 2``.
    """
    # In plain numbers, exact ones: on the meta device torch.arange and torch.outer load torch's compiler, for seconds.
    row = [1 - abs(place - (size - 1) / 2) / (size / 2) for place in range(size)]
    return torch.tensor([[[[a * b for b in row] for a in row]]])


class Rcf(EdgeDetector):
    """Edge detector for images of any size from 9 pixels a side.

    :meth:`logits` and :meth:`forward` take RGB in [-1, 1]; the network itself works in BGR, [0, 255] minus a
    mean. The deconvolution kernels are no part of the state dict.
    """

    SMALLEST_SIDE_PX = 9

    def __init__(self, config: RcfConfig = RcfConfig()) -> None:
        super().__init__(scale=255.0, mean_bgr=RCF_MEAN_BGR)
        self.config = config
        channels = 3
        for stage, widths in enumerate(_STAGES, start=1):
            dilation = 2 if stage == 5 else 1
            for number, width in enumerate(widths, start=1):
                convolution = nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation)
                self.add_module(f"conv{stage}_{number}", convolution)
                channels = width
        for stage, widths in enumerate(_STAGES, start=1):
            for number, width in enumerate(widths, start=1):
                self.add_module(f"conv{stage}_{number}_down", nn.Conv2d(width, _DOWN_CHANNELS, 1))
        for stage in range(1, len(_STAGES) + 1):
            self.add_module(f"score_dsn{stage}", nn.Conv2d(_DOWN_CHANNELS, 1, 1))
        self.score_fuse = nn.Conv2d(len(_STAGES), 1, 1)
        for stage, (size, _, _) in _ENLARGEMENTS.items():
            self.register_buffer(f"deconvolution{stage}", bilinear_kernel(size), persistent=False)

    def _fused(self, x: Tensor, height: int, width: int) -> Tensor:
        maps: list[Tensor] = []
        for stage, widths in enumerate(_STAGES, start=1):
            if stage > 1:
                x = F.max_pool2d(x, 2, stride=1 if stage == 5 else 2, ceil_mode=True)
            sides: list[Tensor] = []
            for number in range(1, len(widths) + 1):
                x = F.relu(self.get_submodule(f"conv{stage}_{number}")(x))
                sides.append(self.get_submodule(f"conv{stage}_{number}_down")(x))
            *_, summed = accumulate(sides)
            score = self.get_submodule(f"score_dsn{stage}")(summed)
            if stage in _ENLARGEMENTS:
                _, stride, offset = _ENLARGEMENTS[stage]
                score = F.conv_transpose2d(score, self.get_buffer(f"deconvolution{stage}"), stride=stride)
                score = score[..., offset : offset + height, offset : offset + width]
            maps.append(score)
        logits: Tensor = self.score_fuse(torch.cat(maps, dim=1))
        return logits


def recognise_rcf(shapes: Mapping[str, tuple[int, ...]]) -> RcfConfig | None:
    """Tell whether a state dict with these keys and shapes is RCF's; None if it is another network."""
    ours = {
        "conv1_1.weight": (64, 3, 3, 3),
        "conv5_3_down.weight": (_DOWN_CHANNELS, 512, 1, 1),
        "score_fuse.weight": (1, 5, 1, 1),
    }
    return RcfConfig() if all(shapes.get(key) == shape for key, shape in ours.items()) else None
