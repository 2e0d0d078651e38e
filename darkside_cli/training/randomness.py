"""The state of the random generators of Python, NumPy and torch as a whole: set, kept, given back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_LARGEST_SEED = 2**32


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators, those of all devices included."""
    random.seed(seed)
    np.random.seed(seed % _LARGEST_SEED)
    torch.manual_seed(seed)


def random_state(device: torch.device) -> dict[str, Any]:
    """State of all generators, that of ``device`` included: tensors, numbers, texts, tuples and lists."""
    version, numbers, gauss = random.getstate()
    legacy = np.random.get_state(legacy=False)
    assert isinstance(legacy, dict)  # noqa: S101 - says so to the type checker
    state = {
        "python": [version, torch.tensor(numbers, dtype=torch.int64), gauss],
        "numpy": {
            **{key: legacy[key] for key in ("bit_generator", "has_gauss", "gauss")},
            "key": torch.from_numpy(legacy["state"]["key"].astype(np.int64)),
            "pos": int(legacy["state"]["pos"]),
        },
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Take back what :func:`random_state` gave; a state of another kind of device is passed over."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    legacy = state["numpy"]
    np.random.set_state(
        {
            "bit_generator": legacy["bit_generator"],
            "has_gauss": legacy["has_gauss"],
            "gauss": legacy["gauss"],
            "state": {"key": legacy["key"].numpy().astype(np.uint32), "pos": legacy["pos"]},
        }
    )
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Whatever the block draws or seeds, the generators are afterwards as they were."""
    before = random_state(device)
    try:
        yield
    finally:
        set_random_state(before, device)
