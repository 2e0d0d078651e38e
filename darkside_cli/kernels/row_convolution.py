"""The generator's outer convolutions as matrix products over bands of rows, normalisation taken along.

Feature maps are ``(H, W, C)``, one image at a time. A convolution leaves its raw sums and their moments; what
reads them normalises them on the way into the cache. Compared with a general convolution routine this saves the
reordering of weights and maps, the passes of the norms, and the zeros that a transposed convolution or three
output channels are padded with.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from darkside_cli.kernels.bands import for_each_band, scratch

PIXELS_PER_BAND = 1024
"""Enough rows for the matrix products to be efficient, few enough for a band to stay in a core's cache."""


@dataclass(frozen=True)
class RawMap:
    """A feature map that is ``relu(sums * scale + shift)``: ``sums`` ``(H, W, C)``, the others ``(C,)`` or None."""

    sums: Tensor
    scale: Tensor | None
    shift: Tensor | None
    relu: bool = True

    def load(self, first: int, last: int, out: Tensor) -> None:
        """Write rows ``first`` to ``last - 1`` to ``out`` ``(last - first, W, C)``."""
        normalise(self.sums[first:last], self.scale, self.shift, out)
        if self.relu:
            out.clamp_min_(0)


def normalise(sums: Tensor, scale: Tensor | None, shift: Tensor | None, out: Tensor) -> None:
    """``out = sums * scale + shift``."""
    if scale is None or shift is None:
        out.copy_(sums)
    else:
        torch.addcmul(shift, sums, scale, out=out)


class Norm:
    """What a norm layer does to the sums before it: fixed in evaluation, or to be found from each image.

    ``layer`` is a BatchNorm2d (as in evaluation), an InstanceNorm2d or None; ``bias`` that of the convolution.
    """

    def __init__(self, layer: nn.Module | None, bias: Tensor | None) -> None:
        self.scale: Tensor | None = None
        self.shift: Tensor | None = None
        self._eps: float | None = None
        bias = bias.detach().double().cpu() if bias is not None else None
        if isinstance(layer, (nn.BatchNorm2d, nn.InstanceNorm2d)):
            weight, offset = (
                torch.full((), default, dtype=torch.float64)
                if value is None
                else value.detach().double().cpu()
                for value, default in ((layer._parameters["weight"], 1.0), (layer._parameters["bias"], 0.0))
            )
            if layer.running_mean is not None and layer.running_var is not None:
                scale = weight * (layer.running_var.double().cpu() + layer.eps).rsqrt()
                mean = layer.running_mean.double().cpu()
                self.scale = scale.float()
                self.shift = (offset + ((bias if bias is not None else 0) - mean) * scale).float()
            else:  # the mean takes the convolution's bias away again
                self._weight, self._offset, self._eps = weight, offset, layer.eps
        elif layer is not None:
            raise TypeError(f"no rule for the norm {type(layer).__name__}")
        elif bias is not None:
            self.scale, self.shift = torch.ones_like(bias).float(), bias.float()

    def moments(self) -> Moments | None:
        """A collector of an image's moments, if this norm needs them."""
        return Moments() if self._eps is not None else None

    def of(self, moments: Moments | None) -> tuple[Tensor | None, Tensor | None]:
        """Scale and shift ``(C,)`` for an image with these moments."""
        if moments is None or self._eps is None:
            return self.scale, self.shift
        mean, variance = moments.total()
        scale = self._weight * (variance + self._eps).rsqrt()
        return scale.float(), (self._offset - mean * scale).float()


