"""A benchmark: a ground truth whose images can be found, and the descriptors of these images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.catalog import TEST_SETS, TestSet, check_test_set
from darkside_cli.datasets.ground_truth import GroundTruth
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.interop.ground_truth import read_ground_truth
from darkside_cli.retrieval.describe.extract import Rows
from darkside_cli.retrieval.describe.finite import finite_rows
from darkside_cli.retrieval.search.places import ground_truth_from_places


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
