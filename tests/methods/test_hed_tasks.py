"""HED-GAN and HED-N-GAN: the order of their updates, and that nothing is computed for nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.errors import UsageError
from darkside_cli.methods.config import HedGanConfig, HedNGanConfig
from darkside_cli.methods.hedgan import HedGanTask, HedNGanTask
from darkside_cli.methods.network_options import PatchDiscriminatorOptions, ResnetGeneratorOptions
from darkside_cli.methods.task import GanTask
from darkside_cli.networks.sobel import Sobel

OPTIONS: dict[str, Any] = {
    "generator": ResnetGeneratorOptions(ngf=4, n_blocks=1, norm="batch"),
    "discriminator": PatchDiscriminatorOptions(ndf=4, n_layers=1, norm="batch"),
}


def batch(seed: int = 0) -> UnpairedBatch:
    generator = torch.Generator().manual_seed(seed)
    return UnpairedBatch(*(torch.rand(2, 3, 24, 32, generator=generator) * 2 - 1 for _ in range(2)))


def make(kind: type[HedGanTask]) -> HedGanTask:
    config = HedNGanConfig(**OPTIONS) if kind is HedNGanTask else HedGanConfig(**OPTIONS)
    return kind.build(config, device="cpu", edge_detector=Sobel())


def modules(task: HedGanTask) -> dict[str, nn.Module]:
    found = {
        "generator": task.generator_day2night,
        "discriminator": task.discriminator_night,
        "teacher": task.teacher_logits,
    }
    return found | ({"student": task.student_logits} if isinstance(task, HedNGanTask) else {})


def train(task: GanTask, given: UnpairedBatch) -> tuple[list[tuple[str, ...]], dict[str, float]]:
    """One step; the optimisers of each update, and the logs."""
    order: list[tuple[str, ...]] = []
    logs: dict[str, float] = {}
    for update in task.train_step(given):
        order.append(update.optimizers)
        update.loss.backward()
        for name, network in task.networks.items():
            collected = any(p.grad is not None for p in network.parameters())
            trained = name in update.optimizers or (name == "edge_student" and "student_day" in update.logs)
            assert collected == trained, name
        for name in update.optimizers:
            task.optimizers[name].step()
            task.optimizers[name].zero_grad()
        logs |= {name: value.item() for name, value in update.logs.items()}
    return order, logs


def test_order_of_hedgan() -> None:
    order, logs = train(make(HedGanTask), batch())
    assert order == [("discriminator_night",), ("generator_day2night",)]
    discriminator = (logs["discriminator_real"] + logs["discriminator_fake"]) / 2
    assert logs["total"] == pytest.approx(discriminator + logs["adversarial"] + logs["edge"])


def test_order_of_hedngan() -> None:
    order, logs = train(make(HedNGanTask), batch())
    assert order == [("discriminator_night",), (), ("edge_student",), ("generator_day2night",)]
    discriminator = (logs["discriminator_real"] + logs["discriminator_fake"]) / 2
    assert logs["student_day"] == 0  # the student begins as the teacher
    assert logs["student_night"] > 0
    assert logs["total"] == pytest.approx(discriminator + logs["adversarial"] + logs["edge"])


@pytest.mark.parametrize(
    ("kind", "passes"),
    [
        (HedGanTask, {"generator": 1, "discriminator": 3, "teacher": 2}),
        (HedNGanTask, {"generator": 1, "discriminator": 3, "teacher": 1, "student": 3}),
    ],
)
def test_nothing_is_seen_twice(kind: type[HedGanTask], passes: dict[str, int]) -> None:
    task = make(kind)
    counted: Counter[str] = Counter()
    for name, module in modules(task).items():
        module.register_forward_pre_hook(lambda *_, name=name: counted.update([name]))
    train(task, batch())
    assert counted == passes


def test_generator_learns_through_the_student_as_it_has_become() -> None:
    task = make(HedNGanTask)
    assert isinstance(task, HedNGanTask)
    task.optimizers["edge_student"].param_groups[0]["lr"] = 0.1
    given, seen = batch(), []
    task.generator_day2night.register_forward_hook(lambda _m, _x, y: seen.append(y.detach()))
    for update in task.train_step(given):
        if "edge" in update.logs:
            expected = 5 * F.l1_loss(task.edge_student(seen[0]), task.networks["edge_teacher"](given.day))
            assert update.logs["edge"].item() == pytest.approx(expected.item(), rel=1e-5)
            before = 5 * F.l1_loss(Sobel()(seen[0]), Sobel()(given.day))
            assert abs(before.item() - expected.item()) > 1e-3
        update.loss.backward()
        for name in update.optimizers:
            task.optimizers[name].step()


def test_discriminators_statistics_see_real_then_fake_then_fake() -> None:
    task, given = make(HedGanTask), batch()
    shown: list[Tensor] = []
    task.discriminator_night.register_forward_pre_hook(lambda _m, x: shown.append(x[0].detach().clone()))
    fakes: list[Tensor] = []
    task.generator_day2night.register_forward_hook(lambda _m, _x, y: fakes.append(y.detach().clone()))
    train(task, given)
    for actual, expected in zip(shown, (given.night, fakes[0], fakes[0]), strict=True):
        assert torch.equal(actual, expected)


def test_teacher_is_frozen() -> None:
    task = make(HedNGanTask)
    before = {key: value.clone() for key, value in task.networks["edge_teacher"].state_dict().items()}
    assert task.frozen == {"edge_teacher"}
    assert set(task.optimizers) == {"generator_day2night", "discriminator_night", "edge_student"}
    for seed in range(2):
        train(task, batch(seed))
    assert not task.networks["edge_teacher"].training
    for key, value in task.networks["edge_teacher"].state_dict().items():
        assert torch.equal(value, before[key])


def test_metadata() -> None:
    task = make(HedNGanTask)
    facts = task.metadata("generator_day2night")
    assert facts["method"] == "hedngan"
    assert (facts["direction"], facts["mean"], facts["std"]) == ("day2night", [0.5] * 3, [0.5] * 3)
    assert facts["edge_detector"] == "sobel"
    assert "direction" not in task.metadata("edge_student")


def test_without_a_detector() -> None:
    with pytest.raises(UsageError, match="hedgan learns from an edge detector") as caught:
        HedGanTask.build(HedGanConfig(**OPTIONS), device="cpu")
    assert "sobel" in (caught.value.hint or "")


def test_translating_leaves_training_alone() -> None:
    task = make(HedGanTask)
    before = {key: value.clone() for key, value in task.generator_day2night.state_dict().items()}
    night = task.translate(batch().day[:1, :, :21, :30])
    assert night.shape == (1, 3, 24, 32)
    assert not night.requires_grad
    assert task.generator_day2night.training
    for key, value in task.generator_day2night.state_dict().items():
        assert torch.equal(value, before[key])
