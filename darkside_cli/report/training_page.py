"""The page about a training run: jinja2, styles and twenty lines of script, without which everything is listed."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="darkside">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1b1f; --faint: #6b6b74; --line: #e3e3e8; --card: #f6f6f8;
  --good: #1a7f37; --bad: #c62828; --warn: #8a5a00; --warn-ground: #fff6e0;
  --curve-0: #2563c9; --curve-1: #0f8a6d; --curve-2: #b4570b; --curve-3: #7a4fc4; --curve-4: #b8336a;
  --curve-5: #5d7a12; }
@media (prefers-color-scheme: dark) { :root { --ground: #131316; --ink: #ececf0; --faint: #9d9da6; --line: #303036;
  --card: #1d1d21; --good: #4cc26a; --bad: #ff6b62; --warn: #e8b64c; --warn-ground: #2a2312;
  --curve-0: #75a7ff; --curve-1: #4bc9a7; --curve-2: #f0a05a; --curve-3: #b795f5; --curve-4: #f07fae;
  --curve-5: #b3cf5a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1280px; padding: 2rem 1.5rem 4rem; background: var(--ground); color: var(--ink);
  font: 14px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { margin: 0 0 .2rem; font-size: 1.6rem; line-height: 1.2; font-weight: 650; overflow-wrap: anywhere; }
h2 { margin: 2.6rem 0 .9rem; padding-bottom: .35rem; border-bottom: 1px solid var(--line); font-size: 1.1rem;
  font-weight: 620; }
h3 { margin: 1.3rem 0 .5rem; color: var(--faint); font-size: .9rem; font-weight: 600; }
p { margin: .3rem 0; } .faint { color: var(--faint); }
.status::before { content: ""; display: inline-block; width: .6em; height: .6em; margin-right: .5em; border-radius: 50%;
  background: var(--faint); }
.status.done::before { background: var(--good); } .status.stopped::before { background: var(--warn); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: .7rem 1.6rem;
  margin: 1.1rem 0 0; }
dt { color: var(--faint); font-size: .82rem; } dd { margin: 0; overflow-wrap: anywhere; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 1.3rem 1.6rem; }
.panel { margin: 0; break-inside: avoid; }
.panel figcaption { display: flex; flex-wrap: wrap; gap: 0 .7rem; align-items: baseline; margin-bottom: .25rem; }
.panel b { font-weight: 600; } .panel p { margin: 0; color: var(--faint); font-size: .82rem; }
.panel svg { display: block; width: 100%; height: auto; overflow: visible; }
.panel svg * { stroke-linejoin: round; stroke-linecap: butt; }
.panel svg text { font-family: system-ui, sans-serif; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem .9rem; margin: .2rem 0 0; padding: 0; list-style: none;
  font-size: .82rem; color: var(--faint); }
.legend li::before { content: ""; display: inline-block; width: 1.1em; height: 3px; margin-right: .45em;
  vertical-align: middle; border-radius: 2px; background: var(--colour); }
.warnings { padding: .7rem 1rem; border-radius: 8px; background: var(--warn-ground); }
.warnings ul { margin: .2rem 0 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
.strip figure { margin: 0 0 .6rem; } .strip .wide { overflow-x: auto; }
.strip figcaption { margin-bottom: .35rem; font-weight: 600; }
.strip img { display: block; max-width: 100%; min-width: min(560px, var(--width)); height: auto; border-radius: 4px;
  background: #fff; margin-bottom: .5rem; }
.slider { display: none; align-items: center; gap: .9rem; margin-bottom: .8rem; }
.slider input[type=range] { flex: 1; max-width: 460px; accent-color: var(--curve-0); }
.slider output { min-width: 6.5rem; font-weight: 600; }
.scripted .slider { display: flex; flex-wrap: wrap; }
.scripted:not(.all) figure:not(.shown) { display: none; } .scripted:not(.all) figcaption { display: none; }
table { width: 100%; border-collapse: collapse; } .scroll { overflow-x: auto; }
th { padding: .25rem .8rem .25rem 0; color: var(--faint); font-size: .82rem; font-weight: 500; text-align: left; }
td { padding: .25rem .8rem .25rem 0; border-top: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
td:first-child { white-space: nowrap; } code { font: .92em/1.4 ui-monospace, monospace; }
tr.changed td:nth-child(2) { font-weight: 650; }
.figures th, .figures td { white-space: nowrap; }
.figures th:nth-child(n+3), .figures td:nth-child(n+3) { text-align: right; }
.figures td:nth-child(3) { font-weight: 650; }
.note { margin-top: .9rem; padding: .5rem .8rem; border-radius: 8px; background: var(--warn-ground); }
details { margin-top: .8rem; } summary { cursor: pointer; color: var(--faint); }
footer { margin-top: 3rem; color: var(--faint); font-size: .82rem; }
@media (max-width: 640px) { body { padding: 1.1rem .9rem 3rem; }
  table:not(.figures) td:first-child { white-space: normal; }
  dl { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); } h2 { margin-top: 2rem; } }
@media print { body { max-width: none; padding: 0; } .slider { display: none !important; } }
</style>
</head>
<body>
{% macro facts(pairs) %}
<dl>
{% for what, value in pairs %}
<div><dt>{{ what }}</dt><dd>{{ value }}</dd></div>
{% endfor %}
</dl>
{% endmacro %}
{% macro panels(kind) %}
<div class="panels">
{% for group in groups if group.kind == kind %}
{% for panel, drawing in group.panels %}
<figure class="panel">
{% if group.title %}
<p>{{ group.title }}</p>
{% endif %}
<figcaption><b>{{ panel.title }}</b> <span>{{ panel.value }}</span></figcaption>
{% if panel.note %}
<p>{{ panel.note }}</p>
{% endif %}
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
{% endfor %}
</div>
{% endmacro %}
{% macro settings(rows) %}
<div class="scroll"><table>
<thead><tr><th>key</th><th>value</th>{% if has_origins %}<th>from</th>{% endif %}</tr></thead>
<tbody>
{% for row in rows %}
<tr{% if row.changed %} class="changed"{% endif %}><td><code>{{ row.key }}</code></td><td>\
<code>{{ row.value }}</code></td>{% if has_origins %}<td class="faint">{{ row.origin }}</td>{% endif %}</tr>
{% endfor %}
</tbody>
</table></div>
{% endmacro %}
{% set kinds = groups | map(attribute="kind") | list %}
<header>
<h1>{{ title }}</h1>
<p class="status {{ status[0] }}">{{ status[1] }}</p>
{% if headline %}
{{ facts(headline) }}
{% endif %}
</header>
<main>
{% if warnings %}
<h2>Warnings</h2>
<div class="warnings"><ul>
{% for message, count in warnings %}
<li>{{ message }}{% if count > 1 %} ({{ count }} times){% endif %}</li>
{% endfor %}
</ul></div>
{% endif %}
{% if scores %}
<h2>Evaluation</h2>
{% for note in scores.notes %}
<p class="faint">{{ note }}</p>
{% endfor %}
{% if scores.rows %}
<div class="scroll"><table class="figures">
<thead><tr>{% for name in scores.heading %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in scores.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
{% endif %}
{% endif %}
{% if whitening %}
<h2>Whitening</h2>
{{ facts(whitening.facts) }}
{% for note in whitening.notes %}
<p class="note">{{ note }}</p>
{% endfor %}
{% endif %}
{% if samples %}
<h2>Samples</h2>
<div class="strip" id="strip">
<div class="slider"><input type="range" min="0" max="{{ samples | length - 1 }}" value="{{ samples | length - 1 }}" \
aria-label="epoch"><output></output><label class="faint"><input type="checkbox"> all of them</label></div>
{% for sample in samples %}
{% set name = "samples" if sample.epoch is none else "epoch %d" % sample.epoch %}
<figure{% if loop.first %} class="shown"{% endif %} data-name="{{ name }}">
<figcaption>{{ name }}</figcaption>
{% for image in sample.images %}
<div class="wide"><img style="--width: {{ image.width }}px" src="{{ image.uri }}" width="{{ image.width }}" \
height="{{ image.height }}" alt="{{ image.name }}" decoding="async"></div>
{% endfor %}
</figure>
{% endfor %}
</div>
{% if samples_left_out %}
<p class="faint">The samples of {{ samples_left_out }} more epochs are in the run folder.</p>
{% endif %}
{% endif %}
{% if "scores" in kinds %}
<h2>Scores</h2>
<p class="faint">By epoch. Beside each name: its newest value. A dotted line stands at the best epoch.</p>
{{ panels("scores") }}
{% endif %}
{% if "losses" in kinds %}
<h2>Losses</h2>
<p class="faint">By epoch. Bold: means of epochs; faint: batches; a cross: not a number.</p>
{{ panels("losses") }}
{% endif %}
{% if "progress" in kinds %}
<h2>Rates and speed</h2>
{{ panels("progress") }}
{% endif %}
{% if timings %}
{{ facts(timings) }}
{% endif %}
{% if config %}
<h2>Configuration</h2>
{% set changed = config | selectattr("changed") | list %}
{% if has_origins and changed | length < config | length %}
{% if changed %}
{{ settings(changed) }}
{% else %}
<p>Everything is as it is by default.</p>
{% endif %}
<details><summary>All {{ config | length }} settings</summary>
{{ settings(config) }}
</details>
{% else %}
{{ settings(config) }}
{% endif %}
{% endif %}
{% if outputs or checkpoints %}
<h2>Files</h2>
<div class="scroll"><table>
<tbody>
{% for name, size in outputs %}
<tr class="changed"><td><code>{{ name }}</code></td><td>result</td><td class="faint">{{ size }}</td></tr>
{% endfor %}
{% for name, where, size in checkpoints %}
<tr><td><code>checkpoints/{{ name }}</code></td><td>{{ where }}</td><td class="faint">{{ size }}</td></tr>
{% endfor %}
</tbody>
</table></div>
{% endif %}
{% if machines %}
<h2>Machine and versions</h2>
{% for when, pairs in machines %}
{% if machines | length > 1 %}
<h3>{{ when }}</h3>
{% endif %}
{{ facts(pairs.items()) }}
{% endfor %}
{% endif %}
</main>
<footer>Written {{ written }} by darkside.</footer>
{% if samples | length > 1 %}
<script>
(function () {
  var strip = document.getElementById("strip"), range = strip.querySelector("input[type=range]");
  var figures = Array.prototype.slice.call(strip.querySelectorAll("figure")).reverse();
  function show() {
    figures.forEach(function (figure, i) { figure.classList.toggle("shown", i === Number(range.value)); });
    strip.querySelector("output").textContent = figures[range.value].dataset.name;
  }
  range.addEventListener("input", show);
  strip.querySelector("input[type=checkbox]").addEventListener("change", function () {
    strip.classList.toggle("all", this.checked);
  });
  strip.classList.add("scripted");
  show();
})();
</script>
{% endif %}
</body>
</html>
"""
