"""Ranks for tests: from scores in blocks, and from a ranked list that may be cut short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from darkside_cli.metrics.protocols import NOT_FOUND
from darkside_cli.metrics.ranking import IntArray, RankCounter


def rank_relevant(
    blocks: Sequence[npt.NDArray[Any]], listed: Sequence[npt.NDArray[Any]]
) -> tuple[IntArray, ...]:
    """Ranks, from 0, of each query's listed database images, from scores in blocks.

    ``blocks`` are (Q, N_i) scores of successive parts of the database, ``listed`` Q arrays (L_q,) of database
    indices. Gives Q arrays (L_q,), ranks in the list of all images, see the module for the order.
    """
    starts = np.cumsum([0, *(block.shape[1] for block in blocks)])
    kind = np.result_type(*blocks) if blocks else np.float32
    scores = []
    for query, indices in enumerate(listed):
        owner = np.searchsorted(starts, indices, side="right") - 1
        own = [blocks[b][query, i - starts[b]] for b, i in zip(owner, indices, strict=True)]
        scores.append(np.array(own, dtype=kind))
    counter = RankCounter(listed, scores)
    for block, first in zip(blocks, starts[:-1], strict=True):
        counter.update(np.asarray(block, dtype=kind), int(first))
    return counter.ranks()


def ranks_in_list(ranking: npt.NDArray[Any], listed: npt.NDArray[Any]) -> IntArray:
    """Ranks of the ``listed`` images (L,) in one ranked list of database indices (M,), best first.

    The list may be cut short: images it does not hold get NOT_FOUND.
    """
    ranking, listed = np.asarray(ranking, dtype=np.int64), np.asarray(listed, dtype=np.int64)
    if len(ranking) == 0 or len(listed) == 0:
        return np.full(len(listed), NOT_FOUND, dtype=np.int64)
    order = np.argsort(ranking, kind="stable")
    place = np.minimum(np.searchsorted(ranking, listed, sorter=order), len(ranking) - 1)
    return np.where(ranking[order[place]] == listed, order[place], NOT_FOUND)
