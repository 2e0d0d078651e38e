"""One page about a demonstration: what night augmentation was worth, the pictures, the searches, the curves.

The page is one HTML file that needs nothing else and links to nothing but the reports of the single trainings.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from darkside_cli.atomic import temporary_beside
from darkside_cli.report.demo_page import PAGE
from darkside_cli.report.embed import Embedded, embed
from darkside_cli.report.figures import Panel, draw

_MOST_BYTES = 30_000


@dataclass(frozen=True)
class Row:
    """A line of the table: pairs (without, with) of mAP in percent, by night and by day."""

    name: str
    figures: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Strip:
    """Rows of pictures under a title, columns belonging together: (what the row is, its pictures)."""

    title: str
    rows: tuple[tuple[str, Sequence[Path]], ...]


@dataclass(frozen=True)
class Found:
    """A query and what was found for it: (descriptor, average precision, (picture, whether it is right))."""

    query: Path
    results: tuple[tuple[str, float, tuple[tuple[Path, bool], ...]], ...]


@dataclass(frozen=True, kw_only=True)
class DemoPage:
    """All that the page shows. ``headline`` are (what, figure, words); ``runs`` folders of trainings beside the page;
    ``seconds`` times of the stages of each seed.
    """

    title: str
    headline: Sequence[tuple[str, str, str]]
    table: Sequence[Row]
    strips: Sequence[Strip]
    searches: Sequence[Found]
    panels: Sequence[Panel]
    seconds: Sequence[tuple[str, Mapping[str, float]]]
    runs: Sequence[str]


def write_demo_page(path: Path, page: DemoPage) -> Path:
    """Write ``page``, whole or not at all, to ``path``, which is given back. Pictures that are missing are left out."""
    pictures: dict[Path, Embedded | None] = {}

    def picture(which: Path) -> Embedded | None:
        if which not in pictures:
            pictures[which] = embed(which, _MOST_BYTES)
        return pictures[which]

    drawn = [(each, Markup(svg)) for each, svg in zip(page.panels, draw(page.panels), strict=True)]  # noqa: S704
    stages = list(dict.fromkeys(stage for _, seconds in page.seconds for stage in seconds))
    text = (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(PAGE)
        .render(
            page=page,
            picture=picture,
            stages=stages,
            panels=drawn,
            written=time.strftime("%Y-%m-%d %H:%M", time.localtime()),
        )
    )
    with temporary_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path
