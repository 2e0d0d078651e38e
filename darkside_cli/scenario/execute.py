"""Carries out the steps of a scenario: each becomes the request of a job, whose function is called.

``EXECUTORS`` has one function for each kind of step. What a step gives back goes to later steps as their
``_output_metadata``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, Notice
from darkside_cli.scenario.images import named_images
from darkside_cli.scenario.needs import needs_of, require
from darkside_cli.scenario.options import (
    descriptor,
    generator,
    overrides,
    under,
    whitening_data,
    whitening_file,
)
from darkside_cli.scenario.plan import (
    DownloadStep,
    EvaluateStep,
    ExtractStep,
    FinetuneStep,
    PlannedStep,
    PrintScoresStep,
    TrainGanStep,
    TranslateStep,
    WhitenStep,
)
from darkside_cli.scenario.request import RunRequest

if TYPE_CHECKING:
    from darkside_cli.jobs.training import Trained
    from darkside_cli.retrieval.search.score import ScoreLine


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


def download(step: DownloadStep, request: RunRequest, emit: Emit) -> Outcome:
    """Get what is not here yet. What cannot be had is told, and left to the steps that need it."""
    from darkside_cli.jobs import download as job
    from darkside_cli.jobs.needs import open_assets

    if request.offline or not request.download:
        store = open_assets(request)
        lacking = [a.name for a in store.select(step.names) if store.state(a).status != "complete"]
        if lacking:
            why = (
                f"the network is off limits ({request.why_offline})" if request.offline else "not downloaded"
            )
            emit(StepNotice(f"{step.name}: not here, and {why}: {', '.join(lacking)}"))
        return Outcome(failed=bool(lacking) and request.offline, outputs={"missing": lacking})
    got = job.run(job.DownloadRequest(names=step.names, **request.getting), emit=emit)
    missing = sorted(got.failed) if isinstance(got, job.DownloadResult) else []
    return Outcome(failed=bool(missing), outputs={"missing": missing})


def train_gan(step: TrainGanStep, request: RunRequest, emit: Emit) -> Outcome:
    """Train a generator; a run that is there already goes on."""
    from darkside_cli.jobs import train_gan as job

    wanted = job.TrainGanRequest(model=step.method, **_training(step, request))
    return _trained(job.run(wanted, emit=emit))


def finetune(step: FinetuneStep, request: RunRequest, emit: Emit) -> Outcome:
    """Fine-tune a descriptor; a run that is there already goes on. Whitening and evaluation are steps of their own."""
    from darkside_cli.jobs import finetune as job

    return _trained(job.run(job.FinetuneRequest(**_training(step, request)), emit=emit))


def _training(step: TrainGanStep | FinetuneStep, request: RunRequest) -> dict[str, Any]:
    root = request.root.path
    return {
        **request.computing,
        "precision": None if request.precision == "auto" else request.precision,
        "output": under(root, step.run) if step.run is not None else None,
        "overrides": overrides(step, root),
    }


def _trained(result: Trained) -> Outcome:
    return Outcome(outputs=result.document(), paths=tuple(result.outputs.values()), trained=result)


def whiten(step: WhitenStep, request: RunRequest, emit: Emit) -> Outcome:
    """Learn a whitening; one that is newer than the model stays."""
    from darkside_cli.jobs import whiten as job

    root = request.root.path
    model = descriptor(step.model, root)
    target = under(root, step.output)
    # Of a published model, whose name is no file, the whitening is learned anew.
    if target.is_file() and Path(model).is_file() and target.stat().st_mtime >= Path(model).stat().st_mtime:
        emit(Notice(f"{step.name}: {target} is there already"))
        return Outcome(outputs={"file": str(target)})
    data, images = whitening_data(step, root)
    result = job.run(
        job.WhitenRequest(
            data=data,
            model=model,
            output=target,
            method=step.type,
            images=images,
            image_size=step.image_size_px or 0,
            scales=step.scales,
            overwrite=True,
            **request.computing,
        ),
        emit=emit,
    )
    return Outcome(failed=bool(result.failed), outputs=result.document(), paths=(result.file,))


def evaluate(step: EvaluateStep, request: RunRequest, emit: Emit) -> Outcome:
    """Score a descriptor on the sets that are here; those that are not are told and left out."""
    from darkside_cli.jobs import evaluate as job

    root = request.root
    needs = needs_of(step, root.path)
    forbidden = "" if request.download else "--no-download was given"
    if request.offline:
        forbidden = f"the network is off limits: {request.why_offline}"
    require(step, needs, root, forbidden=forbidden)
    missing = needs.missing_sets
    for name in missing:
        emit(StepNotice(f"{step.path}: {name} is not in {root} and is left out; darkside download {name}"))
    results = [
        job.run(
            job.EvaluateRequest(
                model=(descriptor(step.model, root.path),),
                dataset=tuple(asked),
                image_size=size or 0,
                **_description(step, request),
            ),
            emit=emit,
        )
        for size in dict.fromkeys(each.image_size_px for each in step.sets)
        if (asked := [s for each in step.sets if each.image_size_px == size and (s := needs.sets[each.name])])
    ]
    documents = [result.document() for result in results]
    outputs = {
        key: [each for document in documents for each in document[key]] for key in ("lines", "results")
    }
    return Outcome(
        failed=bool(missing) or any(result.failed for result in results),
        outputs={**outputs, "missing": missing},
        lines=tuple(line for result in results for line in result.lines),
    )


def _description(step: EvaluateStep | ExtractStep, request: RunRequest) -> dict[str, Any]:
    """How images are described: scales and whitening."""
    other = step.whitening is not None and not step.has_own_whitening
    return {
        **request.computing,
        "scales": step.scales,
        "whiten": step.whitening is not None,
        "whitening": whitening_file(step.whitening, request.root.path) if step.whitening and other else None,
        "dim": step.dim,
    }


def print_scores(step: PrintScoresStep, request: RunRequest, emit: Emit) -> Outcome:
    """Give the scores of an evaluation once more, for people."""
    from darkside_cli.retrieval.search.score import ScoreLine

    del request, emit
    metadata = step.metadata if isinstance(step.metadata, Mapping) else {}
    lines = metadata.get("lines")
    if not isinstance(lines, list):
        raise UsageError(
            f"{step.path}: there are no scores in metadata",
            hint="metadata: ${<evaluation>._output_metadata}, of a step that ran before",
        )
    return Outcome(lines=tuple(map(ScoreLine.of, lines)))


def translate(step: TranslateStep, request: RunRequest, emit: Emit) -> Outcome:
    """Translate the images that are named."""
    from darkside_cli.jobs import translate as job

    root = request.root.path
    result = job.run(
        job.TranslateRequest(
            named=_named(step, request),
            model=generator(step.model, root),
            output=under(root, step.output),
            max_size=step.max_size_px or 0,
            **request.computing,
        ),
        emit=emit,
    )
    written = [os.fsdecode(image.target) for image in result.images if image.target is not None]
    outputs = {"images": written, "failed": result.failed} if result.images else {"images": []}
    return Outcome(failed=result.failed > 0, outputs=outputs)


def extract(step: ExtractStep, request: RunRequest, emit: Emit) -> Outcome:
    """Describe the images that are named."""
    from darkside_cli.jobs import extract as job
    from darkside_cli.training.distributed import Ranks

    named = _named(step, request)
    if not named:
        emit(Notice("no image names came in: nothing to do"))
        return Outcome(outputs={"file": None})
    root = request.root.path
    target = under(root, step.output)
    wanted = job.ExtractRequest(
        named=named,
        model=descriptor(step.model, root),
        output=target,
        image_size=step.image_size_px or 0,
        **_description(step, request),
    )
    result = job.run(wanted, emit=emit, ranks=Ranks())
    return Outcome(
        failed=bool(result.failed),
        outputs={"file": str(target), "done": result.done, "failed": list(result.failed)},
        paths=(result.file,) if result.file is not None else (),
    )


def _named(step: TranslateStep | ExtractStep, request: RunRequest) -> tuple[tuple[Path, str], ...]:
    """Files of the images that are named, and what their results are called."""
    if request.names is None:
        raise UsageError("no images given", hint="name the images that the scenario is about")
    found = named_images(list(request.names()), step.images, request.root.path)
    return tuple((image.path, os.fspath(image.relative)) for image in found)


EXECUTORS: dict[type[PlannedStep], Callable[[Any, RunRequest, Emit], Outcome]] = {
    DownloadStep: download,
    TrainGanStep: train_gan,
    FinetuneStep: finetune,
    WhitenStep: whiten,
    EvaluateStep: evaluate,
    PrintScoresStep: print_scores,
    TranslateStep: translate,
    ExtractStep: extract,
}

#: Steps that several processes share (torchrun); the others are the first one's.
SHARED = (TrainGanStep, FinetuneStep)


def execute(step: PlannedStep, request: RunRequest, emit: Emit) -> Outcome:
    """Carry out one step, in this process's part of it."""
    from darkside_cli.training.distributed import Ranks

    if not isinstance(step, SHARED) and not Ranks.from_environment().is_first:
        return Outcome()
    return EXECUTORS[type(step)](step, request, emit)
