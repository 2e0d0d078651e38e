"""Unpaired day and night pictures for training a translation between them."""

from __future__ import annotations

from darkside_cli.data.unpaired_batch import UnpairedBatch
from darkside_cli.data.unpaired_config import UnpairedConfig

__all__ = ["UnpairedBatch", "UnpairedConfig"]
