"""ONNX files on stubs: names, free and fixed sizes, metadata, the comparison that finds what is wrong."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx_files import read_metadata
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.inference.onnx import (
    OPSETS,
    Compared,
    Exported,
    ExportMismatchError,
    InHalfPrecision,
    OnnxPlan,
    compare,
    export,
    require_packages,
    to_onnx,
)

SHAPES = ((1, 8, 8), (3, 7, 11))
PLAN = OnnxPlan(
    output="result", output_axes={2: "height", 3: "width"}, shapes=SHAPES, tolerance=1e-6, example=(2, 6, 10)
)


class Doubled(nn.Module):
    """x -> 2 x."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class RemembersTheSize(nn.Module):
    """Divides by the number of pixels of the image it was traced with: right for that size alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x / float(int(x.shape[2]) * int(x.shape[3]))


class Operations(nn.Module):
    """What the networks are made of, at least once, in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(3, 4, 3, stride=2), nn.InstanceNorm2d(4), nn.ReLU()
        )
        self.up = nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1)
        self.p = nn.Parameter(torch.tensor([2.7]))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.up(self.down(F.pad(x, (1, 1, 1, 1), mode="replicate"))))
        y = F.interpolate(y, scale_factor=2**-0.5, mode="bilinear", align_corners=False)
        pooled = y.clamp(min=1e-6).pow(self.p.view(-1, 1, 1)).mean(dim=(-2, -1)).pow(1 / self.p)
        return pooled / (torch.linalg.vector_norm(pooled, dim=1, keepdim=True) + 1e-6)


def run(path: Path, images: np.ndarray[Any, Any]) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0]


def axes(path: Path) -> list[list[int | str]]:
    graph = onnx.load(str(path)).graph
    return [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    ]


def test_a_file_is_written_and_computes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "double.onnx"
    result = export(Doubled(), path, PLAN, reference=Doubled())
    assert result == Exported(
        path, path.stat().st_size, (Compared(SHAPES[0], 0.0), Compared(SHAPES[1], 0.0)), 1e-6
    )
    assert result.difference == 0.0
    image = np.arange(3 * 5 * 4, dtype=np.float32).reshape(1, 3, 5, 4)
    np.testing.assert_array_equal(run(path, image), 2 * image)
    assert axes(path) == [["batch", 3, "height", "width"], ["batch", 3, "height", "width"]]
    assert list(tmp_path.rglob("*")) == [path.parent, path]


