"""cirtorch's network files: ``{"meta": {...}, "state_dict"}``, with whitenings inside ``meta``.

``meta`` has ``architecture``, ``pooling``, ``local_whitening``, ``regional``, ``whitening``, ``mean``, ``std`` and
perhaps ``Lw``: ``{data set: {"ss" or "ms": {"m", "P"}}}``, whitenings of single and of multi-scale descriptors.
They are NumPy arrays, which torch's restricted reader refuses. :func:`arrays_allowed` makes it take them, without
letting a file call anything of NumPy's: names of NumPy stand for classes of ours that only keep what they are given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darkside_cli.errors import CheckpointError, ConfigError, DarksideError
from darkside_cli.interop.safe_pickle import plain_copy
from darkside_cli.networks.catalog import IMAGENET_MEAN, IMAGENET_STD
from darkside_cli.networks.recognise import check_fit, normalise_state, shapes_of
from darkside_cli.networks.retrieval_net import RetrievalNetConfig
from darkside_cli.networks.weights import Checkpoint, Whitening

#: Metadata key under which a checkpoint keeps what cirtorch wrote beside its weights.
METADATA_KEY = "cirtorch"

_FLOATS = ("f2", "f4", "f8")
_SCALES = ("ss", "ms")


class _StoredDtype:
    """What a file says of an array's type."""

    def __init__(self, code: Any = None, *flags: Any) -> None:
        del flags
        self.code = code
        self.byte_order = "="

    def __setstate__(self, state: Any) -> None:
        self.byte_order = state[1]

    def numpy(self) -> np.dtype[Any]:
        if self.code not in _FLOATS or self.byte_order not in ("<", ">", "=", "|"):
            raise ValueError(f"an array of the type {self.code!r}")
        dtype: np.dtype[Any] = np.dtype(self.byte_order.replace("|", "=") + self.code)
        return dtype


class _StoredArray:
    """What a file says of an array: its state, not yet looked at."""

    def __init__(self, *arguments: Any) -> None:
        del arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def numpy(self) -> NDArray[np.float64]:
        """The array. Raises ValueError or TypeError if the file describes none of floating-point numbers."""
        _, shape, dtype, fortran, data = self.state
        if not isinstance(dtype, _StoredDtype) or not isinstance(data, bytes):
            raise ValueError("an array of objects")
        flat = np.frombuffer(data, dtype.numpy()).astype(np.float64)
        return flat.reshape(tuple(shape), order="F" if fortran else "C")


def _named(place: str, base: type) -> type:
    module, _, name = place.rpartition(".")
    return type(name, (base,), {"__module__": module})


_STAND_INS: list[Any] = [
    _named("numpy.core.multiarray._reconstruct", _StoredArray),
    _named("numpy._core.multiarray._reconstruct", _StoredArray),
    _named("numpy.ndarray", object),
    _named("numpy.dtype", _StoredDtype),
]


# What torch's reader takes is one list for all threads.
_ONE_AT_A_TIME = RLock()


@contextmanager
def arrays_allowed() -> Iterator[None]:
    """Have torch's restricted reader take files with NumPy arrays while the block runs.

    In the content that is read, they are objects without use to anyone but :func:`parse`.
    """
    with _ONE_AT_A_TIME, torch.serialization.safe_globals(_STAND_INS):
        yield


@dataclass(frozen=True)
class CirtorchNetwork:
    """One network as cirtorch stores it.

    ``whitenings`` are by "<data set>/ss" and "<data set>/ms"; ``meta`` is the rest, as plain values.
    """

    meta: Mapping[str, Any]
    config: RetrievalNetConfig
    state: dict[str, Tensor] = field(repr=False)
    whitenings: Mapping[str, Whitening]


def is_cirtorch(content: Any) -> bool:
    """Whether the content of a torch file is a network of cirtorch's."""
    return (
        isinstance(content, Mapping)
        and isinstance(content.get("meta"), Mapping)
        and isinstance(content.get("state_dict"), Mapping)
        and {"architecture", "pooling"} <= set(content["meta"])
    )


def parse(content: Mapping[str, Any], path: Path) -> CirtorchNetwork:
    """Check and take apart a cirtorch file's content, read with :func:`arrays_allowed`.

    Raises CheckpointError if it describes a network that is not known here, the weights do not fit the
    description, or a whitening is damaged.
    """
    stored = dict(content["meta"])
    whitenings = dict(_whitenings(stored.pop("Lw", None) or {}, path))
    try:
        meta = plain_copy(stored)
        config = config_of(meta)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a meta that is no plain values: {error}") from error
    except DarksideError as error:
        raise CheckpointError(f"{path} describes a network that is not known here: {error}") from error
    state = normalise_state(content["state_dict"], path)
    check_fit(shapes_of(state), "retrieval_net", config, path)
    return CirtorchNetwork(meta, config, state, whitenings)


def config_of(meta: Mapping[str, Any]) -> RetrievalNetConfig:
    """Our configuration for cirtorch's ``meta``; what it leaves out is off.

    Raises UnknownNameError or ConfigError for what has no counterpart here.
    """
    return RetrievalNetConfig(
        backbone=meta["architecture"],
        pooling=meta["pooling"],
        regional=bool(meta.get("regional", False)),
        local_whitening=bool(meta.get("local_whitening", False)),
        whitening=bool(meta.get("whitening", False)),
        mean=tuple(meta.get("mean") or IMAGENET_MEAN),
        std=tuple(meta.get("std") or IMAGENET_STD),
    )


def _whitenings(stored: Any, path: Path) -> Iterator[tuple[str, Whitening]]:
    try:
        for dataset, by_scale in stored.items():
            for scale in _SCALES:
                if scale in by_scale:
                    numbers = by_scale[scale]
                    yield f"{dataset}/{scale}", Whitening(_array(numbers["m"]), _array(numbers["P"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a whitening that cannot be read: {error}") from error


def _array(value: Any) -> NDArray[np.float64]:
    if isinstance(value, Tensor):
        if value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise ValueError(f"an array of shape {tuple(value.shape)} states more numbers than it has")
        return np.asarray(value.detach().double().cpu().numpy())
    if isinstance(value, _StoredArray):
        return value.numpy()
    raise TypeError(f"a {type(value).__name__} in place of an array")


def to_checkpoint(network: CirtorchNetwork, path: Path) -> Checkpoint:
    """Make a checkpoint of it; the whitenings' names are among its metadata, their numbers are not."""
    metadata = {
        "mean": list(network.config.mean),
        "std": list(network.config.std),
        "direction": None,
        "clahe": None,
        METADATA_KEY: {"meta": dict(network.meta), "whitenings": list(network.whitenings)},
    }
    return Checkpoint(path, "cirtorch", "retrieval_net", network.config, network.state, metadata)


def choose_whitening(network: CirtorchNetwork, which: str | None, path: Path) -> Whitening:
    """Whitening called ``which`` ("retrieval-SfM-120k/ms"); None is the multi-scale one if there is one set.

    Raises ConfigError that names those there are.
    """
    names = list(network.whitenings)
    if which is None:
        several = [name for name in names if name.endswith("/ms")] or names
        which = several[0] if len(several) == 1 else None
    if which is None or which not in network.whitenings:
        wanted = "one whitening" if which is None else f"a whitening '{which}'"
        raise ConfigError(f"{path} does not hold {wanted}", hint=f"it has: {', '.join(names) or 'none'}")
    return network.whitenings[which]
