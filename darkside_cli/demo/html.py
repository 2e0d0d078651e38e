"""One page about a demonstration: what night augmentation was worth, the images, the searches, the curves.

The page is one HTML file that needs nothing else and links to nothing but the reports of the single trainings.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from darkside_cli.report.figures import Panel
from darkside_cli.report.page import Embedded, drawn, embed, write_page

_MOST_BYTES = 30_000


@dataclass(frozen=True)
class Row:
    """A line of the table: pairs (without, with) of mAP in percent, by night and by day."""

    name: str
    figures: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Strip:
    """Rows of images under a title, columns belonging together: (what the row is, its images)."""

    title: str
    rows: tuple[tuple[str, Sequence[Path]], ...]


@dataclass(frozen=True)
class Found:
    """A query and what was found for it: (descriptor, average precision, (image, whether it is right))."""

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
    """Write ``page``, whole or not at all, to ``path``, which is given back. Images that are missing are left out."""
    images: dict[Path, Embedded | None] = {}

    def image(which: Path) -> Embedded | None:
        if which not in images:
            images[which] = embed(which, _MOST_BYTES)
        return images[which]

    stages = list(dict.fromkeys(stage for _, seconds in page.seconds for stage in seconds))
    return write_page(
        path,
        PAGE,
        page=page,
        image=image,
        stages=stages,
        panels=drawn(page.panels),
        written=time.strftime("%Y-%m-%d %H:%M", time.localtime()),
    )


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="darkside">
<title>{{ page.title }}</title>
<style>
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1b1f; --faint: #6b6b74; --line: #e3e3e8; --card: #f6f6f8;
  --good: #1a7f37; --bad: #c62828; --curve-0: #2563c9; --curve-1: #0f8a6d; --curve-2: #b4570b; --curve-3: #7a4fc4;
  --curve-4: #b8336a; --curve-5: #5d7a12; }
@media (prefers-color-scheme: dark) { :root { --ground: #131316; --ink: #ececf0; --faint: #9d9da6; --line: #303036;
  --card: #1d1d21; --good: #4cc26a; --bad: #ff6b62; --curve-0: #75a7ff; --curve-1: #4bc9a7; --curve-2: #f0a05a;
  --curve-3: #b795f5; --curve-4: #f07fae; --curve-5: #b3cf5a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 2rem 1.5rem 4rem; background: var(--ground); color: var(--ink);
  font: 14px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { margin: 0 0 .4rem; font-size: 1.7rem; line-height: 1.2; font-weight: 650; }
h2 { margin: 2.6rem 0 .9rem; padding-bottom: .35rem; border-bottom: 1px solid var(--line); font-size: 1.1rem;
  font-weight: 620; }
p { margin: .3rem 0; max-width: 78ch; } .faint { color: var(--faint); }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.3rem 0 0; }
.card { flex: 1 1 260px; padding: .9rem 1.2rem; border-radius: 10px; background: var(--card); }
.card b { display: block; font-size: 2rem; line-height: 1.2; font-weight: 650; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; } th, td { padding: .3rem 1.4rem .3rem 0; text-align: right; }
th { color: var(--faint); font-size: .82rem; font-weight: 500; } th:first-child, td:first-child { text-align: left; }
td { border-top: 1px solid var(--line); } tr.mean td { font-weight: 650; }
.up { color: var(--good); } .down { color: var(--bad); }
.strip { overflow-x: auto; } .strip table { table-layout: fixed; } .strip td { border: 0; padding: 0 4px 4px 0; }
.strip th { width: 9rem; padding: 0 .8rem 0 0; vertical-align: middle; }
img { display: block; border-radius: 4px; width: 104px; height: 104px; object-fit: cover; }
.searches { display: grid; gap: 1.1rem; }
.search { display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; align-items: flex-end; }
.results p { margin: 0 0 .2rem; font-size: .82rem; color: var(--faint); }
.row { display: flex; flex-wrap: wrap; gap: 4px; } .row img { width: 76px; height: 76px; border: 3px solid var(--bad); }
.row img.right { border-color: var(--good); }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); gap: 1.3rem 1.6rem; }
.panel { margin: 0; break-inside: avoid; } .panel b { font-weight: 600; }
.panel svg { display: block; width: 100%; height: auto; overflow: visible; }
.panel svg text { font-family: system-ui, sans-serif; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem .9rem; margin: .2rem 0 0; padding: 0; list-style: none;
  font-size: .82rem; color: var(--faint); }
.legend li::before { content: ""; display: inline-block; width: 1.1em; height: 3px; margin-right: .45em;
  vertical-align: middle; border-radius: 2px; background: var(--colour); }
footer { margin-top: 3rem; color: var(--faint); font-size: .82rem; } a { color: var(--curve-0); }
@media (max-width: 640px) { body { padding: 1.1rem .9rem 3rem; } .strip th { width: 5rem; } }
@media print { body { max-width: none; padding: 0; } }
</style>
</head>
<body>
{% macro shown(path, class="") %}
{% set made = image(path) %}
{% if made %}
<img src="{{ made.uri }}" alt="{{ made.name }}" title="{{ made.name }}"{% if class %} class="{{ class }}"{% endif %}>
{% endif %}
{% endmacro %}
{% macro change(pair) %}
{% set d = pair[1] - pair[0] %}
<td class="{{ 'up' if d > 0 else 'down' if d < 0 else '' }}">{{ "%+.2f" % d }}</td>
{% endmacro %}
<header>
<h1>{{ page.title }}</h1>
<p>A generator learned to turn day into night from pictures that do not belong together. A descriptor learned to
recognise landmarks from pictures taken by day, and was then fine-tuned twice: on the same pictures, and with some of
them turned into night. The two are compared on landmarks that nothing was trained on: how well does a picture find
the others of its place, which were all taken by day?</p>
<div class="cards">
{% for what, figure, words in page.headline %}
<div class="card"><span>{{ what }}</span><b>{{ figure }}</b><span class="faint">{{ words }}</span></div>
{% endfor %}
</div>
</header>
<main>
<h2>Scores</h2>
<div class="scroll"><table>
<thead><tr><th>mAP in percent</th><th>night, without</th><th>night, with</th><th>difference</th>\
<th>day, without</th><th>day, with</th><th>difference</th></tr></thead>
<tbody>
{% for row in page.table %}
<tr{% if row.name == "mean" %} class="mean"{% endif %}><td>{{ row.name }}</td>
{% for pair in row.figures %}
<td>{{ "%.2f" % pair[0] }}</td><td>{{ "%.2f" % pair[1] }}</td>{{ change(pair) }}
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table></div>
{% for strip in page.strips %}
<h2>{{ strip.title }}</h2>
<div class="strip"><table><tbody>
{% for name, paths in strip.rows %}
<tr><th>{{ name }}</th>
{% for path in paths %}
<td>{{ shown(path) }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
{% if page.searches %}
<h2>Searches</h2>
<p class="faint">Night queries, evenly chosen from all, and what was found first; a green frame is the right place.</p>
<div class="searches">
{% for search in page.searches %}
<div class="search"><div>{{ shown(search.query) }}</div>
{% for name, precision, images in search.results %}
<div class="results"><p>{{ name }} night augmentation: AP {{ "%.0f" % (100 * precision) }}</p><div class="row">
{% for path, right in images %}
{{ shown(path, "right" if right else "wrong") }}
{% endfor %}
</div></div>
{% endfor %}
</div>
{% endfor %}
</div>
{% endif %}
<h2>Curves</h2>
<p class="faint">Means of epochs.</p>
<div class="panels">
{% for panel, drawing in panels %}
<figure class="panel">
<figcaption><b>{{ panel.title }}</b> <span>{{ panel.value }}</span></figcaption>
{{ drawing }}
{% if panel.legend %}
<ul class="legend">
{% for name in panel.legend %}
<li style="--colour: var(--curve-{{ loop.index0 }})">{{ name }}</li>
{% endfor %}
</ul>
{% endif %}
</figure>
{% endfor %}
</div>
<h2>Time</h2>
<div class="scroll"><table>
<thead><tr><th>seconds</th>{% for stage in stages %}<th>{{ stage }}</th>{% endfor %}<th>all</th></tr></thead>
<tbody>
{% for name, seconds in page.seconds %}
<tr><td>{{ name }}</td>{% for stage in stages %}<td>{{ "%.0f" % seconds.get(stage, 0) }}</td>{% endfor %}\
<td>{{ "%.0f" % seconds.values() | sum }}</td></tr>
{% endfor %}
</tbody>
</table></div>
<h2>Trainings</h2>
<p>
{% for run in page.runs %}
<a href="{{ run }}/report.html">{{ run }}</a>{{ " · " if not loop.last }}
{% endfor %}
</p>
</main>
<footer>Written {{ written }} by darkside.</footer>
</body>
</html>
"""
