"""Networks of the package timm (PyTorch image models, Wightman) as backbones: "timm:NAME".

All that give one feature map or one row of tokens are taken (CoaT, CrossViT and EfficientViM give several):
convolutional ones give their last feature maps, transformers their patch tokens as a map, or their class token. Where
a network takes images of one size alone, or sides of certain multiples, it sees them resized. The package is the extra
``darkside-cli[timm]``.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.errors import (
    ConfigError,
    DarksideError,
    MissingAssetError,
    UnknownNameError,
    UsageError,
)
from darkside_cli.networks.configs import TIMM
from darkside_cli.networks.recognise import Uninitialised

_OPTIONS: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
    {},
)
"""What a transformer is asked for so that it takes images of any size; not all know all of it."""
_HEADLESS: tuple[dict[str, Any], ...] = ({"num_classes": 0, "global_pool": ""}, {"num_classes": 0}, {})
_ONE_SIZE = ("mvitv2_",)
"""Families that look up what an image of another size has none of, which shows with real numbers alone."""
_OF_SHAPES = re.compile(r"\bsizes? of tensor|\bshapes?\b|must match|out of (bounds|range)")
_STEP_PX = 32
_ODD_PX, _STEPS_PX = (97, 131), (3 * _STEP_PX, 5 * _STEP_PX)
_SIDES_PX = (1, 8, 16, 32, 48, 64, 75, 96, 128, 256)


@dataclass(frozen=True)
class TimmFacts:
    """What is found out of a network by running it without weights.

    ``options`` are how it is made. Images have sides that are multiples of ``step_px``, or the size ``fixed_px``
    (height, width). ``tokens`` says that it is a transformer, with ``prefix`` tokens before those of the patches, the
    first of which is its ``class_token`` if it has one (and registers, which many have, if not).
    """

    options: tuple[tuple[str, Any], ...]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    step_px: int = 1
    fixed_px: tuple[int, int] | None = None
    tokens: bool = False
    prefix: int = 0
    class_token: bool = False


def require_timm() -> ModuleType:
    """The package. Raises MissingAssetError, with the command that brings it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import timm
            import timm.data
    except ImportError as error:
        raise MissingAssetError(
            f"networks of timm need the package timm ({error})", hint="pip install 'darkside-cli[timm]'"
        ) from error
    package: ModuleType = timm
    return package


def check_name(backbone: str) -> str:
    """What timm calls ``backbone``. Raises UnknownNameError, with near matches, if it has no such network."""
    timm, name = require_timm(), backbone.removeprefix(TIMM)
    models = timm.list_models()
    if name in models or name in (known := [*models, *timm.list_pretrained()]):
        return name
    network, _, setting = name.partition(":")
    if setting and network in known:
        raise UsageError(
            f"'{setting}' is no part of a name",
            hint=f"{TIMM}{network}, and of poolings {TIMM}{network}:pooling=cls",
        )
    near = get_close_matches(name, known, n=3)
    if near:
        raise UnknownNameError("network of timm", name, near)
    raise UsageError(
        f"timm has no network '{name}'", hint="its list: python -c 'import timm; print(timm.list_models())'"
    )


@cache
def facts(backbone: str) -> TimmFacts:
    """Find out what ``backbone`` is. Raises as :func:`check_name`, ConfigError if it gives no features."""
    name = check_name(backbone)
    try:
        return _found_out(name)
    except (DarksideError, MemoryError):
        raise
    except Exception as error:  # code of others, of hundreds of networks
        raise _unusable(backbone, error) from error


def _unusable(backbone: str, error: Exception, at: str = "") -> ConfigError:
    lines = str(error).strip().splitlines()
    reason = ": ".join([type(error).__name__, *lines[:1]])
    return ConfigError(f"{backbone} cannot be used{at}: {reason}", hint="take another network")


def _found_out(name: str) -> TimmFacts:
    timm = require_timm()
    with torch.device("meta"), Uninitialised():
        model, options = _make(name)
    data = timm.data.resolve_data_config(model=model)
    native = tuple(data["input_size"][1:])
    known: dict[str, Any] = {
        "options": tuple(options.items()),
        "mean": tuple(data["mean"]),
        "std": tuple(data["std"]),
    }
    y = _try(model, native)
    if y is None or y.ndim not in (3, 4):
        raise ConfigError(
            f"{TIMM}{name} cannot be used: it gives neither one feature map nor one row of tokens",
            hint="take another network",
        )
    if y.ndim == 3:
        known["tokens"], known["prefix"] = True, _prefix(model, y.shape[1], native)
        own = {name.rpartition(".")[2] for name, _ in model.named_parameters()}
        known["class_token"] = known["prefix"] > 0 and ("cls_token" in own or "reg_token" not in own)
    known["channels"] = y.shape[-1] if y.ndim == 3 or _channels_last(model) else y.shape[1]
    if name.startswith(_ONE_SIZE):
        known["fixed_px"] = native
    elif _try(model, _ODD_PX) is None:
        known |= {"fixed_px": native} if _try(model, _STEPS_PX) is None else {"step_px": _STEP_PX}
    return TimmFacts(**known)


