"""Light: linear and sRGB values, and the light of lamps, in forms that can be learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_LEAST_SLOPE, _UNLIT, _WHITE = 0.02, -8.0, 1.0


def to_linear(values: Tensor) -> Tensor:
    """SRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    high = ((values.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(values <= 0.04045, values / 12.92, high)


def to_srgb(light: Tensor) -> Tensor:
    """Linear light, not negative, to sRGB; 1 stays 1."""
    high = 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, light * 12.92, high)


def emitted(x: Tensor) -> Tensor:
    """Light of lamps: softplus, but not more than white."""
    return F.softplus(x).clamp(max=1)


class WakingLight(torch.autograd.Function):
    """:func:`emitted` with a gradient where there is no light yet, and where there is too much of it.

    The slope is that of softplus, or :data:`_LEAST_SLOPE` if that is more. Nothing pushes what is dark already
    (:data:`_UNLIT`) further down, nor what is white further up.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """As :func:`emitted`."""
        ctx.save_for_backward(x)
        return emitted(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The gradient for ``x``."""
        (x,) = ctx.saved_tensors
        (gradient,) = gradients
        changed = gradient * torch.sigmoid(x).clamp(min=_LEAST_SLOPE)
        useful = torch.where(gradient < 0, x < _WHITE, x > _UNLIT)
        return torch.where(useful, changed, torch.zeros_like(changed))


def smooth(x: Tensor) -> Tensor:
    """``x`` ``(B, C, H, W)`` under a binomial window of 3x3 pixels."""
    x = torch.cat([x[..., :1], x, x[..., -1:]], 3)  # torch cannot compile the gradient of replicating pads
    x = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]
    x = torch.cat([x[..., :1, :], x, x[..., -1:, :]], 2)
    return (x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]) / 16


def saturated(light: Tensor) -> Tensor:
    """Light above 1 is 1; a tenth of the gradient passes, so that what is too bright can be learned to be less so."""
    if not light.requires_grad:
        return light.clamp(max=1)
    return torch.where(light > 1, 1 + (light - light.detach()) * 0.1, light)
