"""Learn a whitening of descriptors, from images of the same places or from descriptors that are there already."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, ItemFailed, Notice, ignore
from darkside_cli.images.settings import parse_clahe
from darkside_cli.jobs.checks import Absences, check_model, check_path
from darkside_cli.jobs.fields import DESCRIPTOR, TRAINING_DATA, OnImages
from darkside_cli.jobs.needs import obtain_descriptor, obtain_tuples
from darkside_cli.jobs.request import ADVANCED, DATA, ask, make
from darkside_cli.retrieval.describe.scales import parse_scales

if TYPE_CHECKING:
    from darkside_cli.datasets.tuples import TupleSet
    from darkside_cli.networks.weights import Whitening

METHODS = ("lw", "pca")
FORMATS = {"safetensors": ".safetensors", "pkl": ".pkl"}
_MOST_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class WhitenRequest(OnImages):
    """What is whitened (``model`` or ``descriptors``), what the whitening is learned from, and its file."""

    positional = "data"

    data: str | None = ask(
        "What to learn from: a folder with a folder for each place, or one of images named "
        "@UTM_east@UTM_north@….jpg; a list of images and places or of pairs (.csv, .json), a database (.pkl), or "
        "retrieval-sfm-120k-whiten (as published whitenings).",
        argument=True,
        **{**TRAINING_DATA, "metavar": "DATA"},
    )
    model: str | None = ask(
        "The descriptor to whiten: a published one by name, or the path of a checkpoint.", **DESCRIPTOR
    )
    descriptors: Path | None = ask(
        "Descriptors of the images, made with 'darkside extract --no-whiten', instead of a model.",
        metavar="FILE",
    )
    output: Path | None = ask(
        "The file to write (default: beside the checkpoint, where 'extract' and 'evaluate' find it).",
        short="-o",
        metavar="FILE",
    )
    format: str | None = ask(
        "safetensors, or pkl as published whitenings (default: what FILE ends in, else safetensors).",
        kind="format",
        choices_from=FORMATS,
    )
    method: str = ask(
        "lw, learned from pairs; or pca, which needs none.", "lw", kind="method", choices_from=METHODS
    )
    shrink: int | None = ask(
        "Of pca: pull eigenvalues towards 1 by the K-th. 0: not even lw of too few pairs is shrunk.",
        metavar="K",
        minimum=0,
        group=ADVANCED,
    )
    balance: float = ask(
        "Of pca: a place of n images counts as n^(1-W): at 0 every image counts alike, at 1 every place.",
        0.0,
        metavar="W",
        minimum=0.0,
        maximum=1.0,
        group=ADVANCED,
    )
    dim: int | None = ask("Keep only so many dimensions.", minimum=1, group=ADVANCED)
    images: Path | None = ask(
        "Folder that names in a list or database start from.", metavar="DIR", group=DATA
    )
    positives: int = ask(
        "Pairs of each image with others of its place, where DATA names none.", 4, minimum=1, group=ADVANCED
    )
    positive_dist: float | None = ask(
        "Of UTM names, how near positives were taken, in metres [default: 25].",
        metavar="METRES",
        minimum=0.1,
        group=ADVANCED,
    )
    image_size: int | None = ask(
        "Shrink to this longest side in pixels first; 0: never (default: as recorded with the model, else 1024).",
        minimum=0,
        group=ADVANCED,
    )
    scales: str = ask(
        "ms (1, 0.7071 and 0.5 of the sides), ss, or numbers.", "ms", metavar="SCALES", group=ADVANCED
    )
    clahe: str | None = ask(
        "Contrast equalisation before the network, or none (default: as recorded with the model).",
        metavar="CLIP[:GRID]",
        group=ADVANCED,
    )
    keep: Path | None = ask(
        "Keep the descriptors here; a stopped run goes on, a second one is quick.", metavar="FILE", group=DATA
    )
    overwrite: bool = ask("Make FILE anew if it is there.", False)

    def check(self) -> None:
        """Raise UsageError for what contradicts itself, and where no file is named."""
        super().check()
        if (self.model is None) == (self.descriptors is None):
            raise UsageError(
                "give either --model or --descriptors",
                hint="darkside whiten my-places --model mine.safetensors, for instance",
            )
        if self.data is None and (self.method == "lw" or self.model is not None):
            raise UsageError(
                "there is nothing to learn from",
                hint="name a folder of places, a list, or retrieval-sfm-120k-whiten",
            )
        if self.shrink and self.method != "pca":
            raise UsageError(
                "--shrink K is of --method pca", hint="leave one of them out; --shrink 0 is for lw, too"
            )
        if self.balance and self.method != "pca":
            raise UsageError("--balance is of --method pca", hint="leave one of them out")
        if self.balance and self.data is None:
            raise UsageError("--balance needs to know places", hint="name a folder of places, or a list")
        parse_scales(self.scales)
        parse_clahe(self.clahe)
        _ = self.file

    @property
    def file(self) -> Path:
        """The file to write: ``output``, or beside a checkpoint under the name that it is looked for."""
        from darkside_cli.networks.locate import is_name

        path = self.output
        if path is None:
            if self.model is None or is_name(self.model) or Path(self.model).is_dir():
                raise UsageError("no file to write is named", hint="name one with -o, such as lw.safetensors")
            beside, end = Path(self.model), "_lw.pkl" if self.format == "pkl" else "_whitening.safetensors"
            return beside.with_name(f"{beside.stem}{end}")
        if path.is_dir():
            raise UsageError(f"{path} is a folder", hint="name a file with -o, such as lw.safetensors")
        suffix = FORMATS[self.format] if self.format is not None else ".safetensors"
        if not path.suffix:
            return path.with_suffix(suffix)
        if path.suffix not in FORMATS.values() or (self.format is not None and path.suffix != suffix):
            raise UsageError(
                f"{path} is no name for a whitening",
                hint=f"it ends in {suffix if self.format else '.safetensors or .pkl'}",
            )
        return path


@dataclass(frozen=True)
class WhitenResult:
    """The whitening and its ``file``; ``failed`` counts the images that could not be read."""

    file: Path
    whitening: Whitening
    failed: int
    seconds: float

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        told = ("method", "pairs", "images", "added_to_diagonal", "shrunk", "learned_from")
        return {
            "file": str(self.file),
            "in_dim": self.whitening.in_dim,
            "out_dim": self.whitening.out_dim,
            **{key: self.whitening.metadata.get(key) for key in told},
            "failed": self.failed,
            "seconds": round(self.seconds, 3),
        }


def whiten(*data: Any, emit: Emit = ignore, **options: Any) -> WhitenResult:
    """Learn a whitening: ``whiten("my-places", model="mine.safetensors")``.

    See :class:`WhitenRequest` and :func:`run`.
    """
    return run(make(WhitenRequest, *data, **options), emit=emit)


def check(request: WhitenRequest) -> None:
    """See that all that is named can be meant, is there, and that nothing is written over.

    Raises UsageError first, then MissingAssetError.
    """
    from darkside_cli.datasets.catalog import check_training_data

    absences = Absences()
    if request.model is not None:
        absences(check_model, request.root, request.model, kind="descriptor")
    if request.data is not None:
        absences(check_training_data, request.data)
    absences(check_path, request.descriptors)
    absences(check_path, request.images, "folder")
    if request.file.exists() and not request.overwrite:
        raise UsageError(
            f"{request.file} is there already", hint="--overwrite makes it anew; or name another file"
        )
    absences.tell()


def run(request: WhitenRequest, *, emit: Emit = ignore) -> WhitenResult:
    """Learn the whitening that ``request`` asks for, and write it.

    Images that cannot be read are told of and passed over. Raises UsageError for what cannot be learned from,
    MissingAssetError for what is not on this machine, CheckpointError and ConfigError for damaged files.
    """
    check(request)
    tuples = _tuples(request, emit)
    from darkside_cli.datasets.catalog import published_name
    from darkside_cli.images.settings import default_threads
    from darkside_cli.retrieval.describe.image_jobs import ExtractOptions
    from darkside_cli.retrieval.describe.load import load_descriptor
    from darkside_cli.retrieval.whitening.whiten import (
        in_words,
        learn,
        source_from_file,
        source_from_model,
        write,
    )

    started = time.perf_counter()
    failed = 0

    def tell(event: Event) -> None:
        nonlocal failed
        failed += isinstance(event, ItemFailed)
        emit(event)

    if request.descriptors is not None:
        source = source_from_file(request.descriptors, tuples, emit=tell)
    else:
        describer = load_descriptor(
            request.model or "",
            root=request.root,
            device=request.device,
            precision=request.precision,
            scales=parse_scales(request.scales),
            whiten=False,
            clahe=parse_clahe(request.clahe),
        )
        options = ExtractOptions(
            image_size_px=describer.longest_side_px(request.image_size),
            # Published images are described as they are stored, people's own as they look.
            upright=published_name(request.data or "") is None,
            batch_size=request.batch_size,
            workers=request.workers or default_threads(_MOST_THREADS),
        )
        source = source_from_model(describer, tuples, options=options, keep=request.keep, emit=tell)
    whitening = learn(
        source, method=request.method, shrink=request.shrink, balance=request.balance, emit=tell
    ).reduced(request.dim)
    write(request.file, whitening)
    emit(Notice(in_words(whitening)))
    return WhitenResult(request.file, whitening, failed, time.perf_counter() - started)


def _tuples(request: WhitenRequest, emit: Emit) -> TupleSet | None:
    """Images and pairs to learn from; what is known by name and not here is got where that was asked for."""
    from darkside_cli.retrieval.training_sets import need_of, open_tuples

    if request.data is None:
        return None
    if request.model is not None:
        obtain_descriptor(request, request.model, whitening=False, emit=emit)
    need = need_of(request.data, with_images=request.images is None and request.descriptors is None)
    if need is not None:
        obtain_tuples(request, [need], emit=emit)
    within_m, positives = request.positive_dist, request.positives
    return open_tuples(
        request.data, request.root, images=request.images, positives=positives, within_m=within_m
    )
