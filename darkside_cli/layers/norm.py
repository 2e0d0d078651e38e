"""Normalisation layers of the image-to-image networks, chosen by name."""

from __future__ import annotations

from torch import nn

NORMS = ("instance", "batch")
"""Instance norm: no affine parameters, no running statistics. Batch norm: both, momentum 0.1."""


def make_norm(kind: str, channels: int) -> nn.Module:
    """Layer for features ``(B, channels, H, W)``; ``kind`` is one of :data:`NORMS`.

    Raises ValueError for another kind.
    """
    if kind == "instance":
        return nn.InstanceNorm2d(channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    raise ValueError(f"norm must be one of {', '.join(NORMS)}, not {kind!r}")


def bias_before_norm(kind: str) -> bool:
    """Whether the published weights have a bias in the convolutions in front of this norm.

    Batch norm has a shift of its own; in front of an instance norm there are biases, though without effect.
    """
    return kind == "instance"
