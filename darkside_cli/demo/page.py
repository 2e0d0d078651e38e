"""What the page about a demonstration shows, gathered from the folders that its stages left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darkside_cli.config.paths import DataRoot
from darkside_cli.demo.html import DemoPage, Found, Row, Strip, write_demo_page
from darkside_cli.demo.request import ARMS, DATASETS, DAY, NIGHT, DemoResult, SeedScores
from darkside_cli.events import EpochDone
from darkside_cli.report.curves import plain_number, readable
from darkside_cli.report.figures import CURVES, Curve, Panel
from darkside_cli.report.scalars import read_scalars

REPORT_FILE = "report.html"
_CITY = 8


def write_page(
    output: Path, seeds: Sequence[SeedScores], searches: Sequence[Mapping[str, Any]], root: DataRoot
) -> Path:
    """Write the page about all ``seeds``, of which images and curves are the first one's; give its path."""
    first = output / f"seed-{seeds[0].seed}"
    result = DemoResult(tuple(seeds), None)
    page = DemoPage(
        title="Finding landmarks at night",
        headline=_headline(result),
        table=_table(result),
        strips=[*_city(root, searches), *_translations(root, first / "translated")],
        searches=[_found(root, each) for each in searches],
        panels=[*_generator_panels(first / "generator"), *_descriptor_panels(first)],
        seconds=[(f"seed {each.seed}", each.seconds) for each in seeds],
        runs=[f"seed-{each.seed}/{run}" for each in seeds for run in ("generator", "base", *ARMS)],
    )
    return write_demo_page(output / REPORT_FILE, page)


def _headline(result: DemoResult) -> list[tuple[str, str, str]]:
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


def _table(result: DemoResult) -> list[Row]:
    def row(name: str, figures: Mapping[str, Mapping[str, float]]) -> Row:
        return Row(name, tuple((figures[time]["without"], figures[time]["with"]) for time in DATASETS))

    rows = [row(f"seed {each.seed}", each.scores) for each in result.seeds]
    if len(rows) > 1:
        rows.append(row("mean", {t: {arm: result.mean(t, arm) for arm in ARMS} for t in DATASETS}))
    return rows


def _city(root: DataRoot, searches: Sequence[Mapping[str, Any]]) -> list[Strip]:
    """Test places by day and at night, from the same spots."""
    folder = root.test(DATASETS[NIGHT]) / "jpg"
    nights = [folder / each["query"] for each in searches[:_CITY]]
    days = [path.with_name(path.name.replace("_night_", "_day_")) for path in nights]
    return [Strip("The city", (("by day", days), ("at night, from the same spots", nights)))]


def _translations(root: DataRoot, folder: Path) -> list[Strip]:
    made = sorted(folder.glob("*.jpg"))
    seen = root.test("nightfall-val") / "jpg"
    days = [seen / path.name for path in made]
    nights = [seen / path.name.replace("_day_", "_night_") for path in made]
    return [
        Strip(
            "Day turned into night by the generator",
            (("day", days), ("what the generator makes of it", made), ("the same place at night", nights)),
        )
    ]


def _found(root: DataRoot, each: Mapping[str, Any]) -> Found:
    folder = root.test(DATASETS[NIGHT]) / "jpg"
    return Found(
        folder / each["query"],
        tuple(
            (
                arm,
                float(each["found"][arm]["precision"]),
                tuple((folder / name, bool(right)) for name, right in each["found"][arm]["images"]),
            )
            for arm in ARMS
        ),
    )


def _epochs(run: Path) -> list[EpochDone]:
    return list(read_scalars(run / "scalars.jsonl").of(EpochDone))


def _generator_panels(run: Path) -> list[Panel]:
    epochs = _epochs(run)
    names = list(dict.fromkeys(name for each in epochs for name in each.losses))
    return [
        Panel(
            title=f"generator: {readable(name)}",
            curves=[
                Curve(
                    x=[each.epoch for each in epochs],
                    y=[each.losses.get(name, float("nan")) for each in epochs],
                    colour=number % CURVES,
                )
            ],
            value=plain_number(epochs[-1].losses.get(name, float("nan"))),
        )
        for number, name in enumerate(names)
    ]


def _descriptor_panels(folder: Path) -> list[Panel]:
    """A diagram for each figure of metric learning, with a curve for each of the two descriptors."""
    runs = {arm: _epochs(folder / arm) for arm in ARMS}
    names = list(dict.fromkeys(name for epochs in runs.values() for each in epochs for name in each.losses))
    return [
        Panel(
            title=f"descriptors: {readable(name)}",
            curves=[
                Curve(
                    x=[each.epoch for each in runs[arm]],
                    y=[each.losses.get(name, float("nan")) for each in runs[arm]],
                    colour=number,
                )
                for number, arm in enumerate(ARMS)
                if runs[arm]
            ],
            legend=[f"{arm} night augmentation" for arm in ARMS if runs[arm]],
        )
        for name in names
    ]
