"""``darkside extract``: image files in, one file of their global descriptors out."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import obtain, options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.output import Output
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, ImageReady, ItemFailed, ItemSkipped, Notice
from darkside_cli.jobs.checks import Absences, check_model, check_path

if TYPE_CHECKING:
    from darkside_cli.datasets.outputs import InputImage
    from darkside_cli.retrieval.describe.extract import ExtractSummary, ImageJob

FORMATS = ("h5", "npz", "npy")
ON_ERROR = ("skip", "nan")


def extract(
    session: Session,
    paths: options.Paths = None,
    *,
    model: options.Descriptor,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write: .h5 (as hloc reads it), .npz, or .npy with a list of names beside it.",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ],
    image_size: options.ImageSize = 1024,
    scales: options.Scales = "ms",
    whiten: options.Whiten = True,
    whitening: options.Whitening = None,
    dim: options.Dim = None,
    clahe: options.Clahe = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Parts of images to describe: .json or .csv, name to x1,y1,x2,y2 in pixels.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    image_root: Annotated[
        Path | None,
        typer.Option(
            "--image-root",
            metavar="DIR",
            help="Call images by their paths from here; without PATHS or a list: all images below it.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    image_list: Annotated[
        Path | None,
        typer.Option(
            "--image-list",
            metavar="FILE",
            help="Names of images from --image-root, one a line, as hloc reads them ('-': standard input).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    format: Annotated[
        str | None,
        options.choice(
            "format",
            lambda: FORMATS,
            help="h5, npz or npy (default: what FILE ends in).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    recursive: options.Recursive = False,
    null: options.Null = False,
    on_error: Annotated[
        str,
        options.choice(
            "way",
            lambda: ON_ERROR,
            help="Rows of broken images: skip them, or fill them with nan.",
            rich_help_panel=options.DATA,
        ),
    ] = "skip",
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume", help="Go on where an interrupted run was.", rich_help_panel=options.DATA
        ),
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make FILE anew if it is there.", rich_help_panel=options.DATA)
    ] = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = 0,
    workers: options.Workers = None,
    max_pixels: options.MaxPixels = None,
    max_seconds: options.MaxSeconds = 120.0,
    download: obtain.Download = False,
) -> int:
    """Describe images: one vector each, all in one file.

    Vectors are multi-scale and whitened. Reads image files, folders, or names piped into standard input, and prints
    the path of the file:

        darkside extract photos -r --model gem_resnet101_hedngan -o photos.h5

    Images are called by their paths from the folder given, or from --image-root, whatever else is given. On several
    GPUs: torchrun --nproc-per-node 8 -m darkside_cli extract ... A run that was stopped is continued when it is
    started again.
    """
    from darkside_cli.images.clahe_settings import parse_clahe
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.retrieval.describe.scales import parse_scales
    from darkside_cli.retrieval.describe.store import format_of

    if not whiten and whitening is not None:
        raise UsageError("--no-whiten and --whitening contradict each other", hint="give one of them")
    wanted_scales, equalise = parse_scales(scales), parse_clahe(clahe)
    target = _target(output, format)
    format_of(target, format)
    absences = Absences()
    with absences:
        check_model(session.root, model, kind="descriptor")
    with absences:
        check_path(whitening)

    from darkside_cli.images.threads import default_threads
    from darkside_cli.training.distributed import Ranks

    with Ranks.from_environment() as ranks:
        # One process reads standard input for all: each would get another part of it.
        given, listed = ranks.all_gather(
            _given(paths, image_root, image_list, null=null) if ranks.is_first else None
        )[0]
        if image_root is None and image_list is None:
            images = list_images(given, recursive=recursive)
            names_from = _names_from(images)
        else:
            top = image_root if image_root is not None else Path()
            images = _rooted(top, given, listed, recursive=recursive or not (paths or image_list))
            names_from = str(top.resolve() if ".." in top.parts else top.absolute())
        with absences:
            jobs = make_jobs(images, boxes)
        absences.tell()
        if ranks.is_first:
            obtain_descriptor(session, model, whitening=whiten and whitening is None, download=download)
        ranks.barrier()
        with replace(session, quiet=session.quiet or not ranks.is_first).progress() as progress:
            if not jobs:
                progress.emit(Notice("no image names came in: nothing to do"))
                if json and ranks.is_first:
                    nothing = {"done": 0, "skipped": 0, "failed": [], "seconds": 0.0}
                    session.output.json({"file": None, "model": model, "dim": None, "images": 0, **nothing})
                return EXIT_DONE
            if image_root is None and image_list is None and _depend_on_each_other(given):
                progress.emit(
                    Notice(
                        f"images are called by their paths from {names_from or 'several folders'}; "
                        "with --image-root names stay the same, whatever else is given"
                    )
                )
            name = MODELS.get(model).name if model in MODELS else model
            told = _results(session.output, jobs, name, jsonl=jsonl, then=progress.emit)
            if ranks.size == 1 and not target.exists() and not any_there(jobs, told):
                if json:
                    failed = {"done": 0, "skipped": 0, "failed": [job.name for job in jobs], "seconds": 0.0}
                    session.output.json({"file": None, "model": model, "dim": None, "images": 0, **failed})
                return EXIT_SOME_FAILED

            if ranks.is_first:
                session.announce(f"getting ready to describe images with {model}")
            from darkside_cli.retrieval.describe.extract import ExtractOptions, extract_files
            from darkside_cli.retrieval.describe.load import load_descriptor

            describer = load_descriptor(
                model,
                root=session.root,
                device=ranks.device_name(device),
                precision=precision,
                scales=wanted_scales,
                whiten=whitening if whitening is not None else whiten,
                dim=dim,
                clahe=equalise,
            )
            summary = extract_files(
                jobs,
                describer,
                target,
                options=ExtractOptions(
                    image_size_px=image_size or None,
                    batch_size=batch_size,
                    workers=workers or default_threads(16),
                    max_pixels=max_pixels,
                    max_seconds=max_seconds,
                    on_error=on_error,
                    resume=resume,
                    overwrite=overwrite,
                ),
                metadata={"image_root": names_from},
                format=format,
                ranks=ranks,
                label=f"{describer.name} to {target.name}",
                emit=told,
            )
        if not ranks.is_first:
            return EXIT_DONE  # the first process answers for all
        if json:
            session.output.json(
                {
                    "file": summary.path,
                    "model": describer.name,
                    "dim": describer.dim,
                    "images": _rows(summary, len(jobs), on_error),
                    "done": summary.done,
                    "skipped": summary.skipped,
                    "failed": list(summary.failed),
                    "seconds": round(summary.seconds, 3),
                }
            )
        elif not jsonl and summary.path is not None:
            session.output.path(summary.path)
        return EXIT_SOME_FAILED if summary.failed else EXIT_DONE


def refuse_folder(page: Path) -> None:
    """Raise UsageError if a page that will be written in the end cannot be: it is a folder."""
    if page.is_dir():
        raise UsageError(f"{os.fsdecode(page)} is a folder", hint="name a file, such as gallery.html")


def obtain_descriptor(session: Session, model: str, *, whitening: bool, download: bool) -> None:
    """Offer to get a published descriptor's files that are missing and needed; paths are not looked at."""
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.locate import missing_files

    if model not in MODELS or MODELS.get(model).kind != "descriptor":
        return  # whoever loads it says what is wrong
    missing = missing_files(MODELS.get(model), session.root.path)
    if any(whitening or file.role != "whitening" for file in missing):
        obtain.obtain(session, [MODELS.get(model).name], download=download)


