"""Convolutional backbones made ready for inference on the CPU: the same weights, faster, in float32.

VGGs (:mod:`darkside_cli.kernels.fast_vgg`) and ResNets of bottlenecks (:mod:`darkside_cli.kernels.fast_resnet`) have
ways of their own, by Winograd's minimal filtering; other backbones run as they are, with channels last in memory.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from darkside_cli.kernels.fast_resnet import FastResNet, is_bottleneck_resnet
from darkside_cli.kernels.fast_vgg import FastVgg, vgg_layers


def prepare_features(features: nn.Sequential) -> nn.Module:
    """Make a backbone's features ready for inference on the CPU: (B, 3, H, W) to (B, C, h, w), in float32.

    The module given stays as it is; what is done to its weights later has no effect. It is taken as in eval mode.
    """
    layers = vgg_layers(features)
    if layers is not None:
        return FastVgg(layers)
    if is_bottleneck_resnet(features):
        return FastResNet(features)
    return ChannelsLast(deepcopy(features).cpu().float().eval().requires_grad_(False))


class ChannelsLast(nn.Module):
    """A backbone as it is, channels last in memory."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, h, w)."""
        y: Tensor = self.features(x.contiguous(memory_format=torch.channels_last))
        return y
