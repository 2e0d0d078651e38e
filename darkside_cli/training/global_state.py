"""State of the whole process that a training sets for a block and puts back after it.

Random generators of Python, NumPy and torch, torch's switches, and what signals do: Ctrl-C and SIGTERM are a wish to
stop, which is looked at between two batches.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import torch
from torch import nn

_LARGEST_SEED = 2**32
#: A closed terminal (SIGHUP) is a wish to stop, too, but not for those who asked for being left alone (nohup).
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


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


class Interruption:
    """While this context is open, the first signal to stop only sets :attr:`requested`; the second ends at once.

    The second raises KeyboardInterrupt wherever the program is. Signals that are ignored stay so. Outside of the main
    thread, where Python takes no signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is None or signal.getsignal(number) in (signal.SIG_IGN, None):
                continue
            try:
                self._before[number] = signal.signal(number, self._take)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
