"""``darkside search``: the images of a descriptor file that are nearest to photographs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import obtain, options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED, lost_if_interrupted
from darkside_cli.cli.extract import (
    any_there,
    list_images,
    make_jobs,
    obtain_descriptor,
    refuse_folder,
)
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.events import Event, ItemFailed, Notice
from darkside_cli.jobs.checks import Absences, check_model

if TYPE_CHECKING:
    from darkside_cli.retrieval.describe.describer import Describer
    from darkside_cli.retrieval.describe.extract import ExtractOptions, ImageJob
    from darkside_cli.retrieval.describe.store import StoredDescriptors
    from darkside_cli.retrieval.search.nearest import Indices, Scores

BACKENDS = ("exact", "faiss")
COLUMNS = ("query", "rank", "score", "image")


@dataclass(frozen=True)
class Answer:
    """A query, the scores and names of what was found, best first, and its own name, if that was left out."""

    job: ImageJob
    results: list[tuple[float, str]]
    left_out: str | None = None


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
    with_self: Annotated[
        bool,
        typer.Option(
            "--with-self/--without-self",
            help="Also name the query itself, if it is in the index.",
            rich_help_panel=options.MAIN,
        ),
    ] = False,
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
            help="Folder that the names in the index start from (default: as recorded).",
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
    image_size: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Shrink queries to this longest side first (default: as recorded, else 1024).",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(
            metavar="SCALES",
            help="ms, ss, or numbers: 1,0.7071,0.5 (default: as recorded, else ms).",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    whiten: Annotated[
        bool | None,
        typer.Option(
            "--whiten/--no-whiten",
            help="Whether queries are whitened (default: as recorded, else they are).",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    whitening: options.Whitening = None,
    dim: options.Dim = None,
    clahe: options.Clahe = None,
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

    The score is the cosine of the angle between two descriptors. The index is a file of 'darkside extract', or one
    that hloc wrote: that does not say how it was made, so name --model, and --no-whiten or others as it was made
    with.
    """
    from darkside_cli.images.clahe_settings import parse_clahe
    from darkside_cli.retrieval.backends import require_backend
    from darkside_cli.retrieval.describe.scales import parse_scales
    from darkside_cli.retrieval.describe.store import open_descriptors

    if gallery is not None:
        refuse_folder(gallery)
    if whiten is not None and not whiten and whitening is not None:
        raise UsageError("--no-whiten and --whitening contradict each other", hint="give one of them")
    equalise = None if clahe is None else parse_clahe(clahe)
    wanted_scales = None if scales is None else parse_scales(scales)
    absences = Absences()
    if model is not None:
        with absences:
            check_model(session.root, model, kind="descriptor")
    with absences:
        stored = open_descriptors(index)
    with absences:
        require_backend(backend)
    given = list_images(options.input_paths(queries, null=null), recursive=recursive)
    with absences:
        jobs = make_jobs(given, boxes)
    absences.tell()
    wanted = model if model is not None else stored.metadata.get("model")
    if isinstance(wanted, str):
        whitens = stored.metadata.get("whiten", True) if whiten is None else whiten
        needed = whitens is True and whitening is None
        obtain_descriptor(session, wanted, whitening=needed, download=download)

    from darkside_cli.images.threads import default_threads

    with lost_if_interrupted("nothing is kept of a search"), session.progress() as progress:
        if not jobs:
            progress.emit(Notice("no image names came in: nothing to do"))
            if json:
                session.output.json({"index": stored.path, "model": wanted, "queries": [], "failed": []})
            return EXIT_DONE
        failed: list[ItemFailed] = []

        def emit(event: Event) -> None:
            progress.emit(event)
            if isinstance(event, ItemFailed):
                failed.append(event)

        if not any_there(jobs, emit):
            if json:
                missing = [event.source for event in failed]
                session.output.json({"index": stored.path, "model": wanted, "queries": [], "failed": missing})
            if jsonl:
                for event in failed:
                    session.output.jsonl({"query": event.source, "error": event.reason, "model": wanted})
            return EXIT_SOME_FAILED

        from darkside_cli.retrieval.search.doubts import doubts_of_index
        from darkside_cli.retrieval.search.nearest import QuerySettings, describer_for, own_names

        settings = QuerySettings(
            scales=wanted_scales,
            whiten=whitening if whitening is not None else whiten,
            dim=dim,
            clahe=equalise,
        )
        threads = workers or default_threads(8)
        read = replace(_reading(stored, image_size), workers=threads)
        describer = describer_for(
            stored, model, settings=settings, root=session.root, device=device, precision=precision
        )
        own: list[str | None] = [None] * len(jobs)
        if not with_self:
            own = own_names(stored, [job.path for job in jobs], image_root=images)
        found = _look_up(stored, jobs, own, describer, top, backend, read, emit)
        for notice in doubts_of_index(stored):
            progress.emit(notice)
        left_out = sum(answer.left_out is not None for answer in found)
        if left_out:
            some = "1 query is" if left_out == 1 else f"{left_out} queries are"
            progress.emit(Notice(f"{some} in the index and not named as found; --with-self names them too"))
        if found and not any(answer.results or answer.left_out for answer in found):
            progress.emit(Notice(f"{index} has no descriptors: there is nothing to find", level="warning"))
        _print(session, stored, describer, jobs, found, failed, json=json, jsonl=jsonl)
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


