"""The page of an evaluation: each query, or each wrongly answered one, with the first images found for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.report.gallery import GalleryImage, GalleryRow, Mark, write_gallery

if TYPE_CHECKING:
    from darkside_cli.retrieval.search.benchmark import Benchmark
    from darkside_cli.retrieval.search.evaluate import BenchmarkScores
    from darkside_cli.retrieval.search.score import TopImage

_MARKS: dict[str | None, Mark] = {
    "ok": "right", "easy": "right", "hard": "right", "junk": "junk", None: "wrong",
}  # fmt: skip


def write_scored_gallery(
    page: Path, label: str, benchmark: Benchmark, scored: BenchmarkScores, *, only_wrong: bool = False
) -> int:
    """Write the page of what ``label`` found on ``benchmark``; how many queries it shows.

    ``scored`` has the first images of each query. With ``only_wrong`` only those queries are shown whose first image,
    junk aside, is wrong.
    """
    truth, result = scored.truth, scored.result

    def shown(known_as: str | None, **more: Any) -> GalleryImage:
        path = truth.image_path(known_as) if known_as is not None and truth.image_root is not None else None
        return GalleryImage(path=path, **more)

    first = result.protocols[min(1, len(result.protocols) - 1)]  # medium, where there are three
    unjudged = "not judged" if truth.within_m is None else f"nothing within {truth.within_m:g} m"
    rows = [
        GalleryRow(
            query=shown(query.name, name=query.name, box=query.box),
            results=[
                shown(
                    image.name,
                    name=image.name or f"distractor {image.index}",
                    score=image.score,
                    mark=_MARKS[image.group],
                )
                for image in found
            ],
            note=f"AP {100 * ap:.1f}" if ap == ap else unjudged,
        )
        for query, found, ap in zip(truth.queries, result.top or (), first.average_precisions, strict=True)
        if not only_wrong or _is_wrong(found)
    ]
    scores = [(f"mAP {s.protocol}", f"{100 * s.mean_average_precision:.2f}") for s in result.protocols]
    if truth.within_m is not None:
        pairs = zip(first.kappas, first.recalls, strict=True)
        scores += [(f"R@{k}", f"{100 * recall:.1f}") for k, recall in pairs]
    if only_wrong:
        scores.append(("wrong at first", f"{len(rows)} of {len(truth.queries)} queries"))
    facts = [("model", label), ("data set", truth.name), *scores]
    title = f"{Path(label).name} on {truth.name}"
    write_gallery(page, rows, title=title, facts=facts, upright=benchmark.upright)
    return len(rows)


def _is_wrong(found: Sequence[TopImage]) -> bool:
    marks = (_MARKS[image.group] for image in found)
    return next((mark for mark in marks if mark != "junk"), None) == "wrong"
