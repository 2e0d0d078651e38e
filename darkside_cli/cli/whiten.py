"""``darkside whiten``: a whitening learned from pairs of images, or from descriptors, in one file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from darkside_cli.cli import obtain, options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, ItemFailed, Notice
from darkside_cli.images.clahe_settings import parse_clahe
from darkside_cli.jobs.checks import Absences, check_model, check_path

METHODS = ("lw", "pca")
FORMATS = {"safetensors": ".safetensors", "pkl": ".pkl"}


def _complete_data(incomplete: str) -> list[str]:
    from darkside_cli.datasets.tuple_sets import PUBLISHED

    return [name for name in PUBLISHED if name.startswith(incomplete)]


def whiten(
    session: Session,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="What to learn from: a folder with a folder for each place, a list of images and places or of pairs "
            "(.csv, .json), a database (.pkl), or retrieval-sfm-120k-whiten (as published whitenings).",
            autocompletion=_complete_data,
            show_default=False,
        ),
    ] = None,
    *,
    model: Annotated[
        str | None,
        options.choice(
            "model",
            options.descriptor_names,
            "--model",
            "-m",
            help="The descriptor to whiten: a published one by name, or the path of a checkpoint.",
            metavar="NAME|PATH",
            open_ended=True,
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    descriptors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Descriptors of the images, made with 'darkside extract --no-whiten', instead of a model.",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write (default: beside the checkpoint, where 'extract' and 'evaluate' find it).",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    format: Annotated[
        str | None,
        options.choice(
            "format",
            lambda: FORMATS,
            help="safetensors, or pkl as published whitenings (default: what FILE ends in, else safetensors).",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    method: Annotated[
        str,
        options.choice(
            "method",
            lambda: METHODS,
            help="lw, learned from pairs; or pca, which needs none.",
            rich_help_panel=options.MAIN,
        ),
    ] = "lw",
    shrink: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=0,
            help="Of pca: pull eigenvalues towards 1 by the K-th. 0: not even lw of too few pairs is shrunk.",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(
            min=1, help="Keep only so many dimensions.", show_default=False, rich_help_panel=options.ADVANCED
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that names in a list or database start from.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    positives: Annotated[
        int,
        typer.Option(
            min=1,
            help="Pairs of each image with others of its place, where DATA names none.",
            rich_help_panel=options.ADVANCED,
        ),
    ] = 4,
    image_size: Annotated[
        int,
        typer.Option(
            min=0,
            help="Shrink to this longest side in pixels first (0: never).",
            rich_help_panel=options.ADVANCED,
        ),
    ] = 1024,
    scales: Annotated[
        str,
        typer.Option(
            metavar="SCALES",
            help="ms (1, 0.7071 and 0.5 of the sides), ss, or numbers.",
            rich_help_panel=options.ADVANCED,
        ),
    ] = "ms",
    clahe: Annotated[
        str | None,
        typer.Option(
            metavar="CLIP[:GRID]",
            help="Contrast equalisation before the network, or none (default: as recorded with the model).",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the descriptors here; a stopped run goes on, a second one is quick.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make FILE anew if it is there.", rich_help_panel=options.MAIN)
    ] = False,
    json: options.Json = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: Annotated[
        int,
        typer.Option(
            min=0,
            max=1024,
            help="Images of one size run at once (0: chosen by size and memory).",
            rich_help_panel=options.DEVICE,
        ),
    ] = 0,
    workers: options.Workers = None,
    download: obtain.Download = False,
) -> int:
    """Learn a whitening of descriptors from images of the same places.

    For a model, whose images are described first, or for descriptors that are there already. Prints the path of its
    file:

        darkside whiten my-places --model mine.safetensors

        darkside whiten pairs.csv --descriptors plain.h5 -o lw.pkl

    'extract' and 'evaluate' take the file with --whitening.
    """
    from darkside_cli.datasets.tuple_sets import check_training_data, published_name
    from darkside_cli.retrieval.describe.scales import parse_scales
    from darkside_cli.retrieval.training_sets import open_tuples

    _check(data, model, descriptors, method, shrink)
    absences = Absences()
    if model is not None:
        with absences:
            check_model(session.root, model, kind="descriptor")
    if data is not None:
        with absences:
            check_training_data(data)
    with absences:
        check_path(descriptors)
    with absences:
        check_path(images, "folder")
    wanted_scales, equalise = parse_scales(scales), parse_clahe(clahe)
    target = _target(output, format, model)
    if target.exists() and not overwrite:
        raise UsageError(f"{target} is there already", hint="--overwrite makes it anew; or name another file")
    absences.tell()
    tuples = None
    if data is not None:
        with_images = images is None and descriptors is None
        _obtain(session, data, model, with_images=with_images, download=download)
        tuples = open_tuples(data, session.root, images=images, positives=positives)

    from darkside_cli.inference.device import usable_cpus
    from darkside_cli.retrieval.describe.extract import ExtractOptions
    from darkside_cli.retrieval.describe.load import load_descriptor
    from darkside_cli.retrieval.whitening import whiten as core

    started = time.perf_counter()
    failures = _Failures()
    with session.progress() as progress:
        emit = failures.counting(progress.emit)
        if descriptors is not None:
            source = core.source_from_file(descriptors, tuples, emit=emit)
        else:
            describer = load_descriptor(
                model or "",
                root=session.root,
                device=device,
                precision=precision,
                scales=wanted_scales,
                whiten=False,
                clahe=equalise,
            )
            read = ExtractOptions(
                image_size_px=image_size or None,
                # Published images are described as they are stored, people's own as they look.
                upright=published_name(data or "") is None,
                batch_size=batch_size,
                workers=workers or min(16, usable_cpus()),
            )
            source = core.source_from_model(describer, tuples, options=read, keep=keep, emit=emit)
        whitening = core.learn(source, method=method, shrink=shrink, emit=emit).reduced(dim)
        core.write(target, whitening)
        progress.emit(Notice(core.in_words(whitening)))
    if json:
        told = ("method", "pairs", "images", "added_to_diagonal", "shrunk", "learned_from")
        session.output.json(
            {
                "file": target,
                "in_dim": whitening.in_dim,
                "out_dim": whitening.out_dim,
                **{key: whitening.metadata.get(key) for key in told},
                "failed": failures.count,
                "seconds": round(time.perf_counter() - started, 3),
            }
        )
    else:
        session.output.path(target)
    return EXIT_SOME_FAILED if failures.count else EXIT_DONE


class _Failures:
    """Counts the images that could not be read."""

    def __init__(self) -> None:
        self.count = 0

    def counting(self, then: Emit) -> Emit:
        """Hand events on to ``then``."""

        def emit(event: Event) -> None:
            self.count += isinstance(event, ItemFailed)
            then(event)

        return emit


def _check(
    data: str | None, model: str | None, descriptors: Path | None, method: str, shrink: int | None
) -> None:
    if (model is None) == (descriptors is None):
        raise UsageError(
            "give either --model or --descriptors",
            hint="darkside whiten my-places --model mine.safetensors, for instance",
        )
    if data is None and (method == "lw" or model is not None):
        raise UsageError(
            "there is nothing to learn from",
            hint="name a folder of places, a list, or retrieval-sfm-120k-whiten",
        )
    if shrink and method != "pca":
        raise UsageError(
            "--shrink K is of --method pca", hint="leave one of them out; --shrink 0 is for lw, too"
        )


def _target(output: Path | None, format: str | None, model: str | None) -> Path:
    """Path of the file: ``output``, or beside a checkpoint under the name that it is looked for."""
    from darkside_cli.networks.catalog import MODELS

    if output is None:
        if model is None or model in MODELS or Path(model).is_dir():
            raise UsageError("no file to write is named", hint="name one with -o, such as lw.safetensors")
        path = Path(model)
        return path.with_name(f"{path.stem}{'_lw.pkl' if format == 'pkl' else '_whitening.safetensors'}")
    if output.is_dir():
        raise UsageError(f"{output} is a folder", hint="name a file with -o, such as lw.safetensors")
    suffix = FORMATS[format] if format is not None else ".safetensors"
    if not output.suffix:
        return output.with_suffix(suffix)
    if output.suffix not in FORMATS.values() or (format is not None and output.suffix != suffix):
        raise UsageError(
            f"{output} is no name for a whitening",
            hint=f"it ends in {suffix if format else '.safetensors or .pkl'}",
        )
    return output


def _obtain(session: Session, data: str, model: str | None, *, with_images: bool, download: bool) -> None:
    """Offer to get what is known by name and not here; paths are not looked at."""
    from darkside_cli.cli.extract import obtain_descriptor
    from darkside_cli.cli.tuple_assets import obtain_tuples
    from darkside_cli.retrieval.training_sets import need_of

    if model is not None:
        obtain_descriptor(session, model, whitening=False, download=download)
    need = need_of(data, with_images=with_images)
    if need is not None:
        obtain_tuples(session, [need], download=download)


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "whiten")(whiten)
