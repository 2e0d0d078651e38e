"""Networks as ONNX files, held against PyTorch in float64 with ONNX Runtime before they get their names.

The TorchScript exporter of torch is the one used: it is in every torch from 2.6 on, takes a second where the
newer one (``dynamo=True``) takes minutes for a descriptor of three scales, needs no further package, and writes
the same numbers; ``tests/inference/test_onnx.py`` holds it to what is used here (reflected borders, instance norm,
transposed convolutions, powers, resizing by a factor, all at sizes it was not traced with).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darkside_cli import __version__
from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.inference.onnx_packages import require_packages

INPUT = "image"
OPSETS = range(11, 21)
"""Versions of the operator set that can be written: from 11 on resizing means what PyTorch means by it."""
DEFAULT_OPSET = 17

TIMES_PYTORCH = 4.0
"""How many times as far from float64 as PyTorch's float32 an exported network may be."""
MOST_TOLERANCES = 100.0
"""How many tolerances that comes to at most: two results that are further off say nothing about each other."""

Shape = tuple[int, int, int]
"""Batch, height and width."""


class ExportMismatchError(DarksideError):
    """The exported network does not compute what PyTorch does."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class OnnxPlan:
    """What to export, and what to hold the result to.

    The network takes one tensor ``image`` ``(B, C, H, W)`` float32 and gives one called ``output``, of
    which the axes ``output_axes`` (number to name) depend on the input's size. The batch is always free, height
    and width unless ``fixed_size_px`` (height, width) is given. ``shapes`` are those that are compared with float64;
    none are with an empty tuple. The file may be ``tolerance`` away, or a small multiple of what PyTorch itself is.
    ``metadata`` goes into the file: strings as they are, anything else as JSON.
    """

    output: str
    output_axes: Mapping[int, str] = field(default_factory=dict)
    channels: int = 3
    fixed_size_px: tuple[int, int] | None = None
    example: Shape = (2, 64, 96)
    shapes: Sequence[Shape] = ()
    tolerance: float = 0.0
    opset: int = DEFAULT_OPSET
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """Largest absolute differences to float64 for images of one shape: the file's, and that of float32 PyTorch."""

    shape: Shape
    difference: float
    pytorch: float = 0.0

    def allowed(self, tolerance: float) -> float:
        """How large ``difference`` may be: what PyTorch rounds by counts too, as far as that can be judged."""
        return max(tolerance, TIMES_PYTORCH * min(self.pytorch, MOST_TOLERANCES * tolerance / TIMES_PYTORCH))


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how far it is from float64 (nothing compared: an empty tuple)."""

    path: Path
    size_bytes: int
    compared: tuple[Compared, ...]
    tolerance: float

    @property
    def difference(self) -> float | None:
        """The largest difference found; None if nothing was compared."""
        return max((each.difference for each in self.compared), default=None)

    @property
    def pytorch(self) -> float | None:
        """The largest difference between PyTorch's float32 and float64; None if nothing was compared."""
        return max((each.pytorch for each in self.compared), default=None)


class InHalfPrecision(nn.Module):
    """A copy of a network that computes in float16, float32 going in and coming out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = deepcopy(network).half()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` float32 to what the network makes of it, float32."""
        y: Tensor = self.network(x.half())
        return y.float()


def export(network: nn.Module, path: str | Path, plan: OnnxPlan, *, reference: nn.Module) -> Exported:
    """Write ``network`` as an ONNX file that computes what ``reference`` does in PyTorch, or no file at all.

    Both are on the CPU and in eval mode; they differ where the export is in half precision.

    Raises MissingAssetError if packages are missing, UsageError for what ONNX cannot express in this operator set,
    ExportMismatchError if the file is further from float64 than ``plan.tolerance`` and than :data:`TIMES_PYTORCH` times
    what PyTorch's float32 is (then nothing is written).
    """
    require_packages(runtime=bool(plan.shapes))
    data = to_onnx(network, plan)
    compared = tuple(compare(data, reference, plan))
    wrong = [each for each in compared if not each.difference <= each.allowed(plan.tolerance)]
    if wrong:
        worst = max(wrong, key=lambda each: each.difference)
        batch, height, width = worst.shape
        raise ExportMismatchError(
            f"the exported network differs from float64 by {worst.difference:.2g}, PyTorch by {worst.pytorch:.2g} "
            f"(allowed {worst.allowed(plan.tolerance):.2g}) for {batch} images of {width}x{height}; "
            f"{path} was not written",
            hint="try another --opset, or --no-check to have the file all the same",
        )
    path = Path(path)
    write_bytes_atomic(path, data)
    return Exported(path, len(data), compared, plan.tolerance)


