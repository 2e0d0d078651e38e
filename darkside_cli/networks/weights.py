"""Checkpoints: a network's weights together with what it is, as files of ours and in memory; and learned whitenings.

The format of a checkpoint is one safetensors file. Its header has one entry, ``darkside``, a JSON object with
``version`` (of this format), ``architecture``, ``config`` and ``metadata``. Formats of other projects are opened by
``darkside_cli.interop.load.open_checkpoint``, which opens ours, too.

Metadata keys with a meaning (all optional): ``mean`` and ``std`` (per channel, of RGB in [0, 1]),
``direction`` ("day2night", "night2day" or None), ``clahe`` (what a descriptor's images go through:
``{"clip_limit", "grid_size"}`` or None), ``raw`` (whether a descriptor is a backbone without training), ``epoch``,
``method``, ``scores``, ``versions``, ``licence``.

A whitening is one safetensors file with the tensors ``mean`` ``(D,)`` and ``projection`` ``(K, D)`` in float64; its
header has one entry, ``darkside-whitening``, a JSON object with ``version`` and ``metadata``. Others' formats are
read by ``darkside_cli.interop.whitening.read_whitening``, which reads ours, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save as to_safetensors
from safetensors.torch import save_file
from torch import Tensor, nn

from darkside_cli.atomic import temporary_beside, write_bytes_atomic
from darkside_cli.errors import CheckpointError, ConfigError, UnknownNameError
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.pooling import WhiteningProjection
from darkside_cli.networks.recognise import Uninitialised, check_fit, raise_differences, shapes_of
from darkside_cli.networks.state_file import StateFile
from darkside_cli.networks.state_limits import require_finite, require_normalisation
from darkside_cli.registry import resolve

HEADER_KEY = "darkside"
FORMAT_VERSION = 1
WHITENING_KEY = "darkside-whitening"
WHITENING_VERSION = 1
RAW = "raw"


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what they belong to.

    ``format`` is the file's: "darkside", "gandtr", "cirtorch", "keras" or "state-dict"; ``architecture`` a name in
    ``ARCHITECTURES`` and ``config`` an object of its configuration class. ``state`` maps the network's own
    keys (no ``module.``) to tensors on the CPU, in the types they are stored in. ``metadata`` is JSON-able;
    see the module's docstring. Raises CheckpointError for a mean or std that no input can have.
    """

    path: Path
    format: str
    architecture: str
    config: Any
    state: dict[str, Tensor] = field(repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_normalisation(self.metadata, self.path)

    @property
    def kind(self) -> str:
        """What the network is: "generator", "discriminator", "edge-detector", …"""
        return ARCHITECTURES.get(self.architecture).kind


def save_checkpoint(
    path: str | Path,
    module_or_state: nn.Module | Mapping[str, Tensor],
    *,
    architecture: str,
    config: Any,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint in our format, whole or not at all, and return its path.

    The same arguments give the same bytes. ``metadata`` must be JSON-able (no NaN). Raises UnknownNameError
    for an unknown architecture, CheckpointError if the weights do not fit ``config`` or cannot be written,
    TypeError or ValueError for metadata that is no JSON.
    """
    path = Path(path)
    state = module_or_state.state_dict() if isinstance(module_or_state, nn.Module) else module_or_state
    check_fit(shapes_of(state), architecture, config, path)
    description = {
        "version": FORMAT_VERSION,
        "architecture": architecture,
        "config": asdict(config),
        "metadata": dict(metadata or {}),
    }
    header = {HEADER_KEY: json.dumps(description, allow_nan=False, ensure_ascii=False)}
    # Cloned, because safetensors takes neither views of one storage nor strides of its own.
    tensors = {
        key: value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for key, value in state.items()
    }
    try:
        with temporary_beside(path, sync=True) as temporary:
            save_file(tensors, temporary, metadata=header)
    except (OSError, SafetensorError) as error:  # safetensors has its own for a full disk
        raise CheckpointError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    return path


def save_network(path: Path, name: str, module: nn.Module, metadata: Mapping[str, Any]) -> None:
    """Write a network of a task as a checkpoint of ours: weights, architecture, configuration, ``metadata``."""
    facts = {"network": name, **metadata}
    save_checkpoint(path, module, architecture=architecture_of(module), config=module.config, metadata=facts)


def architecture_of(module: nn.Module) -> str:
    """Tell the registered name of the module's class, else the name of the class."""
    place = f"{type(module).__module__}:{type(module).__qualname__}"
    return next((entry.name for entry in ARCHITECTURES if entry.target == place), type(module).__name__)


def from_state_file(file: StateFile) -> Checkpoint | None:
    """Make a checkpoint of a file in our format; None if it is in another.

    Raises CheckpointError if its header says nothing darkside understands, or its tensors do not fit it.
    """
    path = file.path
    try:
        if (description := file.description(HEADER_KEY, FORMAT_VERSION)) is None:
            return None
        architecture = str(description["architecture"])
        values, metadata = dict(description["config"]), dict(description["metadata"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has a damaged description: {error!r}") from error
    try:
        # Its values are held against their bounds: nothing is built that no network can be.
        config = _config_from_json(architecture, values)
    except (ConfigError, UnknownNameError) as error:
        raise CheckpointError(
            f"{path} describes a network that this darkside does not have: {error}",
            hint="update darkside if a later one wrote it",
        ) from error
    check_fit(shapes_of(file.content), architecture, config, path)
    return Checkpoint(path, "darkside", architecture, config, file.content, metadata)


def _config_from_json(architecture: str, values: Mapping[str, Any]) -> Any:
    config_class = resolve(ARCHITECTURES.get(architecture).config)
    unknown = sorted(set(values) - {each.name for each in fields(config_class)})
    if unknown:
        raise ConfigError(f"{architecture} has no setting {', '.join(unknown)}")
    return config_class(**values)


def build_network(checkpoint: Checkpoint) -> nn.Module:
    """Build the checkpoint's network on the CPU, in float32 and eval mode.

    Weights stored in other types are converted. torch's random stream is left as it was. Raises
    CheckpointError that names the first missing, unexpected and misshapen keys if the weights do not fit, and the
    tensor that has numbers which are not finite.
    """
    entry = ARCHITECTURES.get(checkpoint.architecture)
    with torch.random.fork_rng(devices=[]), Uninitialised():
        network: nn.Module = resolve(entry.target)(checkpoint.config)
    raise_differences(
        shapes_of(network.state_dict()), shapes_of(checkpoint.state), checkpoint.architecture, checkpoint.path
    )
    require_finite(checkpoint.state, checkpoint.path)
    network.load_state_dict(checkpoint.state)
    return network.eval()


# Whitenings: each a thing of its own, with its numbers and its file.


@dataclass(frozen=True, eq=False)
class Whitening:
    """``y = projection (d - mean)``, then unit length.

    ``mean`` is ``(D,)``, ``projection`` ``(K, D)``, both float64; rows of the projection come in the order of
    their importance, so that the first of them alone are a whitening to fewer dimensions. ``metadata`` is
    JSON-able. Raises ValueError for shapes that do not belong together and numbers that are not finite.
    """

    mean: NDArray[np.float64]
    projection: NDArray[np.float64]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mean = np.ascontiguousarray(self.mean, dtype=np.float64).reshape(-1)
        projection = np.ascontiguousarray(self.projection, dtype=np.float64)
        if projection.ndim != 2 or projection.shape[1] != mean.shape[0] or projection.size == 0:
            raise ValueError(f"mean {np.shape(self.mean)} and projection {projection.shape} are no whitening")
        if not (np.isfinite(mean).all() and np.isfinite(projection).all()):
            raise ValueError("a whitening has numbers that are not finite")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "projection", projection)

    @property
    def in_dim(self) -> int:
        """Dimensions of the descriptors it takes."""
        return int(self.projection.shape[1])

    @property
    def out_dim(self) -> int:
        """Dimensions of the descriptors it gives."""
        return int(self.projection.shape[0])

    def reduced(self, dim: int | None) -> Whitening:
        """Give the whitening to the first ``dim`` dimensions; None keeps all.

        Raises ConfigError if there are not as many.
        """
        if dim is None or dim == self.out_dim:
            return self
        if not 1 <= dim <= self.out_dim:
            raise ConfigError(
                f"{dim} dimensions are not to be had of a whitening that gives {self.out_dim}",
                hint=f"ask for 1 to {self.out_dim}",
            )
        return Whitening(self.mean, self.projection[:dim], self.metadata)

    def layer(self) -> WhiteningProjection:
        """Make the layer that applies it, in float32, to descriptors ``(B, D)``."""
        return WhiteningProjection(torch.from_numpy(self.mean), torch.from_numpy(self.projection))


def save_whitening(path: str | Path, whitening: Whitening) -> Path:
    """Write a whitening in our format, whole or not at all, and return its path.

    Raises CheckpointError if it cannot be written, TypeError or ValueError for metadata that is no JSON.
    """
    path = Path(path)
    description = {"version": WHITENING_VERSION, "metadata": dict(whitening.metadata)}
    header = {WHITENING_KEY: json.dumps(description, allow_nan=False, ensure_ascii=False, sort_keys=True)}
    data = to_safetensors({"mean": whitening.mean, "projection": whitening.projection}, metadata=header)
    try:
        write_bytes_atomic(path, data, sync=True)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def whitening_from_state_file(file: StateFile) -> Whitening | None:
    """Make a whitening of a file in our format; None if it is another's, or no whitening.

    Raises CheckpointError if it is damaged or of a later version.
    """
    try:
        if (description := file.description(WHITENING_KEY, WHITENING_VERSION)) is None:
            return None
        mean, projection = (file.content[name].numpy() for name in ("mean", "projection"))
        return Whitening(mean, projection, dict(description["metadata"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file.path} is a damaged whitening: {error}") from error
