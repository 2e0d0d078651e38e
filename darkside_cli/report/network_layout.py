"""A traced network made fit for drawing: chains of layers become one box, equal blocks in a row one block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import nn

from darkside_cli.report.network_trace import Node, Trace

#: Layers of which a box has one; norms, activations and the like are rows of the box in front of them.
_MAIN = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
_MAIN_FUNCTIONS = ("resize", "fixed convolution", "fixed upsampling")
_BEFORE_MAIN = ("Pad", "BlurUp", "MaxPool", "AvgPool")


@dataclass(frozen=True)
class Box:
    """Layers that follow one another without a fork or a join, drawn as one.

    ``key`` numbers boxes in the order of execution, ``block`` is the module they belong to ("" for none).
    """

    key: int
    nodes: tuple[Node, ...]
    block: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the box gives."""
        return self.nodes[-1].shape

    @property
    def main(self) -> Node:
        """The layer the box is named for: the one with weights, else the first."""
        return next((node for node in self.nodes if _is_main(node)), self.nodes[0])

    @property
    def n_parameters(self) -> int:
        """Trainable numbers in the box."""
        layers = [node.layer for node in self.nodes if node.layer is not None]
        return sum(parameter.numel() for layer in layers for parameter in layer.parameters())

    @property
    def look(self) -> tuple[object, ...]:
        """What two boxes have in common that are drawn alike."""
        return tuple((node.type, str(node.layer), node.shape) for node in self.nodes)


@dataclass(frozen=True)
class Edge:
    """Data from box ``source`` (negative: an input) to box ``target``; ``skips`` if it passes others by."""

    source: int
    target: int
    skips: bool = False


@dataclass(frozen=True)
class Layout:
    """Boxes in order, edges, and for each block of several boxes how many equal ones it stands for."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    repeats: Mapping[str, int] = field(default_factory=dict)
    last_names: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[int, ...] = ()


def lay_out(trace: Trace, module: nn.Module, *, fold: bool = True) -> Layout:
    """Group the nodes of ``trace`` into boxes and blocks; with ``fold``, equal blocks in a row become one."""
    nodes = _merge_joins(trace)
    boxes, box_of = _boxes(nodes, trace.outputs)
    blocks = _blocks(boxes, module)
    boxes = [replace(box, block=blocks.get(box.key, "")) for box in boxes]
    pairs = dict.fromkeys(
        (box_of.get(source, source), box_of[node.index])
        for node in nodes
        for source in node.sources
        if box_of.get(source, source) != box_of[node.index]
    )
    outputs = tuple(box_of.get(output, output) for output in trace.outputs)
    layout = Layout(tuple(boxes), tuple(_mark_skips(pairs, boxes)), outputs=outputs)
    return _fold(layout) if fold else layout


def _merge_joins(trace: Trace) -> list[Node]:
    """Make one join of a chain of equal ones (a + b + c is two additions) that nothing else looks into."""
    uses = Counter(source for node in trace.nodes for source in node.sources)
    result: dict[int, Node] = {}
    for node in trace.nodes:
        sources: list[int] = []
        for source in node.sources:
            inner = result.get(source)
            same = inner is not None and inner.is_join and node.is_join and inner.type == node.type
            if same and uses[source] == 1 and source not in trace.outputs:
                sources += result.pop(source).sources
            else:
                sources.append(source)
        result[node.index] = replace(node, sources=tuple(sources))
    return list(result.values())


def _boxes(nodes: list[Node], outputs: Iterable[int]) -> tuple[list[Box], dict[int, int]]:
    """Group nodes; also gives the key of each node's box."""
    uses = Counter(source for node in nodes for source in set(node.sources))
    groups: list[list[Node]] = []
    group_of: dict[int, int] = {}
    for node in nodes:
        before = group_of.get(node.sources[0]) if len(set(node.sources)) == 1 else None
        if before is not None and _continues(groups[before], node, uses, outputs):
            groups[before].append(node)
            group_of[node.index] = before
        else:
            group_of[node.index] = len(groups)
            groups.append([node])
    return [Box(key, tuple(group)) for key, group in enumerate(groups)], group_of


def _continues(group: list[Node], node: Node, uses: Counter[int], outputs: Iterable[int]) -> bool:
    last = group[-1]
    if last.index != node.sources[0] or uses[last.index] != 1 or last.index in outputs or last.is_join:
        return False
    parents = {each.name.rpartition(".")[0] for each in (last, node) if each.layer is not None}
    if len(parents) > 1:
        return False
    has_main = any(_is_main(each) for each in group)
    if _is_main(node):
        return not has_main
    # Padding and pooling belong to the convolution behind them.
    return not (has_main and any(word in node.type for word in _BEFORE_MAIN))


