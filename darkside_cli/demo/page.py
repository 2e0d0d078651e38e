"""The page about a demonstration: what night augmentation was worth, the images, the searches, the curves.

All of it is gathered from the folders that the stages left.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from darkside_cli.config.paths import DataRoot
from darkside_cli.demo.request import ARMS, DATASETS, DAY, NIGHT, DemoResult, SeedScores
from darkside_cli.events import EpochDone
from darkside_cli.report import page as report
from darkside_cli.report.curves import plain_number, readable
from darkside_cli.report.figures import CURVES, Curve, Panel
from darkside_cli.report.scalars import read_scalars

REPORT_FILE = "report.html"
_PARTS = "parts.html"
_CITY, _MOST_BYTES = 8, 30_000


def write_page(
    output: Path, seeds: Sequence[SeedScores], searches: Sequence[Mapping[str, Any]], root: DataRoot
) -> Path:
    """Write the page about all ``seeds``, whole or not at all, and give its path.

    Images and curves are the first seed's; images that are missing are left out.
    """
    first = output / f"seed-{seeds[0].seed}"
    result = DemoResult(tuple(seeds), None)
    curves = {name: list(read_scalars(first / name / "scalars.jsonl").of(EpochDone))
              for name in ("generator", *ARMS)}  # fmt: skip
    panels = [
        *_panels("generator", {"": curves.pop("generator")}),
        *_panels("descriptors", {f"{arm} night augmentation": epochs for arm, epochs in curves.items()}),
    ]
    return report.write_page(
        output / REPORT_FILE,
        template("page.html"),
        title="Finding landmarks at night",
        headline=_headline(result),
        table=_table(result),
        strips=[_city(root, searches), _translations(root, first / "translated")],
        searches=[_found(root, each) for each in searches],
        panels=report.drawn(panels),
        seconds=[(f"seed {each.seed}", each.seconds) for each in seeds],
        stages=list(dict.fromkeys(stage for each in seeds for stage in each.seconds)),
        runs=[f"seed-{each.seed}/{run}" for each in seeds for run in ("generator", "base", *ARMS)],
        image=cache(partial(report.embed, most_bytes=_MOST_BYTES)),
        written=time.strftime("%Y-%m-%d %H:%M", time.localtime()),
    )


def template(name: str) -> str:
    """Text of a page's template, with the parts that both pages have before it."""
    return "".join((Path(__file__).parent / each).read_text(encoding="utf-8") for each in (_PARTS, name))


def _headline(result: DemoResult) -> list[tuple[str, str, str]]:
    """For each time of day: what, the figure, words about it."""
    words = {NIGHT: "asked at night", DAY: "asked by day"}
    return [
        (
            words[time],
            f"{result.difference(time):+.1f}",
            f"mAP {result.mean(time, 'without'):.1f} without night augmentation, "
            f"{result.mean(time, 'with'):.1f} with it",
        )
        for time in DATASETS
    ]


def _table(result: DemoResult) -> list[tuple[str, list[tuple[float, ...]]]]:
    """Lines of pairs (without, with) of mAP in percent, by night and by day."""
    scores = {f"seed {each.seed}": each.scores for each in result.seeds}
    if len(scores) > 1:
        scores["mean"] = {time: {arm: result.mean(time, arm) for arm in ARMS} for time in DATASETS}
    return [
        (name, [tuple(figures[time][arm] for arm in ARMS) for time in DATASETS])
        for name, figures in scores.items()
    ]


Strip = tuple[str, list[tuple[str, list[Path]]]]
"""Rows of images under a title, columns belonging together: (what the row is, its images)."""


def _city(root: DataRoot, searches: Sequence[Mapping[str, Any]]) -> Strip:
    """Test places by day and at night, from the same spots."""
    folder = root.test(DATASETS[NIGHT]) / "jpg"
    nights = [folder / each["query"] for each in searches[:_CITY]]
    days = [path.with_name(path.name.replace("_night_", "_day_")) for path in nights]
    return "The city", [("by day", days), ("at night, from the same spots", nights)]


def _translations(root: DataRoot, folder: Path) -> Strip:
    made = sorted(folder.glob("*.jpg"))
    seen = root.test("nightfall-val") / "jpg"
    days = [seen / path.name for path in made]
    nights = [seen / path.name.replace("_day_", "_night_") for path in made]
    rows = [("day", days), ("what the generator makes of it", made), ("the same place at night", nights)]
    return "Day turned into night by the generator", rows


def _found(root: DataRoot, each: Mapping[str, Any]) -> tuple[Path, list[tuple[str, float, list[Any]]]]:
    """A query and what was found for it: (descriptor, average precision, (image, whether it is right))."""
    folder = root.test(DATASETS[NIGHT]) / "jpg"
    results = []
    for arm in ARMS:
        found = each["found"][arm]
        images = [(folder / name, bool(right)) for name, right in found["images"]]
        results.append((arm, float(found["precision"]), images))
    return folder / each["query"], results


def _panels(of: str, runs: Mapping[str, Sequence[EpochDone]]) -> list[Panel]:
    """A diagram for each loss, with a curve for each of the runs; of a single run each has another colour."""
    runs = {name: epochs for name, epochs in runs.items() if epochs}
    names = list(dict.fromkeys(loss for epochs in runs.values() for each in epochs for loss in each.losses))
    single = len(runs) == 1 and "" in runs

    def values(name: str, epochs: Sequence[EpochDone]) -> list[float]:
        return [each.losses.get(name, float("nan")) for each in epochs]

    return [
        Panel(
            title=f"{of}: {readable(name)}",
            curves=[
                Curve(
                    x=[each.epoch for each in epochs],
                    y=values(name, epochs),
                    colour=number % CURVES if single else place,
                )
                for place, epochs in enumerate(runs.values())
            ],
            value=plain_number(values(name, runs[""])[-1]) if single else "",
            legend=() if single else list(runs),
        )
        for number, name in enumerate(names)
    ]
