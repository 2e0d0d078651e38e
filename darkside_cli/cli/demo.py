"""``darkside demo``: the whole method on the embedded city, and what it was worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options, training
from darkside_cli.cli.errors import EXIT_DONE, EXIT_INTERRUPTED
from darkside_cli.cli.session import Session, command

if TYPE_CHECKING:
    from darkside_cli.demo.options import DemoResult

COMMAND = "demo"


def _sizes() -> list[str]:
    from darkside_cli.nightfall.config import SIZES

    return SIZES.names(aliases=True)


def _methods() -> list[str]:
    from darkside_cli.demo.options import PRESETS

    return list(PRESETS)


def demo(
    session: Session,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder of the demonstration (default: experiments/demo in the data folder).",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the first run.", rich_help_panel=options.MAIN)
    ] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, max=100, help="How many seeds to run, counted from --seed.", rich_help_panel=options.MAIN
        ),
    ] = 1,
    size: Annotated[
        str,
        options.choice(
            "size", _sizes, help="Size of the city: tiny, small (demo) or full.", rich_help_panel=options.MAIN
        ),
    ] = "small",
    model: Annotated[
        str,
        options.choice(
            "method",
            _methods,
            "--model",
            "-m",
            help="Method that trains the generator.",
            rich_help_panel=options.MAIN,
        ),
    ] = "hedgan",
    share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the anchors that become night (default: the preset's).",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    set_gan: Annotated[
        list[str] | None,
        typer.Option(
            "--set-gan",
            metavar="KEY=VALUE",
            help="A setting of train-gan, may be repeated.",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    set_base: Annotated[
        list[str] | None,
        typer.Option(
            "--set-base",
            metavar="KEY=VALUE",
            help="A setting of the training by day that comes before, may be repeated.",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    set_finetune: Annotated[
        list[str] | None,
        typer.Option(
            "--set-finetune",
            metavar="KEY=VALUE",
            help="A setting of finetune, may be repeated.",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> int:
    """Show in minutes what night augmentation is worth; no download.

    Makes a synthetic city, trains a generator that turns day into night and a descriptor by day, fine-tunes that
    without and with night augmentation, and compares the two on landmarks that nobody trained on:

        darkside demo

        darkside demo --seeds 3 --output demo

    Settings are the presets demo (for CUT: demo-cut) of train-gan, demo-base and demo of finetune.
    A demonstration that was stopped (Ctrl-C) goes on when the same command is given again. Prints the scores (mAP
    in percent) and the report's path.
    """
    from darkside_cli.demo.options import DemoOptions, check_settings
    from darkside_cli.training.distributed import Ranks

    folder = output if output is not None else session.root.experiments / "demo"
    training.check_run(folder)
    wanted = DemoOptions(
        seeds=tuple(range(seed, seed + seeds)),
        size=size,
        method=model,
        share=share,
        device=device,
        gan_settings=tuple(set_gan or ()),
        base_settings=tuple(set_base or ()),
        finetune_settings=tuple(set_finetune or ()),
    )

    check_settings(wanted)

    from darkside_cli.demo.run import run_demo

    def listen(run: Path, resolved: Any, title: str) -> Any:
        return training.sinks(session, run, resolved, Ranks(), title=title)

    with session.progress() as progress:
        result = run_demo(wanted, output=folder, root=session.root, listen=listen, emit=progress.emit)
    _print(session, result, json=json)
    return EXIT_DONE if result.complete else EXIT_INTERRUPTED


def _print(session: Session, result: DemoResult, *, json: bool) -> None:
    from darkside_cli.demo.options import document_of

    if json:
        session.output.json(document_of(result))
        return
    if not result.seeds:
        return
    rows = [_cells(f"seed {each.seed}", each.scores, sum(each.seconds.values())) for each in result.seeds]
    if len(result.seeds) > 1:
        mean = document_of(result)["mean"]
        rows.append(_cells("mean", mean, None))
    heading = (
        "",
        "night without",
        "night with",
        "difference",
        "day without",
        "day with",
        "difference",
        "seconds",
    )
    session.output.table(heading, rows)
    if result.report is not None:
        session.output.path(result.report)


def _cells(name: str, scores: dict[str, dict[str, float]], seconds: float | None) -> tuple[str, ...]:
    figures = []
    for time in ("night", "day"):
        without, with_ = scores[time]["without"], scores[time]["with"]
        figures += [f"{without:.2f}", f"{with_:.2f}", f"{with_ - without:+.2f}"]
    return (name, *figures, "-" if seconds is None else f"{seconds:.0f}")


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, COMMAND)(demo)
