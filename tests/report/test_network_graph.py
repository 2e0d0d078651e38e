from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.configs import ResnetGeneratorConfig, UnetGeneratorConfig
from darkside_cli.networks.edge_detectors import Hed, Rcf
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.unet import UnetGenerator
from darkside_cli.networks.weights import Checkpoint
from darkside_cli.registry import resolve
from darkside_cli.report.network_graph import draw
from darkside_cli.report.network_layout import Edge, lay_out
from darkside_cli.report.network_trace import trace

graphviz = pytest.importorskip("graphviz")
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz' program dot is not installed")
TINY = ResnetGeneratorConfig(ngf=2, n_blocks=3)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(2, 2, 3), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Stub(nn.Module):
    """Input -> convolution -> two residual blocks -> concatenated with the input -> 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 1)
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Conv2d(5, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.stem(x) * 2 - 1)
        return torch.sigmoid(self.head(torch.cat([x, y], 1)))


def test_trace_by_hand() -> None:
    recorded = trace(Stub(), 8)
    assert [(node.name, node.type, node.shape, node.sources) for node in recorded.nodes] == [
        ("stem", "Conv2d", (1, 2, 8, 8), (-1,)),
        ("blocks.0.body.0", "ReflectionPad2d", (1, 2, 10, 10), (0,)),
        ("blocks.0.body.1", "Conv2d", (1, 2, 8, 8), (1,)),
        ("blocks.0.body.2", "ReLU", (1, 2, 8, 8), (2,)),
        ("", "+", (1, 2, 8, 8), (0, 3)),
        ("blocks.1.body.0", "ReflectionPad2d", (1, 2, 10, 10), (4,)),
        ("blocks.1.body.1", "Conv2d", (1, 2, 8, 8), (5,)),
        ("blocks.1.body.2", "ReLU", (1, 2, 8, 8), (6,)),
        ("", "+", (1, 2, 8, 8), (4, 7)),
        ("", "concat", (1, 5, 8, 8), (-1, 8)),
        ("head", "Conv2d", (1, 1, 8, 8), (9,)),
        ("", "Sigmoid", (1, 1, 8, 8), (10,)),
    ]
    assert [node.scope for node in recorded.nodes[4:7]] == ["blocks.0", "blocks.1.body", "blocks.1.body"]
    assert recorded.nodes[9].scope == "", "the network's own forward"
    assert recorded.inputs == ((1, 3, 8, 8),)
    assert recorded.outputs == (11,)


def test_layout_by_hand() -> None:
    module = Stub()
    whole = lay_out(trace(module, 8), module, fold=False)
    assert [[node.type for node in box.nodes] for box in whole.boxes] == [
        ["Conv2d"],
        ["ReflectionPad2d", "Conv2d", "ReLU"],
        ["+"],
        ["ReflectionPad2d", "Conv2d", "ReLU"],
        ["+"],
        ["concat"],
        ["Conv2d", "Sigmoid"],
    ]
    assert [box.block for box in whole.boxes] == ["", "blocks.0", "blocks.0", "blocks.1", "blocks.1", "", ""]
    assert set(whole.edges) == {
        Edge(-1, 0),
        Edge(0, 1),
        Edge(0, 2, skips=True),
        Edge(1, 2),
        Edge(2, 3),
        Edge(2, 4, skips=True),
        Edge(3, 4),
        Edge(-1, 5, skips=True),
        Edge(4, 5),
        Edge(5, 6),
    }
    assert whole.outputs == (6,)

    folded = lay_out(trace(module, 8), module)
    assert [box.key for box in folded.boxes] == [0, 1, 2, 5, 6]
    assert folded.repeats == {"blocks.0": 2}
    assert folded.last_names == {"blocks.0": "blocks.1"}
    assert set(folded.edges) == {
        Edge(-1, 0),
        Edge(0, 1),
        Edge(0, 2, skips=True),
        Edge(1, 2),
        Edge(-1, 5, skips=True),
        Edge(2, 5),
        Edge(5, 6),
    }


def test_unequal_blocks_are_not_folded() -> None:
    module = Stub()
    module.blocks[1].body[1] = nn.Conv2d(2, 2, 3, bias=False)
    folded = lay_out(trace(module, 8), module)
    assert folded.repeats == {"blocks.0": 1, "blocks.1": 1}
    assert len(folded.boxes) == 7


def test_nine_residual_blocks_become_one() -> None:
    module = ResnetGenerator(ResnetGeneratorConfig(ngf=2))
    folded = lay_out(trace(module, 32), module)
    assert folded.repeats == {"model.10": 9}
    assert folded.last_names == {"model.10": "model.18"}
    assert sum(edge.skips for edge in folded.edges) == 1
    whole = lay_out(trace(module, 32), module, fold=False)
    assert sum(edge.skips for edge in whole.edges) == 9
    assert len(whole.boxes) == len(folded.boxes) + 8 * 3
    assert sum(box.n_parameters for box in whole.boxes) == sum(p.numel() for p in module.parameters())


def test_skip_connections_of_the_unet() -> None:
    module = UnetGenerator(UnetGeneratorConfig(ngf=1, num_downs=6))
    layout = lay_out(trace(module, 64), module)
    assert sum(edge.skips for edge in layout.edges) == 5, "one a level, but the innermost"
    assert not any(box.block for box in layout.boxes), "levels are nested: no blocks"


def test_side_outputs_are_no_skips() -> None:
    hed, rcf = Hed(), Rcf()
    layout = lay_out(trace(hed, 32), hed)
    assert not any(edge.skips for edge in layout.edges)
    assert set(layout.repeats) == {f"vgg{n}" for n in range(1, 6)}
    joined = lay_out(trace(rcf, 32), rcf)
    sums = [box for box in joined.boxes if box.main.type == "+"]
    entering = [sum(edge.target == box.key for edge in joined.edges) for box in sums]
    assert entering == [2, 2, 3, 3, 3], "the convolutions of a stage are summed at once"


def test_module_is_left_as_it_is() -> None:
    module = ResnetGenerator(TINY).train()
    trace(module, 32)
    assert module.training
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())


def texts(source: str) -> str:
    """What is to be read in an image, without its mark-up."""
    return re.sub(r"<[^<>]*>", " ", source)


@pytest.mark.parametrize("suffix", [".dot", ".gv"])
def test_source_needs_no_program(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    path = draw(ResnetGenerator(TINY), tmp_path / f"new/g{suffix}", size_px=32, title="a <b> & c")
    source = path.read_text()
    assert source.startswith("digraph network {")
    read = texts(source)
    for words in (
        "a &lt;b&gt; &amp; c",
        "ReflectionPad2d 3",
        "Conv2d 7×7, 2",
        "2 × 32 × 32",
        "ResidualBlock × 3",
        "model.10 … 12",
        "1,168 parameters each",
        "ConvTranspose2d 3×3, 4, stride 2",
        "Tanh",
        "input",
        "output",
    ):
        assert words in read, words
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_fold_is_optional(tmp_path: Path) -> None:
    path = draw(ResnetGenerator(TINY), tmp_path / "g.dot", size_px=32, fold=False)
    read = texts(path.read_text())
    assert "×" in read
    assert "ResidualBlock ×" not in read
    assert read.count("ResidualBlock") == 3


def test_checkpoint_can_be_drawn(tmp_path: Path) -> None:
    checkpoint = Checkpoint(Path("x"), "gandtr", "resnet_generator", TINY, {})
    drawn = draw(checkpoint, tmp_path / "a.dot", size_px=32).read_text()
    assert drawn == draw(ResnetGenerator(TINY), tmp_path / "b.dot", size_px=32).read_text()
    assert "resnet_generator" in drawn


@needs_dot
@pytest.mark.parametrize(
    ("suffix", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG\r\n"), (".pdf", b"%PDF"), (".SVG", b"<?xml")]
)
def test_images(suffix: str, start: bytes, tmp_path: Path) -> None:
    path = draw(Stub(), tmp_path / f"g{suffix}", size_px=8)
    assert path.read_bytes().startswith(start)


@needs_dot
@pytest.mark.parametrize("name", ARCHITECTURES.names())
def test_every_architecture_is_drawn(name: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        module = resolve(ARCHITECTURES.get(name).target)()
    svg = draw(module, tmp_path / "g.svg").read_text()
    total = sum(parameter.numel() for parameter in module.parameters())
    assert f"{total:,} parameters" in svg.replace("\xa0", " ").replace("&#160;", " ")


def test_missing_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingAssetError, match=r"program 'dot'.*apt-get install graphviz"):
        draw(Stub(), tmp_path / "g.png", size_px=8)
    assert not list(tmp_path.iterdir())


def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(MissingAssetError, match=r"package graphviz .pip install 'darkside-cli\[graph\]'"):
        draw(Stub(), tmp_path / "g.dot", size_px=8)


def test_other_suffixes_and_sizes(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"cannot draw into a '\.jpg' file .known: \.svg, \.png, \.pdf, \.dot"
    ):
        draw(Stub(), tmp_path / "g.jpg")
    with pytest.raises(UsageError, match="cannot take images of 2x2 pixels"):
        draw(ResnetGenerator(TINY), tmp_path / "g.dot", size_px=2)
