"""Scales at which images are described: their names, their bounds, and how they are written. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

from darkside_cli.errors import ConfigError

SINGLE_SCALE = (1.0,)
PAPER_SCALES = (1.0, 2**-0.5, 0.5)
"""Scales of the published results."""
SCALE_NAMES = {"ms": PAPER_SCALES, "ss": SINGLE_SCALE}
"""Sets of scales by name: the three of the published results, or the image as it is."""

SMALLEST, LARGEST, MOST = 0.01, 8.0, 16
"""Bounds of a factor of the sides, and of how many there are: at 8, a photograph has 64 times its pixels."""

_HINT = "give ms, ss, or numbers such as 1,0.7071,0.5"


def parse_scales(text: str) -> tuple[float, ...]:
    """Scales from "ms", "ss" or numbers between commas, "1,0.7071,0.5".

    Numbers that are 1/sqrt(2) or 1/2 to as many digits as they have mean just that. Raises ConfigError for anything
    else and for scales that :func:`require_scales` refuses.
    """
    if text in SCALE_NAMES:
        return SCALE_NAMES[text]
    try:
        scales = tuple(_exact(part.strip()) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"'{text}' are no scales", hint=_HINT) from None
    require_scales(scales, text)
    return scales


def require_scales(scales: Sequence[float], text: str | None = None) -> None:
    """See that there are scales, not too many, and none out of bounds; ``text`` is how they were written.

    Raises ConfigError that names what is wrong and what is accepted.
    """
    shown = (
        f"scales must be positive numbers, not {list(scales)}" if text is None else f"'{text}' are no scales"
    )
    if not scales or len(scales) > MOST:
        raise ConfigError(f"{shown}: there are 1 to {MOST}, not {len(scales)}", hint=_HINT)
    for scale in scales:
        number = isinstance(scale, (int, float))
        if not number or not SMALLEST <= scale <= LARGEST:  # nan is neither
            what = f"{scale:g}" if number else repr(scale)
            raise ConfigError(
                f"{shown}: each is from {SMALLEST:g} to {LARGEST:g}, and {what} is not", hint=_HINT
            )


def check_scales(text: str) -> None:
    """As :func:`parse_scales`, for a field of a configuration: raises ValueError."""
    try:
        parse_scales(text)
    except ConfigError as error:
        raise ValueError(error.message) from error


def _exact(number: str) -> float:
    value = float(number)
    digits = len(number.partition(".")[2])
    exact = next(
        (scale for scale in PAPER_SCALES if abs(scale - value) <= 10.0**-digits and digits >= 3), None
    )
    return value if exact is None else exact
