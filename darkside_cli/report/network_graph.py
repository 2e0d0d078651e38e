"""A network's architecture as an image, drawn by Graphviz (extra ``graph``)."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from torch import nn

from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.errors import MissingAssetError
from darkside_cli.networks.architectures import SOURCE_FORMATS, check_drawable
from darkside_cli.networks.inspect import on_meta
from darkside_cli.networks.weights import Checkpoint, architecture_of
from darkside_cli.report.network_layout import Box, Layout, blocks_of, lay_out
from darkside_cli.report.network_trace import Node, Trace, trace

_FONT = "Helvetica,Arial,sans-serif"
_INK, _PALE, _SKIP = "#1f2933", "#7b8794", "#c2410c"
#: Fill and border by the kind of a box's main layer.
_COLOURS = {
    "Conv": ("#e3effb", "#3b7fc4"),
    "ConvTranspose": ("#e2f4e8", "#2f8f57"),
    "Linear": ("#f3e8fb", "#8a4bb8"),
    "fixed": ("#fdf3dc", "#b7851b"),
    "": ("#f1f3f5", "#9aa5b1"),
}


def draw(
    checkpoint_or_module: Checkpoint | nn.Module,
    path: str | Path,
    *,
    size_px: int = 256,
    title: str | None = None,
    fold: bool = True,
) -> Path:
    """Draw a network into ``path`` (.svg, .png, .pdf; .dot or .gv for the source) and return the path.

    Shapes are those for one image of ``size_px`` x ``size_px``. ``fold`` draws equal blocks in a row once. No
    more than the module's structure is looked at; it is left as it is.

    Raises UsageError for another suffix or a size the network cannot take, MissingAssetError if the Python
    package ``graphviz`` or, for images, Graphviz' program ``dot`` is not installed.
    """
    path = Path(path)
    suffix = check_drawable(path)
    try:
        import graphviz
    except ImportError as error:
        raise MissingAssetError(
            "drawing needs the Python package graphviz", hint="pip install 'darkside-cli[graph]'"
        ) from error
    module = on_meta(checkpoint_or_module)
    recorded = trace(module, size_px)
    drawing = _Drawing(graphviz, module, recorded, lay_out(recorded, module, fold=fold))
    graph = drawing.make(title or architecture_of(module))
    if suffix in SOURCE_FORMATS:
        data = graph.source.encode()
    else:
        try:
            data = graph.pipe(format=suffix[1:])
        except graphviz.ExecutableNotFound as error:
            raise MissingAssetError(
                "drawing needs Graphviz' program 'dot'",
                hint="install it (apt-get install graphviz, brew install graphviz), or draw into a .dot file",
            ) from error
    write_bytes_atomic(path, data)
    return path


@dataclass(frozen=True)
class _Drawing:
    """Turns a layout into Graphviz' terms."""

    _graphviz: Any
    _module: nn.Module
    _recorded: Trace
    _layout: Layout

    def make(self, title: str) -> Any:
        total = sum(parameter.numel() for parameter in self._module.parameters())
        graph = self._graphviz.Digraph(
            "network",
            graph_attr={
                "label": f'<<b>{escape(title)}</b><br/><font point-size="11">{total:,} parameters</font>>',
                "labelloc": "t",
                "fontname": _FONT,
                "fontsize": "16",
                "fontcolor": _INK,
                "bgcolor": "white",
                "rankdir": "TB",
                "ranksep": "0.32",
                "nodesep": "0.4",
                "pad": "0.3",
                "dpi": "110",
            },
            node_attr={"shape": "plain", "fontname": _FONT, "fontsize": "12", "fontcolor": _INK},
            edge_attr={"color": _PALE, "arrowsize": "0.7", "penwidth": "1.4"},
        )
        for number, shape in enumerate(self._recorded.inputs):
            graph.node(_name(-1 - number), _table([("input", ""), (_shape(shape), "small")], *_COLOURS[""]))
        for box in self._layout.boxes:
            if not box.block:
                self._add_box(graph, box)
        for number, (block, boxes) in enumerate(blocks_of(self._layout.boxes).items()):
            with graph.subgraph(name=f"cluster_{number}") as cluster:
                cluster.attr(style="rounded,dashed", color=_PALE, margin="10", label="")
                # A label of the cluster itself would lie under the edge that enters it.
                cluster.node(f"label{number}", self._block_label(block, boxes), shape="plain", fontsize="11")
                with cluster.subgraph() as row:
                    row.attr(rank="same")
                    row.edge(f"label{number}", _name(boxes[0].key), style="invis")
                for box in boxes:
                    self._add_box(cluster, box)
        for edge in self._layout.edges:
            skip = {"color": _SKIP, "penwidth": "2", "weight": "0"} if edge.skips else {"weight": "4"}
            graph.edge(_name(edge.source), _name(edge.target), **skip)
        for number, output in enumerate(dict.fromkeys(self._layout.outputs)):
            shape = next((box.shape for box in self._layout.boxes if box.key == output), ())
            graph.node(f"output{number}", _table([("output", ""), (_shape(shape), "small")], *_COLOURS[""]))
            graph.edge(_name(output), f"output{number}")
        return graph

    def _block_label(self, block: str, boxes: list[Box]) -> str:
        times = self._layout.repeats.get(block, 1)
        last = self._layout.last_names.get(block, block)
        where = block if times == 1 else f"{block} … {last.rpartition('.')[2]}"
        kind = type(self._module.get_submodule(block)).__name__
        if kind == "Sequential":  # says nothing: its place is the better name
            kind, where = where, ""
        parameters = f"{sum(box.n_parameters for box in boxes):,} parameters"
        lines = [f"<b>{escape(kind)}{f' × {times}' if times > 1 else ''}</b>", _grey(where)]
        lines.append(_grey(parameters + (" each" if times > 1 else "")))
        return "<" + "".join(f"{line}<br align='left'/>" for line in lines if line) + ">"

    def _add_box(self, graph: Any, box: Box) -> None:
        if box.main.is_join and len(box.nodes) == 1:
            style = {
                "fillcolor": "#ffe8d9",
                "color": _SKIP,
                "width": "0.3",
                "height": "0.3",
                "margin": "0.04",
            }
            if len(box.main.type) == 1:
                style |= {"shape": "circle", "style": "filled", "fontsize": "16", "fixedsize": "true"}
            else:
                style |= {"shape": "box", "style": "filled,rounded", "fontsize": "11", "fixedsize": "false"}
            graph.node(_name(box.key), box.main.type, **style)
            return
        rows = [(layer_text(node), "" if node is box.main else "small") for node in box.nodes]
        footer = _shape(box.shape)
        if box.n_parameters:
            footer += f"   ·   {box.n_parameters:,} parameters"
        graph.node(_name(box.key), _table([*rows, (footer, "footer")], *_colours(box.main)))


