"""What a checkpoint says of its run: configuration, versions, machine; and whether two runs are the same."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darkside_cli import __version__
from darkside_cli.errors import UsageError

_NAMED_KEYS = 6


@dataclass(frozen=True)
class RunFacts:
    """What a checkpoint says of its run: the whole configuration, which keys of it may change, and the seed."""

    run: Path
    resolved: Mapping[str, Any]
    changeable: frozenset[str]
    seed: int
    keep: int
    store_every: int


class OtherConfigurationError(UsageError):
    """A run was started with another configuration; ``keys`` are the dotted names of what differs."""

    def __init__(self, run: Path, keys: Mapping[str, tuple[Any, Any]]) -> None:
        shown = [f"{key} was {old!r} and is {new!r}" for key, (old, new) in list(keys.items())[:_NAMED_KEYS]]
        more = f" and {len(keys) - _NAMED_KEYS} more" if len(keys) > _NAMED_KEYS else ""
        super().__init__(
            f"{run} was started with other settings: {', '.join(shown)}{more}",
            hint="give the former ones to go on, use another run folder, or start over with --no-resume",
        )
        self.keys = dict(keys)


def config_differences(
    stored: Mapping[str, Any], now: Mapping[str, Any], changeable: Collection[str]
) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with the old and the new one; ``changeable`` keys, and those below, may.

    A key that one of the two does not have is None there.
    """
    old, new = dict(_flat(stored)), dict(_flat(now))
    return {
        key: (old.get(key), new.get(key))
        for key in {**old, **new}
        if old.get(key) != new.get(key)
        and not any(key == each or key.startswith(f"{each}.") for each in changeable)
    }


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def versions() -> dict[str, str]:
    """Versions of what takes part in the computation."""
    return {
        "darkside": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def device_text(device: torch.device) -> str:
    """Name of ``device``, with the GPU's model."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def as_json(tree: Mapping[str, Any]) -> dict[str, Any]:
    """``tree`` as it comes back from a JSON file: tuples are lists, paths texts."""
    result: dict[str, Any] = json.loads(json.dumps(tree, default=str))
    return result


def finite_only(numbers: Mapping[str, float]) -> dict[str, float]:
    """``numbers`` without NaN and infinities, which JSON does not know."""
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
