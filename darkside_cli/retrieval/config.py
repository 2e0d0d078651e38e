"""What determines the fine-tuning of a descriptor; the defaults are the published hyper-parameters.

Free of heavy imports, so that help pages can list the options. Mohwald et al., ICCV 2023, section 4, and Radenović et
al., TPAMI 2019, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from darkside_cli.config import limits
from darkside_cli.config.schema import option
from darkside_cli.networks.configs import check_backbone_name
from darkside_cli.retrieval.describe.scales import check_scales
from darkside_cli.retrieval.mining.config import MiningConfig, NightOptions
from darkside_cli.retrieval.whitening.config import WhiteningOptions
from darkside_cli.training.trainer_config import TrainerConfig

LossName = Literal["contrastive", "triplet", "softmax"]
INITS = ("imagenet", "torchvision", "timm", "random")
"""Weights to begin with that have a name; the others are files."""

_VGG_MARGIN, _RESNET_MARGIN, _TRIPLET_MARGIN = 0.75, 0.85, 0.1
PUBLISHED_SET = "retrieval-sfm-120k"
RANDOM_RATE, LEAST_RANDOM_RATE = 1e-4, 1e-5
"""Learning rate for random weights where nobody gives one, and the least that they learn with in any decent time."""


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """The loss over an anchor, its positive and its negatives; a sum over its pairs."""

    kind: LossName = option(
        "contrastive",
        help="contrastive; triplet; or softmax over all images of a batch, for networks with random weights",
    )
    margin: float | None = option(
        None,
        help="distance from which on negatives do not matter (none: as published, 0.75 for VGG and AlexNet, 0.85 for "
        "other backbones, 0.1 for the triplet loss)",
        minimum=0,
        maximum=limits.MAX_RATE,
    )
    temperature: float = option(0.07, help="of the softmax", minimum=1e-3, maximum=limits.MAX_RATE)

    def margin_for(self, backbone: str) -> float:
        """The margin, by the backbone's name where none is given."""
        if self.margin is not None:
            return self.margin
        if self.kind == "triplet":
            return _TRIPLET_MARGIN
        return _VGG_MARGIN if backbone.startswith(("vgg", "alexnet")) else _RESNET_MARGIN


@dataclass(frozen=True, kw_only=True)
class DescriptorOptimOptions:
    """Adam."""

    lr: float = option(
        5e-7,
        help="learning rate, as published for ImageNet features; with --init random it is 1e-4",
        minimum=0,
        maximum=limits.MAX_RATE,
    )
    betas: tuple[float, float] = option((0.9, 0.999), help="decay rates of the moments", minimum=0, maximum=1)
    weight_decay: float = option(
        5e-4, help="L2 penalty that is added to the gradients", minimum=0, maximum=limits.MAX_WEIGHT
    )
    pool_factor: float = option(
        10.0,
        help="factor of the rate for the exponent of the pooling, which has no weight decay",
        minimum=0,
        maximum=limits.MAX_WEIGHT,
    )


@dataclass(frozen=True, kw_only=True)
class DescriptorScheduleOptions:
    """The learning rate over the epochs."""

    gamma: float = option(0.99, help="factor of the learning rate after each epoch", minimum=0, maximum=1)


