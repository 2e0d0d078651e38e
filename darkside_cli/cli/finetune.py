"""``darkside finetune``: images of places in, a descriptor out that finds them at night, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options, training
from darkside_cli.cli.errors import EXIT_DONE, EXIT_INTERRUPTED
from darkside_cli.cli.obtain import Download, obtain, obtain_model
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import MissingAssetError

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved
    from darkside_cli.engine.distributed import Ranks
    from darkside_cli.engine.trainer import TrainingResult
    from darkside_cli.retrieval.config import FinetuneConfig
    from darkside_cli.retrieval.evaluate import ScoreLine
    from darkside_cli.retrieval.finetune import FinetuneRun

COMMAND = "finetune"


def _generators() -> list[str]:
    from darkside_cli.models.catalog import MODELS

    return [entry.name for entry in MODELS if entry.kind == "generator"]


def _backbones() -> list[str]:
    from darkside_cli.models.backbones import backbone_names

    return list(backbone_names())


def _inits() -> tuple[str, ...]:
    from darkside_cli.retrieval.config import INITS

    return INITS


def _augmentations() -> tuple[str, ...]:
    from darkside_cli.retrieval.config import AUGMENTATIONS

    return AUGMENTATIONS


def _sets() -> list[str]:
    from darkside_cli.data.tuple_sets import PUBLISHED

    return list(PUBLISHED)


def _test_sets() -> list[str]:
    from darkside_cli.data.test_sets import TEST_SETS

    return TEST_SETS.names(aliases=True)


def finetune(
    session: Session,
    model: Annotated[
        list[str] | None,
        options.choice(
            "model",
            _generators,
            "--model",
            "-m",
            help="Generator that turns anchors to night: by name, a checkpoint or a run folder; may be given several "
            "times, which mixes them [default: hedngan].",
            metavar="NAME|PATH",
            open_ended=True,
            show_default=False,
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        options.choice(
            "backbone",
            _backbones,
            "--backbone",
            "-b",
            help="Convolutional part, as torchvision calls it: vgg16, resnet101, … [default: vgg16].",
            show_default=False,
        ),
    ] = None,
    init: Annotated[
        str | None,
        options.choice(
            "weights to begin with",
            _inits,
            help="Weights to begin with: imagenet (published features), torchvision, random, a model or a file "
            "[default: imagenet].",
            metavar="NAME|PATH",
            open_ended=True,
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        options.choice(
            "training data",
            _sets,
            help="What to learn from: a folder with a folder for each place, a list of images and places or of pairs "
            "(.csv, .json), a database (.pkl) [default: retrieval-sfm-120k].",
            metavar="NAME|PATH",
            open_ended=True,
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder that names in a list or database start from.", show_default=False
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="What to validate on, likewise (default: a database's own part, else some places are kept back).",
            show_default=False,
        ),
    ] = None,
    augment: Annotated[
        str | None,
        options.choice(
            "augmentation",
            _augmentations,
            help="Night for anchors: generator, images (ready ones), gamma, exposure (darkened without learning), "
            "or none, the baseline [default: generator].",
            show_default=False,
        ),
    ] = None,
    night_images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Ready night images, named as the day ones are, instead of a generator.",
            show_default=False,
        ),
    ] = None,
    whitening: Annotated[
        str | None,
        options.choice(
            "whitening",
            lambda: ("lw", "pca", "none"),
            help="Whitening to learn afterwards: lw, pca or none [default: lw].",
            show_default=False,
        ),
    ] = None,
    whiten_on: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="What to learn it from (default: as published, or the training data).",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        options.choice(
            "data set",
            _test_sets,
            "--dataset",
            "-d",
            help="Test set to evaluate on, by name or path; may be given several times (default: those that are here).",
            metavar="NAME|PATH",
            open_ended=True,
            show_default=False,
        ),
    ] = None,
    output: training.Output = None,
    preset: training.Preset = None,
    config: training.Config = None,
    set_: training.Set = None,
    epochs: training.Epochs = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=8, help="Longest side of training images in pixels.", show_default=False),
    ] = None,
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
    """Fine-tune a descriptor of images with night augmentation, learn its whitening, and evaluate it.

    Defaults are the published hyper-parameters, on the published images:

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
    if nproc is not None and nproc > 1:
        _obtain(session, settings, download=download)
        return training.start_processes(nproc)

    from darkside_cli.engine.distributed import Ranks

    with Ranks.from_environment() as ranks:
        if ranks.is_first:
            _obtain(session, settings, download=download)
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
    """The configuration of a fine-tuning, from all the places it is given in. Raises ConfigError."""
    from darkside_cli.config.load import resolve
    from darkside_cli.retrieval.config import FinetuneConfig

    return resolve(
        FinetuneConfig,
        preset=preset,
        file=config,
        overrides=overrides,
        flags={key: value for key, value in flags.items() if value is not None},
        command=COMMAND,
    )


def _prepare(
    session: Session,
    resolved: Resolved[FinetuneConfig],
    run: Path,
    ranks: Ranks,
    *,
    device: str,
    emit: Any,
) -> FinetuneRun:
    from darkside_cli.engine.device import pick_device
    from darkside_cli.gan.night import load_night
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


def _obtain(session: Session, config: FinetuneConfig, *, download: bool) -> None:
    """See that what the run needs is here: data, features to begin with, generators, test sets."""
    from darkside_cli.data.test_sets import TEST_SETS
    from darkside_cli.data.tuple_sets import asset_of, published_name
    from darkside_cli.retrieval.initial import imagenet_asset, torchvision_file

    name = published_name(config.data.database)
    if name is not None and config.data.file is None and not Path(config.data.database).exists():
        with _also("give your own with --data"):
            obtain(session, [asset_of(name)], download=download)
    if config.init == "imagenet":
        with _also("begin with --init torchvision, random or a file"):
            obtain(session, [imagenet_asset(config.backbone)], download=download)
    elif config.init == "torchvision":
        torchvision_file(config.backbone, download=download and not session.offline)
    if config.augment.kind == "generator" and config.augment.share:
        for model in config.augment.models:
            with _also("take another generator, --night-images, or --augment none"):
                obtain_model(session, model, kind="generator", download=download)
    wanted = [TEST_SETS.get(each) for each in config.evaluation.datasets or () if each in TEST_SETS]
    root = session.root.path
    missing = [
        entry.name
        for entry in wanted
        if entry.made or not (entry.ground_truth(root).is_file() and entry.images(root).is_dir())
    ]
    if missing:
        obtain(session, missing, download=download)


@contextmanager
def _also(advice: str) -> Iterator[None]:
    """Add another way out to what is said of missing assets."""
    try:
        yield
    except MissingAssetError as error:
        raise MissingAssetError(error.message, hint=f"{error.hint}; or {advice}") from error


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
    from darkside_cli.cli.evaluate import HEADING, _cells
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
            session.output.table(HEADING, [_cells(line) for line in lines])
    return EXIT_DONE if result.complete else EXIT_INTERRUPTED


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, COMMAND)(finetune)
