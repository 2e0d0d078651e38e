"""What a demonstration is asked for, and what it gives. Free of heavy imports."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from darkside_cli.errors import UnknownNameError

ARMS = ("without", "with")
"""The two descriptors that are compared: trained without and with night augmentation, all else equal."""
NIGHT, DAY = "night", "day"
DATASETS = {NIGHT: "nightfall", DAY: "nightfall-day"}
"""Test sets, by the time of day of their queries. Nothing was trained on their landmarks, no setting chosen by them."""

PRESETS = {"hedgan": "demo", "hedngan": "demo", "cut": "demo-cut"}
"""Methods that a demonstration can train its generator by, in minutes and without others' weights; their presets."""
DEFAULT_METHOD = "hedgan"


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What is run: the city's ``size``, the ``method`` of the generator, the ``seeds``, the ``share`` of the anchors
    that become night (None: the preset's), settings of the trainings beyond their presets (``key=value``).
    """

    seeds: tuple[int, ...] = (0,)
    size: str = "small"
    method: str = DEFAULT_METHOD
    share: float | None = None
    device: str = "auto"
    base_preset: str = "demo-base"
    finetune_preset: str = "demo"
    gan_settings: tuple[str, ...] = ()
    base_settings: tuple[str, ...] = ()
    finetune_settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in PRESETS:
            raise UnknownNameError("method", self.method, list(PRESETS))

    @property
    def gan_preset(self) -> str:
        """Settings that the generator's training begins with."""
        return PRESETS[self.method]


@dataclass(frozen=True)
class SeedScores:
    """mAP in percent by time of day and arm (``scores["night"]["with"]``), and seconds by stage, of one seed."""

    seed: int
    scores: dict[str, dict[str, float]]
    seconds: dict[str, float] = field(default_factory=dict)

    def difference(self, time: str) -> float:
        """Points of mAP that the augmentation brought, by the ``time`` of the queries."""
        return self.scores[time]["with"] - self.scores[time]["without"]


@dataclass(frozen=True)
class DemoResult:
    """Scores of all seeds, in order; ``report`` is the page about them. ``complete`` is False after Ctrl-C."""

    seeds: tuple[SeedScores, ...]
    report: Path | None
    complete: bool = True

    def mean(self, time: str, arm: str) -> float:
        """Mean mAP over the seeds."""
        return fmean(each.scores[time][arm] for each in self.seeds)

    def difference(self, time: str) -> float:
        """Mean over the seeds of the points that the augmentation brought."""
        return fmean(each.difference(time) for each in self.seeds)


def check_settings(options: DemoOptions) -> None:
    """See that the settings of all trainings can be, before a city is made for them. Raises ConfigError."""
    from darkside_cli.config.load import resolve
    from darkside_cli.methods.methods import METHODS
    from darkside_cli.registry import resolve as load
    from darkside_cli.retrieval.config import FinetuneConfig

    schema = load(METHODS.get(options.method).config)
    flags = {"method": options.method}
    resolve(
        schema, preset=options.gan_preset, overrides=options.gan_settings, flags=flags, command="train-gan"
    )
    for preset, settings in (
        (options.base_preset, options.base_settings),
        (options.finetune_preset, options.finetune_settings),
    ):
        resolve(FinetuneConfig, preset=preset, overrides=settings, flags={}, command="finetune")


def document_of(result: DemoResult) -> dict[str, Any]:
    """Scores as JSON: those of each seed, and, where there are any, their means and the differences made."""
    document: dict[str, Any] = {
        "seeds": [
            {**asdict(each), "difference": {time: each.difference(time) for time in DATASETS}}
            for each in result.seeds
        ],
        "complete": result.complete,
        "report": result.report,
    }
    if result.seeds:
        document["mean"] = {time: {arm: result.mean(time, arm) for arm in ARMS} for time in DATASETS}
        document["difference"] = {time: result.difference(time) for time in DATASETS}
    return document