@dataclass(frozen=True, kw_only=True)
class TupleDataConfig:
    """Images of places, and how they are read."""

    database: str = option(
        PUBLISHED_SET,
        help="images and places: a published set by name, a folder with a folder for each place or of images named "
        "@UTM_east@UTM_north@….jpg, a list (.csv, .json) or a database (.pkl)",
        choices_from="darkside_cli.datasets.catalog:TRAINING_SETS",
        open_ended=True,
    )
    file: Path | None = option(
        None, help="the published set's database file, where it is not at its usual place"
    )
    images: Path | None = option(None, help="folder that names in a list or database start from")
    part: str | None = option(
        None,
        help="of places with a folder of this name, such as day, take only the images in it",
    )
    photographs: tuple[Path, ...] = option(
        (), help="folders of further photographs, each of a place of its own (needs views)"
    )
    views: int = option(
        0,
        help="random views that a photograph which is alone in its place is seen in, each other's positives; 0: it has "
        "none, as published",
        minimum=0,
        maximum=limits.MAX_BATCH,
    )
    validation: str | None = option(
        None,
        help="what to validate on, likewise (none: the part that a database has for it, else places kept back)",
    )
    validation_share: float | None = option(
        None,
        help="share of the places kept back for validation, where nothing else is there (none: 0.1, and none of fewer "
        "than a dozen places); 0: no validation",
        minimum=0,
        maximum=0.9,
    )
    positives: int = option(
        4,
        help="pairs of an image with others of its place, where nobody names them",
        minimum=1,
        maximum=limits.MAX_BATCH,
    )
    positive_dist_m: float = option(
        25.0,
        help="of images named @UTM_east@UTM_north@….jpg: how near positives were taken; negatives were taken further "
        "away, and than 25 m",
        unit="m",
        minimum=0.1,
        maximum=100_000,
    )
    image_size_px: int = option(
        362, help="shrink images to this longest side", unit="px", minimum=8, maximum=limits.MAX_CROP_PX
    )
    batch_size: int = option(
        5,
        help="tuples of a batch in each process; their gradients are summed up",
        minimum=1,
        maximum=limits.MAX_BATCH,
    )
    workers: int | None = option(
        None, help="threads that decode (none: by CPU count)", minimum=1, maximum=256
    )
    prefetch: int = option(4, help="tuples read ahead", minimum=1, maximum=1000)
    cache_mb: int = option(
        512, help="memory for images as the network gets them, which spares small sets most of the work",
        unit="MB", minimum=0, maximum=limits.MAX_MEGABYTES,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.views == 1:
            raise ValueError("one view has no other one for a positive: views is 2 or more, or 0")
        if self.photographs and not self.views:
            raise ValueError("photographs need views, 2 or more, since each is alone in its place")

    @property
    def spec(self) -> str:
        """What the training tuples are opened by."""
        return self.database if self.file is None else str(self.file)


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What the finished descriptor is measured on."""

    datasets: tuple[str, ...] | None = option(
        None, help="test sets by name or path (none: the published ones that are on this machine)"
    )
    image_size_px: int = option(
        1024, help="shrink images to this longest side", unit="px", minimum=8, maximum=limits.MAX_IMAGE_PX
    )
    scales: str = option("ms", help="ms, ss, or numbers between commas", validate=check_scales)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """A fine-tuning as a whole."""

    backbone: str = option(
        "vgg16",
        help="the network that sees: one of torchvision's or ours, or any of timm's as timm:NAME",
        choices_from="darkside_cli.networks.configs:BACKBONES",
        open_ended=True,
        validate=check_backbone_name,
    )
    pooling: str = option(
        "gem",
        help="gem, gemmp, mac, spoc, rmac, or cls: the class token of a transformer",
        choices_from="darkside_cli.networks.configs:POOLINGS",
    )
    init: str = option(
        "imagenet",
        help="weights to begin with: imagenet (published features), torchvision, timm, random, or a file or model",
        choices_from="darkside_cli.retrieval.config:INITS",
        open_ended=True,
    )
    freeze_norms: bool = option(
        True, help="batch norms keep the statistics they begin with, as published; not for random weights"
    )
    loss: LossOptions = option(LossOptions(), help="loss of a tuple")
    optim: DescriptorOptimOptions = option(DescriptorOptimOptions(), help="optimiser")
    schedule: DescriptorScheduleOptions = option(
        DescriptorScheduleOptions(), help="learning rate over the epochs"
    )
    mining: MiningConfig = option(MiningConfig(), help="choice of an epoch's tuples")
    data: TupleDataConfig = option(TupleDataConfig(), help="images and places")
    augment: NightOptions = option(NightOptions(), help="night")
    whitening: WhiteningOptions = option(WhiteningOptions(), help="whitening")
    evaluation: EvaluationOptions = option(EvaluationOptions(), help="evaluation")
    trainer: TrainerConfig = option(TrainerConfig(epochs=40), help="how long and how exactly to train")

    @property
    def validates(self) -> bool:
        """Whether there is validation at all."""
        return self.trainer.validate_every > 0

    @property
    def margin(self) -> float:
        """The loss's margin."""
        return self.loss.margin_for(self.backbone)

    @property
    def validation_mining(self) -> MiningConfig:
        """How validation tuples are chosen: every pair, with the hardest negatives of all images."""
        return replace(
            self.mining, anchors=None, anchor_choice="random", anchor_pool=None, negative_pool=None,
            shuffle=False, easy_share=None,
        )  # fmt: skip


CHANGEABLE = (
    "data.workers", "data.prefetch", "data.cache_mb", "augment.cache", "augment.cache_gb", "whitening", "evaluation",
)  # fmt: skip
"""What may differ between a run and the one it goes on from: it changes no weight of the network."""
