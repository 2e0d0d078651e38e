"""Curves as SVG to be put into a page: drawn by matplotlib, coloured by the page's style sheet.

matplotlib draws with fixed stand-in colours, which are then replaced by CSS variables; so a curve follows the page
from light to dark, and its texts are set in the page's font. No pyplot, no global settings, no windows.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: As many points as a curve this wide can show.
MOST_POINTS = 400
# Larger values have no place on an axis: limits, margins and ticks would overflow.
_INFINITE = 1e100

#: Colours that a page has to define, in the order in which curves take them: ``--curve-0`` ...
CURVES = 6

_INK, _LINE, _BAD = "#0102f0", "#0102f1", "#0102f2"
_CURVE = "#0103f{}"
_VARIABLES = {
    _INK: "var(--faint)",
    _LINE: "var(--line)",
    _BAD: "var(--bad)",
    **{_CURVE.format(i): f"var(--curve-{i})" for i in range(CURVES)},
}
_NEEDLESS_ID = re.compile(
    r' id="(?:figure|axes|patch|line2d|text|xtick|ytick|matplotlib\.axis|[A-Za-z]+Collection)_\d+"'
)
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 8.0,
    "axes.linewidth": 0.6,
    "axes.formatter.useoffset": False,
    "path.simplify": True,
    "path.simplify_threshold": 0.5,
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One curve: ``x`` and ``y`` of equal length. ``faint`` is for the noisy one behind a smoother one.

    Values that are no numbers leave a gap, and a mark at the foot of the panel.
    """

    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    faint: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One small diagram. ``title`` is for the page; ``marks`` are places on the x axis to point out (a best epoch)."""

    title: str
    curves: Sequence[Curve]
    value: str = ""
    note: str = ""
    legend: Sequence[str] = ()
    marks: Sequence[float] = field(default_factory=tuple)
    from_zero: bool = False


def draw(panels: Sequence[Panel]) -> list[str]:
    """Each of ``panels`` as an ``<svg>`` element that scales with its box; all have the same x axis."""
    from matplotlib import rc_context

    ends = [value for panel in panels for curve in panel.curves for value in curve.x if math.isfinite(value)]
    span = (min(0.0, *ends), max(ends)) if len(ends) > 1 else (0.0, max([1.0, *ends]))
    with rc_context(_RC):
        return [_draw(panel, number, span) for number, panel in enumerate(panels)]


def _draw(panel: Panel, number: int, span: tuple[float, float]) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 2.1), facecolor="none")
    axes = figure.add_axes((0.115, 0.14, 0.87, 0.83), facecolor="none")
    lowest, highest = span
    axes.set_xlim(lowest - 0.012 * (highest - lowest), highest + 0.02 * (highest - lowest) or 1.0)
    for x in panel.marks:
        axes.axvline(x, color=_INK, linewidth=0.8, linestyle=(0, (2, 2)))
    for curve in panel.curves:
        _plot(axes, curve)
    _limit(axes, panel)
    _dress(axes)
    buffer = io.StringIO()
    # Clip paths and markers are named by a hash; without a salt of its own a panel would use its neighbour's.
    with rc_context({"svg.hashsalt": f"darkside-{number}"}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return _inline(buffer.getvalue(), panel.title)


def _plot(axes: Axes, curve: Curve) -> None:
    x, y = thin_out(np.asarray(curve.x, np.float64), np.asarray(curve.y, np.float64))
    colour = _CURVE.format(curve.colour % CURVES)
    finite = np.abs(y) < _INFINITE
    shown = np.where(finite, y, np.nan)
    alone = finite & ~np.r_[False, finite[:-1]] & ~np.r_[finite[1:], False]
    few = finite.sum() <= 30 and not curve.faint
    axes.plot(
        x,
        shown,
        color=colour,
        linewidth=0.7 if curve.faint else 1.5,
        alpha=0.45 if curve.faint else 1.0,
        solid_joinstyle="round",
        marker="o" if few else "",
        markersize=2.6,
        markeredgewidth=0,
    )
    if alone.any() and not few:  # a line needs two points
        axes.plot(
            x[alone], y[alone], color=colour, linestyle="", marker="o", markersize=2.2, markeredgewidth=0
        )
    if not finite.all():
        axes.plot(
            x[~finite],
            np.full(int((~finite).sum()), 0.03),
            transform=axes.get_xaxis_transform(),
            color=_BAD,
            linestyle="",
            marker="x",
            markersize=4,
            clip_on=False,
        )


def thin_out(
    x: NDArray[np.float64], y: NDArray[np.float64], most: int = MOST_POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of equal stretches of a curve, at most ``most`` of them; a stretch with a NaN or infinity shows it."""
    if len(x) <= most:
        return x, y
    edges = np.linspace(0, len(x), most + 1).astype(int)
    with np.errstate(invalid="ignore", over="ignore"):
        counts = np.diff(edges)
        return np.add.reduceat(x, edges[:-1]) / counts, np.add.reduceat(y, edges[:-1]) / counts


def _limit(axes: Axes, panel: Panel) -> None:
    """Scale the y axis by what is usual, so that one wild batch does not flatten the rest."""
    low, high = math.inf, -math.inf
    for curve in panel.curves:
        y = np.asarray(curve.y, np.float64)
        y = y[np.abs(y) < _INFINITE]
        if not len(y):
            continue
        ends = np.percentile(y, (0.5, 99.0)) if curve.faint and len(y) > 20 else (y.min(), y.max())
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    if not math.isfinite(low):
        low, high = 0.0, 1.0
    if panel.from_zero or 0 < low < 0.3 * (high - low):
        low = min(low, 0.0)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    axes.set_ylim(low - (margin if low else 0.0), high + margin)


def _dress(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=_INK, pad=3, labelsize=8)
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=high - low >= 3))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _inline(svg: str, title: str) -> str:
    """The ``<svg>`` element alone, its colours the page's, without ids that would be there twice."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r' xmlns(?::xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;]*; ", "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    svg = re.sub(r">\s+<", "><", _NEEDLESS_ID.sub("", svg))
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
