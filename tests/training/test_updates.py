from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darkside_cli.errors import UsageError
from darkside_cli.inference.device import Precision
from darkside_cli.training.distributed import Ranks
from darkside_cli.training.task import Task, Update
from darkside_cli.training.updates import (
    GradientSync,
    Stepper,
    buckets,
    parameters_of,
    pending_gradients,
    put_gradients,
)

CPU = torch.device("cpu")


def number(value: float) -> nn.Linear:
    """A network that multiplies by ``value``."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


class Numbers(Task[Tensor]):
    """Two networks of one weight each; ``step`` is the task's train_step."""

    def __init__(
        self,
        step: Callable[[Numbers, Tensor], Iterator[Update]],
        a: float = 1.0,
        b: float = 2.0,
        lr: float = 0.1,
    ) -> None:
        self.a, self.b = number(a), number(b)
        self.networks = {"a": self.a, "b": self.b}
        self.optimizers = {
            name: torch.optim.SGD(module.parameters(), lr=lr) for name, module in self.networks.items()
        }
        self.schedulers = {}
        self.step = step

    def train_step(self, batch: Tensor) -> Iterator[Update]:
        return self.step(self, batch)

    def values(self) -> tuple[float, float]:
        return self.a.weight.item(), self.b.weight.item()


def stepper(
    task: Task[Any], *, precision: Precision = "fp32", clip_norm: float | None = None
) -> Stepper[Any]:
    parameters = [each for optimizer in task.optimizers.values() for each in parameters_of(optimizer)]
    sync = GradientSync(Ranks(), None, parameters, task.reduction)
    return Stepper(task, sync, device=CPU, precision=precision, clip_norm=clip_norm)


X = torch.tensor([[3.0]])


def test_code_after_a_yield_sees_the_updated_weights() -> None:
    seen = []

    def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
        seen.append(task.values())
        yield Update(task.a(batch).sum(), ("a",))  # d/da = 3
        seen.append(task.values())
        yield Update((task.a.weight.detach() * task.b(batch)).sum(), ("b",))  # d/db = a * 3
        seen.append(task.values())

    task = Numbers(step)
    stepper(task).train(X)
    assert seen == [(1.0, 2.0), pytest.approx((0.7, 2.0)), pytest.approx((0.7, 2.0 - 0.1 * 0.7 * 3))]


def test_only_the_optimisers_named_step_and_lose_their_gradients() -> None:
    def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
        yield Update((task.a(batch) * task.b(batch)).sum(), ("a",))  # leaves 9 * a in b
        assert task.a.weight.grad is None
        assert task.b.weight.grad is not None
        yield Update(task.b(batch).sum(), ("b",))  # adds 3

    task = Numbers(step)
    stepper(task).train(X)
    # a = 1 - 0.1 * 9 * 2; b's own gradient is joined by what the first update left: 9 * 1 + 3.
    assert task.values() == pytest.approx((-0.8, 2.0 - 0.1 * 12))
    assert task.b.weight.grad is None


def test_updates_without_optimisers_accumulate_their_sum_over_batches_too() -> None:
    def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
        yield Update(task.a(batch).sum())
        yield Update(2 * task.a(batch).sum())
        if batch.item() == 5:
            yield Update(task.b(batch).sum(), ("a", "b"))

    task = Numbers(step)
    trains = stepper(task)
    trains.train(X)
    assert task.values() == (1.0, 2.0)
    assert pending_gradients(task.optimizers) == {"a": {0: torch.tensor([[9.0]])}}
    trains.train(torch.tensor([[5.0]]))
    assert task.values() == pytest.approx((1 - 0.1 * (9 + 15), 2 - 0.1 * 5))
    assert pending_gradients(task.optimizers) == {}


def test_gradients_are_put_back_for_the_parameters_they_were_of() -> None:
    task = Numbers(lambda task, batch: iter(()))
    task.a.weight.grad = torch.tensor([[7.0]])
    put_gradients(task.optimizers, {"b": {0: torch.tensor([[4.0]])}})
    assert task.a.weight.grad is None
    assert task.b.weight.grad == torch.tensor([[4.0]])


@pytest.mark.parametrize(("longest", "expected"), [(1.5, 1 - 0.1 * 1.5), (4.0, 1 - 0.1 * 3)])
def test_clipping_is_per_optimiser(longest: float, expected: float) -> None:
    def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
        yield Update(task.a(batch).sum() + 100 * task.b(batch).sum(), ("a", "b"))

    task = Numbers(step)
    stepper(task, clip_norm=longest).train(X)
    assert task.values() == pytest.approx((expected, 2 - 0.1 * longest), abs=1e-5)


def test_a_missing_gradient_is_no_step() -> None:
    def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
        yield Update(task.a(batch).sum(), ("a", "b"))

    task = Numbers(step)
    task.optimizers["b"] = torch.optim.Adam(
        task.b.parameters(), lr=0.1
    )  # moves even where gradients are zero
    task.optimizers["b"].state[task.b.weight] = {
        "step": torch.tensor(1.0),
        "exp_avg": torch.ones(1, 1),
        "exp_avg_sq": torch.ones(1, 1),
    }
    stepper(task, clip_norm=1.0).train(X)
    assert task.values()[1] == 2.0


