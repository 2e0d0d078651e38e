"""Checks that networks share: of their configurations, their weights, and what their input is divided by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darkside_cli.config.limits import MAX_WEIGHT
from darkside_cli.errors import CheckpointError, ConfigError

_SMALLEST_STD = 1e-6


def require_choice(choices: Collection[str], **values: str) -> None:
    """Every one of ``values`` is one of ``choices``.

    Raises ConfigError naming the first field that is not.
    """
    for name, value in values.items():
        if value not in choices:
            raise ConfigError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def require_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """See that weights, read from ``path``, have no NaN and no infinity: what they make would be no picture.

    Raises CheckpointError that names the tensors.
    """
    wrong = {key: value for key, value in state.items() if not _is_finite(value)}
    if not wrong:
        return
    key, value = next(iter(wrong.items()))
    count = int((~value.isfinite()).sum())
    what = "NaN" if bool(value.isnan().any()) else "infinite"
    others = f", and so have {len(wrong) - 1} other tensors" if len(wrong) > 1 else ""
    raise CheckpointError(
        f"{path} has weights that are no numbers: {count:,} of the {value.numel():,} in {key} are {what}{others}",
        hint="the training went astray: give an earlier checkpoint; or get the file again",
    )


def _is_finite(value: Tensor) -> bool:
    if not value.is_floating_point():
        return True
    # A sum is ten times as fast; where it is beyond what float32 can hold, every number is looked at.
    return bool(value.sum(dtype=torch.float32).isfinite()) or bool(value.isfinite().all())


def require_normalisation(metadata: Mapping[str, Any], path: Path) -> None:
    """See that ``mean`` and ``std``, where a file states them, are numbers that pictures can be normalised with.

    Raises CheckpointError.
    """
    for name, least in (("mean", -MAX_WEIGHT), ("std", _SMALLEST_STD)):
        values = metadata.get(name)
        if values is None:
            continue
        if not isinstance(values, (list, tuple)) or not all(
            isinstance(each, (int, float)) and least <= each <= MAX_WEIGHT for each in values
        ):
            raise CheckpointError(
                f"{path} has a {name} of the input that cannot be: {str(values)[:80]}",
                hint=f"it is a list of numbers from {least:g} to {MAX_WEIGHT:g}, one a channel",
            )
