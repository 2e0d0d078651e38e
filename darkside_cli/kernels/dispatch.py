"""Networks made ready for inference: the same weights, as fast as the device allows.

On the CPU the ResNet generator runs as matrix products over bands of rows, VGGs and ResNets of bottlenecks by
Winograd's minimal filtering. "fp32" takes tiles whose rounding is about twice that of the plain generator: one value
in some thousands comes out one level higher or lower.
"bf16" is leave to round as bf16 does. Processors that multiply matrices in bf16 (AMX) do so; the others compute in
float32, the generator with larger tiles, which is faster there than their bf16 (vector instructions without AMX gain
nothing over float32) and deviates from the plain network some thousand times less. Elsewhere the network itself runs,
under autocast.
"""

from __future__ import annotations

from copy import copy, deepcopy
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from darkside_cli.kernels.fast_generator import FastGenerator, FastGuidedGenerator
from darkside_cli.kernels.fast_relight import FastRelight
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.guided import GuidedGenerator
from darkside_cli.networks.relight import RelightGenerator

P = TypeVar("P", bound=str)
TILES = {"fp32": (4, 2), "bf16": (4, 4)}
"""Outputs per Winograd tile, by precision."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def prepare(network: nn.Module, *, device: torch.device | str = "cpu", precision: str = "fp32") -> nn.Module:
    """``network`` for inference on ``device``: float32 ``(B, C, H, W)`` in, float32 out, as in evaluation mode.

    ``precision`` is "fp32", "bf16" or "fp16". The network given stays as it is. A copy is returned, unless nothing
    is to be done (in evaluation mode, on the device, fp32, no faster form known): then it is the network itself.

    Of a network with a backbone (``features``) always a copy is returned. It sets no autocast: its caller does, with
    what :func:`computes_in` gives.
    """
    device = torch.device(device)
    own_kernels = computes_in(precision, device) == "fp32" and device.type == "cpu"
    if isinstance(getattr(network, "features", None), nn.Module):
        return _with_fast_features(network) if own_kernels else _frozen(network, device)
    if own_kernels:
        tile = TILES.get(precision, TILES["fp32"])
        if isinstance(network, GuidedGenerator):
            return FastGuidedGenerator(network, tile)
        if isinstance(network, ResnetGenerator):
            return FastGenerator(network, tile)
        if isinstance(network, RelightGenerator):
            return FastRelight(deepcopy(network).to(device).eval().requires_grad_(False))
        precision = "fp32"
    tensors = [*network.parameters(), *network.buffers()]
    training = any(each.training for each in network.modules())
    if precision == "fp32" and not training and all(each.device == device for each in tensors):
        return network
    return PlainNetwork(network, device, DTYPES[precision])


def computes_in(precision: P, device: torch.device | str) -> P | Literal["fp32"]:
    """What networks compute in on ``device`` where ``precision`` is asked for: see the top of this module."""
    if torch.device(device).type == "cpu" and not (precision == "bf16" and multiplies_bf16()):
        return "fp32"
    return precision


def multiplies_bf16() -> bool:
    """Whether this processor has matrix units for bf16 (Intel's AMX); vector instructions alone are no gain."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported and supported())


def _frozen(network: nn.Module, device: torch.device) -> nn.Module:
    return deepcopy(network).to(device).eval().requires_grad_(False)


def _with_fast_features(network: nn.Module) -> nn.Module:
    """Copy of ``network`` with another backbone; all other weights are shared with it."""
    ready = copy(network)
    ready._modules = {**network._modules, "features": fast_features(network.features)}  # type: ignore[arg-type]
    return ready.eval()


def fast_features(features: nn.Module) -> nn.Module:
    """Make a backbone's features ready for inference on the CPU: (B, 3, H, W) to (B, C, h, w), in float32.

    The module given stays as it is; what is done to its weights later has no effect. It is taken as in eval mode.
    """
    from darkside_cli.kernels.fast_resnet import FastResNet, is_bottleneck_resnet
    from darkside_cli.kernels.fast_vgg import FastVgg, vgg_layers

    if isinstance(features, nn.Sequential):
        layers = vgg_layers(features)
        if layers is not None:
            return FastVgg(layers)
        if is_bottleneck_resnet(features):
            return FastResNet(features)
    return ChannelsLast(_frozen(features, torch.device("cpu")).float())


class ChannelsLast(nn.Module):
    """A backbone as it is, channels last in memory."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, h, w)."""
        y: Tensor = self.features(x.contiguous(memory_format=torch.channels_last))
        return y


class PlainNetwork(nn.Module):
    """A frozen copy of a network on a device, under autocast unless ``dtype`` is float32."""

    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.device, self.dtype = device, dtype
        # On CUDA, InstanceNorm is slow with channels last in some versions of torch; on the CPU, oneDNN wants them.
        half_on_cpu = dtype != torch.float32 and device.type == "cpu"
        self._format = torch.channels_last if half_on_cpu else torch.contiguous_format
        self.network = _frozen(network, device).to(memory_format=self._format)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` float32 to what the network makes of it, in float32."""
        if self.dtype == torch.float32:
            y: Tensor = self.network(x)
            return y
        with torch.autocast(self.device.type, dtype=self.dtype):
            y = self.network(x.contiguous(memory_format=self._format))
        return y.float().contiguous()
