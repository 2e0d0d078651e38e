"""Scores of the comparison on photographs: seeds, means, spreads and differences, as a table, in JSON, on the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from darkside_cli.demo.photos_page import write_photos_page
from darkside_cli.demo.photos_result import ARMS, PhotoScores, PhotosResult

NIGHT, DAY = (50.0, 60.0, 62.0, 70.0, 75.0), (90.0, 91.0, 91.0, 91.0, 92.0)


def result_of(*seeds: int) -> PhotosResult:
    """Scores that rise by a point with each seed; R@1 is 5 points higher than mAP."""

    def scores(more: float) -> dict[str, dict[str, float]]:
        of = {"night": NIGHT, "day": DAY}
        return {time: {arm: v + more for arm, v in zip(ARMS, of[time], strict=True)} for time in of}

    return PhotosResult(tuple(PhotoScores(seed, scores(seed), scores(seed + 5), {}) for seed in seeds), None)


def test_every_arm_and_seed_by_both_measures() -> None:
    table = result_of(0, 1, 2).table()
    names = ["seed 0", "seed 1", "seed 2", "mean", "spread", "over day"]
    assert [line[:3] for line in table] == [
        (time, measure, name) for time in ("night", "day") for measure in ("mAP", "R@1") for name in names
    ]
    figures = {line[:3]: line[3] for line in table}
    assert figures["night", "mAP", "seed 1"] == ("51.0", "61.0", "63.0", "71.0", "76.0")
    assert figures["night", "R@1", "mean"] == ("56.0", "66.0", "68.0", "76.0", "81.0")
    assert figures["night", "R@1", "spread"] == ("1.0",) * 5
    assert figures["day", "R@1", "over day"] == ("-1.0", "+0.0", "+0.0", "+0.0", "+1.0")


def test_one_seed_has_no_spread_and_nothing_is_not_below_zero() -> None:
    assert [line[2] for line in result_of(3).table()] == ["seed 3", "over day"] * 4
    scores = PhotoScores(
        0, *({t: dict.fromkeys(ARMS, v) for t in ("night", "day")} for v in (0.3, 0.1 + 0.2)), {}
    )
    scores.mean_ap["night"]["raw"] = 0.3 - 1e-9
    assert all(
        line[3][0] == "+0.0" for line in PhotosResult((scores,), None).table() if line[2] == "over day"
    )
    assert "spread" not in result_of(3).document()


def test_json_has_the_same_by_measure_time_and_arm() -> None:
    document = json.loads(json.dumps(result_of(0, 1, 2).document()))
    assert document["mean_ap"]["night"]["generated"] == pytest.approx(71)
    assert document["recall_1"]["day"]["raw"] == pytest.approx(96)
    for measure in ("mean_ap", "recall_1"):
        assert document["spread"][measure]["night"]["real"] == pytest.approx(1)
        assert document["difference"][measure]["night"]["generated"] == pytest.approx(10)
        assert document["seeds"][2][measure]["night"]["day"] == pytest.approx(62 + 5 * (measure != "mean_ap"))


def test_the_page_has_all_of_it(tmp_path: Path) -> None:
    result = result_of(0, 1)
    page = write_photos_page(tmp_path, result, [], [], "2 cameras").read_text()
    cells = re.findall(r"<td>([+\-\d.]+)</td>", page)
    assert sorted(cells) == sorted(figure for line in result.table() for figure in line[3])
    assert page.count(">R@1<") == page.count(">mAP<") == 2
    assert "R@1 55.5 raw, 65.5 trained by day, 75.5 with generated nights" in page
