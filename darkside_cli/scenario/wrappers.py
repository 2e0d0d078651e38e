"""The reference's wrappers: what happens to images before a network sees them, and to its results afterwards.

They are listed in a string (``rgb2bgr_pre,meanstd_pre:[[…],[…]]:[[…],[…]]``) or as a mapping from
``<number>_<name>`` to their options. Before the network they run in that order, behind it in the reverse one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.images.clahe import ClaheSettings, apply_clahe
from darkside_cli.interop.transform_words import split_outside_brackets

PAPER_SCALES = (1.0, 2**-0.5, 0.5)
"""Scales that ``cirmultiscale`` means by True."""


@dataclass(frozen=True)
class MeanStd:
    """Mean and standard deviation per channel of values in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_unit(self, x: Tensor) -> Tensor:
        """Normalised ``(B, C, H, W)`` back to [0, 1]."""
        return x * self._view(self.std, x) + self._view(self.mean, x)

    def from_unit(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)`` in [0, 1]."""
        return (x - self._view(self.mean, x)) / self._view(self.std, x)

    @staticmethod
    def _view(values: Sequence[float], x: Tensor) -> Tensor:
        return x.new_tensor(values).view(1, -1, 1, 1)


@dataclass(frozen=True)
class Wrapper:
    """One wrapper. Those that do not change images here are settings for somebody else to act upon."""

    changes_images = True

    def before(self, x: Tensor) -> Tensor:
        """What the network gets instead of ``x`` ``(B, C, H, W)``."""
        return x

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        """What is made of the network's ``y``; ``x`` is what :meth:`before` was given."""
        del x
        return y


@dataclass(frozen=True)
class PadDivisible(Wrapper):
    """Sides to multiples of ``divisor``: the border is repeated, half (rounded down) of it before the image.

    (It is called reflectpad, but repeats the outermost pixels.) The result is cut back.
    """

    divisor: int

    def _added(self, x: Tensor) -> tuple[int, int]:
        return -x.shape[-2] % self.divisor, -x.shape[-1] % self.divisor

    def before(self, x: Tensor) -> Tensor:
        """Pad."""
        rows, columns = self._added(x)
        padding = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        return F.pad(x, padding, mode="replicate")

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        """Cut the padding off."""
        rows, columns = self._added(x)
        top, left = rows // 2, columns // 2
        return y[..., top : top + x.shape[-2], left : left + x.shape[-1]]


@dataclass(frozen=True)
class MeanStdBefore(Wrapper):
    """From one normalisation to another, before the network."""

    source: MeanStd
    target: MeanStd

    def before(self, x: Tensor) -> Tensor:
        """Change the normalisation."""
        return self.target.from_unit(self.source.to_unit(x))


@dataclass(frozen=True)
class MeanStdAfter(Wrapper):
    """From one normalisation to another, behind the network."""

    source: MeanStd
    target: MeanStd

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        """Change the normalisation."""
        del x
        return self.target.from_unit(self.source.to_unit(y))


@dataclass(frozen=True)
class ClaheAfter(Wrapper):
    """CLAHE of the network's images, which are and stay normalised with ``normalisation``."""

    normalisation: MeanStd
    settings: ClaheSettings = field(default_factory=ClaheSettings)

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        """Equalise every image."""
        del x
        images = self.normalisation.to_unit(y).detach().float().permute(0, 2, 3, 1).cpu().numpy()
        equalised = np.stack([apply_clahe(np.ascontiguousarray(image), self.settings) for image in images])
        return self.normalisation.from_unit(torch.from_numpy(equalised).permute(0, 3, 1, 2).to(y))


@dataclass(frozen=True)
class SwapColours(Wrapper):
    """RGB to BGR before the network."""

    def before(self, x: Tensor) -> Tensor:
        """Reverse the channels."""
        return x.flip(1)


@dataclass(frozen=True)
class TupleBatch(Wrapper):
    """Tuples of images are worked on one image at a time: a matter of the training loop."""

    changes_images = False


@dataclass(frozen=True)
class RatioPassThrough(Wrapper):
    """Only images with a label like ``label``, and of them the share ``ratio``, go through the network.

    See :func:`darkside_cli.datasets.selection.chosen_by_name` and ``chosen_by_label``.
    """

    ratio: float
    label: str
    changes_images = False


