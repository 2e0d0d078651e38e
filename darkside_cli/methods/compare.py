"""Sheets that show an input beside its translation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from darkside_cli.errors import ImageError
from darkside_cli.images.identify import identify, open_regular_file

GAP_PX = 8
SHEETS = "compare"


def side_by_side(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two (H, W, 3) images beside each other with a white gap: (H, 2W + gap, 3), the left one in the right's size."""
    if left.shape != right.shape:  # the result is an older one, made at another size
        left = np.asarray(Image.fromarray(left).resize((right.shape[1], right.shape[0])))
    gap = np.full((right.shape[0], GAP_PX, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def sheet_path(target: Path) -> Path:
    """Where the sheet of ``target`` goes: into a folder ``compare`` beside it, under its name and in its format."""
    return target.parent / SHEETS / target.name


def is_sheet(path: Path) -> bool:
    """Whether ``path`` is the sheet of a result that is there: its name and folder say so, and its size does.

    Photographs of people who keep some in a folder ``compare`` are none.
    """
    if path.parent.name != SHEETS:
        return False
    result, sheet = _size_px(path.parent.parent / path.name), _size_px(path)
    return result is not None and sheet == (2 * result[0] + GAP_PX, result[1])


def _size_px(path: Path) -> tuple[int, int] | None:
    """(width, height) of an image as its header has it; None for what is no image."""
    try:
        with open_regular_file(path) as stream:
            return identify(stream).size
    except (OSError, ImageError):
        return None
