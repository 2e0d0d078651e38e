"""A small residual network for small images, which learns from random weights in minutes on a CPU.

Basic blocks of He et al., CVPR 2016, a few channels wide. It has no classifier, and nobody has published weights of
it: it is what ``darkside demo`` trains, and a backbone for who has few images and no features to begin with.
"""

from __future__ import annotations

from torch import Tensor, nn

NAME = "mininet"
CHANNELS = (24, 32, 64, 128)


class MiniBlock(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, beside a 1x1 convolution of the same stride."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / 2, W / 2), rounded up."""
        y: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return y


class MiniNet(nn.Module):
    """``features`` takes (B, 3, H, W) to (B, 128, H / 16, W / 16), rounded up, not negative."""

    def __init__(self) -> None:
        super().__init__()
        first, *rest = CHANNELS
        stem = [
            nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        ]
        blocks = [MiniBlock(a, b) for a, b in zip(CHANNELS, rest, strict=False)]
        self.features = nn.Sequential(*stem, *blocks)
