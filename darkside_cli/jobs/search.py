"""Look images up in a file of descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.events import Emit, Event, ItemFailed, Notice, ignore
from darkside_cli.jobs.checks import Absences, check_model, check_page
from darkside_cli.jobs.fields import ANY_DESCRIPTOR, OnDevice, Whitened, worker_threads
from darkside_cli.jobs.needs import obtain_descriptor
from darkside_cli.jobs.request import ADVANCED, DATA, REQUIRED, ask, make

if TYPE_CHECKING:
    from darkside_cli.retrieval.describe.describer import Describer
    from darkside_cli.retrieval.describe.descriptor_file import DescriptorFile
    from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob


@dataclass(frozen=True, kw_only=True)
class SearchRequest(Whitened, OnDevice):
    """Which images are looked up in which file of descriptors, and how they are described."""

    positional = "queries"

    queries: tuple[Path, ...] = ask(
        "Photographs to look up, or folders of them; '-' or none at all reads their names from "
        "standard input.",
        (),
        metavar="QUERY...",
        argument=True,
    )
    index: Path = ask("Descriptors to search: .h5, .npz or .npy.", REQUIRED, short="-i", metavar="FILE")
    model: str | None = ask(
        "What to describe queries with (default: what the index was made with).", **ANY_DESCRIPTOR
    )
    top: int = ask("How many images to name for each query.", 10, short="-k", minimum=1)
    with_self: bool = ask(
        "Also name the query itself, if it is in the index.", False, flag="--with-self/--without-self"
    )
    backend: str = ask(
        "exact, in flat memory; or faiss, if it is installed.",
        "exact",
        kind="backend",
        choices_from="darkside_cli.retrieval.search:BACKENDS",
        group=ADVANCED,
    )
    gallery: Path | None = ask("Also show queries and results on a page of their own.", metavar="FILE.html")
    images: Path | None = ask(
        "Folder that the names in the index start from (default: as recorded).", metavar="DIR", group=DATA
    )
    boxes: Path | None = ask(
        "Parts of queries to look up: .json or .csv, name to x1,y1,x2,y2 in pixels.",
        metavar="FILE",
        group=DATA,
    )
    image_size: int | None = ask(
        "Shrink queries to this longest side first (default: as recorded, else 1024).",
        metavar="N",
        minimum=0,
        group=ADVANCED,
    )
    scales: str | None = ask(
        "ms, ss, or numbers: 1,0.7071,0.5 (default: as recorded, else ms).", metavar="SCALES", group=ADVANCED
    )
    whiten: bool | None = ask(
        "Whether queries are whitened (default: as recorded, else they are).", group=ADVANCED
    )
    recursive: bool = ask("Take the images of sub-folders too.", False, short="-r", group=DATA)
    workers: int | None = worker_threads()

    def check(self) -> None:
        """Raise UsageError for contradictions, and for a page that is a folder."""
        super().check()
        check_page(self.gallery)
        self.check_description(self.scales, self.whiten)


@dataclass(frozen=True)
class Found:
    """An image of the index that was found: ``score`` is the cosine of the angle between the two descriptors."""

    score: float
    image: str


@dataclass(frozen=True)
class Answer:
    """What was found for one query, best first. ``left_out`` is its own name in the index, if it is not named."""

    query: Path
    found: tuple[Found, ...]
    left_out: str | None = None
    box: tuple[float, float, float, float] | None = None

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        return {
            "query": self.query,
            "left_out": self.left_out,
            "results": [
                {"rank": rank, "score": round(each.score, 6), "image": each.image}
                for rank, each in enumerate(self.found, 1)
            ],
        }


@dataclass(frozen=True)
class SearchResult:
    """What was found: ``answers`` of the queries that could be described, in their order.

    ``failed`` says of the others why they could not. ``model`` is None if nobody knows it, where nothing was asked.
    """

    index: Path
    model: str | None
    queries: tuple[Path, ...] = ()
    answers: tuple[Answer, ...] = ()
    failed: dict[Path, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "index": self.index,
            "model": self.model,
            "queries": [answer.document() for answer in self.answers],
            "failed": list(self.failed),
        }

    def documents(self) -> list[dict[str, Any]]:
        """What ``--jsonl`` prints: of each query, in their order, what was found or why nothing could be."""
        found = {answer.query: answer.document() for answer in self.answers}
        errors = {query: {"query": query, "error": reason} for query, reason in self.failed.items()}
        told = (found.get(query) or errors.get(query) for query in self.queries)
        return [{**each, "model": self.model} for each in told if each is not None]


def search(*queries: Any, emit: Emit = ignore, **options: Any) -> SearchResult:
    """Look images up: ``search("night.jpg", index="images.h5", top=5)``.

    See :class:`SearchRequest` and :func:`run`.
    """
    return run(make(SearchRequest, *queries, **options), emit=emit)


def run(request: SearchRequest, *, emit: Emit = ignore) -> SearchResult:
    """Describe the queries of ``request`` as the index was made, and find the images that are nearest to them.

    Queries that cannot be read are told of and the others go on. Raises UsageError for what cannot be meant and for a
    model that the index was not made with, MissingAssetError if the model, the index or FAISS is not on this machine.
    """
    from darkside_cli.images.settings import default_threads
    from darkside_cli.retrieval.describe.image_jobs import any_there, find_images, make_jobs
    from darkside_cli.retrieval.describe.store import open_descriptors
    from darkside_cli.retrieval.search import import_faiss

    absences = Absences()
    if request.model is not None:
        absences(check_model, request.root, request.model, kind="descriptor", trust=request.trusted)
    stored = absences(open_descriptors, request.index)
    if request.backend == "faiss":
        absences(import_faiss)
    images = find_images(request.queries, recursive=request.recursive)
    jobs = absences(make_jobs, images, request.boxes)
    absences.tell()
    wanted = request.model if request.model is not None else stored.metadata.get("model")
    if isinstance(wanted, str):
        whitens = stored.metadata.get("whiten", True) if request.whiten is None else request.whiten
        obtain_descriptor(request, wanted, whitening=whitens is True and request.whitening is None, emit=emit)
    if not jobs:
        emit(Notice("no image names came in: nothing to do"))
        return SearchResult(stored.path, wanted)
    queries = tuple(job.path for job in jobs)
    failed: dict[Path, str] = {}

    def record(event: Event) -> None:
        emit(event)
        if isinstance(event, ItemFailed):
            failed[event.source] = event.reason

    if not any_there(jobs, record):
        return SearchResult(stored.path, wanted, queries, failed=failed)

    from darkside_cli.retrieval.search import warnings
    from darkside_cli.retrieval.search.nearest import describer_for, reading_for

    settings = request.query_settings(request.scales, request.whiten)
    where: Any = {"device": request.device, "precision": request.precision, "trust": request.trusted}
    describer = describer_for(stored, request.model, settings=settings, root=request.root, **where)
    read = replace(
        reading_for(stored, describer, request.image_size), workers=request.workers or default_threads(8)
    )
    answers = _look_up(request, stored, jobs, describer, read, record)
    for notice in warnings.of_index(stored):
        emit(notice)
    left_out = sum(answer.left_out is not None for answer in answers)
    if left_out:
        some = "1 query is" if left_out == 1 else f"{left_out} queries are"
        emit(Notice(f"{some} in the index and not named as found; --with-self names them too"))
    if answers and not any(answer.found or answer.left_out for answer in answers):
        emit(Notice(f"{request.index} has no descriptors: there is nothing to find", level="warning"))
    if request.gallery is not None:
        absent = _write_gallery(request, request.gallery, stored, describer.name, answers, read.workers)
        if absent:
            lost = f"{absent} pictures of the index are not where it says: name their folder with --images"
            emit(Notice(lost, level="warning"))
        emit(Notice(f"gallery: {request.gallery}"))
    return SearchResult(stored.path, describer.name, queries, answers, failed)


def _look_up(
    request: SearchRequest,
    stored: DescriptorFile,
    jobs: Sequence[ImageJob],
    describer: Describer,
    read: ExtractOptions,
    emit: Emit,
) -> tuple[Answer, ...]:
    """Describe the queries and find their nearest images but for themselves; broken queries are left out."""
    import numpy as np

    from darkside_cli.retrieval.describe.extract import extract_array
    from darkside_cli.retrieval.search.nearest import nearest, own_names

    own: list[str | None] = [None] * len(jobs)
    if not request.with_self:
        own = own_names(stored, [job.path for job in jobs], image_root=request.images)
    rows = extract_array(jobs, describer, options=read, label=f"search {stored.path.name}", emit=emit)
    there = np.flatnonzero(np.isfinite(rows).all(axis=1)).tolist()
    if not there:
        return ()
    more = request.top + any(own[number] is not None for number in there)
    where: dict[str, Any] = {"backend": request.backend, "device": str(describer.device)}
    indices, scores = nearest(stored, rows[there], more, **where)
    answers = []
    for number, places, values in zip(there, indices.tolist(), scores.tolist(), strict=True):
        found = [
            Found(float(value), stored.names[place] if stored.names is not None else str(place))
            for place, value in zip(places, values, strict=True)
            if place >= 0
        ]
        others = [each for each in found if each.image != own[number]][: request.top]
        answers.append(Answer(jobs[number].path, tuple(others), own[number], jobs[number].box))
    return tuple(answers)


def _write_gallery(
    request: SearchRequest,
    page: Path,
    stored: DescriptorFile,
    model: str,
    answers: Sequence[Answer],
    workers: int,
) -> int:
    """Write the page of queries and results; how many images of the index it cannot show."""
    from darkside_cli.report.gallery import GalleryImage, GalleryRow, write_gallery

    recorded = stored.metadata.get("image_root")
    root = request.images or (Path(recorded) if isinstance(recorded, str) else None)
    rows = [
        GalleryRow(
            query=GalleryImage(name=str(answer.query), path=answer.query, box=answer.box),
            results=[
                GalleryImage(name=each.image, path=root and root / each.image, score=each.score)
                for each in answer.found
            ],
        )
        for answer in answers
    ]
    facts = [("index", f"{stored.path.name}, {stored.count} images"), ("model", model)]
    title = f"{len(rows)} {'query' if len(rows) == 1 else 'queries'} in {stored.path.name}"
    return write_gallery(page, rows, title=title, facts=facts, workers=workers)