def _make(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """The network without its classifier, and the options it was made with."""
    problem: Exception | None = None
    for headless in _HEADLESS:
        for sizes in _OPTIONS:
            try:
                return require_timm().create_model(name, pretrained=False, **headless, **sizes).eval(), {
                    **headless,
                    **sizes,
                }
            except MemoryError:
                raise
            except Exception as error:  # an option that it does not know, or a fault of its own
                problem = error
    assert problem is not None  # noqa: S101 - no attempt came back
    raise _unusable(f"{TIMM}{name}", problem) from problem


def _try(model: nn.Module, size_px: tuple[int, ...]) -> Tensor | None:
    """What a network on the meta device makes of an image; None if it does not take images of that size."""
    try:
        with torch.device("meta"), torch.no_grad():
            y = model.forward_features(torch.empty(1, 3, *size_px))  # type: ignore[operator]
    except MemoryError:
        raise
    except Exception:  # whatever its code says of such a size
        return None
    return y if isinstance(y, Tensor) and y.numel() else None


def _channels_last(model: nn.Module) -> bool:
    return str(getattr(model, "output_fmt", "")).endswith("NHWC")


def _prefix(model: nn.Module, count: int, size_px: tuple[int, ...]) -> int:
    """Tokens before those of the patches; not all networks tell of their class token."""
    told = int(getattr(model, "num_prefix_tokens", 0))
    if told or count < 2:
        return told
    height, width = _grid(count, *size_px)
    return int(max(height, width) > 2 * min(height, width) * max(size_px) / min(size_px))


def _grid(count: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of so many patches of an image: what is nearest to its proportions."""
    rows = [each for each in range(1, count + 1) if count % each == 0]
    best = min(rows, key=lambda each: abs(math.log(each * each * width / (count * height))))
    return best, count // best


class TimmFeatures(nn.Module):
    """A network of timm, ``(B, 3, H, W)`` to ``(B, C, h, w)``, or to its class token ``(B, C, 1, 1)``.

    Raises ConfigError if the class token is wanted of a network that has none, else as :func:`facts`.
    """

    def __init__(self, backbone: str, *, class_token: bool = False) -> None:
        super().__init__()
        self.backbone, self.class_token = backbone, class_token
        self.facts = facts(backbone)
        if class_token and not self.facts.class_token:
            raise ConfigError(f"{backbone} has no class token", hint=f"pool its maps: {backbone}:pooling=gem")
        self.model = require_timm().create_model(
            check_name(backbone), pretrained=False, **dict(self.facts.options)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features of images, normalised by ``facts.mean`` and ``facts.std``."""
        x = _resized(x, self.facts)
        y = self._seen(x)
        if not self.facts.tokens:
            return y.permute(0, 3, 1, 2) if _channels_last(self.model) else y
        if self.class_token:
            return y[:, 0, :, None, None]
        y = y[:, self.facts.prefix :].transpose(1, 2)
        return y.reshape(*y.shape[:2], *_grid(int(y.shape[2]), int(x.shape[2]), int(x.shape[3])))

    def _seen(self, x: Tensor) -> Tensor:
        """What the network makes of images; where it fails on their size, that is told."""
        try:
            y: Tensor = self.model.forward_features(x)
        except (RuntimeError, IndexError, ValueError, AssertionError) as error:
            if isinstance(error, RuntimeError) and not _OF_SHAPES.search(str(error).lower()):
                raise  # no memory, or a fault of the device
            raise _unusable(self.backbone, error, f" on {x.shape[3]}x{x.shape[2]} pixels") from error
        return y

    def extra_repr(self) -> str:
        """Show the name."""
        return self.backbone


def _resized(x: Tensor, facts: TimmFacts) -> Tensor:
    """``x`` at the nearest size that the network takes."""
    step = facts.step_px
    if facts.fixed_px is None and step == 1:
        return x
    height, width = (max(1, round(int(side) / step)) * step for side in x.shape[-2:])
    size = facts.fixed_px or (height, width)
    if size == (int(x.shape[-2]), int(x.shape[-1])):
        return x
    if torch.onnx.is_in_onnx_export():  # which knows no antialiasing
        rows, columns = (
            _weights(int(side), wanted).float() for side, wanted in zip(x.shape[-2:], size, strict=True)
        )
        return (rows @ x.float() @ columns.T).to(x.dtype)
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def _weights(side: int, wanted: int) -> Tensor:
    """The matrix ``(wanted, side)`` that resizes one side as ``F.interpolate`` does, a constant of what is traced."""
    lines = torch.eye(side, dtype=torch.float64)[None, None]
    resized = F.interpolate(lines, (wanted, side), mode="bilinear", align_corners=False, antialias=True)
    return torch.from_numpy(resized[0, 0].numpy().copy())


@cache
def smallest_side_px(backbone: str) -> int:
    """Height and width from which on there are features."""
    found = facts(backbone)
    if found.fixed_px is not None or found.step_px > 1:
        return 1
    with torch.device("meta"), Uninitialised():
        model, _ = _make(check_name(backbone))
    return next((side for side in _SIDES_PX if _try(model, (side, side)) is not None), _ODD_PX[1])
