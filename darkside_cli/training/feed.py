"""Batches brought to the device, on a GPU while it still works on the batch before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with every tensor in its tuples, lists, mappings and dataclasses changed; the rest as it is."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        parts = [map_tensors(each, change) for each in value]
        if hasattr(value, "_fields"):  # a named tuple
            return type(value)(*parts)
        return tuple(parts) if isinstance(value, tuple) else parts
    if isinstance(value, Mapping):
        return {key: map_tensors(each, change) for key, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [each.name for each in dataclasses.fields(value) if each.init]
        return dataclasses.replace(
            value, **{name: map_tensors(getattr(value, name), change) for name in names}
        )
    return value


def to_device(batch: Batch, device: torch.device) -> Batch:
    """``batch`` with its tensors on ``device``; to a GPU they go through pinned memory, without waiting."""

    def move(tensor: Tensor) -> Tensor:
        if device.type == "cuda" and tensor.device.type == "cpu":
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor.to(device)

    moved: Batch = map_tensors(batch, move)
    return moved


def on_cpu(value: Any) -> Any:
    """``value`` with its tensors on the CPU, detached, and without the rest of larger ones that they are parts of."""

    def move(tensor: Tensor) -> Tensor:
        moved = tensor.detach().to("cpu")
        return moved.clone() if moved.untyped_storage().nbytes() > moved.nbytes else moved

    return map_tensors(value, move)


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """``batches`` on ``device``. On CUDA each is copied by a stream of its own while the one before is worked on."""
    copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def use(tensor: Tensor) -> Tensor:
        # The memory belongs to the copying stream: it must not be given away while this stream works on it.
        tensor.record_stream(torch.cuda.current_stream(device))
        return tensor

    source = iter(batches)
    try:
        for batch in source:
            if copies is None:
                yield to_device(batch, device)
                continue
            # The work on the batch before is only queued when this one is asked for, so the two go on side by side.
            with torch.cuda.stream(copies):
                moved = to_device(batch, device)
            torch.cuda.current_stream(device).wait_stream(copies)
            map_tensors(moved, use)
            yield moved
            del moved
    finally:
        # Loaders end their workers with their iterator, which may hang on to a traceback for long.
        if close := getattr(source, "close", None):
            close()