@dataclass(frozen=True)
class RandomPassThrough(Wrapper):
    """Images go through the network with this probability (``chosen_at_random``)."""

    probability: float
    changes_images = False


@dataclass(frozen=True)
class MultiScale(Wrapper):
    """Descriptors of several scales are averaged."""

    scales: tuple[float, ...]
    changes_images = False


@dataclass(frozen=True)
class Whiten(Wrapper):
    """Descriptors are whitened with the file ``whitening`` and cut to ``dimensions``."""

    whitening: str | None
    dimensions: int | None
    changes_images = False


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _mean_std(value: Any) -> MeanStd:
    mean, std = _json(value)
    return MeanStd(tuple(map(float, mean)), tuple(map(float, std)))


def _clahe(mean_std: Any, clip_limit: Any = 1.0, grid_size: Any = 8) -> ClaheAfter:
    return ClaheAfter(_mean_std(mean_std), ClaheSettings(float(clip_limit), int(grid_size)))


def _multiscale(scales: Any) -> MultiScale:
    scales = _json(scales.lower() if isinstance(scales, str) else scales)
    if isinstance(scales, bool):
        return MultiScale(PAPER_SCALES if scales else (1.0,))
    return MultiScale(tuple(float(scale) for scale in scales))


_WRAPPERS: dict[str, Callable[..., Wrapper]] = {
    "reflectpad_divisible": lambda divisor: PadDivisible(int(divisor)),
    "meanstd_pre": lambda source, target: MeanStdBefore(_mean_std(source), _mean_std(target)),
    "meanstd_post": lambda source, target: MeanStdAfter(_mean_std(source), _mean_std(target)),
    "clahepost": _clahe,
    "rgb2bgr_pre": lambda: SwapColours(),
    "cirfaketuplebatch": lambda: TupleBatch(),
    "cir_ratio_pass_through": lambda ratio, label="": RatioPassThrough(float(ratio), str(label)),
    "cir_random_pass_through": lambda probability: RandomPassThrough(float(probability)),
    "cirmultiscale": lambda scales=True: _multiscale(scales),
    "cirwhiten": lambda whitening=None, dimensions=None: Whiten(whitening, dimensions),
}


def parse_wrappers(text_or_options: str | Mapping[str, Any] | None) -> tuple[Wrapper, ...]:
    """Wrappers of a string, or of a mapping (sorted by its keys), in the order in which they are listed.

    Raises UnknownNameError for a wrapper that does not exist (near matches named), ConfigError for options
    that it does not take.
    """
    if not text_or_options:
        return ()
    if isinstance(text_or_options, str):
        listed: list[tuple[str, list[str], dict[str, Any]]] = [
            (name, arguments, {})
            for name, *arguments in map(_parts, split_outside_brackets(text_or_options, ","))
        ]
    else:
        listed = [
            (key.partition("_")[2] if key.partition("_")[0].isdigit() else key, [], dict(options or {}))
            for key, options in sorted(text_or_options.items())
        ]
    return tuple(_make(name, arguments, options) for name, arguments, options in listed)


def _make(name: str, arguments: Sequence[str], options: Mapping[str, Any]) -> Wrapper:
    if name not in _WRAPPERS:
        raise UnknownNameError("wrapper", name, _WRAPPERS)
    try:
        return _WRAPPERS[name](*arguments, **options)
    except (TypeError, ValueError) as error:
        given = ":".join([name, *arguments]) if arguments else f"{name} {dict(options)}"
        raise ConfigError(f"the wrapper '{given}' has options that {name} does not take") from error


def _parts(text: str) -> list[str]:
    return split_outside_brackets(text, ":")


class WrappedNetwork(nn.Module):
    """A network with the wrappers around it that change images.

    Raises ConfigError for wrappers that are settings: whoever parsed them must act upon them.
    """

    def __init__(self, network: nn.Module, wrappers: Sequence[Wrapper]) -> None:
        super().__init__()
        for wrapper in wrappers:
            if not wrapper.changes_images:
                raise ConfigError(f"{wrapper} cannot be put around a network")
        self.network = network
        self.wrappers = tuple(wrappers)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` through the wrappers, the network, and the wrappers in reverse order."""
        seen = []
        for wrapper in self.wrappers:
            seen.append(x)
            x = wrapper.before(x)
        y: Tensor = self.network(x)
        for wrapper, given in zip(reversed(self.wrappers), reversed(seen), strict=True):
            y = wrapper.after(y, given)
        return y
