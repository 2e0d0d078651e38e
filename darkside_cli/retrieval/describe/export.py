"""Descriptors as ONNX files: network, scales and whitening in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from math import floor
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from darkside_cli.errors import ImageError, UsageError
from darkside_cli.images.transforms import ApplyClahe
from darkside_cli.inference.onnx import DEFAULT_OPSET, Exported, InHalfPrecision, OnnxPlan, Shape, export
from darkside_cli.networks.retrieval_net import RetrievalNetConfig
from darkside_cli.networks.timm_backbones import TimmFeatures
from darkside_cli.retrieval.describe.descriptor import DescriptorModel

OUTPUT = "descriptor"
TOLERANCES = {"fp32": 1e-5, "fp16": 2e-3}
"""Of the components of descriptors of unit length."""

_CHECKED: Sequence[Shape] = ((1, 96, 128), (2, 77, 101), (1, 115, 83))


def export_descriptor(
    model: DescriptorModel,
    path: str | Path,
    *,
    name: str,
    size_px: tuple[int, int] | None = None,
    opset: int = DEFAULT_OPSET,
    precision: str = "fp32",
    check: bool = True,
) -> Exported:
    """Write a descriptor as an ONNX file: ``image`` ``(B, 3, H, W)`` float32 to ``descriptor`` ``(B, D)``.

    The input is what ``model.transform`` makes of photographs (CLAHE is not part of the network, its settings are
    in the file's metadata). The batch is free, and so are height and width unless ``size_px`` (height, width) is
    given. With "fp16" the backbone computes in half precision. Unless ``check`` is False the file is held against
    PyTorch in float32.

    Raises UsageError for a network whose computation depends on the image's size (R-MAC, regional pooling,
    transformers) without ``size_px``, and for a size or an operator set that cannot be; MissingAssetError if packages
    are missing, ExportMismatchError if the numbers are not PyTorch's.
    """
    config = model.network.config
    if size_px is None and (_has_regions(config) or _has_tokens(model)):
        what = "regions" if _has_regions(config) else "tokens"
        raise UsageError(
            f"the {what} of {name} depend on the image's size, which an ONNX file cannot leave open",
            hint="give the size of the images it is for: --size 768x1024",
        )
    if size_px is not None:
        _require_size(model, size_px)
    plan = OnnxPlan(
        output=OUTPUT,
        fixed_size_px=size_px,
        example=(2, *_CHECKED[0][1:]),
        shapes=() if not check else _CHECKED if size_px is None else ((1, *size_px), (2, *size_px)),
        tolerance=TOLERANCES[precision],
        opset=opset,
        metadata=_metadata(model, name, precision),
    )
    network = _in_half_precision(model) if precision == "fp16" else model
    with _constant_positions(network) if _has_tokens(model) else nullcontext():
        return export(network, path, plan, reference=model)


def _has_tokens(model: DescriptorModel) -> bool:
    """Whether it is a transformer, or another network that sees images at sizes of its own."""
    features = model.network.features
    if not isinstance(features, TimmFeatures):
        return False
    return features.facts.tokens or features.facts.step_px > 1 or features.facts.fixed_px is not None


def _has_regions(config: RetrievalNetConfig) -> bool:
    return config.regional or config.pooling == "rmac"


def _require_size(model: DescriptorModel, size_px: tuple[int, int]) -> None:
    smallest = min(model.scales)
    try:
        model.network.require_size(floor(size_px[0] * smallest), floor(size_px[1] * smallest))
    except ImageError as error:
        scaled = "" if smallest == 1 else f" at the scale {smallest:.3g}"
        raise UsageError(
            f"images of {size_px[1]}x{size_px[0]} pixels are too small{scaled}: {error.message}",
            hint=error.hint,
        ) from error


def _in_half_precision(model: DescriptorModel) -> DescriptorModel:
    """Copy whose backbone computes in float16; pooling, means and whitening need float32."""
    copy = deepcopy(model)
    copy.network.features = InHalfPrecision(copy.network.features)
    return copy


def _metadata(model: DescriptorModel, name: str, precision: str) -> dict[str, Any]:
    config = model.network.config
    clahe = next((step.settings for step in model.transform.steps if isinstance(step, ApplyClahe)), None)
    return {
        "name": name,
        "kind": "descriptor",
        "architecture": "retrieval_net",
        "config": asdict(config),
        "dim": model.dim,
        "scales": list(model.scales),
        "whitened": model.whitening is not None or config.whitening,
        "mean": list(config.mean),
        "std": list(config.std),
        "clahe": None if clahe is None else asdict(clahe),
        "transform": repr(model.transform),
        "colour_order": "rgb",
        "precision": precision,
    }


@contextmanager
def _constant_positions(network: nn.Module) -> Iterator[None]:
    """For export at a fixed size: what says where patches are becomes constants, which it is.

    That is position embeddings that are resampled, and rotations that are reckoned of the size (EVA-02).
    """
    rotary = [each for each in network.modules() if callable(getattr(each, "get_embed", None))]
    for each in rotary:
        each.get_embed = partial(_constant_rotations, each.get_embed)  # type: ignore[assignment, arg-type]
    try:
        with _ConstantResampling():
            yield
    finally:
        for each in rotary:
            del each.get_embed


def _constant_rotations(get_embed: Callable[..., Any], shape: Sequence[int] | None = None) -> Any:
    found = get_embed(None if shape is None else [int(side) for side in shape])
    return _constant(found) if isinstance(found, torch.Tensor) else found


def _constant(traced: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(traced.detach().numpy().copy())


class _ConstantResampling(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return _constant(result) if func is F.interpolate and args[0].shape[1] != 3 else result
