"""GeM, generalised-mean pooling (Radenovic, Tolias and Chum, TPAMI 2019, equation 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.networks.layers import without_autocast

EPS = 1e-6
"""What GeM takes at least of a value, and what published networks and whitenings add to a norm they divide by."""


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


class GeM(nn.Module):
    """``(mean over positions of max(x, eps)^p)^(1/p)``, with an exponent ``p`` that is learned.

    ``p`` = 1 is the mean (SPoC), ``p`` to infinity the maximum (MAC). ``channels`` gives every channel an
    exponent of its own; None (published networks) one for all, a parameter of shape ``(1,)``.
    """

    def __init__(self, p: float = 3.0, eps: float = EPS, *, channels: int | None = None) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1 if channels is None else channels,), float(p)))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Pool feature maps ``(B, C, H, W)`` to ``(B, C)``, all values at least ``eps``.

        Computed in float32 where ``x`` has less: powers of small half-precision numbers vanish.
        """
        x = _at_least_float32(x)
        p = self.p.to(x.dtype)
        powers = x.clamp(min=self.eps).pow(p.view(-1, 1, 1))
        return powers.mean(dim=(-2, -1)).pow(1.0 / p)

    def extra_repr(self) -> str:
        """Show the exponent, or how many there are."""
        count = self.p.numel()
        exponent = f"p={self.p.item():.4g}" if count == 1 and not self.p.is_meta else f"channels={count}"
        return f"{exponent}, eps={self.eps:g}"


# Descriptors to unit length.


def l2_normalise(x: Tensor, *, dim: int = 1, eps: float = EPS) -> Tensor:
    """``x / (norm(x) + eps)`` along ``dim``; zeros stay zeros."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / (norm + eps)


class L2Normalise(nn.Module):
    """:func:`l2_normalise` as a module."""

    def __init__(self, eps: float = EPS) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``(B, D, …)`` to the same shape, of unit length along ``D``."""
        return l2_normalise(x, eps=self.eps)

    def extra_repr(self) -> str:
        """Show the epsilon."""
        return f"eps={self.eps:g}"


# Feature maps to one vector an image: MAC, SPoC, R-MAC, and any pooling applied to a grid of regions.

OVERLAP = 0.4
"""How much of a region its neighbour along the longer side should cover, at the largest scale."""

MOST_ON_LONG_SIDE = 7
"""No more regions than this lie along the longer side at the largest scale."""

LEVELS = 3


class MaxPool(nn.Module):
    """MAC: the maximum of every channel."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C)``, in at least float32."""
        return _at_least_float32(x).amax(dim=(-2, -1))


class MeanPool(nn.Module):
    """SPoC: the mean of every channel."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C)``, in at least float32."""
        return _at_least_float32(x).mean(dim=(-2, -1))


@dataclass(frozen=True)
class Region:
    """A square, or the whole, of a feature map: its upper left position and its size, in positions."""

    top: int
    left: int
    height: int
    width: int

    def of(self, x: Tensor) -> Tensor:
        """Cut the region out of ``x``: ``(…, H, W)`` to ``(…, height, width)``."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]


def region_grid(height: int, width: int, levels: int = LEVELS) -> list[Region]:
    """Regions of an R-MAC descriptor for a feature map of ``height`` x ``width`` positions.

    The whole map comes first, as in the authors' code. Then squares of sides 2 min(H, W) / (l + 1), rounded
    down, for l = 1 … ``levels``: l along the shorter side and l + m - 1 along the longer one, spread evenly,
    where m (2 to 7; 1 for a square map) brings the overlap of neighbours at l = 1 closest to 40 %. Levels
    whose squares would be empty are left out.
    """
    regions = [Region(0, 0, height, width)]
    short, long = sorted((height, width))
    extra = _regions_on_long_side(short, long) - 1
    for level in range(1, levels + 1):
        side = 2 * short // (level + 1)
        if side == 0:
            break
        tops = _spread(height, side, level + (extra if height > width else 0))
        lefts = _spread(width, side, level + (extra if width > height else 0))
        regions += [Region(top, left, side, side) for top in tops for left in lefts]
    return regions


def _regions_on_long_side(short: int, long: int) -> int:
    """How many regions of side ``short`` along ``long`` overlap by nearly 40 %; the fewer of two as good."""
    if short == long:
        return 1

    def miss(count: int) -> float:
        stride = (long - short) / (count - 1)
        return abs((1 - stride / short) - OVERLAP)

    return min(range(2, MOST_ON_LONG_SIDE + 1), key=miss)


def _spread(length: int, side: int, count: int) -> list[int]:
    """First positions of ``count`` intervals of ``side``, spread evenly from end to end of ``length``."""
    return [(length - side) * index // max(1, count - 1) for index in range(count)]


class RMac(nn.Module):
    """R-MAC: MAC vectors of a grid of regions, each made unit length, summed."""

    def __init__(self, levels: int = LEVELS) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C)``, not of unit length, in at least float32."""
        x = _at_least_float32(x)
        regions = region_grid(x.shape[-2], x.shape[-1], self.levels)
        vectors = torch.stack([region.of(x).amax(dim=(-2, -1)) for region in regions], dim=1)
        return l2_normalise(vectors, dim=2).sum(dim=1)


class RegionalPool(nn.Module):
    """Another pooling, of the regions of R-MAC: vectors of unit length, perhaps whitened, are summed.

    ``rpool`` takes ``(B, C, H, W)`` to ``(B, C)``; ``whiten`` takes ``(N, C)`` to ``(N, D)``. The attributes
    have the names that published state dicts use.
    """

    def __init__(self, rpool: nn.Module, whiten: nn.Module | None = None, levels: int = LEVELS) -> None:
        super().__init__()
        self.rpool = rpool
        self.whiten = whiten
        self.levels = levels
        self.norm = L2Normalise()

    def regions(self, x: Tensor) -> Tensor:
        """Vectors of all regions, ``(B, R, D)``, each of unit length, for feature maps ``(B, C, H, W)``."""
        grid = region_grid(x.shape[-2], x.shape[-1], self.levels)
        vectors: Tensor = self.norm(torch.cat([self.rpool(region.of(x)) for region in grid]))
        if self.whiten is not None:
            vectors = self.norm(self.whiten(vectors))
        return vectors.view(len(grid), x.shape[0], -1).transpose(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, D)`` of unit length."""
        pooled: Tensor = self.norm(self.regions(x).sum(dim=1))
        return pooled


# Whitening: as a layer that is learned with a network, and as a fixed projection applied to descriptors.


class LocalWhitening(nn.Linear):
    """The same affine map of the channel vector at every position of a feature map."""

    def forward(self, input: Tensor) -> Tensor:
        """``(B, in_features, H, W)`` to ``(B, out_features, H, W)``."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LearnedWhitening(nn.Linear):
    """An affine map of descriptors, computed in float32 even where the network around it runs in less."""

    def forward(self, input: Tensor) -> Tensor:
        """``(B, in_features)`` to ``(B, out_features)``, in at least float32."""
        weight, bias = _at_least_float32(self.weight), _at_least_float32(self.bias)
        with without_autocast(input.device.type):
            return F.linear(input.to(weight.dtype), weight, bias)


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
