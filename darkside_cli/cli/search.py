"""``darkside search``: the images of a descriptor file that are nearest to photographs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import obtain, options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED, lost_if_interrupted
from darkside_cli.cli.extract import list_images, make_jobs, obtain_descriptor, refuse_folder
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.events import Event, ItemFailed, Notice

if TYPE_CHECKING:
    from darkside_cli.retrieval.describer import Describer
    from darkside_cli.retrieval.extract import ImageJob
    from darkside_cli.retrieval.search import Indices, Scores
    from darkside_cli.retrieval.store import StoredDescriptors

BACKENDS = ("exact", "faiss")
COLUMNS = ("query", "rank", "score", "image")

Found = list[tuple["ImageJob", list[tuple[float, str]]]]
"""For each query its job, and scores and names of what was found, best first."""


def search(
    session: Session,
    queries: Annotated[
        list[str] | None,
        typer.Argument(
            help="Photographs to look up, or folders of them; '-' or none at all reads their names from "
            "standard input.",
            metavar="QUERY...",
            show_default=False,
        ),
    ] = None,
    *,
    index: Annotated[
        Path,
        typer.Option(
            "--index",
            "-i",
            metavar="FILE",
            help="Descriptors to search: .h5, .npz or .npy.",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ],
    model: Annotated[
        str | None,
        options.choice(
            "model",
            options.descriptor_names,
            "--model",
            "-m",
            help="What to describe queries with (default: what the index was made with).",
            metavar="NAME|PATH",
            open_ended=True,
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            "--top", "-k", min=1, help="How many images to name for each query.", rich_help_panel=options.MAIN
        ),
    ] = 10,
    backend: Annotated[
        str,
        options.choice(
            "backend",
            lambda: BACKENDS,
            help="exact, in flat memory; or faiss, if it is installed.",
            rich_help_panel=options.ADVANCED,
        ),
    ] = "exact",
    gallery: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Also show queries and results on a page of their own.",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that the names in the index start from, for the page (default: as recorded).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Parts of queries to look up: .json or .csv, name to x1,y1,x2,y2 in pixels.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    recursive: options.Recursive = False,
    null: options.Null = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    workers: options.Workers = None,
    download: obtain.Download = False,
) -> int:
    """Find the images of an index that are most like a photograph.

    Prints a line for each image found: query, rank, score and name, separated by tabs:

        darkside search --index photos.h5 night.jpg

    The score is the cosine of the angle between two descriptors. The index is a file of 'darkside extract'.
    """
    from darkside_cli.retrieval.store import open_descriptors

    if gallery is not None:
        refuse_folder(gallery)
    stored = open_descriptors(index)
    given = list_images(options.input_paths(queries, null=null), recursive=recursive)
    jobs = make_jobs(given, boxes)
    wanted = model if model is not None else stored.metadata.get("model")
    if isinstance(wanted, str):
        needed = stored.metadata.get("whiten", True) is True
        obtain_descriptor(session, wanted, whitening=needed, download=download)

    from darkside_cli.engine.device import usable_cpus
    from darkside_cli.retrieval.doubts import doubts_of_index
    from darkside_cli.retrieval.search import describer_for, require_backend

    require_backend(backend)
    with lost_if_interrupted("nothing is kept of a search"), session.progress() as progress:
        if not jobs:
            progress.emit(Notice("no image names came in: nothing to do"))
            if json:
                session.output.json({"index": stored.path, "model": wanted, "queries": [], "failed": []})
            return EXIT_DONE
        describer = describer_for(stored, model, root=session.root, device=device, precision=precision)
        threads = workers or min(8, usable_cpus())
        failed: list[ItemFailed] = []

        def emit(event: Event) -> None:
            progress.emit(event)
            if isinstance(event, ItemFailed):
                failed.append(event)

        found = _look_up(stored, jobs, describer, top, backend, threads, emit)
        for notice in doubts_of_index(stored):
            progress.emit(notice)
        if found and not any(results for _, results in found):
            progress.emit(Notice(f"{index} has no descriptors: there is nothing to find", level="warning"))
        _print(session, stored, describer, found, failed, json=json, jsonl=jsonl)
        if gallery is not None:
            absent = _write_gallery(gallery, stored, describer, found, images, threads)
            if absent:
                progress.emit(
                    Notice(
                        f"{absent} pictures of the index are not where it says: name their folder with --images",
                        level="warning",
                    )
                )
            progress.emit(Notice(f"gallery: {gallery}"))
    return EXIT_SOME_FAILED if len(found) < len(jobs) else EXIT_DONE


def _look_up(
    stored: StoredDescriptors,
    jobs: Sequence[ImageJob],
    describer: Describer,
    top: int,
    backend: str,
    workers: int,
    emit: Any,
) -> Found:
    """Describe the queries and find their nearest images; broken queries are left out."""
    import numpy as np

    from darkside_cli.retrieval.extract import ExtractOptions, extract_array
    from darkside_cli.retrieval.search import nearest

    size = stored.metadata.get("image_size", 1024)
    if size is not None and not (isinstance(size, int) and size > 0):
        raise UsageError(f"{stored.path} records an image size of {size!r}", hint="make the file again")
    rows = extract_array(
        jobs,
        describer,
        options=ExtractOptions(
            image_size_px=size, upright=bool(stored.metadata.get("upright", True)), workers=workers
        ),
        label=f"search {stored.path.name}",
        emit=emit,
    )
    there = np.flatnonzero(np.isfinite(rows).all(axis=1))
    if not len(there):
        return []
    indices, scores = nearest(stored, rows[there], top, backend=backend, device=str(describer.device))
    return [
        (jobs[number], _named(stored, own, values))
        for number, own, values in zip(there.tolist(), indices, scores, strict=True)
    ]


def _named(stored: StoredDescriptors, indices: Indices, scores: Scores) -> list[tuple[float, str]]:
    names = stored.names
    return [
        (float(score), names[number] if names is not None else str(number))
        for number, score in zip(indices.tolist(), scores.tolist(), strict=True)
        if number >= 0
    ]


def _print(
    session: Session,
    stored: StoredDescriptors,
    describer: Describer,
    found: Found,
    failed: Sequence[ItemFailed],
    *,
    json: bool,
    jsonl: bool,
) -> None:
    documents = [
        {
            "query": job.path,
            "results": [
                {"rank": rank, "score": round(score, 6), "image": name}
                for rank, (score, name) in enumerate(own, 1)
            ],
        }
        for job, own in found
    ]
    if json:
        session.output.json(
            {
                "index": stored.path,
                "model": describer.name,
                "queries": documents,
                "failed": [event.source for event in failed],
            }
        )
        return
    if jsonl:
        for document in documents:
            session.output.jsonl(document)
        for event in failed:
            session.output.jsonl({"query": event.source, "error": event.reason})
        return
    rows = [
        (str(job.path), str(rank), f"{score:.6f}", name)
        for job, own in found
        for rank, (score, name) in enumerate(own, 1)
    ]
    if sys.stdout.isatty():
        session.output.table(COLUMNS, rows)
    else:
        for row in rows:
            session.output.line(*row)


def _write_gallery(
    path: Path,
    stored: StoredDescriptors,
    describer: Describer,
    found: Found,
    images: Path | None,
    workers: int,
) -> int:
    """Write the page; how many images of the index it cannot show."""
    from darkside_cli.report.gallery import GalleryImage, GalleryRow, write_gallery

    recorded = stored.metadata.get("image_root")
    root = images if images is not None else Path(recorded) if isinstance(recorded, str) else None
    rows = [
        GalleryRow(
            query=GalleryImage(name=str(job.path), path=job.path, box=job.box),
            results=[
                GalleryImage(name=name, path=None if root is None else root / name, score=score)
                for score, name in own
            ],
        )
        for job, own in found
    ]
    facts = [("index", f"{stored.path.name}, {stored.count} images"), ("model", describer.name)]
    title = f"{len(rows)} {'query' if len(rows) == 1 else 'queries'} in {stored.path.name}"
    return write_gallery(path, rows, title=title, facts=facts, workers=workers)


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "search")(search)
