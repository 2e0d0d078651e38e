"""Scoring with a million distractors: ours against the obvious, side by side in one run.

    python tests/benchmarks/bench_scoring.py [--images 1000000] [--dim 512] [--queries 70] [--rounds 5]

The obvious way is the one that evaluation scripts take: one matrix product of all descriptors, a full argsort
of each query's scores, and the metric from the places of the listed images in the sorted lists, for three
protocols. It runs in two forms: as it is written in NumPy (an image a row, sorted along the columns), and
with its best layout and PyTorch's matrix product (a query a row). Rounds take turns; the figures are medians
of the rounds, in seconds and in processor time of all threads, which other work on the machine disturbs less.
Memory is the peak of the process above what it held when a contestant began, so without the descriptors
themselves.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from darkside_cli.datasets.ground_truth import GroundTruth, Query
from darkside_cli.metrics.protocols import score_ranks
from darkside_cli.retrieval.search.score import score

# Revisited Oxford: 4993 images; a query has 43 easy, 36 hard and 19 junk ones on average.
DATABASE = 4993
GROUPS = {"easy": 43, "hard": 36, "junk": 19}
BLOCK = 65_536


def make_benchmark(images: int, dim: int, queries: int) -> tuple[np.ndarray, np.ndarray, GroundTruth]:
    """Random unit vectors; easy images lie near their query, hard and junk ones among the others' best."""
    rng = np.random.default_rng(0)
    database = np.empty((images, dim), dtype=np.float32)
    for first in range(0, images, BLOCK):
        part = database[first : first + BLOCK]
        rng.standard_normal(out=part, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    asked = rng.standard_normal((queries, dim)).astype(np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    size = min(DATABASE, images)
    entries = []
    for number in range(queries):
        chosen = np.split(
            rng.permutation(size)[: sum(GROUPS.values())], np.cumsum(list(GROUPS.values()))[:-1]
        )
        groups = {group: tuple(own.tolist()) for group, own in zip(GROUPS, chosen, strict=True)}
        entries.append(Query(f"q{number}", groups))
        for own, nearness in zip(chosen, (0.3, 0.1, 0.15), strict=True):
            database[own] += nearness * asked[number]
            database[own] /= np.linalg.norm(database[own], axis=1, keepdims=True)
    return database, asked, GroundTruth("benchmark", tuple(map(str, range(size))), tuple(entries))


def judge(lists: Iterator[np.ndarray], truth: GroundTruth) -> list[float]:
    """mAP of all protocols from full ranked lists, looking the listed images up in them for each protocol."""
    per_protocol: dict[str, list[dict[str, np.ndarray]]] = {p.name: [] for p in truth.protocols}
    for ranked, query in zip(lists, truth.queries, strict=True):
        for protocol in truth.protocols:
            found = {}
            for kind, names in (("relevant", protocol.relevant), ("junk", protocol.junk)):
                own = [index for name in names for index in query.groups[name]]
                found[kind] = np.flatnonzero(np.isin(ranked, own))
            per_protocol[protocol.name].append(
                {protocol.relevant[0]: found["relevant"], protocol.junk[0]: found["junk"]}
            )
    return [score_ranks(per_protocol[p.name], p).mean_average_precision for p in truth.protocols]


def obvious_numpy(database: np.ndarray, queries: np.ndarray, truth: GroundTruth) -> list[float]:
    ranks = np.argsort(-(database @ queries.T), axis=0)
    return judge(iter(ranks.T), truth)


def obvious_best_layout(database: np.ndarray, queries: np.ndarray, truth: GroundTruth) -> list[float]:
    scores = (torch.from_numpy(queries) @ torch.from_numpy(database).T).numpy()
    return judge(iter(np.argsort(-scores, axis=1)), truth)


def ours(database: np.ndarray, queries: np.ndarray, truth: GroundTruth) -> list[float]:
    size = len(truth.database)
    distractors = (database[first : first + BLOCK] for first in range(size, len(database), BLOCK))
    result = score(database[:size], queries, truth, distractors=distractors)
    return [protocol.mean_average_precision for protocol in result.protocols]


def memory_kib(field: str) -> int:
    """A line of /proc/self/status, 0 where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(field)), 0)


def with_peak_mib(run: Callable[[], list[float]]) -> tuple[list[float], float]:
    """Result of ``run``, and the peak of resident memory meanwhile above what was resident before."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory_kib("VmRSS")
    result = run()
    return result, (memory_kib("VmHWM") - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=70)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    benchmark = make_benchmark(arguments.images, arguments.dim, arguments.queries)
    contestants = {
        "obvious, NumPy": obvious_numpy,
        "obvious, best layout": obvious_best_layout,
        "darkside": ours,
    }
    figures: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    for label, run in contestants.items():  # warms up as well
        figures[label], memory[label] = with_peak_mib(partial(run, *benchmark))
    seconds: dict[str, list[float]] = {label: [] for label in contestants}
    work: dict[str, list[float]] = {label: [] for label in contestants}
    for _ in range(arguments.rounds):
        for label, run in contestants.items():
            started, worked = time.perf_counter(), time.process_time()
            run(*benchmark)
            seconds[label].append(time.perf_counter() - started)
            work[label].append(time.process_time() - worked)

    print(
        f"{arguments.queries} queries, {arguments.images} images of {arguments.dim} dimensions, "
        f"{torch.get_num_threads()} threads, {arguments.rounds} rounds"
    )
    for label in contestants:
        faster, cheaper = (
            statistics.median(a / b for a, b in zip(taken[label], taken["darkside"], strict=True))
            for taken in (seconds, work)
        )
        percent = ", ".join(f"{100 * value:.4f}" for value in figures[label])
        print(
            f"{label:<21} {statistics.median(seconds[label]):7.3f} s, darkside takes 1/{faster:.2f}; "
            f"{statistics.median(work[label]):7.3f} s of processor time, darkside 1/{cheaper:.2f}; "
            f"{memory[label]:5.0f} MiB beyond the descriptors; mAP E M H {percent}"
        )


if __name__ == "__main__":
    main()