def layer_text(node: Node) -> str:
    """Describe a layer in a few words, such as "Conv2d 3×3, 128, stride 2"."""
    layer = node.layer
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        text = f"{node.type} {'×'.join(map(str, layer.kernel_size))}, {layer.out_channels}"
        if set(layer.stride) != {1}:
            text += f", stride {layer.stride[0]}"
        return text + (f", dilation {layer.dilation[0]}" if set(layer.dilation) != {1} else "")
    if isinstance(layer, nn.Linear):
        return f"Linear {layer.in_features} → {layer.out_features}"
    padding = getattr(layer, "padding", None)
    if "Pad" in node.type and isinstance(padding, tuple):
        return f"{node.type} {padding[0]}"
    if isinstance(layer, nn.LeakyReLU):
        return f"LeakyReLU {layer.negative_slope:g}"
    return node.type


def _grey(text: str) -> str:
    return text and f'<font point-size="9" color="{_PALE}">{escape(text)}</font>'


def _table(rows: list[tuple[str, str]], fill: str, border: str) -> str:
    cells = []
    for text, style in rows:
        if style == "small":
            content = f'<font point-size="10">{escape(text)}</font>'
        elif style == "footer":
            content = _grey(text)
        else:
            content = f"<b>{escape(text)}</b>"
        cells.append(f"<tr><td>{content}</td></tr>")
    return (
        f'<<table border="1" cellborder="0" cellspacing="0" cellpadding="3" style="rounded" '
        f'bgcolor="{fill}" color="{border}">{"".join(cells)}</table>>'
    )


def _colours(main: Node) -> tuple[str, str]:
    kind = main.type if main.layer is not None or not main.type.startswith("fixed") else "fixed"
    kind = "fixed" if kind == "resize" or kind.startswith("Blur") else kind
    found = max((name for name in _COLOURS if kind.startswith(name)), key=len)
    return _COLOURS[found]


def _shape(shape: tuple[int, ...]) -> str:
    """Shape without the batch of one, for images channels first."""
    return " × ".join(map(str, shape[1:] if len(shape) == 4 else shape))


def _name(key: int) -> str:
    return f"n{key}" if key >= 0 else f"input{-key}"
