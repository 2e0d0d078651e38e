"""``darkside finetune``: images of places in, a descriptor out that finds them at night, too."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.cli import finetune_options as own
from darkside_cli.cli import options, training
from darkside_cli.cli.errors import EXIT_DONE, EXIT_INTERRUPTED
from darkside_cli.cli.finetune_assets import check_for, obtain_for
from darkside_cli.cli.obtain import Download
from darkside_cli.cli.session import Session, command

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved
    from darkside_cli.retrieval.config import FinetuneConfig
    from darkside_cli.retrieval.finetune import FinetuneRun
    from darkside_cli.retrieval.search.evaluate import ScoreLine
    from darkside_cli.training.distributed import Ranks
    from darkside_cli.training.trainer import TrainingResult

COMMAND = "finetune"


def finetune(
    session: Session,
    model: own.Model = None,
    backbone: own.Backbone = None,
    init: own.Init = None,
    data: own.Data = None,
    images: own.Images = None,
    validation: own.Validation = None,
    augment: own.Augment = None,
    night_images: own.NightImages = None,
    whitening: own.Whitening = None,
    whiten_on: own.WhitenOn = None,
    dataset: own.Dataset = None,
    output: training.Output = None,
    preset: training.Preset = None,
    config: training.Config = None,
    set_: training.Set = None,
    epochs: training.Epochs = None,
    image_size: own.ImageSize = None,
    seed: training.Seed = None,
    resume: training.Resume = True,
    device: options.Device = "auto",
    precision: training.TrainingPrecision = None,
    compile: training.Compile = None,
    workers: options.Workers = None,
    nproc: training.Nproc = None,
    layout: training.Layout = "darkside",
    json: options.Json = False,
    print_config: training.PrintConfig = False,
    download: Download = False,
) -> int:
    """Fine-tune a descriptor so that it finds places at night, too.

    It is trained with night augmentation, its whitening is learned, and it is evaluated. Defaults are the published
    hyper-parameters, on the published images:

        darkside finetune --model hedngan --backbone vgg16

        darkside finetune --data my-places --augment gamma --backbone resnet18 --init torchvision

    A run that was stopped (Ctrl-C saves it) goes on when the same command is given again, at whatever stage it was.
    The result is used at once: darkside evaluate --model RUN. Prints the descriptor's path and the scores.
    """
    resolved = resolve_finetune(
        preset=preset,
        config=config,
        overrides=set_ or (),
        flags={
            "augment.models": model or None,
            "augment.kind": augment or ("images" if night_images is not None else None),
            "augment.images": night_images,
            "backbone": backbone,
            "init": init,
            "data.database": data,
            "data.images": images,
            "data.validation": validation,
            "data.image_size_px": image_size,
            "data.workers": workers,
            "whitening.kind": whitening,
            "whitening.database": whiten_on,
            "evaluation.datasets": dataset or None,
            "trainer.epochs": epochs,
            "trainer.seed": seed,
            "trainer.precision": precision,
            "trainer.compile": compile,
        },
    )
    if print_config:
        return training.show_config(session, resolved, json=json)
    settings = resolved.value
    run = output if output is not None else session.root.experiments / "finetune" / run_name(settings)
    training.check_run(run)
    check_for(session, settings)
    session.announce(f"{run_name(settings)}: getting ready to train in {os.fsdecode(run)}")
    if nproc is not None and nproc > 1:
        obtain_for(session, settings, download=download)
        return training.start_processes(nproc)

    from darkside_cli.training.distributed import Ranks

    with Ranks.from_environment() as ranks:
        if ranks.is_first:
            obtain_for(session, settings, download=download)
        ranks.wait()
        with training.sinks(session, run, resolved, ranks, title=run_name(settings)) as emit:
            ready = _prepare(session, resolved, run, ranks, device=device, emit=emit)
            result = ready.train(resume=resume)
        if not ranks.is_first:
            ranks.wait()  # the first process whitens and evaluates
            return EXIT_DONE if result.complete else EXIT_INTERRUPTED
        lines: list[ScoreLine] = []
        if result.complete:
            with training.stage_sinks(session, run) as emit:
                ready.whiten(emit=emit)
                lines = ready.evaluate(emit=emit)
        ranks.wait()
    extra = training.lay_out(run, layout) if result.complete else []
    return _finish(session, ready, result, lines, extra, json=json)


def run_name(config: FinetuneConfig) -> str:
    """What a run is called where nobody names it: after its backbone and what makes night."""
    augment = config.augment
    night = (
        "+".join(Path(each).stem for each in augment.models) if augment.kind == "generator" else augment.kind
    )
    return f"{config.backbone}_{night}"


def resolve_finetune(
    *, preset: str | None = None, config: Path | None = None, overrides: Any = (), flags: dict[str, Any]
) -> Resolved[FinetuneConfig]:
    """The configuration of a fine-tuning, from all the places it is given in. Raises ConfigError.

    Where nobody gives a learning rate, random weights have one of their own.
    """
    from darkside_cli.config.load import Resolved, resolve
    from darkside_cli.retrieval.config import RANDOM_RATE, FinetuneConfig

    resolved = resolve(
        FinetuneConfig,
        preset=preset,
        file=config,
        overrides=overrides,
        flags={key: value for key, value in flags.items() if value is not None},
        command=COMMAND,
    )
    value = resolved.value
    if value.init != "random" or resolved.origins["optim.lr"].kind != "default":
        return resolved
    # As if the choice of random weights had said so too.
    origins = {**resolved.origins, "optim.lr": resolved.origins["init"]}
    return Resolved(replace(value, optim=replace(value.optim, lr=RANDOM_RATE)), origins)


def _prepare(
    session: Session,
    resolved: Resolved[FinetuneConfig],
    run: Path,
    ranks: Ranks,
    *,
    device: str,
    emit: Any,
) -> FinetuneRun:
    from darkside_cli.inference.device import pick_device
    from darkside_cli.methods.night import load_night
    from darkside_cli.retrieval.finetune import prepare_finetune
    from darkside_cli.retrieval.initial import initial_network

    config, root = resolved.value, session.root
    chosen = pick_device(ranks.device_name(device))
    augment = config.augment
    wanted = augment.models if augment.kind == "generator" and augment.share else ()
    generators = [load_night(each, root, device=chosen) for each in wanted]
    return prepare_finetune(
        config,
        run=run,
        root=root,
        network=initial_network(config, root),
        generators=generators,
        device=chosen,
        ranks=ranks,
        resolved=resolved.as_dict(),
        emit=emit,
    )


def _finish(
    session: Session,
    ready: FinetuneRun,
    result: TrainingResult,
    lines: list[ScoreLine],
    extra: list[Path],
    *,
    json: bool,
) -> int:
    """Print what a run left, and return the exit code."""
    from darkside_cli.cli.evaluate import HEADING, SPARE, _cells
    from darkside_cli.retrieval.finetune import WHITENING_FILE

    whitening = ready.run / WHITENING_FILE
    if json:
        session.output.json(
            {
                "run": result.run,
                "complete": result.complete,
                "epochs": result.epoch,
                "outputs": dict(result.outputs),
                **({"gandtr": extra} if extra else {}),
                "whitening": whitening if whitening.is_file() else None,
                "scores": dict(result.scores),
                "best_epoch": result.best_epoch,
                "best_score": result.best_score,
                "lines": [{**asdict(line), "difference": line.difference} for line in lines],
                "seconds": round(result.seconds, 1),
            }
        )
    else:
        for path in (*result.outputs.values(), *extra):
            session.output.path(path)
        if lines:
            session.output.table(HEADING, [_cells(line) for line in lines], spare=SPARE)
    if result.complete and not json:
        model = training.shell_word(ready.run)
        training.say_what_is_next(
            session, ready.run, f"darkside extract PHOTOS --model {model} -o descriptors.h5"
        )
    return EXIT_DONE if result.complete else EXIT_INTERRUPTED


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, COMMAND)(finetune)
