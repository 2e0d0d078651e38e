"""Hard negatives: the most similar images of other places, one a place (Radenović et al., TPAMI 2019, section 4.2).

The pool is scored tile by tile. Once a query has as many places as it needs, only images that score higher than its
last one can change anything; they are few, so that all but the matrix product is cheap, nothing is sorted in full,
and memory does not grow with the pool.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darkside_cli.errors import UsageError
from darkside_cli.losses.metric_learning import EPS
from darkside_cli.metrics.ranking import IntArray, Scores
from darkside_cli.retrieval.describe.tables import (
    Descriptors,
    TileScorer,
    as_float32,
    check_descriptors,
    default_rows,
    finite_rows,
    take,
)

# How deep a tile is first looked into for a query without a full list, and by how much deeper after that.
_FIRST_DEPTH, _DEEPER = 4, 8
_MOST_CANDIDATES = 1 << 19
_DISTANCE_VALUES = 1 << 22


@dataclass(frozen=True)
class HardNegatives:
    """``positions`` in the pool and ``scores``, (Q, K) each, best first."""

    positions: IntArray
    scores: Scores


@dataclass(frozen=True)
class Apart:
    """Where ``queries`` (Q, 2) and the ``pool`` (P, 2) were taken, in metres; what is within ``metres`` is near."""

    queries: NDArray[np.float64]
    pool: NDArray[np.float64]
    metres: float

    def far(self, owner: IntArray, position: IntArray) -> NDArray[np.bool_]:
        """Whether images at ``position`` (n,) of the pool are not near the queries ``owner`` (n,); NaN never is."""
        away = ((self.pool[position] - self.queries[owner]) ** 2).sum(axis=1)
        return np.asarray(~(away <= self.metres**2))


def hard_negatives(
    queries: Descriptors,
    query_clusters: IntArray,
    pool: Descriptors,
    pool_clusters: IntArray,
    count: int,
    *,
    apart: Apart | None = None,
    block: int | None = None,
    device: str | torch.device | None = None,
) -> HardNegatives:
    """Find for every query the ``count`` best images of the pool, no two of one cluster and none of the query's.

    With ``apart``, none that was taken near the query is among them.

    ``queries`` (Q, D) and ``pool`` (P, D), which may be memory-mapped, are scored by dot products in float32; of equal
    scores the earlier image in the pool comes first. ``query_clusters`` (Q,), ``pool_clusters`` (P,). ``block`` images
    are scored at a time (default: what suits the caches or the device); ``device`` defaults to where the pool is.

    Raises UsageError if shapes do not fit, there are too few clusters (it says how many there are), or an image has
    no descriptor.
    """
    check_descriptors(queries, "the anchors' descriptors")
    check_descriptors(pool, "the pool's descriptors", queries.shape[1])
    for rows, clusters in ((queries, query_clusters), (pool, pool_clusters)):
        if np.shape(clusters) != (len(rows),):
            raise UsageError(f"there are {len(rows)} descriptors, but {len(clusters)} clusters")
    if count < 0:
        raise UsageError(f"{count} negatives are not to be had", hint="ask for 0 or more")
    if not (count and len(queries)):
        empty = np.empty((len(queries), count))
        return HardNegatives(empty.astype(np.int64), empty.astype(np.float32))
    _require_clusters(query_clusters, pool_clusters, count)
    target = torch.device(device or (pool.device if isinstance(pool, Tensor) else "cpu"))
    probe = as_float32(queries).to(target).contiguous()
    if not bool(finite_rows(probe).all()):
        raise UsageError("an anchor has no descriptor: it is not finite", hint="leave broken images out")
    rows_at_once = block or default_rows(len(probe), probe.shape[1], target, len(pool))
    found = _Lists(query_clusters, pool_clusters, count, apart)
    with torch.no_grad():
        for first, scores in TileScorer(probe, rows_at_once).tiles((pool,)):
            if not bool(scores[0].isfinite().all()):  # a row that is not finite has no finite score
                raise UsageError(
                    "an image of the negative pool has no descriptor", hint="leave broken images out"
                )
            found.update(scores, first)
    full = (found.positions >= 0).sum(axis=1)
    if full.min() < count:
        raise _too_few(count, len(pool_clusters), int(full.min()))
    return HardNegatives(found.positions, found.scores)


def negative_distances(queries: Descriptors, pool: Descriptors, positions: IntArray) -> Scores:
    """Distances ``|q - n + 1e-6|``, (Q, K), as in the loss, of the negatives at ``positions`` (Q, K) of the pool."""
    result = np.empty(positions.shape, dtype=np.float32)
    at_once = max(1, _DISTANCE_VALUES // max(1, positions.shape[1] * queries.shape[1]))
    for first in range(0, len(positions), at_once):
        part = slice(first, first + at_once)
        wanted = positions[part].reshape(-1)
        chosen = as_float32(take(pool, wanted))
        own = as_float32(queries[part]).to(chosen.device)
        difference = own[:, None] - chosen.reshape(len(own), -1, chosen.shape[1]) + EPS
        result[part] = difference.square().sum(dim=2).sqrt().cpu().numpy()
    return result


def _require_clusters(query_clusters: IntArray, pool_clusters: IntArray, count: int) -> None:
    """Raise UsageError if the pool has, for some query, too few clusters besides its own."""
    there = np.unique(pool_clusters)
    others = len(there) - np.isin(query_clusters, there)
    fewest = int(others.min())
    if fewest < count:
        raise _too_few(count, len(pool_clusters), fewest)


def _too_few(count: int, pool: int, fewest: int) -> UsageError:
    return UsageError(
        f"{count} hard negatives are needed, one a place, but of places other than an anchor's the pool of "
        f"{pool} images shows only {fewest}",
        hint=f"take fewer negatives (at most {fewest}), a larger negative pool, or add places",
    )


class _Lists:
    """Every query's best images so far, one a cluster."""

    def __init__(
        self, query_clusters: IntArray, pool_clusters: IntArray, count: int, apart: Apart | None = None
    ) -> None:
        self._apart = apart
        names, dense = np.unique(np.concatenate([pool_clusters, query_clusters]), return_inverse=True)
        self._clusters = len(names)
        self._of_image = dense[: len(pool_clusters)].astype(np.int64)
        self._of_query = dense[len(pool_clusters) :].astype(np.int64)
        self._count = count
        shape = (len(query_clusters), count)
        self.positions: IntArray = np.full(shape, -1, dtype=np.int64)
        self.scores: Scores = np.full(shape, -np.inf, dtype=np.float32)

    def update(self, scores: Tensor, first: int) -> None:
        """Take in scores (Q, n) of images ``first`` to ``first + n``."""
        last = self.scores[:, -1].copy()
        is_open = self.positions[:, -1] < 0
        # An image with the score of the last one kept comes after it, being later in the pool.
        floors = torch.from_numpy(np.where(is_open, np.float32(np.inf), last)).to(scores.device)
        self._merge(*_where(scores > floors[:, None]), scores, first)
        unsettled = np.flatnonzero(is_open)
        depth = _FIRST_DEPTH * self._count
        while len(unsettled):
            depth = min(depth, scores.shape[1])
            for start in range(0, len(unsettled), max(1, _MOST_CANDIDATES // depth)):
                queries = unsettled[start : start + max(1, _MOST_CANDIDATES // depth)]
                part = scores[torch.from_numpy(queries).to(scores.device)]
                floor = part.topk(depth, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
                # At least the floor: which of equal scores topk gives is up to chance.
                self._merge(*_where(part >= floor), part, first, queries)
            if depth == scores.shape[1]:
                return
            # What lies below the floor cannot come before a full list of what is not below it.
            unsettled = unsettled[self.positions[unsettled, -1] < 0]
            depth *= _DEEPER

    def _merge(
        self, rows: IntArray, columns: IntArray, scores: Tensor, first: int, queries: IntArray | None = None
    ) -> None:
        """Put the scores at ``rows`` and ``columns`` into the lists of their queries."""
        if len(rows) == 0:
            return
        places = torch.from_numpy(np.stack([rows, columns])).to(scores.device)
        values = scores[places[0], places[1]].cpu().numpy() + np.float32(0)  # -0 becomes a plain 0
        owner = rows if queries is None else queries[rows]
        position = columns + first
        others = self._of_image[position] != self._of_query[owner]
        if self._apart is not None:
            others &= self._apart.far(owner, position)
        owner, position, values = owner[others], position[others], values[others]
        changed = np.unique(owner)
        kept_row, kept_column = np.nonzero(self.positions[changed] >= 0)
        kept_row = changed[kept_row]
        owner = np.concatenate([kept_row, owner])
        position = np.concatenate([self.positions[kept_row, kept_column], position])
        values = np.concatenate([self.scores[kept_row, kept_column], values])

        order = np.lexsort((position, -values, owner))
        _, best = np.unique(
            owner[order] * self._clusters + self._of_image[position[order]], return_index=True
        )
        order = order[np.sort(best)]  # of each query and cluster the first
        sorted_owner = owner[order]
        place = np.arange(len(order)) - np.searchsorted(sorted_owner, sorted_owner)
        order, place = order[place < self._count], place[place < self._count]
        self.positions[owner[order], place] = position[order]
        self.scores[owner[order], place] = values[order]


def _where(chosen: Tensor) -> tuple[IntArray, IntArray]:
    """Rows and columns where ``chosen`` (Q, n) is true."""
    if chosen.device.type != "cpu":
        found = chosen.nonzero().cpu().numpy()
        return found[:, 0], found[:, 1]
    flags: NDArray[np.bool_] = chosen.numpy()
    flat = np.flatnonzero(flags)  # several times as fast as torch's where few are true
    return flat // flags.shape[1], flat % flags.shape[1]
