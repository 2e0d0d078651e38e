"""What fast backbones on the CPU are made of: folded norms, images one by one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darkside_cli.kernels.bands import Memory
from darkside_cli.kernels.phase_maps import PhaseMap

TILE = (4, 4)
"""Outputs per Winograd tile: the rounding is no worse than that of torch's own convolutions, channels last."""


class ByImage(nn.Module):
    """Runs images one by one: subclasses have ``_run``, from ``(3, H, W)`` to ``(1, C, h, w)``, float32.

    Memory outlives the call, so it is made outside of inference mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self._memory = Memory()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, C, h, w)``, float32."""
        with self._memory.lock, torch.inference_mode(False), torch.no_grad():
            maps = [self._run(image.float()) for image in x]
        return maps[0] if len(maps) == 1 else torch.cat(maps)

    def _map(self, name: str, height: int, width: int, channels: int) -> PhaseMap:
        """Map of this size in memory called ``name``, zero around, anything inside."""
        memory = self._memory.get(name, PhaseMap.size(height, width, channels, TILE))
        return PhaseMap(height, width, channels, TILE, memory)

    def _run(self, image: Tensor) -> Tensor:
        raise NotImplementedError


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the frozen norm behind it."""
    weight = convolution.weight.detach().cpu().double()
    bias = (
        weight.new_zeros(len(weight))
        if convolution.bias is None
        else convolution.bias.detach().cpu().double()
    )
    if norm is not None:
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("a norm without running statistics cannot be folded")
        scale = (norm.running_var.cpu().double() + norm.eps).rsqrt() * norm.weight.detach().cpu().double()
        weight = weight * scale.view(-1, 1, 1, 1)
        bias = (bias - norm.running_mean.cpu().double()) * scale + norm.bias.detach().cpu().double()
    return weight.float(), bias.float()


def is_plain_3x3(module: nn.Module, stride: int = 1) -> bool:
    """Whether ``module`` is a 3x3 convolution of this stride with a border of one zero and nothing else to it."""
    return isinstance(module, nn.Conv2d) and (
        (
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
            module.groups,
            module.padding_mode,
        )
        == ((3, 3), (stride, stride), (1, 1), (1, 1), 1, "zeros")
    )
