"""Curves: what is drawn from which events, how long ones are thinned, what the SVG may and may not hold."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.events import EpochDone, EvalDone, Event, StepDone
from darkside_cli.report.curves import (
    device_panels,
    loss_groups,
    plain_number,
    rate_panel,
    readable,
    score_groups,
    speed_panel,
)
from darkside_cli.report.figures import Curve, Panel, draw, thin_out
from darkside_cli.report.scalars import Record, Scalars


def scalars(*events: Event) -> Scalars:
    return Scalars(tuple(Record(float(i), event) for i, event in enumerate(events)))


def step(epoch: int, number: int, **losses: float) -> StepDone:
    return StepDone(epoch, number, 10, losses, {"a": 0.5, "b": 0.5, "c": 0.25}, 3.0)


def test_a_loss_has_its_batches_and_its_epochs() -> None:
    (group,) = loss_groups(
        scalars(
            step(1, 5, edge=4.0), step(1, 10, edge=3.0), EpochDone(1, 2, {"edge": 3.5}, {}, 1.0), step(2, 1)
        )
    )
    (panel,) = group.panels
    assert (group.kind, group.title, panel.title, panel.value) == ("losses", "", "edge", "3.5")
    batches, epochs = panel.curves
    assert (list(batches.x), list(batches.y), batches.faint) == ([0.5, 1.0], [4.0, 3.0], True)
    assert (list(epochs.x), list(epochs.y), epochs.faint) == ([1.0], [3.5], False)


def test_losses_stand_by_their_part_of_the_game() -> None:
    names = ("generator", "discriminator_night", "student_day", "cycle_day", "total")
    groups = loss_groups(scalars(step(1, 1, **dict.fromkeys(names, 1.0))))
    assert {group.title: [panel.title for panel in group.panels] for group in groups} == {
        "Generators": ["generator", "cycle day"],
        "Discriminators": ["discriminator night"],
        "Edge student": ["student day"],
        "All losses": ["total"],
    }
    colours = [group.panels[0].curves[0].colour for group in groups]
    assert len(set(colours)) == 4
    (group,) = loss_groups(scalars(StepDone(1, 1, 1, {"tuples/contrastive": 1.0}, {}, 1.0)))
    assert (group.title, group.panels[0].title) == ("Tuples", "contrastive")


def test_scores_mark_the_newest_best_epoch() -> None:
    groups = score_groups(
        scalars(
            EvalDone(1, {"oxford/mAP": 0.5, "loss": 2.0}, 1.0, best=True),
            EvalDone(2, {"oxford/mAP": 0.7}, 1.0, best=True),
            EvalDone(3, {"oxford/mAP": 0.6}, 1.0),
        )
    )
    assert [group.title for group in groups] == ["oxford", ""]
    (panel,) = groups[0].panels
    assert (panel.title, panel.value, panel.note, list(panel.marks)) == (
        "mAP",
        "0.6",
        "best epoch 2: 0.7",
        [2.0],
    )
    assert list(panel.curves[0].y) == [0.5, 0.7, 0.6]
    assert groups[1].panels[0].note == "lower is better"  # it was not measured at the best epoch


def test_optimisers_with_the_same_rate_share_a_curve() -> None:
    panel = rate_panel(scalars(step(1, 5), step(1, 10)))
    assert panel is not None
    assert [list(curve.y) for curve in panel.curves] == [[0.5, 0.5], [0.25, 0.25]]
    assert list(panel.legend) == ["a, b", "c"]
    only_epochs = rate_panel(scalars(EpochDone(1, 2, {}, {"a": 0.5}, 1.0)))
    assert only_epochs is not None
    assert (list(only_epochs.curves[0].x), list(only_epochs.legend)) == ([1.0], [])
    assert rate_panel(scalars()) is None


def test_speed_and_device_where_they_are_known() -> None:
    silent = scalars(step(1, 1))
    assert device_panels(silent) == []
    assert speed_panel(scalars(StepDone(1, 1, 1, {}, {}, 0.0))) is None
    told = scalars(StepDone(1, 1, 2, {}, {}, 3.0, 2_500_000_000, 0.5))
    memory, busy = device_panels(told)
    assert (memory.title, list(memory.curves[0].y)) == ("device memory, GB", [2.5])
    assert (busy.title, list(busy.curves[0].y)) == ("device utilisation, %", [50.0])


def test_numbers_and_names_for_people() -> None:
    assert [plain_number(v) for v in (0.123456, 12345.6, -0.0, math.nan, math.inf)] == [
        "0.1235",
        "12,346",
        "-0",
        "not a number",
        "infinite",
    ]
    assert [readable(n) for n in ("a_b", "x/mAP_hard", "_", "")] == ["a b", "mAP hard", "_", ""]


def test_long_curves_become_means_of_stretches() -> None:
    x, y = np.arange(1000.0), np.arange(1000.0) * 2
    thin_x, thin_y = thin_out(x, y, 10)
    np.testing.assert_allclose(thin_x, np.arange(10) * 100 + 49.5)
    np.testing.assert_allclose(thin_y, thin_x * 2)
    y[555] = np.nan
    assert np.isnan(thin_out(x, y, 10)[1]).nonzero()[0].tolist() == [5]
    assert thin_out(x[:10], y[:10], 10)[0] is not None
    assert len(thin_out(x[:11], y[:11], 10)[0]) == 10


def paths(svg: str, colour: str) -> list[str]:
    return [e.get("d", "") for e in ET.fromstring(svg).iter("path") if colour in (e.get("style") or "")]


def test_a_drawing_is_inline_svg_in_the_pages_colours() -> None:
    panel = Panel(title='a "b" <c> & d', curves=[Curve(x=[1, 2, 3], y=[1, 2, 3], colour=2)], marks=[2])
    (svg,) = draw([panel])
    root = ET.fromstring(svg)
    assert root.get("aria-label") == 'a "b" <c> & d'
    assert root.get("width") is None
    assert root.get("viewBox")
    assert not re.search(r"#[0-9a-f]{6}|http|xmlns|<\?xml|font-family|<metadata", svg)
    assert paths(svg, "var(--curve-2)")
    assert {text.text for text in root.iter("text")} >= {"1", "2", "3"}


def test_drawings_on_one_page_share_no_ids_and_the_same_axis() -> None:
    panels = [
        Panel(title="a", curves=[Curve(x=[0, 5], y=[1, 2])]),
        Panel(title="b", curves=[Curve(x=[9, 10], y=[1, 2])]),
    ]
    drawn = draw(panels)
    ids = [identity for svg in drawn for identity in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    for svg in drawn:
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(re.findall(r'\bid="([^"]+)"', svg))
        assert "10" in [text.text for text in ET.fromstring(svg).iter("text")]
    assert draw(panels) == drawn


def test_what_is_no_number_is_a_gap_and_a_mark() -> None:
    (svg,) = draw([Panel(title="a", curves=[Curve(x=[1, 2, 3, 4, 5], y=[1, 2, math.nan, 4, 5])])])
    (line,) = [each for each in paths(svg, "stroke: var(--curve-0)") if each.count("L") > 0]
    assert line.count("M") == 2
    assert "var(--bad)" in svg
    assert "var(--bad)" not in draw([Panel(title="a", curves=[Curve(x=[1, 2], y=[1, 2])])])[0]


def test_one_wild_batch_does_not_flatten_the_rest() -> None:
    y = [1.0 + 0.1 * math.sin(i) for i in range(200)]
    y[50] = 1000.0
    (svg,) = draw([Panel(title="a", curves=[Curve(x=[i / 10 for i in range(200)], y=y, faint=True)])])
    ticks = [
        float(t.text)
        for t in ET.fromstring(svg).iter("text")
        if t.text and t.get("style", "").find("end") > 0
    ]
    assert max(ticks) < 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 50), st.floats()), max_size=30), st.booleans(), st.booleans())
def test_any_values_can_be_drawn(points: list[tuple[float, float]], faint: bool, from_zero: bool) -> None:
    curve = Curve(x=[x for x, _ in points], y=[y for _, y in points], faint=faint)
    (svg,) = draw([Panel(title="a", curves=[curve], from_zero=from_zero)])
    assert ET.fromstring(svg).tag == "svg"


@pytest.mark.parametrize("module", ["darkside_cli.report.figures", "darkside_cli.report.scalars"])
def test_importing_loads_no_matplotlib(module: str) -> None:
    code = f"import sys, {module}; print(*[m for m in ('matplotlib', 'torch', 'tensorboard') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == ""


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    code = (
        "import sys, matplotlib; from darkside_cli.report import figures; keys = [*figures._RC, 'svg.hashsalt']\n"
        "before = [matplotlib.rcParams[key] for key in keys]\n"
        "figures.draw([figures.Panel(title='a', curves=[])])\n"
        "print([matplotlib.rcParams[key] for key in keys] == before, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["True", "False"]


def test_scores_tell_which_way_is_better() -> None:
    (group,) = score_groups(scalars(EvalDone(1, {"checkerboard": 593.0, "loss": 0.5, "strange": 1.0}, 1.0)))
    assert {panel.title: panel.note for panel in group.panels} == {
        "checkerboard": "good is below 5",
        "loss": "lower is better",
        "strange": "",
    }
