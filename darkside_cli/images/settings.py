"""Settings of images, and how many threads decode them; free of heavy imports, so that wrong ones are told at once."""

from __future__ import annotations

import os
from dataclasses import dataclass

from darkside_cli.config.limits import MAX_CLAHE_GRID, MAX_CLIP_LIMIT
from darkside_cli.config.schema import option
from darkside_cli.config.values import check_itself
from darkside_cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Changes that make many images of few (``augment.py``). All are off by default, as in the published trainings.

    Geometric ones are drawn for each image by itself. Colour is changed in day images alone: how night images
    look is what is learnt.
    """

    flip: bool = option(False, help="mirror half of the pictures left to right")
    aspect: float = option(
        0.0, help="widen or heighten what is cut out by up to this share", minimum=0, maximum=0.5
    )
    rotate_deg: float = option(
        0.0, help="turn by up to this angle either way", unit="degrees", minimum=0, maximum=45
    )
    perspective: float = option(
        0.0, help="move each corner by up to this share of the side", minimum=0, maximum=0.3
    )
    antialias: bool = option(False, help="average over pixels where a crop is shrunk, instead of sampling")
    day_gamma: float = option(
        0.0, help="day pictures: gamma between 1 / (1 + this) and 1 + this", minimum=0, maximum=1
    )
    day_colour: float = option(
        0.0,
        help="day pictures: gain of each channel and saturation, by up to this share",
        minimum=0,
        maximum=0.5,
    )

    @property
    def geometric(self) -> bool:
        """Whether any option changes where pixels are taken from, flips apart."""
        return bool(self.aspect or self.rotate_deg or self.perspective or self.antialias)

    @property
    def colours(self) -> bool:
        """Whether day images change their colours."""
        return bool(self.day_gamma or self.day_colour)


@dataclass(frozen=True)
class ClaheSettings:
    """How much CLAHE: ``clip_limit`` as OpenCV has it, in ``grid_size`` x ``grid_size`` tiles.

    Raises ConfigError for values that are out of bounds.
    """

    clip_limit: float = option(1.0, minimum=1e-6, maximum=MAX_CLIP_LIMIT)
    grid_size: int = option(8, minimum=1, maximum=MAX_CLAHE_GRID)

    def __post_init__(self) -> None:
        given: object = self.grid_size
        if isinstance(given, float) and given.is_integer():
            object.__setattr__(self, "grid_size", int(given))
        check_itself(self, "clahe")


def parse_clahe(text: str | None) -> ClaheSettings | bool:
    """CLAHE settings from "CLIP", "CLIP:GRID" or "none" (False); None is True, "as recorded".

    Raises UsageError for anything else, ConfigError for values that cannot be.
    """
    if text is None or text == "none":
        return text is None
    clip, _, grid = text.partition(":")
    try:
        return ClaheSettings(float(clip), int(grid or ClaheSettings.grid_size))
    except ValueError as error:
        raise UsageError(
            f"'{text}' are no settings of CLAHE", hint="give --clahe 1.0, 2.0:4 or none"
        ) from error


def usable_cpus() -> int:
    """Count the CPUs this process may run on, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads(most: int) -> int:
    """As many as CPUs this process may run on, at most ``most``."""
    return min(most, usable_cpus())
