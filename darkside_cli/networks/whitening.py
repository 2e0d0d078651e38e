"""A learned whitening as a thing of its own: its numbers, its file, and descriptors whitened with it.

Our format is one safetensors file with the tensors ``mean`` ``(D,)`` and ``projection`` ``(K, D)`` in float64; its
header has one entry, ``darkside-whitening``, a JSON object with ``version`` and ``metadata``. Others' formats are
read by ``darkside_cli.interop.whitening.read_whitening``, which reads ours, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save as to_safetensors

from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.errors import CheckpointError, ConfigError
from darkside_cli.networks.pooling import WhiteningProjection
from darkside_cli.networks.state_file import StateFile

HEADER_KEY = "darkside-whitening"
FORMAT_VERSION = 1


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
    description = {"version": FORMAT_VERSION, "metadata": dict(whitening.metadata)}
    header = {HEADER_KEY: json.dumps(description, allow_nan=False, ensure_ascii=False, sort_keys=True)}
    data = to_safetensors({"mean": whitening.mean, "projection": whitening.projection}, metadata=header)
    try:
        write_bytes_atomic(path, data, sync=True)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def from_state_file(file: StateFile) -> Whitening | None:
    """Make a whitening of a file in our format; None if it is another's, or no whitening.

    Raises CheckpointError if it is damaged or of a later version.
    """
    try:
        if (description := file.description(HEADER_KEY, FORMAT_VERSION)) is None:
            return None
        mean, projection = (file.content[name].numpy() for name in ("mean", "projection"))
        return Whitening(mean, projection, dict(description["metadata"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file.path} is a damaged whitening: {error}") from error
