"""How data flows through a network: its layers and joins as a graph, from one run on the meta device.

Layers (modules without children) are recorded by hooks, joins and other functions outside of layers by
torch's function mode; so whatever the network's ``forward`` does in Python, the graph is what really ran.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from darkside_cli.networks.inspect import example_inputs, run_on_meta, watching_layers

#: Functions outside of layers that are drawn, by the name they are drawn with. Others are passed through.
FUNCTIONS = {
    "add": "+",
    "mul": "×",
    "cat": "concat",
    "stack": "stack",
    "interpolate": "resize",
    "conv2d": "fixed convolution",
    "conv_transpose2d": "fixed upsampling",
    "max_pool2d": "MaxPool2d",
    "avg_pool2d": "AvgPool2d",
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}
JOINS = {"+", "×", "concat", "stack"}


@dataclass(frozen=True)
class Node:
    """One layer or function that ran.

    ``name`` is the layer's place in the network ("" for a function), ``scope`` that of the module in whose
    forward it is called, ``type`` its class or what the function is drawn as, ``layer`` the module, ``shape``
    that of its output, ``sources`` the indices of the nodes whose outputs it took, in order; -1 is the
    network's first input, -2 its second.
    """

    index: int
    name: str
    scope: str
    type: str
    layer: nn.Module | None
    shape: tuple[int, ...]
    sources: tuple[int, ...]

    @property
    def is_join(self) -> bool:
        """Whether it brings several branches together."""
        return self.layer is None and self.type in JOINS and len(set(self.sources)) > 1


@dataclass(frozen=True)
class Trace:
    """What ran, in order; ``inputs`` are the inputs' shapes, ``outputs`` the nodes that were returned."""

    nodes: tuple[Node, ...]
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]


def trace(module: nn.Module, size_px: int = 256) -> Trace:
    """Record what ``module`` does with one image of ``size_px`` x ``size_px``; it is left as it is.

    Raises UsageError if it cannot take images of that size.
    """
    arguments = example_inputs(module, size_px)
    inputs = [tensor for tensor in _tensors(arguments) if tensor.is_floating_point()]
    recorder = _Recorder(inputs)
    layers = watching_layers(
        module,
        # Sources are looked up before: a layer that works in place makes its input its output.
        before=lambda _name, _layer, given: recorder.running.append(recorder.sources(given)),
        after=lambda name, layer, _given, result: recorder.record(
            name, type(layer).__name__, layer, result, recorder.running.pop()
        ),
    )
    scopes = watching_layers(
        module,
        before=lambda name, _module, _given: recorder.scopes.append(name),
        after=lambda _name, _module, _given, _result: recorder.leave_scope(),
        containers=True,
    )
    with layers, scopes, recorder:
        output = run_on_meta(module, arguments)
    returned = dict.fromkeys(source for tensor in _tensors(output) for source in recorder.sources(tensor))
    return Trace(tuple(recorder.nodes), tuple(tuple(each.shape) for each in inputs), tuple(returned))


class _Recorder(TorchFunctionMode):
    """Knows for every tensor which node made it, and makes the nodes."""

    def __init__(self, inputs: list[Tensor]) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self._made_by: dict[int, int] = {}
        self._alive: list[Tensor] = []  # so that no identity is used twice
        self.running: list[tuple[int, ...]] = []
        """Sources of the layers that are running."""
        self.scopes = [""]
        """Modules with children that are running, the innermost last."""
        for number, tensor in enumerate(inputs):
            self._mark(tensor, -1 - number)

    def sources(self, value: Any) -> tuple[int, ...]:
        """Nodes that made the tensors in ``value``; weights and constants have none."""
        found = (self._made_by.get(id(tensor)) for tensor in _tensors(value))
        return tuple(source for source in found if source is not None)

    def leave_scope(self) -> None:
        """Take note that the forward that began last is done."""
        self.scopes.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.running:  # inside a layer, which is drawn as a whole
            return func(*args, **(kwargs or {}))
        sources = self.sources((args, kwargs or {}))
        output = func(*args, **(kwargs or {}))
        if not sources or not any(True for _ in _tensors(output)):
            return output
        name = getattr(func, "__name__", "").strip("_")
        drawn = FUNCTIONS.get(name) or FUNCTIONS.get(name[1:])  # iadd and radd are additions, too
        joins = len(set(sources)) > 1
        if joins or (drawn is not None and drawn not in JOINS):
            self.record("", drawn or name, None, output, sources)
        else:  # an offset, a change of order or shape: seen through
            for tensor in _tensors(output):
                self._mark(tensor, sources[0])
        return output

    def record(
        self, name: str, kind: str, layer: nn.Module | None, output: Any, sources: tuple[int, ...]
    ) -> None:
        """Make the node that ``output`` comes from."""
        tensors = list(_tensors(output))
        if not tensors:
            return
        node = Node(len(self.nodes), name, self.scopes[-1], kind, layer, tuple(tensors[0].shape), sources)
        self.nodes.append(node)
        for tensor in tensors:
            self._mark(tensor, node.index)

    def _mark(self, tensor: Tensor, index: int) -> None:
        self._made_by[id(tensor)] = index
        self._alive.append(tensor)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
        for each in value:
            yield from _tensors(each)
