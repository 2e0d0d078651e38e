"""Protocols: what counts as relevant and what is left out; and scoring a set of queries by one of them.

*Graded* ground truths are those of revisited Oxford and Paris (Radenovic et al., CVPR 2018, section 3): each query's
images are easy, hard or junk (unclear). Easy asks for the easy ones, medium for easy and hard, hard for the hard ones;
what a protocol does not ask for, though it shows the query's building, is left out of the list like junk. Queries
without easy images are left out of the easy mean.

Plain ones are those of 24/7 Tokyo (``247tokyo1k``), of the first Oxford and Paris, and of one's own sets of places. A
query has ``ok`` images, all of the same place, and ``junk``, left out of the list. In ``247tokyo1k`` (Torii et al.,
CVPR 2015, as used for day-night GeM descriptors) the 1125 photographs of 125 views are query and database in one:
``ok`` are the other images of the view, by day, at sunset and at night, and ``junk`` is the query itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkside_cli.metrics.average_precision import average_precision, precision_at, recall_at, without_junk

#: In place of the rank of an image that a shortened list does not hold.
NOT_FOUND = -1

#: The ks of mP@k and recall@k that the field reports.
KAPPAS = (1, 5, 10)

#: Ranks of one query's listed images by group ("easy", "junk"...), each in the order of its group.
GroupRanks = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Protocol:
    """Groups of images that are relevant, and groups that are taken out of the list before it is judged."""

    name: str
    relevant: tuple[str, ...]
    junk: tuple[str, ...]


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


@dataclass(frozen=True)
class ProtocolScore:
    """One protocol's figures, all in 0 to 1; NaN marks a query without relevant images and what rests on
    none.

    ``average_precisions`` has one value for a query, ``precisions`` one row of K for a query; the means leave
    the queries out that have no relevant images. ``judged`` is the number of the others.
    """

    protocol: str
    kappas: tuple[int, ...]
    mean_average_precision: float
    mean_precisions: tuple[float, ...]
    recalls: tuple[float, ...]
    average_precisions: tuple[float, ...]
    precisions: tuple[tuple[float, ...], ...]
    judged: int


def score_ranks(
    ranks: Sequence[GroupRanks], protocol: Protocol, kappas: Sequence[int] = KAPPAS
) -> ProtocolScore:
    """Judge the ranks of all queries' listed images by ``protocol``.

    ``ranks`` has a mapping for each query, with a group for each that the protocol names (a missing one is
    empty); ranks count from 0 in the whole list, junk included, and are :data:`NOT_FOUND` where the list was
    too short. Images not found lower the average precision: they are relevant all the same.

    Raises ValueError if a k is not positive.
    """
    if any(k < 1 for k in kappas):
        raise ValueError(f"k must be at least 1, not {min(kappas)}")
    rows = [_score_query(query, protocol, kappas) for query in ranks]
    values = np.array([row[0] for row in rows], dtype=np.float64)
    precisions = np.array([row[1] for row in rows], dtype=np.float64).reshape(len(rows), len(kappas))
    answered = np.array([row[2] for row in rows], dtype=np.float64).reshape(len(rows), len(kappas))
    judged = ~np.isnan(values)
    return ProtocolScore(
        protocol=protocol.name,
        kappas=tuple(kappas),
        mean_average_precision=float(_mean(values[judged])),
        mean_precisions=tuple(_mean(precisions[judged]).tolist()),
        recalls=tuple(_mean(answered[judged]).tolist()),
        average_precisions=tuple(values.tolist()),
        precisions=tuple(tuple(row) for row in precisions.tolist()),
        judged=int(judged.sum()),
    )


def _score_query(
    ranks: GroupRanks, protocol: Protocol, kappas: Sequence[int]
) -> tuple[float, npt.NDArray[Any], npt.NDArray[Any]]:
    relevant, junk = _joined(ranks, protocol.relevant), _joined(ranks, protocol.junk)
    found = without_junk(relevant[relevant != NOT_FOUND], junk[junk != NOT_FOUND])
    total = len(relevant)  # an image listed twice is asked for twice and found once, as cirtorch has it
    return average_precision(found, total), precision_at(found, total, kappas), recall_at(found, kappas)


def _joined(ranks: GroupRanks, groups: Sequence[str]) -> npt.NDArray[np.int64]:
    empty = np.empty(0, dtype=np.int64)
    return np.concatenate([empty, *(np.asarray(ranks.get(g, empty), dtype=np.int64) for g in groups)])


def _mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over queries, NaN if there are none."""
    if len(values) == 0:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.mean(axis=0))
