"""Models of others at work: their answers are looked at, their images made to fit.

See :mod:`darkside_cli.networks.other_spec` for what they are called. Nothing here runs before it was trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.errors import ConfigError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import Compose, Transform, descriptor_transform
from darkside_cli.inference.device import is_out_of_memory
from darkside_cli.networks.catalog import IMAGENET_MEAN, IMAGENET_STD
from darkside_cli.networks.model_entry import Triple
from darkside_cli.networks.other_spec import OtherSpec, Trust
from darkside_cli.networks.others import OtherInput
from darkside_cli.retrieval.describe.other_code import run_code
from darkside_cli.retrieval.describe.other_failures import TELL_INPUT, at_work, ended, first_line

_PROBE_PX = 224
_ALIKE = 0.02


@dataclass(frozen=True)
class OtherConfig:
    """What decides what a model of others computes, but for its weights: its function and its arguments."""

    backbone: str
    arguments: str
    dim: int
    mean: Triple
    std: Triple


class OtherNetwork(nn.Module):
    """A callable of others: normalised images ``(B, 3, H, W)`` to descriptors ``(B, D)`` of unit length.

    Raises ConfigError if it fails, or gives anything but ``(B, D)`` or a tuple that begins with that.
    """

    def __init__(self, model: Callable[..., Any], spec: OtherSpec, config: OtherConfig) -> None:
        super().__init__()
        self.config = config
        self._name, self._alone = spec.text, spec.alone
        self._has_weights = isinstance(model, nn.Module)
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Describe images: ``(B, D)`` float32."""
        if self._alone and len(x) > 1:
            return torch.cat([self(image[None]) for image in x])
        try:
            given = self.model(x if self._has_weights else x.cpu())
        except SystemExit as error:
            raise ended(self._name, error) from error
        except Exception as error:
            if is_out_of_memory(error):
                raise
            size = "x".join(map(str, x.shape[:1:-1]))
            reason = first_line(error)
            raise ConfigError(
                f"{self._name} fails on {size} pixels: {reason}", hint=at_work(error)
            ) from error
        rows = given[0] if isinstance(given, (tuple, list)) and given else given
        if not (isinstance(rows, Tensor) and rows.dim() == 2 and len(rows) == len(x)):
            found = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise ConfigError(
                f"{self._name} gives {found} for {len(x)} images, not ({len(x)}, D)",
                hint="name a function that returns one row an image, or a tuple that begins with such rows",
            )
        if not rows.is_floating_point():
            raise ConfigError(
                f"{self._name} gives numbers of the type {str(rows.dtype).removeprefix('torch.')}, no descriptors",
                hint="name a function that returns one row of floating point numbers an image",
            )
        if self.config.dim not in (0, rows.shape[1]):
            raise ConfigError(
                f"{self._name} gives rows of {rows.shape[1]} numbers, and of {self.config.dim} for images of another "
                "size",
                hint=TELL_INPUT,
            )
        return F.normalize(rows.float(), dim=1).to(x.device)

    def aggregation_power(self) -> Tensor | None:
        """None: descriptors of several scales would be averaged plainly."""
        return None

    def require_size(self, height_px: int, width_px: int) -> None:
        """Nothing is known of what is too small."""


@dataclass(eq=False, repr=False)
class FitInput(Transform):
    """Resize a tensor ``(3, H, W)`` to ``size`` (height, width), or to the nearest multiples of ``multiple``."""

    size: tuple[int, int] | None
    multiple: int
    bicubic: bool

    def one(self, image: Tensor) -> Tensor:
        """Resize one image, with antialiasing."""
        sides = self.size or tuple(
            max(1, round(side / self.multiple)) * self.multiple for side in image.shape[1:]
        )
        if tuple(image.shape[1:]) == sides:
            return image
        mode = "bicubic" if self.bicubic else "bilinear"
        return F.interpolate(image[None], size=sides, mode=mode, antialias=True)[0]


def load_other(
    spec: OtherSpec, trust: Trust, clahe: ClaheSettings | None = None
) -> tuple[OtherNetwork, Compose]:
    """Run the code of ``spec``: the network, in evaluation mode on the CPU, and what makes its inputs.

    Raises UsageError if it is not trusted or not there by that name, MissingAssetError if something has to be fetched
    that may not be or its code ends the program, ConfigError if it fails, gives something else than descriptors, or
    others of the same image each time. Where a descriptor depends on the other images of a batch, each image is
    described alone.
    """
    spec.require(trust)
    model = run_code(spec, trust)
    if isinstance(model, nn.DataParallel):
        model = model.module
    if isinstance(model, nn.Module):
        model = model.cpu().float().eval().requires_grad_(False)
    if not callable(model):
        raise ConfigError(f"{spec.text} gives a {type(model).__name__}, which cannot be called with images")
    size, mean, std = _wanted(model, spec.input)
    fit = FitInput(size, spec.input.multiple, spec.input.bicubic)
    arguments = repr(sorted(spec.arguments.items()))
    config = OtherConfig(spec.entry, arguments, 0, mean, std)
    sides = size or (round(_PROBE_PX / fit.multiple) * fit.multiple or fit.multiple,) * 2
    noise = torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        network = OtherNetwork(model, spec, config)
        rows, first = network(noise), network(noise[:1])
        if _differ(first, rows[:1]):
            if _differ(first, network(noise[:1])):
                raise ConfigError(
                    f"{spec.text} gives other numbers for the same image each time",
                    hint="return it in evaluation mode (model.eval()), without dropout",
                )
            spec = replace(spec, alone=True)
    if not rows.any():
        raise ConfigError(
            f"{spec.text} gives nothing but zeros for images of noise", hint="has it its weights?"
        )
    dim = rows.shape[1]
    config = OtherConfig(spec.entry, arguments, dim, mean, std)
    steps = descriptor_transform(mean, std, clahe).steps
    return OtherNetwork(model, spec, config).eval(), Compose([*steps, fit])


def _differ(rows: Tensor, others: Tensor) -> bool:
    """Whether descriptors differ by more than the rounding of 16 bits."""
    return bool(((rows - others).norm(dim=1) > _ALIKE).any())


def _wanted(model: Any, given: OtherInput) -> tuple[tuple[int, int] | None, Triple, Triple]:
    """Size, mean and standard deviation: as they were given, else the model's ``image_size``, ``mean`` and ``std``."""
    sides = _numbers(getattr(model, "image_size", None))
    own = (int(sides[0]), int(sides[-1])) if len(sides) in (1, 2) and min(sides) >= 1 else None
    mean, std = _numbers(getattr(model, "mean", None)), _numbers(getattr(model, "std", None))
    return (
        given.size or own,
        given.mean or ((mean[0], mean[1], mean[2]) if len(mean) == 3 else IMAGENET_MEAN),
        given.std or ((std[0], std[1], std[2]) if len(std) == 3 and min(std) > 0 else IMAGENET_STD),
    )


def _numbers(value: Any) -> list[float]:
    """The numbers in an attribute of a model; none where it means something else."""
    try:
        return [float(each) for each in torch.as_tensor(value, dtype=torch.float64).flatten().tolist()]
    except (TypeError, ValueError, RuntimeError):
        return []
