"""The method that relights: the order of its updates, what they are made of, and that it goes on where it was."""

from __future__ import annotations

import shutil
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from darkside_cli.config.load import resolve
from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.errors import ConfigError
from darkside_cli.methods.config import CutConfig, RelightConfig, RelightWeights
from darkside_cli.methods.network_options import (
    PatchDiscriminatorOptions,
    ProjectedDiscriminatorOptions,
    RelightGeneratorOptions,
)
from darkside_cli.methods.relight import RelightTask
from darkside_cli.methods.task import make_network
from darkside_cli.networks.efficientnet_lite import EfficientNetLite
from darkside_cli.training.global_state import compiled

CONFIG = RelightConfig(
    generator=RelightGeneratorOptions(width=4, levels=1, code=2),
    discriminator=PatchDiscriminatorOptions(ndf=4, n_layers=1),
    weights=RelightWeights(identity=5.0, variety=3.0),
)
TERMS = {"adversarial", "edge", "sky", "foliage", "lamps", "light"}


def batch(seed: int = 0) -> UnpairedBatch:
    generator = torch.Generator().manual_seed(seed)
    return UnpairedBatch(*(torch.rand(2, 3, 32, 40, generator=generator) * 2 - 1 for _ in range(2)))


def step(task: RelightTask, given: UnpairedBatch) -> dict[str, Tensor]:
    """One step; the logs."""
    logs: dict[str, Tensor] = {}
    for update in task.train_step(given):
        update.loss.backward()
        collected = {
            name
            for name, network in task.networks.items()
            if any(each.grad is not None for each in network.parameters())
        }
        assert collected == set(update.optimizers)
        for name in update.optimizers:
            task.optimizers[name].step()
            task.optimizers[name].zero_grad()
        logs |= {name: value.detach() for name, value in update.logs.items()}
    return logs


def weights(task: RelightTask) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value.clone()
        for name, network in task.networks.items()
        for key, value in network.state_dict().items()
    }


def test_a_step_is_the_sum_of_its_terms() -> None:
    task = RelightTask.build(CONFIG, device="cpu")
    seen: set[str] = set()
    for seed in range(20):
        logs = step(task, batch(seed))
        terms = logs.keys() - {"total", "discriminator_real", "discriminator_fake"}
        seen |= terms
        assert terms >= TERMS
        total = sum(logs[name].item() for name in terms)
        total += (logs["discriminator_real"] + logs["discriminator_fake"]).item() / 2
        assert logs["total"].item() == pytest.approx(total, rel=1e-5)
    assert seen == {*TERMS, "identity", "variety"}, "these two are looked at now and then"


def test_what_weighs_nothing_is_not_made() -> None:
    none = replace(CONFIG, weights=RelightWeights(identity=0, variety=0))
    task = RelightTask.build(none, device="cpu")
    assert all(not {"identity", "variety"} & step(task, batch(seed)).keys() for seed in range(12))


def test_it_goes_on_where_it_was_bit_for_bit() -> None:
    task = RelightTask.build(CONFIG, device="cpu")
    for seed in range(3):
        step(task, batch(seed))
    state: dict[str, Any] = deepcopy(task.extra_state())
    kept, optimizers = weights(task), deepcopy({k: v.state_dict() for k, v in task.optimizers.items()})
    other = RelightTask.build(CONFIG, device="cpu")
    for name, network in other.networks.items():
        own = {key[len(name) + 1 :]: value for key, value in kept.items() if key.startswith(f"{name}.")}
        network.load_state_dict(own)
        other.optimizers[name].load_state_dict(optimizers[name])
    other.load_extra_state(state)
    for seed in range(3, 7):
        for each in (task, other):
            torch.manual_seed(seed)
            step(each, batch(seed))
    torch.testing.assert_close(weights(other), weights(task), rtol=0, atol=0)


def test_it_takes_no_other_generator() -> None:
    with pytest.raises(ConfigError, match="this method needs generator"):
        resolve(RelightConfig, overrides=["generator.kind=resnet"])


@pytest.mark.parametrize("kind", ["patch", "projected"])
def test_other_methods_take_the_discriminator_and_the_loss(kind: str) -> None:
    config = resolve(CutConfig, overrides=[f"discriminator.kind={kind}", "adversarial=hinge"]).value
    assert config.adversarial == "hinge"
    projected = isinstance(config.discriminator, ProjectedDiscriminatorOptions)
    assert projected == (kind == "projected")


def test_a_projected_discriminator_learns_its_heads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    features = EfficientNetLite().eval().requires_grad_(False)
    monkeypatch.setattr("darkside_cli.networks.discriminator.load_imagenet", lambda name: features)
    task = RelightTask.build(
        replace(CONFIG, discriminator=ProjectedDiscriminatorOptions(width=8)), device="cpu"
    )
    before = weights(task)
    step(task, batch())
    changed = {key for key, value in weights(task).items() if not torch.equal(value, before[key])}
    assert any(".heads." in key for key in changed)
    assert not any(".mixing." in key for key in changed)


def test_first_weights_are_the_networks_own() -> None:
    one, two = (make_network(RelightGeneratorOptions(width=4, levels=1)) for _ in range(2))
    torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)
    assert one.state_dict()["out.bias"][0].item() == pytest.approx(-2.6)


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="there is no C++ compiler")
def test_compiled_training_is_eager_training() -> None:
    made = []
    for compiling in (False, True):
        task = RelightTask.build(CONFIG, device="cpu")
        with compiled(task.compilable() if compiling else ()):
            for seed in range(8):
                torch.manual_seed(seed)
                logs = step(task, batch(seed))
                made.append({name: value.item() for name, value in logs.items()})
    for eager, other in zip(made[:8], made[8:], strict=True):
        assert other == pytest.approx(eager, rel=0.02, abs=1e-4)