def _target(output: Path, format: str | None) -> Path:
    """Path of the file: ``output``, with the format's suffix if it has none. Raises UsageError for a folder."""
    if output.is_dir():
        raise UsageError(
            f"{os.fsdecode(output)} is a folder", hint="name a file with -o, such as features.h5"
        )
    return output.with_suffix(f".{format}") if format and not output.suffix else output


def list_images(given: list[Path], *, recursive: bool) -> list[InputImage]:
    """Images that the given paths stand for; none for an empty pipe.

    Raises UsageError if folders were given and there are no images in them.
    """
    from darkside_cli.datasets.listing import expand_inputs

    images = expand_inputs(given, recursive=recursive, exclude=None)
    folders = [os.fsdecode(path) for path in given if path.is_dir()]
    if not images and folders:
        raise UsageError(
            f"no images in {', '.join(folders)}",
            hint=None if recursive else "--recursive takes sub-folders too",
        )
    return images


def _given(
    paths: list[str] | None, root: Path | None, image_list: Path | None, *, null: bool
) -> tuple[list[Path], list[str]]:
    """Paths that were given, and names from ``root`` that were listed; reads standard input if that is asked for."""
    from darkside_cli.datasets.rooted import listed_names, read_image_list

    top, listed = root if root is not None else Path(), []
    if image_list is not None and os.fspath(image_list) == "-":
        if "-" in (paths or ()):
            raise UsageError("standard input is given twice", hint="as PATHS or as --image-list, not both")
        listed = listed_names(sys.stdin.buffer, top, null=null)
    elif image_list is not None:
        listed = read_image_list(image_list, top, null=null)
    if not paths and (root is not None or image_list is not None):
        return ([] if image_list is not None else [top]), listed
    return options.input_paths(paths, null=null), listed


