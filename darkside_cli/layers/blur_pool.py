"""Anti-aliased resampling by two: a fixed binomial blur together with the subsampling or the zero insertion.

Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019, in the two settings that CUT uses.
The kernels are buffers called ``filt``, one copy per channel, and part of the state dict.
"""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def binomial_kernel(taps: int, *, total: int = 1) -> list[list[float]]:
    """Outer product of two rows of Pascal's triangle, ``taps`` by ``taps``, with sum ``total``.

    ``taps=3`` is ``[1 2 1]`` in each direction, ``taps=4`` is ``[1 3 3 1]``. Plain numbers, exact ones: arithmetic with
    tensors, even repeat, makes torch load its compiler or its symbolic mathematics on the meta device, for seconds.
    """
    row = [comb(taps - 1, k) / 2 ** (taps - 1) for k in range(taps)]
    return [[total * a * b for b in row] for a in row]


class BlurDownsample(nn.Module):
    """Blur with ``[1 2 1]`` and keep every second pixel; the border is reflected.

    State: ``filt`` ``(channels, 1, 3, 3)``, sum 1 per channel.
    """

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("filt", torch.tensor([[binomial_kernel(3)]] * channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, ceil(H / 2), ceil(W / 2))``; both sides must be at least 2."""
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.filt, stride=2, groups=self.channels)


class BlurUpsample(nn.Module):
    """Double both sides: zeros between the pixels, blurred with ``[1 3 3 1]``; the border is repeated.

    With these weights that is bilinear interpolation by two. State: ``filt`` ``(channels, 1, 4, 4)``, sum 4
    per channel, which makes up for the three zeros beside every pixel.
    """

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("filt", torch.tensor([[binomial_kernel(4, total=4)]] * channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, 2 H, 2 W)``."""
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        # padding=3 cuts the repeated border off again: two output pixels, and one of the kernel's reach.
        return F.conv_transpose2d(padded, self.filt, stride=2, padding=3, groups=self.channels)
