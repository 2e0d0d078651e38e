"""What a demonstration is asked for, and what it gives."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from darkside_cli.errors import UsageError
from darkside_cli.jobs.fields import GENERATOR, computing_device
from darkside_cli.jobs.finetune import FinetuneRequest
from darkside_cli.jobs.request import ADVANCED, Request, ask
from darkside_cli.jobs.train_gan import TrainGanRequest
from darkside_cli.jobs.training import check_run

ARMS = ("without", "with")
"""The two descriptors that are compared: trained without and with night augmentation, all else equal."""
NIGHT, DAY = "night", "day"
DATASETS = {NIGHT: "nightfall", DAY: "nightfall-day"}
"""Test sets, by the time of day of their queries. Nothing was trained on their landmarks, no setting chosen by them."""

PRESETS = {"hedgan": "demo", "hedngan": "demo", "cut": "demo-cut"}
"""Methods that a demonstration can train its generator by, in minutes and without others' weights; their presets."""
BASE_PRESET, TUNED_PRESET, PHOTOS_PRESET = "demo-base", "demo", "demo-photos"


def _settings(help: str) -> Any:
    return ask(help, (), metavar="KEY=VALUE", group=ADVANCED)


@dataclass(frozen=True, kw_only=True)
class DemoRequest(Request):
    """Which seeds are run, in a city of which size, by which method; settings of the trainings beyond their presets.

    Raises ConfigError for settings that are none, before the city is made for them.
    """

    output: Path | None = ask(
        "Folder of the demonstration (default: experiments/demo in the data folder).",
        short="-o",
        metavar="DIR",
    )
    photos: Path | None = ask(
        "Compare on real photographs instead of the city: a folder for each camera or place with day and night in it, "
        "or webcams (darkside download webcams). What is asked for is never trained on.",
        metavar="DIR",
    )
    extra: tuple[Path, ...] = ask(
        "With --photos: a folder of further photographs by day to train on, each of another place; may be repeated.",
        (),
        metavar="DIR",
    )
    generator: str | None = ask(
        "With --photos: what makes night (default: the published generator if it is here, else the embedded one).",
        **{**GENERATOR, "short": ""},
    )
    folds: int = ask(
        "With --photos: parts that the places are parted into.", 4, minimum=2, maximum=100, group=ADVANCED
    )
    seed: int = ask("Seed of the first run.", 0, minimum=0)
    seeds: int = ask("How many seeds to run, counted from --seed.", 1, minimum=1, maximum=100)
    size: str = ask(
        "Size of the city: tiny, small (demo) or full.",
        "small",
        kind="size",
        choices_from="darkside_cli.nightfall.config:SIZES",
    )
    model: str = ask(
        "Method that trains the generator.", "hedgan", short="-m", kind="method", choices_from=PRESETS
    )
    share: float | None = ask(
        "Share of the anchors that become night (default: the preset's).",
        minimum=0,
        maximum=1,
        group=ADVANCED,
    )
    set_gan: tuple[str, ...] = _settings("A setting of train-gan, may be repeated.")
    set_base: tuple[str, ...] = _settings(
        "A setting of the training by day that comes before, may be repeated."
    )
    set_finetune: tuple[str, ...] = _settings("A setting of finetune, may be repeated.")
    device: str = computing_device()

    def check(self) -> None:
        """Raise UsageError if the folder is none, ConfigError for settings that cannot be."""
        super().check()
        check_run(self.folder)
        if self.photos is not None:
            if (self.size, self.model, self.share, self.set_gan, self.set_base) != (
                "small",
                "hedgan",
                None,
                (),
                (),
            ):
                raise UsageError(
                    "--size, --model, --share, --set-gan and --set-base are of the city",
                    hint="leave --photos out",
                )
            self.on_photos()
            return
        if self.extra or self.generator:
            raise UsageError("--extra and --generator go with --photos", hint="name a folder of photographs")
        self.generator_training()
        self.base()
        self.tuned()

    @property
    def folder(self) -> Path:
        """Folder of the demonstration."""
        return self.output if self.output is not None else self.root.experiments / self._called

    @property
    def _called(self) -> str:
        return "demo" if self.photos is None else "demo-photos"

    def generator_training(self, *settings: str, **options: Any) -> TrainGanRequest:
        """The training of a generator."""
        return TrainGanRequest(
            model=self.model,
            preset=PRESETS[self.model],
            overrides=(*self.set_gan, *settings),
            **self._common(),
            **options,
        )

    def base(self, **options: Any) -> FinetuneRequest:
        """The training, by day alone, of what both descriptors begin with. It is not evaluated."""
        overrides = (*self.set_base, "evaluation.datasets=[]")
        return FinetuneRequest(preset=BASE_PRESET, overrides=overrides, **self._common(), **options)

    def tuned(self, *settings: str, **options: Any) -> FinetuneRequest:
        """The training of a descriptor."""
        return FinetuneRequest(
            preset=TUNED_PRESET,
            overrides=(*self.set_finetune, *settings),
            dataset=tuple(DATASETS.values()),
            **self._common(),
            **options,
        )

    def on_photos(self, *settings: str, **options: Any) -> FinetuneRequest:
        """The training of a descriptor on photographs."""
        overrides = (*self.set_finetune, *settings)
        return FinetuneRequest(preset=PHOTOS_PRESET, overrides=overrides, **self._common(), **options)

    def _common(self) -> dict[str, Any]:
        return {"device": self.device, "offline": self.offline}


def setting(key: str, value: Any) -> str:
    """A setting as ``overrides`` take it; texts are quoted."""
    return f"{key}={json.dumps(str(value) if isinstance(value, Path) else value)}"


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

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints: scores of each seed, and, where there are any, their means and differences."""
        seeds = [{**asdict(s), "difference": {t: s.difference(t) for t in DATASETS}} for s in self.seeds]
        document: dict[str, Any] = {"seeds": seeds, "complete": self.complete, "report": self.report}
        if self.seeds:
            document["mean"] = {time: {arm: self.mean(time, arm) for arm in ARMS} for time in DATASETS}
            document["difference"] = {time: self.difference(time) for time in DATASETS}
        return document
