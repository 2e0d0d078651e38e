"""What a network consists of and costs, found out without running or copying it: on torch's meta device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from darkside_cli.errors import CheckpointError, DarksideError, UsageError
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.weights import Checkpoint, architecture_of
from darkside_cli.registry import resolve

# Sides that every network here takes at least one of: multiples of what any of them halves its images to.
_LARGER_PX = (64, 128, 256, 512, 1024, 2048)


@dataclass(frozen=True)
class LayerSummary:
    """One call of a layer: a module without children, in the order of execution.

    ``name`` is its place in the network, ``output_shape`` that of its (first) output for one image;
    ``n_parameters`` is 0 at a second call, so that the layers' sums are the network's.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    n_parameters: int
    macs: int


@dataclass(frozen=True)
class ModelSummary:
    """A network in figures.

    ``n_parameters`` are trainable numbers; ``size_bytes`` is the size of all that the state dict holds, with running
    statistics and fixed kernels. ``macs`` are multiply-adds of one image of ``size_px`` squared in convolutions,
    transposed convolutions and linear layers; fixed resampling and element-wise work are left out.
    """

    architecture: str
    config: Any
    n_parameters: int
    size_bytes: int
    macs: int
    size_px: int
    layers: tuple[LayerSummary, ...]


def describe(
    checkpoint_or_module: Checkpoint | nn.Module, size_px: int = 256, *, architecture: str | None = None
) -> ModelSummary:
    """Describe a network for one RGB image of ``size_px`` x ``size_px``.

    A module is left as it is, on whatever device. ``architecture`` is the name to report for a module; by
    default the registered one of its class, else the class's name. Raises UsageError if the network cannot
    take images of that size.
    """
    module = on_meta(checkpoint_or_module)
    seen: set[nn.Module] = set()
    layers: list[LayerSummary] = []

    def record(name: str, layer: nn.Module, inputs: Any, output: Any) -> None:
        own = 0 if layer in seen else sum(parameter.numel() for parameter in layer.parameters())
        seen.add(layer)
        shape = tuple(first_tensor(output).shape)
        macs = _macs(layer, first_tensor(inputs), first_tensor(output))
        layers.append(LayerSummary(name, type(layer).__name__, shape, own, macs))

    with watching_layers(module, after=record):
        run_on_meta(module, example_inputs(module, size_px))
    state = module.state_dict()
    parameters = list(module.parameters())
    n_parameters = sum(parameter.numel() for parameter in parameters)
    return ModelSummary(
        architecture=architecture or architecture_of(module),
        config=getattr(module, "config", None),
        n_parameters=n_parameters,
        size_bytes=sum(value.numel() * value.element_size() for value in state.values()),
        macs=sum(layer.macs for layer in layers),
        size_px=size_px,
        layers=tuple(layers),
    )


def on_meta(checkpoint_or_module: Checkpoint | nn.Module) -> nn.Module:
    """Give the module to look at: a checkpoint's is built without memory for its weights."""
    if isinstance(checkpoint_or_module, nn.Module):
        return checkpoint_or_module
    with torch.device("meta"):
        target = resolve(ARCHITECTURES.get(checkpoint_or_module.architecture).target)
        network: nn.Module = target(checkpoint_or_module.config)
    return network


def run_on_meta(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """Run ``module`` in eval mode for shapes alone, on ``inputs`` of the meta device, and give its output.

    The module's tensors are replaced during the call, so it must not be used by another thread meanwhile.
    Raises UsageError if the network cannot take inputs of that size, CheckpointError, with the reason, if it takes
    none of any size.
    """
    modes = {each: each.training for each in module.modules()}
    try:
        module.eval()
        return _shapes(module, inputs)
    except (RuntimeError, ValueError) as error:
        raise _why_not(module, inputs, error) from error
    finally:
        for each, training in modes.items():
            each.training = training


def _shapes(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    stand_ins = {name: value.detach().to("meta") for name, value in tensors.items()}
    with torch.no_grad():
        return functional_call(module, stand_ins, inputs)


def _why_not(module: nn.Module, inputs: tuple[Any, ...], error: Exception) -> DarksideError:
    """Images are too small if larger ones can be taken; else something else is wrong, and ``error`` says what."""
    name, given = architecture_of(module), first_tensor(inputs)
    if len(inputs) == 1 and given.ndim == 4:
        size = "x".join(map(str, given.shape[2:]))
        for side in _LARGER_PX:
            if side > min(given.shape[2:]):
                try:
                    _shapes(module, (given.new_empty((*given.shape[:2], side, side)),))
                except (RuntimeError, ValueError):
                    continue
                return UsageError(
                    f"{name} cannot take images of {size} pixels: its layers leave nothing of them",
                    hint="give a larger size",
                )
    reason = " ".join(str(error).split())
    return CheckpointError(
        f"{name} cannot be followed through its layers: {reason}", hint="see if the file is what it should be"
    )


def example_inputs(module: nn.Module, size_px: int) -> tuple[Any, ...]:
    """Arguments of ``module`` on the meta device: one image, or feature maps for a patch-sampling head.

    The number of channels is ``module.config.in_channels``, 3 where there is none. A head, which has
    ``config.channels``, gets one map of 16 x 16 cells per layer, all of them sampled.
    """
    config = getattr(module, "config", None)
    channels = getattr(config, "channels", None)
    if isinstance(channels, tuple):
        side = 16
        features = [torch.empty(1, count, side, side, device="meta") for count in channels]
        return features, side * side, [torch.arange(side * side, device="meta") for _ in channels]
    return (torch.empty(1, getattr(config, "in_channels", 3), size_px, size_px, device="meta"),)


@contextmanager
def watching_layers(
    module: nn.Module,
    *,
    before: Callable[[str, nn.Module, Any], None] | None = None,
    after: Callable[[str, nn.Module, Any, Any], None] | None = None,
    containers: bool = False,
) -> Iterator[None]:
    """Call ``before(name, layer, inputs)`` and ``after(name, layer, inputs, output)`` around every layer.

    A layer is a module without children; with ``containers`` those that have some are watched instead.
    """
    handles = []
    for name, layer in module.named_modules():
        if (next(layer.children(), None) is not None) != containers:
            continue
        if before is not None:
            handles.append(
                layer.register_forward_pre_hook(lambda m, inputs, name=name: before(name, m, inputs))
            )
        if after is not None:
            handles.append(
                layer.register_forward_hook(lambda m, inputs, out, name=name: after(name, m, inputs, out))
            )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def first_tensor(value: Any) -> Tensor:
    """Return the first tensor in nested tuples and lists. Raises ValueError if there is none."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (tuple, list)):
        for each in value:
            try:
                return first_tensor(each)
            except ValueError:
                continue
    raise ValueError(f"a {type(value).__name__} holds no tensor")


def _macs(layer: nn.Module, given: Tensor, output: Tensor) -> int:
    if isinstance(layer, nn.Conv2d):
        return output.numel() * (layer.in_channels // layer.groups) * prod(layer.kernel_size)
    if isinstance(layer, nn.ConvTranspose2d):
        return given.numel() * (layer.out_channels // layer.groups) * prod(layer.kernel_size)
    if isinstance(layer, nn.Linear):
        return output.numel() * layer.in_features
    return 0
