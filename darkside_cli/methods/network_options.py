"""What the networks of the six methods are made of; the defaults are the published ones. Free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from darkside_cli.config.limits import (
    MAX_BLOCKS,
    MAX_CROP_PX,
    MAX_GAIN,
    MAX_GUIDE_EPS,
    MAX_HALVINGS,
    MAX_RADIUS_PX,
    MAX_SEED,
    MAX_WIDTH,
)
from darkside_cli.config.schema import option

NormName = Literal["instance", "batch"]
InitialisationName = Literal["normal", "kaiming"]
PaddingName = Literal["reflect", "replicate", "zero"]
OutputName = Literal["picture", "gain"]


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
class GeneratorOptions:
    """The ResNet generator."""

    ngf: int = option(64, help="channels of the first convolution", minimum=1, maximum=MAX_WIDTH)
    n_blocks: int = option(9, help="residual blocks", minimum=1, maximum=MAX_BLOCKS)
    norm: NormName = option("instance", help="normalisation of features")
    antialias_down: bool = option(False, help="blur before subsampling, as CUT's own generators do")
    antialias_up: bool = option(
        False, help="enlarge by blurring instead of transposed convolutions, as CUT does"
    )
    dropout: bool = option(False, help="dropout of one half in the residual blocks")
    padding: PaddingName = option("reflect", help="border of the residual blocks' convolutions")
    working_px: int | None = option(
        None,
        help="translate whole pictures at this longer side and bring that to full size by a guided filter",
        minimum=16,
        maximum=MAX_CROP_PX,
        unit="px",
    )
    output: OutputName = option(
        "picture",
        help="with working_px: the network makes the night picture, or what gain of light turns day into it",
    )
    max_gain: float = option(
        2.0,
        help="the highest gain there can be, also on the way back from night to day (CycleGAN)",
        minimum=0.1,
        maximum=MAX_GAIN,
    )
    guide_radius_px: int = option(
        4, help="radius of the filter's windows, at the working size", minimum=1, maximum=MAX_RADIUS_PX
    )
    training_radius_px: int | None = option(
        None,
        help="radius while the network learns, such as a narrower one (none: the same)",
        minimum=1,
        maximum=MAX_RADIUS_PX,
    )
    guide_eps: float = option(
        2e-3,
        help="variance of the day picture, in [-1, 1], below which texture is smoothed",
        minimum=1e-6,
        maximum=MAX_GUIDE_EPS,
    )
    initialisation: InitialisationOptions = option(InitialisationOptions(), help="weights to begin with")

    def __post_init__(self) -> None:
        if self.output == "gain" and self.working_px is None:
            raise ValueError("output = gain needs a working_px, such as 96")

    def idle(self) -> list[str]:
        """Names of options that were given and make no difference beside the others."""
        guided = ("max_gain", "guide_radius_px", "training_radius_px", "guide_eps")
        names = guided if self.working_px is None else ("max_gain",) if self.output == "picture" else ()
        usual = {field.name: field.default for field in fields(self)}
        return [name for name in names if getattr(self, name) != usual[name]]


@dataclass(frozen=True, kw_only=True)
class DiscriminatorOptions:
    """The patch discriminator."""

    ndf: int = option(64, help="channels of the first convolution", minimum=1, maximum=MAX_WIDTH)
    n_layers: int = option(3, help="halvings; 3 judges patches of 70 pixels", minimum=1, maximum=MAX_HALVINGS)
    norm: NormName = option("instance", help="normalisation of features")
    antialias: bool = option(False, help="blur before subsampling, as CUT's own discriminators do")
    initialisation: InitialisationOptions = option(InitialisationOptions(), help="weights to begin with")
