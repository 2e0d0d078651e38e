"""Exact search: queries against a database, tile by tile, on CPU or GPU, in memory that does not grow with it.

The score of a query and a database image is the dot product of their descriptors in float32. Higher scores come first,
equal scores in the order of the database, images without a descriptor (NaN) last. Ranks and top lists are those of a
stable sort of all scores, which is never made (see :mod:`darkside_cli.metrics.ranking`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import torch
from torch import Tensor

from darkside_cli.errors import UsageError
from darkside_cli.metrics.ranking import IntArray, RankCounter, Scores, TopK
from darkside_cli.retrieval.describe.tables import (
    Descriptors,
    TileScorer,
    as_float32,
    check_descriptors,
    default_rows,
    take,
)
from darkside_cli.retrieval.search.device_ranking import DeviceRankCounter, DeviceTopK


@dataclass(frozen=True)
class Scan:
    """What one pass over the descriptors found.

    ``ranks``: for each query the ranks, from 0, of its listed images in the list of all ``scanned`` images.
    ``top_indices``, ``top_scores``: (Q, K), the first K = min(k, scanned) images, best first.
    """

    ranks: tuple[IntArray, ...]
    top_indices: IntArray
    top_scores: Scores
    scanned: int


@torch.no_grad()
def scan(
    queries: Descriptors,
    database: Descriptors,
    *,
    listed: Sequence[Sequence[int] | IntArray] | None = None,
    k: int = 0,
    more: Iterable[Descriptors] | None = None,
    block: int | None = None,
    device: str | torch.device = "cpu",
) -> Scan:
    """Score every query against every descriptor once; give the ranks of listed images and the top lists.

    ``queries`` (Q, D); ``database`` (N, D). ``more`` yields further descriptors (M_i, D), any number of them, which are
    read as they are needed and follow the database in index: distractors. ``listed`` has database indices for each
    query. ``block`` is the number of descriptors scored at a time (default: what suits the caches or the GPU). Memory
    beyond the descriptors is about ``8 * block * Q + 8 * block * D`` bytes, however many there are.

    Near ties aside, which another ``block``, device or number of threads may round otherwise, results do not depend on
    how the descriptors come in parts.

    Raises UsageError if shapes do not fit, an index is outside the database, a query's descriptor is not finite, or
    ``k`` or ``block`` is out of range.
    """
    check_descriptors(queries, "the queries")
    check_descriptors(database, "the database's descriptors", queries.shape[1])
    if k < 0 or (block is not None and block < 1):
        raise UsageError(f"k is {k}, block {block}", hint="k is at least 0, block at least 1")
    target = torch.device(device)
    probe = as_float32(queries).to(target).contiguous()
    _refuse_missing(probe)
    known_total = len(database) if more is None else None
    scorer = TileScorer(probe, block or default_rows(len(probe), probe.shape[1], target, known_total))
    own = _Listed(scorer, database, listed)
    scanned = 0
    with _counting(own, k, target) as (update, finish):
        for first, scores in scorer.tiles(chain((database,), more or ())):
            own.put(scores, first)
            update(scores, first)
            scanned = first + scores.shape[1]
        return Scan(*finish(), scanned)


class _Listed:
    """Database indices listed for each query, and their scores, which counting needs before all others.

    They are computed from copies of the descriptors, in tiles as all are. Should a library round them otherwise than in
    their places all the same, an image would come before itself; so they are also put in their places.
    """

    def __init__(
        self, scorer: TileScorer, database: Descriptors, listed: Sequence[Sequence[int] | IntArray] | None
    ) -> None:
        queries = len(scorer.queries)
        if listed is not None and len(listed) != queries:
            raise UsageError(f"there are lists for {len(listed)} queries, but {queries} queries")
        self.indices = [np.asarray(own, dtype=np.int64).reshape(-1) for own in listed or [()] * queries]
        every = np.concatenate([np.empty(0, dtype=np.int64), *self.indices])
        if len(every) and not (every.min() >= 0 and every.max() < len(database)):
            wrong = every.min() if every.min() < 0 else every.max()
            raise UsageError(f"image {wrong} is listed, but the database has {len(database)}")
        owner = np.repeat(np.arange(queries), [len(own) for own in self.indices])
        scores = self._score(scorer, database, every, owner)
        self.scores = np.split(scores, np.cumsum([len(own) for own in self.indices])[:-1]) if queries else []
        by_index = np.argsort(every, kind="stable")
        self._sorted = every[by_index]
        self._places = torch.from_numpy(np.stack([owner[by_index], self._sorted])).to(scorer.queries.device)
        self._values = torch.from_numpy(scores[by_index]).to(scorer.queries.device)

    def put(self, scores: Tensor, first: int) -> None:
        """Put the listed images' scores into those (Q, n) of images ``first`` to ``first + n``."""
        begin, end = np.searchsorted(self._sorted, (first, first + scores.shape[1])).tolist()
        if begin < end:
            rows, columns = self._places[:, begin:end]
            scores[rows, columns - first] = self._values[begin:end]

    @staticmethod
    def _score(scorer: TileScorer, database: Descriptors, every: IntArray, owner: IntArray) -> Scores:
        images, position = np.unique(every, return_inverse=True)
        scores = np.empty(len(every), dtype=np.float32)
        parts = (
            take(database, part) for part in np.split(images, range(scorer.rows, len(images), scorer.rows))
        )
        for first, tile in scorer.tiles(parts):
            here = np.flatnonzero((position >= first) & (position < first + tile.shape[1]))
            places = torch.from_numpy(np.stack([owner[here], position[here] - first])).to(tile.device)
            scores[here] = tile[places[0], places[1]].cpu().numpy()
        return scores


_Update = Callable[[Tensor, int], None]
_Finish = Callable[[], tuple[tuple[IntArray, ...], IntArray, Scores]]


@contextmanager
def _counting(own: _Listed, k: int, device: torch.device) -> Iterator[tuple[_Update, _Finish]]:
    """Give what to do with each tile's scores, and what gives the result in the end."""
    queries = len(own.indices)
    if device.type != "cpu":
        device_counter = DeviceRankCounter(own.indices, own.scores, device)
        device_top = DeviceTopK(queries, k, device)

        def update_on_device(scores: Tensor, first: int) -> None:
            device_counter.update(scores, first)
            device_top.update(scores, first)

        yield update_on_device, lambda: (device_counter.ranks(), device_top.indices, device_top.scores)
        return

    counter, top = RankCounter(own.indices, own.scores), TopK(queries, k)
    threads = max(1, min(torch.get_num_threads(), queries))
    bounds = list(pairwise(np.linspace(0, queries, threads + 1).astype(int).tolist()))
    counts = any(len(indices) for indices in own.indices)

    with ThreadPoolExecutor(threads) as pool:

        def update(scores: Tensor, first: int) -> None:
            block = scores.numpy()

            def count(part: tuple[int, int]) -> None:
                counter.update(block[slice(*part)], first, first_query=part[0])

            if counts:
                list(pool.map(count, bounds))
            top.update(block, first)

        yield update, lambda: (counter.ranks(), top.indices, top.scores)


def _refuse_missing(queries: Tensor) -> None:
    wrong = (~queries.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if wrong:
        raise UsageError(
            f"query {wrong[0]} has no descriptor: it is not finite"
            + (f", and so are {len(wrong) - 1} others" if len(wrong) > 1 else ""),
            hint="extract it again, or take the query out of the ground truth",
        )
