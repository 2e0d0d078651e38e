"""Drives a task through its epochs: backward passes, steps, logs, checkpoints, resuming, several processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from darkside_cli.engine.distributed import Ranks
from darkside_cli.engine.task import EpochData, Task
from darkside_cli.engine.trainer_config import TrainerConfig
from darkside_cli.events import Emit, ignore

__all__ = ["SaveNetwork", "Trainer", "TrainerConfig", "TrainingResult"]

Batch = TypeVar("Batch")


class SaveNetwork(Protocol):
    """Writes network ``name`` of a task to ``path``, a safetensors file with all of the module's state as it is."""

    def __call__(
        self, path: Path, name: str, module: nn.Module, metadata: Mapping[str, Any], /
    ) -> object: ...


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended: ``epoch`` epochs and ``step`` batches of the next are done, ``outputs`` lie in the run folder.

    ``complete`` is False after an interruption (``reason`` is then "interrupted"). ``scores`` are those of the last
    validation, ``best_epoch`` (from 1) and ``best_score`` those of the decisive score.
    """

    run: Path
    epoch: int
    step: int
    complete: bool
    reason: str = ""
    outputs: Mapping[str, Path] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    best_epoch: int | None = None
    best_score: float | None = None
    seconds: float = 0.0


class Trainer(Generic[Batch]):
    """Trains ``task`` on ``data`` as ``config`` says, everything in folder ``run``.

    ``resolved`` is the whole configuration of the run, nested and JSON-able: it is stored with each checkpoint, and
    a run goes on only from one with the same (but for the keys below ``trainer`` that may change, and the dotted
    keys ``changeable``, what is below them included). ``save_network`` writes a network's file; without it that is
    plain safetensors. ``batch_size`` counts the images of a batch over all processes, for the events.
    """

    def __init__(
        self,
        task: Task[Batch],
        data: EpochData[Batch],
        config: TrainerConfig,
        *,
        run: Path,
        device: torch.device,
        ranks: Ranks | None = None,
        resolved: Mapping[str, Any] | None = None,
        changeable: Collection[str] = (),
        save_network: SaveNetwork | None = None,
        batch_size: int = 1,
        emit: Emit = ignore,
    ) -> None:
        self.task = task
        self.data = data
        self.config = config
        self.run = run
        self.device = device
        self.ranks = ranks or Ranks()
