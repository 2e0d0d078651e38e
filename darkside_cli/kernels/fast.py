"""Networks made ready for inference: the same weights, as fast as the device allows.

On the CPU the ResNet generator runs as matrix products over bands of rows (:mod:`darkside_cli.kernels.bands`), its
residual blocks by Winograd's minimal filtering. "fp32" takes tiles whose rounding is about twice that of the plain
network: one value in some thousands comes out one level higher or lower.
"bf16" is leave to round as bf16 does. Processors that multiply matrices in bf16 (AMX) do so; the others take larger
tiles in float32, which are faster there than their bf16 (vector instructions without AMX gain nothing over float32)
and deviate from the plain network some thousand times less. Elsewhere the network itself runs, under autocast.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from copy import deepcopy
from itertools import pairwise
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from darkside_cli.kernels.bands import in_team
from darkside_cli.kernels.residual_trunk import ResidualTrunk
from darkside_cli.kernels.row_convolution import (
    Doubling,
    FirstConvolution,
    Halving,
    LastConvolution,
    Norm,
    RawMap,
)
from darkside_cli.networks.generator import N_RESAMPLINGS, ResidualBlock, ResnetGenerator
from darkside_cli.networks.guided import GuidedGenerator, guided

TILES = {"fp32": (4, 2), "bf16": (4, 4)}
"""Outputs per Winograd tile, by precision."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
T = TypeVar("T", bound=nn.Module)
MINIMUM_PX = 16
"""Sides below this go through the plain network."""


def prepare_for_inference(
    network: nn.Module, *, device: torch.device | str, precision: str = "fp32"
) -> nn.Module:
    """``network`` for inference on ``device``: float32 ``(B, C, H, W)`` in and out, behaving as in evaluation mode.

    ``precision`` is "fp32", "bf16" or "fp16". The network given stays as it is. A copy is returned, unless nothing
    is to be done (in evaluation mode, on the device, fp32, no faster form known): then it is the network itself.
    """
    device = torch.device(device)
    if device.type == "cpu" and not (precision == "bf16" and multiplies_bf16()):
        tile = TILES.get(precision, TILES["fp32"])
        if isinstance(network, GuidedGenerator):
            return FastGuidedGenerator(network, tile)
        if isinstance(network, ResnetGenerator):
            return FastGenerator(network, tile)
        precision = "fp32"
    tensors = [*network.parameters(), *network.buffers()]
    training = any(each.training for each in network.modules())
    if precision == "fp32" and not training and all(each.device == device for each in tensors):
        return network
    return PlainNetwork(network, device, DTYPES[precision])


def multiplies_bf16() -> bool:
    """Whether this processor has matrix units for bf16 (Intel's AMX); vector instructions alone are no gain."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported and supported())


class PlainNetwork(nn.Module):
    """A frozen copy of a network on a device, under autocast unless ``dtype`` is float32."""

    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = deepcopy(network).to(device).eval().requires_grad_(False)
        self.device, self.dtype = device, dtype
        # On CUDA, InstanceNorm is slow with channels last in some versions of torch; on the CPU, oneDNN wants them.
        half_on_cpu = dtype != torch.float32 and device.type == "cpu"
        self._format = torch.channels_last if half_on_cpu else torch.contiguous_format
        self.network = self.network.to(memory_format=self._format)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` float32 to what the network makes of it, in float32."""
        if self.dtype == torch.float32:
            y: Tensor = self.network(x)
            return y
        with torch.autocast(self.device.type, dtype=self.dtype):
            y = self.network(x.contiguous(memory_format=self._format))
        return y.float().contiguous()


