"""The one function that opens weights of any format, ours or others'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor

from darkside_cli.errors import CheckpointError, ConfigError, MissingAssetError
from darkside_cli.interop import cirtorch, gandtr
from darkside_cli.interop.folders import direction_of, epoch_of, find_network
from darkside_cli.interop.keras import is_hdf5, read_keras_hed
from darkside_cli.networks import raw
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.catalog import DIRECTIONS
from darkside_cli.networks.configs import TIMM
from darkside_cli.networks.recognise import (
    check_fit,
    expected_shapes,
    normalise_state,
    recognise_state,
    shapes_of,
)
from darkside_cli.networks.state_file import StateFile, read_state_file
from darkside_cli.networks.weights import Checkpoint, from_state_file
from darkside_cli.registry import resolve

_DEFAULT_MEAN_STD = 0.5
#: Keys under which others' training states keep the weights, if the file is not the weights alone.
_WRAPPERS = ("state_dict", "model_state_dict", "model_state")
#: The share of keys in common from which on a state dict is called an altered one of an architecture.
_RESEMBLANCE = 0.5


def open_model(name: str | Path, path: Path, *, direction: str | None = None) -> Checkpoint:
    """Open what ``locate`` found for ``name``: as :func:`open_checkpoint`; files of timm's by the network's name."""
    if str(name).startswith(TIMM):
        return raw.open_timm(str(name), path)
    return open_checkpoint(path, direction=direction)


def open_checkpoint(path: str | Path, *, direction: str | None = None) -> Checkpoint:
    """Open weights: a file of ours, gandtr's or cirtorch's, a bare state dict (CycleGAN, HED …), a run's folder.

    ``direction`` ("day2night", "night2day") chooses among the generators of a folder (see
    :mod:`darkside_cli.interop.folders`); of a file it changes nothing. A folder without a generator stands for its
    descriptor, if no direction is asked for. Formats are told by content: torch's zip and old container,
    safetensors, or Keras's HDF5 (of HED alone). What the network is comes from our metadata or gandtr's
    parameters, and is held against the weights; of a bare state dict it is recognised from keys and shapes.

    Metadata: ``mean`` and ``std`` (where the file does not tell, those of the configuration, else 0.5),
    ``direction`` (our metadata's, else that of a well-known file name, else None; only of generators),
    ``epoch`` if the name tells it, and ``gandtr`` or ``cirtorch`` with what that wrote beside the weights.

    Raises MissingAssetError if there is no such path, or no generator in a folder; CheckpointError if a
    file is damaged, unsafe, of no known network, or does not fit what it says it is.
    """
    path = Path(path)
    if direction is not None and direction not in DIRECTIONS:
        raise ConfigError(f"unknown direction '{direction}'", hint=" or ".join(DIRECTIONS))
    if not path.exists():
        raise MissingAssetError(f"there is no file or folder {path}", hint="check the path")
    if path.is_dir():
        path = find_network(path, direction)
    if is_hdf5(path):
        return read_keras_hed(path)
    try:
        with cirtorch.arrays_allowed():
            file = read_state_file(path)
    except CheckpointError as error:
        if path.name.startswith("learning_"):
            raise CheckpointError(
                error.message, hint="this is gandtr's training state: give generator_X_best.pth beside it"
            ) from error
        raise
    if checkpoint := from_state_file(file):
        return checkpoint
    if gandtr.is_gandtr(file.content):
        return _from_gandtr(gandtr.parse(file.content, path), path)
    if cirtorch.is_cirtorch(file.content):
        return cirtorch.to_checkpoint(cirtorch.parse(file.content, path), path)
    return _from_state_dict(file)


def _from_gandtr(network: gandtr.GandtrNetwork, path: Path) -> Checkpoint:
    shapes = shapes_of(network.state)
    architecture, config = gandtr.identify(network, recognise_state(shapes), path)
    if network.mean_std is not None and hasattr(config, "mean"):
        config = replace(config, **dict(zip(("mean", "std"), network.mean_std, strict=True)))
    metadata = _metadata(path, architecture, config)
    if network.mean_std is not None:
        metadata["mean"], metadata["std"] = network.mean_std
    metadata[gandtr.METADATA_KEY] = {
        "type": network.type,
        "frozen": network.frozen,
        "model": dict(network.model),
        "runtime": dict(network.runtime),
    }
    return Checkpoint(path, "gandtr", architecture, config, network.state, metadata)


def _from_state_dict(file: StateFile) -> Checkpoint:
    state = normalise_state(_bare(file), file.path)
    if lite := raw.open_efficientnet_lite(state, file.path):
        return lite
    shapes = shapes_of(state)
    recognised = recognise_state(shapes)
    if recognised is None:
        _raise_unrecognised(shapes, file.path)
    check_fit(shapes, *recognised, file.path)
    return Checkpoint(file.path, "state-dict", *recognised, state, _metadata(file.path, *recognised))


def _bare(file: StateFile) -> Mapping[str, Any]:
    content = file.content
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{file.path} holds a {type(content).__name__}, not a network's weights")
    inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
    content = inner[0] if len(inner) == 1 else content
    if not any(isinstance(value, Tensor) for value in content.values()):
        shown = ", ".join(map(str, list(content)[:4])) or "nothing"
        raise CheckpointError(f"{file.path} holds no weights; its entries: {shown}")
    return content


def _metadata(path: Path, architecture: str, config: Any) -> dict[str, Any]:
    channels = getattr(config, "in_channels", 3)
    is_generator = ARCHITECTURES.get(architecture).kind == "generator"
    default = [_DEFAULT_MEAN_STD] * channels
    metadata: dict[str, Any] = {
        "mean": list(getattr(config, "mean", default)),
        "std": list(getattr(config, "std", default)),
        "direction": direction_of(path) if is_generator else None,
    }
    if (epoch := epoch_of(path)) is not None:
        metadata["epoch"] = epoch
    return metadata


def _raise_unrecognised(shapes: Mapping[str, tuple[int, ...]], path: Path) -> NoReturn:
    """Say how an unknown state dict differs from what it resembles most, or at least what its keys are."""
    for entry in ARCHITECTURES:
        config = resolve(entry.config)()
        keys = expected_shapes(entry.name, config).keys()
        if len(keys & shapes.keys()) > _RESEMBLANCE * len(keys | shapes.keys()):
            check_fit(shapes, entry.name, config, path)
    raise CheckpointError(
        f"{path} is of no known network; its first keys: {', '.join(list(shapes)[:4])}",
        hint=f"known: {', '.join(ARCHITECTURES.names())}",
    )
