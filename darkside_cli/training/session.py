"""What all parts of a run know: what is trained on what and where, how far it is, and what checkpoints say of that."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Collection, Iterator, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from darkside_cli import __version__
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, ignore
from darkside_cli.training.checkpoint import Position, save_plain
from darkside_cli.training.distributed import Ranks
from darkside_cli.training.loss_log import Sums
from darkside_cli.training.task import EpochData, Task
from darkside_cli.training.trainer_config import CHANGEABLE, TrainerConfig

Batch = TypeVar("Batch")
_NAMED_KEYS = 6


class SaveNetwork(Protocol):
    """Writes network ``name`` of a task to ``path``: a safetensors file with all of the module's state as it is."""

    def __call__(self, path: Path, name: str, module: nn.Module, metadata: Mapping[str, Any], /) -> object:
        """Write it. ``metadata`` is JSON-able; ``path`` need not be written atomically."""


@dataclass
class Progress:
    """How far a run is, and what it has reached. ``seconds`` is the time of all its sessions, to milliseconds."""

    position: Position = field(default_factory=Position)
    best_epoch: int | None = None
    best_score: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Session(Generic[Batch]):
    """``task`` being trained on ``data`` as ``config`` says, everything in folder ``run``.

    ``resolved`` is the whole configuration of the run, nested and JSON-able: it is stored with each checkpoint, and
    a run goes on only from one with the same, but for the keys of ``resolved["trainer"]`` that change no weight
    (``trainer_config.CHANGEABLE``) and the dotted keys ``changeable``, with what is below them. ``save_network``
    writes a network's file; without it that is plain safetensors. ``batch_size`` counts the images of a batch over
    all processes (``ranks``), for the events. Only the first of these writes, tells (``emit``) and validates.
    """

    task: Task[Batch]
    data: EpochData[Batch]
    config: TrainerConfig
    _: KW_ONLY
    run: Path
    device: torch.device
    ranks: Ranks = field(default_factory=Ranks)
    resolved: Mapping[str, Any] | None = None
    changeable: Collection[str] = ()
    save_network: SaveNetwork = save_plain
    batch_size: int = 1
    emit: Emit = ignore

    def __post_init__(self) -> None:
        self.run = Path(self.run)
        self.emit = self.emit if self.ranks.is_first else ignore
        settings = self.resolved if self.resolved is not None else {"trainer": asdict(self.config)}
        # As it comes back from a JSON file: tuples are lists, paths texts.
        self._settings: dict[str, Any] = json.loads(json.dumps(settings, default=str))

    def trained(self) -> dict[str, nn.Module]:
        """Networks that are not frozen, by name."""
        return {name: each for name, each in self.task.networks.items() if name not in self.task.frozen}

    def facts(self, progress: Progress) -> dict[str, Any]:
        """What the files of networks say of the run."""
        return {
            "epoch": progress.position.epoch,
            "step": progress.position.step,
            "seed": self.config.seed,
            "scores": finite_only(progress.scores),
            "versions": {
                "darkside": __version__,
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "numpy": np.__version__,
            },
        }

    def meta(self, progress: Progress, losses: Sums) -> dict[str, Any]:
        """Content of a checkpoint's ``meta.json``; ``losses`` are those of the running epoch."""
        device = str(self.device)
        if self.device.type == "cuda":
            device += f" ({torch.cuda.get_device_name(self.device)})"
        return {
            **self.facts(progress),
            "processes": self.ranks.size,
            "config": self._settings,
            "machine": {"system": platform.platform(), "device": device, "cpus": os.cpu_count()},
            "losses": finite_only({name: total / count for name, (total, count) in losses.items()}),
            "best": {"epoch": progress.best_epoch, "score": progress.best_score},
            # All that two runs of the same do not have in common; nothing of it is in the other files.
            "clock": {
                "seconds": round(progress.seconds, 3),
                "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            },
        }

    def check_same(self, meta: Mapping[str, Any]) -> None:
        """Raise OtherConfigurationError if a checkpoint's ``meta`` is of a run with other settings or processes."""
        changeable = {*self.changeable, *(f"trainer.{key}" for key in CHANGEABLE)}
        differences = config_differences(meta["config"], self._settings, changeable)
        if meta["processes"] != self.ranks.size:
            differences["processes"] = (meta["processes"], self.ranks.size)
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


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def finite_only(numbers: Mapping[str, float]) -> dict[str, float]:
    """``numbers`` without NaN and infinities, which JSON does not know."""
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
