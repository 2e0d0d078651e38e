"""Mining an epoch's tuples: ours against the obvious, side by side in one run, with equal results.

    python tests/benchmarks/bench_mining.py [--pool 10000] [--anchors 2000] [--queries 2000] [--negatives-pool 22000]
        [--negatives 5] [--dim 512] [--rounds 1] [--only anchors|negatives] [--ours]

Anchors, the obvious ways: "all distances" computes the matrix of all similarities of the pool and, for each further
anchor, takes the maximum over the rows of those chosen and sorts all of it; "best layout" computes only the rows of
those chosen, and keeps them together. Negatives, the obvious way: one product, a full argsort, and a walk down each
query's list.

Descriptors are unit vectors, of places, rounded to multiples of 1/2048: then every product is exact in float32, however
it is summed, so that results have to be equal to the last image, not nearly. Rounds take turns; figures are medians, in
seconds and in processor time of all threads, which other work on the machine disturbs less. Memory is the peak of the
process above what it held before. ``--ours`` leaves the obvious ways out, for sizes at which they have no room.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # where the obvious ways are

from bench_scoring import with_peak_mib
from obvious_mining import obvious_anchors, obvious_negatives

from darkside_cli.retrieval.mining.anchors import diverse_anchors, window
from darkside_cli.retrieval.mining.draws import TorchDraws
from darkside_cli.retrieval.mining.negatives import hard_negatives

EXCLUDE, INCLUDE = 0.2, 0.8
IMAGES_A_PLACE = 30
OURS = "darkside"


def descriptors(rng: np.random.Generator, centres: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Unit vectors that lean to their place's, in steps of 1/2048."""
    table = rng.standard_normal((len(clusters), centres.shape[1]), dtype=np.float32)
    table += centres[clusters]
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    table *= 2048
    np.round(table, out=table)
    table /= 2048
    return table


def draws() -> TorchDraws:
    return TorchDraws(torch.Generator().manual_seed(1))


def anchors_with_rows_kept(pool: np.ndarray, count: int) -> list[int]:
    """The quadratic way at its best: the rows of the anchors lie together, and each is computed once."""
    table, stream = torch.from_numpy(pool), draws()
    rows = torch.empty(count, len(pool))
    chosen = [0]
    for number in range(count - 1):
        torch.mv(table, table[chosen[-1]], out=rows[number])
        nearest = rows[: number + 1].amax(dim=0)
        nearest[chosen] = torch.inf
        lower, upper = window(len(pool) - len(chosen), EXCLUDE, INCLUDE)
        chosen.append(int(nearest.argsort(stable=True)[lower + stream.below(upper - lower)]))
    return chosen


def compare(title: str, ways: Mapping[str, Callable[[], Any]], rounds: int) -> None:
    """Run every way, check that all give the same, and print what each took."""
    seconds: dict[str, list[float]] = {label: [] for label in ways}
    work: dict[str, list[float]] = {label: [] for label in ways}
    memory: dict[str, float] = {}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for label, run in ways.items():
            started, worked = time.perf_counter(), time.process_time()
            results[label], memory[label] = with_peak_mib(run)
            seconds[label].append(time.perf_counter() - started)
            work[label].append(time.process_time() - worked)
            assert results[label] == results[OURS], f"{label} gives other results"
    print(f"{title}, {torch.get_num_threads()} threads, {rounds} rounds, equal results: {', '.join(ways)}")
    for label in ways:
        faster, cheaper = (
            statistics.median(a / b for a, b in zip(taken[label], taken[OURS], strict=True))
            for taken in (seconds, work)
        )
        print(
            f"  {label:<14} {statistics.median(seconds[label]):8.2f} s, {statistics.median(work[label]):8.2f} s of "
            f"processor time, {memory[label]:6.0f} MiB; darkside takes 1/{faster:.1f}, 1/{cheaper:.1f} of the work"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=int, default=10_000)
    parser.add_argument("--anchors", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--negatives-pool", type=int, default=22_000)
    parser.add_argument("--negatives", type=int, default=5)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=("anchors", "negatives"))
    parser.add_argument("--ours", action="store_true")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    places = max(2 * given.negatives, given.negatives_pool // IMAGES_A_PLACE)
    centres = rng.standard_normal((places, given.dim), dtype=np.float32)

    if given.only != "negatives":
        pool = descriptors(rng, centres, rng.integers(0, places, given.pool))
        ways: dict[str, Callable[[], Any]] = {
            OURS: lambda: diverse_anchors(
                pool, given.anchors, similar_exclude=EXCLUDE, similar_include=INCLUDE, draws=draws()
            ).positions.tolist()
        }
        if not given.ours:
            ways["all distances"] = lambda: obvious_anchors(pool, given.anchors, EXCLUDE, INCLUDE, draws())[0]
            ways["best layout"] = lambda: anchors_with_rows_kept(pool, given.anchors)
        compare(f"anchors: {given.anchors} of {given.pool} x {given.dim}", ways, given.rounds)
    if given.only != "anchors":
        of_pool, of_query = (rng.integers(0, places, n) for n in (given.negatives_pool, given.queries))
        pool, queries = descriptors(rng, centres, of_pool), descriptors(rng, centres, of_query)
        ways = {
            OURS: lambda: hard_negatives(queries, of_query, pool, of_pool, given.negatives).positions.tolist()
        }
        if not given.ours:
            ways["full sorts"] = lambda: obvious_negatives(queries, of_query, pool, of_pool, given.negatives)
        title = f"negatives: {given.negatives} for each of {given.queries} of {given.negatives_pool} x {given.dim}"
        compare(title, ways, given.rounds)


if __name__ == "__main__":
    main()
