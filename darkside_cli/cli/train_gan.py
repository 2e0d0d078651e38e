"""``darkside train-gan``: day and night pictures in, a generator out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options, training
from darkside_cli.cli.obtain import Download, obtain
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.jobs.checks import Absences, check_edge_detector, check_path

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved
    from darkside_cli.methods.config import GanConfig

COMMAND = "train-gan"


def _methods() -> list[str]:
    from darkside_cli.methods.methods import METHODS

    return METHODS.names()


def _detectors() -> list[str]:
    from darkside_cli.methods.methods import EDGE_DETECTORS

    return EDGE_DETECTORS.names()


def _lists() -> list[str]:
    from darkside_cli.datasets.unpaired_lists import LISTS

    return LISTS.names()


def train_gan(
    session: Session,
    model: Annotated[
        str | None,
        options.choice(
            "method",
            _methods,
            "--model",
            "-m",
            help="Method: cyclegan, cut, hedgan, hedngan, rcfgan or rcfngan.",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    day: Annotated[
        Path | None,
        typer.Option(
            metavar="LIST|DIR",
            help="Day pictures: a folder, or a file of names (default: the published list).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    night: Annotated[
        Path | None,
        typer.Option(
            metavar="LIST|DIR",
            help="Night pictures, likewise.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    data: Annotated[
        str | None,
        options.choice(
            "unpaired pictures",
            _lists,
            help="Day and night pictures by name: nightfall, the embedded city, which is made if it is not here; "
            "--day and --night come before it [default: retrieval-sfm-120k].",
            metavar="NAME",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    output: training.Output = None,
    edge_detector: Annotated[
        str | None,
        options.choice(
            "edge detector",
            _detectors,
            help="What sees edges: hed, rcf (published weights), sobel (needs none), or a file.",
            metavar="NAME|FILE",
            open_ended=True,
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    preset: training.Preset = None,
    config: training.Config = None,
    set_: training.Set = None,
    epochs: training.Epochs = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Pairs of a batch in each process.",
            show_default=False,
            rich_help_panel=options.DEVICE,
        ),
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(
            min=4, help="Side of the crops in pixels.", show_default=False, rich_help_panel=options.ADVANCED
        ),
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
    """Train a generator that turns day photographs into night ones.

    It learns by one of the six methods of the paper. Defaults are the published hyper-parameters, on the published
    lists of day and night pictures:

        darkside train-gan --model hedngan

        darkside train-gan --model hedngan --edge-detector sobel --day photos/day --night photos/night

        darkside train-gan --model hedngan --edge-detector sobel --data nightfall --preset tiny

    A run that was stopped (Ctrl-C saves it) goes on when the same command is given again. The result is used at once:
    darkside translate --model RUN. Prints the path of the generator.
    """
    resolved = resolve_gan(
        model,
        preset=preset,
        config=config,
        overrides=set_ or (),
        flags={
            "data.day": data if day is None else day,
            "data.night": data if night is None else night,
            "edge_detector": edge_detector,
            "trainer.epochs": epochs,
            "data.batch_size": batch_size,
            "data.crop_px": crop,
            "trainer.seed": seed,
            "trainer.precision": precision,
            "trainer.compile": compile,
            "data.workers": workers,
        },
    )
    if print_config:
        return training.show_config(session, resolved, json=json)
    run = output if output is not None else session.root.experiments / "gan" / resolved.value.method
    training.check_run(run)
    if layout == "gandtr" and resolved.value.generator.working_px is not None:
        raise UsageError(
            "gandtr has no guided generators, so that --layout gandtr cannot write one",
            hint="train without --layout gandtr, or with --set generator.working_px=none",
        )
    _check(session, resolved.value)
    session.announce(f"{resolved.value.method}: getting ready to train in {os.fsdecode(run)}")
    if nproc is not None and nproc > 1:
        _obtain(session, resolved.value, download=download)
        return training.start_processes(nproc)

    from darkside_cli.training.distributed import Ranks

    with Ranks.from_environment() as ranks:
        if ranks.is_first:
            _obtain(session, resolved.value, download=download)
        ranks.wait()
        from darkside_cli.inference.device import pick_device
        from darkside_cli.methods.train import prepare_gan

        with training.sinks(session, run, resolved, ranks, title=resolved.value.method) as emit:
            ready = prepare_gan(
                resolved.value,
                run=run,
                root=session.root,
                device=pick_device(ranks.device_name(device)),
                ranks=ranks,
                resolved=resolved.as_dict(),
                emit=emit,
            )
            result = ready.fit(resume=resume)
        return training.finish(session, result, ranks, json=json, layout=layout)


def resolve_gan(
    model: str | None,
    *,
    preset: str | None = None,
    config: Path | None = None,
    overrides: Any = (),
    flags: dict[str, Any] | None = None,
) -> Resolved[GanConfig]:
    """The configuration of a training, from all the places it is given in; the method too may come from a file.

    Raises ConfigError for wrong configuration, UsageError if nothing says which method is meant, or for an edge
    detector where the method has none.
    """
    from darkside_cli.config.load import resolve
    from darkside_cli.config.sources import read_preset, read_toml
    from darkside_cli.methods.methods import METHODS
    from darkside_cli.registry import resolve as load

    method: Any = model
    if method is None and config is not None:
        method = read_toml(config).plain().get("method")
    if method is None and preset is not None:
        method = read_preset(preset, command=COMMAND).plain().get("method")
    if not isinstance(method, str):
        raise UsageError("no method given", hint=f"--model with one of {', '.join(_methods())}")
    entry = METHODS.get(method)
    flags = dict(flags or {})
    if not entry.needs_detector and flags.get("edge_detector") is not None:
        raise UsageError(
            f"{method} has no edge detector", hint="hedgan, hedngan, rcfgan and rcfngan learn from one"
        )
    flags = {key: value for key, value in flags.items() if value is not None}
    schema: type[GanConfig] = load(entry.config)
    return resolve(
        schema,
        preset=preset,
        file=config,
        overrides=overrides,
        flags={**flags, "method": method},
        command=COMMAND,
    )


def _check(session: Session, config: GanConfig) -> None:
    """See that all that the training names can be meant, and that paths are there, before anything is got or loaded.

    Raises UsageError first, then MissingAssetError.
    """
    from darkside_cli.datasets.unpaired_lists import check_source

    absences = Absences()
    detector: str = getattr(config, "edge_detector", "")
    if detector:
        with absences:
            check_edge_detector(session.root, detector)
    for source, what in ((config.data.day, "day"), (config.data.night, "night")):
        check_source(source, what)
    with absences:
        check_path(config.data.images, "folder")
    absences.tell()


def _obtain(session: Session, config: GanConfig, *, download: bool) -> None:
    """See that what the training needs is here: lists and pictures that have names, the edge detector's weights."""
    from darkside_cli.datasets.unpaired_lists import PUBLISHED, lists_of
    from darkside_cli.methods.methods import EDGE_DETECTORS

    wanted = {found.name: found for each in (config.data.day, config.data.night) if (found := lists_of(each))}
    if PUBLISHED.name in wanted and not _published_pictures(session):
        with _own_pictures_named():
            obtain(session, PUBLISHED.assets, download=download)
    detector: str = getattr(config, "edge_detector", "")
    if detector in EDGE_DETECTORS and EDGE_DETECTORS.get(detector).needs_weights:
        entry = EDGE_DETECTORS.get(detector)
        try:
            obtain(session, [detector], download=download)
        except MissingAssetError as error:
            raise MissingAssetError(
                error.message,
                hint=f"{error.hint} (licence: {entry.licence}); or --edge-detector sobel, which needs none",
            ) from error
    # What is made here comes last: that takes its time, and would be for nothing where something else is missing.
    for lists in wanted.values():
        if lists is not PUBLISHED:
            with _own_pictures_named():
                obtain(session, lists.assets, download=download, size=config.data.nightfall_size)


def _published_pictures(session: Session) -> bool:
    """Whether the published lists and pictures are here; single ones that are not are told when they are opened."""
    from darkside_cli.datasets.unpaired_lists import PUBLISHED

    train = session.root.train("")
    lists = [PUBLISHED.list_file(train, what) for what in ("day", "night")]
    return PUBLISHED.images(train).is_dir() and all(path.is_file() for path in lists)


@contextmanager
def _own_pictures_named() -> Iterator[None]:
    try:
        yield
    except MissingAssetError as error:
        raise MissingAssetError(
            error.message, hint=f"{error.hint}; or give your own with --day and --night"
        ) from error


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, COMMAND)(train_gan)
