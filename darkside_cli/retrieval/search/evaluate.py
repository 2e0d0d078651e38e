"""A descriptor on a benchmark: find the benchmark, describe its images, score them."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.catalog import TEST_SETS, TestSet, check_test_set
from darkside_cli.datasets.ground_truth import GroundTruth
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.events import Emit, ignore
from darkside_cli.images.transforms import Box
from darkside_cli.interop.ground_truth import read_ground_truth
from darkside_cli.retrieval.describe.extract import (
    BatchDescriber,
    ExtractOptions,
    ImageJob,
    Rows,
    extract_array,
    extract_files,
    settings_digest,
)
from darkside_cli.retrieval.describe.finite import finite_rows, missing_as_nan
from darkside_cli.retrieval.describe.store import StoredDescriptors, open_descriptors
from darkside_cli.retrieval.search.benchmark import EvaluationResult
from darkside_cli.retrieval.search.places import ground_truth_from_places

_NAMED = 3


@dataclass(frozen=True)
class Benchmark:
    """A ground truth whose images can be found.

    ``entry`` is that of a set known by name. ``upright`` says whether images are turned by their EXIF orientation:
    those of published ground truths are not, as their figures and boxes were made from the pixels as stored.
    ``places`` says that it was made of folders of places.
    """

    truth: GroundTruth
    entry: TestSet | None = None
    upright: bool = True
    places: bool = False


@dataclass(frozen=True)
class BenchmarkRows:
    """Descriptors of a benchmark in the order of its names, (N, D) and (Q, D).

    Rows of broken images are NaN; others' files may have rows of which only some numbers are not finite, and such an
    image has no descriptor either.
    """

    database: Rows
    queries: Rows
    whole: tuple[str, ...] = ()
    """Queries with a box whose row in a file is by their plain name, so that nobody knows what it is of."""
    made_with: str | None = None
    """Model that is recorded with a file."""

    @property
    def broken(self) -> int:
        """How many rows are not finite."""
        return int((~self._finite()).sum())

    def failed(self, truth: GroundTruth) -> tuple[str, ...]:
        """Names of the images whose rows are not finite, each once."""
        names = [*truth.database, *(query.name for query in truth.queries)]
        return tuple(
            dict.fromkeys(name for name, fine in zip(names, self._finite(), strict=True) if not fine)
        )

    def _finite(self) -> NDArray[np.bool_]:
        parts = (finite_rows(torch.from_numpy(rows)).numpy() for rows in (self.database, self.queries))
        return np.concatenate(list(parts))


def open_benchmark(
    spec: str,
    root: DataRoot,
    *,
    images: Path | None = None,
    queries: Sequence[str] = ("night",),
    database: Sequence[str] = ("day",),
    distractor_folders: Sequence[Path] = (),
) -> Benchmark:
    """Find the benchmark ``spec``: a name, a ground truth file (.pkl, .json), or a folder.

    A folder is either one of the published layout (``gnd_*.pkl`` in it) or has a folder for each place, with
    ``queries`` and ``database`` folders in it. ``images`` is where the images are, if not where they are expected.

    Raises MissingAssetError when the ground truth is not on this machine, UnknownNameError for a name that is none,
    GroundTruthError for files that are no ground truth.
    """
    check_test_set(spec)
    if spec in TEST_SETS:
        entry = TEST_SETS.get(spec)
        path = entry.ground_truth(root.path)
        if not path.is_file():
            raise MissingAssetError(
                f"the ground truth of {entry.name} is not on this machine ({path})",
                hint=f"darkside download {entry.name}",
            )
        truth = read_ground_truth(path, name=entry.name, images=images or entry.images(root.path))
        return Benchmark(truth, entry, upright=False)
    path = Path(spec).expanduser()
    if path.is_dir():
        published = sorted(path.glob("gnd_*.pkl"))
        if len(published) == 1:
            return Benchmark(read_ground_truth(published[0], images=images), upright=False)
        found = sorted(file.name for kind in ("pkl", "json") for file in path.glob(f"gnd_*.{kind}"))
        if found and not any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir()):
            raise UsageError(
                f"{path} has the ground truths {', '.join(found)}", hint="name one of these files"
            )
        truth = ground_truth_from_places(
            path, queries=queries, database=database, distractors=distractor_folders
        )
        return Benchmark(truth, places=True)
    if not path.is_file():
        raise UsageError(
            f"{path} is neither a file nor a folder", hint="give a ground truth or a folder of places"
        )
    return Benchmark(read_ground_truth(path, images=images), upright=path.suffix.lower() == ".json")


def require_images(benchmark: Benchmark) -> None:
    """Raise MissingAssetError unless at least some of the benchmark's images are where they should be."""
    truth = benchmark.truth
    names = [*truth.database, *(query.name for query in truth.queries)]
    missing = [name for name in names if not truth.image_path(name).is_file()]
    if len(missing) < len(names):
        return  # single ones that are not there are named when it is their turn
    get = (
        f"darkside download {benchmark.entry.name}" if benchmark.entry else "say where they are with --images"
    )
    raise MissingAssetError(f"the images of {truth.name} are not in {truth.image_root}", hint=get)


