"""GeM, generalised-mean pooling (Radenovic, Tolias and Chum, TPAMI 2019, equation 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-6


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
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        p = self.p.to(x.dtype)
        powers = x.clamp(min=self.eps).pow(p.view(-1, 1, 1))
        return powers.mean(dim=(-2, -1)).pow(1.0 / p)

    def extra_repr(self) -> str:
        """Show the exponent, or how many there are."""
        count = self.p.numel()
        exponent = f"p={self.p.item():.4g}" if count == 1 and not self.p.is_meta else f"channels={count}"
        return f"{exponent}, eps={self.eps:g}"
