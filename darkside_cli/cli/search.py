"""``darkside search``: the images of a descriptor file that are nearest to photographs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.offer import run_job
from darkside_cli.cli.session import Session, command
from darkside_cli.jobs.search import SearchRequest, run

COLUMNS = ("query", "rank", "score", "image")


def search(
    session: Session,
    request: SearchRequest,
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
    queries = options.input_paths([str(path) for path in request.queries], null=null)
    result = run_job(
        session, replace(request, queries=tuple(queries)), run, lost="nothing is kept of a search"
    )
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
            session.output.table(COLUMNS, rows)
        else:
            for row in rows:
                session.output.line(*row)
    return EXIT_SOME_FAILED if len(result.answers) < len(result.queries) else EXIT_DONE


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "search", request=SearchRequest)(search)
