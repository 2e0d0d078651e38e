"""What a checkpoint says of its run: configuration, versions, machine; and whether two runs are the same."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darkside_cli import __version__
from darkside_cli.errors import UsageError
from darkside_cli.training.checkpoint import Position

_NAMED_KEYS = 6


@dataclass
class Progress:
    """How far a run is, and what it has reached. ``seconds`` is the time of all its sessions, to milliseconds."""

    position: Position = field(default_factory=Position)
    best_epoch: int | None = None
    best_score: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a checkpoint says of its run: the whole configuration, which keys of it may change, seed, processes."""

    run: Path
    resolved: Mapping[str, Any]
    changeable: frozenset[str]
    seed: int
    processes: int
    device: torch.device

    def meta(self, progress: Progress, losses: Mapping[str, tuple[float, int]]) -> dict[str, Any]:
        """Content of a checkpoint's ``meta.json``; ``losses`` are sums and counts of the running epoch."""
        return {
            "epoch": progress.position.epoch,
            "step": progress.position.step,
            "seed": self.seed,
            "processes": self.processes,
            "config": as_json(self.resolved),
            "versions": versions(),
            "machine": {
                "system": platform.platform(),
                "device": device_text(self.device),
                "cpus": os.cpu_count(),
            },
            "scores": finite_only(progress.scores),
            "losses": finite_only({name: total / count for name, (total, count) in losses.items()}),
            "best": {"epoch": progress.best_epoch, "score": progress.best_score},
            # All that two runs of the same do not have in common; nothing of it is in the other files.
            "clock": {
                "seconds": round(progress.seconds, 3),
                "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            },
        }

    def of_network(self, progress: Progress) -> dict[str, Any]:
        """What the file of a network says of the run."""
        return {
            "epoch": progress.position.epoch,
            "step": progress.position.step,
            "seed": self.seed,
            "scores": finite_only(progress.scores),
            "versions": versions(),
        }

    def check_same(self, meta: Mapping[str, Any]) -> None:
        """Raise OtherConfigurationError if a checkpoint's ``meta`` is of a run with other settings or processes."""
        differences = config_differences(meta["config"], as_json(self.resolved), self.changeable)
        if meta["processes"] != self.processes:
            differences["processes"] = (meta["processes"], self.processes)
        if differences:
            raise OtherConfigurationError(self.run, differences)


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
