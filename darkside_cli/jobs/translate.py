"""Translate images to night, or back to day."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from darkside_cli.config.limits import MAX_SEED
from darkside_cli.errors import MissingAssetError, NoSpaceError, UsageError
from darkside_cli.events import Emit, Event, Notice, Preparing, ignore
from darkside_cli.images import formats
from darkside_cli.jobs.checks import check_generator, refuse_empty_folders, require_folder
from darkside_cli.jobs.fields import GENERATOR, Images, Limited, OnImages
from darkside_cli.jobs.needs import default_generator, obtain_model
from darkside_cli.jobs.request import ADVANCED, DEVICE, ask, make
from darkside_cli.jobs.translate_result import TranslatedImage, TranslateResult, image_of

if TYPE_CHECKING:
    from darkside_cli.datasets.outputs import InputImage, TranslationJob
    from darkside_cli.methods.translate import Translator

FORMATS = ("jpg", "png", "webp", "tif", "bmp", "avif")

#: Stands for the image that is given by its content alone, among sources and targets.
UNNAMED = Path("-")


@dataclass(frozen=True, kw_only=True)
class TranslateRequest(Images, Limited, OnImages):
    """Which images are translated, by what, and where the results go."""

    to: str = ask(
        "Translate to night or to day.",
        "night",
        metavar="TIME",
        kind="time of day",
        choices_from="darkside_cli.networks.catalog:DIRECTION_TO",
    )
    model: str | None = ask(
        "A published generator by name, or the path of a checkpoint or run folder "
        "(ours, gandtr's, CycleGAN's, CUT's).",
        **GENERATOR,
    )
    direction: str | None = ask(
        "What a checkpoint does that does not say so: day2night or night2day.",
        kind="direction",
        choices_from="darkside_cli.networks.catalog:DIRECTIONS",
        group=ADVANCED,
    )
    output: Path | None = ask(
        "Folder of the results (default: ./night or ./day; beside the inputs with --suffix); for one image "
        "also a file such as night.jpg, or - for standard output.",
        short="-o",
        metavar="DIR",
    )
    suffix: str = ask("Appended to the file names, before the extension.", "")
    format: str | None = ask(
        "jpg, png, webp, tif, bmp or avif (default: the input's own).",
        kind="format",
        choices_from=FORMATS,
        open_ended=True,
    )
    quality: int = ask("Of lossy formats.", 95, minimum=1, maximum=100, group=ADVANCED)
    max_size: int = ask(
        "Shrink to this longest side in pixels first (0: never).", 0, minimum=0, group=ADVANCED
    )
    seed: int | None = ask(
        "Which of the nights that a relighting generator can make: another number, another night "
        "(default: an average one).",
        minimum=0,
        maximum=MAX_SEED,
    )
    darkness: float = ask(
        "Make the night darker by so many stops, or lighter if negative.", 0.0, minimum=-4, maximum=8
    )
    lights: float = ask("Factor of the light of lamps and windows, 0: none.", 1.0, minimum=0, maximum=16)
    compare: bool = ask("Write sheets of input and output side by side too, into compare/.", False)
    overwrite: bool = ask(
        "Make results anew that are there already.", False, flag="--overwrite/--skip-existing"
    )
    compile: bool = ask(
        "Compile the network first; pays for many images of one size.",
        False,
        flag="--compile/--no-compile",
        group=DEVICE,
    )

    #: Files and what their results are called below ``output``, in place of all other images.
    named: tuple[tuple[Path, str], ...] | None = None
    #: Contents of the one image that is translated, in place of files.
    content: bytes | None = field(default=None, repr=False)
    #: The one image is not written, but comes back encoded, in the result.
    in_memory: bool = False
    #: All changed names of results are told of, not only the first ones.
    verbose: bool = False

    def check(self) -> None:
        """Raise UsageError for a model that goes the other way, and for options that contradict each other."""
        super().check()
        if self.format is not None:
            formats.suffix_of_format(self.format)
        if self.model is not None:
            with suppress(MissingAssetError):  # told when the images are known
                check_generator(self.root, self.model, to=self.to, direction=self.direction)
        if (file := self.file) is not None:
            name = f"does not go with -o {os.fsdecode(file)}, which"
            if self.suffix:
                raise UsageError(f"--suffix {name} is the whole name", hint="leave it out")
            if self.format is not None and self.pillow_format != formats.format_of_path(file):
                raise UsageError(f"--format {name} says another one", hint="leave it out")

    @property
    def pillow_format(self) -> str | None:
        """Pillow's name of ``format``."""
        return (
            formats.WRITABLE_SUFFIXES[formats.suffix_of_format(self.format)]
            if self.format is not None
            else None
        )

    @property
    def file(self) -> Path | None:
        """``output`` if it is a file to write rather than a folder: no folder is called like an image."""
        names_one = self.output is not None and self.output.suffix.lower() in formats.WRITABLE_SUFFIXES
        return self.output if self.output is not None and names_one and not self.output.is_dir() else None

    @property
    def folder(self) -> Path | None:
        """Where the results go; None if that is beside the sources, or no folder."""
        if self.in_memory or self.file is not None:
            return None
        return self.output if self.output is not None or self.suffix else Path(self.to)


def translate(*images: Any, emit: Emit = ignore, **options: Any) -> TranslateResult:
    """Translate image files: ``translate(["street.jpg"], to="night", output="out")``.

    See :class:`TranslateRequest` and :func:`run`.
    """
    return run(make(TranslateRequest, *images, **options), emit=emit)


