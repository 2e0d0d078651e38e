"""From scores to ranks without sorting: the place of an image is the number of images that come before it.

The order of a ranked list is fixed to the last image: higher scores come first, equal scores in the order of the
database, and images whose score is NaN (their descriptor is missing) come last, as if their score were minus infinity.
That is ``numpy.argsort(-scores, kind="stable")``, so ranks do not depend on how scores come in blocks, nor on chance,
where a plain ``argsort`` would leave the order of equal scores open.

Counting needs one look at every score. Within a block, which fits the processor's cache, scores are put in order so
that all listed images of a query are counted by a few binary searches; the whole list is never ordered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Scores = NDArray[np.floating[Any]]


class RankCounter:
    """Counts, block by block, the database images that come before each listed image of each query.

    ``listed`` has for each of Q queries the database indices of its images, ``scores`` their scores, both (L_q,).
    Blocks come through :meth:`update` in any order, each database image once; then :meth:`ranks` is complete. The
    blocks must hold the very scores given here, of the same type and bit for bit, for the images listed.
    """

    def __init__(self, listed: Sequence[NDArray[Any]], scores: Sequence[NDArray[Any]]) -> None:
        self._orders = [np.argsort(indices, kind="stable") for indices in listed]
        # Increasing in the index, so that the images behind a block are a slice at the end.
        self._indices = [
            np.asarray(own, dtype=np.int64)[order] for own, order in zip(listed, self._orders, strict=True)
        ]
        self._scores = [
            _without_nan(np.asarray(own))[order] for own, order in zip(scores, self._orders, strict=True)
        ]
        self._counts = [np.zeros(len(indices), dtype=np.int64) for indices in self._indices]

    def update(self, block: Scores, first: int, *, first_query: int = 0) -> None:
        """Count a block of scores (B, N), of database images ``first`` to ``first + N``, queries on ``first_query``.

        Calls for different queries may run in threads at the same time.
        """
        ordered = np.sort(block, axis=1)
        if ordered.shape[1] and np.isnan(ordered[:, -1]).any():  # NaN sorts to the end
            block = _without_nan(block)
            ordered = np.sort(block, axis=1)
        last = first + block.shape[1]
        for row in range(len(block)):
            self._update_query(first_query + row, block[row], ordered[row], first, last)

    def ranks(self) -> tuple[IntArray, ...]:
        """Ranks, from 0, of the listed images, in the order in which they were given: Q arrays (L_q,)."""
        result = []
        for order, counts in zip(self._orders, self._counts, strict=True):
            ranks = np.empty_like(counts)
            ranks[order] = counts
            result.append(ranks)
        return tuple(result)

    def _update_query(self, query: int, block: Scores, ordered: Scores, first: int, last: int) -> None:
        indices, scores, counts = self._indices[query], self._scores[query], self._counts[query]
        inside, behind = np.searchsorted(indices, (first, last))
        # Before an image come those with a higher score, and those with an equal one and a lower index: all
        # of the block's if the image itself comes later in the database.
        up_to = ordered.searchsorted(scores[:behind], side="right")
        counts[:behind] += len(ordered) - up_to
        if behind < len(indices):
            counts[behind:] += len(ordered) - ordered.searchsorted(scores[behind:], side="left")
        if inside < behind:
            # An image of this block equals its own score once; only where others do does their order count.
            equal = up_to[inside:] - ordered.searchsorted(scores[inside:behind], side="left")
            for position in inside + np.flatnonzero(equal > 1):
                counts[position] += np.count_nonzero(block[: indices[position] - first] == scores[position])


class TopK:
    """Keeps, block by block, the ``k`` first images of each of ``queries`` lists.

    Blocks come through :meth:`update` in the order of the database. ``indices`` and ``scores`` are (Q, K),
    best first, K = min(k, images seen).
    """

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self.indices: IntArray = np.empty((queries, 0), dtype=np.int64)
        self.scores: Scores = np.empty((queries, 0), dtype=np.float32)

    def update(self, block: Scores, first: int) -> None:
        """Merge a block of scores (Q, N), of database images ``first`` to ``first + N``."""
        if block.shape[1] == 0 or self.k == 0:
            return
        best = block.max(axis=1)
        if np.isnan(best).any():
            block = _without_nan(block)
            best = block.max(axis=1)
        have = self.indices.shape[1]
        full = have == self.k
        if full:
            # An image with the score of the last one kept comes after it, having the higher index.
            rows = np.flatnonzero(best > self.scores[:, -1])
            indices, scores = self.indices, self.scores
        else:
            rows = np.arange(len(block))
            width = min(self.k, have + block.shape[1])
            indices = np.empty((len(block), width), dtype=np.int64)
            scores = np.empty((len(block), width), dtype=np.float32)
        for row in rows:
            candidates = _first_k(block[row], self.k)
            merged = np.concatenate([self.scores[row], block[row, candidates]])
            origin = np.concatenate([self.indices[row], candidates + first])
            # Both parts are ordered by index where scores are equal, and the second has the higher indices.
            order = np.argsort(-merged, kind="stable")[: indices.shape[1]]
            indices[row], scores[row] = origin[order], merged[order]
        self.indices, self.scores = indices, scores


def _first_k(scores: Scores, k: int) -> IntArray:
    """Give the indices, increasing, of all images at least as good as the k-th best."""
    if len(scores) <= k:
        return np.arange(len(scores))
    floor = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= floor)


def _without_nan(scores: Scores) -> Scores:
    missing = np.isnan(scores)
    if not missing.any():
        return scores
    cleaned = scores.copy()
    cleaned[missing] = -np.inf
    return cleaned
