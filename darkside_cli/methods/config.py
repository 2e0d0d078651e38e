"""What determines a training of each method; the defaults of the six of the paper are the published hyper-parameters.

Free of heavy imports, so that help pages can list the options. What they mean is in the files of the methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from darkside_cli.config import limits
from darkside_cli.config.schema import option
from darkside_cli.datasets.unpaired_config import UnpairedConfig
from darkside_cli.methods import network_options as networks
from darkside_cli.training.trainer_config import TrainerConfig

AdversarialName = Literal["lsgan", "vanilla", "hinge"]
_NORMAL = networks.InitialisationOptions(kind="normal")


def _method(name: str) -> Any:
    """Field of a configuration that says which method it is one of; no other can be given."""

    def check(given: str) -> None:
        if given != name:
            raise ValueError(f"these are the options of {name}")

    return option(name, help="the method", validate=check)


def _weight(usual: float | None, *, help: str) -> Any:
    return option(usual, help=help, minimum=0, maximum=limits.MAX_WEIGHT)


def _generator(usual: networks.NetworkOptions, help: str = "the network that makes night of day") -> Any:
    return option(usual, help=help, kinds="darkside_cli.methods.network_options:GENERATORS")


def _discriminator(
    usual: networks.NetworkOptions, help: str = "the network that tells real from made"
) -> Any:
    return option(usual, help=help, kinds="darkside_cli.methods.network_options:DISCRIMINATORS")


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """The learning rate over the epochs (``trainer.epochs`` says how many there are)."""

    decay_epochs: int | None = option(
        None,
        help="epochs at the end over which the rate falls to zero (none: half of all)",
        minimum=0,
        maximum=limits.MAX_EPOCHS,
    )

    def decay_of(self, epochs: int) -> int:
        """How many of ``epochs`` have a falling rate."""
        return epochs // 2 if self.decay_epochs is None else self.decay_epochs


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Images of the progress."""

    every: int = option(
        5, help="epochs between sample grids, 0: none", minimum=0, maximum=limits.MAX_EPOCHS, unit="epochs"
    )
    count: int = option(4, help="validation pictures in a grid", minimum=1, maximum=64)
    size_px: int = option(
        362, help="longest side of those pictures", minimum=16, maximum=limits.MAX_CROP_PX, unit="px"
    )
    pictures: Path | None = option(
        None, help="list or folder of day pictures to validate with (none: some of those trained on)"
    )
    fid: bool = option(False, help="measure the Fréchet inception distance too, with an optional library")
    kernel: bool = option(
        False,
        help="measure the kernel distance to real nights too, in features that the extra [features] brings",
    )
    measured: int = option(
        16, help="day pictures that the scores are measured on", minimum=1, maximum=limits.MAX_COUNT
    )


@dataclass(frozen=True, kw_only=True)
class GanConfig:
    """What all methods have."""

    method: str = option(help="name of the method in METHODS")

    generator: networks.NetworkOptions = _generator(networks.ResnetGeneratorOptions())
    discriminator: networks.NetworkOptions = _discriminator(networks.PatchDiscriminatorOptions())
    adversarial: AdversarialName = option(
        "lsgan", help="adversarial loss: least squares, cross entropy, or the hinge loss of projected GANs"
    )
    optim: networks.AdamOptions = option(
        networks.AdamOptions(), help="optimisers of generators, discriminators and heads"
    )
    schedule: ScheduleOptions = option(ScheduleOptions(), help="learning rate over the epochs")
    data: UnpairedConfig = option(UnpairedConfig(), help="day and night pictures")
    trainer: TrainerConfig = option(TrainerConfig(), help="how long and how exactly to train")
    samples: SampleOptions = option(SampleOptions(), help="pictures of the progress")


@dataclass(frozen=True, kw_only=True)
class CycleGanWeights:
    """Weights of the terms of CycleGAN's generators."""

    adversarial: float = _weight(1.0, help="to look like the other domain")
    cycle: float = _weight(10.0, help="to come back as they were")
    identity: float = _weight(0.0, help="to leave the other domain's pictures alone (paper: 5)")