class _Memory:
    """Memory kept from one image to the next, by name; one forward pass at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._kept: dict[str, Tensor] = {}
        self._size: tuple[int, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Memory, ()  # copies and pickles start empty

    def of_size(self, *size: int) -> None:
        """Drop everything unless the image size is that of the last image."""
        if size != self._size:
            self._kept.clear()
            self._size = size

    def get(self, name: str, *shape: int) -> Tensor:
        """Memory called ``name``, uninitialised or as left behind."""
        if name not in self._kept or self._kept[name].numel() < prod(shape):
            self._kept[name] = torch.empty(prod(shape))
        return self._kept[name][: prod(shape)].view(shape)


class FastGenerator(nn.Module):
    """A ResNet generator on the CPU, in float32. ``tile`` is that of :class:`WinogradConvolution`.

    Anti-aliased resampling is left to the generator's own modules.
    """

    def __init__(self, generator: ResnetGenerator, tile: tuple[int, int]) -> None:
        super().__init__()
        self.config = config = generator.config
        self.input_multiple, self.input_minimum_px = generator.input_multiple, generator.input_minimum_px
        self.plain = deepcopy(generator.model).cpu().float().eval().requires_grad_(False)
        modules = list(self.plain)
        blocks = [i for i, module in enumerate(modules) if isinstance(module, ResidualBlock)]
        self._encoder, self._decoder = modules[: blocks[0]], modules[blocks[-1] + 1 :]
        self._memory = _Memory()
        layers = [
            _with_next(each.conv_block, nn.Conv2d) for each in modules if isinstance(each, ResidualBlock)
        ]
        self._trunk = ResidualTrunk(
            [(*first, *second) for first, second in layers], padding=config.padding, tile=tile
        )
        if not config.antialias_down:
            (first, norm), *halvings = _with_next(self._encoder, nn.Conv2d)
            self._first, self._first_norm = FirstConvolution(first), Norm(norm, first.bias)
            self._halvings = [(Halving(each), Norm(norm, each.bias)) for each, norm in halvings]
        if not config.antialias_up:
            doublings = _with_next(self._decoder, nn.ConvTranspose2d)
            self._doublings = [(Doubling(each), Norm(norm, each.bias)) for each, norm in doublings]
            self._last = LastConvolution(_with_next(self._decoder, nn.Conv2d)[-1][0])

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] to ``(B, C', H', W')``, sides rounded up to a multiple of 4, in float32."""
        height, width = x.shape[-2:]
        # Compilers get modules to trace, and make of them what they can.
        if min(height, width) < MINIMUM_PX or torch.compiler.is_compiling():
            with torch.no_grad():
                y: Tensor = self.plain(x.float())
                return y
        plain_parts = self.config.antialias_down or self.config.antialias_up
        with self._memory.lock:
            if plain_parts:  # torch's own layers are to have all threads
                return self._translate(x)
            return in_team(lambda: self._translate(x))

    def _translate(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        up = 2**N_RESAMPLINGS
        # Buffers outlive this call, so they must not be inference tensors if the next caller is in another mode.
        with torch.inference_mode(False), torch.no_grad():
            self._memory.of_size(height, width)
            out = torch.empty(
                x.shape[0], self.config.out_channels, -(-height // up) * up, -(-width // up) * up
            )
            for image, target in zip(x, out, strict=True):
                self._decode(self._refine(self._encode(image.float())), target)
        return out

    def _encode(self, image: Tensor) -> RawMap:
        """``(C, H, W)`` to a map of a quarter of the sides."""
        if self.config.antialias_down:
            y = image[None].contiguous()
            for module in self._encoder:
                y = module(y)
            return RawMap(y[0].permute(1, 2, 0).contiguous(), None, None, relu=False)
        height, width = image.shape[-2:]
        sums = self._memory.get("outer", height, width, self._first.out_channels)
        moments = self._first_norm.moments()
        self._first(image, sums, moments)
        x = RawMap(sums, *self._first_norm.of(moments))
        for level, (halving, norm) in enumerate(self._halvings):
            height, width = -(-height // 2), -(-width // 2)
            sums = self._memory.get(f"level {level}", height, width, halving.out_channels)
            moments = norm.moments()
            halving(x, sums, moments)
            x = RawMap(sums, *norm.of(moments))
        return x

    def _refine(self, x: RawMap) -> RawMap:
        height, width, channels = x.sums.shape
        shape = self._trunk.buffer_shape(height, width, channels)
        out = self._memory.get("trunk", height, width, channels)
        self._trunk(x, [self._memory.get(f"trunk {i}", *shape) for i in range(4)], out)
        return RawMap(out, None, None, relu=False)

    def _decode(self, x: RawMap, target: Tensor) -> None:
        """Map of a quarter of the sides to ``target`` ``(C, H, W)``."""
        if self.config.antialias_up:
            y = x.sums.permute(2, 0, 1)[None].contiguous()
            for module in self._decoder:
                y = module(y)
            target.copy_(y[0])
            return
        for level, (doubling, norm) in zip(reversed(range(N_RESAMPLINGS)), self._doublings, strict=True):
            height, width = 2 * x.sums.shape[0], 2 * x.sums.shape[1]
            name = f"level {level - 1}" if level else "outer"
            sums = self._memory.get(name, height, width, doubling.out_channels)
            moments = norm.moments()
            doubling(x, sums, moments)
            x = RawMap(sums, *norm.of(moments))
        self._last(x, target)


class FastGuidedGenerator(nn.Module):
    """A guided generator on the CPU: its network as :class:`FastGenerator`, the filter as it is."""

    def __init__(self, generator: GuidedGenerator, tile: tuple[int, int]) -> None:
        super().__init__()
        self.config = generator.config
        self.input_multiple, self.input_minimum_px = generator.input_multiple, generator.input_minimum_px
        self.network = FastGenerator(generator, tile)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [-1, 1] to ``(B, C', H, W)``, in float32."""
        with torch.no_grad():
            return guided(x.float(), self.config, self.network)


def _with_next(modules: Iterable[nn.Module], kind: type[T]) -> list[tuple[T, nn.Module]]:
    """Modules of a kind, each with the one behind it."""
    return [(module, behind) for module, behind in pairwise(modules) if isinstance(module, kind)]
