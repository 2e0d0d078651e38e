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


@dataclass(frozen=True)
class _Thumbnail:
    """An image in the page's style sheet: its class name, and its data as a URI."""

    name: str
    uri: str


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
        key: _Thumbnail(f"t{number}", uri)
        for number, (key, uri) in enumerate(zip(images, made, strict=True))
        if uri is not None
    }
    marks = {image.mark for row in shown for image in row.results}
    write_page(
        Path(path),
        _PAGE,
        title=title,
        facts=facts,
        rows=shown,
        thumbnails=thumbnails,
        key=_key,
        labels={mark: label for mark, label in _LABELS.items() if mark in marks},
        every_label=_LABELS,
        side=thumbnail_px,
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


_LABELS: dict[str, tuple[str, str]] = {
    "right": ("✓", "right"),
    "wrong": ("✗", "wrong"),
    "junk": ("–", "not counted"),
}
"""Sign and word for each mark: colours alone do not tell everybody."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="darkside">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1b1f; --faint: #66666e; --line: #d9d9de; --card: #f4f4f6;
  --right: #1a7f37; --wrong: #c62828; --junk: #8a8a93; }
@media (prefers-color-scheme: dark) { :root { --ground: #131316; --ink: #ececf0; --faint: #9d9da6; --line: #34343a;
  --card: #1e1e22; --right: #4cc26a; --wrong: #ff6b62; --junk: #85858f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1800px; padding: 1.5rem; background: var(--ground); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif; }
h1 { margin: 0 0 .6rem; font-size: 1.45rem; }
dl { display: flex; flex-wrap: wrap; gap: .25rem 1.6rem; margin: 0 0 1rem; }
dl div { display: flex; gap: .45rem; }
dt { color: var(--faint); } dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.legend { display: flex; gap: 1.2rem; margin: 0 0 1rem; padding: 0; list-style: none; }
section { display: grid; grid-template-columns: 190px 1fr; gap: 1rem; padding: 1rem 0;
  border-top: 1px solid var(--line); break-inside: avoid; }
h2 { margin: 0 0 .4rem; font-size: .95rem; }
.note { margin: .3rem 0 0; color: var(--faint); font-variant-numeric: tabular-nums; }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: .7rem; margin: 0; padding: 0;
  list-style: none; align-items: start; }
figure { margin: 0; }
figure.framed { padding: 4px; border: 3px solid var(--line); border-radius: 7px; background: var(--card); }
figure.right { border-color: var(--right); } figure.wrong { border-color: var(--wrong); }
figure.junk { border-color: var(--junk); border-style: dashed; }
.picture { display: grid; place-items: center; height: 130px; border-radius: 3px;
  background: var(--card) center / contain no-repeat; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.query .picture { height: 170px; }
.absent { border: 1px dashed var(--line); color: var(--faint); font-size: .8rem; text-align: center; padding: .4rem; }
figcaption { margin-top: .3rem; font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; }
.numbers { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
.sign { font-weight: 700; } .right > .sign, .right .numbers .sign { color: var(--right); }
.wrong > .sign, .wrong .numbers .sign { color: var(--wrong); }
.junk > .sign, .junk .numbers .sign { color: var(--junk); }
.name { color: var(--faint);
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
@media (max-width: 640px) { body { padding: .8rem; } section { grid-template-columns: 1fr; }
  ol { grid-template-columns: repeat(auto-fill, minmax(105px, 1fr)); } .picture { height: 100px; } }
{% for thumbnail in thumbnails.values() %}
.{{ thumbnail.name }} { background-image: url({{ thumbnail.uri }}); }
{% endfor %}
</style>
</head>
<body>
{% macro shown(image, rank) %}
{% set thumbnail = thumbnails.get(key(image)) %}
{% if thumbnail %}
<div class="picture {{ thumbnail.name }}" role="img" aria-label="{{ image.name }}" title="{{ image.name }}"></div>
{% else %}
<div class="picture absent">no picture here</div>
{% endif %}
<figcaption>
{% if rank %}
<span class="numbers"><span>{{ rank }}{% if image.mark %} <span class="sign" title="{{ every_label[image.mark][1] }}">\
{{ every_label[image.mark][0] }}</span>{% endif %}</span>{% if image.score is not none %}\
<span>{{ "%.4f" % image.score }}</span>{% endif %}</span>
{% endif %}
<span class="name" title="{{ image.name }}">{{ image.name }}</span>
</figcaption>
{% endmacro %}
<header>
<h1>{{ title }}</h1>
{% if facts %}
<dl>
{% for what, value in facts %}
<div><dt>{{ what }}</dt><dd>{{ value }}</dd></div>
{% endfor %}
</dl>
{% endif %}
{% if labels %}
<ul class="legend">
{% for mark, label in labels.items() %}
<li class="{{ mark }}"><span class="sign">{{ label[0] }}</span> {{ label[1] }}</li>
{% endfor %}
</ul>
{% endif %}
</header>
<main>
{% for row in rows %}
<section>
<div class="query">
<h2>Query {{ loop.index }}</h2>
<figure>
{{ shown(row.query, none) }}
</figure>
{% if row.note %}
<p class="note">{{ row.note }}</p>
{% endif %}
</div>
<ol>
{% for image in row.results %}
<li><figure class="framed{% if image.mark %} {{ image.mark }}{% endif %}">
{{ shown(image, loop.index) }}
</figure></li>
{% endfor %}
</ol>
</section>
{% endfor %}
</main>
</body>
</html>
"""
