"""How much CLAHE; free of heavy imports, so that wrong settings are told at once. What they do is in ``clahe.py``."""

from __future__ import annotations

from dataclasses import dataclass

from darkside_cli.config.check import check_itself
from darkside_cli.config.limits import MAX_CLAHE_GRID, MAX_CLIP_LIMIT
from darkside_cli.config.schema import option


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
