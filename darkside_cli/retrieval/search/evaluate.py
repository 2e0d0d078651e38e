"""Descriptors scored on a benchmark: made by a model or read from a file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from darkside_cli.datasets.ground_truth import GroundTruth
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.images.boxes import Box
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.extract import extract_array, settings_digest
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob, row_finder
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.describe.tables import missing_as_nan
from darkside_cli.retrieval.search import warnings
from darkside_cli.retrieval.search.benchmark import Benchmark, BenchmarkRows
from darkside_cli.retrieval.search.score import EvaluationResult, score

_NAMED = 3


@dataclass(frozen=True)
class BenchmarkScores:
    """What descriptors are worth on a benchmark.

    ``truth`` is the ground truth without the queries that have no descriptor, ``failed`` names all images without
    one, ``made_with`` is the model that is recorded with a file of descriptors.
    """

    truth: GroundTruth
    result: EvaluationResult
    failed: tuple[str, ...]
    made_with: str | None = None


def evaluate_benchmark(
    benchmark: Benchmark,
    source: Describer | Path,
    *,
    options: ExtractOptions | None = None,
    keep: Path | None = None,
    distractors: warnings.Distractors | None = None,
    top: int = 0,
    device: str | torch.device = "cpu",
    emit: Emit = ignore,
) -> BenchmarkScores:
    """Score what a model makes of the images of ``benchmark``, or the descriptors in a file.

    ``options`` hold but for ``upright``, which is the benchmark's. ``keep`` is as in :func:`describe_benchmark`,
    ``top`` and ``device`` as in :func:`darkside_cli.retrieval.search.score.score`.
    """
    truth = benchmark.truth
    if isinstance(source, Path):
        rows = rows_from_file(truth, source)
        if distractors is not None:
            distractors.require_dim(rows.database.shape[1], str(source))
        told = warnings.of_rows(str(source), truth, rows)
    else:
        told = warnings.of_images(truth, source.learned_from, source.name)
    for notice in told:
        emit(notice)
    if not isinstance(source, Path):
        options = replace(options or ExtractOptions(), upright=benchmark.upright)
        rows = describe_benchmark(truth, source, options=options, keep=keep, emit=emit)
    failed = rows.failed(truth)
    asked, rows = without_broken_queries(truth, rows)
    if failed:
        text = (
            f"{truth.name}: {warnings.some(failed)} without a descriptor; queries left out: "
            f"{len(truth.queries) - len(asked.queries)} of {len(truth.queries)}, others count as found last"
        )
        emit(Notice(text, level="warning"))
    more = distractors.blocks() if distractors is not None else None
    result = score(rows.database, rows.queries, asked, distractors=more, top=top, device=device)
    for notice in (*(distractors.warnings() if distractors is not None else ()), *warnings.of_result(result)):
        emit(notice)
    return BenchmarkScores(asked, result, failed, rows.made_with)


def describe_benchmark(
    truth: GroundTruth,
    describer: Describer,
    *,
    options: ExtractOptions | None = None,
    keep: Path | None = None,
    emit: Emit = ignore,
) -> BenchmarkRows:
    """Describe all images of ``truth``, each once; queries are cropped to their box.

    ``keep`` is a descriptor file that the rows are written to: a run that was stopped goes on from there, and a
    second one with the same model and settings takes them from it.
    """
    jobs: dict[tuple[str, Box | None], ImageJob] = {}
    for name in truth.database:
        jobs.setdefault((name, None), ImageJob(truth.image_path(name), name))
    for query in truth.queries:
        job = ImageJob(truth.image_path(query.name), _crop_name(query.name, query.box), query.box)
        jobs.setdefault((query.name, query.box), job)
    wanted = list(jobs.values())
    label = f"{describer.name} on {truth.name}"
    rows = extract_array(wanted, describer, options=options, keep=keep, label=label, emit=emit)
    index = {key: number for number, key in enumerate(jobs)}
    return BenchmarkRows(
        rows[[index[name, None] for name in truth.database]],
        rows[[index[query.name, query.box] for query in truth.queries]],
    )


def kept_name(benchmark: Benchmark, describer: Describer, options: ExtractOptions) -> str:
    """Name for a file of a benchmark's descriptors, made by :func:`evaluate_benchmark`: model, data set, and a digest.

    No other settings, weights or folder of images have that digest, so that files of several can be side by side.
    """
    truth = benchmark.truth
    settings = settings_digest(describer, replace(options, upright=benchmark.upright))
    made_of = f"{settings} {truth.image_root and truth.image_root.absolute()}"
    plain = (re.sub(r"[^\w.+-]+", "_", Path(name).name) for name in (describer.name, truth.name))
    return f"{'-'.join(plain)}-{sha256(os.fsencode(made_of)).hexdigest()[:8]}.h5"


def without_broken_queries(truth: GroundTruth, rows: BenchmarkRows) -> tuple[GroundTruth, BenchmarkRows]:
    """Leave the queries out whose image has no finite descriptor: there is nothing to ask with.

    Raises UsageError if none is left.
    """
    good = [bool(np.isfinite(row).all()) for row in rows.queries]
    if all(good):
        return truth, rows
    if not any(good):
        raise UsageError(
            f"no query of {truth.name} has a descriptor", hint="see the failures above, or the file's rows"
        )
    kept = tuple(query for query, fine in zip(truth.queries, good, strict=True) if fine)
    return replace(truth, queries=kept), replace(rows, queries=rows.queries[good])


def _crop_name(name: str, box: Box | None) -> str:
    return name if box is None else f"{name}@{','.join(f'{side:g}' for side in box)}"


def rows_from_file(truth: GroundTruth, path: Path) -> BenchmarkRows:
    """Precomputed descriptors of a benchmark: rows are found by their names, with or without folder and suffix.

    A file without names must hold the database's rows and then the queries', in the ground truth's order. Raises
    UsageError when images have no row.
    """
    stored = open_descriptors(path)
    rows = missing_as_nan(stored.read())
    model = stored.metadata.get("model")
    made_with = model if isinstance(model, str) else None
    count = len(truth.database)
    if stored.names is None:
        expected = count + len(truth.queries)
        if len(rows) != expected:
            raise UsageError(
                f"{path} has no names and {len(rows)} rows, but {truth.name} has {expected} images",
                hint="give the database's rows and then the queries', or a file with names",
            )
        return BenchmarkRows(rows[:count], rows[count:], made_with=made_with)
    asked = [(name, None) for name in truth.database] + [(query.name, query.box) for query in truth.queries]
    row_of = row_finder(stored.names, {name for name, _ in asked}, _short)
    # A part of a set ("test") may have been described with the whole set: its names have the folders above, too.
    parts = truth.image_root.parts if truth.image_root is not None else ()
    above = ["/".join((*parts[-depth:], "")) for depth in (1, 2) if depth < len(parts)]
    places = [
        row_of(_crop_name(name, box), *(f"{folders}{_crop_name(name, box)}" for folders in above), name)
        for name, box in asked
    ]
    missing = [name for (name, _), place in zip(asked, places, strict=True) if place is None]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise UsageError(
            f"{path} has no descriptor of {', '.join(missing[:_NAMED])}{more}",
            hint=f"it must hold all images of {truth.name}",
        )
    crops = set(stored.names)
    whole = tuple(name for name, box in asked if box is not None and _crop_name(name, box) not in crops)
    found = rows[np.array(places, dtype=np.int64)]
    return BenchmarkRows(found[:count], found[count:], whole, made_with)


def _short(name: str) -> str:
    """Name without folder, and without suffix if it has one that looks like an image's."""
    return re.sub(r"\.(jpe?g|png|webp|tiff?|bmp)$", "", name.rsplit("/", 1)[-1], flags=re.IGNORECASE)
