"""Sheets that show an input beside its translation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GAP_PX = 8
SHEETS = "compare"


def side_by_side(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two (H, W, 3) images beside each other with a white gap: (H, 2W + gap, 3), the right one in the left's size."""
    if left.shape != right.shape:  # an older result, made at another size
        right = np.asarray(Image.fromarray(right).resize((left.shape[1], left.shape[0])))
    gap = np.full((left.shape[0], GAP_PX, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def sheet_path(target: Path) -> Path:
    """Where the sheet of ``target`` goes: into a folder ``compare`` beside it, under its own name, as JPEG."""
    return target.parent / SHEETS / f"{target.name}.jpg"


def is_sheet(path: Path) -> bool:
    """Whether ``path`` is the sheet of a result that is there."""
    return path.parent.name == SHEETS and path.suffix == ".jpg" and (path.parent.parent / path.stem).exists()
