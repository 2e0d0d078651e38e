"""How much CLAHE; free of heavy imports, so that wrong settings are told at once. What they do is in ``clahe.py``."""

from __future__ import annotations

from dataclasses import dataclass

from darkside_cli.errors import ConfigError


@dataclass(frozen=True)
class ClaheSettings:
    """How much: ``clip_limit`` as OpenCV has it, in ``grid_size`` x ``grid_size`` tiles.

    Raises ConfigError for values that are not positive.
    """

    clip_limit: float = 1.0
    grid_size: int = 8

    def __post_init__(self) -> None:
        if (
            not self.clip_limit > 0
            or isinstance(self.grid_size, bool)
            or self.grid_size != int(self.grid_size)
        ):
            raise ConfigError(
                f"CLAHE with clip limit {self.clip_limit} and grid {self.grid_size!r} is not possible"
            )
        if self.grid_size < 1:
            raise ConfigError(f"CLAHE needs a grid of at least one tile, not {self.grid_size}")
