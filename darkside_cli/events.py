"""What long-running work tells its caller: frozen events, handed to an ``emit`` callable.

Core functions take ``emit: Emit = ignore`` and never print or log. ``cli/progress.py`` draws events with rich;
a JSONL sink records them; the other ranks of a distributed run get :func:`ignore`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

#: What the names of threads that read items begin with. One that hangs in a decoder cannot be stopped, only left.
LOADING = "load-item"


@dataclass(frozen=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True)
class ItemEvent(Event):
    """One item of a job is dealt with."""


@dataclass(frozen=True)
class TransferEvent(Event):
    """Something happens to bytes on their way."""


@dataclass(frozen=True)
class TrainingEvent(Event):
    """Something happens in a training."""


@dataclass(frozen=True)
class RunStarted(Event):
    """A job of ``total`` items begins (``total`` is None when it cannot be known, as with a slow pipe).

    ``model`` is the name of the model that does it, if one does.
    """

    job: str
    total: int | None = None
    unit: str = "images"
    model: str | None = None


@dataclass(frozen=True)
class ImagesNamed(Event):
    """What images are called among the descriptors that ``model`` is about to make of them."""

    names: Mapping[Path, str]
    model: str


@dataclass(frozen=True)
class ImageReady(ItemEvent):
    """One image is done. ``target`` is what was written, None where its result stays in memory.

    ``size_px`` is (width, height) of the output; ``seconds`` its share of the work.
    ``animated``: the source moves, and only its first frame was taken.
    """

    source: Path
    target: Path | None
    size_px: tuple[int, int]
    seconds: float
    animated: bool = False


@dataclass(frozen=True)
class ItemSkipped(ItemEvent):
    """An item was passed over because its result exists already."""

    source: Path
    target: Path | None = None


@dataclass(frozen=True)
class ItemFailed(ItemEvent):
    """An item could not be done; the run goes on."""

    source: Path
    reason: str


@dataclass(frozen=True)
class Notice(Event):
    """Something a person may want to know. ``level`` is "info" or "warning"."""

    message: str
    level: str = "info"


@dataclass(frozen=True)
class Preparing(Event):
    """What takes seconds to load begins to be loaded; ``message`` says for what. Nothing to be kept."""

    message: str


@dataclass(frozen=True)
class RunFinished(Event):
    """The job's sums."""

    job: str
    done: int
    failed: int
    skipped: int
    seconds: float


@dataclass(frozen=True)
class TransferStarted(TransferEvent):
    """Bytes begin to move for ``name``: ``activity`` is "download", "unpack", "copy" or "verify".

    ``total`` is in bytes, None if unknown; ``done`` bytes are there already from an earlier try.
    """

    name: str
    total: int | None = None
    done: int = 0
    activity: str = "download"


@dataclass(frozen=True)
class TransferProgress(TransferEvent):
    """``done`` of ``total`` bytes of ``name`` have been dealt with.

    Where it is many files, ``files`` of ``of_files`` are there.
    """

    name: str
    done: int
    total: int | None = None
    activity: str = "download"
    files: int = 0
    of_files: int = 0


@dataclass(frozen=True)
class TransferRetrying(TransferEvent):
    """A try failed for ``reason``; the next one, number ``attempt``, begins in ``wait_s`` seconds.

    If each of them fails like this one, there are ``attempts`` in all, and the last has failed after ``whole_s``
    seconds at most, waits and tries together. ``source`` is the address that was asked.
    """

    name: str
    reason: str
    wait_s: float
    attempt: int
    attempts: int = 0
    whole_s: float = 0.0
    source: str = ""


@dataclass(frozen=True)
class TransferFinished(TransferEvent):
    """``name`` is whole at ``path``. ``size`` is in bytes; ``files`` counts what an archive held."""

    name: str
    path: Path
    size: int
    seconds: float
    activity: str = "download"
    files: int = 1


@dataclass(frozen=True)
class TransferFailed(TransferEvent):
    """``name`` could not be had; the other transfers go on."""

    name: str
    reason: str
    activity: str = "download"


@dataclass(frozen=True)
class TrainingStarted(TrainingEvent):
    """A training run begins or goes on: ``epochs`` in all, from ``epoch`` (counted from 0) and its ``step``.

    ``steps`` counts the batches of the first epoch, ``batch_size`` the images (pairs, tuples) of one batch over all
    processes.
    """

    run: Path
    epochs: int
    epoch: int
    step: int
    steps: int
    batch_size: int
    device: str


@dataclass(frozen=True)
class StepDone(TrainingEvent):
    """Batch ``step`` (from 1) of ``steps`` of ``epoch`` (from 1) was trained on.

    ``losses`` are means since the last such event; they are gathered without waiting for the device, so they arrive
    a little late. ``rates`` are the learning rates by optimiser. ``memory_bytes`` and ``utilisation`` (0 to 1) are
    the device's, None where unknown. ``images_per_s`` counts all images of the batches; where a batch is of ``item``s
    of several images ("pair", "tuple"), ``items_per_s`` counts these.
    """

    epoch: int
    step: int
    steps: int
    losses: Mapping[str, float]
    rates: Mapping[str, float]
    images_per_s: float
    memory_bytes: int | None = None
    utilisation: float | None = None
    items_per_s: float | None = None
    item: str = ""


@dataclass(frozen=True)
class EpochDone(TrainingEvent):
    """``epoch`` (from 1) is over: mean losses over all its batches and processes, and how long it took."""

    epoch: int
    epochs: int
    losses: Mapping[str, float]
    rates: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class EvalDone(TrainingEvent):
    """``epoch`` (from 1) was validated: scores by name, and images written."""

    epoch: int
    scores: Mapping[str, float]
    seconds: float
    pictures: tuple[Path, ...] = ()
    best: bool = False


@dataclass(frozen=True)
class CheckpointSaved(TrainingEvent):
    """The state after ``step`` batches of ``epoch`` (from 1) is whole on disk at ``path``."""

    path: Path
    epoch: int
    step: int
    seconds: float


@dataclass(frozen=True)
class TrainingFinished(TrainingEvent):
    """The run ended, complete or stopped before (``reason`` says why: "interrupted", …)."""

    run: Path
    epoch: int
    seconds: float
    complete: bool
    reason: str = ""


@dataclass(frozen=True)
class StageDone(Event):
    """``stage`` of a run, one that follows the training, is over: what it found is in the folder ``run``."""

    run: Path
    stage: str


Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Take an event and do nothing with it."""
