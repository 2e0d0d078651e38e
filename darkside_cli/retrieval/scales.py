"""Scales that images are described at, by name or as numbers. Torch-free, so that wrong ones are told at once."""

from __future__ import annotations

from darkside_cli.errors import ConfigError

SINGLE_SCALE = (1.0,)
PAPER_SCALES = (1.0, 2**-0.5, 0.5)
"""Scales of the published results."""

SCALE_NAMES = {"ms": PAPER_SCALES, "ss": SINGLE_SCALE}
"""Sets of scales by name: the three of the published results, or the image as it is."""


def parse_scales(text: str) -> tuple[float, ...]:
    """Scales from "ms", "ss" or numbers between commas, "1,0.7071,0.5".

    Numbers that are 1/sqrt(2) or 1/2 to as many digits as they have mean just that. Raises ConfigError for anything
    else and for scales that are not positive.
    """
    if text in SCALE_NAMES:
        return SCALE_NAMES[text]
    try:
        scales = tuple(_exact(part.strip()) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0 < scale < float("inf") for scale in scales):
        raise ConfigError(f"'{text}' are no scales", hint="give ms, ss, or numbers such as 1,0.7071,0.5")
    return scales


def _exact(number: str) -> float:
    value = float(number)
    digits = len(number.partition(".")[2])
    exact = next(
        (scale for scale in PAPER_SCALES if abs(scale - value) <= 10.0**-digits and digits >= 3), None
    )
    return value if exact is None else exact
