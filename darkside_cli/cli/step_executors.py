"""Carries out the steps of a scenario: each by what the command for it calls, or by the command itself.

``STEP_EXECUTORS`` has one function for each kind of step. What a step gives back goes to later steps as their
``_output_metadata``, and into the answer of ``darkside run --json``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED, say
from darkside_cli.cli.evaluation_needs import needs_of, require
from darkside_cli.cli.scenario_images import names_on_stdin
from darkside_cli.cli.step_settings import Outcome, Settings, captured, print_paths
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, ImageReady, ItemFailed, ItemSkipped, Notice
from darkside_cli.scenario.images import named_images
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

if TYPE_CHECKING:
    from darkside_cli.retrieval.search.score import ScoreLine


def download(step: DownloadStep, settings: Settings) -> Outcome:
    """Get what is not here yet. What cannot be had is told, and left to the steps that need it."""
    from darkside_cli.cli.download import download as command
    from darkside_cli.cli.obtain import open_assets

    offline = settings.session.offline
    if offline or not settings.download:
        store = open_assets(settings.session)
        lacking = [a.name for a in store.select(step.names) if store.state(a).status != "complete"]
        if lacking:
            why = (
                f"the network is off limits ({settings.session.why_offline})" if offline else "not downloaded"
            )
            say(f"{step.name}: not here, and {why}: {', '.join(lacking)}")
        code = EXIT_SOME_FAILED if lacking and offline else EXIT_DONE
        return Outcome(code=code, outputs={"missing": lacking})
    _, answer = captured(settings, command, names=list(step.names))
    missing = sorted(answer.get("failed", {}))
    return Outcome(code=EXIT_SOME_FAILED if missing else EXIT_DONE, outputs={"missing": missing})


def train_gan(step: TrainGanStep, settings: Settings) -> Outcome:
    """Train a generator; a run that is there already goes on."""
    from darkside_cli.cli import training
    from darkside_cli.cli.train_gan import next_command
    from darkside_cli.jobs import train_gan as job

    session = settings.session
    request = job.TrainGanRequest(
        model=step.method,
        output=under(settings.root, step.run) if step.run is not None else None,
        overrides=tuple(overrides(step, settings.root)),
        device=settings.device,
        workers=settings.workers,
        precision=None if settings.precision == "auto" else settings.precision,
        download=settings.download,
        data_dir=session.data_dir,
        offline=session.offline,
    )
    training.prepare(session, job, request)
    with session.screen(title=request.name) as screen:
        result = job.run(request, emit=screen.emit)
    print_paths(settings, result.outputs.values())
    code = training.finish(session, result, next_command=next_command(result))
    return Outcome(code=code, outputs=result.document())


def finetune(step: FinetuneStep, settings: Settings) -> Outcome:
    """Fine-tune a descriptor; a run that is there already goes on. Whitening and evaluation are steps of their own."""
    from darkside_cli.cli import training
    from darkside_cli.jobs import finetune as job

    session = settings.session
    request = job.FinetuneRequest(
        output=under(settings.root, step.run) if step.run is not None else None,
        overrides=tuple(overrides(step, settings.root)),
        device=settings.device,
        workers=settings.workers,
        precision=None if settings.precision == "auto" else settings.precision,
        download=settings.download,
        data_dir=session.data_dir,
        offline=session.offline,
    )
    training.prepare(session, job, request)
    with session.screen(title=request.name) as screen:
        result = job.run(request, emit=screen.emit)
    print_paths(settings, result.outputs.values())
    code = training.finish(session, result, next_command=None)
    return Outcome(code=code, outputs=result.document())


def whiten(step: WhitenStep, settings: Settings) -> Outcome:
    """Learn a whitening; one that is newer than the model stays."""
    from darkside_cli.cli.offer import run_job
    from darkside_cli.jobs.whiten import WhitenRequest, run

    model = descriptor(step.model, settings.root)
    target = under(settings.root, step.output)
    # Of a published model, whose name is no file, the whitening is learned anew.
    if target.is_file() and Path(model).is_file() and target.stat().st_mtime >= Path(model).stat().st_mtime:
        if not settings.session.quiet:
            say(f"{step.name}: {target} is there already")
        return Outcome(outputs={"file": str(target)})
    data, images = whitening_data(step, settings.root)
    request = WhitenRequest(
        data=data,
        model=model,
        output=target,
        method=step.type,
        images=images,
        image_size=step.image_size_px or 0,
        scales=step.scales,
        overwrite=True,
        device=settings.device,
        precision=settings.precision,
        workers=settings.workers,
        download=settings.download,
        data_dir=settings.session.data_dir,
        offline=settings.session.offline,
    )
    result = run_job(settings.session, request, run)
    print_paths(settings, [result.file])
    return Outcome(code=EXIT_SOME_FAILED if result.failed else EXIT_DONE, outputs=result.document())


def evaluate(step: EvaluateStep, settings: Settings) -> Outcome:
    """Score a descriptor on the sets that are here; those that are not are told and left out."""
    from darkside_cli.cli.evaluate import print_scores as print_lines
    from darkside_cli.cli.offer import run_job
    from darkside_cli.jobs.evaluate import EvaluateRequest, run

    needs = needs_of(step, settings.root)
    require(step, needs, settings)
    specs, missing = needs.sets, needs.missing_sets
    for name in missing:
        say(f"{step.path}: {name} is not in {settings.root} and is left out; darkside download {name}")
    own = step.whitening == step.model and isinstance(step.whitening, str)
    whitening = None if step.whitening is None or own else whitening_file(step.whitening, settings.root)
    failed = bool(missing)
    results: list[Any] = []
    lines: list[ScoreLine] = []
    for size in dict.fromkeys(each.image_size_px for each in step.sets):
        asked = [spec for each in step.sets if each.image_size_px == size and (spec := specs[each.name])]
        if not asked:
            continue
        request = EvaluateRequest(
            model=(descriptor(step.model, settings.root),),
            dataset=tuple(asked),
            image_size=size or 0,
            scales=step.scales,
            whiten=step.whitening is not None,
            whitening=whitening,
            dim=step.dim,
            **settings.shared(),
        )
        result = run_job(settings.session, request, run)
        failed = failed or bool(result.failed)
        results += result.document()["results"]
        lines += result.lines
    if not (settings.printed_later or settings.json):
        print_lines(settings.session.output, lines)
    outputs = {"lines": [line.document() for line in lines], "results": results, "missing": missing}
    return Outcome(code=EXIT_SOME_FAILED if failed else EXIT_DONE, outputs=outputs)


def print_scores(step: PrintScoresStep, settings: Settings) -> Outcome:
    """Print the table of an evaluation."""
    metadata = step.metadata if isinstance(step.metadata, Mapping) else {}
    lines = metadata.get("lines")
    if not isinstance(lines, list):
        raise UsageError(
            f"{step.path}: there are no scores in metadata",
            hint="metadata: ${<evaluation>._output_metadata}, of a step that ran before",
        )
    if not settings.json:
        from darkside_cli.cli.evaluate import print_scores as print_lines
        from darkside_cli.retrieval.search.score import ScoreLine

        print_lines(settings.session.output, [ScoreLine.of(line) for line in lines])
    return Outcome()


def translate(step: TranslateStep, settings: Settings) -> Outcome:
    """Translate the images that are named on standard input."""
    from darkside_cli.cli.obtain import obtain_model
    from darkside_cli.datasets.outputs import changed_names, plan_outputs
    from darkside_cli.images.threads import usable_cpus
    from darkside_cli.jobs.translate_files import FileOptions, translate_files
    from darkside_cli.methods.translate import load_generator

    images = named_images(names_on_stdin(), step.images, settings.root)
    output = under(settings.root, step.output)
    jobs = plan_outputs(images, out_dir=output, suffix="", format=None)
    written: list[str] = []
    with settings.session.progress() as progress:
        if not jobs:
            progress.emit(Notice("no image names came in: nothing to do"))
            return Outcome(outputs={"images": []})
        for line in changed_names(jobs):
            progress.emit(Notice(line))
        model = generator(step.model, settings.root)
        obtain_model(settings.session, model, kind="generator", download=settings.download)
        translator = load_generator(
            model,
            to="night",
            device=settings.device,
            precision=settings.precision,
            root=settings.session.root,
        )
        summary = translate_files(
            jobs,
            lambda: translator,
            options=FileOptions(
                max_size_px=step.max_size_px or 0, workers=settings.workers or min(8, usable_cpus())
            ),
            label=f"{Path(translator.name).name} to {output}",
            emit=_results(settings, written, progress.emit),
        )
    code = EXIT_SOME_FAILED if summary.failed else EXIT_DONE
    return Outcome(code=code, outputs={"images": written, "failed": summary.failed})


def extract(step: ExtractStep, settings: Settings) -> Outcome:
    """Describe the images that are named on standard input."""
    from darkside_cli.cli.offer import run_job
    from darkside_cli.jobs.extract import ExtractRequest, run

    images = named_images(names_on_stdin(), step.images, settings.root)
    own = step.whitening == step.model and isinstance(step.whitening, str)
    target = under(settings.root, step.output)
    request = ExtractRequest(
        named=tuple((image.path, image.relative.as_posix()) for image in images),
        model=descriptor(step.model, settings.root),
        output=target,
        image_size=step.image_size_px or 0,
        scales=step.scales,
        whiten=step.whitening is not None,
        whitening=None if step.whitening is None or own else whitening_file(step.whitening, settings.root),
        dim=step.dim,
        **settings.shared(),
    )
    result = run_job(settings.session, request, run)
    if not images:
        return Outcome(outputs={"file": None})
    print_paths(settings, [result.file] if result.file is not None else [])
    outputs = {"file": str(target), "done": result.done, "failed": list(result.failed)}
    return Outcome(code=EXIT_SOME_FAILED if result.failed else EXIT_DONE, outputs=outputs)


def _results(settings: Settings, written: list[str], then: Emit) -> Emit:
    def emit(event: Event) -> None:
        then(event)
        target = event.target if isinstance(event, (ImageReady, ItemSkipped)) else None
        if target is not None:
            written.append(os.fsdecode(target))
            print_paths(settings, [target])
        elif isinstance(event, ItemFailed) and settings.session.verbose:
            say(f"{event.source}: {event.reason}")

    return emit


STEP_EXECUTORS: dict[type[PlannedStep], Callable[[Any, Settings], Outcome]] = {
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


def is_first_process() -> bool:
    """Whether this process is the only one, or the first of those that torchrun has started."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def execute(step: PlannedStep, settings: Settings) -> Outcome:
    """Carry out one step, in this process's part of it."""
    if not isinstance(step, SHARED) and not is_first_process():
        return Outcome()
    return STEP_EXECUTORS[type(step)](step, settings)