def run(request: TranslateRequest, *, emit: Emit = ignore) -> TranslateResult:
    """Translate the images of ``request``.

    Images that cannot be read, translated or written are told of and the others go on; what is there already is not
    made again. Results are written whole or not at all. Raises UsageError for what cannot be meant, MissingAssetError
    if the weights are not on this machine, CheckpointError if they are no generator's, and NoSpaceError, with the
    ``result`` so far, when the disk is full.
    """
    from darkside_cli.datasets.names import is_followed
    from darkside_cli.datasets.outputs import changed_names

    jobs = _plan(request)
    if not jobs:
        emit(Notice("no image names came in: nothing to do"))
        return TranslateResult()
    model, choice = default_generator(request) if request.model is None else (request.model, None)
    check_generator(request.root, model, to=request.to, direction=request.direction)
    # Also when all results are there: a name that does not exist is told before any work.
    obtain_model(request, model, kind="generator", emit=emit)
    if request.content is not None and is_followed(request.content):
        emit(Notice("several images came in at once: only the first is translated", "warning"))
    for line in changed_names(jobs, most=len(jobs) if request.verbose else 5):
        emit(Notice(line))
    if choice is not None and request.to == "night":
        emit(choice)

    from darkside_cli.images.settings import default_threads
    from darkside_cli.jobs.translate_files import FileOptions, translate_files
    from darkside_cli.networks.catalog import MODELS

    name = MODELS.get(model).name if model in MODELS else model
    if request.folder is not None:
        require_folder(request.folder)
    options = FileOptions(
        max_size_px=request.max_size,
        quality=request.quality,
        overwrite=request.overwrite,
        compare=request.compare,
        batch_size=request.batch_size,
        max_pixels=request.max_pixels,
        max_seconds=request.max_seconds,
        workers=request.workers or default_threads(8),
        in_memory=request.in_memory,
        format=request.pillow_format,
    )
    images: list[TranslatedImage] = []

    def record(event: Event) -> None:
        image = image_of(event)
        if image is not None:
            images.append(image)
        emit(event)

    load = partial(_load, request, model, name, emit)
    label = f"{Path(name).name} to {request.to}"
    try:
        summary = translate_files(jobs, load, options=options, label=label, model=name, emit=record)
    except NoSpaceError as error:
        error.result = TranslateResult(name, tuple(images))
        raise
    return TranslateResult(name, tuple(images), summary.seconds, summary.encoded)


def _load(request: TranslateRequest, model: str, name: str, emit: Emit) -> Translator:
    emit(Preparing(f"getting ready to translate with {name}"))
    from darkside_cli.methods.translate import load_generator

    translator = load_generator(
        model,
        to=request.to,
        direction=request.direction,
        device=request.device,
        precision=request.precision,
        compile=request.compile,
        seed=request.seed,
        darkness=request.darkness,
        lights=request.lights,
        root=request.root,
    )
    if request.compile and not translator.compiled:
        emit(Notice("--compile is left out: on the CPU the network is faster without"))
    return translator


def _plan(request: TranslateRequest) -> list[TranslationJob]:
    """Which file each image comes from and goes to; empty if no image was named."""
    from darkside_cli.datasets.outputs import TranslationJob, plan_file, plan_outputs

    folder = request.folder
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"{os.fsdecode(folder)} is not a folder", hint="name a folder with --output")
    inputs = _inputs(request)
    if request.in_memory:
        if len(inputs) != 1:
            hint = "give a folder with -o" if inputs else "name an image, or pipe one in"
            came = f"-o - writes one image to standard output, and {len(inputs) or 'none'} came in"
            raise UsageError(came, hint=hint)
        return [TranslationJob(inputs[0].path, UNNAMED, content=request.content)]
    if request.file is not None and inputs:
        if len(inputs) != 1:
            came = f"{os.fsdecode(request.file)} is one file, and {len(inputs)} images came in"
            raise UsageError(came, hint="name a folder with -o")
        jobs = [plan_file(inputs[0], request.file)]
    else:
        jobs = plan_outputs(
            inputs,
            out_dir=Path() if request.content is not None and folder is None else folder,
            suffix=request.suffix,
            format=request.format,
            drop_results=request.named is None,
        )
    if not jobs:
        refuse_empty_folders(request.images, recursive=request.recursive, videos=True)
    return [replace(job, content=request.content) for job in jobs] if request.content is not None else jobs


def _inputs(request: TranslateRequest) -> list[InputImage]:
    """Images that are meant, sheets of earlier runs left out."""
    from darkside_cli.datasets.listing import expand_inputs
    from darkside_cli.datasets.outputs import InputImage
    from darkside_cli.jobs.translate_files import is_sheet

    if request.content is not None:
        return [InputImage(UNNAMED, _name_of_content(request.content))]
    if request.named is not None:
        return [InputImage(path, PurePath(name)) for path, name in request.named]
    exclude = request.folder if request.in_memory or request.file is None else request.file
    expanded = expand_inputs(request.images, recursive=request.recursive, exclude=exclude)
    return [image for image in expanded if not is_sheet(image.path)]


def _name_of_content(image: bytes) -> PurePath:
    """What an image without a name is called: another one is never taken for it, and the same one is not made anew."""
    suffix = formats.image_suffix(image[: formats.START_BYTES]) or ""
    return PurePath(f"stdin-{hashlib.sha256(image).hexdigest()[:8]}{suffix}")
