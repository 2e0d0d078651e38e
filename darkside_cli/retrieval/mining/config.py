"""Options of mining; free of heavy imports. What they do is in the other files of this room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from darkside_cli.config.limits import MAX_BATCH, MAX_COUNT
from darkside_cli.config.schema import option


@dataclass(frozen=True, kw_only=True)
class MiningConfig:
    """How an epoch's tuples are chosen; defaults are the paper's."""

    anchors: int | None = option(
        2000,
        help="tuples of an epoch, each with its own anchor (none: a tuple for every pair)",
        minimum=1,
        maximum=MAX_COUNT,
    )
    anchor_choice: Literal["diverse", "random"] = option(
        "diverse", help="diverse: anchors unlike one another; random: as drawn"
    )
    anchor_pool: int | None = option(
        10_000,
        help="pairs that diverse anchors are chosen from (none: as many as anchors, which only orders them)",
        minimum=1,
        maximum=MAX_COUNT,
    )
    similar_exclude: float = option(
        0.2, help="share of the pool that is passed over for being most similar", minimum=0, maximum=1
    )
    similar_include: float = option(
        0.8,
        help="share of the pool, counted from the most similar, that is chosen from",
        minimum=0,
        maximum=1,
    )
    negatives: int = option(
        5, help="images of other places in a tuple, one a place", minimum=0, maximum=MAX_BATCH
    )
    negative_pool: int | None = option(
        22_000,
        help="images that negatives are looked for in (none: all)",
        minimum=1,
        maximum=MAX_COUNT,
    )
    shuffle: bool = option(True, help="draw at random; without, the first pairs and images are taken")
    easy_share: float | None = option(
        None,
        help="share of the tuples, those with the most similar positives, that are marked easy (none: mark none)",
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        pool, wanted = self.anchor_pool, self.anchors
        if self.anchor_choice == "diverse" and pool is not None and (wanted is None or wanted > pool):
            raise ValueError(f"{wanted or 'all'} anchors cannot be chosen from a pool of {pool}")