@dataclass(frozen=True, kw_only=True)
class CycleGanConfig(GanConfig):
    """CycleGAN."""

    method: str = _method("cyclegan")
    generator: networks.NetworkOptions = _generator(
        networks.ResnetGeneratorOptions(initialisation=_NORMAL),
        "the networks that make night of day and day of night",
    )
    discriminator: networks.NetworkOptions = _discriminator(
        networks.PatchDiscriminatorOptions(initialisation=_NORMAL), "the networks that tell real from made"
    )
    weights: CycleGanWeights = option(CycleGanWeights(), help="weights of the generators' losses")
    pool_size: int = option(
        50,
        help="generated pictures that each discriminator is reminded of",
        minimum=0,
        maximum=limits.MAX_POOL,
    )
    trainer: TrainerConfig = option(TrainerConfig(epochs=100), help="how long and how exactly to train")


@dataclass(frozen=True, kw_only=True)
class CutWeights:
    """Weights of the terms of CUT's generator; "none" is what the variant says."""

    adversarial: float = _weight(1.0, help="to look like night")
    nce: float | None = _weight(None, help="to keep what is where (none: 1, FastCUT 10)")
    identity: float | None = _weight(
        None, help="to keep what is where in night pictures (none: 10, FastCUT 0)"
    )


@dataclass(frozen=True, kw_only=True)
class NceOptions:
    """PatchNCE, and the head that makes vectors of patches."""

    layers: tuple[int, ...] = option(
        (4, 8, 12, 16),
        help="modules of the generator whose output is compared",
        minimum=0,
        maximum=limits.MAX_LAYERS,
    )
    num_patches: int = option(
        256, help="patches compared per layer and picture", minimum=2, maximum=limits.MAX_VECTOR
    )
    dim: int = option(256, help="length of a patch's vector", minimum=1, maximum=limits.MAX_VECTOR)
    temperature: float = option(
        0.07, help="of the softmax over the patches", minimum=1e-4, maximum=limits.MAX_RATE
    )
    negatives: Literal["batch", "image"] = option(
        "batch", help="other patches are taken from the whole batch, as published, or from the picture alone"
    )
    initialisation: networks.InitialisationOptions = option(
        networks.InitialisationOptions(), help="weights to begin with"
    )

    def __post_init__(self) -> None:
        if not self.layers or list(self.layers) != sorted(set(self.layers)) or self.layers[0] < 0:
            raise ValueError("the layers are increasing numbers from 0 on, at least one")


@dataclass(frozen=True, kw_only=True)
class CutConfig(GanConfig):
    """CUT and FastCUT."""

    method: str = _method("cut")
    variant: Literal["cut", "fastcut"] = option(
        "cut", help="fastcut: no identity term, NCE weight 10, flips; lighter and faster"
    )
    weights: CutWeights = option(CutWeights(), help="weights of the generator's losses")
    nce: NceOptions = option(NceOptions(), help="comparison of patches")
    flip_equivariance: bool | None = option(
        None, help="mirror the input of every second batch on average, and its features back (none: FastCUT)"
    )

    @property
    def nce_weight(self) -> float:
        """Weight of PatchNCE between day and generated night."""
        given, fast = self.weights.nce, self.variant == "fastcut"
        return given if given is not None else 10.0 if fast else 1.0

    @property
    def identity_weight(self) -> float:
        """Weight of PatchNCE between night and what the generator makes of it; 0: that is not made at all."""
        given, fast = self.weights.identity, self.variant == "fastcut"
        return given if given is not None else 0.0 if fast else 10.0

    @property
    def flips(self) -> bool:
        """Whether input images are mirrored at random."""
        return self.variant == "fastcut" if self.flip_equivariance is None else self.flip_equivariance


