"""State of the whole process that a training sets for a block and puts back after it.

Random generators of Python, NumPy and torch, torch's switches, and what signals do: Ctrl-C and SIGTERM are a wish to
stop, which is looked at between two batches.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from darkside_cli.training.launch import signals_taken

_LARGEST_SEED = 2**32


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators, those of all devices included."""
    random.seed(seed)
    np.random.seed(seed % _LARGEST_SEED)
    torch.manual_seed(seed)


def random_state(device: torch.device) -> dict[str, Any]:
    """State of all generators, that of ``device`` included: tensors, numbers, texts, tuples and lists."""
    version, numbers, gauss = random.getstate()
    legacy = np.random.get_state(legacy=True)
    assert isinstance(legacy, tuple)  # noqa: S101 - says so to the type checker
    state = {
        "python": [version, torch.tensor(numbers, dtype=torch.int64), gauss],
        "numpy": {
            "bit_generator": legacy[0],
            "has_gauss": legacy[3],
            "gauss": legacy[4],
            "key": torch.from_numpy(legacy[1].astype(np.int64)),
            "pos": legacy[2],
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
    own = state["numpy"]
    key = own["key"].numpy().astype(np.uint32)
    np.random.set_state((own["bit_generator"], key, own["pos"], own["has_gauss"], own["gauss"]))
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


@contextmanager
def cuda_settings(device: torch.device, *, tf32: bool) -> Iterator[None]:
    """On a GPU: TF32 as asked for, and cuDNN's search for the fastest algorithms, which pays where shapes stay."""
    if device.type != "cuda":
        yield
        return
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32)
    cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32 = True, tf32, tf32
    try:
        with torch.cuda.device(device):
            yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32 = before


@contextmanager
def compiled(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Calls of ``modules`` run compiled inside of this block; they stay the same objects with the same state dicts."""
    changed = list(modules)
    before = [module._compiled_call_impl for module in changed]
    try:
        for module in changed:
            module.compile()
        yield
    finally:
        for module, call in zip(changed, before, strict=True):
            module._compiled_call_impl = call


@contextmanager
def modes_kept(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Modules are afterwards in train or eval mode as they were before the block, layer by layer."""
    before = [(layer, layer.training) for module in modules for layer in module.modules()]
    try:
        yield
    finally:
        for layer, training in before:
            layer.training = training


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """While this block runs, the first signal to stop is only a wish, which the function it gives tells of.

    The second raises KeyboardInterrupt wherever the program is.
    """
    requested = False

    def take(*_: object) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True

    with signals_taken(take):
        yield lambda: requested
