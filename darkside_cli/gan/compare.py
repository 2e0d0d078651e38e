"""Sheets that show an input beside its translation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

GAP_PX = 8


def side_by_side(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two (H, W, 3) images of one size beside each other with a white gap: (H, 2W + gap, 3)."""
    gap = np.full((left.shape[0], GAP_PX, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def sheet_path(target: Path) -> Path:
    """Where the sheet of ``target`` goes: into a folder ``compare`` beside it, under its own name, as JPEG."""
    return target.parent / "compare" / f"{target.name}.jpg"
