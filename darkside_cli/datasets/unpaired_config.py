"""Options of unpaired day and night images; free of heavy imports. What they do is in ``unpaired.py``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from darkside_cli.config.limits import MAX_BATCH, MAX_COUNT, MAX_CROP_PX, MAX_IMAGE_PX, MAX_MEGABYTES
from darkside_cli.config.schema import option
from darkside_cli.images.settings import AugmentConfig


@dataclass(frozen=True, kw_only=True)
class UnpairedConfig:
    """Where the images are and what a batch is made of; defaults are the published ones."""

    day: Path | None = option(
        None, help="list file or folder of day pictures, or nightfall (none: the published list)"
    )
    night: Path | None = option(
        None, help="list file or folder of night pictures, or nightfall (none: the published list)"
    )
    images: Path | None = option(
        None,
        help="folder that names in lists are relative to (none: the list's own folder, the working directory, the "
        "published images, in this order)",
    )
    nightfall_size: str = option(
        "small",
        help="size in which nightfall is made where it is not here yet",
        choices_from="darkside_cli.nightfall.config:SIZES",
    )
    recursive: bool = option(False, help="take the pictures of sub-folders too")
    size: int | None = option(
        10_000,
        help="pairs drawn for each epoch (none: as many as the smaller set has)",
        minimum=1,
        maximum=MAX_COUNT,
    )
    batch_size: int = option(1, help="pairs of a batch in each process", minimum=1, maximum=MAX_BATCH)
    crop_px: int | tuple[int, int] = option(
        256, help="side, or width and height", unit="px", minimum=4, maximum=MAX_CROP_PX
    )
    scale: tuple[float, float] = option(
        (0.8, 1.0), help="lowest and highest scale of crops", minimum=0.01, maximum=8
    )
    share_crop: bool = option(
        True, help="cut both pictures of a pair at one place of the part they have in common, as published"
    )
    max_size_px: int | None = option(
        1024,
        help="shrink pictures to this longest side first, as the published ones are",
        unit="px",
        minimum=4,
        maximum=MAX_IMAGE_PX,
    )
    too_small: Literal["upscale", "refuse", "skip"] = option(
        "upscale", help="what is done about pictures smaller than the crop"
    )
    augment: AugmentConfig = option(AugmentConfig(), help="more variety for small sets")
    workers: int | None = option(
        None, help="threads that decode, 0: the training's own (none: by CPU count)", minimum=0, maximum=256
    )
    prefetch: int = option(4, help="batches made ahead", minimum=1, maximum=1000)
    cache_mb: int = option(
        512,
        help="memory for decoded pictures, which spares small sets most of the work",
        unit="MB",
        minimum=0,
        maximum=MAX_MEGABYTES,
    )

    def __post_init__(self) -> None:
        low, high = self.scale
        if not (0 < low <= high and math.isfinite(high)):
            raise ValueError(f"the scale of crops goes from low to high, not from {low:g} to {high:g}")

    @property
    def crop_size(self) -> tuple[int, int]:
        """Width and height of a crop in pixels."""
        return (self.crop_px, self.crop_px) if isinstance(self.crop_px, int) else self.crop_px
