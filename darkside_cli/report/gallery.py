"""A page of searches: each query with the images that were found for it, right and wrong ones marked.

The page is one HTML file that needs nothing else: thumbnails are inside, each image once however often it is shown,
and there are no scripts. It follows the reader's choice of light or dark colours and prints on paper.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw

from darkside_cli.errors import DarksideError
from darkside_cli.images.images import read_image
from darkside_cli.report.page import write_page

Mark = Literal["right", "wrong", "junk"]
Box = tuple[float, float, float, float]

THUMBNAIL_PX = 240
_QUALITY = 80
_BOX_COLOUR = (255, 196, 0)
_LABELS: dict[str, tuple[str, str]] = {
    "right": ("✓", "right"),
    "wrong": ("✗", "wrong"),
    "junk": ("–", "not counted"),
}
"""Sign and word for each mark: colours alone do not tell everybody."""


@dataclass(frozen=True, kw_only=True)
class GalleryImage:
    """One image of the page.

    ``path`` is its file (None: it is not on this machine), ``score`` its similarity to the query, ``mark`` whether it
    is a right answer (None: nobody knows), ``box`` (left, upper, right, lower, in pixels of the image as it is shown)
    the part of it that was searched for.
    """

    name: str
    path: Path | None = None
    score: float | None = None
    mark: Mark | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class GalleryRow:
    """A query and what was found for it, best first; ``note`` is a remark on it ("AP 83.1")."""

    query: GalleryImage
    results: Sequence[GalleryImage]
    note: str = ""


def write_gallery(
    path: str | Path,
    rows: Iterable[GalleryRow],
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    thumbnail_px: int = THUMBNAIL_PX,
    workers: int = 2,
    upright: bool = True,
) -> int:
    """Write the page, whole or not at all; returns how many images it shows no thumbnail of.

    ``facts`` are pairs (what, value) told under the title: model, data set, scores. ``thumbnail_px`` is the longest
    side of a thumbnail; ``upright`` turns images as their EXIF says, before boxes are drawn. An image that is not
    there or cannot be read has its name in place of its thumbnail. Raises OSError as the system gives it.
    """
    shown = list(rows)
    images = {_key(image): image for row in shown for image in (row.query, *row.results)}
    with ThreadPoolExecutor(workers) as pool:
        made = list(pool.map(lambda image: _thumbnail(image, thumbnail_px, upright), images.values()))
    thumbnails = {
        key: (f"t{number}", uri)  # its class in the style sheet, and its data
        for number, (key, uri) in enumerate(zip(images, made, strict=True))
        if uri is not None
    }
    marks = {image.mark for row in shown for image in row.results}
    write_page(
        Path(path),
        "gallery.html",
        title=title,
        facts=facts,
        rows=shown,
        thumbnails=thumbnails,
        key=_key,
        labels={mark: label for mark, label in _LABELS.items() if mark in marks},
        every_label=_LABELS,
    )
    return len(images) - len(thumbnails)


def _key(image: GalleryImage) -> tuple[str, Box | None]:
    return (os.fspath(image.path) if image.path is not None else f"\0{image.name}", image.box)


def _thumbnail(image: GalleryImage, side_px: int, upright: bool) -> str | None:
    """A small JPEG as a data URI; None if the image cannot be had."""
    if image.path is None:
        return None
    try:
        small = Image.fromarray(read_image(image.path, upright=upright).pixels)
    except DarksideError:
        return None
    if image.box is not None:
        width = max(2, round(max(small.size) / side_px * 3))
        ImageDraw.Draw(small).rectangle(image.box, outline=_BOX_COLOUR, width=width)
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/jpeg;base64,{data}"
