"""Which network a state dict is of, and whether it fits: told from keys and shapes alone, without making weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from darkside_cli.errors import CheckpointError, ConfigError
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.registry import resolve

_NAMED_KEYS = 4
# Of a network with one damaged tensor; the smallest has six.
_NEARLY_ALL = 0.8


def check_fit(shapes: Mapping[str, tuple[int, ...]], architecture: str, config: Any, path: Path) -> None:
    """See that a state dict with these keys and shapes is one of ``architecture`` with ``config``.

    Raises CheckpointError that says what differs. Costs no memory.
    """
    raise_differences(expected_shapes(architecture, config), shapes, architecture, path)


def expected_shapes(architecture: str, config: Any) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the network's state dict, in order, without making its weights."""
    return dict(_shapes(ARCHITECTURES.get(architecture).target, config))


@lru_cache(maxsize=16)  # opening a file asks for the same ones several times
def _shapes(target: str, config: Any) -> tuple[tuple[str, tuple[int, ...]], ...]:
    with torch.device("meta"), Uninitialised():
        return tuple(shapes_of(resolve(target)(config).state_dict()).items())


class Uninitialised(TorchFunctionMode):
    """Networks made inside do not draw their weights: these are loaded, or not looked at.

    That saves most of the time of making a large one, and on the meta device torch's loading of its symbolic
    mathematics. torch draws some numbers again until all are within limits, which those that happen to be in memory
    may never be: there all are the mean, or the least.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        of_init = getattr(func, "__module__", "") == "torch.nn.init"
        if of_init or name in ("normal_", "uniform_"):
            tensor = args[0] if args else kwargs["tensor"]
            if not of_init:
                first = kwargs.get("mean" if name == "normal_" else "from", 0.0)
                tensor.fill_(args[1] if len(args) > 1 else first)
            return tensor
        return func(*args, **kwargs)


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor, by key."""
    return {key: tuple(value.shape) for key, value in state.items()}


def recognise_state(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, Any] | None:
    """Tell which architecture, in which configuration, a state dict belongs to; None if it is none of ours.

    Recognisers look at a few keys. One whose network has exactly these keys and shapes is preferred; else what
    most of the tensors fit is returned, so that :func:`check_fit` names the few that are wrong and not the many
    that are not, even where a recogniser looked at a wrong one.
    """
    recognised: list[tuple[str, Any]] = []
    for entry in ARCHITECTURES:
        try:
            with Uninitialised():  # some compare with networks of their own making
                config = resolve(entry.recogniser)(shapes)
        except ConfigError:  # sizes no network can have
            continue
        if config is None:
            continue
        if expected_shapes(entry.name, config) == dict(shapes):
            return entry.name, config
        recognised.append((entry.name, config))
    return _closest(shapes, recognised)


def _closest(
    shapes: Mapping[str, tuple[int, ...]], recognised: list[tuple[str, Any]]
) -> tuple[str, Any] | None:
    """Architecture and configuration that agree with most tensors of a state dict that none agrees with wholly.

    What was recognised is tried, then the same with one value as it usually is, then every architecture as it
    usually is, which must agree with nearly all.
    """
    usual = {entry.name: resolve(entry.config)() for entry in ARCHITECTURES}
    variants = [
        (name, replace(config, **{field.name: getattr(usual[name], field.name)}))
        for name, config in recognised
        for field in fields(config)
        if getattr(config, field.name) != getattr(usual[name], field.name)
    ]

    def agreement(candidate: tuple[str, Any]) -> float:
        try:
            expected = expected_shapes(*candidate)
        except ConfigError:
            return 0.0
        return sum(shapes.get(key) == shape for key, shape in expected.items()) / max(
            len(expected), len(shapes)
        )

    # Of two that agree alike, what is usual is likelier.
    best = max([*variants, *recognised], key=agreement, default=None)
    guess = max(usual.items(), key=agreement)
    if agreement(guess) >= _NEARLY_ALL and (best is None or agreement(guess) > agreement(best)):
        return guess
    return best


def normalise_state(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Bring a foreign state dict to our keys.

    The prefix ``module.`` of parallel wrappers is taken off. Running statistics of norms without a scale are
    dropped: instance norms of old torch versions kept them though nothing read them. Where batch norms of old
    versions have no ``num_batches_tracked``, it is put in as zero.

    Raises CheckpointError if something is not a plain tensor.
    """
    result = {str(key): _plain(str(key), value, path) for key, value in state.items()}
    while result and all(key.startswith("module.") for key in result):
        result = {key.removeprefix("module."): value for key, value in result.items()}
    for key in list(result):
        prefix, _, name = key.rpartition(".")
        if name not in ("running_mean", "running_var", "num_batches_tracked"):
            continue
        if f"{prefix}.weight" not in result:
            del result[key]
        elif name == "running_var" and f"{prefix}.num_batches_tracked" not in result:
            result[f"{prefix}.num_batches_tracked"] = torch.tensor(0)
    return result


def _plain(key: str, value: Any, path: Path) -> Tensor:
    if not isinstance(value, Tensor):
        raise CheckpointError(f"{path} holds a {type(value).__name__} under '{key}', not a tensor")
    if value.is_meta or value.is_quantized or value.is_complex() or value.layout != torch.strided:
        raise CheckpointError(f"{path} holds a tensor of an unsupported kind under '{key}'")
    return value.detach()


def raise_differences(
    expected: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    architecture: str,
    path: Path,
) -> None:
    """Raise CheckpointError that says what differs, if the keys and shapes ``found`` are not those ``expected``."""
    differences = []
    if missing := [key for key in expected if key not in found]:
        differences.append(f"missing {_some(missing)}")
    if unexpected := [key for key in found if key not in expected]:
        differences.append(f"unexpected {_some(unexpected)}")
    misshapen = [
        f"{key} is {_size(found[key])}, expected {_size(shape)}"
        for key, shape in expected.items()
        if key in found and found[key] != shape
    ]
    if misshapen:
        differences.append(_some(misshapen))
    if differences:
        raise CheckpointError(
            f"{path} does not fit {architecture}: {'; '.join(differences)}",
            hint="the file is of another network, or incomplete",
        )


def _some(items: list[str]) -> str:
    more = len(items) - _NAMED_KEYS
    return ", ".join(items[:_NAMED_KEYS]) + (f" and {more} more" if more > 0 else "")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
