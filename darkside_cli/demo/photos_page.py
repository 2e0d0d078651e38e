"""The page about a comparison on photographs: the table with each seed, images, and searches."""

from __future__ import annotations

import time as clock
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from darkside_cli.demo.page import template
from darkside_cli.demo.photos_result import ARMS, BY_DAY, MEASURES, RAW, PhotosResult
from darkside_cli.demo.request import DAY, NIGHT
from darkside_cli.report import page as report

REPORT_FILE = "report.html"
_MOST_BYTES = 30_000
_MADE = "generated"


def write_photos_page(
    output: Path,
    result: PhotosResult,
    nights: Sequence[tuple[str, list[Path]]],
    searches: Sequence[Mapping[str, Any]],
    words: str,
) -> Path:
    """Write the page about ``result``, whole or not at all, and give its path.

    ``nights`` are rows of images of the same places; ``searches`` are as the demonstration keeps them.
    """
    asked = {NIGHT: "Asked at night", DAY: "Asked by day"}.items()
    return report.write_page(
        output / REPORT_FILE,
        template("photos.html"),
        title="Finding real places at night",
        words=words,
        arms=ARMS,
        measures=list(MEASURES.values()),
        cards=[
            (label, result.over_day("mean_ap", time, _MADE), _words(result, time)) for time, label in asked
        ],
        tables=[(label, _side_by_side(result, time)) for time, label in asked],
        several=len(result.seeds) > 1,
        seeds=result.seeds,
        nights=nights,
        searches=[
            (each["folder"] / each["query"], [_shown(each["folder"], one) for one in each["found"]])
            for each in searches
        ],
        image=cache(partial(report.embed, most_bytes=_MOST_BYTES)),
        written=clock.strftime("%Y-%m-%d %H:%M", clock.localtime()),
    )


def _words(result: PhotosResult, time: str) -> list[str]:
    """For each measure, what it is raw, by day alone, and with generated nights."""
    lines = []
    for measure, label in MEASURES.items():
        raw, day, made = (f"{result.mean(measure, time, arm):.1f}" for arm in (RAW, BY_DAY, _MADE))
        lines.append(f"{label} {raw} raw, {day} trained by day, {made} with generated nights")
    return lines


def _side_by_side(result: PhotosResult, time: str) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Lines of the table of one time of day: whose figures, and those of each measure."""
    lines: dict[str, list[tuple[str, ...]]] = {}
    for of_time, _, name, figures in result.table():
        if of_time == time:
            lines.setdefault(name, []).append(figures)
    return list(lines.items())


def _shown(folder: Path, found: Mapping[str, Any]) -> tuple[str, float, list[tuple[Path, bool]]]:
    """What one descriptor found: its arm, average precision, images and whether they are right."""
    images = [(folder / name, bool(right)) for name, right in found["images"]]
    return found["arm"], float(found["precision"]), images
