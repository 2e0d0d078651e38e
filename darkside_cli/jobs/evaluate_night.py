"""Compare generators: how far the nights that they make are from real ones, and what they keep of the day."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, RunFinished, ignore
from darkside_cli.jobs.checks import Absences, check_generator, check_page, check_path
from darkside_cli.jobs.fields import GENERATOR, OnDevice
from darkside_cli.jobs.needs import obtain_model
from darkside_cli.jobs.request import ADVANCED, REQUIRED, ask, make

if TYPE_CHECKING:
    from darkside_cli.methods.night_comparison import NightScores

#: Figures of the table and the report, in this order.
FIGURES = (
    "kernel_distance", "edge_agreement", "lost_edges", "sky_light", "sky_darkness", "lightness_distance",
    "checkerboard",
)  # fmt: skip
DAY, RECIPE, REAL = "day photographs", "gamma and blue tint", "real nights"


@dataclass(frozen=True, kw_only=True)
class EvaluateNightRequest(OnDevice):
    """Which generators, or which translations, are compared on which photographs."""

    positional = "model"

    model: tuple[str, ...] = ask("A generator by name or path; may be given several times.", (), **GENERATOR)
    day: Path = ask("Folder of day photographs to translate.", REQUIRED, metavar="DIR")
    night: Path = ask("Folder of real nights to compare with.", REQUIRED, metavar="DIR")
    translations: tuple[Path, ...] = ask(
        "Folder of nights made of the day photographs, under their names; may be given several times.",
        (),
        metavar="DIR",
    )
    report: Path | None = ask("Write a page of figures and pictures.", metavar="FILE.html")
    limit: int = ask("Take at most so many photographs of each kind, evenly chosen (0: all).", 0, minimum=0)
    pictures: int = ask("Day photographs that the report shows.", 6, minimum=0, maximum=100, group=ADVANCED)
    max_size: int = ask(
        "Shrink day photographs to this longest side in pixels first (0: never).",
        720,
        minimum=0,
        group=ADVANCED,
    )
    features: str = ask(
        "Network whose features are compared.",
        "efficientnet_lite2",
        kind="network",
        choices_from="darkside_cli.networks.catalog:IMAGENET",
        group=ADVANCED,
    )

    def check(self) -> None:
        """Raise UsageError if there is nothing to compare, or the page cannot be written."""
        super().check()
        if not self.model and not self.translations:
            raise UsageError(
                "no generator given", hint="--model darkside-night, for one, or --translations DIR"
            )
        check_page(self.report)


@dataclass(frozen=True)
class EvaluateNightResult:
    """All rows, the first those that were asked for; ``floor`` is between halves of the real nights: mean, deviation.

    ``failed`` are files that could not be read, or are translations of no day photograph here.
    """

    request: EvaluateNightRequest = field(repr=False)
    rows: tuple[NightScores, ...]
    nights: int
    floor: tuple[float, float] | None
    failed: tuple[Path, ...] = ()

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        floor = None if self.floor is None else dict(zip(("mean", "deviation"), self.floor, strict=True))
        return {
            "day": self.request.day,
            "night": self.request.night,
            "nights": self.nights,
            "features": self.request.features,
            "floor": floor,
            "results": [row.document() for row in self.rows],
            "failed": list(self.failed),
        }


def evaluate_night(*model: Any, emit: Emit = ignore, **options: Any) -> EvaluateNightResult:
    """Compare generators: ``evaluate_night("darkside-night", day="photos/day", night="photos/night")``.

    ``model`` is one or several, by name or by path; ``options`` are the fields of :class:`EvaluateNightRequest`. Raises
    what :func:`run` does.
    """
    return run(make(EvaluateNightRequest, *model, **options), emit=emit)


def run(request: EvaluateNightRequest, *, emit: Emit = ignore) -> EvaluateNightResult:
    """Translate the day photographs of ``request`` with each generator, and score what comes out.

    Photographs that cannot be read are told of and left out. Day photographs as they are, and a simple recipe, are
    scored too. Raises UsageError where fewer than two photographs of a kind are left, MissingAssetError if a generator
    or the network of the features is not on this machine.
    """
    absences = Absences()
    for model in request.model:
        absences(check_generator, request.root, model, to="night")
    for path in (request.day, request.night, *request.translations):
        absences(check_path, path, "folder")
    absences.tell()
    for model in request.model:
        obtain_model(request, model, kind="generator", emit=emit)

    from darkside_cli.inference.device import pick_device
    from darkside_cli.methods.night_comparison import NightComparison
    from darkside_cli.methods.night_features import gamma_and_tint
    from darkside_cli.methods.translate import load_generator

    started = time.monotonic()
    compare = NightComparison(
        request.day,
        request.night,
        features=request.features,
        limit=request.limit,
        max_size_px=request.max_size,
        pictures=request.pictures if request.report is not None else 0,
        device=pick_device(request.device),
        emit=emit,
    )
    for model in request.model:
        generator = load_generator(
            model, root=request.root, device=request.device, precision=request.precision
        )
        compare.add(model, "model", lambda _, day: generator(day))  # noqa: B023 - called at once
    for folder in request.translations:
        made = compare.made_in(folder)
        compare.add(str(folder), "translations", lambda path, _: compare.open(made[path]), list(made))  # noqa: B023
    compare.add(DAY, "reference", lambda _, day: day)
    compare.add(RECIPE, "reference", lambda _, day: gamma_and_tint(day))
    failed = tuple(dict.fromkeys(compare.failed))
    result = EvaluateNightResult(request, tuple(compare.rows), compare.nights, compare.floor, failed)
    if request.report is not None:
        _write_report(request.report, result)
    done = sum(row.images for row in compare.rows)
    emit(RunFinished("evaluate-night", done, len(failed), 0, time.monotonic() - started))
    return result


def floor_in_words(floor: tuple[float, float] | None) -> str:
    """The distance between halves of the real nights, and its standard deviation; "-" where they are too few."""
    return "-" if floor is None else f"{floor[0]:.4f} +- {floor[1]:.4f}"


def _write_report(page: Path, result: EvaluateNightResult) -> None:
    from darkside_cli.report.nights import write_night_report

    # The days first, so that everything stands to the right of what it was made of.
    rows = sorted(result.rows, key=lambda row: row.name != DAY)
    write_night_report(
        page,
        [(row.name, row.images, row.scores, row.pictures) for row in rows],
        figures=FIGURES,
        real=(REAL, result.nights, floor_in_words(result.floor)),
        facts=[
            ("day", str(result.request.day)),
            ("night", str(result.request.night)),
            ("features", f"{result.request.features}, longest side 320 px, kernel (x.y / d + 1)^3"),
        ],
    )