def test_what_is_logged() -> None:
    def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
        loss = task.a(batch).sum()
        yield Update(loss, ("a",), {"adversarial": loss})
        yield Update(task.b(batch).sum() + 1, ("b",), {"edges": torch.tensor(0.25)})
        yield Update(task.b(batch).sum() * 10, ("b",))

    logged, _ = stepper(Numbers(step, b=3.0, lr=0.0)).train(X)
    assert [(each.name, each.value.item(), each.shown) for each in logged] == [
        ("adversarial", 3.0, True),
        ("edges", 0.25, True),
        ("b", 10.0, False),
        ("loss_3", 90.0, True),
    ]
    assert not any(each.value.requires_grad for each in logged)


def test_only_the_task_runs_under_autocast() -> None:
    kinds = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Tensor) -> Tensor:
            kinds.append(("forward", torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
            return value.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            kinds.append(("backward", torch.is_autocast_enabled("cpu"), None))
            return gradient

    def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
        out = task.a(batch)
        assert out.dtype == torch.bfloat16
        yield Update(Watched.apply(out).float().sum(), ("a",))
        assert torch.is_autocast_enabled("cpu")

    stepper(Numbers(step), precision="bf16").train(X)
    assert kinds == [("forward", True, torch.bfloat16), ("backward", False, None)]


def test_autocast_sees_new_weights_after_each_step() -> None:
    """Autocast keeps half-precision copies of weights; they must not outlive a step."""
    seen = []

    def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
        for _ in range(2):
            out = task.a(batch).float().sum()
            seen.append(out.item())
            yield Update(out, ("a",))

    stepper(Numbers(step), precision="bf16").train(X)
    assert seen[0] == 3.0
    assert seen[1] == pytest.approx(3 * 0.7, rel=0.01)


class TestHalfPrecision:
    """GradScaler works on the CPU, too, where fp16 is not offered for being slow."""

    def test_gradients_are_unscaled_before_clipping_and_stepping(self) -> None:
        def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
            yield Update(task.a(batch).float().sum() * 0.001, ("a",))
            yield Update(task.b(batch).float().sum() * 0.1, ("b",))

        task = Numbers(step)
        trains = stepper(task, precision="fp16", clip_norm=0.2)
        before = trains.scaler.get_scale()
        trains.train(X)
        assert task.values() == pytest.approx((1 - 0.1 * 0.003, 2 - 0.1 * 0.2), rel=1e-6)
        assert trains.scaler.get_scale() == before

    def test_an_overflow_keeps_its_optimiser_from_stepping_and_lowers_the_scale_once(self) -> None:
        def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
            yield Update(task.a(batch).float().sum() * 0.125, ("a",))
            yield Update(task.b(batch).float().sum(), ("b",))  # 3 * 65536 is more than fp16 has

        task = Numbers(step)
        trains = stepper(task, precision="fp16")
        before = trains.scaler.get_scale()
        trains.train(X)
        assert task.values() == pytest.approx((1 - 0.1 * 0.375, 2.0))
        assert trains.scaler.get_scale() == before / 2
        assert pending_gradients(task.optimizers) == {}

    def test_an_optimiser_without_gradients_does_nothing(self) -> None:
        def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
            yield Update(task.a(batch).float().sum() * 0.125, ("b",))
            if batch.item() == 1:
                yield Update(task.a(batch).float().sum() * 0.125, ("a", "b"))

        task = Numbers(step)
        trains = stepper(task, precision="fp16")
        trains.train(X)
        assert task.values() == (1.0, 2.0)
        trains.train(torch.ones(1, 1))
        assert task.values() == pytest.approx((1 - 0.1 * (0.375 + 2 * 0.125), 2.0))

    def test_two_steps_of_one_optimiser_are_refused(self) -> None:
        def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
            for _ in range(2):
                yield Update(task.a(batch).float().sum(), ("a",))

        with pytest.raises(UsageError, match="a steps twice"):
            stepper(Numbers(step), precision="fp16").train(X)


def test_flags_are_asked_after_the_updates() -> None:
    asked = []

    def step(task: Numbers, batch: Tensor) -> Iterator[Update]:
        yield Update(task.a(batch).sum(), ("a",))
        asked.append("updated")

    def flags() -> int:
        asked.append("flags")
        return 2

    assert stepper(Numbers(step)).train(X, flags)[1] == 2
    assert asked == ["updated", "flags"]


def test_a_task_without_updates_is_fine() -> None:
    assert stepper(Numbers(lambda task, batch: iter(()))).train(X, lambda: 1) == ([], 1)


def test_buckets_keep_types_apart_and_sizes_low() -> None:
    tensors = [torch.zeros(size) for size in (3, 2, 9, 1, 4)]
    half = torch.zeros(7, dtype=torch.float16)
    found = list(buckets([*tensors[:2], half, *tensors[2:]], largest=20))
    assert [[each.numel() for each in bucket] for bucket in found] == [[3, 2], [9], [1, 4], [7]]
    assert math.prod(len({each.dtype for each in bucket}) for bucket in found) == 1
    assert list(buckets([])) == []
