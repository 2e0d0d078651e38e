"""What jobs that train have in common: their request, the folder of a run, its records, and what is left in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, TrainingStarted, ignore
from darkside_cli.jobs.fields import check_device, computing_device, worker_threads
from darkside_cli.jobs.request import ADVANCED, DEVICE, Getting, ask
from darkside_cli.training.distributed import Ranks
from darkside_cli.training.trainer_config import PRECISION_NAMES

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved
    from darkside_cli.training.trainer import TrainingResult

CONFIG_FILE, ORIGINS_FILE = "config.toml", "origins.json"
LAYOUTS = ("darkside", "gandtr")


@dataclass(frozen=True, kw_only=True)
class Training(Getting):
    """A request of a job that trains. Fields with a ``setting`` stand for keys of the configuration."""

    #: Folder of the experiments of this kind.
    kind: ClassVar[str]

    output: Path | None = ask(
        "Folder of the run (default: experiments/… in the data folder).", short="-o", metavar="RUN"
    )
    preset: str | None = ask("Settings to begin with, by name or from a .toml.", metavar="NAME|FILE")
    config: Path | None = ask(
        "Settings, such as another run's config.toml.", metavar="FILE.toml", group=ADVANCED
    )
    overrides: tuple[str, ...] = ask(
        "One setting, may be repeated: --set optim.lr=1e-4.",
        (),
        flag="--set",
        metavar="KEY=VALUE",
        group=ADVANCED,
    )
    epochs: int | None = ask("Epochs in all.", minimum=1, setting="trainer.epochs")
    seed: int | None = ask(
        "Seed of all that is drawn at random.", minimum=0, setting="trainer.seed", group=ADVANCED
    )
    resume: bool = ask("Go on where an earlier run in the folder stopped, or start over.", True)
    device: str = computing_device()
    precision: str | None = ask(
        "auto, fp32 (exact), bf16 or fp16.",
        kind="precision",
        choices_from=PRECISION_NAMES,
        setting="trainer.precision",
        group=DEVICE,
    )
    compile: bool | None = ask(
        "Compile the networks first; pays on GPUs.", setting="trainer.compile", group=DEVICE
    )
    workers: int | None = worker_threads(setting="data.workers")
    layout: str = ask(
        "gandtr: leave the results in gandtr's places and formats too (epochs/…_best.pth, whitening/).",
        "darkside",
        kind="layout",
        choices_from=LAYOUTS,
        group=ADVANCED,
    )

    def check(self) -> None:
        """Raise UnknownNameError if the device is none."""
        super().check()
        check_device(self.device)

    @property
    def resolved(self) -> Resolved[Any]:
        """The configuration from all the places it is given in: preset, file, overrides, fields."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """What the run is called where nobody names it."""
        raise NotImplementedError

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.output if self.output is not None else self.root.experiments / self.kind / self.name


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training left in the folder ``run``: ``outputs`` are its networks by name, ``epochs`` those done.

    ``complete`` is False after an interruption. ``gandtr`` are the files in gandtr's formats, where they were asked
    for. ``scores`` are those of the last validation; with ``best_epoch`` (from 1) and ``best_score`` they are known to
    the first of several processes only, which is the one that speaks (``is_first``). ``seconds`` is the time of all
    sessions of the run.
    """

    run: Path
    complete: bool
    epochs: int
    outputs: Mapping[str, Path]
    gandtr: tuple[Path, ...] = ()
    scores: Mapping[str, float]
    best_epoch: int | None
    best_score: float | None
    seconds: float
    is_first: bool = True

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that people use afterwards."""
        return (*self.outputs.values(), *self.gandtr)

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints, in the types of JSON."""
        return {
            "run": str(self.run),
            "complete": self.complete,
            "epochs": self.epochs,
            "outputs": {name: str(path) for name, path in self.outputs.items()},
            **({"gandtr": [str(path) for path in self.gandtr]} if self.gandtr else {}),
            "scores": dict(self.scores),
            "best_epoch": self.best_epoch,
            "seconds": round(self.seconds, 1),
        }


def left_by(result: TrainingResult, ranks: Ranks, *, layout: str) -> dict[str, Any]:
    """Fields of :class:`Trained`; with ``layout`` "gandtr" a complete run's results are written in its formats too.

    Raises CheckpointError for what gandtr cannot express.
    """
    gandtr: list[Path] = []
    if layout == "gandtr" and result.complete and ranks.is_first:
        from darkside_cli.interop.gandtr_write import write_gandtr_layout

        gandtr = write_gandtr_layout(result.run)
    return {
        "run": result.run,
        "complete": result.complete,
        "epochs": result.epoch,
        "outputs": result.outputs,
        "gandtr": tuple(gandtr),
        "scores": result.scores,
        "best_epoch": result.best_epoch,
        "best_score": result.best_score,
        "seconds": result.seconds,
        "is_first": ranks.is_first,
    }


def check_run(run: Path) -> None:
    """Raise UsageError if ``run`` cannot be the folder of a run."""
    if run.exists() and not run.is_dir():
        raise UsageError(f"{run} is not a folder", hint="name the folder of the run with --output")


@contextmanager
def recorded(run: Path, resolved: Resolved[Any], emit: Emit, *, ranks: Ranks | None = None) -> Iterator[Emit]:
    """Give what tells ``emit`` of a training and records it in ``run``: settings, scalars, the report.

    The settings are written when the training begins. In other processes than the first, nobody listens.
    """
    if ranks is not None and not ranks.is_first:
        yield ignore
        return
    from darkside_cli.report.tensorboard import scalar_sinks
    from darkside_cli.report.training import ReportWriter

    report = ReportWriter(run, emit)
    # Open from the beginning: what is said before the training begins waits there, and belongs to the report.
    with scalar_sinks(run) as record:
        begun = False

        def tell(event: Event) -> None:
            nonlocal begun
            if isinstance(event, TrainingStarted) and not begun:
                begun = True
                write_config(run, resolved)
            record(event)
            emit(event)
            report.emit(event)

        yield tell


def reported(run: Path, emit: Emit) -> Emit:
    """Tell ``emit`` of the stages that follow a training; the run's report is then written anew."""
    from darkside_cli.report.training import ReportWriter

    report = ReportWriter(run, emit)

    def tell(event: Event) -> None:
        emit(event)
        report.emit(event)

    return tell


def write_config(run: Path, resolved: Resolved[Any]) -> None:
    """Write the settings of a run, and where each came from, into its folder."""
    from darkside_cli.atomic import write_bytes_atomic

    run.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(run / CONFIG_FILE, resolved.to_toml().encode())
    origins = {key: str(origin) for key, origin in resolved.origins.items()}
    write_bytes_atomic(run / ORIGINS_FILE, json.dumps(origins, indent=1, ensure_ascii=False).encode())
