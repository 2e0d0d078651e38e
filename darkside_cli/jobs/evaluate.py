"""Score descriptors on benchmarks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.jobs.checks import Absences, check_model, check_page, check_path
from darkside_cli.jobs.fields import ANY_DESCRIPTOR, TEST_SET, Describing, test_set_names
from darkside_cli.jobs.needs import default_descriptor, missing_models, missing_test_sets, obtain
from darkside_cli.jobs.request import DATA, ask, asked, make

if TYPE_CHECKING:
    from darkside_cli.networks.others import OtherModel
    from darkside_cli.retrieval.search.benchmark import Benchmark
    from darkside_cli.retrieval.search.evaluate import BenchmarkScores
    from darkside_cli.retrieval.search.score import EvaluationResult, ScoreLine

#: What says how a model describes images, and so nothing where the descriptors are there already.
_OF_MODELS = ("whiten", "whitening", "dim", "clahe", "keep", "overwrite", "scales", "image_size")


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest(Describing):
    """Which descriptors are scored on which benchmarks."""

    positional = "model"

    model: tuple[str, ...] = ask(
        "A published descriptor by name, the path of a checkpoint, or a model of others; may be given several "
        "times (default: a published one that is here, else the embedded one).",
        (),
        **ANY_DESCRIPTOR,
    )
    dataset: tuple[str, ...] = ask(
        "A test set by name, a ground truth (.pkl, .json), a folder with a folder for each place, or one with "
        "database/ and queries/ of @UTM_east@UTM_north@….jpg; may be given several times.",
        (),
        **TEST_SET,
    )
    descriptors: tuple[Path, ...] = ask(
        "Score these descriptors (.h5, .npz, .npy) instead of a model's.", (), metavar="FILE"
    )
    distractors: Path | None = ask(
        "Descriptors of further images, all wrong (+1M).", metavar="FILE", group=DATA
    )
    images: Path | None = ask("Where the images are.", metavar="DIR", group=DATA)
    query_folder: tuple[str, ...] = ask(
        "Of a place's folders, the queries' [default: night; of UTM names: queries].",
        (),
        metavar="NAME",
        group=DATA,
    )
    database_folder: tuple[str, ...] = ask(
        "Of a place's folders, the database's [default: day; of UTM names: database].",
        (),
        metavar="NAME",
        group=DATA,
    )
    positive_dist: float | None = ask(
        "Of UTM names, how near a right image was taken to the query, in metres [default: 25].",
        metavar="METRES",
        minimum=0,
        group=DATA,
    )
    distractor_images: tuple[Path, ...] = ask(
        "Folders of more images for a folder of places, all wrong.", (), metavar="DIR", group=DATA
    )
    keep: Path | None = ask(
        "Keep the descriptors here; a stopped run goes on, a second one is quick.", metavar="DIR", group=DATA
    )
    overwrite: bool = ask("Describe images anew whose descriptors were kept.", False, group=DATA)
    gallery: Path | None = ask("Write a page of queries with their top results.", metavar="FILE.html")
    only_wrong: bool = ask("Show only queries in the gallery whose first result is wrong.", False)
    top: int = ask("Results per query in the gallery.", 10, minimum=1, maximum=1000)

    #: Whether the ``top`` results of each query are in the figures, also without a gallery.
    with_top: bool = False

    def check(self) -> None:
        """Raise UsageError for contradictions, and for options that would be passed over."""
        if not self.dataset:
            raise UsageError(
                "no data set given", hint=f"--dataset with {', '.join(test_set_names())}, a file or a folder"
            )
        if self.model and self.descriptors:
            raise UsageError(
                "give either --model or --descriptors", hint="--model gem_resnet101_cyclegan, for instance"
            )
        if self.gallery is not None and len(self.dataset) * len(self.model or self.descriptors or "1") > 1:
            raise UsageError(
                "a gallery shows one model on one data set", hint="leave out --gallery, or the others"
            )
        if self.only_wrong and self.gallery is None:
            raise UsageError("--only-wrong is about a gallery", hint="name its page with --gallery FILE.html")
        super().check()
        if self.descriptors:
            for name in _OF_MODELS:
                if getattr(self, name) != asked(type(self))[name].default:
                    no = "no-" if name == "whiten" and not self.whiten else ""
                    flag = f"--{no}{name.replace('_', '-')}"
                    raise UsageError(
                        f"{flag} says how a model describes images, but the descriptors are there already",
                        hint="leave it out, or give --model in place of --descriptors",
                    )
        check_page(self.gallery)


@dataclass(frozen=True)
class Evaluation:
    """One set of descriptors on one benchmark.

    ``model`` made them, as far as that is known; ``descriptors`` is their file, if they were read from one.
    ``failed`` names the images without a descriptor. ``lines`` has a line of figures for each protocol.
    """

    model: str | None
    descriptors: str | None
    scores: EvaluationResult
    lines: tuple[ScoreLine, ...]
    failed: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        return {
            "model": self.model,
            "descriptors": self.descriptors,
            **self.scores.to_document(per_query=True),
            "failed": list(self.failed),
        }


@dataclass(frozen=True)
class EvaluateResult:
    """Figures of each model, or file of descriptors, on each benchmark."""

    evaluations: tuple[Evaluation, ...]

    @property
    def lines(self) -> list[ScoreLine]:
        """All lines of the table of results."""
        return [line for each in self.evaluations for line in each.lines]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of all images without a descriptor."""
        return tuple(name for each in self.evaluations for name in each.failed)

    @property
    def published(self) -> dict[str, list[tuple[OtherModel, float]]]:
        """Recall@1 in percent that others published, best first, by data set; not of data sets without any."""
        from darkside_cli.networks.others import published_for

        # SVOX has its nights in a folder of queries.
        sets = {
            each.lines[0].dataset: f"{each.scores.dataset}/{each.scores.queries[0]}"
            for each in self.evaluations
        }
        return {dataset: found for dataset, place in sets.items() if (found := published_for(place))}

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "results": [each.document() for each in self.evaluations],
            "lines": [line.document() for line in self.lines],
            "published_by_others": {
                dataset: [{**each.document(), "recall_at_1": recall} for each, recall in found]
                for dataset, found in self.published.items()
            },
        }


