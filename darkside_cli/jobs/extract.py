"""Describe images: one vector each, all in one file."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, ImagesNamed, Notice, Preparing, ignore
from darkside_cli.jobs.checks import Absences, check_model, check_path
from darkside_cli.jobs.fields import ANY_DESCRIPTOR, Describing, Images, Limited
from darkside_cli.jobs.needs import default_descriptor, obtain_descriptor
from darkside_cli.jobs.request import DATA, REQUIRED, ask, make

if TYPE_CHECKING:
    from darkside_cli.datasets.outputs import InputImage
    from darkside_cli.retrieval.describe.describer import Describer
    from darkside_cli.retrieval.describe.descriptor_file import DescriptorFile
    from darkside_cli.retrieval.describe.image_jobs import ExtractOptions
    from darkside_cli.training.distributed import Ranks

ON_ERROR = ("skip", "nan")


@dataclass(frozen=True, kw_only=True)
class ExtractRequest(Images, Limited, Describing):
    """Which images are described, by what, and which file their descriptors go to."""

    model: str | None = ask(
        "A descriptor by name, the path of a checkpoint (ours, gandtr's, cirtorch's), or a model of others "
        "(default: a published one that is here, else the embedded one).",
        **ANY_DESCRIPTOR,
    )
    output: Path = ask(
        "The file to write: .h5 (as hloc reads it), .npz, or .npy with a list of names beside it.",
        REQUIRED,
        short="-o",
        metavar="FILE",
    )
    boxes: Path | None = ask(
        "Parts of images to describe: .json or .csv, name to x1,y1,x2,y2 in pixels.",
        metavar="FILE",
        group=DATA,
    )
    image_root: Path | None = ask(
        "Call images by their paths from here; without PATHS or a list: all images below it.",
        metavar="DIR",
        group=DATA,
    )
    image_list: Path | None = ask(
        "Names of images from --image-root, one a line, as hloc reads them ('-': standard input).",
        metavar="FILE",
        group=DATA,
    )
    format: str | None = ask(
        "h5, npz or npy (default: what FILE ends in).",
        kind="format",
        choices_from="darkside_cli.retrieval.describe.write:FORMATS",
        group=DATA,
    )
    on_error: str = ask(
        "Rows of broken images: skip them, or fill them with nan.",
        "skip",
        kind="way",
        choices_from=ON_ERROR,
        group=DATA,
    )
    resume: bool = ask("Go on where an interrupted run was.", True, group=DATA)
    overwrite: bool = ask("Make FILE anew if it is there.", False, group=DATA)
    append: bool = ask(
        "Add to FILE, if it is there, by its model and settings; what is in it is not described again.",
        False,
        group=DATA,
    )

    #: Whether names in ``image_list`` are separated by NUL bytes, not by line ends.
    null: bool = False
    #: Names from ``image_root`` in place of those in the file ``image_list``.
    names: tuple[str, ...] | None = None
    #: Files and what they are called among the descriptors, in place of all other images.
    named: tuple[tuple[Path, str], ...] | None = None

    def check(self) -> None:
        """Raise UsageError for contradictions, and for a file that cannot be written by its name."""
        from darkside_cli.retrieval.describe.write import format_of

        super().check()
        if self.output.is_dir():
            raise UsageError(
                f"{os.fsdecode(self.output)} is a folder", hint="name a file with -o, such as features.h5"
            )
        form = format_of(self.target, self.format)
        if self.append and self.overwrite:
            raise UsageError("--append keeps what is there, --overwrite does not", hint="take one of them")
        if self.append and form == "npy":
            raise UsageError(
                "nothing can be added to .npy: its names lie in a file beside it, and both cannot be replaced at once",
                hint="make an .h5 or .npz file",
            )

    @property
    def target(self) -> Path:
        """The file that is written: ``output``, with the suffix of ``format`` if it has none."""
        return (
            self.output.with_suffix(f".{self.format}")
            if self.format and not self.output.suffix
            else self.output
        )


@dataclass(frozen=True)
class ExtractResult:
    """What became of the images: ``images`` rows of ``dim`` numbers are in ``file``, None if nothing was written.

    ``done`` images were described now, ``skipped`` ones before; ``failed`` names those without a descriptor.
    """

    file: Path | None
    model: str
    dim: int | None = None
    images: int = 0
    done: int = 0
    skipped: int = 0
    failed: tuple[str, ...] = ()
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {**asdict(self), "failed": list(self.failed), "seconds": round(self.seconds, 3)}


def extract(*images: Any, emit: Emit = ignore, **options: Any) -> ExtractResult:
    """Describe image files: ``extract("images", model="gem_resnet101_hedngan", output="images.h5")``.

    See :class:`ExtractRequest` and :func:`run`.
    """
    return run(make(ExtractRequest, *images, **options), emit=emit)


def run(request: ExtractRequest, *, emit: Emit = ignore, ranks: Ranks | None = None) -> ExtractResult:
    """Describe the images of ``request`` and write one file of their descriptors, whole or not at all.

    Images that cannot be read are told of and the others go on. A run that was stopped is continued by the next one.
    Several processes (``ranks``, else as torchrun says) share the work; the first one's result is that of all. Raises
    UsageError for what cannot be meant, MissingAssetError if the model or a file is not on this machine, and what
    :func:`darkside_cli.retrieval.describe.extract.extract_files` raises.
    """
    from darkside_cli.training.distributed import Ranks

    with nullcontext(ranks) if ranks is not None else Ranks.from_environment() as ranks:
        return _run(request, ranks, emit)


def _run(request: ExtractRequest, ranks: Ranks, emit: Emit) -> ExtractResult:
    from darkside_cli.images.settings import default_threads
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.retrieval.describe.append import called_from, open_to_add
    from darkside_cli.retrieval.describe.image_jobs import any_there, depend_on_each_other, make_jobs

    silent = ignore if not ranks.is_first else emit
    stored = open_to_add(request.target) if request.append else None
    recorded = {} if stored is None else stored.metadata
    model = request.model or recorded.get("model") or default_descriptor(request, emit=silent)
    absences = Absences()
    if request.model is not None or stored is None:
        absences(check_model, request.root, model, kind="descriptor", trust=request.trusted)
    absences(check_path, request.whitening)
    images, root = _find(request, stored)
    jobs = absences(make_jobs, images, request.boxes)
    absences.tell()
    if ranks.is_first:
        whitens = recorded.get("whiten", True) if request.whiten is None else request.whiten
        whitening = whitens is True and request.whitening is None
        obtain_descriptor(request, model, whitening=whitening, emit=emit)
    ranks.barrier()
    if not jobs:
        emit(Notice("no image names came in: nothing to do"))
        return ExtractResult(None, model)
    if not _rooted(request) and stored is None and depend_on_each_other(request.images):
        emit(
            Notice(
                f"images are called by their paths from {root or 'several folders'}; "
                "with --image-root names stay the same, whatever else is given"
            )
        )
    name = MODELS.get(model).name if model in MODELS else model
    emit(ImagesNamed({job.path: job.name for job in jobs}, name))
    if ranks.size == 1 and not request.target.exists() and not any_there(jobs, emit):
        return ExtractResult(None, model, failed=tuple(job.name for job in jobs))

    emit(Preparing(f"getting ready to describe images with {model}"))
    from darkside_cli.retrieval.describe.extract import extract_files

    describer, read = _describer(request, model, stored, ranks.device_name(request.device))
    if stored is not None and (new := called_from(stored, root)).names != stored.names:
        now = f"{(new.names or ())[0]} was {(stored.names or ())[0]}"
        silent(Notice(f"images in {request.target} are called by their paths from {root} from now on: {now}"))
    summary = extract_files(
        jobs,
        describer,
        request.target,
        options=replace(
            read,
            batch_size=request.batch_size,
            workers=request.workers or default_threads(16),
            max_pixels=request.max_pixels,
            max_seconds=request.max_seconds,
            on_error=request.on_error,
            resume=request.resume,
            overwrite=request.overwrite,
            append=request.append,
        ),
        metadata={"image_root": root},
        format=request.format,
        ranks=ranks,
        label=f"{describer.name} to {request.target.name}",
        emit=emit,
    )
    return ExtractResult(
        file=summary.path,
        model=describer.name,
        dim=describer.dim,
        images=summary.images,
        done=summary.done,
        skipped=summary.skipped,
        failed=summary.failed,
        seconds=summary.seconds,
    )


def _describer(
    request: ExtractRequest, model: str, stored: DescriptorFile | None, device: str
) -> tuple[Describer, ExtractOptions]:
    """What describes the images, and how they are read: as the file was made that is added to, if one is."""
    from darkside_cli.inference.device import PRECISIONS, pick_device, pick_precision
    from darkside_cli.retrieval.describe.image_jobs import ExtractOptions
    from darkside_cli.retrieval.search.nearest import describer_for, reading_for

    if stored is None:
        describer = request.load(model, device=device)
        return describer, ExtractOptions(image_size_px=describer.longest_side_px(request.image_size))
    precision, made_in = request.precision, stored.metadata.get("precision")
    if precision == "auto" and made_in in PRECISIONS:
        precision = made_in
        try:
            pick_precision(precision, pick_device(device))
        except UsageError as error:
            raise UsageError(
                f"{stored.path} was made in {made_in}: {error.message}",
                hint="add to it on a device that does, or write to another file",
            ) from error
    settings = request.query_settings(request.scales, request.whiten)
    where: Any = {"root": request.root, "device": device, "precision": precision, "trust": request.trusted}
    describer = describer_for(stored, request.model, settings=settings, adding=True, **where)
    return describer, reading_for(stored, describer, request.image_size)


def _rooted(request: ExtractRequest) -> bool:
    """Whether images are called by their paths from one folder, whatever else is given."""
    return request.image_root is not None or request.image_list is not None or request.names is not None


def _find(request: ExtractRequest, stored: DescriptorFile | None) -> tuple[list[InputImage], str | None]:
    """Images that are meant, and the folder from which they have their names."""
    from darkside_cli.datasets.names import read_image_list
    from darkside_cli.datasets.outputs import InputImage
    from darkside_cli.retrieval.describe.append import called_from, find_beside
    from darkside_cli.retrieval.describe.image_jobs import common_root, find_images

    before = None if stored is None else stored.metadata.get("image_root")
    known = Path(before) if isinstance(before, str) else None
    if request.named is not None:
        return [InputImage(path, PurePath(name)) for path, name in request.named], None
    if not _rooted(request):
        if stored is not None and known is not None:
            images = find_beside(stored, request.images, root=known, recursive=request.recursive)
            return images, before
        images = find_images(request.images, recursive=request.recursive)
        return images, common_root(images) if stored is None else None
    root = request.image_root or known or Path()
    start = str(root.resolve() if ".." in root.parts else root.absolute())
    if stored is not None:
        called_from(stored, start)  # or it says why they cannot be
    if request.image_list is not None and request.names is None:
        request = replace(request, names=tuple(read_image_list(request.image_list, root, null=request.null)))
    everything = not request.images and request.names is None
    images = find_images(
        [root] if everything else request.images,
        recursive=request.recursive or everything,
        root=root,
        listed=request.names or (),
    )
    return images, start
