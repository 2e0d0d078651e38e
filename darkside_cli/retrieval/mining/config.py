"""Options of mining and of night; free of heavy imports. What they do is in the other files of this room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from darkside_cli.config import limits
from darkside_cli.config.schema import option

AugmentName = Literal["generator", "images", "gamma", "exposure", "none"]
AUGMENTATIONS: tuple[AugmentName, ...] = ("generator", "images", "gamma", "exposure", "none")


@dataclass(frozen=True, kw_only=True)
class MiningConfig:
    """How an epoch's tuples are chosen; defaults are the paper's."""

    anchors: int | None = option(
        2000,
        help="tuples of an epoch, each with its own anchor (none: a tuple for every pair)",
        minimum=1,
        maximum=limits.MAX_COUNT,
    )
    anchor_choice: Literal["diverse", "random"] = option(
        "diverse", help="diverse: anchors unlike one another; random: as drawn"
    )
    anchor_pool: int | None = option(
        10_000,
        help="pairs that diverse anchors are chosen from (none: as many as anchors, which only orders them)",
        minimum=1,
        maximum=limits.MAX_COUNT,
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
        5, help="images of other places in a tuple, one a place", minimum=0, maximum=limits.MAX_BATCH
    )
    negative_pool: int | None = option(
        22_000,
        help="images that negatives are looked for in (none: all)",
        minimum=1,
        maximum=limits.MAX_COUNT,
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


@dataclass(frozen=True, kw_only=True)
class NightOptions:
    """Which anchors become night, by what, and what is done to all images afterwards.

    "gamma" and "exposure" are the baselines without learning: one curve for the whole image.
    """

    kind: AugmentName = option(
        "generator",
        help="generator: translated; images: ready night images; gamma: x^g; exposure: less light; none",
    )
    models: tuple[str, ...] = option(
        ("hedngan",), help="generators, by name or path; of several, the image's name picks one"
    )
    images: Path | None = option(None, help="folder of ready night images, named as the day ones are")
    share: float = option(
        0.25, help="share of the images that are night as anchors; their names decide", minimum=0, maximum=1
    )
    gamma: tuple[float, float] = option(
        (2.0, 4.0),
        help="lowest and highest exponent of gamma; the image's name picks it",
        minimum=1,
        maximum=20,
    )
    stops: tuple[float, float] = option(
        (2.0, 5.0),
        help="fewest and most halvings of the light; the image's name picks",
        minimum=0,
        maximum=16,
    )
    clahe_clip: float = option(
        1.0,
        help="clip limit of CLAHE on all images, day and night; 0: no CLAHE",
        minimum=0,
        maximum=limits.MAX_CLIP_LIMIT,
    )
    clahe_grid: int = option(8, help="tiles of CLAHE along a side", minimum=1, maximum=limits.MAX_CLAHE_GRID)
    cache: Path | None = option(
        None, help="folder where translations are kept (none: cache/night in the data folder)"
    )
    cache_gb: float = option(
        30.0,
        help="how much of the disk they may take, a megabyte each; 0: keep none",
        unit="GB",
        minimum=0,
        maximum=limits.MAX_MEGABYTES / 1000,
    )

    def __post_init__(self) -> None:
        for name in ("gamma", "stops"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} goes from low to high, not from {low:g} to {high:g}")
        if self.kind == "images" and self.images is None:
            raise ValueError("kind images needs the folder of ready night images")
        if self.kind == "generator" and not self.models:
            raise ValueError("kind generator needs a generator in models")
