"""Fixed photographs, translated every few epochs: what a generator has learned, to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from darkside_cli.errors import ImageError
from darkside_cli.images.images import read_image, write_image
from darkside_cli.training.global_state import random_state_kept

Translate = Callable[[Tensor], Tensor]

MULTIPLE_PX = 4
"""Sides of sample images divide by this, so that every generator gives back the size it was given."""
GAP_PX = 6
_QUALITY = 90


def sample_grid(rows: Sequence[Sequence[NDArray[np.uint8]]], captions: Sequence[str] = ()) -> Image.Image:
    """Rows of images, (H, W, 3) or (H, W) uint8, on one sheet; the same input gives the same bytes.

    Every column is as wide as its widest image, every row as high as its highest; no image is scaled.
    ``captions`` stand above the columns, in letters that fit. Rows may be shorter than others.
    """
    columns = max([len(captions), *(len(row) for row in rows)], default=0)
    widths = [max((row[i].shape[1] for row in rows if i < len(row)), default=1) for i in range(columns)]
    heights = [max((image.shape[0] for image in row), default=0) for row in rows]
    font, head = _caption_font(captions, widths)
    width = sum(widths) + GAP_PX * (max(1, columns) + 1)
    sheet = Image.new("RGB", (width, head + sum(heights) + GAP_PX * (len(rows) + 1)), "white")
    lefts = [GAP_PX + sum(widths[:i]) + GAP_PX * i for i in range(columns)]
    if font is not None:
        pen = ImageDraw.Draw(sheet)
        for left, caption in zip(lefts, captions, strict=False):
            pen.text((left, GAP_PX // 2), caption, fill=(70, 70, 78), font=font)
    top = head + GAP_PX
    for row, height in zip(rows, heights, strict=True):
        for left, image in zip(lefts, row, strict=False):
            sheet.paste(Image.fromarray(np.ascontiguousarray(image)).convert("RGB"), (left, top))
        top += height + GAP_PX
    return sheet


def _caption_font(
    captions: Sequence[str], widths: Sequence[int]
) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont | None, int]:
    """The largest of a few sizes in which every caption fits above its column, and the height it needs."""
    if not any(captions):
        return None, 0
    for size in (18, 14, 11, 9):
        font = ImageFont.load_default(size)
        if all(font.getlength(text) <= width for text, width in zip(captions, widths, strict=False)):
            break
    return font, round(1.25 * size) + GAP_PX  # letters like y reach below the line


def to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """``images`` (B, 3, H, W) in [-1, 1] as (B, H, W, 3) uint8; what is no number is black."""
    values = images.detach().to("cpu", torch.float32).nan_to_num(nan=-1.0)
    scaled = ((values.clamp(-1, 1) + 1) * 127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


class SampleWriter:
    """Translates the same few photographs whenever it is asked to, and writes them as one sheet.

    ``paths`` are read once, shrunk to ``size_px`` on the longest side (never enlarged) in their own aspect, sides
    rounded to multiples of 4. ``every`` is in epochs. Files that cannot be read are left out and named, with the
    reason, in ``broken``.
    """

    def __init__(self, paths: Sequence[Path], size_px: int = 384, every: int = 5) -> None:
        if every < 1 or size_px < MULTIPLE_PX:
            raise ValueError(f"every is {every}, size_px is {size_px}")
        self.every = every
        self.broken: list[tuple[Path, str]] = []
        self._images: list[NDArray[np.uint8]] = []
        for path in paths:
            try:
                pixels = read_image(path, max_size_px=size_px).pixels
            except ImageError as error:
                self.broken.append((path, error.message))
            else:
                self._images.append(_even_sides(pixels))

    def __len__(self) -> int:
        return len(self._images)

    def due(self, epoch: int, epochs: int | None = None) -> bool:
        """Whether ``epoch`` (from 1) gets a sheet: the first, every ``every``-th, and the last of ``epochs``."""
        return bool(self._images) and (epoch in (1, epochs) or epoch % self.every == 0)

    def write(
        self,
        folder: Path,
        epoch: int,
        translate: Translate,
        *,
        back: Translate | None = None,
        device: torch.device | str = "cpu",
    ) -> Path:
        """Write ``folder/epoch_0005.jpg``, whole or not at all, and return its path.

        Columns: the photograph, its translation; if ``back`` is given what it makes of the translation. Both get one
        image at a time, (1, 3, H, W) float32 in [-1, 1] on ``device``. Networks have to be in eval mode; nothing is
        recorded for gradients, and random generators are left as they were.
        """
        captions = ["day", "to night"]
        captions += ["back to day"] if back is not None else []
        rows = []
        with torch.no_grad(), random_state_kept(torch.device(device)):
            for pixels in self._images:
                day = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device, torch.float32) / 127.5 - 1
                night = translate(day)
                row = [pixels, to_pixels(night)[0]]
                if back is not None:
                    row.append(to_pixels(back(night))[0])
                rows.append(row)
        target = Path(folder) / f"epoch_{epoch:04d}.jpg"
        write_image(target, np.asarray(sample_grid(rows, captions)), quality=_QUALITY)
        return target


def _even_sides(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = (max(MULTIPLE_PX, side // MULTIPLE_PX * MULTIPLE_PX) for side in pixels.shape[:2])
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