def describe_benchmark(
    truth: GroundTruth,
    describer: BatchDescriber,
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
    if keep is None:
        rows = extract_array(wanted, describer, options=options, label=label, emit=emit)
    else:
        rows = _through_file(wanted, describer, keep, options, label, emit)
    index = {key: number for number, key in enumerate(jobs)}
    return BenchmarkRows(
        rows[[index[name, None] for name in truth.database]],
        rows[[index[query.name, query.box] for query in truth.queries]],
    )


def kept_name(truth: GroundTruth, describer: BatchDescriber, options: ExtractOptions) -> str:
    """Name for a file of a benchmark's descriptors: model, data set, and a digest.

    No other settings, weights or folder of images have that digest, so that files of several can be side by side.
    """
    made_of = f"{settings_digest(describer, options)} {truth.image_root and truth.image_root.absolute()}"
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


def _through_file(
    jobs: Sequence[ImageJob],
    describer: BatchDescriber,
    path: Path,
    options: ExtractOptions | None,
    label: str,
    emit: Emit,
) -> Rows:
    summary = extract_files(jobs, describer, path, options=options, label=label, emit=emit)
    rows = np.full((len(jobs), describer.dim), np.nan, dtype=np.float32)
    if summary.path is not None:
        stored = open_descriptors(summary.path)
        place = {job.name: number for number, job in enumerate(jobs)}
        rows[[place[name] for name in stored.names or ()]] = stored.read()
    return rows


def rows_from_file(truth: GroundTruth, path: Path) -> BenchmarkRows:
    """Precomputed descriptors of a benchmark: rows are found by their names, with or without folder and suffix.

    A file without names must hold the database's rows and then the queries', in the ground truth's order. Raises
    UsageError when images have no row.
    """
    stored = open_descriptors(path)
    rows = missing_as_nan(stored.read())
    if stored.names is None:
        expected = len(truth.database) + len(truth.queries)
        if len(rows) != expected:
            raise UsageError(
                f"{path} has no names and {len(rows)} rows, but {truth.name} has {expected} images",
                hint="give the database's rows and then the queries', or a file with names",
            )
        return BenchmarkRows(
            rows[: len(truth.database)], rows[len(truth.database) :], made_with=_model_of(stored)
        )
    exact = {name: number for number, name in enumerate(stored.names)}
    names = [*truth.database, *(query.name for query in truth.queries)]
    # A short name that two rows share, or two images of the benchmark, means neither.
    loose: dict[str, int | None] = {}
    for number, name in enumerate(stored.names):
        loose[_short(name)] = None if _short(name) in loose else number
    asked = Counter(_short(name) for name in set(names))

    def row_of(name: str, box: Box | None) -> int | None:
        for candidate in (_crop_name(name, box), name):
            if candidate in exact:
                return exact[candidate]
        return loose.get(_short(name)) if asked[_short(name)] == 1 else None

    database = [row_of(name, None) for name in truth.database]
    queries = [row_of(query.name, query.box) for query in truth.queries]
    missing = [name for name, row in zip(names, [*database, *queries], strict=True) if row is None]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise UsageError(
            f"{path} has no descriptor of {', '.join(missing[:_NAMED])}{more}",
            hint=f"it must hold all images of {truth.name}",
        )
    whole = tuple(
        query.name
        for query in truth.queries
        if query.box is not None and _crop_name(query.name, query.box) not in exact
    )
    return BenchmarkRows(rows[_numbers(database)], rows[_numbers(queries)], whole, _model_of(stored))


def _model_of(stored: StoredDescriptors) -> str | None:
    model = stored.metadata.get("model")
    return model if isinstance(model, str) else None


def _numbers(rows: Sequence[int | None]) -> NDArray[np.int64]:
    return np.array([row for row in rows if row is not None], dtype=np.int64)


def _short(name: str) -> str:
    """Name without folder, and without suffix if it has one that looks like an image's."""
    return re.sub(r"\.(jpe?g|png|webp|tiff?|bmp)$", "", name.rsplit("/", 1)[-1], flags=re.IGNORECASE)


@dataclass(frozen=True)
class ScoreLine:
    """One line of the table of results; figures in percent, None where nothing was judged or published."""

    model: str
    dataset: str
    protocol: str
    mean_average_precision: float | None
    published: float | None
    precisions: tuple[float | None, ...]
    recalls: tuple[float | None, ...]
    queries: int
    database: int

    @property
    def difference(self) -> float | None:
        """Points above the published figure."""
        if self.published is None or self.mean_average_precision is None:
            return None
        return self.mean_average_precision - self.published


def score_lines(
    model: str, result: EvaluationResult, *, entry: TestSet | None, published: float | None
) -> Iterator[ScoreLine]:
    """One line for each protocol; ``published`` stands beside the protocol that it is by."""
    for score in result.protocols:
        beside = entry is not None and entry.published_protocol == score.protocol and not result.distractors
        yield ScoreLine(
            model=model,
            dataset=f"{result.dataset}+{result.distractors}" if result.distractors else result.dataset,
            protocol=score.protocol,
            mean_average_precision=_percent(score.mean_average_precision),
            published=published if beside else None,
            precisions=tuple(map(_percent, score.mean_precisions)),
            recalls=tuple(map(_percent, score.recalls)),
            queries=score.judged,
            database=result.database_size,
        )


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else 100 * value
