"""How much CLAHE; free of heavy imports, so that wrong settings are told at once. What they do is in ``clahe.py``."""

from __future__ import annotations

from dataclasses import dataclass

from darkside_cli.config.limits import MAX_CLAHE_GRID, MAX_CLIP_LIMIT
from darkside_cli.config.schema import option
from darkside_cli.config.values import check_itself
from darkside_cli.errors import UsageError


@dataclass(frozen=True)
class ClaheSettings:
    """How much: ``clip_limit`` as OpenCV has it, in ``grid_size`` x ``grid_size`` tiles.

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
