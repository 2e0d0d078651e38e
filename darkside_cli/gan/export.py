"""Generators as ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from darkside_cli.engine.onnx import DEFAULT_OPSET, Exported, InHalfPrecision, OnnxPlan, Shape, export
from darkside_cli.errors import CheckpointError, UsageError
from darkside_cli.models.weights import Checkpoint, build_network

OUTPUT = "translated"
TOLERANCES = {"fp32": 1e-4, "fp16": 2e-2}
"""Of values in [-1, 1]: a seventieth of one of 256 levels, and two and a half levels."""

_CHECKED: Sequence[Shape] = ((1, 64, 96), (2, 61, 83), (1, 90, 44))


def export_generator(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    name: str | None = None,
    size_px: tuple[int, int] | None = None,
    opset: int = DEFAULT_OPSET,
    precision: str = "fp32",
    check: bool = True,
) -> Exported:
    """Write a generator as an ONNX file: ``image`` ``(B, C, H, W)`` float32 to ``translated``, both in [-1, 1].

    The batch is free, and so are height and width unless ``size_px`` (height, width) is given; the output's sides
    are rounded up to a multiple of 4, as PyTorch's are. With "fp16" the network computes in half precision, what
    goes in and out stays float32. Unless ``check`` is False the file is held against PyTorch in float32. The
    file's metadata says what the network is and which mean and standard deviation its input has.

    Raises CheckpointError for a network of another kind, UsageError for a size or an operator set that cannot be,
    MissingAssetError if packages are missing, ExportMismatchError if the numbers are not PyTorch's.
    """
    if checkpoint.kind != "generator":
        raise CheckpointError(f"{checkpoint.path} is a {checkpoint.kind}, not a generator")
    network = build_network(checkpoint)
    multiple, minimum = _sides(network)
    if size_px is not None and (min(size_px) < minimum or any(side % multiple for side in size_px)):
        raise UsageError(
            f"this generator does not take images of {size_px[1]}x{size_px[0]} pixels",
            hint=f"sides must be multiples of {multiple} from {minimum} on",
        )
    shapes = _shapes(multiple) if size_px is None else [(1, *size_px), (2, *size_px)]
    plan = OnnxPlan(
        output=OUTPUT,
        output_axes={2: "output_height", 3: "output_width"},
        channels=checkpoint.config.in_channels,
        fixed_size_px=size_px,
        example=(2, *_shapes(multiple)[0][1:]),
        shapes=shapes if check else (),
        tolerance=TOLERANCES[precision],
        opset=opset,
        metadata=_metadata(checkpoint, network, name or str(checkpoint.path.name), precision),
    )
    exported = InHalfPrecision(network) if precision == "fp16" else network
    return export(exported, path, plan, reference=network)


def _sides(network: nn.Module) -> tuple[int, int]:
    """What sides must be multiples of, and at least."""
    return int(getattr(network, "input_multiple", 1)), int(getattr(network, "input_minimum_px", 1))


def _shapes(multiple: int) -> list[Shape]:
    """Shapes to compare: different sizes, odd ones if the network takes them."""
    if multiple == 1:
        return list(_CHECKED)
    up = [-(-side // multiple) * multiple for side in (64, 96)]
    return [(1, up[0], up[1]), (2, up[0], up[0]), (1, up[0] + multiple, up[0])]


def _metadata(checkpoint: Checkpoint, network: nn.Module, name: str, precision: str) -> dict[str, Any]:
    multiple, minimum = _sides(network)
    return {
        "name": name,
        "kind": checkpoint.kind,
        "architecture": checkpoint.architecture,
        "config": asdict(checkpoint.config),
        "direction": checkpoint.metadata.get("direction"),
        "mean": list(checkpoint.metadata.get("mean", (0.5,) * checkpoint.config.in_channels)),
        "std": list(checkpoint.metadata.get("std", (0.5,) * checkpoint.config.in_channels)),
        "colour_order": "rgb",
        "input_multiple": multiple,
        "input_minimum_px": minimum,
        "precision": precision,
    }
