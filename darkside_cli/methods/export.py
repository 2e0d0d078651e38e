"""Generators as ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.errors import CheckpointError, UsageError
from darkside_cli.inference.onnx import DEFAULT_OPSET, Exported, InHalfPrecision, OnnxPlan, Shape, export
from darkside_cli.networks.weights import Checkpoint, build_network

OUTPUT = "translated"
TOLERANCES = {"fp32": 1e-4, "fp16": 2e-2}
"""Of values in [-1, 1]: a seventieth of one of 256 levels, and two and a half levels."""

_CHECKED: Sequence[Shape] = ((1, 64, 96), (2, 61, 97), (1, 90, 44), (1, 6, 43))
"""Even and odd sides, and one below the least that the networks themselves take."""


class KeepsTheSize(nn.Module):
    """A generator that takes images of any size, and gives the same size back.

    As the command line does it: sides are padded by their last row and column to what ``network`` takes, and what is
    too much of the result is cut off. The padding is computed in the graph, so that a traced network does the same
    for sizes that it was not traced with.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.multiple = int(getattr(network, "input_multiple", 1))
        self.minimum_px = int(getattr(network, "input_minimum_px", 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', H, W)``."""
        height, width = x.shape[2:]
        if self.multiple > 1 or self.minimum_px > 1:
            surplus = [0, self._surplus(width), 0, self._surplus(height)]
            x = F.pad(x, surplus, mode="replicate")
        y: Tensor = self.network(x)
        return y[..., :height, :width]

    def _surplus(self, side: Any) -> Any:
        # While a network is traced, sides are tensors, and only operations of tensors are recorded.
        wanted = torch.clamp(torch.as_tensor(side), min=self.minimum_px)
        surplus = wanted + torch.remainder(-wanted, self.multiple) - side
        return surplus if isinstance(side, Tensor) else int(surplus)


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

    The batch is free, and so are height and width unless ``size_px`` (height, width) is given. Images of any size
    keep it: the graph pads and crops (see :class:`KeepsTheSize`). With "fp16" the network computes in half precision,
    what goes in and out stays float32. Unless ``check`` is False the file is held against PyTorch in float64. The
    file's metadata says what the network is and which mean and standard deviation its input has.

    Raises CheckpointError for a network of another kind, UsageError for a size or an operator set that cannot be,
    MissingAssetError if packages are missing, ExportMismatchError if the numbers are not PyTorch's.
    """
    if checkpoint.kind != "generator":
        raise CheckpointError(f"{checkpoint.path} is a {checkpoint.kind}, not a generator")
    network = KeepsTheSize(build_network(checkpoint)).eval()
    if size_px is not None and min(size_px) < 1:
        raise UsageError(f"there are no images of {size_px[1]}x{size_px[0]} pixels")
    shapes = _CHECKED if size_px is None else [(1, *size_px), (2, *size_px)]
    plan = OnnxPlan(
        output=OUTPUT,
        output_axes={2: "output_height", 3: "output_width"},
        channels=checkpoint.config.in_channels,
        fixed_size_px=size_px,
        example=(2, *_CHECKED[0][1:]),
        shapes=shapes if check else (),
        tolerance=TOLERANCES[precision],
        opset=opset,
        metadata=_metadata(checkpoint, name or str(checkpoint.path.name), precision),
    )
    exported = InHalfPrecision(network) if precision == "fp16" else network
    return export(exported, path, plan, reference=network)


def _metadata(checkpoint: Checkpoint, name: str, precision: str) -> dict[str, Any]:
    return {
        "name": name,
        "kind": checkpoint.kind,
        "architecture": checkpoint.architecture,
        "config": asdict(checkpoint.config),
        "direction": checkpoint.metadata.get("direction"),
        "mean": list(checkpoint.metadata.get("mean", (0.5,) * checkpoint.config.in_channels)),
        "std": list(checkpoint.metadata.get("std", (0.5,) * checkpoint.config.in_channels)),
        "colour_order": "rgb",
        "input_multiple": 1,
        "input_minimum_px": 1,
        "precision": precision,
    }
