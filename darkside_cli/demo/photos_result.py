"""What the comparison on photographs gives: scores of each arm, by night and by day."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from darkside_cli.demo.cameras import TIMES

RAW, BY_DAY, REAL = "raw", "day", "real"
TRAINED = (BY_DAY, "gamma", "generated", REAL)
ARMS = (RAW, *TRAINED)
"""Descriptors that are compared: as ImageNet left it, and those trained by day alone, with darkened days, with
generated nights, and with real ones."""


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
        return fmean(getattr(each, measure)[time][arm] for each in self.seeds)

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints: scores of each seed, their means, and what each arm has more than by day alone."""
        document: dict[str, Any] = {
            "seeds": [asdict(each) for each in self.seeds],
            "complete": self.complete,
            "report": self.report,
        }
        if self.seeds:
            for measure in ("mean_ap", "recall_1"):
                document[measure] = {
                    time: {arm: self.mean(measure, time, arm) for arm in ARMS} for time in TIMES
                }
            document["difference"] = {
                time: {arm: of[arm] - of[BY_DAY] for arm in ARMS} for time, of in document["mean_ap"].items()
            }
        return document


def sums_of(protocols: dict[str, Any]) -> list[float]:
    """Sum of AP and of recall@1 in percent over the queries, and how many there are."""
    (score,) = protocols.values()
    count = score["queries_judged"]
    return [100 * float(score["mAP"] or 0) * count, 100 * float(score["recall"]["1"] or 0) * count, count]
