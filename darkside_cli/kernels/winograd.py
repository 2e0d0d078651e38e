"""Winograd's minimal filtering for 3x3 convolutions, as matrix products that stay in the cache.

Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. F(m, 3) computes m outputs of a
3-tap filter with m + 2 multiplications instead of 3 m: ``y = A^T [(G g) * (B^T d)]``. Nested over rows and
columns, an ``mv`` x ``mh`` tile takes ``(mv + 2)(mh + 2)`` multiplications instead of ``9 mv mh``: 2.25 times fewer
for 2x2, 4 times fewer for 4x4. The price is rounding: with the points below, about 1.4 and 4.5 times that of the
direct sum in float32. Points: Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution
for Deep Neural Networks", ACM TOMS 2020; 1/2 and -2 in place of 2 and -2 halve the error of F(4, 3).

Feature maps are kept in *column phases*: ``(rows, mh, tiles, C)``, where column ``mh * t + p`` of the image is
``[:, p, t]``. So all transforms, too, are matrix products over contiguous memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from darkside_cli.kernels.bands import scratch

POINTS: dict[int, tuple[Fraction, ...]] = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2)),
}
"""Interpolation points of F(m, 3), beside infinity."""


def _product(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the polynomial with these roots, lowest power first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - root * b for a, b in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def minimal_filter(m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices ``A^T (m, n)``, ``G (n, 3)``, ``B^T (n, n)`` of F(m, 3), ``n = m + 2``, in float64 (Cook-Toom).

    For every signal d of n values and filter g of 3, ``A^T [(G g) * (B^T d)]`` is ``sum_k g[k] d[i + k]``.
    Raises KeyError for an m without points.
    """
    points = POINTS[m]
    at = [[point**i for point in points] + [Fraction(int(i == m - 1))] for i in range(m)]
    g, bt = [], []
    for i, point in enumerate(points):
        others = [other for j, other in enumerate(points) if j != i]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        g.append([point**k / scale for k in range(3)])
        bt.append([*_product(others), Fraction(0)])
    g.append([Fraction(0), Fraction(0), Fraction(1)])
    bt.append(_product(points))
    return _matrix(at), _matrix(g), _matrix(bt)


def _matrix(rows: Sequence[Sequence[Fraction]]) -> Tensor:
    return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)


class WinogradConvolution:
    """A 3x3 convolution, stride 1, without bias, on rows of feature maps in column phases.

    ``weight`` is ``(O, C, 3, 3)``; ``tile`` = (mv, mh), the outputs that a tile has in each direction, 2 or 4.
    """

    def __init__(self, weight: Tensor, tile: tuple[int, int]) -> None:
        self.mv, self.mh = tile
        self.out_channels, self.in_channels = weight.shape[:2]
        (at_v, g_v, bt_v), (at_h, g_h, bt_h) = minimal_filter(self.mv), minimal_filter(self.mh)
        transformed = torch.einsum("ai,ocij,bj->abco", g_v, weight.detach().double().cpu(), g_h)
        self.weight = transformed.float().flatten(0, 1).contiguous()
        mv, mh, nv = self.mv, self.mh, self.mv + 2
        self._rows_in = bt_v.float().expand(mh, -1, -1).contiguous()
        self._rows_out = at_v.float()
        self._columns_in = bt_h.float().expand(nv, -1, -1).contiguous()
        self._columns_out = at_h.float().expand(mv, -1, -1).contiguous()

    def rows(self, x: Tensor, y: Tensor) -> None:
        """Convolve rows: from ``x`` ``(mh, R mv + 2, tiles + 2, C)`` to ``y`` ``(R mv, mh, tiles, O)``, contiguous.

        ``x`` has a border of one row above and below, and of one tile before and behind, of which only the
        nearest column (last phase, first phase) is looked at.
        """
        mv, mh, c, o = self.mv, self.mh, self.in_channels, self.out_channels
        nv, nh, tiles, repeat = mv + 2, mh + 2, y.shape[2], y.shape[0] // mv
        # Rows of tiles are strung together, borders included, so that a few junk tiles spare a loop over the rows.
        line, count = tiles + 2, repeat * (tiles + 2) - 2
        # Only two of the four intermediate results are needed at a time.
        first, second = scratch(
            "winograd",
            (max(nv * nh * count * c, mv * nh * count * o),),
            (max(nv * nh * repeat * line * c, nv * nh * count * o),),
        )
        t = second[: nv * nh * repeat * line * c].view(nv, nh, repeat, line * c)
        v = first[: nv * nh * count * c].view(nv, nh, count * c)
        m = second[: nv * nh * count * o].view(nv * nh, count, o)
        q = first[: mv * nh * count * o].view(mv, nh, count * o)

        x = x.view(mh, -1, line * c)
        for k in range(repeat):
            torch.bmm(self._rows_in, x[:, k * mv : k * mv + nv], out=t[:, 1:-1, k].transpose(0, 1))
        # A tile reads its own mh columns and one more on either side: the last phase of the tile before, the first
        # phase of the next. Moved by a tile they are two more columns of the same product.
        t = t.view(nv, nh, -1)
        inside, before, behind = (slice(c * i, c * (i + count)) for i in (1, 0, 2))
        t[:, 0, inside].copy_(t[:, mh, before])
        t[:, -1, inside].copy_(t[:, 1, behind])
        torch.bmm(self._columns_in, t[:, :, inside], out=v)
        torch.bmm(v.view(nv * nh, count, c), self.weight, out=m)
        torch.mm(self._rows_out, m.view(nv, -1), out=q.view(mv, -1))
        for k in range(repeat):
            row = q[:, :, k * line * o : (k * line + tiles) * o]
            torch.bmm(self._columns_out, row, out=y[k * mv : (k + 1) * mv].view(mv, mh, tiles * o))
