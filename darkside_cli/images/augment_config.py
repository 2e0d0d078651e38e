"""Options of the augmentation for few photographs; free of heavy imports. What they do is in ``augment.py``."""

from __future__ import annotations

from dataclasses import dataclass

from darkside_cli.config.schema import option


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Changes that make many images of few. All are off by default, as in the published trainings.

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
