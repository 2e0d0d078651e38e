"""The page of generators compared: a table of their figures, and what each makes of some day photographs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from darkside_cli.metrics.verdicts import figure_of
from darkside_cli.report.page import write_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

_SIDE_PX, _QUALITY = 360, 82


def write_night_report(
    path: Path,
    rows: Sequence[tuple[str, int, Mapping[str, float], Mapping[Path, NDArray[np.uint8]]]],
    *,
    figures: Sequence[str],
    real: tuple[str, int, str],
    facts: Sequence[tuple[str, str]],
) -> Path:
    """Write the page, whole or not at all, to ``path``; give that back.

    ``rows`` are name, number of images, scores and some translations (H, W, 3) uint8 by day photograph; ``figures``
    names the scores that are shown; ``real`` is the last row: name, number, and its kernel distance as text. ``facts``
    are pairs told under the title. Raises OSError as the system gives it.
    """
    shown = sorted({day for *_, pictures in rows for day in pictures})
    return write_page(
        path,
        "nights.html",
        title="Nights compared",
        facts=facts,
        rows=rows,
        real=real,
        figures=[(name, name.replace("_", " "), _direction(name)) for name in figures],
        days=[(day.name, [_thumbnail(pictures.get(day)) for *_, pictures in rows]) for day in shown],
    )


def _direction(figure: str) -> str:
    found = figure_of(figure)
    return "" if found is None else found.in_words()


def _thumbnail(pixels: Any) -> str | None:
    """A small JPEG as a data URI."""
    if pixels is None:
        return None
    small = Image.fromarray(pixels)
    small.thumbnail((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
