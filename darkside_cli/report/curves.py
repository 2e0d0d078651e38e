"""Which diagrams a training run gets: its losses by group, its scores, rates, speed and device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from darkside_cli.events import EpochDone, EvalDone, StepDone
from darkside_cli.metrics.verdicts import figure_of
from darkside_cli.report.figures import CURVES, Curve, Panel
from darkside_cli.report.scalars import Scalars

_GROUP_COLOURS = (0, 2, 3, 4, 5)  # 1 is for scores
_UNITS = ((1e9, "GB"), (1e6, "MB"))


@dataclass(frozen=True)
class PanelGroup:
    """Diagrams that stand together; ``kind`` is the page's section ("losses", "scores", "progress")."""

    kind: str
    title: str
    panels: tuple[Panel, ...]


def plain_number(value: float) -> str:
    """``value`` to four digits."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def readable(name: str) -> str:
    """``name`` for people: ``discriminator_night`` is "discriminator night"."""
    return name.rpartition("/")[2].replace("_", " ").strip() or name


def loss_groups(scalars: Scalars) -> list[PanelGroup]:
    """A diagram for each loss: batches faint, means of epochs bold."""
    steps, epochs = scalars.of(StepDone), scalars.of(EpochDone)
    names = _names([*(each.losses for each in epochs), *(each.losses for each in steps)])
    groups: dict[str, list[Panel]] = {}
    for name in names:
        group = _loss_group(name, names)
        panels = groups.setdefault(group, [])
        colour = _GROUP_COLOURS[list(groups).index(group) % len(_GROUP_COLOURS)]
        curves = [
            Curve(
                x=[_when(each) for each in steps if name in each.losses],
                y=[each.losses[name] for each in steps if name in each.losses],
                colour=colour,
                faint=True,
            ),
            Curve(
                x=[float(each.epoch) for each in epochs if name in each.losses],
                y=[each.losses[name] for each in epochs if name in each.losses],
                colour=colour,
            ),
        ]
        shown = [curve for curve in curves if len(curve.x)]
        value = plain_number(shown[-1].y[-1]) if shown else ""
        panels.append(Panel(title=readable(name), curves=shown, value=value))
    return [PanelGroup("losses", title, tuple(panels)) for title, panels in groups.items()]


def score_groups(scalars: Scalars) -> list[PanelGroup]:
    """A diagram for each score over the epochs, the best epoch marked; scores ``set/name`` stand by their set."""
    evals = scalars.of(EvalDone)
    best = [each.epoch for each in evals if each.best][-1:]
    groups: dict[str, list[Panel]] = {}
    for name in _names(each.scores for each in evals):
        having = [each for each in evals if name in each.scores]
        curve = Curve(
            x=[float(each.epoch) for each in having], y=[each.scores[name] for each in having], colour=1
        )
        at_best = [each.scores[name] for each in having if each.epoch in best]
        figure = figure_of(name)
        notes = [
            figure.in_words() if figure is not None else "",
            f"best epoch {best[0]}: {plain_number(at_best[0])}" if at_best else "",
        ]
        note = "; ".join(each for each in notes if each)
        groups.setdefault(name.rpartition("/")[0], []).append(
            Panel(
                title=readable(name),
                curves=[curve],
                value=plain_number(curve.y[-1]),
                note=note,
                marks=[float(epoch) for epoch in best] if len(evals) > 1 else [],
            )
        )
    return [PanelGroup("scores", title, tuple(panels)) for title, panels in groups.items()]


def rate_panel(scalars: Scalars) -> Panel | None:
    """Learning rates, optimisers with the same rate as one curve; None if there are none."""
    steps, epochs = scalars.of(StepDone), scalars.of(EpochDone)
    points: Sequence[tuple[float, Mapping[str, float]]] = [(_when(each), each.rates) for each in steps]
    points = points or [(float(each.epoch), each.rates) for each in epochs]
    curves: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for name in _names(rates for _, rates in points):
        line = tuple((x, rates[name]) for x, rates in points if name in rates)
        curves.setdefault(line, []).append(readable(name))
    if not curves:
        return None
    return Panel(
        title="learning rate",
        curves=[
            Curve(x=[x for x, _ in line], y=[y for _, y in line], colour=number)
            for number, line in enumerate(curves)
        ],
        value=", ".join(dict.fromkeys(f"{line[-1][1]:.2g}" for line in curves)),
        legend=_legend(list(curves.values())),
        from_zero=True,
    )


def speed_panel(scalars: Scalars) -> Panel | None:
    """Images per second; None if they were not measured."""
    return _step_panel(scalars, "images per second", lambda each: each.images_per_s or None, 3)


def device_panels(scalars: Scalars) -> list[Panel]:
    """Memory and utilisation of the device, where they are known."""
    most = max([0, *(each.memory_bytes or 0 for each in scalars.of(StepDone))])
    factor, unit = next(((f, u) for f, u in _UNITS if most >= f), (1e6, "MB"))

    def memory(event: StepDone) -> float | None:
        return None if event.memory_bytes is None else event.memory_bytes / factor

    def utilisation(event: StepDone) -> float | None:
        return None if event.utilisation is None else 100 * event.utilisation

    panels = (
        _step_panel(scalars, f"device memory, {unit}", memory, 4),
        _step_panel(scalars, "device utilisation, %", utilisation, 5),
    )
    return [panel for panel in panels if panel is not None]


def _step_panel(
    scalars: Scalars, title: str, of: Callable[[StepDone], float | None], colour: int
) -> Panel | None:
    points = [(_when(each), value) for each in scalars.of(StepDone) if (value := of(each)) is not None]
    if not points:
        return None
    curve = Curve(x=[x for x, _ in points], y=[y for _, y in points], colour=colour)
    return Panel(title=title, curves=[curve], value=plain_number(points[-1][1]), from_zero=True)


def _when(event: StepDone) -> float:
    """Epochs done, with the share of the one under way."""
    return event.epoch - 1 + event.step / max(1, event.steps)


def _names(tables: Iterable[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table))


def _loss_group(name: str, names: Sequence[str]) -> str:
    """Heading for loss ``name``: what stands before its slash, else the part of the game that it belongs to."""
    if "/" in name:
        return readable(name.rpartition("/")[0]).capitalize()
    if not any("discriminator" in each for each in names):
        return ""
    if name == "total":
        return "All losses"
    if "discriminator" in name:
        return "Discriminators"
    return "Edge student" if "student" in name else "Generators"


def _legend(names: Sequence[Sequence[str]]) -> list[str]:
    """Names for the curves; none if there is only one."""
    return [", ".join(each) for each in names[:CURVES]] if len(names) > 1 else []