def evaluate(*model: Any, emit: Emit = ignore, **options: Any) -> EvaluateResult:
    """Score descriptors: ``evaluate("gem_resnet101_cyclegan", dataset="tokyo247")``.

    See :class:`EvaluateRequest` and :func:`run`.
    """
    return run(make(EvaluateRequest, *model, **options), emit=emit)


def run(request: EvaluateRequest, *, emit: Emit = ignore) -> EvaluateResult:
    """Score each model, or file of descriptors, of ``request`` on each of its benchmarks.

    Images that cannot be read are told of; queries among them are left out, others count as found last. Raises
    UsageError for what cannot be meant, MissingAssetError if something is not on this machine, and what the models
    and benchmarks raise when they are opened.
    """
    if not (request.model or request.descriptors):
        request = replace(request, model=(default_descriptor(request, emit=emit),))
    _check_all_there(request)
    _obtain(request, emit)

    from darkside_cli.images.settings import default_threads
    from darkside_cli.inference.device import pick_device
    from darkside_cli.jobs.evaluate_sets import open_benchmarks
    from darkside_cli.retrieval.describe.image_jobs import ExtractOptions
    from darkside_cli.retrieval.describe.store import open_descriptors
    from darkside_cli.retrieval.search import warnings
    from darkside_cli.retrieval.search.benchmark import require_images
    from darkside_cli.retrieval.search.evaluate import evaluate_benchmark, kept_name

    further = None
    if request.distractors is not None:
        further = warnings.Distractors(open_descriptors(request.distractors))
    benchmarks = open_benchmarks(
        request.dataset,
        request.root,
        images=request.images,
        queries=request.query_folder,
        database=request.database_folder,
        distractor_folders=request.distractor_images,
        within_m=request.positive_dist,
    )
    read = ExtractOptions(
        batch_size=request.batch_size,
        workers=request.workers or default_threads(8),
        on_error="nan",
        overwrite=request.overwrite,
    )
    options: dict[str, Any] = {
        "distractors": further,
        "top": request.top if request.with_top or request.gallery is not None else 0,
        "device": pick_device(request.device),
        "emit": emit,
    }
    for benchmark in benchmarks:
        for notice in warnings.of_truth(benchmark.truth):
            emit(notice)
    for benchmark in benchmarks if request.model else ():
        require_images(benchmark)
    evaluations = []
    for name in request.model:
        describer = request.load(name)
        if further is not None:
            further.require_dim(describer.dim, describer.name)
        reading = replace(read, image_size_px=describer.longest_side_px(request.image_size))
        for benchmark in benchmarks:
            keep = request.keep and request.keep / kept_name(benchmark, describer, reading)
            scored = evaluate_benchmark(benchmark, describer, options=reading, keep=keep, **options)
            evaluations.append(_evaluation(request, benchmark, scored, describer.name, emit))
    for path in request.descriptors:
        for benchmark in benchmarks:
            scored = evaluate_benchmark(benchmark, path, **options)
            evaluations.append(_evaluation(request, benchmark, scored, str(path), emit))
    return EvaluateResult(tuple(evaluations))


def _evaluation(
    request: EvaluateRequest, benchmark: Benchmark, scored: BenchmarkScores, label: str, emit: Emit
) -> Evaluation:
    """What was found of the model, or the file, called ``label``; the gallery is written where one is wanted."""
    from darkside_cli.jobs.evaluate_page import write_scored_gallery
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.retrieval.search.score import score_lines

    page, only_wrong = request.gallery, request.only_wrong
    if page is not None and not write_scored_gallery(page, label, benchmark, scored, only_wrong=only_wrong):
        emit(Notice(f"the first result of every query is right: {page} has none to show"))
    published = None
    if label in MODELS and benchmark.entry is not None:
        published = MODELS.get(label).scores.get(benchmark.entry.name)
    lines = score_lines(label, scored.result, entry=benchmark.entry, published=published)
    return Evaluation(
        model=label if request.model else scored.made_with,
        descriptors=None if request.model else label,
        scores=scored.result,
        lines=tuple(lines),
        failed=scored.failed,
    )


def _check_all_there(request: EvaluateRequest) -> None:
    """Raise UnknownNameError for misspelt names, then MissingAssetError for files and folders that are not there."""
    from darkside_cli.datasets.catalog import check_test_set

    absences = Absences()
    for name in request.model:
        absences(check_model, request.root, name, kind="descriptor", trust=request.trusted)
    for spec in request.dataset:
        absences(check_test_set, spec)
    for path in (*request.descriptors, request.distractors, request.whitening):
        absences(check_path, path)
    for path in (request.images, *request.distractor_images):
        absences(check_path, path, "folder")
    absences.tell()


def _obtain(request: EvaluateRequest, emit: Emit) -> None:
    """Get what is known by name and not here, as far as it is needed; paths are not looked at.

    Descriptors that are there already need no images, only the ground truth.
    """
    missing = missing_models(request.root, request.model)
    missing += missing_test_sets(request.root, request.dataset, with_images=bool(request.model))
    if missing:
        obtain(request, missing, emit=emit)
