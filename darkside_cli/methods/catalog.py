"""The methods of training a generator and the edge detectors they may use, as torch-free entries.

Choices on the command line, help pages and completions read these registries; code is imported when work begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from darkside_cli.errors import UnknownNameError
from darkside_cli.networks.catalog import MODELS
from darkside_cli.registry import Entry, Registry

_DARK_SIDE = "https://arxiv.org/abs/2309.16351"


@dataclass(frozen=True, kw_only=True)
class MethodEntry(Entry):
    """One method. ``target`` is "module:attribute" of its task's class, ``config`` of its configuration's.

    ``needs_detector`` is whether it learns from an edge detector, ``directions`` what its generators do.
    """

    config: str
    paper: str
    needs_detector: bool = False
    directions: tuple[str, ...] = ("day2night",)


@dataclass(frozen=True, kw_only=True)
class EdgeDetectorEntry(Entry):
    """One edge detector. ``target`` is its class; ``licence`` is that of its weights, "" if it has none to fetch."""

    licence: str = ""
    licence_note: str = ""

    @property
    def needs_weights(self) -> bool:
        """Whether published weights must be on this machine; ``MODELS`` then has an entry of the same name."""
        return self.name in MODELS


METHODS: Registry[MethodEntry] = Registry(
    "method",
    (
        MethodEntry(
            name="cyclegan",
            summary="CycleGAN: night must come back as the same day, and day as the same night",
            target="darkside_cli.methods.cyclegan:CycleGanTask",
            config="darkside_cli.methods.config:CycleGanConfig",
            paper="https://arxiv.org/abs/1703.10593",
            directions=("day2night", "night2day"),
        ),
        MethodEntry(
            name="cut",
            summary="CUT and FastCUT: patches of night must resemble the same patches of day",
            target="darkside_cli.methods.cut:CutTask",
            config="darkside_cli.methods.config:CutConfig",
            paper="https://arxiv.org/abs/2007.15651",
        ),
        MethodEntry(
            name="hedgan",
            summary="HED-GAN: night must have the edges of day, to the eyes of a frozen detector (HED)",
            target="darkside_cli.methods.hedgan:HedGanTask",
            config="darkside_cli.methods.config:HedGanConfig",
            paper=_DARK_SIDE,
            needs_detector=True,
        ),
        MethodEntry(
            name="hedngan",
            summary="HED-N-GAN: the same, to the eyes of a student that learns to see at night",
            target="darkside_cli.methods.hedgan:HedNGanTask",
            config="darkside_cli.methods.config:HedNGanConfig",
            paper=_DARK_SIDE,
            needs_detector=True,
        ),
        MethodEntry(
            name="rcfgan",
            summary="HED-GAN with the edge detector RCF",
            target="darkside_cli.methods.hedgan:HedGanTask",
            config="darkside_cli.methods.config:RcfGanConfig",
            paper=_DARK_SIDE,
            needs_detector=True,
        ),
        MethodEntry(
            name="rcfngan",
            summary="HED-N-GAN with the edge detector RCF",
            target="darkside_cli.methods.hedgan:HedNGanTask",
            config="darkside_cli.methods.config:RcfNGanConfig",
            paper=_DARK_SIDE,
            needs_detector=True,
        ),
        MethodEntry(
            name="relight",
            summary="lamps and what is left of the day's light, judged by ImageNet features; a few hundred images do",
            target="darkside_cli.methods.relight:RelightTask",
            config="darkside_cli.methods.config:RelightConfig",
            paper="https://arxiv.org/abs/2111.01007",
        ),
    ),
)


def _published(name: str, summary: str) -> EdgeDetectorEntry:
    model = MODELS.get(name)
    return EdgeDetectorEntry(
        name=name,
        summary=summary,
        target=model.target,
        licence=model.licence,
        licence_note=model.licence_note,
    )


EDGE_DETECTORS: Registry[EdgeDetectorEntry] = Registry(
    "edge detector",
    (
        _published("hed", "HED, learned from people's outlines"),
        _published("rcf", "RCF, learned likewise, finer"),
        EdgeDetectorEntry(
            name="sobel",
            summary="gradients at several scales, by formula; needs no weights",
            target="darkside_cli.networks.sobel:Sobel",
        ),
    ),
)


def is_detector_name(spec: str) -> bool:
    """Whether ``spec`` is the name of an edge detector, and not a path.

    Raises UnknownNameError for what can be neither.
    """
    path = Path(spec)
    if spec in EDGE_DETECTORS:
        return True
    if path.suffix or len(path.parts) > 1 or path.exists():
        return False
    raise UnknownNameError(
        "edge detector", spec, EDGE_DETECTORS.names(), extra_hint="a path to a weights file is taken too"
    )
