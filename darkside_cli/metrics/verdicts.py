"""What the figures of a translation to night mean: which way is better, from where on they are good, a plain verdict.

Where figures begin to be good was measured with photographs of at most 384 px, in two sets of 24 real nights from
different sources and 20 days, and with what the embedded generator makes of these days:

===================== =============== ================ ================== ==============
figure                nights to nights embedded generator days as they are random pixels
===================== =============== ================ ================== ==============
edge agreement        1               0.91             1                  0.002
sliced wasserstein    0.015 - 0.022   0.026            0.09 - 0.12        0.14
lightness distance    0.008 - 0.018   0.018            0.25 - 0.32        0.33
luminance inside      0.58 - 0.88     1                0                  0
sky darkness          0.85 - 0.89     0.88             0.24 - 0.39        0.43
checkerboard          1.0 - 1.1       1.2              1.1 - 1.2          1.4
===================== =============== ================ ================== ==============

Nothing heavy is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower"]


@dataclass(frozen=True)
class Figure:
    """A figure by which translations are judged: ``better`` is "higher" or "lower", ``good`` where good begins."""

    better: Direction
    good: float | None = None

    def is_good(self, value: float) -> bool:
        """Whether ``value`` is good; NaN never is. True where nobody knows from where on."""
        if self.good is None:
            return not math.isnan(value)
        return value >= self.good if self.better == "higher" else value <= self.good

    def in_words(self) -> str:
        """The direction, and where good begins, if that is known."""
        if self.good is None:
            return f"{self.better} is better"
        return f"good is {'above' if self.better == 'higher' else 'below'} {self.good:g}"


FIGURES: Mapping[str, Figure] = {
    "edge_agreement": Figure("higher", 0.5),
    "sliced_wasserstein": Figure("lower", 0.05),
    "lightness_distance": Figure("lower", 0.1),
    "luminance_inside": Figure("higher", 0.3),
    "sky_darkness": Figure("higher", 0.6),
    "checkerboard": Figure("lower", 5.0),
    "kernel_distance": Figure("lower"),
    "lost_edges": Figure("lower"),
    "sky_light": Figure("lower"),
    "fid": Figure("lower"),
    "loss": Figure("lower"),
}
"""Figures whose direction is known, by name; ``mean_luminance`` has none: nights have a range of it."""
_NAMED = 3
_OF_NIGHTS = ("edge_agreement", "lightness_distance", "sky_darkness", "checkerboard")


def figure_of(name: str) -> Figure | None:
    """The figure of that ``name``, which may have a group before it ("set/mAP"); None if nobody knows it."""
    return FIGURES.get(name.rpartition("/")[2])


def lacking(scores: Mapping[str, float]) -> list[str]:
    """Each figure that is not good, as "checkerboard 593, good is below 5"; worst for the eye first."""
    order = {name: place for place, name in enumerate(("checkerboard", "edge_agreement", "sky_darkness"))}
    bad = [
        (order.get(name, len(order)), f"{name.replace('_', ' ')} {_short(value)}, {figure.in_words()}")
        for name, value in scores.items()
        if (figure := FIGURES.get(name)) is not None and figure.good is not None and not figure.is_good(value)
    ]
    return [text for _, text in sorted(bad, key=lambda each: each[0])]


def verdict(scores: Mapping[str, float]) -> str:
    """What ``scores`` of a generator to night mean in a few words; nothing where they are none of such."""
    if not all(name in scores for name in _OF_NIGHTS):
        return ""
    bad = lacking(scores)
    if not bad:
        return "a night, by all figures"
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    return f"not yet a night: {'; '.join(bad[:_NAMED])}{more}"


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
