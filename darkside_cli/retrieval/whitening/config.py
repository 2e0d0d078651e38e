"""Options of whitening; free of heavy imports. What they do is in the other files of this room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from darkside_cli.config import limits
from darkside_cli.config.schema import option
from darkside_cli.retrieval.describe.scales import check_scales


@dataclass(frozen=True, kw_only=True)
class WhiteningOptions:
    """The whitening that is learned behind the network, when it is trained."""

    kind: Literal["lw", "pca", "none"] = option("lw", help="lw, learned from pairs; pca; or none")
    database: str | None = option(
        None, help="what to learn it from (none: a published set's own pairs for it, else the training data)"
    )
    images: Path | None = option(None, help="folder that names in a list or database start from")
    image_size_px: int = option(
        1024, help="shrink images to this longest side", unit="px", minimum=8, maximum=limits.MAX_IMAGE_PX
    )
    scales: str = option(
        "ms", help="ms (1, 0.7071 and 0.5 of the sides), ss, or numbers between commas", validate=check_scales
    )
    shrink: int | None = option(
        None,
        help="of pca: pull eigenvalues towards 1 by the k-th; 0: learn lw from fewer pairs than dimensions without "
        "shrinking their covariance",
        minimum=0,
        maximum=limits.MAX_VECTOR,
    )
    balance: float = option(
        0.0,
        help="of pca: a place of n images counts as n^(1 - this): 0 lets every image count alike, 1 every place",
        minimum=0.0,
        maximum=1.0,
    )
    views: int = option(
        0,
        help="of pca: learn from this many random views of each image (0: from the images as they are, as published)",
        minimum=0,
        maximum=limits.MAX_BATCH,
    )
    nights: int = option(
        0,
        help="of pca: learn also from this many nights of each image, made as augment makes them, of views if there "
        "are to be any",
        minimum=0,
        maximum=limits.MAX_BATCH,
    )
    dim: int | None = option(
        None, help="dimensions to keep, the first ones (none: all)", minimum=1, maximum=limits.MAX_VECTOR
    )

    def __post_init__(self) -> None:
        if self.kind == "lw" and (self.views or self.nights):
            raise ValueError("views and nights are of kind pca: lw is learned from pairs")
        if self.balance and self.kind != "pca":
            raise ValueError("balance is of kind pca: lw is learned from pairs")
