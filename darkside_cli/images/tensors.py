"""Images as tensors ``(B, C, H, W)``: their luminance, and means over what is around each pixel."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def luminance(images: Tensor) -> Tensor:
    """``(B, 1, H, W)`` of RGB ``(B, 3, H, W)``, by the weights of ITU-R BT.601."""
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    return 0.299 * red + 0.587 * green + 0.114 * blue


def box_mean(x: Tensor, side: int) -> Tensor:
    """Mean of ``x`` ``(B, C, H, W)`` over square windows of an odd ``side``, as much of them as is inside."""
    rows = F.avg_pool2d(x, (1, side), stride=1, padding=(0, side // 2), count_include_pad=False)
    return F.avg_pool2d(rows, (side, 1), stride=1, padding=(side // 2, 0), count_include_pad=False)
