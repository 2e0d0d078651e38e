"""Layers that compute in full precision, whatever the network around them runs in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device_type: str) -> AbstractContextManager[None]:
    """Context without autocast; shapes alone ("meta") have none to switch off, and torch refuses to."""
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)
