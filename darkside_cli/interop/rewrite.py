"""A checkpoint of any format written in another: ours, in full or half precision, or gandtr's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from darkside_cli.errors import UsageError
from darkside_cli.interop.gandtr_write import save_gandtr
from darkside_cli.interop.whitening import write_published_whitening
from darkside_cli.networks.weights import Checkpoint, Whitening, save_checkpoint, save_whitening

#: What a file's suffix says about its format.
FORMATS = {".safetensors": "darkside", ".pth": "gandtr"}


def rewrite(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    half: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``checkpoint`` to ``path``, in the format that its suffix says, and return the path.

    ``half`` rounds weights to fp16 (running statistics of norms too; counters stay), which halves the file and is
    undone, but for the rounding, when it is read. ``metadata`` is laid over the checkpoint's own.

    Raises UsageError for other suffixes, CheckpointError if the network has no such format or cannot be written.
    """
    path = Path(path)
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise UsageError(
            f"'{path.suffix}' says no format of weights", hint=f"use {' or '.join(FORMATS)} (ours, gandtr's)"
        )
    state = checkpoint.state
    if half:
        state = {key: value.half() if value.dtype == torch.float32 else value for key, value in state.items()}
    facts = {**checkpoint.metadata, **(metadata or {})}
    if form == "gandtr":
        return save_gandtr(path, replace(checkpoint, state=state, metadata=facts))
    return save_checkpoint(
        path, state, architecture=checkpoint.architecture, config=checkpoint.config, metadata=facts
    )


def whitening_beside(weights: str | Path) -> Path:
    """Path of the whitening that belongs to a file of ``weights``, by its format."""
    path = Path(weights)
    gandtrs = FORMATS.get(path.suffix.lower()) == "gandtr"
    return path.with_name(f"{path.stem}{'_lw.pkl' if gandtrs else '_whitening.safetensors'}")


def rewrite_whitening(whitening: Whitening, weights: str | Path) -> Path:
    """Write a descriptor's whitening beside its ``weights``, in the same format and where it is looked for.

    ``x_whitening.safetensors`` beside ``x.safetensors``, ``x_lw.pkl`` beside ``x.pth``; gives the path. Raises
    CheckpointError if it cannot be written.
    """
    path = whitening_beside(weights)
    return (write_published_whitening if path.suffix == ".pkl" else save_whitening)(path, whitening)