def to_onnx(network: nn.Module, plan: OnnxPlan) -> bytes:
    """Serialise ``network`` as ``plan`` says. Raises UsageError for what cannot be expressed."""
    import onnx

    if plan.opset not in OPSETS:
        raise UsageError(
            f"operator set {plan.opset} cannot be written", hint=f"choose {OPSETS[0]} to {OPSETS[-1]}"
        )
    shape, free, outputs = plan.example, {0: "batch", 2: "height", 3: "width"}, plan.output_axes
    if plan.fixed_size_px is not None:
        shape, free, outputs = (1, *plan.fixed_size_px), {0: "batch"}, {}
    with TemporaryDirectory() as folder, warnings.catch_warnings(), _quiet():
        traced = Path(folder) / "network.onnx"
        # That the exporter is the older one is on purpose, and what is traced as constant is checked below.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                network,
                (_images(shape, plan.channels),),
                traced,
                input_names=[INPUT],
                output_names=[plan.output],
                dynamic_axes={INPUT: free, plan.output: {0: "batch", **outputs}},
                opset_version=plan.opset,
                dynamo=False,
            )
        except (
            RuntimeError,
            TypeError,
            ValueError,
            IndexError,
        ) as error:  # the exporter's own are RuntimeErrors
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UsageError(
                f"this network cannot be written in ONNX operator set {plan.opset}: {lines[0]}",
                hint=_other_ways(network, plan),
            ) from error
        model = onnx.load_model(str(traced))
    model.producer_name, model.producer_version = "darkside", __version__
    facts = plan.metadata.items()
    texts = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in facts}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _other_ways(network: nn.Module, plan: OnnxPlan) -> str | None:
    """What may help where a network cannot be written."""
    ways = [f"another --opset, up to {OPSETS[-1]}"] if plan.opset < OPSETS[-1] else []
    if any(isinstance(each, InHalfPrecision) for each in network.modules()):
        ways.append("--precision fp32")
    return f"try {', or '.join(ways)}" if ways else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from printing the whole network where it fails: it does, from C++, whatever it is told."""
    log = getattr(torch._C, "_jit_onnx_log", None)
    if log is None:
        yield
        return
    setattr(torch._C, "_jit_onnx_log", lambda *_: None)  # noqa: B010
    try:
        yield
    finally:
        setattr(torch._C, "_jit_onnx_log", log)  # noqa: B010


def compare(data: bytes, reference: nn.Module, plan: OnnxPlan) -> list[Compared]:
    """Run the file's content with ONNX Runtime on the CPU, and ``reference`` in PyTorch, for every shape of ``plan``.

    Both are held against ``reference`` in float64: where a network rounds a lot, two float32 results differ though
    both are right. Images are noise in [-1, 1], the same every time. A result of another shape than PyTorch's counts
    as infinitely different, one that is not a number as well. Raises ExportMismatchError if ONNX Runtime cannot run
    it at all.
    """
    if not plan.shapes:
        return []
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what goes wrong is raised, too
    with _it_runs():
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    exact = deepcopy(reference).double()
    compared = []
    for shape in plan.shapes:
        images = _images(shape, plan.channels)
        with torch.inference_mode():
            expected, rounded = exact(images.double()).numpy(), reference(images).numpy()
        with _it_runs():
            found = session.run(None, {INPUT: images.numpy()})[0]
        compared.append(Compared(shape, _distance(found, expected), _distance(rounded, expected)))
    return compared


@contextmanager
def _it_runs() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise ExportMismatchError(
            f"ONNX Runtime cannot run what was exported: {error}", hint="try another --opset, or --no-check"
        ) from error


def _distance(found: Any, expected: Any) -> float:
    if found.shape != expected.shape:
        return float("inf")
    difference = float(np.abs(found - expected).max())
    return difference if np.isfinite(difference) else float("inf")


def _images(shape: Shape, channels: int) -> Tensor:
    batch, height, width = shape
    generator = torch.Generator().manual_seed(height * 10_000 + width)
    return torch.rand((batch, channels, height, width), generator=generator) * 2 - 1
