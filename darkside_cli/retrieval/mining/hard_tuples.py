"""An epoch's tuples for metric learning: diverse anchors, their positives, hard negatives.

As in Mohwald et al., ICCV 2023, section 3.3, and Radenović et al., TPAMI 2019, section 4. Descriptors come from a
callable, so that nothing here knows a network, a generator or files. Everything drawn at random comes from ``draws``
in a fixed order; what is left is decided by descriptors, equal ones by their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darkside_cli.datasets.tuples import TupleSet
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.metrics.ranking import IntArray, Scores
from darkside_cli.retrieval.describe.tables import finite_rows
from darkside_cli.retrieval.mining.anchors import diverse_anchors
from darkside_cli.retrieval.mining.config import MiningConfig
from darkside_cli.retrieval.mining.draws import TorchDraws
from darkside_cli.retrieval.mining.negatives import Apart, hard_negatives, negative_distances

Role = Literal["anchor", "positive", "negative"]
"""What images are described for: anchors may be turned to night before."""

Describe = Callable[[IntArray, Role], Tensor]
"""Descriptors (n, D), of unit length, of the images with these numbers (n,), each once; broken ones are rows of NaN."""


@dataclass(frozen=True, eq=False)
class MinedTuples:
    """The tuples of an epoch, in the order mined.

    ``pairs`` (T,) are the pairs' numbers, ``anchors`` and ``positives`` (T,) and ``negatives`` (T, K) the images'.
    ``easy`` (T,) marks tuples whose positive is among the most similar, if that was asked for. ``similarities`` are
    those of every diverse anchor but the first to the most similar one before it, ``distances`` (T, K) those of the
    negatives to their anchors: they say how hard the epoch is.
    """

    pairs: IntArray
    anchors: IntArray
    positives: IntArray
    negatives: IntArray
    easy: NDArray[np.bool_] | None
    similarities: Scores
    distances: Scores

    def __len__(self) -> int:
        return len(self.pairs)

    def images(self, number: int) -> list[int]:
        """Anchor, positive and negatives of tuple ``number``."""
        return [int(self.anchors[number]), int(self.positives[number]), *self.negatives[number].tolist()]


def mine(
    tuples: TupleSet,
    describe: Describe,
    config: MiningConfig,
    *,
    draws: TorchDraws,
    device: str | torch.device | None = None,
    emit: Emit = ignore,
) -> MinedTuples:
    """Choose an epoch's tuples out of ``tuples``.

    An image is described once for each role it has. Images without a descriptor are passed over. Draws, in this order:
    a permutation of the pairs, for diverse anchors a data pass and a number for each but the first, a permutation of
    the images, and two data passes, over the anchors and the negative pool (see
    :class:`darkside_cli.retrieval.mining.draws.TorchDraws`). ``device`` (default: that of the descriptors) is where
    descriptors are compared.

    Raises UsageError if there are no pairs, too few places for the negatives (it says how many there are), or no
    image has a descriptor.
    """
    tuples.require_pairs()
    order = draws.permutation(tuples.pairs) if config.shuffle else np.arange(tuples.pairs)
    wanted = tuples.pairs if config.anchors is None else config.anchors
    if wanted > tuples.pairs:
        emit(Notice(f"{tuples.name} has {tuples.pairs} pairs: an epoch has as many tuples, not {wanted}"))
    similarities: Scores = np.empty(0, dtype=np.float32)
    anchor_rows: Tensor | None = None
    if config.anchor_choice == "diverse":
        pool = order[: wanted if config.anchor_pool is None else config.anchor_pool]
        draws.data_pass()
        pool, anchor_rows = _described(describe, pool, tuples.query_index, "anchor", emit)
        chosen = diverse_anchors(
            anchor_rows,
            min(wanted, len(pool)),
            similar_exclude=config.similar_exclude,
            similar_include=config.similar_include,
            draws=draws if config.shuffle else None,
            device=device,
        )
        pairs, similarities = pool[chosen.positions], chosen.similarities
        anchor_rows = anchor_rows[torch.from_numpy(chosen.positions).to(anchor_rows.device)]
    else:
        pairs = order[:wanted]

    shape = (len(pairs), config.negatives)
    negatives: IntArray = np.empty(shape, dtype=np.int64)
    distances: Scores = np.empty(shape, dtype=np.float32)
    if config.negatives:
        images = draws.permutation(len(tuples)) if config.shuffle else np.arange(len(tuples))
        images = images[: config.negative_pool]
        draws.data_pass()
        if anchor_rows is None:
            pairs, anchor_rows = _described(describe, pairs, tuples.query_index, "anchor", emit)
        draws.data_pass()
        images, pool_rows = _described(describe, images, np.arange(len(tuples)), "negative", emit)
        queries = tuples.query_index[pairs]
        found = hard_negatives(
            anchor_rows,
            tuples.clusters[queries],
            pool_rows,
            tuples.clusters[images],
            config.negatives,
            apart=None
            if (where := tuples.positions) is None
            else Apart(where[queries], where[images], tuples.apart_m),
            device=device,
        )
        negatives = images[found.positions]
        distances = negative_distances(anchor_rows, pool_rows, found.positions)
    easy = None
    if config.easy_share is not None:
        if anchor_rows is None:
            pairs, anchor_rows = _described(describe, pairs, tuples.query_index, "anchor", emit)
        easy = _easy(describe, anchor_rows, tuples.positive_index[pairs], config.easy_share)
    anchors, positives = tuples.query_index[pairs], tuples.positive_index[pairs]
    return MinedTuples(pairs, anchors, positives, negatives, easy, similarities, distances)


def _described(
    describe: Describe, items: IntArray, image_of: IntArray, role: Role, emit: Emit
) -> tuple[IntArray, Tensor]:
    """Those of ``items`` whose image has a descriptor, and the descriptors, describing each image once."""
    images, place = np.unique(image_of[items], return_inverse=True)
    # In the order of their first use, as a loader without this saving would meet them.
    first = np.full(len(images), len(items))
    np.minimum.at(first, place, np.arange(len(items)))
    by_use = np.argsort(first, kind="stable")
    rows = describe(images[by_use], role)
    usable = finite_rows(rows).cpu().numpy()
    place_of = np.empty_like(by_use)
    place_of[by_use] = np.arange(len(by_use))
    lost = len(images) - int(usable.sum())
    if lost == len(images):
        raise UsageError(
            f"none of the {len(images)} images described as {role}s has a descriptor",
            hint="check the images; or training has diverged: lower the learning rate",
        )
    if lost:
        emit(
            Notice(f"{lost} of {len(images)} images have no descriptor and are passed over", level="warning")
        )
    at = place_of[place]
    if not lost and np.array_equal(at, np.arange(len(rows))):
        return items, rows
    kept = usable[at]
    return items[kept], rows[torch.from_numpy(at[kept]).to(rows.device)]


def _easy(describe: Describe, anchors: Tensor, positives: IntArray, share: float) -> NDArray[np.bool_]:
    """Mark the ``share`` of tuples whose positives are most similar to their anchors."""
    images, place = np.unique(positives, return_inverse=True)
    rows = describe(images, "positive")[torch.from_numpy(place.reshape(-1)).to(anchors.device)]
    similar = np.nan_to_num((anchors * rows.to(anchors.device)).sum(dim=1).cpu().numpy(), nan=-np.inf)
    easy = np.zeros(len(positives), dtype=np.bool_)
    easy[np.argsort(-similar, kind="stable")[: int(share * len(positives))]] = True
    return easy