def _reading(stored: StoredDescriptors, image_size: int | None) -> ExtractOptions:
    """How queries are read: as the index says its images were, else as extraction reads them."""
    from darkside_cli.retrieval.describe.extract import ExtractOptions

    size = stored.metadata.get("image_size", 1024)
    if size is not None and not (isinstance(size, int) and size > 0):
        raise UsageError(f"{stored.path} records an image size of {size!r}", hint="make the file again")
    if image_size is not None:
        wanted = image_size or None
        if "image_size" in stored.metadata and wanted != size:
            raise UsageError(
                f"{stored.path} was made with an image size of {size or 0}, not {image_size}",
                hint="leave --image-size out",
            )
        size = wanted
    return ExtractOptions(image_size_px=size, upright=bool(stored.metadata.get("upright", True)))


def _look_up(
    stored: StoredDescriptors,
    jobs: Sequence[ImageJob],
    own: Sequence[str | None],
    describer: Describer,
    top: int,
    backend: str,
    read: ExtractOptions,
    emit: Any,
) -> list[Answer]:
    """Describe the queries and find their nearest images but for their ``own``; broken queries are left out."""
    import numpy as np

    from darkside_cli.retrieval.describe.extract import extract_array
    from darkside_cli.retrieval.search.nearest import nearest

    rows = extract_array(jobs, describer, options=read, label=f"search {stored.path.name}", emit=emit)
    there = np.flatnonzero(np.isfinite(rows).all(axis=1))
    if not len(there):
        return []
    more = top + any(own[number] is not None for number in there.tolist())
    indices, scores = nearest(stored, rows[there], more, backend=backend, device=str(describer.device))
    answers = []
    for number, found, values in zip(there.tolist(), indices, scores, strict=True):
        results = [each for each in _named(stored, found, values) if each[1] != own[number]]
        answers.append(Answer(jobs[number], results[:top], own[number]))
    return answers


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
    jobs: Sequence[ImageJob],
    found: Sequence[Answer],
    failed: Sequence[ItemFailed],
    *,
    json: bool,
    jsonl: bool,
) -> None:
    documents = {
        answer.job.path: {
            "query": answer.job.path,
            "left_out": answer.left_out,
            "results": [
                {"rank": rank, "score": round(score, 6), "image": name}
                for rank, (score, name) in enumerate(answer.results, 1)
            ],
        }
        for answer in found
    }
    if json:
        session.output.json(
            {
                "index": stored.path,
                "model": describer.name,
                "queries": list(documents.values()),
                "failed": [event.source for event in failed],
            }
        )
        return
    if jsonl:
        reasons = {event.source: {"query": event.source, "error": event.reason} for event in failed}
        for job in jobs:
            document = documents.get(job.path) or reasons.get(job.path)
            if document is not None:
                session.output.jsonl({**document, "model": describer.name})
        return
    rows = [
        (str(answer.job.path), str(rank), f"{score:.6f}", name)
        for answer in found
        for rank, (score, name) in enumerate(answer.results, 1)
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
    found: Sequence[Answer],
    images: Path | None,
    workers: int,
) -> int:
    """Write the page; how many images of the index it cannot show."""
    from darkside_cli.report.gallery import GalleryImage, GalleryRow, write_gallery

    recorded = stored.metadata.get("image_root")
    root = images if images is not None else Path(recorded) if isinstance(recorded, str) else None
    rows = [
        GalleryRow(
            query=GalleryImage(name=str(answer.job.path), path=answer.job.path, box=answer.job.box),
            results=[
                GalleryImage(name=name, path=None if root is None else root / name, score=score)
                for score, name in answer.results
            ],
        )
        for answer in found
    ]
    facts = [("index", f"{stored.path.name}, {stored.count} images"), ("model", describer.name)]
    title = f"{len(rows)} {'query' if len(rows) == 1 else 'queries'} in {stored.path.name}"
    return write_gallery(path, rows, title=title, facts=facts, workers=workers)


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "search")(search)
