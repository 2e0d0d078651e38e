"""Average precision, precision at k and recall at k, from the ranks of the relevant images alone.

All functions take ranks that count from 0, increasing, with junk already taken out (see
:func:`without_junk`). Nothing here needs the whole ranking: an image that is neither relevant nor junk only
matters by how many of its kind come before a relevant one.

Average precision is the area under the precision-recall curve by the trapezoidal rule, as the Oxford
buildings benchmark defines it (Philbin et al., CVPR 2007), which the revisited one (Radenovic et al., CVPR
2018) and the 24/7 Tokyo evaluation of GeM networks go on using.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def without_junk(relevant: npt.NDArray[Any], junk: npt.NDArray[Any]) -> IntArray:
    """Ranks of the relevant images, increasing, as if the junk images were not in the list.

    ``relevant`` (R,) and ``junk`` (J,) are ranks in the whole list, counted from 0, in any order; one that is
    given twice counts once. Each relevant image moves up by the number of junk images before it. An image
    that is both stays, and those behind it move up by it too, so that two may come to one rank: cirtorch's
    evaluation does that with ground truths that contradict themselves.
    """
    found = np.unique(np.asarray(relevant, dtype=np.int64))
    return found - np.searchsorted(np.unique(np.asarray(junk, dtype=np.int64)), found)


def average_precision(ranks: npt.NDArray[Any], relevant: int) -> float:
    """Area under the precision-recall curve, 0 to 1, of one query.

    ``ranks`` (F,) are those of the relevant images found, ``relevant`` how many there are in all: more than
    were found if the list was cut short. NaN if there are none, since then no list is better than another.

    The image at place i of the found ones (from 0) at rank r adds 1/relevant of recall, at the mean of the
    precisions before it, i/r (1 at rank 0), and with it, (i + 1)/(r + 1).
    """
    if relevant == 0:
        return float("nan")
    rank = np.asarray(ranks, dtype=np.float64)
    found = np.arange(len(rank), dtype=np.float64)
    before = np.divide(found, rank, out=np.ones_like(rank), where=rank > 0)
    return float(((before + (found + 1) / (rank + 1)) / (2 * relevant)).sum())


def precision_at(ranks: npt.NDArray[Any], relevant: int, kappas: Sequence[int]) -> FloatArray:
    """Share of relevant images among the first k, for each k of ``kappas`` (K,): (K,), 0 to 1.

    A list whose last relevant image comes before place k is judged up to that image only: the divisor is
    min(k, last place). So a query with three relevant images, all ranked first, has a precision of 1 at 10.
    NaN if there are no relevant images; 0 if none of them was found in a list cut short.
    """
    if relevant == 0:
        return np.full(len(kappas), np.nan)
    if len(ranks) == 0:
        return np.zeros(len(kappas))
    places = np.asarray(ranks, dtype=np.int64) + 1
    cut = np.minimum(np.asarray(kappas, dtype=np.int64), places[-1])
    hits = np.searchsorted(places, cut, side="right")
    precision: FloatArray = hits / cut
    return precision


def recall_at(ranks: npt.NDArray[Any], kappas: Sequence[int]) -> BoolArray:
    """Whether at least one relevant image is among the first k, for each k of ``kappas``: (K,).

    This is the field's recall@k of place recognition: averaged over queries it says how many of them are
    answered.
    """
    first = ranks[0] if len(ranks) else np.iinfo(np.int64).max
    answered: BoolArray = np.asarray(kappas, dtype=np.int64) > first
    return answered
