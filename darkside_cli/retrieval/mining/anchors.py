"""Diverse anchors: one after the other, each unlike those before it, yet no odd one out.

Of Mohwald et al., ICCV 2023, section 3.3. What is kept is each image's similarity to the most similar anchor so far,
a running maximum: an anchor costs one product of the pool with a vector, and the memory of one number an image,
however many anchors there are. Taking the maximum over all anchors anew each time is quadratic in their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darkside_cli.errors import UsageError
from darkside_cli.kernels import for_each_band, in_team
from darkside_cli.metrics.ranking import IntArray, Scores
from darkside_cli.retrieval.describe.tables import Descriptors, as_float32, check_descriptors, finite_rows
from darkside_cli.retrieval.mining.draws import TorchDraws

# What threads share a product in. The number of threads plays no part, so that it does not change the rounding.
_BANDS, _FEWEST_ROWS = 8, 2048


@dataclass(frozen=True)
class DiverseAnchors:
    """``positions`` (K,) in the pool, in the order chosen; ``similarities`` (K - 1,) of all but the first.

    A similarity is the anchor's to the most similar one of those chosen before it.
    """

    positions: IntArray
    similarities: Scores


def window(left: int, similar_exclude: float, similar_include: float) -> tuple[int, int]:
    """Which of the ``left`` images not chosen yet, the least similar first, are chosen from: from, up to (excluded)."""
    upper = max(int(left * (1 - similar_exclude)), 1)
    return min(int(left * (1 - similar_include)), upper - 1), upper


def diverse_anchors(
    pool: Descriptors,
    count: int,
    *,
    similar_exclude: float = 0.2,
    similar_include: float = 0.8,
    draws: TorchDraws | None = None,
    device: str | torch.device | None = None,
) -> DiverseAnchors:
    """Choose ``count`` of the ``pool`` (P, D) of unit vectors, beginning with the first.

    The images left are ordered by their similarity to the most similar anchor (equal ones by position). The share
    ``similar_exclude`` of the most similar is passed over, and what is beyond the share ``similar_include``, counted
    from the most similar, too. Of what is between, one is drawn; without ``draws`` it is the most similar.

    ``device`` defaults to where the pool is. Raises UsageError if the pool has fewer than ``count`` images, or one of
    them has no descriptor.
    """
    check_descriptors(pool, "the anchors' descriptors")
    rows = as_float32(pool)
    rows = rows.to(device) if device is not None else rows
    if not 1 <= count <= len(rows):
        raise UsageError(
            f"{count} anchors cannot be chosen from {len(rows)} images", hint="mine fewer anchors"
        )
    if not bool(finite_rows(rows).all()):
        raise UsageError("an image of the anchor pool has no descriptor", hint="leave broken images out")
    limits = [window(len(rows) - chosen, similar_exclude, similar_include) for chosen in range(1, count)]
    # How many there are to choose from is known beforehand, so a GPU need not be waited for in between.
    ranks = [upper - 1 if draws is None else lower + draws.below(upper - lower) for lower, upper in limits]
    with torch.no_grad():
        if rows.device.type == "cpu":
            return in_team(lambda: _choose(rows.contiguous(), ranks))
        return _choose_on_device(rows, ranks)


def _choose(rows: Tensor, ranks: list[int]) -> DiverseAnchors:
    nearest = torch.full((len(rows),), -torch.inf)
    values = nearest.numpy()
    height = max(_FEWEST_ROWS, -(-len(rows) // _BANDS))
    products = torch.empty_like(nearest)
    bands = list(zip(*(torch.split(each, height) for each in (rows, nearest, products)), strict=True))
    similarities = np.empty(len(ranks), dtype=np.float32)
    positions = np.zeros(len(ranks) + 1, dtype=np.int64)
    for number, rank in enumerate(ranks):
        anchor = rows[positions[number]]

        def update(band: int, anchor: Tensor = anchor) -> None:
            own, best, product = bands[band]
            torch.maximum(best, torch.mv(own, anchor, out=product), out=best)

        for_each_band(len(bands), update)
        values[positions[number]] = np.inf  # so that it comes last from now on, whatever its copies do
        positions[number + 1], similarities[number] = _at_rank(values, rank)
    return DiverseAnchors(positions, similarities)


def _at_rank(values: Scores, rank: int) -> tuple[int, np.float32]:
    """Index and value at place ``rank`` of a stable sort, without sorting."""
    value = np.partition(values, rank)[rank]
    among_equals = rank - np.count_nonzero(values < value)
    return int(np.flatnonzero(values == value)[among_equals]), value


def _choose_on_device(rows: Tensor, ranks: list[int]) -> DiverseAnchors:
    """Do what :func:`_choose` does without a step that waits for the device."""
    nearest = torch.full((len(rows),), -torch.inf, device=rows.device)
    position = torch.zeros(1, dtype=torch.int64, device=rows.device)
    positions, similarities = [position], []
    for rank in ranks:
        torch.maximum(nearest, (rows @ rows[position].T)[:, 0], out=nearest)
        nearest[position] = torch.inf
        ordered, order = nearest.sort(stable=True)
        position = order[rank : rank + 1]
        positions.append(position)
        similarities.append(ordered[rank : rank + 1])
    return DiverseAnchors(
        torch.cat(positions).cpu().numpy(),
        torch.cat(similarities).cpu().numpy() if similarities else np.empty(0, dtype=np.float32),
    )
