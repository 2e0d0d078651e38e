"""What the comparison on photographs gives: scores of each arm, by night and by day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from darkside_cli.demo.cameras import TIMES

RAW, BY_DAY, REAL = "raw", "day", "real"
TRAINED = (BY_DAY, "gamma", "generated", REAL)
ARMS = (RAW, *TRAINED)
"""Descriptors that are compared: as ImageNet left it, and those trained by day alone, with darkened days, with
generated nights, and with real ones."""

MEASURES = {"mean_ap": "mAP", "recall_1": "R@1"}
MEAN, SPREAD, OVER_DAY = "mean", "spread", f"over {BY_DAY}"
"""What there is of each arm besides each seed's figure: the mean of the seeds, their standard deviation, and how much
the mean is above that of the training by day alone."""


@dataclass(frozen=True)
class PhotoScores:
    """mAP and recall@1 in percent, by time of day and arm (``mean_ap["night"]["generated"]``), of one seed."""

    seed: int
    mean_ap: dict[str, dict[str, float]]
    recall_1: dict[str, dict[str, float]]
    seconds: dict[str, float]


@dataclass(frozen=True)
class PhotosResult:
    """Scores of all seeds; ``report`` is the page about them. ``complete`` is False after Ctrl-C."""

    seeds: tuple[PhotoScores, ...]
    report: Path | None
    complete: bool = True

    def mean(self, measure: str, time: str, arm: str) -> float:
        """Mean of "mean_ap" or "recall_1" over the seeds."""
        return fmean(self._figures(measure, time, arm))

    def spread(self, measure: str, time: str, arm: str) -> float:
        """Standard deviation over the seeds, of which there are several."""
        return stdev(self._figures(measure, time, arm))

    def _figures(self, measure: str, time: str, arm: str) -> list[float]:
        return [float(getattr(each, measure)[time][arm]) for each in self.seeds]

    def over_day(self, measure: str, time: str, arm: str) -> float:
        """How many points the mean is above that of the training by day alone."""
        return self.mean(measure, time, arm) - self.mean(measure, time, BY_DAY)

    def table(self) -> list[tuple[str, str, str, tuple[str, ...]]]:
        """Lines of a table: time of day, measure, whose figures, and these in words, in the order of ``ARMS``."""
        lines = []
        for time in TIMES:
            for measure, label in MEASURES.items():
                found = {f"seed {each.seed}": getattr(each, measure)[time] for each in self.seeds}
                if len(self.seeds) > 1:
                    found[MEAN] = {arm: self.mean(measure, time, arm) for arm in ARMS}
                    found[SPREAD] = {arm: self.spread(measure, time, arm) for arm in ARMS}
                found[OVER_DAY] = {arm: self.over_day(measure, time, arm) for arm in ARMS}
                for name, of in found.items():
                    shown = "+.1f" if name == OVER_DAY else ".1f"
                    # What is rounded to nothing has no sign.
                    figures = tuple(format(round(of[arm], 1) + 0.0, shown) for arm in ARMS)
                    lines.append((time, label, name, figures))
        return lines

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints: scores of each seed, their means and spreads, and what each arm is over day alone.

        All are by measure, time of day and arm. There is no spread of one seed.
        """
        document: dict[str, Any] = {
            "seeds": [asdict(each) for each in self.seeds],
            "complete": self.complete,
            "report": self.report,
        }
        if self.seeds:
            document |= self._by_arm(self.mean)
            if len(self.seeds) > 1:
                document["spread"] = self._by_arm(self.spread)
            document["difference"] = self._by_arm(self.over_day)
        return document

    def _by_arm(self, figure: Callable[[str, str, str], float]) -> dict[str, dict[str, dict[str, float]]]:
        return {
            measure: {time: {arm: figure(measure, time, arm) for arm in ARMS} for time in TIMES}
            for measure in MEASURES
        }


def sums_of(protocols: dict[str, Any]) -> list[float]:
    """Sum of AP and of recall@1 in percent over the queries, and how many there are."""
    (score,) = protocols.values()
    count = score["queries_judged"]
    return [100 * float(score["mAP"] or 0) * count, 100 * float(score["recall"]["1"] or 0) * count, count]
