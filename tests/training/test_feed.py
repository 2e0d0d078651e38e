from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from darkside_cli.training import feed
from darkside_cli.training.feed import map_tensors, on_cpu, on_device, to_device

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Batch:
    images: Tensor
    names: tuple[str, ...] = ()


class Named(NamedTuple):
    first: Tensor
    second: int


def test_tensors_are_found_wherever_they_are() -> None:
    one = torch.ones(1)
    value = {"a": [one, (one, "text")], "b": Batch(one, ("x",)), "c": Named(one, 3), "d": None}
    doubled = map_tensors(value, lambda tensor: tensor * 2)
    assert doubled == {"a": [2, (2, "text")], "b": doubled["b"], "c": Named(doubled["c"].first, 3), "d": None}
    assert isinstance(doubled["b"], Batch)
    assert (doubled["b"].images.item(), doubled["b"].names) == (2.0, ("x",))
    assert doubled["c"].first.item() == 2.0


def test_parts_of_larger_tensors_are_kept_alone() -> None:
    large = torch.arange(1000.0, requires_grad=True)
    part, whole = on_cpu([large[10:12], large])
    assert part.tolist() == [10.0, 11.0]
    assert part.untyped_storage().nbytes() == 8
    assert not part.requires_grad
    assert whole.data_ptr() == large.data_ptr()


def test_on_the_cpu_batches_are_as_they_come() -> None:
    batch = Batch(torch.ones(2))
    assert to_device(batch, CPU).images is batch.images
    assert [each.images is batch.images for each in on_device([batch, batch], CPU)] == [True, True]


def test_the_source_is_closed() -> None:
    closed = []

    def source() -> Iterator[Tensor]:
        try:
            yield from torch.arange(5)
        finally:
            closed.append(True)

    batches = on_device(source(), CPU)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert closed == [True]


class FakeTensor:
    """Tells what is done with it."""

    def __init__(self, log: list[str], name: str, place: str = "cpu") -> None:
        self.log, self.name, self.device = log, name, torch.device(place)

    def pin_memory(self) -> FakeTensor:
        self.log.append(f"pin {self.name}")
        return self

    def to(self, device: torch.device, non_blocking: bool = False) -> FakeTensor:
        self.log.append(f"copy {self.name} {non_blocking}")
        return FakeTensor(self.log, self.name, "cuda")

    def record_stream(self, stream: Any) -> None:
        self.log.append(f"{self.name} used by {stream.name}")


def test_on_cuda_copies_go_beside_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of what is asked of the device, with everything of CUDA played."""
    log: list[str] = []
    streams = ["work"]

    class Stream:
        def __init__(self, name: Any = "copies") -> None:
            self.name = name if isinstance(name, str) else "copies"

        def wait_stream(self, other: Any) -> None:
            log.append(f"{self.name} waits for {other.name}")

    @contextmanager
    def stream(which: Stream) -> Iterator[None]:
        streams.append(which.name)
        yield
        streams.pop()

    monkeypatch.setattr(feed, "Tensor", FakeTensor)
    fake = SimpleNamespace(Stream=Stream, stream=stream, current_stream=lambda device: Stream(streams[-1]))
    monkeypatch.setattr(torch, "cuda", fake)

    def source() -> Iterator[Any]:
        for name in "ab":
            log.append(f"load {name}")
            yield (FakeTensor(log, name),)

    for batch in on_device(source(), torch.device("cuda", 0)):
        assert batch[0].device.type == "cuda"
        log.append(f"work on {batch[0].name}")
    expected = []
    for name in "ab":
        expected += [f"load {name}", f"pin {name}", f"copy {name} True", "work waits for copies"]
        expected += [f"{name} used by work", f"work on {name}"]
    assert log == expected


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    device = torch.device("cuda", 0)
    batches = [Batch(torch.full((1000, 1000), float(i))) for i in range(20)]
    for i, batch in enumerate(on_device(batches, device)):
        assert batch.images.device == device
        assert (batch.images @ batch.images).mean().item() == pytest.approx(1000.0 * i * i)
