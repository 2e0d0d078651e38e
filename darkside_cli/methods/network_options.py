"""The settings of the networks that a method trains: its own, its first weights, its optimiser.

A setting of a network is a field of its configuration (``networks/configs.py``), which is inherited here. A new kind
of network is a class here and an entry in :data:`GENERATORS` or :data:`DISCRIMINATORS`. Free of heavy imports.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from darkside_cli.config.limits import MAX_CROP_PX, MAX_RATE, MAX_SEED, MAX_WEIGHT
from darkside_cli.config.schema import option
from darkside_cli.networks.configs import (
    GuideConfig,
    NetworkConfig,
    PatchDiscriminatorConfig,
    ProjectedDiscriminatorConfig,
    RelightGeneratorConfig,
    ResnetGeneratorConfig,
)
from darkside_cli.registry import Entry, Registry

InitialisationName = Literal["normal", "kaiming"]


@dataclass(frozen=True, kw_only=True)
class AdamOptions:
    """Adam, one optimiser per network."""

    lr: float = option(2e-4, help="learning rate", minimum=0, maximum=MAX_RATE)
    betas: tuple[float, float] = option((0.5, 0.999), help="decay rates of the moments", minimum=0, maximum=1)
    weight_decay: float = option(
        0.0, help="L2 penalty that is added to the gradients", minimum=0, maximum=MAX_WEIGHT
    )


@dataclass(frozen=True, kw_only=True)
class InitialisationOptions:
    """Random weights that a network begins with."""

    kind: InitialisationName = option("kaiming", help="normal: all weights alike, kaiming: by fan-in")
    gain: float = option(
        0.2, help="standard deviation of normal weights and of batch norms' scales", minimum=0, maximum=100
    )
    seed: int = option(
        0, help="seed; equal networks with equal seeds begin equal", minimum=0, maximum=MAX_SEED
    )
    weights: Path | None = option(
        None, help="checkpoint or run folder to begin with instead: a trained network of the same form"
    )


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(NetworkConfig):
    """What every kind of network has."""

    initialisation: InitialisationOptions = option(InitialisationOptions(), help="weights to begin with")

    @property
    def architecture(self) -> str:
        """Name in ``ARCHITECTURES`` of the network that is made."""
        raise NotImplementedError

    def idle(self) -> dict[str, str]:
        """Options that were given and make no difference, each with the option that it would need."""
        return {}


@dataclass(frozen=True, kw_only=True)
class ResnetGeneratorOptions(GuideConfig, ResnetGeneratorConfig, NetworkOptions):
    """The ResNet generator, guided where it has a working size."""

    working_px: int | None = option(
        None,
        help="translate whole pictures at this longer side and bring that to full size by a guided filter",
        minimum=16,
        maximum=MAX_CROP_PX,
        unit="px",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output == "gain" and self.working_px is None:
            raise ValueError("output = gain needs a working_px, such as 96")

    @property
    def architecture(self) -> str:
        """Name in ``ARCHITECTURES`` of the network that is made."""
        return "resnet_generator" if self.working_px is None else "guided_generator"

    def idle(self) -> dict[str, str]:
        """Options that were given and make no difference, each with the option that it would need."""
        if self.working_px is None:
            guide, needed = {each.name for each in fields(GuideConfig)} - {"output"}, "working_px"
        else:
            guide, needed = set() if self.output == "gain" else {"max_gain"}, "output = gain"
        usual = {each.name: each.default for each in fields(self) if each.name in guide}
        return {name: needed for name, value in usual.items() if getattr(self, name) != value}


@dataclass(frozen=True, kw_only=True)
class PatchDiscriminatorOptions(PatchDiscriminatorConfig, NetworkOptions):
    """The patch discriminator."""

    @property
    def architecture(self) -> str:
        """Name in ``ARCHITECTURES`` of the network that is made."""
        return "patch_discriminator"


@dataclass(frozen=True, kw_only=True)
class RelightGeneratorOptions(RelightGeneratorConfig, NetworkOptions):
    """The generator that makes light. It has first weights of its own; their seed can be chosen."""

    @property
    def architecture(self) -> str:
        """Name in ``ARCHITECTURES`` of the network that is made."""
        return "relight_generator"


@dataclass(frozen=True, kw_only=True)
class ProjectedDiscriminatorOptions(ProjectedDiscriminatorConfig, NetworkOptions):
    """The projected discriminator. It has first weights of its own; their seed can be chosen."""

    @property
    def architecture(self) -> str:
        """Name in ``ARCHITECTURES`` of the network that is made."""
        return "projected_discriminator"


GENERATORS: Registry[Entry] = Registry(
    "generator",
    (
        Entry(
            name="resnet",
            summary="ResNet generator of CycleGAN and CUT, with working_px a guided one",
            target=f"{__name__}:ResnetGeneratorOptions",
        ),
        Entry(
            name="relight",
            summary="U-Net that makes what is left of the day's light, and the light of lamps",
            target=f"{__name__}:RelightGeneratorOptions",
        ),
    ),
)
"""Values of ``generator.kind``, each with the class of its settings; the first is what is meant where none is given."""

DISCRIMINATORS: Registry[Entry] = Registry(
    "discriminator",
    (
        Entry(
            name="patch",
            summary="PatchGAN discriminator of CycleGAN and CUT",
            target=f"{__name__}:PatchDiscriminatorOptions",
        ),
        Entry(
            name="projected",
            summary="heads on frozen ImageNet features (extra features): hundreds of images and minutes suffice",
            target=f"{__name__}:ProjectedDiscriminatorOptions",
        ),
    ),
)
"""Values of ``discriminator.kind``, likewise."""