def _edge_detector(usual: str) -> Any:
    return option(
        usual,
        help="hed, rcf, sobel, or a file with a detector's weights",
        choices_from="darkside_cli.methods.catalog:EDGE_DETECTORS",
        open_ended=True,
    )


@dataclass(frozen=True, kw_only=True)
class EdgeWeights:
    """Weights of the terms of the generator of the edge methods."""

    adversarial: float = _weight(1.0, help="to look like night")
    edge: float = _weight(5.0, help="to keep the edges")
    identity: float = _weight(
        0.0, help="to leave night pictures alone: dark stays dark and colours true (not published)"
    )


@dataclass(frozen=True, kw_only=True)
class HedGanConfig(GanConfig):
    """HED-GAN: a frozen edge detector sees both day and night."""

    method: str = _method("hedgan")
    generator: networks.NetworkOptions = _generator(networks.ResnetGeneratorOptions(norm="batch"))
    discriminator: networks.NetworkOptions = _discriminator(networks.PatchDiscriminatorOptions(norm="batch"))
    data: UnpairedConfig = option(UnpairedConfig(batch_size=10), help="day and night pictures")
    weights: EdgeWeights = option(EdgeWeights(), help="weights of the generator's losses")
    edge_detector: str = _edge_detector("hed")


@dataclass(frozen=True, kw_only=True)
class HedNGanConfig(HedGanConfig):
    """HED-N-GAN: a student learns from the frozen detector to see edges at night."""

    method: str = _method("hedngan")
    student: networks.AdamOptions = option(
        networks.AdamOptions(lr=1e-6, betas=(0.9, 0.999), weight_decay=2e-4),
        help="optimiser of the student; its layers have factors of their own",
    )
    distillation: float = _weight(1.0, help="weight of the student's loss")


@dataclass(frozen=True, kw_only=True)
class RcfGanConfig(HedGanConfig):
    """HED-GAN with RCF as the edge detector."""

    method: str = _method("rcfgan")
    edge_detector: str = _edge_detector("rcf")


@dataclass(frozen=True, kw_only=True)
class RcfNGanConfig(HedNGanConfig):
    """HED-N-GAN with RCF as the edge detector."""

    method: str = _method("rcfngan")
    edge_detector: str = _edge_detector("rcf")


@dataclass(frozen=True, kw_only=True)
class RelightWeights:
    """Weights of the terms of the relighting generator."""

    adversarial: float = _weight(0.3, help="to look like night")
    edge: float = _weight(3.0, help="to keep the edges of the day; new ones may appear")
    sky: float = _weight(8.0, help="to keep the sky dark and free of lamps")
    foliage: float = _weight(3.0, help="to put no light into leaves and grass")
    lamps: float = _weight(10.0, help="to keep lamps small")
    light: float = _weight(0.1, help="to add no more light than it takes")
    identity: float = _weight(5.0, help="to leave night images alone")
    variety: float = _weight(3.0, help="to make different nights of one day")


@dataclass(frozen=True, kw_only=True)
class RelightConfig(GanConfig):
    """Relighting: gain and emission of light, judged by ImageNet features."""

    method: str = _method("relight")
    generator: networks.NetworkOptions = _generator(networks.RelightGeneratorOptions())
    discriminator: networks.NetworkOptions = _discriminator(networks.ProjectedDiscriminatorOptions())
    adversarial: AdversarialName = option("hinge", help="adversarial loss: lsgan, vanilla or hinge")
    optim: networks.AdamOptions = option(
        networks.AdamOptions(lr=4e-4, betas=(0.0, 0.99)),
        help="optimisers of the generator and the discriminator",
    )
    data: UnpairedConfig = option(UnpairedConfig(batch_size=2), help="day and night pictures")
    weights: RelightWeights = option(RelightWeights(), help="weights of the generator's losses")

    def __post_init__(self) -> None:
        if not isinstance(self.generator, networks.RelightGeneratorOptions):
            raise ValueError("this method needs generator.kind = relight")