def _is_main(node: Node) -> bool:
    return isinstance(node.layer, _MAIN) or (node.layer is None and node.type in _MAIN_FUNCTIONS)


def _blocks(boxes: list[Box], module: nn.Module) -> dict[int, str]:
    """Give the block of every box that has one: the module of several boxes it is in, seen from outside.

    A join belongs to the module whose forward it is in.
    """
    found = {box.key: _block_of(box.main.name or f"{box.main.scope}.", module) for box in boxes}
    counts = Counter(found.values())
    return {key: name for key, name in found.items() if name is not None and counts[name] > 1}


def _block_of(layer_name: str, module: nn.Module) -> str | None:
    """Wrappers around everything, sequences of larger modules and modules nested in their like are no blocks."""
    parts = layer_name.split(".")
    inside_wrapper = True
    for depth in range(1, len(parts)):
        parent = module.get_submodule(".".join(parts[: depth - 1]))
        inside_wrapper = inside_wrapper and len(list(parent.children())) == 1
        candidate = ".".join(parts[:depth])
        inner = module.get_submodule(candidate)
        is_sequence = type(inner) is nn.Sequential
        holds_larger = is_sequence and any(next(each.children(), None) for each in inner.children())
        if inside_wrapper or holds_larger:
            continue
        # As the levels of a U-Net are, which hold modules of their own class.
        nested = not is_sequence and any(
            type(each) is type(inner) for each in inner.modules() if each is not inner
        )
        return None if nested else candidate
    return None


def _mark_skips(pairs: Iterable[tuple[int, int]], boxes: list[Box]) -> Iterable[Edge]:
    """Make edges; one into a join skips if its source lies before another source of that join."""
    pairs = list(pairs)
    parents: dict[int, set[int]] = {}
    for source, target in pairs:
        parents.setdefault(target, set()).add(source)
    ancestors: dict[int, set[int]] = {}
    for box in boxes:  # sources come before targets
        mine: set[int] = set()
        for parent in parents.get(box.key, ()):
            mine |= {parent} | ancestors.get(parent, set())
        ancestors[box.key] = mine
    for source, target in pairs:
        others = parents[target] - {source}
        yield Edge(source, target, any(source in ancestors.get(other, ()) for other in others))


def blocks_of(boxes: Iterable[Box]) -> dict[str, list[Box]]:
    """Boxes by the block they belong to; those that belong to none are left out."""
    members: dict[str, list[Box]] = {}
    for box in boxes:
        if box.block:
            members.setdefault(box.block, []).append(box)
    return members


def _fold(layout: Layout) -> Layout:
    """Make one block of equal blocks in a row."""
    members = blocks_of(layout.boxes)
    names = list(members)
    stands_for: dict[int, int] = {}
    repeats: dict[str, int] = {}
    last_names: dict[str, str] = {}
    index = 0
    while index < len(names):
        first = members[names[index]]
        run = index + 1
        while run < len(names) and _follows(members[names[run - 1]], members[names[run]], layout):
            for mine, theirs in zip(first, members[names[run]], strict=True):
                stands_for[theirs.key] = mine.key
            run += 1
        repeats[names[index]] = run - index
        last_names[names[index]] = names[run - 1]
        index = run
    edges = dict.fromkeys(
        Edge(stands_for.get(e.source, e.source), stands_for.get(e.target, e.target), e.skips)
        for e in layout.edges
    )
    return Layout(
        boxes=tuple(box for box in layout.boxes if box.key not in stands_for),
        edges=tuple(edge for edge in edges if edge.source < edge.target),
        repeats=repeats,
        last_names=last_names,
        outputs=tuple(stands_for.get(output, output) for output in layout.outputs),
    )


def _follows(one: list[Box], other: list[Box], layout: Layout) -> bool:
    """Whether ``other`` is the same block again, fed by the end of ``one`` alone."""
    if [box.look for box in one] != [box.look for box in other]:
        return False
    mine, theirs = {box.key for box in one}, {box.key for box in other}
    entering = {edge.source for edge in layout.edges if edge.target in theirs and edge.source not in theirs}
    leaving = {edge.source for edge in layout.edges if edge.source in mine and edge.target not in mine}
    return entering == leaving == {one[-1].key}
