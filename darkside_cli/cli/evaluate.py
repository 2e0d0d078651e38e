"""``darkside evaluate``: how well descriptors find the images of a benchmark, beside the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import obtain, options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED, lost_if_interrupted
from darkside_cli.cli.extract import refuse_folder
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.events import Notice
from darkside_cli.jobs.checks import Absences, check_model, check_path

if TYPE_CHECKING:
    from darkside_cli.retrieval.describe.describer import Describer
    from darkside_cli.retrieval.search.benchmark import EvaluationResult
    from darkside_cli.retrieval.search.evaluate import Benchmark, ScoreLine

HEADING = (
    "model", "data set", "protocol", "mAP", "published", "diff",
    "mP@1", "mP@5", "mP@10", "R@1", "R@5", "R@10", "queries", "database",
)  # fmt: skip
#: Left out of the table, in this order, where the terminal is narrow.
SPARE = ("database", "queries", "R@10", "R@5", "mP@10", "mP@5", "mP@1")
_MARKS = {"ok": "right", "easy": "right", "hard": "right", "junk": "junk", None: "wrong"}


def _datasets() -> list[str]:
    from darkside_cli.datasets.catalog import TEST_SETS

    return TEST_SETS.names(aliases=True)


def evaluate(
    session: Session,
    model: Annotated[
        list[str] | None,
        options.choice(
            "model",
            options.descriptor_names,
            "--model",
            "-m",
            help="A published descriptor by name, or the path of a checkpoint; may be given several times.",
            metavar="NAME|PATH",
            open_ended=True,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        options.choice(
            "data set",
            _datasets,
            "--dataset",
            "-d",
            help="A test set by name, a ground truth (.pkl, .json), or a folder with a folder for each place; "
            "may be given several times.",
            metavar="NAME|PATH",
            open_ended=True,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    descriptors: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Score these descriptors (.h5, .npz, .npy) instead of a model's.",
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    distractors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Descriptors of further images, all wrong (+1M).",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the images are.", rich_help_panel=options.DATA)
    ] = None,
    query_folder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Of a place's folders, the queries' [default: night].",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    database_folder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Of a place's folders, the database's [default: day].",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    distractor_images: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folders of more images for a folder of places, all wrong.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    image_size: options.ImageSize = 1024,
    scales: options.Scales = "ms",
    whiten: options.Whiten = True,
    whitening: options.Whitening = None,
    dim: options.Dim = None,
    clahe: options.Clahe = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the descriptors here; a stopped run goes on, a second one is quick.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Describe images anew whose descriptors were kept.",
            rich_help_panel=options.DATA,
        ),
    ] = False,
    per_query: Annotated[
        bool,
        typer.Option(
            "--per-query", help="Print each query's average precision too.", rich_help_panel=options.MAIN
        ),
    ] = False,
    gallery: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Write a page of queries with their top results.",
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(min=1, max=1000, help="Results per query in the gallery.", rich_help_panel=options.MAIN),
    ] = 10,
    json: options.Json = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = 0,
    workers: options.Workers = None,
    download: obtain.Download = False,
) -> int:
    """Score descriptors on day-night benchmarks.

    Prints mAP (easy, medium and hard where the set has them), mP@k and recall@k, in percent, one line for each
    model, data set and protocol, beside the published figure where there is one:

        darkside evaluate --model gem_resnet101_cyclegan --dataset tokyo247
    """
    from darkside_cli.datasets.catalog import check_test_set
    from darkside_cli.images.clahe_settings import parse_clahe
    from darkside_cli.retrieval.describe.scales import parse_scales

    if not dataset:
        raise UsageError(
            "no data set given", hint=f"--dataset with {', '.join(_datasets())}, a file or a folder"
        )
    if bool(model) == bool(descriptors):
        raise UsageError(
            "give either --model or --descriptors", hint="--model gem_resnet101_cyclegan, for instance"
        )
    if gallery is not None and len(dataset) * len(model or descriptors or ()) > 1:
        raise UsageError(
            "a gallery shows one model on one data set", hint="leave out --gallery, or the others"
        )
    if whitening is not None and not whiten:
        raise UsageError("--whitening and --no-whiten contradict each other", hint="leave one of them out")
    if descriptors:
        of_models = {
            "--no-whiten": not whiten, "--whitening": whitening, "--dim": dim, "--clahe": clahe, "--keep": keep,
            "--overwrite": overwrite, "--scales": scales != "ms", "--image-size": image_size != 1024,
        }  # fmt: skip
        for flag, given in of_models.items():
            if given:
                raise UsageError(
                    f"{flag} says how a model describes images, but the descriptors are there already",
                    hint="leave it out, or give --model in place of --descriptors",
                )
    equalise, wanted_scales = parse_clahe(clahe), parse_scales(scales)
    if gallery is not None:
        refuse_folder(gallery)
    absences = Absences()
    for name in model or ():
        with absences:
            check_model(session.root, name, kind="descriptor")
    for spec in dataset:
        with absences:
            check_test_set(spec)
    for path in (*(descriptors or ()), distractors, whitening):
        with absences:
            check_path(path)
    for path in (images, *(distractor_images or ())):
        with absences:
            check_path(path, "folder")
    absences.tell()

    _obtain_all(session, [*(model or ()), *dataset], images=bool(model), download=download)
    from darkside_cli.images.threads import default_threads
    from darkside_cli.inference.device import pick_device
    from darkside_cli.retrieval.describe.extract import ExtractOptions
    from darkside_cli.retrieval.describe.load import load_descriptor
    from darkside_cli.retrieval.describe.store import open_descriptors
    from darkside_cli.retrieval.search import doubts
    from darkside_cli.retrieval.search import evaluate as core
    from darkside_cli.retrieval.search.benchmark import score

    more = doubts.Distractors(open_descriptors(distractors)) if distractors is not None else None
    benchmarks = [
        core.open_benchmark(
            spec,
            session.root,
            images=images,
            queries=query_folder or ("night",),
            database=database_folder or ("day",),
            distractor_folders=distractor_images or (),
        )
        for spec in dataset
    ]
    _check_folders(
        benchmarks, images=images, of_places=bool(query_folder or database_folder or distractor_images)
    )
    read = ExtractOptions(
        image_size_px=image_size or None,
        batch_size=batch_size,
        workers=workers or default_threads(8),
        on_error="nan",
        overwrite=overwrite,
    )
    chosen = pick_device(device)
    lines: list[ScoreLine] = []
    documents: list[dict[str, Any]] = []
    broken = False
    unkept = "nothing is kept" + (
        " without --keep DIR, which lets a run go on" if model and keep is None else ""
    )
    kept = model and keep is not None
    with nullcontext() if kept else lost_if_interrupted(unkept), session.progress() as progress:
        for benchmark in benchmarks:
            for notice in doubts.doubts_of_truth(benchmark.truth):
                progress.emit(notice)
        if model:
            for benchmark in benchmarks:
                core.require_images(benchmark)
        for name in model or [str(path) for path in descriptors or ()]:
            describer: Describer | None = None
            if model:
                describer = load_descriptor(
                    name,
                    root=session.root,
                    device=device,
                    precision=precision,
                    scales=wanted_scales,
                    whiten=whitening if whitening is not None else whiten,
                    dim=dim,
                    clahe=equalise,
                )
                if more is not None:
                    more.require_dim(describer.dim, describer.name)
            for benchmark in benchmarks:
                if describer is not None:
                    for notice in doubts.doubts_of_pictures(
                        benchmark.truth, describer.learned_from, describer.name
                    ):
                        progress.emit(notice)
                    own = replace(read, upright=benchmark.upright)
                    rows = core.describe_benchmark(
                        benchmark.truth,
                        describer,
                        options=own,
                        keep=keep and keep / core.kept_name(benchmark.truth, describer, own),
                        emit=progress.emit,
                    )
                else:
                    rows = core.rows_from_file(benchmark.truth, Path(name))
                    if more is not None:
                        more.require_dim(rows.database.shape[1], name)
                    for notice in doubts.doubts_of_rows(name, benchmark.truth, rows):
                        progress.emit(notice)
                failed = rows.failed(benchmark.truth)
                broken = broken or bool(failed)
                asked, rows = core.without_broken_queries(benchmark.truth, rows)
                lost = len(benchmark.truth.queries) - len(asked.queries)
                if failed:
                    progress.emit(
                        Notice(
                            f"{asked.name}: {doubts.some(failed)} without a descriptor; queries left out: {lost} of "
                            f"{len(benchmark.truth.queries)}, others count as found last",
                            level="warning",
                        )
                    )
                judged = replace(benchmark, truth=asked)
                result = score(
                    rows.database,
                    rows.queries,
                    asked,
                    distractors=more.blocks() if more is not None else None,
                    top=top if gallery else 0,
                    device=chosen,
                )
                for notice in (
                    *(more.doubts() if more is not None else ()),
                    *doubts.doubts_of_result(result),
                ):
                    progress.emit(notice)
                label = describer.name if describer is not None else name
                lines += core.score_lines(
                    label, result, entry=benchmark.entry, published=_published(label, benchmark)
                )
                figures = result.to_document(per_query=per_query or json)
                used = describer.name if describer is not None else rows.made_with
                documents.append(
                    {
                        "model": used,
                        "descriptors": None if describer is not None else name,
                        **figures,
                        "failed": list(failed),
                    }
                )
                if gallery is not None:
                    _write_gallery(gallery, label, judged, result)
    if json:
        session.output.json(
            {
                "results": documents,
                "lines": [{**asdict(line), "difference": line.difference} for line in lines],
            }
        )
    else:
        session.output.table(HEADING, [_cells(line) for line in lines], spare=SPARE)
        if per_query:
            _print_queries(session, documents)
        if gallery is not None:
            session.output.path(gallery)
    return EXIT_SOME_FAILED if broken else EXIT_DONE


def _obtain_all(session: Session, names: list[str], *, images: bool, download: bool) -> None:
    """Offer to get what is known by name and not here, as far as this command needs it; paths are not looked at.

    Descriptors that are there already need no ``images``, only the ground truth.
    """
    from darkside_cli.datasets.catalog import TEST_SETS
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.locate import state_on_disk

    root = session.root.path
    missing = []
    for name in names:
        if name in TEST_SETS:
            entry = TEST_SETS.get(name)
            there = entry.ground_truth(root).is_file() and (not images or entry.images(root).is_dir())
            if entry.made or not there:
                missing.append(entry.name)
        elif name in MODELS and state_on_disk(MODELS.get(name), root) != "ready":
            missing.append(MODELS.get(name).name)
    if missing:
        obtain.obtain(session, missing, download=download)


def _published(model: str, benchmark: Benchmark) -> float | None:
    from darkside_cli.networks.catalog import MODELS

    if model not in MODELS or benchmark.entry is None:
        return None
    return MODELS.get(model).scores.get(benchmark.entry.name)


def _check_folders(benchmarks: Sequence[Benchmark], *, images: Path | None, of_places: bool) -> None:
    """Refuse what would be passed over silently, and give other figures than people think."""
    for benchmark in benchmarks:
        if of_places and not benchmark.places:
            raise UsageError(
                f"{benchmark.truth.name} is no folder of places",
                hint="--query-folder, --database-folder and --distractor-images are for such folders; "
                "--distractors takes descriptors of more images",
            )
        if images is not None and benchmark.places:
            raise UsageError(
                f"the images of {benchmark.truth.name} are in its own folders", hint="leave out --images"
            )


def _figure(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None else format(value, form)


def _cells(line: ScoreLine) -> tuple[str, ...]:
    return (
        line.model,
        line.dataset,
        line.protocol,
        _figure(line.mean_average_precision, ".2f"),
        _figure(line.published),
        _figure(line.difference, "+.2f"),
        *map(_figure, line.precisions),
        *map(_figure, line.recalls),
        str(line.queries),
        str(line.database),
    )


def _print_queries(session: Session, documents: list[dict[str, Any]]) -> None:
    rows = [
        (
            document["descriptors"] or document["model"],
            document["dataset"],
            protocol,
            query["name"],
            _figure(query["AP"] and 100 * query["AP"], ".2f"),
        )
        for document in documents
        for protocol, figures in document["protocols"].items()
        for query in figures["per_query"]
    ]
    session.output.table(("model", "data set", "protocol", "query", "AP"), rows)


def _write_gallery(path: Path, model: str, benchmark: Benchmark, result: EvaluationResult) -> None:
    from darkside_cli.report.gallery import GalleryImage, GalleryRow, write_gallery

    truth = benchmark.truth
    known = truth.image_root is not None
    first = result.protocols[min(1, len(result.protocols) - 1)]  # medium, where there are three
    rows = []
    for query, found, ap in zip(truth.queries, result.top or (), first.average_precisions, strict=True):
        rows.append(
            GalleryRow(
                query=GalleryImage(
                    name=query.name, path=truth.image_path(query.name) if known else None, box=query.box
                ),
                results=[
                    GalleryImage(
                        name=image.name or f"distractor {image.index}",
                        path=truth.image_path(image.name) if image.name is not None and known else None,
                        score=image.score,
                        mark=_MARKS[image.group],  # type: ignore[arg-type]
                    )
                    for image in found
                ],
                note=f"AP {100 * ap:.1f}" if ap == ap else "not judged",
            )
        )
    facts = [
        ("model", model),
        ("data set", truth.name),
        *((f"mAP {s.protocol}", f"{100 * s.mean_average_precision:.2f}") for s in result.protocols),
    ]
    title = f"{Path(model).name} on {truth.name}"
    write_gallery(path, rows, title=title, facts=facts, upright=benchmark.upright)


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "evaluate")(evaluate)
