"""Whitening: as a layer that is learned with a network, and as a fixed projection applied to descriptors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.networks.norms import without_autocast
from darkside_cli.networks.pooling import l2_normalise


class LocalWhitening(nn.Linear):
    """The same affine map of the channel vector at every position of a feature map."""

    def forward(self, input: Tensor) -> Tensor:
        """``(B, in_features, H, W)`` to ``(B, out_features, H, W)``."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LearnedWhitening(nn.Linear):
    """An affine map of descriptors, computed in float32 even where the network around it runs in less."""

    def forward(self, input: Tensor) -> Tensor:
        """``(B, in_features)`` to ``(B, out_features)``, in at least float32."""
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        with without_autocast(input.device.type):
            return F.linear(input.to(dtype), self.weight.to(dtype), self.bias.to(dtype))


class WhiteningProjection(nn.Module):
    """``y = P (d - m)``, then ``y / (norm(y) + 1e-6)``, always in float32.

    Radenovic et al., TPAMI 2019, section 3.4.

    ``mean`` is ``(D,)``, ``projection`` ``(K, D)``; both become float32 buffers.
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, mean: Tensor, projection: Tensor) -> None:
        super().__init__()
        if mean.ndim != 1 or projection.ndim != 2 or projection.shape[1] != mean.shape[0]:
            raise ValueError(
                f"mean {tuple(mean.shape)} and projection {tuple(projection.shape)} do not make a whitening"
            )
        self.register_buffer("mean", mean.to(torch.float32, copy=True))
        self.register_buffer("projection", projection.to(torch.float32, copy=True))

    def forward(self, descriptors: Tensor) -> Tensor:
        """Descriptors ``(B, D)`` to whitened ones ``(B, K)`` of unit length, float32."""
        with without_autocast(descriptors.device.type):
            return l2_normalise((descriptors.float() - self.mean) @ self.projection.T)

    def extra_repr(self) -> str:
        """Show both dimensions."""
        return f"{self.projection.shape[1]} -> {self.projection.shape[0]}"
