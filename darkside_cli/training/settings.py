"""torch's process-wide switches, set for a block and put back after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


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
