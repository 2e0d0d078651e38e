"""Ranks and top lists counted where the scores are, on a GPU.

Same rules and same results as :mod:`darkside_cli.metrics.ranking`, which does it on the CPU with NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from darkside_cli.metrics.ranking import IntArray, Scores


class DeviceRankCounter:
    """:class:`darkside_cli.metrics.ranking.RankCounter` for tensors on ``device``."""

    def __init__(self, listed: Sequence[IntArray], scores: Sequence[Scores], device: torch.device) -> None:
        self._lengths = [len(indices) for indices in listed]
        shape = (len(listed), max(self._lengths, default=0))
        indices = np.full(shape, -1, dtype=np.int64)
        values = np.full(shape, np.inf, dtype=np.float32)
        for row, (own, own_scores) in enumerate(zip(listed, scores, strict=True)):
            indices[row, : len(own)] = own
            values[row, : len(own)] = own_scores
        self._indices = torch.from_numpy(indices).to(device)
        self._scores = _without_nan(torch.from_numpy(values).to(device))
        self._counts = torch.zeros_like(self._indices)

    def update(self, block: Tensor, first: int) -> None:
        """Count a block of scores (Q, N), of database images ``first`` to ``first + N``."""
        block = _without_nan(block)
        last = first + block.shape[1]
        ordered = block.sort(dim=1).values
        below = torch.searchsorted(ordered, self._scores)
        up_to = torch.searchsorted(ordered, self._scores, right=True)
        behind = self._indices >= last
        self._counts += block.shape[1] - torch.where(behind, below, up_to)
        # An image in this block equals its own score once; only where others do as well does the order count.
        tied = (self._indices >= first) & ~behind & (up_to - below > 1)
        for query, position in tied.nonzero().tolist():
            before = block[query, : int(self._indices[query, position]) - first]
            self._counts[query, position] += (before == self._scores[query, position]).sum()

    def ranks(self) -> tuple[IntArray, ...]:
        """Ranks, from 0, of the listed images, in the order in which they were given: Q arrays (L_q,)."""
        counts = self._counts.cpu().numpy()
        return tuple(counts[row, :length].copy() for row, length in enumerate(self._lengths))


class DeviceTopK:
    """:class:`darkside_cli.metrics.ranking.TopK` for tensors on ``device``."""

    def __init__(self, queries: int, k: int, device: torch.device) -> None:
        self.k = k
        self._indices = torch.empty((queries, 0), dtype=torch.int64, device=device)
        self._scores = torch.empty((queries, 0), dtype=torch.float32, device=device)

    @property
    def indices(self) -> IntArray:
        """Database indices (Q, K), best first."""
        return self._indices.cpu().numpy()

    @property
    def scores(self) -> Scores:
        """Scores (Q, K), best first."""
        return self._scores.cpu().numpy()

    def update(self, block: Tensor, first: int) -> None:
        """Merge a block of scores (Q, N), of database images ``first`` to ``first + N``."""
        if self.k == 0:
            return
        # Stable sorts keep the order of the database among equal scores. Adding zero makes -0 a plain 0.
        scores, indices = (_without_nan(block) + 0.0).sort(dim=1, descending=True, stable=True)
        scores = torch.cat([self._scores, scores[:, : self.k]], dim=1)
        indices = torch.cat([self._indices, indices[:, : self.k] + first], dim=1)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        self._scores = scores[:, : self.k]
        self._indices = indices.gather(1, order[:, : self.k])


def _without_nan(scores: Tensor) -> Tensor:
    return torch.nan_to_num(scores, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