def _rooted(root: Path, given: list[Path], listed: list[str], *, recursive: bool) -> list[InputImage]:
    """Images called by their paths from ``root``. Raises UsageError if folders were given and have none."""
    from darkside_cli.datasets.rooted import rooted_images

    images = rooted_images(root, given, listed, recursive=recursive)
    folders = [os.fsdecode(path) for path in given if path.is_dir()]
    if not images and folders:
        raise UsageError(
            f"no images in {', '.join(folders)}",
            hint=None if recursive else "--recursive takes sub-folders too",
        )
    return images


def make_jobs(images: list[InputImage], boxes: Path | None) -> list[ImageJob]:
    """Jobs for images, with their boxes, which a file gives by name or by path.

    Raises UsageError for a box of an image that is not among them.
    """
    from darkside_cli.images.boxes import read_boxes
    from darkside_cli.retrieval.describe.image_jobs import ImageJob

    of_image = read_boxes(boxes) if boxes is not None else {}
    jobs = []
    used: set[str] = set()
    for image in images:
        name = image.relative.as_posix()
        key = name if name in of_image else os.fspath(image.path)
        used.add(key)
        jobs.append(ImageJob(image.path, name, of_image.get(key)))
    unknown = sorted(set(of_image) - used)
    if unknown:
        raise UsageError(
            f"{boxes} has boxes of {len(unknown)} images that are not among those given, such as '{unknown[0]}'",
            hint=f"images are called by their paths from the folder given, such as '{jobs[0].name}'",
        )
    return jobs


def any_there(jobs: list[ImageJob], emit: Emit) -> bool:
    """Whether any image of ``jobs`` is there; if none is, each is told of as failed, and no model need be loaded."""
    from darkside_cli.errors import ImageError
    from darkside_cli.images.images import read_photo

    if any(os.path.exists(job.path) for job in jobs):  # noqa: PTH110 - Path.exists raises for names too long
        return True
    for job in jobs:
        try:
            read_photo(job.path)
        except ImageError as error:
            emit(ItemFailed(job.path, str(error)))
    return False


def _names_from(images: list[InputImage]) -> str | None:
    """Folder from which all images have their names, so that they can be found again; None if there is none."""
    roots = {
        str(path.parents[len(image.relative.parts) - 1])
        for image in images
        if (path := image.path.absolute()).parts[-len(image.relative.parts) :] == image.relative.parts
    }
    return roots.pop() if len(roots) == 1 else None


def _depend_on_each_other(given: list[Path]) -> bool:
    """Whether names would be others if less had been given: their start is found from several folders."""
    here = Path.cwd()
    folders = {
        path.absolute() if path.is_dir() else path.absolute().parent
        for path in given
        if path.is_dir() or not path.absolute().is_relative_to(here)
    }
    return len(folders) > 1


def _rows(summary: ExtractSummary, images: int, on_error: str) -> int:
    """How many rows the file has."""
    if summary.path is None:
        return 0
    return images - (len(summary.failed) if on_error == "skip" else 0)


def _results(output: Output, jobs: list[ImageJob], model: str, *, jsonl: bool, then: Emit) -> Emit:
    """Write each image's result to stdout as JSON, if that is wanted, and hand every event on to ``then``."""
    if not jsonl:
        return then
    names = {job.path: job.name for job in jobs}

    def emit(event: Event) -> None:
        then(event)
        facts: dict[str, Any]
        if isinstance(event, ImageReady):
            facts = {"size": list(event.size_px), "seconds": round(event.seconds, 4)}
        elif isinstance(event, ItemSkipped):
            facts = {"skipped": True}
        elif isinstance(event, ItemFailed):
            facts = {"error": event.reason}
        else:
            return
        output.jsonl({"input": event.source, "name": names[event.source], **facts, "model": model})

    return emit


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "extract")(extract)