def test_a_fixed_size_leaves_the_batch_free(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    plan = OnnxPlan(
        output="result", output_axes={2: "h"}, fixed_size_px=(5, 7), shapes=((2, 5, 7),), tolerance=0
    )
    export(Doubled(), path, plan, reference=Doubled())
    assert axes(path) == [["batch", 3, 5, 7]] * 2
    assert run(path, np.ones((4, 3, 5, 7), np.float32)).shape == (4, 3, 5, 7)


def test_metadata_comes_back_as_it_was(tmp_path: Path) -> None:
    metadata = {
        "name": "gem",
        "mean": [0.5, 0.25],
        "direction": None,
        "config": {"ngf": 4, "norm": "é"},
        "dim": 512,
    }
    path = tmp_path / "a.onnx"
    result = export(Doubled(), path, OnnxPlan(output="y", metadata=metadata), reference=Doubled())
    assert read_metadata(path) == metadata
    assert (result.compared, result.difference) == ((), None)
    model = onnx.load(str(path))
    assert model.producer_name == "darkside"
    assert model.opset_import[0].version == 17


@pytest.mark.parametrize("opset", [OPSETS[0], 13, 18, OPSETS[-1]])
def test_operations_of_our_networks_at_sizes_not_traced(opset: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Operations().eval()
    plan = OnnxPlan(
        output="y",
        example=(2, 16, 20),
        shapes=((1, 16, 20), (3, 9, 13), (1, 31, 14)),
        tolerance=2e-6,
        opset=opset,
    )
    result = export(network, tmp_path / "a.onnx", plan, reference=network)
    assert result.difference is not None
    assert result.difference <= 2e-6
    assert onnx.load(str(result.path)).opset_import[0].version == opset


def test_half_precision_takes_and_gives_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 5, 3).eval()
    before = network.weight.clone()
    plan = OnnxPlan(output="y", shapes=((2, 9, 12),), tolerance=1e-2)
    path = tmp_path / "a.onnx"
    result = export(InHalfPrecision(network), path, plan, reference=network)
    assert result.difference is not None
    assert 1e-5 < result.difference < 1e-2  # float16 has eleven bits
    weights = {each.name: each.data_type for each in onnx.load(str(path)).graph.initializer}
    assert set(weights.values()) == {onnx.TensorProto.FLOAT16}
    assert run(path, np.zeros((1, 3, 4, 4), np.float32)).dtype == np.float32
    assert network.weight.dtype == torch.float32
    assert torch.equal(network.weight, before)


def test_a_network_that_remembers_its_size_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"an older file")
    with pytest.raises(ExportMismatchError, match="3 images of 11x7") as caught:
        export(RemembersTheSize(), path, PLAN, reference=RemembersTheSize())
    assert caught.value.exit_code == 1
    assert "a.onnx was not written" in str(caught.value)
    assert path.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_found_is_the_largest_difference() -> None:
    data = to_onnx(Doubled(), PLAN)

    class Nearly(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            y[-1, -1, -1, -1] += 0.25
            return y

    assert [each.difference for each in compare(data, Nearly(), PLAN)] == pytest.approx([0.25, 0.25])

    class Other(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[..., :-1]

    assert [each.difference for each in compare(data, Other(), PLAN)] == [float("inf")] * 2

    class NotANumber(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float("nan")

    assert [each.difference for each in compare(data, NotANumber(), PLAN)] == [float("inf")] * 2
    assert compare(data, Doubled(), OnnxPlan(output="result")) == []


class Cancels(nn.Module):
    """What is left of the input after a large number was added and taken away again: rounded to sixteenths."""

    def __init__(self, wrong_by: float = 0.0) -> None:
        super().__init__()
        self.wrong_by = wrong_by

    def forward(self, x: Tensor) -> Tensor:
        return (x + 2.0**19) - 2.0**19 + self.wrong_by


def test_the_measure_is_float64_and_what_pytorch_itself_rounds_by(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    plan = OnnxPlan(output="y", shapes=SHAPES, tolerance=0.01)
    rounded = export(Cancels(), path, plan, reference=Cancels())
    assert rounded.difference == rounded.pytorch
    assert rounded.difference == pytest.approx(2**-5, rel=0.05)
    path.unlink()
    with pytest.raises(ExportMismatchError, match=r"differs from float64 by 0\.2\d*, PyTorch by 0\.03"):
        export(Cancels(0.25), path, plan, reference=Cancels())
    strict = OnnxPlan(output="y", shapes=SHAPES, tolerance=1e-5)
    with pytest.raises(ExportMismatchError, match=r"\(allowed 0\.001\)"):
        export(Cancels(), path, strict, reference=Cancels())
    assert not path.exists()


def test_what_onnx_runtime_cannot_run_is_told() -> None:
    with pytest.raises(ExportMismatchError, match="ONNX Runtime cannot run"):
        compare(b"no model", Doubled(), PLAN)
    fixed = to_onnx(Doubled(), OnnxPlan(output="result", fixed_size_px=(4, 4)))
    with pytest.raises(ExportMismatchError, match="ONNX Runtime cannot run"):
        compare(fixed, Doubled(), PLAN)


class Odd(nn.Module):
    """What no operator set has."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x * self.p)


def test_what_onnx_cannot_express_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """In one line, with what may help; torch's exporter would print the whole network to stdout."""
    with pytest.raises(UsageError, match=r"operator set 17: .*bessel") as caught:
        to_onnx(Odd(), PLAN)
    assert caught.value.hint == "try another --opset, up to 20"
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UsageError, match="operator set 20") as caught:
        to_onnx(Odd(), OnnxPlan(output="y", opset=OPSETS[-1]))
    assert caught.value.hint is None
    with pytest.raises(UsageError) as caught:
        to_onnx(InHalfPrecision(Odd()), PLAN)
    assert caught.value.hint == "try another --opset, up to 20, or --precision fp32"
    assert capfd.readouterr() == ("", "")

    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise IndexError("the index 3\nis out of range")

    with pytest.raises(UsageError, match=r"operator set 17: the index 3 \(try"):
        to_onnx(Failing(), PLAN)
    for opset in (OPSETS[0] - 1, OPSETS[-1] + 1):
        with pytest.raises(UsageError, match=f"operator set {opset} cannot be written"):
            to_onnx(Doubled(), OnnxPlan(output="y", opset=opset))


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_missing_packages_are_named(missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingAssetError, match=f"package {missing} ") as caught:
        export(Doubled(), tmp_path / "a.onnx", PLAN, reference=Doubled())
    assert caught.value.hint == "pip install 'darkside-cli[onnx]'"
    assert not any(tmp_path.iterdir())
    if missing == "onnxruntime":
        require_packages(runtime=False)
        export(Doubled(), tmp_path / "a.onnx", OnnxPlan(output="y"), reference=Doubled())


def test_onnxscript_is_not_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] in ("onnxscript", "onnx_ir"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    export(Doubled(), tmp_path / "a.onnx", PLAN, reference=Doubled())


def test_nothing_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    export(Operations().eval(), tmp_path / "a.onnx", OnnxPlan(output="y"), reference=Operations())
    assert capfd.readouterr() == ("", "")
    assert len(recwarn) == 0
