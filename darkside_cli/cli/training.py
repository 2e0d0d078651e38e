"""The commands that train: ``train-gan``, ``finetune``, and ``demo``, which does both on a small city."""

from __future__ import annotations

import os
import shlex
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from darkside_cli.cli import options
from darkside_cli.cli.command import app, command
from darkside_cli.cli.errors import EXIT_DONE, EXIT_INTERRUPTED, one_line, say
from darkside_cli.cli.session import Session, run_job
from darkside_cli.demo.request import DemoRequest
from darkside_cli.events import Preparing
from darkside_cli.jobs import finetune as finetuning
from darkside_cli.jobs import train_gan as gan_training
from darkside_cli.jobs.request import ADVANCED, DEVICE
from darkside_cli.training.distributed import Ranks

if TYPE_CHECKING:
    from darkside_cli.jobs.training import Trained, Training

Nproc = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Start so many processes on this machine, one for each GPU (torchrun does it on several machines).",
        show_default=False,
        rich_help_panel=DEVICE,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config",
        help="Print the resolved settings as TOML (or --json) and stop.",
        rich_help_panel=ADVANCED,
    ),
]
#: What people do with the result of each job: a command line.
_NEXT = {
    gan_training.COMMAND: "darkside translate PHOTOS --model {run}",
    finetuning.COMMAND: "darkside extract PHOTOS --model {run} -o descriptors.h5",
}


@command(app, gan_training.COMMAND, request=gan_training.TrainGanRequest)
def train_gan(
    session: Session,
    request: gan_training.TrainGanRequest,
    nproc: Nproc = None,
    json: options.Json = False,
    print_config: PrintConfig = False,
) -> int:
    """Train a generator that turns day photographs into nights.

    It learns by one of the six methods of the paper, or by relighting (relight). Defaults are the published
    hyper-parameters, on the published lists of day and night pictures:

        darkside train-gan --model hedngan

        darkside train-gan --model hedngan --edge-detector sobel --day photos/day --night photos/night

        darkside train-gan --model hedngan --edge-detector sobel --data nightfall --preset tiny

    A run that was stopped (Ctrl-C saves it) goes on when the same command is given again. The result is used at once:
    darkside translate --model RUN. Prints the path of the generator.
    """
    return _train(session, gan_training, request, nproc=nproc, json=json, print_config=print_config)


@command(app, finetuning.COMMAND, request=finetuning.FinetuneRequest)
def finetune(
    session: Session,
    request: finetuning.FinetuneRequest,
    nproc: Nproc = None,
    json: options.Json = False,
    print_config: PrintConfig = False,
) -> int:
    """Fine-tune a descriptor so that it finds places at night too.

    It is trained with night augmentation, its whitening is learned, and it is evaluated. Defaults are the published
    hyper-parameters, on the published images:

        darkside finetune --model hedngan --backbone vgg16

        darkside finetune --data my-places --augment gamma --backbone resnet18 --init torchvision

    A run that was stopped (Ctrl-C saves it) goes on when the same command is given again, at whatever stage it was.
    The result is used at once: darkside evaluate --model RUN. Prints the descriptor's path and the scores.
    """
    return _train(session, finetuning, request, nproc=nproc, json=json, print_config=print_config)


def _train(
    session: Session, job: ModuleType, request: Training, *, nproc: int | None, json: bool, print_config: bool
) -> int:
    if print_config:
        resolved = request.resolved
        if json:
            origins = {key: str(origin) for key, origin in resolved.origins.items()}
            session.output.json({"config": resolved.as_dict(), "origins": origins})
        else:
            session.output.text(resolved.to_toml())
        return EXIT_DONE
    job.check(request)
    with session.screen() as screen:
        text = f"{request.name}: getting ready to train in {os.fsdecode(request.folder)}"
        screen.emit(Preparing(text))
    if Ranks.from_environment().is_first:
        run_job(session, request, job.prepare)
    if nproc is not None and nproc > 1:
        return _start_processes(nproc)
    with session.screen(title=request.name) as screen:
        result: Trained = job.run(request, emit=screen.emit, prepared=True)
    if result.is_first and json:
        session.output.json(result.document())
    elif result.is_first:
        session.output.path(*result.paths)
        if lines := getattr(result, "lines", ()):
            from darkside_cli.cli.descriptors import print_scores

            print_scores(session.output, lines)
    # Programs that read what finetune gave need not be told what people do next.
    say_what_is_next(session, result, "" if json and job is finetuning else job.COMMAND)
    return EXIT_DONE if result.complete else EXIT_INTERRUPTED


