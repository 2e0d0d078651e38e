"""The reference's transform strings, as in ``pil2np | apply_clahe:1.0 | totensor | normalize``."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.images.crops import CenterCrop, CenterScaleCrop, ScaleCrop, SquareCrop
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import (
    ApplyClahe,
    Compose,
    Downscale,
    Normalize,
    Pil2Numpy,
    ToTensor,
    Transform,
)
from darkside_cli.interop.transform_words import DEFAULT_CENTRE_SCALE, DEFAULT_SCALES


@dataclass(frozen=True)
class _Context:
    mean: Sequence[float]
    std: Sequence[float]
    rng: random.Random | None
    swapped: bool


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("_")
    return int(width), int(height)


def _scales(text: str) -> tuple[float, float]:
    low, high = text.split("_")
    return float(low), float(high)


def _clahe(clip_limit: str = "1.0", grid_size: str = "8") -> ApplyClahe:
    return ApplyClahe(float(clip_limit), int(grid_size))


_TRANSFORMS: dict[str, Callable[[_Context], Callable[..., Transform]]] = {
    "pil2np": lambda _: Pil2Numpy,
    "apply_clahe": lambda _: _clahe,
    "totensor": lambda _: ToTensor,
    "normalize": lambda c: lambda: Normalize(c.mean, c.std),
    "downscale": lambda _: lambda size: Downscale(int(size)),
    "scalecrop": lambda c: (
        lambda size, scales=None: ScaleCrop(
            _size(size), _scales(scales) if scales else DEFAULT_SCALES, c.rng, swapped=c.swapped
        )
    ),
    "centerscalecrop": lambda _: (
        lambda size, scale=None: CenterScaleCrop(_size(size), float(scale) if scale else DEFAULT_CENTRE_SCALE)
    ),
    "center_crop": lambda _: lambda size: CenterCrop(_size(size)),
    "square_crop": lambda _: SquareCrop,
}


def parse_transforms(
    text: str,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    rng: random.Random | None = None,
    swapped_sides: bool = False,
) -> Compose:
    """Steps of a transform string: names with arguments after colons, between bars.

    ``mean`` and ``std`` are what ``normalize`` uses, ``rng`` what random crops draw from. ``swapped_sides``
    repeats the reference's fault in random crops that are not square (see :class:`ScaleCrop`).

    Raises UnknownNameError for a step that does not exist (near matches named), ConfigError for arguments
    that it does not take.
    """
    context = _Context(mean, std, rng, swapped_sides)
    steps = []
    for part in filter(None, (part.strip() for part in text.split("|"))):
        name, *arguments = (piece.strip() for piece in part.split(":"))
        if name not in _TRANSFORMS:
            raise UnknownNameError("transform", name, _TRANSFORMS)
        try:
            steps.append(_TRANSFORMS[name](context)(*arguments))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the transform '{part}' has arguments that {name} does not take") from error
    return Compose(steps)


def clahe_of_metadata(metadata: Mapping[str, Any]) -> ClaheSettings | None:
    """CLAHE settings recorded with a checkpoint: ours (``clahe``), else in gandtr's transforms, else None.

    Raises ConfigError if what is recorded makes no sense.
    """
    if "clahe" in metadata:
        recorded = metadata["clahe"]
        try:
            return None if recorded is None else ClaheSettings(**recorded)
        except TypeError as error:
            raise ConfigError(f"{recorded} are no settings of CLAHE") from error
    found: Any = metadata.get("gandtr")
    for key in ("runtime", "data", "transforms"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return clahe_of(found) if isinstance(found, str) else None


def clahe_of(text: str) -> ClaheSettings | None:
    """CLAHE settings of a transform string; None if it has none.

    Raises as :func:`parse_transforms`.
    """
    steps = parse_transforms(text, mean=(0.0,), std=(1.0,)).steps
    return next((step.settings for step in steps if isinstance(step, ApplyClahe)), None)
