"""The page about a comparison on photographs: the table with each seed, images, and searches."""

from __future__ import annotations

import re
import time as clock
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from darkside_cli.report import page as report

REPORT_FILE = "report.html"
_MOST_BYTES = 30_000
_HERE = Path(__file__).parent


def write_photos_page(
    output: Path,
    document: Mapping[str, Any],
    arms: Sequence[str],
    nights: Sequence[tuple[str, list[Path]]],
    searches: Sequence[Mapping[str, Any]],
    words: str,
) -> Path:
    """Write the page about the results in ``document``, whole or not at all, and give its path.

    ``nights`` are rows of images of the same places; ``searches`` are as the demonstration keeps them.
    """
    style = re.search(r"<style>.*?</style>", (_HERE / "page.html").read_text(encoding="utf-8"), re.DOTALL)
    return report.write_page(
        output / REPORT_FILE,
        (_HERE / "photos.html").read_text(encoding="utf-8"),
        style=Markup(style[0] if style else ""),  # noqa: S704 - ours
        title="Finding real places at night",
        words=words,
        arms=arms,
        times=[(time, label) for time, label in (("night", "asked at night"), ("day", "asked by day"))],
        seeds=document["seeds"],
        mean={measure: document[measure] for measure in ("mean_ap", "recall_1")},
        difference=document["difference"],
        nights=nights,
        searches=[
            (each["folder"] / each["query"], [_shown(each["folder"], one) for one in each["found"]])
            for each in searches
        ],
        image=cache(partial(report.embed, most_bytes=_MOST_BYTES)),
        written=clock.strftime("%Y-%m-%d %H:%M", clock.localtime()),
    )


def _shown(folder: Path, found: Mapping[str, Any]) -> tuple[str, float, list[tuple[Path, bool]]]:
    """What one descriptor found: its arm, average precision, images and whether they are right."""
    images = [(folder / name, bool(right)) for name, right in found["images"]]
    return found["arm"], float(found["precision"]), images
