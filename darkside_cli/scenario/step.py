"""What a step of a scenario is here: a frozen dataclass that knows its command line and how it is carried out.

Weights are either a registered model's name, a text, or a path, which is a :class:`PurePosixPath`. Relative
paths are below the data root, as they are for the reference. What a step gives back goes to later steps as their
``_output_metadata``.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event
from darkside_cli.networks.catalog import MODELS

if TYPE_CHECKING:
    from darkside_cli.jobs.training import Trained
    from darkside_cli.retrieval.search.score import ScoreLine
    from darkside_cli.scenario.request import RunRequest

Weights: TypeAlias = "str | PurePosixPath"


@dataclass(frozen=True)
class StepNotice(Event):
    """Something about a step that is told even where it is to be quiet: what it does without."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a step ended, and what it gives back, ``outputs``.

    ``failed``: some of it could not be done. ``paths`` are the files that people use, ``lines`` its scores.
    ``trained`` is what a training left.
    """

    failed: bool = False
    outputs: Mapping[str, Any] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()
    lines: tuple[ScoreLine, ...] = ()
    trained: Trained | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """One step. ``name`` is its name in the scenario, ``path`` where it is there, ``function`` what it names."""

    kind: ClassVar[str] = ""
    #: What it does, in a few words; ``{0}`` is the step.
    summary: ClassVar[str] = ""
    #: Whether several processes share it (torchrun); else it is the first one's.
    shared: ClassVar[bool] = False

    name: str
    path: str
    function: str

    def as_dict(self) -> dict[str, Any]:
        """Everything in JSON's types."""
        return {"kind": self.kind, **{each.name: jsonable(getattr(self, each.name)) for each in fields(self)}}

    def describe(self) -> str:
        """What it does, in a few words."""
        return self.summary.format(self)

    def commands(self, root: Path) -> list[str]:
        """Command lines of darkside that do the same; none where there is no such command."""
        return [shlex.join(["darkside", *map(str, words)]) for words in self._words(root)]

    def _words(self, _: Path, /) -> list[list[Any]]:
        return []

    def execute(self, request: RunRequest, emit: Emit) -> Outcome:
        """Carry it out, as a job. Raises what the job raises."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class DownloadStep(PlannedStep):
    """Get assets by ``names``."""

    kind = "download"

    names: tuple[str, ...]

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"download {', '.join(self.names)}"

    def _words(self, _: Path, /) -> list[list[Any]]:
        return [["download", *self.names]]

    def execute(self, request: RunRequest, emit: Emit) -> Outcome:
        """Get what is not here yet. What cannot be had is told, and left to the steps that need it."""
        from darkside_cli.jobs import download as job
        from darkside_cli.jobs.needs import open_assets

        if request.offline or not request.download:
            store = open_assets(request)
            lacking = [a.name for a in store.select(self.names) if store.state(a).status != "complete"]
            if lacking:
                off = f"the network is off limits ({request.why_offline})"
                why = off if request.offline else "not downloaded"
                emit(StepNotice(f"{self.name}: not here, and {why}: {', '.join(lacking)}"))
            return Outcome(failed=bool(lacking) and request.offline, outputs={"missing": lacking})
        got = job.run(job.DownloadRequest(names=self.names, **request.getting), emit=emit)
        missing = sorted(got.failed) if isinstance(got, job.DownloadResult) else []
        return Outcome(failed=bool(missing), outputs={"missing": missing})


@dataclass(frozen=True, kw_only=True)
class PrintScoresStep(PlannedStep):
    """Print the scores of an earlier step: what it gave back, under ``metadata``."""

    kind, summary = "print-scores", "print the scores"

    metadata: Any = field(default_factory=dict)

    def execute(self, request: RunRequest, emit: Emit) -> Outcome:
        """Give the scores of an evaluation once more, for people."""
        from darkside_cli.retrieval.search.score import ScoreLine

        del request, emit
        lines = self.metadata.get("lines") if isinstance(self.metadata, Mapping) else None
        if not isinstance(lines, list):
            raise UsageError(
                f"{self.path}: there are no scores in metadata",
                hint="metadata: ${<evaluation>._output_metadata}, of a step that ran before",
            )
        return Outcome(lines=tuple(map(ScoreLine.of, lines)))


def under(root: Path, path: PurePosixPath | str) -> Path:
    """Where a scenario's path is: relative ones are below the data root."""
    return root / Path(path).expanduser()


def find_weights(weights: Weights, root: Path, ours: str) -> str:
    """Weights as ``--model`` takes them: a name, a file, or what our training left in its place.

    gandtr keeps them as ``<run>/epochs/<network>_best.pth``, we as ``<run>/<ours>``. Of a folder of gandtr's, the best
    descriptor is meant. Where there is nothing yet, it is our training that will leave something.
    """
    if isinstance(weights, str):
        return weights
    place = under(root, weights)
    epochs = next((folder for folder in (place, place.parent) if folder.name == "epochs"), None)
    if place.is_file() or epochs is None:
        return str(place)
    candidates = [epochs.parent / ours, place / "embed_best.pth"]
    found = next((each for each in candidates if each.is_file()), None)
    if found is None and place.name in ("epochs", "generator_X_best.pth", "embed_best.pth"):
        return str(candidates[0])
    return str(found or place)


def generator(weights: Weights, root: Path) -> str:
    """A generator as ``translate --model`` takes it: gandtr's file, or what our own training left in its place."""
    return find_weights(weights, root, "generator_day2night.safetensors")


def descriptor(weights: Weights, root: Path) -> str:
    """A descriptor as ``evaluate --model`` takes it, likewise."""
    return find_weights(weights, root, "descriptor.safetensors")


def whitening_file(whitening: Weights, root: Path) -> Path:
    """File of a whitening: of the published model of that name, or by path."""
    if isinstance(whitening, str):
        return next(file.under(root) for file in MODELS.get(whitening).files if file.role == "whitening")
    return under(root, whitening)


def jsonable(value: Any) -> Any:
    """``value`` in JSON's types: paths as texts, infinity as "inf", what is no number as None."""
    if isinstance(value, PurePosixPath):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