class Moments:
    """Mean and variance per channel, gathered band by band (Chan et al. 1979) by any number of threads."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, Tensor, Tensor]] = []

    def add(self, values: Tensor, spare: Tensor, *, absent: Tensor | None = None) -> None:
        """Take ``values`` ``(..., C)`` in, contiguous; ``spare`` is memory of the same shape.

        ``absent``, a view of some of the values, does not count and is overwritten.
        """
        channels = values.shape[-1]
        values, spare = values.view(-1, channels), spare.view(-1, channels)
        n = values.shape[0]
        if absent is not None:
            absent.zero_()
            n -= absent.numel() // channels
        mean = values.sum(0).div_(n)
        if absent is not None:
            absent.copy_(mean)
        torch.sub(values, mean, out=spare)
        self._parts.append((n, mean, spare.mul_(spare).sum(0)))

    def total(self) -> tuple[Tensor, Tensor]:
        """Mean and (population) variance, ``(C,)`` float64, of everything that was added."""
        counts = torch.tensor([[n] for n, _, _ in self._parts], dtype=torch.float64)
        means = torch.stack([mean for _, mean, _ in self._parts]).double()
        squares = torch.stack([square for _, _, square in self._parts]).double().sum(0)
        mean = (means * counts).sum(0) / counts.sum()
        return mean, (squares + ((means - mean).square() * counts).sum(0)) / counts.sum()


class FirstConvolution:
    """7x7 (or any odd size) convolution of a planar image with a reflected border."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        weight = convolution.weight.detach().float().cpu()
        self.size, self.out_channels = weight.shape[-1], weight.shape[0]
        self.weight = weight.flatten(1).t().contiguous()

    def __call__(self, image: Tensor, sums: Tensor, moments: Moments | None) -> None:
        """From ``image`` ``(C, H, W)`` to ``sums`` ``(H, W, O)``."""
        channels, height, width = image.shape
        k = self.size
        padded = nn.functional.pad(image[None], (k // 2,) * 4, mode="reflect")[0].contiguous()
        plane, line = padded.stride()[:2]
        rows = max(1, PIXELS_PER_BAND // width)

        def band(number: int) -> None:
            first = number * rows
            n = min(rows, height - first)
            windows = padded[:, first:].as_strided(
                (channels, k, k, n, width), (plane, line, 1, line, 1), padded.storage_offset() + first * line
            )
            columns, spare = scratch("outer", (channels, k, k, n, width), (n * width, self.out_channels))
            columns.copy_(windows)
            out = sums[first : first + n].view(n * width, self.out_channels)
            torch.mm(columns.view(-1, n * width).t(), self.weight, out=out)
            if moments is not None:
                moments.add(out, spare)

        for_each_band(ceil(height / rows), band)


class DownConvolution:
    """3x3 convolution with stride 2 and a border of one zero."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        weight = convolution.weight.detach().float().cpu()
        self.out_channels, self.in_channels = weight.shape[:2]
        self.weight = weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous()

    def __call__(self, x: RawMap, sums: Tensor, moments: Moments | None) -> None:
        """From ``x`` ``(H, W, C)`` to ``sums`` ``(ceil(H / 2), ceil(W / 2), O)``."""
        height, width, channels = x.sums.shape
        out_height, out_width = sums.shape[:2]
        rows = max(1, PIXELS_PER_BAND // 2 // out_width)

        def band(number: int) -> None:
            first = number * rows
            n = min(rows, out_height - first)
            line = 2 * out_width + 1
            s, columns, spare = scratch(
                "outer",
                (2 * n + 1, line, channels),
                (n * out_width, 9 * channels),
                (n * out_width, self.out_channels),
            )
            top, bottom = 2 * first - 1, 2 * (first + n)  # input rows that s stands for: top to bottom - 1
            low, high = max(top, 0), min(bottom, height)
            s[:, 0].zero_()
            s[:, 1 + width :].zero_()
            s[: low - top].zero_()
            s[high - top :].zero_()
            x.load(low, high, s[low - top : high - top, 1 : 1 + width])
            windows = s.as_strided(
                (n, out_width, 3, 3 * channels),
                (2 * line * channels, 2 * channels, line * channels, 1),
                s.storage_offset(),
            )
            columns.view(n, out_width, 3, 3 * channels).copy_(windows)
            out = sums[first : first + n].view(n * out_width, -1)
            torch.mm(columns, self.weight, out=out)
            if moments is not None:
                moments.add(out, spare)

        for_each_band(ceil(out_height / rows), band)


class UpConvolution:
    """3x3 transposed convolution with stride 2, padding 1 and output padding 1.

    Of the four output pixels that belong to an input pixel, one sees it alone, two see one neighbour as well, one
    sees all four; every product is computed once and no zero is multiplied.
    """

    def __init__(self, convolution: nn.ConvTranspose2d) -> None:
        weight = convolution.weight.detach().float().cpu()  # (C, O, row, column)
        self.in_channels, self.out_channels = weight.shape[:2]

        def joined(*taps: tuple[int, int]) -> Tensor:
            return torch.cat([weight[:, :, row, column] for row, column in taps], 1).contiguous()

        # Outputs in the order (even, even), (even, odd), (odd, odd), (odd, even) of (row, column): so those that
        # a neighbour contributes to stand side by side.
        self._own = joined((1, 1), (1, 2), (2, 2), (2, 1))
        self._right = joined((1, 0), (2, 0))
        self._below = joined((0, 2), (0, 1))
        self._across = joined((0, 0))

    def __call__(self, x: RawMap, sums: Tensor, moments: Moments | None) -> None:
        """From ``x`` ``(H, W, C)`` to ``sums`` ``(2 H, 2 W, O)``."""
        height, width, channels = x.sums.shape
        o, line = self.out_channels, width + 1
        rows = max(1, PIXELS_PER_BAND // width)
        target = sums.view(height, 2, width, 2, o)

        def band(number: int) -> None:
            first = number * rows
            n = min(rows, height - first)
            s, z, spare = scratch("outer", (n + 1, line, channels), (n * line, 4 * o), (n, 2, width, 2, o))
            s[:, width].zero_()
            last = min(first + n + 1, height)
            s[last - first :].zero_()
            x.load(first, last, s[: last - first, :width])
            flat, count = s.view(-1, channels), n * line - 1
            part = z[:count]
            torch.mm(flat[:count], self._own, out=part)
            part[:, o : 3 * o].addmm_(flat[1 : 1 + count], self._right)
            part[:, 2 * o :].addmm_(flat[line : line + count], self._below)
            part[:, 2 * o : 3 * o].addmm_(flat[line + 1 : line + 1 + count], self._across)
            pixels = z.view(n, line, 4, o)[:, :width]
            out = target[first : first + n]
            out[:, 0].copy_(pixels[:, :, :2])
            out[:, 1, :, 0].copy_(pixels[:, :, 3])
            out[:, 1, :, 1].copy_(pixels[:, :, 2])
            if moments is not None:
                moments.add(out, spare)

        for_each_band(ceil(height / rows), band)


class LastConvolution:
    """7x7 (or any odd size) convolution with a reflected border to a few channels, then the hyperbolic tangent.

    The taps of a row are computed as if they were output channels, then shifted and added: three channels alone
    would leave most of the processor's vector registers empty.
    """

    ROWS = 16

    def __init__(self, convolution: nn.Conv2d) -> None:
        weight = convolution.weight.detach().float().cpu()
        self.size, self.out_channels = weight.shape[-1], weight.shape[0]
        self.weight = weight.permute(2, 3, 0, 1).flatten(1, 2).contiguous()  # (row, column and output, C)
        bias = convolution.bias
        self.bias = bias.detach().float().cpu().view(-1, 1, 1) if bias is not None else None

    def __call__(self, x: RawMap, image: Tensor) -> None:
        """From ``x`` ``(H, W, C)`` to ``image`` ``(O, H, W)``; both sides must be greater than half the kernel."""
        height, width, channels = x.sums.shape
        k, border = self.size, self.size // 2
        line = width + 2 * border

        def band(number: int) -> None:
            first = number * self.ROWS
            n = min(self.ROWS, height - first)
            s, z = scratch("outer", (n + 2 * border, line, channels), (k * self.out_channels, n * line))
            top, bottom = first - border, first + n + border
            low, high = max(top, 0), min(bottom, height)
            x.load(low, high, s[low - top : high - top, border : border + width])
            for i in range(1, border + 1):
                s[:, border - i].copy_(s[:, border + i])
                s[:, border + width - 1 + i].copy_(s[:, border + width - 1 - i])
            for row in [*range(top, low), *range(high, bottom)]:
                mirrored = -row if row < 0 else 2 * (height - 1) - row  # always one of the rows loaded
                s[row - top].copy_(s[mirrored - top])
            flat = s.view(-1, channels)
            torch.mm(self.weight[0], flat[: n * line].t(), out=z)
            for i in range(1, k):
                z.addmm_(self.weight[i], flat[i * line : (i + n) * line].t())
            taps = z.view(k, self.out_channels, n, line)
            out = image[:, first : first + n]
            torch.add(taps[0, ..., :width], taps[1, ..., 1 : 1 + width], out=out)
            for i in range(2, k):
                out.add_(taps[i, ..., i : i + width])
            if self.bias is not None:
                out.add_(self.bias)
            out.tanh_()

        for_each_band(ceil(height / self.ROWS), band)
