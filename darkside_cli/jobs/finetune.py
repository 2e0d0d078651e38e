"""Fine-tune a descriptor: images of places in, a network out that finds them at night, too.

It is trained, then its whitening is learned, then it is evaluated. A run that was stopped goes on when the same request
is made again, at whatever stage it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, ignore
from darkside_cli.jobs.fields import GENERATOR, TEST_SET, TRAINING_DATA
from darkside_cli.jobs.finetune_needs import check_names, generators_of, obtain_all
from darkside_cli.jobs.request import DATA, ask, make
from darkside_cli.jobs.training import Trained, Training, check_run, left_by, recorded, reported
from darkside_cli.networks.configs import TIMM, split_pooling
from darkside_cli.training.distributed import Ranks

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved
    from darkside_cli.retrieval.config import FinetuneConfig
    from darkside_cli.retrieval.finetune_stages import FinetuneRun
    from darkside_cli.retrieval.search.score import ScoreLine

COMMAND = "finetune"
WHITENINGS = ("lw", "pca", "none")


@dataclass(frozen=True, kw_only=True)
class FinetuneRequest(Training):
    """What is trained, on which images, what makes night of them, how long and where to.

    Raises ConfigError for wrong configuration.
    """

    kind = "finetune"
    positional = "data"

    model: tuple[str, ...] = ask(
        "Generator that turns anchors to night: by name, a checkpoint or a run folder; may be given several "
        "times, which mixes them [default: hedngan].",
        (),
        setting="augment.models",
        **GENERATOR,
    )
    backbone: str | None = ask(
        "The network that sees: vgg16, resnet101, efficientnet_lite2, …, or any of timm's as timm:NAME "
        "or timm:NAME:pooling=cls [default: vgg16].",
        short="-b",
        kind="backbone",
        choices_from="darkside_cli.networks.configs:BACKBONES",
        open_ended=True,
        setting="backbone",
    )
    init: str | None = ask(
        "Weights to begin with: imagenet (published features), torchvision, timm, random, a model or a file "
        "[default: imagenet].",
        metavar="NAME|PATH",
        kind="weights to begin with",
        choices_from="darkside_cli.retrieval.config:INITS",
        open_ended=True,
        setting="init",
    )
    data: str | None = ask(
        "What to learn from: a folder with a folder for each place, or of images named "
        "@UTM_east@UTM_north@….jpg; a list of images and places or of pairs (.csv, .json); a database (.pkl) "
        "[default: retrieval-sfm-120k].",
        setting="data.database",
        group=DATA,
        **TRAINING_DATA,
    )
    images: Path | None = ask(
        "Folder that names in a list or database start from.",
        metavar="DIR",
        setting="data.images",
        group=DATA,
    )
    positive_dist: float | None = ask(
        "Of UTM names, how near positives were taken to the anchor, in metres [default: 25].",
        metavar="METRES",
        minimum=0.1,
        setting="data.positive_dist_m",
        group=DATA,
    )
    photographs: tuple[Path, ...] = ask(
        "Folder of further photographs, each of another place; views of one are each other's positives.",
        (),
        metavar="DIR",
        setting="data.photographs",
        group=DATA,
    )
    validation: str | None = ask(
        "What to validate on, likewise (default: a database's own part, else some places are kept back).",
        metavar="NAME|PATH",
        setting="data.validation",
        group=DATA,
    )
    augment: str | None = ask(
        "Night for anchors: generator, images (ready ones), gamma, exposure (darkened without learning), "
        "or none, the baseline [default: generator].",
        kind="augmentation",
        choices_from="darkside_cli.retrieval.mining.config:AUGMENTATIONS",
        setting="augment.kind",
    )
    night_images: Path | None = ask(
        "Ready night images, named as the day ones are, instead of a generator.",
        metavar="DIR",
        setting="augment.images",
        group=DATA,
    )
    whitening: str | None = ask(
        "Whitening to learn afterwards: lw, pca or none [default: lw].",
        kind="whitening",
        choices_from=WHITENINGS,
        setting="whitening.kind",
    )
    whiten_on: str | None = ask(
        "What to learn it from (default: as published, or the training data).",
        metavar="NAME|PATH",
        setting="whitening.database",
        group=DATA,
    )
    dataset: tuple[str, ...] = ask(
        "Test set to evaluate on, by name or path; may be given several times (default: those that are here).",
        (),
        setting="evaluation.datasets",
        **TEST_SET,
    )
    image_size: int | None = ask(
        "Longest side of training images in pixels.", minimum=8, setting="data.image_size_px", group=DATA
    )

    def check(self) -> None:
        """Settle the configuration."""
        super().check()
        _ = self.resolved

    def settings(self) -> dict[str, Any]:
        """Settings that the fields stand for; ready night images say that no other ones are made."""
        implied = {} if self.night_images is None else {"augment.kind": "images"}
        return {**implied, **super().settings()}

    @cached_property
    def resolved(self) -> Resolved[FinetuneConfig]:
        """The configuration from all the places it is given in: preset, file, overrides, fields.

        Where nobody gives a learning rate, random weights have one of their own.
        """
        from darkside_cli.config.load import Resolved, resolve
        from darkside_cli.retrieval.config import RANDOM_RATE, FinetuneConfig

        resolved = resolve(
            FinetuneConfig,
            preset=self.preset,
            file=self.config,
            overrides=self.overrides,
            flags=self.settings(),
            command=COMMAND,
        )
        resolved = _pooling_of_name(resolved)
        value = resolved.value
        if value.init != "random" or resolved.origins["optim.lr"].kind != "default":
            return resolved
        # As if the choice of random weights had said so too.
        origins = {**resolved.origins, "optim.lr": resolved.origins["init"]}
        return Resolved(replace(value, optim=replace(value.optim, lr=RANDOM_RATE)), origins)

    @property
    def name(self) -> str:
        """What the run is called where nobody names it: after its backbone and what makes night."""
        config = self.resolved.value
        makers = config.augment.models if config.augment.kind == "generator" else (config.augment.kind,)
        backbone = config.backbone.replace(TIMM, "timm_")
        return f"{backbone}_{'+'.join(Path(each).stem for each in makers)}"


def _pooling_of_name(resolved: Resolved[FinetuneConfig]) -> Resolved[FinetuneConfig]:
    """Let "timm:NAME:pooling=cls" be the backbone "timm:NAME" and its pooling, as where it is a descriptor.

    Raises UsageError for another setting, or where another pooling was given.
    """
    from darkside_cli.config.load import Resolved

    value, origins = resolved.value, resolved.origins
    backbone, pooling = split_pooling(value.backbone)
    if pooling is None:
        return resolved
    said = origins["pooling"].kind in ("set", "flag", origins["backbone"].kind)
    if said and value.pooling != pooling:
        raise UsageError(
            f"'{value.backbone}' and pooling={value.pooling} contradict each other", hint="give one of them"
        )
    return Resolved(
        replace(value, backbone=backbone, pooling=pooling), {**origins, "pooling": origins["backbone"]}
    )


@dataclass(frozen=True, kw_only=True)
class FinetuneResult(Trained):
    """What the run left: the network, its ``whitening``, and its scores on test sets, ``lines``."""

    whitening: Path | None
    lines: tuple[ScoreLine, ...]

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        first = super().document()
        last = {key: first.pop(key) for key in ("scores", "best_epoch", "seconds")}
        lines = [line.document() for line in self.lines]
        return {
            **first,
            "whitening": None if self.whitening is None else str(self.whitening),
            "scores": last["scores"],
            "best_epoch": last["best_epoch"],
            "best_score": self.best_score,
            "lines": lines,
            "seconds": last["seconds"],
        }


def finetune(*data: Any, emit: Emit = ignore, **options: Any) -> FinetuneResult:
    """Fine-tune a descriptor: ``finetune("my-places", backbone="resnet18", init="random", augment="gamma")``.

    See :class:`FinetuneRequest` and :func:`run`.
    """
    return run(make(FinetuneRequest, *data, **options), emit=emit)


def check(request: FinetuneRequest) -> None:
    """See that all that the run names can be meant, before anything is got or loaded: see ``finetune_needs``."""
    check_run(request.folder)
    check_names(request.resolved.value, request.root)


def prepare(request: FinetuneRequest, *, emit: Emit = ignore) -> None:
    """See that what the run needs is here, or get it where that was asked for: see ``finetune_needs``."""
    obtain_all(request, request.resolved.value, emit=emit)


def run(request: FinetuneRequest, *, emit: Emit = ignore, prepared: bool = False) -> FinetuneResult:
    """Train, whiten and evaluate, or go on with a run that was stopped. Each of several processes calls this.

    All of them train; whitening and evaluation are the first one's. ``prepared`` says that :func:`check` and, in the
    first one, :func:`prepare` were called before. Raises UsageError for what cannot be learned from,
    ConfigError, MissingAssetError, CheckpointError for damaged files, and what
    :meth:`darkside_cli.training.trainer.Trainer.fit` raises.
    """
    if not prepared:
        check(request)
    lines: list[ScoreLine] = []
    with Ranks.from_environment() as ranks:
        if ranks.is_first and not prepared:
            prepare(request, emit=emit)
        ranks.barrier()
        with recorded(request.folder, request.resolved, emit, ranks=ranks) as tell:
            ready = _put_together(request, ranks, emit=tell)
            result = ready.train(resume=request.resume)
        if ranks.is_first and result.complete:
            tell = reported(request.folder, emit)
            ready.whiten(emit=tell)
            lines = ready.evaluate(emit=tell)
        ranks.barrier()
    return FinetuneResult(
        **left_by(result, ranks, layout=request.layout),
        whitening=ready.whitening if ready.whitening.is_file() else None,
        lines=tuple(lines),
    )


def _put_together(request: FinetuneRequest, ranks: Ranks, *, emit: Emit) -> FinetuneRun:
    """Load the generators and the network to begin with, and open the data sets."""
    from darkside_cli.inference.device import pick_device
    from darkside_cli.methods.night import load_night
    from darkside_cli.retrieval.finetune import prepare_finetune
    from darkside_cli.retrieval.initial import initial_network

    config, root = request.resolved.value, request.root
    device = pick_device(ranks.device_name(request.device))
    generators = [load_night(each, root, device=device) for each in generators_of(config.augment)]
    return prepare_finetune(
        config,
        run=request.folder,
        root=root,
        network=initial_network(config, root),
        generators=generators,
        device=device,
        ranks=ranks,
        resolved=request.resolved.as_dict(),
        emit=emit,
    )
