"""Figures of ranked lists: average precision, precision and recall at k, by the protocols of the benchmarks.

*Graded* ground truths are those of revisited Oxford and Paris (Radenovic et al., CVPR 2018, section 3): each query's
images are easy, hard or junk (unclear). Easy asks for the easy ones, medium for easy and hard, hard for the hard ones;
what a protocol does not ask for, though it shows the query's building, is left out of the list like junk. Queries
without easy images are left out of the easy mean.

Plain ones are those of 24/7 Tokyo (``247tokyo1k``), of the first Oxford and Paris, and of one's own sets of places. A
query has ``ok`` images, all of the same place, and ``junk``, left out of the list. In ``247tokyo1k`` (Torii et al.,
CVPR 2015, as used for day-night GeM descriptors) the 1125 photographs of 125 views are query and database in one:
``ok`` are the other images of the view, by day, at sunset and at night, and ``junk`` is the query itself.

Average precision is the area under the precision-recall curve by the trapezoidal rule, as the Oxford buildings
benchmark defines it (Philbin et al., CVPR 2007), which the revisited one and the 24/7 Tokyo evaluation of GeM networks
go on using. The whole ranking is never needed: an image that is neither relevant nor junk only matters by how many of
its kind come before a relevant one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkside_cli.metrics.ranking import IntArray

FloatArray = NDArray[np.float64]

#: In place of the rank of an image that a shortened list does not hold.
NOT_FOUND = -1

#: The ks of mP@k and recall@k that the field reports; place recognition goes on to 20.
KAPPAS = (1, 5, 10)
PLACE_KAPPAS = (*KAPPAS, 20)

#: Ranks of one query's listed images by group ("easy", "junk"...), each in the order of its group.
GroupRanks = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Protocol:
    """Groups of images that are relevant, and groups that are taken out of the list before it is judged.

    ``kappas`` are its ks. ``counts_all`` says that a query without relevant images counts in recall@k: as not answered.
    """

    name: str
    relevant: tuple[str, ...]
    junk: tuple[str, ...]
    kappas: tuple[int, ...] = KAPPAS
    counts_all: bool = False


#: Groups and protocols of graded ground truths.
GRADED_GROUPS = ("easy", "hard", "junk")
EASY = Protocol("easy", relevant=("easy",), junk=("junk", "hard"))
MEDIUM = Protocol("medium", relevant=("easy", "hard"), junk=("junk",))
HARD = Protocol("hard", relevant=("hard",), junk=("junk", "easy"))
GRADED = (EASY, MEDIUM, HARD)

#: Groups and protocols of plain ground truths.
PLAIN_GROUPS = ("ok", "junk")
OK = Protocol("ok", relevant=("ok",), junk=("junk",))
PLAIN = (OK,)


def within(distance_m: float) -> Protocol:
    """That of place recognition: right is what was taken within ``distance_m`` of the query.

    Recall@k is over all queries, as VPR-methods-evaluation has it (Berton et al., ICCV 2023): one that nothing was
    taken near to counts as not answered. Average precision leaves such queries out.
    """
    return replace(OK, name=f"{distance_m:g} m", kappas=PLACE_KAPPAS, counts_all=True)


@dataclass(frozen=True)
class ProtocolScore:
    """One protocol's figures, all in 0 to 1; NaN marks a query without relevant images and what rests on none.

    ``average_precisions`` has one value for a query, ``precisions`` one row of K; the means leave the queries out
    that have no relevant images. ``judged`` is the number of the others, ``counted`` that of those in recall@k.
    """

    protocol: str
    kappas: tuple[int, ...]
    mean_average_precision: float
    mean_precisions: tuple[float, ...]
    recalls: tuple[float, ...]
    average_precisions: tuple[float, ...]
    precisions: tuple[tuple[float, ...], ...]
    judged: int
    counted: int


def score_ranks(
    ranks: Sequence[GroupRanks], protocol: Protocol, kappas: Sequence[int] | None = None
) -> ProtocolScore:
    """Judge the ranks of all queries' listed images by ``protocol``, at its own ks where none are given.

    ``ranks`` has a mapping for each query, with a group for each that the protocol names (a missing one is empty);
    ranks count from 0 in the whole list, junk included, and are :data:`NOT_FOUND` where the list was too short.
    Images not found lower the average precision: they are relevant all the same.

    Raises ValueError if a k is not positive.
    """
    kappas = protocol.kappas if kappas is None else kappas
    if any(k < 1 for k in kappas):
        raise ValueError(f"k must be at least 1, not {min(kappas)}")
    # A row a query: its average precision, then precision and recall at each k.
    table = np.array([_score_query(query, protocol, kappas) for query in ranks], dtype=np.float64)
    table = table.reshape(len(ranks), 1 + 2 * len(kappas))
    values, precisions, answered = table[:, 0], table[:, 1 : 1 + len(kappas)], table[:, 1 + len(kappas) :]
    judged = ~np.isnan(values)
    counted = judged | protocol.counts_all
    return ProtocolScore(
        protocol=protocol.name,
        kappas=tuple(kappas),
        mean_average_precision=float(_mean(values[judged])),
        mean_precisions=tuple(_mean(precisions[judged]).tolist()),
        recalls=tuple(_mean(answered[counted]).tolist()),
        average_precisions=tuple(values.tolist()),
        precisions=tuple(tuple(row) for row in precisions.tolist()),
        judged=int(judged.sum()),
        counted=int(counted.sum()),
    )


def _score_query(ranks: GroupRanks, protocol: Protocol, kappas: Sequence[int]) -> FloatArray:
    relevant, junk = _joined(ranks, protocol.relevant), _joined(ranks, protocol.junk)
    found = without_junk(relevant[relevant != NOT_FOUND], junk[junk != NOT_FOUND])
    total = len(relevant)  # an image listed twice is asked for twice and found once, as cirtorch has it
    precision = average_precision(found, total)
    return np.array([precision, *precision_at(found, total, kappas), *recall_at(found, kappas)])


def _joined(ranks: GroupRanks, groups: Sequence[str]) -> IntArray:
    empty = np.empty(0, dtype=np.int64)
    return np.concatenate([empty, *(np.asarray(ranks.get(g, empty), dtype=np.int64) for g in groups)])


def _mean(values: FloatArray) -> FloatArray:
    """Mean over queries, NaN if there are none."""
    return np.asarray(values.mean(axis=0)) if len(values) else np.full(values.shape[1:], np.nan)


# Of one query: ranks count from 0, increasing, with junk already taken out.


def without_junk(relevant: NDArray[Any], junk: NDArray[Any]) -> IntArray:
    """Ranks of the relevant images, increasing, as if the junk images were not in the list.

    ``relevant`` (R,) and ``junk`` (J,) are ranks in the whole list, in any order; one that is given twice counts once.
    Each relevant image moves up by the number of junk images before it. An image that is both stays, and those behind
    it move up by it too, so that two may come to one rank: cirtorch's evaluation does that with ground truths that
    contradict themselves.
    """
    found = np.unique(np.asarray(relevant, dtype=np.int64))
    return found - np.searchsorted(np.unique(np.asarray(junk, dtype=np.int64)), found)


def average_precision(ranks: NDArray[Any], relevant: int) -> float:
    """Area under the precision-recall curve, 0 to 1, of one query.

    ``ranks`` (F,) are those of the relevant images found, ``relevant`` how many there are in all: more than were found
    if the list was cut short. NaN if there are none, since then no list is better than another.

    The image at place i of the found ones (from 0) at rank r adds 1/relevant of recall, at the mean of the
    precisions before it, i/r (1 at rank 0), and with it, (i + 1)/(r + 1).
    """
    if relevant == 0:
        return float("nan")
    rank = np.asarray(ranks, dtype=np.float64)
    found = np.arange(len(rank), dtype=np.float64)
    before = np.divide(found, rank, out=np.ones_like(rank), where=rank > 0)
    return float(((before + (found + 1) / (rank + 1)) / (2 * relevant)).sum())


def precision_at(ranks: NDArray[Any], relevant: int, kappas: Sequence[int]) -> FloatArray:
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
    return np.asarray(hits / cut)


def recall_at(ranks: NDArray[Any], kappas: Sequence[int]) -> NDArray[np.bool_]:
    """Whether at least one relevant image is among the first k, for each k of ``kappas``: (K,).

    The field's recall@k of place recognition: averaged over queries it says how many of them are answered.
    """
    first = ranks[0] if len(ranks) else np.iinfo(np.int64).max
    return np.asarray(np.asarray(kappas, dtype=np.int64) > first)
