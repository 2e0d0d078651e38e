"""What the edge detectors have in common: images as generators give them go in, edge maps come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

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
