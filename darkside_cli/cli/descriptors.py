"""The commands about descriptors: ``extract``, ``search``, ``evaluate`` and ``whiten``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.command import app, command
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.output import Output
from darkside_cli.cli.session import Session, run_job
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, ImageReady, ImagesNamed, ItemFailed, ItemSkipped
from darkside_cli.jobs import evaluate as evaluation
from darkside_cli.jobs import extract as extraction
from darkside_cli.jobs import search as searching
from darkside_cli.jobs import whiten as whitening
from darkside_cli.jobs.request import MAIN
from darkside_cli.networks.others import trained_on

if TYPE_CHECKING:
    from darkside_cli.retrieval.search.score import ScoreLine

HEADING = (
    "model", "data set", "protocol", "mAP", "published", "diff",
    "mP@1", "mP@5", "mP@10", "R@1", "R@5", "R@10", "queries", "database",
)  # fmt: skip
_KS = 3
#: Left out of the table of scores, in this order, where the terminal is narrow.
SPARE = ("database", "queries", "R@10", "R@5", "mP@10", "mP@5", "mP@1")
#: In place recognition recall is what people compare.
PLACE_SPARE = ("database", "queries", "mP@10", "mP@5", "mP@1", "R@20", "R@10", "R@5")


@command(app, "extract", request=extraction.ExtractRequest)
def extract(
    session: Session,
    request: extraction.ExtractRequest,
    null: options.Null = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
) -> int:
    """Describe images: one vector each, all in one file.

    Vectors are multi-scale and whitened. Reads image files, folders, or names piped into standard input, and prints
    the path of the file:

        darkside extract photos -r --model gem_resnet101_hedngan -o photos.h5

    Images are called by their paths from the folder given, or from --image-root, whatever else is given. On several
    GPUs: torchrun --nproc-per-node 8 -m darkside_cli extract ... A run that was stopped is continued when it is
    started again.
    """
    from darkside_cli.training.distributed import Ranks

    with Ranks.from_environment() as ranks:
        # One process reads standard input for all: each would get another part of it.
        request = ranks.broadcast(_with_names(request, null=null) if ranks.is_first else None)

        result = run_job(
            replace(session, quiet=session.quiet or not ranks.is_first),
            request,
            partial(extraction.run, ranks=ranks),
            then=_line_printer(session.output) if jsonl else None,
        )
        if not ranks.is_first:
            return EXIT_DONE  # the first process answers for all
    if json:
        session.output.json(result.document())
    elif not jsonl and result.file is not None:
        session.output.path(result.file)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


def _with_names(request: extraction.ExtractRequest, *, null: bool) -> extraction.ExtractRequest:
    """``request`` with the images and names that standard input gives in place of ``-``, or of no image at all."""
    from darkside_cli.datasets.names import listed_names

    request = replace(request, null=null)
    paths = [os.fspath(path) for path in request.images]
    if request.image_root is None and request.image_list is None:
        return replace(request, images=tuple(options.input_paths(paths, null=null)))
    if request.image_list is not None and os.fspath(request.image_list) == "-":
        if "-" in paths:
            raise UsageError("standard input is given twice", hint="as PATHS or as --image-list, not both")
        root = request.image_root if request.image_root is not None else Path()
        request = replace(request, names=tuple(listed_names(sys.stdin.buffer, root, null=null)))
    elif request.image_list is None and paths:
        request = replace(request, names=())  # an empty pipe is no image, and not all of them
    return replace(request, images=tuple(options.input_paths(paths, null=null)) if paths else ())


def _line_printer(output: Output) -> Emit:
    """What writes a line of JSON about each image."""
    named = ImagesNamed({}, "")

    def print_line(event: Event) -> None:
        nonlocal named
        facts: dict[str, Any]
        if isinstance(event, ImagesNamed):
            named = event
            return
        if isinstance(event, ImageReady):
            facts = {"size": list(event.size_px), "seconds": round(event.seconds, 4)}
        elif isinstance(event, ItemSkipped):
            facts = {"skipped": True}
        elif isinstance(event, ItemFailed):
            facts = {"error": event.reason}
        else:
            return
        name = named.names[event.source]
        output.jsonl({"input": event.source, "name": name, **facts, "model": named.model})

    return print_line


@command(app, "search", request=searching.SearchRequest)
def search(
    session: Session,
    request: searching.SearchRequest,
    null: options.Null = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
) -> int:
    """Find the images of an index that are most like a photograph.

    Prints a line for each image found: query, rank, score and name, separated by tabs:

        darkside search --index photos.h5 night.jpg

    The score is the cosine of the angle between two descriptors. The index is a file of 'darkside extract', or one
    that hloc wrote: that does not say how it was made, so name --model, and --no-whiten or others as it was made
    with.
    """
    request = replace(request, queries=tuple(options.input_paths(request.queries, null=null)))
    result = run_job(session, request, searching.run, lost="nothing is kept of a search")
    if json:
        session.output.json(result.document())
    elif jsonl:
        for document in result.documents():
            session.output.jsonl(document)
    else:
        rows = [
            (str(answer.query), str(rank), f"{each.score:.6f}", each.image)
            for answer in result.answers
            for rank, each in enumerate(answer.found, 1)
        ]
        if session.output.is_terminal:
            session.output.table(("query", "rank", "score", "image"), rows)
        else:
            for row in rows:
                session.output.line(*row)
    return EXIT_SOME_FAILED if len(result.answers) < len(result.queries) else EXIT_DONE


@command(app, "evaluate", request=evaluation.EvaluateRequest)
def evaluate(
    session: Session,
    request: evaluation.EvaluateRequest,
    per_query: Annotated[
        bool,
        typer.Option("--per-query", help="Print each query's average precision too.", rich_help_panel=MAIN),
    ] = False,
    json: options.Json = False,
) -> int:
    """Score descriptors on day-night benchmarks.

    Prints mAP (easy, medium and hard where the set has them), mP@k and recall@k, in percent, one line for each
    model, data set and protocol, beside the published figure where there is one:

        darkside evaluate --model gem_resnet101_cyclegan --dataset tokyo247

    A folder with database/ and queries/ (in it, or in its test/ or val/) of images that are named
    @UTM_east@UTM_north@….jpg is scored as VPR-methods-evaluation scores it:

        darkside evaluate --model mine.safetensors --dataset pitts30k --gallery wrong.html --only-wrong
    """
    if request.model and request.keep is not None:
        lost = None
    elif request.model:
        lost = "nothing is kept without --keep DIR, which lets a run go on"
    else:
        lost = "nothing is kept"
    result = run_job(session, request, evaluation.run, lost=lost)
    if json:
        session.output.json(result.document())
    else:
        print_scores(session.output, result.lines)
        _tell_published(session, result)
        if per_query:
            _print_queries(session.output, result)
        if request.gallery is not None:
            session.output.path(request.gallery)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


def _tell_published(session: Session, result: evaluation.EvaluateResult) -> None:
    """On data sets that others published on: their recall@1 beside what was measured.

    Standard output has the table on a terminal only; elsewhere it is for what was measured, and people are told.
    """
    output = session.output
    for dataset, published in result.published.items():
        if not output.is_terminal:
            figures = ", ".join(f"{each.name} {_figure(recall)}" for each, recall in published)
            session.say(f"published recall@1 on {dataset}, within 25 m: {figures} (--json says by whom)")
            continue
        rows = [
            (
                f"{line.model}, here",
                _figure(next(iter(line.recalls), None)),
                trained_on(line.model) or "-",
                "measured",
            )
            for line in result.lines
            if line.dataset == dataset
        ]
        rows += [
            (each.name, _figure(recall), each.trained_on, each.recall_from) for each, recall in published
        ]
        output.text("")
        title = f"recall@1 on {dataset}, measured here, and published (a place within 25 m is right)"
        output.table(("model", "R@1", "trained on", "from"), rows, title=title, spare=("from", "trained on"))


def print_scores(output: Output, lines: Iterable[ScoreLine]) -> None:
    """Print the table of results; a narrow terminal does without some of its columns."""
    lines = list(lines)
    more = ("R@20",) if any(len(line.recalls) > _KS for line in lines) else ()  # of place recognition
    headings = (*HEADING[:-2], *more, *HEADING[-2:])
    spare = PLACE_SPARE if more else SPARE
    output.table(headings, [_cells(line, _KS + len(more)) for line in lines], spare=spare)


def _cells(line: ScoreLine, ks: int) -> tuple[str, ...]:
    recalls = (*line.recalls, *[None] * ks)[:ks]
    return (
        line.model,
        line.dataset,
        line.protocol,
        _figure(line.mean_average_precision, ".2f"),
        _figure(line.published),
        _figure(line.difference, "+.2f"),
        *map(_figure, line.precisions[:_KS]),
        *map(_figure, recalls),
        str(line.queries),
        str(line.database),
    )


def _figure(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None or value != value else format(value, form)


def _print_queries(output: Output, result: evaluation.EvaluateResult) -> None:
    rows = [
        (each.descriptors or each.model or "", each.scores.dataset, score.protocol, query, _figure(100 * ap, ".2f"))
        for each in result.evaluations
        for score in each.scores.protocols
        for query, ap in zip(each.scores.queries, score.average_precisions, strict=True)
    ]  # fmt: skip
    output.table(("model", "data set", "protocol", "query", "AP"), rows)


@command(app, "whiten", request=whitening.WhitenRequest)
def whiten(session: Session, request: whitening.WhitenRequest, *, json: options.Json = False) -> int:
    """Learn a descriptor whitening from images of the same places.

    For a model, whose images are described first, or for descriptors that are there already. Prints the path of its
    file:

        darkside whiten my-places --model mine.safetensors

        darkside whiten pairs.csv --descriptors plain.h5 -o lw.pkl

    'extract' and 'evaluate' take the file with --whitening.
    """
    result = run_job(session, request, whitening.run)
    if json:
        session.output.json(result.document())
    else:
        session.output.path(result.file)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE
