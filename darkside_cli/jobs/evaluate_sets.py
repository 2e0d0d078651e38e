"""The test sets of an evaluation: opened, and held against the options that are for some kinds of sets only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import UsageError
from darkside_cli.retrieval.search.benchmark import Benchmark, open_benchmark


def open_benchmarks(
    specs: Sequence[str],
    root: DataRoot,
    *,
    images: Path | None,
    queries: Sequence[str],
    database: Sequence[str],
    distractor_folders: Sequence[Path],
    within_m: float | None,
) -> list[Benchmark]:
    """Open the benchmarks ``specs``; the rest is as in :func:`open_benchmark`.

    Raises UsageError for what would be passed over silently, and give other figures.
    """
    benchmarks = [
        open_benchmark(
            spec,
            root,
            images=images,
            queries=queries,
            database=database,
            distractor_folders=distractor_folders,
            within_m=within_m,
        )
        for spec in specs
    ]
    for benchmark in benchmarks:
        name, places, utm = benchmark.truth.name, benchmark.places, benchmark.truth.within_m is not None
        if (queries or database) and not (places or utm):
            raise UsageError(
                f"{name} is no folder of places",
                hint="--query-folder and --database-folder are for such folders",
            )
        if distractor_folders and not places:
            raise UsageError(
                f"{name} is no folder of places",
                hint="--distractor-images is for such folders; --distractors takes descriptors of more images",
            )
        if within_m is not None and not utm:
            raise UsageError(
                f"nothing says where the images of {name} were taken",
                hint="--positive-dist is for folders database/ and queries/ of @UTM_east@UTM_north@….jpg",
            )
        if images is not None and (places or utm):
            raise UsageError(f"the images of {name} are in its own folders", hint="leave out --images")
    return benchmarks
