"""``darkside evaluate``: how well descriptors find the images of a benchmark, beside the published figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.offer import run_job
from darkside_cli.cli.output import Output
from darkside_cli.cli.session import Session, command
from darkside_cli.jobs.evaluate import EvaluateRequest, EvaluateResult, run
from darkside_cli.jobs.request import MAIN

if TYPE_CHECKING:
    from darkside_cli.retrieval.search.score import ScoreLine

HEADING = (
    "model", "data set", "protocol", "mAP", "published", "diff",
    "mP@1", "mP@5", "mP@10", "R@1", "R@5", "R@10", "queries", "database",
)  # fmt: skip
#: Left out of the table, in this order, where the terminal is narrow.
SPARE = ("database", "queries", "R@10", "R@5", "mP@10", "mP@5", "mP@1")


def evaluate(
    session: Session,
    request: EvaluateRequest,
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
    """
    if request.model and request.keep is not None:
        lost = None
    elif request.model:
        lost = "nothing is kept without --keep DIR, which lets a run go on"
    else:
        lost = "nothing is kept"
    result = run_job(session, request, run, lost=lost)
    if json:
        session.output.json(result.document())
    else:
        print_scores(session.output, result.lines)
        if per_query:
            _print_queries(session.output, result)
        if request.gallery is not None:
            session.output.path(request.gallery)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


def print_scores(output: Output, lines: Iterable[ScoreLine]) -> None:
    """Print the table of results; a narrow terminal does without some of its columns."""
    output.table(HEADING, [_cells(line) for line in lines], spare=SPARE)


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


def _figure(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None or value != value else format(value, form)


def _print_queries(output: Output, result: EvaluateResult) -> None:
    rows = [
        (each.descriptors or each.model or "", each.scores.dataset, score.protocol, query, _figure(100 * ap, ".2f"))
        for each in result.evaluations
        for score in each.scores.protocols
        for query, ap in zip(each.scores.queries, score.average_precisions, strict=True)
    ]  # fmt: skip
    output.table(("model", "data set", "protocol", "query", "AP"), rows)


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "evaluate", request=EvaluateRequest)(evaluate)
