"""What a method of unpaired translation is trained with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class UnpairedBatch:
    """Day and night pictures that have nothing to do with each other: each (B, 3, H, W) float32 RGB in [-1, 1]."""

    day: Tensor
    night: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> UnpairedBatch:
        """Give the same batch on ``device``."""
        return UnpairedBatch(
            self.day.to(device, non_blocking=non_blocking), self.night.to(device, non_blocking=non_blocking)
        )

    def pin_memory(self) -> UnpairedBatch:
        """Give the same batch in page-locked memory, from which devices copy without waiting."""
        return UnpairedBatch(self.day.pin_memory(), self.night.pin_memory())

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.day)