def _start_processes(count: int) -> int:
    """Run this very command in ``count`` processes that share the work; returns the exit code."""
    from darkside_cli.training.launch import launch

    # Said again is harmless: inside of a started process the option asks for what there is already.
    result = launch([sys.executable, "-m", "darkside_cli", *_without_nproc(sys.argv[1:])], count)
    if result.stderr_tail:
        say(f"process {result.rank} failed:")
        for line in result.stderr_tail:
            sys.stderr.write(line + "\n")
    return result.code


def _without_nproc(arguments: list[str]) -> list[str]:
    left: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--nproc":
            next(words, None)
        elif not word.startswith("--nproc="):
            left.append(word)
    return left


def say_what_is_next(session: Session, result: Trained, kind: str) -> None:
    """Tell people where the page about a complete run is, and what they do with the result of a job of the ``kind``."""
    from darkside_cli.report.training import REPORT

    if session.quiet or not (kind and result.complete and result.is_first):
        return
    if (result.run / REPORT).is_file():
        say(f"curves, pictures and settings: {one_line(os.fsdecode(result.run / REPORT))}")
    say(f"next: {_NEXT[kind].format(run=shlex.quote(os.fsdecode(result.run)))}")


@command(app, "demo", request=DemoRequest)
def demo(session: Session, request: DemoRequest, json: options.Json = False) -> int:
    """Show in minutes what night augmentation brings; no download.

    Makes a synthetic city, trains a generator that turns day into night and a descriptor by day, fine-tunes that
    without and with night augmentation, and compares the two on landmarks that nobody trained on:

        darkside demo

        darkside demo --seeds 3 --output demo

        darkside demo --photos webcams --extra photographs --seeds 3

    With --photos it compares, on real photographs of cameras that nobody trained on, ImageNet features as they are
    and those fine-tuned and whitened by day alone, with darkened days, with generated and with real nights.

    Settings are the presets demo (for CUT: demo-cut) of train-gan, demo-base and demo of finetune;
    for photographs demo-photos.
    A demonstration that was stopped (Ctrl-C) goes on when the same command is given again. Prints the scores (mAP,
    of photographs also recall@1, in percent) and the report's path.
    """
    if request.photos is not None:
        return _demo_photos(session, request, json=json)
    from darkside_cli.demo.run import run

    with session.screen() as screen:
        result = run(request, emit=screen.emit)
    if json:
        session.output.json(result.document())
    elif result.seeds:
        rows = [_cells(f"seed {each.seed}", each.scores, sum(each.seconds.values())) for each in result.seeds]
        if len(result.seeds) > 1:
            rows.append(_cells("mean", result.document()["mean"], None))
        figures = [f"{time} {what}" for time in ("night", "day") for what in ("without", "with")]
        heading = ("", *figures[:2], "difference", *figures[2:], "difference", "seconds")
        session.output.table(heading, rows)
        if result.report is not None:
            session.output.path(result.report)
    return EXIT_DONE if result.complete else EXIT_INTERRUPTED


def _demo_photos(session: Session, request: DemoRequest, *, json: bool) -> int:
    from darkside_cli.demo.photos import run
    from darkside_cli.demo.photos_result import ARMS

    with session.screen(brief=True) as screen:
        result = run(request, emit=screen.emit)
    if json:
        session.output.json(result.document())
    elif result.seeds:
        rows = [(time, measure, of, *figures) for time, measure, of, figures in result.table()]
        session.output.table(("asked", "measure", "of", *ARMS), rows)
        if result.report is not None:
            session.output.path(result.report)
    return EXIT_DONE if result.complete else EXIT_INTERRUPTED


def _cells(name: str, scores: dict[str, dict[str, float]], seconds: float | None) -> tuple[str, ...]:
    figures = []
    for time in ("night", "day"):
        without, with_ = scores[time]["without"], scores[time]["with"]
        figures += [f"{without:.2f}", f"{with_:.2f}", f"{with_ - without:+.2f}"]
    return (name, *figures, "-" if seconds is None else f"{seconds:.0f}")
