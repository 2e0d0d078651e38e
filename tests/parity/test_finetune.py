"""An epoch of fine-tuning by the trainer itself, from files: tuples, network inputs, losses, gradients, weights, rates.

What is mined is held to the case's own random stream in ``test_finetune_mining.py``; here everything comes out of the
parts that ``darkside finetune`` puts together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import DATA, Case, build, load_case
from torch import Tensor

from darkside_cli.config.paths import DataRoot
from darkside_cli.methods.night import load_night
from darkside_cli.networks.retrieval_net import RetrievalNet
from darkside_cli.retrieval.config import (
    DescriptorOptimOptions,
    DescriptorScheduleOptions,
    EvaluationOptions,
    FinetuneConfig,
    LossOptions,
    TupleDataConfig,
)
from darkside_cli.retrieval.finetune import prepare_finetune
from darkside_cli.retrieval.finetune_stages import FinetuneRun
from darkside_cli.retrieval.mining.config import MiningConfig, NightOptions
from darkside_cli.retrieval.mining.draws import TorchDraws
from darkside_cli.retrieval.mining.tuple_data import TupleBatch, validation_tuples
from darkside_cli.retrieval.mining.tuple_images import ImageDescriber
from darkside_cli.retrieval.task import DescriptorTask
from darkside_cli.retrieval.whitening.config import WhiteningOptions
from darkside_cli.scenario.finetune import night_options
from darkside_cli.training.task import Update
from darkside_cli.training.trainer import Trainer

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
ROLES = ("anchor", "positive", "negative")


@pytest.fixture(scope="module")
def case() -> Case:
    return load_case("finetune")


def config_of(case: Case, cache: Path) -> FinetuneConfig:
    """The published configuration at the case's sizes."""
    train = case.values["data_params"]["train"]
    night = night_options(case.values["augment_wrappers"])
    plain = FinetuneConfig()
    main, pooling = case.values["optimizer_groups"]
    return FinetuneConfig(
        backbone=case.params["embed"]["cir_architecture"],
        pooling=case.params["embed"]["pooling"],
        init="random",
        # The published defaults: the case has to come out with them.
        loss=LossOptions(),
        optim=DescriptorOptimOptions(
            lr=main["lr"],
            betas=tuple(main["betas"]),
            weight_decay=main["weight_decay"],
            pool_factor=round(pooling["lr"] / main["lr"], 6),
        ),
        schedule=DescriptorScheduleOptions(),
        mining=MiningConfig(
            anchors=train["query_size"],
            anchor_pool=train["qpool_size"],
            similar_exclude=train["similar_exclude"],
            similar_include=train["similar_include"],
            negatives=train["neg_num"],
            negative_pool=train["pool_size"],
        ),
        data=TupleDataConfig(
            database=train["dataset"],
            file=DATA / case.params["database"],
            images=DATA / case.params["images"],
            image_size_px=train["image_size"],
            batch_size=train["batch_size"],
            workers=2,
        ),
        augment=NightOptions(
            share=night["augment.share"],
            clahe_clip=night["augment.clahe_clip"],
            clahe_grid=night["augment.clahe_grid"],
            cache=cache,
        ),
        whitening=WhiteningOptions(kind="none"),
        evaluation=EvaluationOptions(datasets=()),
        trainer=replace(plain.trainer, epochs=1, seed=case.params["training_seed"], validate_every=0),
    )


@dataclass
class Recorded:
    """What went by during the epoch."""

    batches: list[TupleBatch] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)
    descriptors: list[list[Tensor]] = field(default_factory=list)
    gradients: list[dict[str, float]] = field(default_factory=list)
    weights: list[dict[str, Tensor]] = field(default_factory=list)


def record(task: DescriptorTask) -> Recorded:
    """Note down what ``task`` does from now on."""
    seen = Recorded()
    original, rows = task.train_step, task.descriptors

    def watched(batch: TupleBatch) -> Iterator[Update]:
        seen.batches.append(batch)
        seen.losses.append([])
        seen.descriptors.append([])
        for update in original(batch):
            seen.losses[-1].append(update.loss.item())
            if update.optimizers:
                hook = task.optimizers["descriptor"].register_step_pre_hook(gradients)
            yield update
        hook.remove()
        state = task.network.state_dict()
        seen.weights.append({key: value.clone() for key, value in state.items()})

    def gradients(*_: Any) -> None:
        found = {}
        for name, parameter in task.network.named_parameters():
            assert parameter.grad is not None
            found[name] = parameter.grad.double().norm().item()
        seen.gradients.append(found)

    def watched_rows(images: tuple[Tensor, ...]) -> Tensor:
        result = rows(images)
        seen.descriptors[-1].append(result.detach())
        return result

    task.train_step = watched  # type: ignore[method-assign]
    task.descriptors = watched_rows  # type: ignore[method-assign, assignment]
    return seen


@dataclass(frozen=True)
class Epoch:
    """The epoch that was trained."""

    run: FinetuneRun
    seen: Recorded
    initial: Mapping[str, Tensor]
    validation: list[float]


@pytest.fixture(scope="module")
def epoch(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Epoch:
    folder = tmp_path_factory.mktemp("finetune")
    config = config_of(case, folder / "night")
    network: RetrievalNet = build(case.params["embed"], case.params["embed_weights_seed"])
    root = DataRoot(folder, "test")
    ready = prepare_finetune(
        config,
        run=folder / "run",
        root=root,
        network=network,
        generators=[load_night(DATA / case.params["augment"], root)],
        device=CPU,
    )
    assert isinstance(ready.trainer, Trainer)
    initial = {key: value.clone() for key, value in network.state_dict().items()}
    seen = record(ready.task)
    result = ready.train()
    assert result.complete
    assert ready.sets.validation is not None
    held_out = ImageDescriber(
        ready.data.describer.images.of(ready.sets.validation), ready.task.describe, workers=2, batch_size=1
    )
    draws = TorchDraws(torch.Generator().manual_seed(case.values["validation"]["torch_seed"]))
    shuffled = replace(config.validation_mining, shuffle=True)
    losses = ready.task.losses(*validation_tuples(held_out, shuffled, draws=draws)).tolist()
    return Epoch(ready, seen, initial, losses)


def close(actual: float, expected: float, tolerance: Mapping[str, float]) -> bool:
    return actual == pytest.approx(expected, rel=tolerance["rtol"], abs=tolerance["atol"])


def test_the_defaults_are_the_published_ones(case: Case) -> None:
    plain = FinetuneConfig()
    main, pooling = case.values["optimizer_groups"]
    assert [plain.optim.lr, list(plain.optim.betas), plain.optim.weight_decay] == [
        main["lr"],
        main["betas"],
        main["weight_decay"],
    ]
    assert plain.optim.lr * plain.optim.pool_factor == pytest.approx(pooling["lr"])
    first, second = (rates[0] for rates in case.values["lr_following_epochs"][:2])
    assert plain.schedule.gamma == pytest.approx(second / first)


def test_groups_of_parameters(case: Case, epoch: Epoch) -> None:
    names = {parameter: name for name, parameter in epoch.run.task.network.named_parameters()}
    groups = epoch.run.task.optimizers["descriptor"].param_groups
    assert len(groups) == len(case.values["optimizer_groups"])
    for ours, theirs in zip(groups, case.values["optimizer_groups"], strict=True):
        assert [ours["eps"], ours["weight_decay"], len(ours["params"])] == [
            theirs["eps"],
            theirs["weight_decay"],
            theirs["n_params"],
        ]
        shown = theirs["params"]
        assert [names[each] for each in ours["params"]][: len(shown)] == shown


def test_tuples_in_order(case: Case, epoch: Epoch) -> None:
    mined = epoch.run.data.mined
    assert mined is not None
    assert case.entry["tolerance"]["mining"] == "exact"
    recorded = [each for step in case.values["steps"] for each in step["tuples"]]
    assert len(mined.images) == len(recorded)
    names = epoch.run.sets.training.names
    images = epoch.run.data.describer.images
    for numbers, facts in zip(mined.images.tolist(), recorded, strict=True):
        assert [names[number] for number in numbers] == [image["name"] for image in facts]
        for place, (number, image) in enumerate(zip(numbers, facts, strict=True)):
            assert images.becomes_night(number, ROLES[min(place, 2)]) == image["translated"]
    assert [len(batch.tuples) for batch in epoch.seen.batches] == [
        len(step["tuples"]) for step in case.values["steps"]
    ]


def test_network_inputs(case: Case, epoch: Epoch) -> None:
    seen = 0
    for key, expected in case.arrays.items():
        found = re.fullmatch(r"step(\d+)\.tuple(\d+)\.image(\d+)\.network_input", key)
        if found is None:
            continue
        step, number, image = map(int, found.groups())
        x = epoch.seen.batches[step].tuples[number][image].numpy()
        assert x.shape == expected.shape
        if case.values["steps"][step]["tuples"][number][image]["translated"]:
            assert case.entry["tolerance"]["network_input"]["translated"] == "mean |difference| < 2e-3"
            assert np.abs(x - expected).mean() < 2e-3
        else:
            assert case.entry["tolerance"]["network_input"]["untranslated"] == "atol 2e-5"
            np.testing.assert_allclose(x, expected, atol=2e-5, rtol=0)
        seen += 1
    assert seen > 1


def test_losses(case: Case, epoch: Epoch) -> None:
    tolerance = case.entry["tolerance"]["losses"]
    for ours, step, logged in zip(
        epoch.seen.losses, case.values["steps"], case.values["logged_losses"], strict=True
    ):
        assert len(ours) == len(step["tuple_losses"])
        for value, expected in zip(ours, step["tuple_losses"], strict=True):
            assert close(value, expected, tolerance)
        assert close(sum(ours) / len(ours), logged["total"], tolerance)


def test_descriptors(case: Case, epoch: Epoch) -> None:
    seen = 0
    for step, tuples in enumerate(epoch.seen.descriptors):
        for number, rows in enumerate(tuples):
            expected = case.arrays.get(f"step{step}.tuple{number}.descriptors")
            if expected is not None:
                case.assert_close(rows.T, expected, "descriptors")
                seen += 1
    assert seen > 1


def test_gradients_are_sums_over_the_tuples(case: Case, epoch: Epoch) -> None:
    """Norms of the gradients that each step is made with, at the tolerance of the changes that they make.

    The manifest has none for gradients. The mean instead of the sum would be off by the number of tuples.
    """
    rtol = case.entry["tolerance"]["weights"]["delta rtol"]
    assert len(epoch.seen.gradients) == len(case.values["steps"])
    for ours, step in zip(epoch.seen.gradients, case.values["steps"], strict=True):
        assert ours.keys() == step["gradient_l2"].keys()
        for name, expected in step["gradient_l2"].items():
            assert ours[name] == pytest.approx(expected, rel=rtol), name


def test_weights_after_each_step(case: Case, epoch: Epoch) -> None:
    tolerance = case.entry["tolerance"]["weights"]
    for number, (ours, step) in enumerate(zip(epoch.seen.weights, case.values["steps"], strict=True)):
        for name, (_, _, norm, moved) in step["weights"].items():
            value = ours[name].double()
            assert value.norm().item() == pytest.approx(norm, rel=tolerance["L2 rtol"]), name
            delta = (value - epoch.initial[name].double()).norm().item()
            assert delta == pytest.approx(moved, rel=tolerance["delta rtol"]), (number, name)
        for name in ("pool.p", "features.0.bias"):
            expected = case.arrays[f"step{number}.{name}"]
            # What a weight may be off is what its change may be off.
            atol = tolerance["delta rtol"] * np.abs(expected - epoch.initial[name].numpy()).max() + 1e-9
            np.testing.assert_allclose(ours[name].numpy(), expected, atol=atol, rtol=tolerance["L2 rtol"])


def test_rates_after_the_epoch(case: Case, epoch: Epoch) -> None:
    groups = epoch.run.task.optimizers["descriptor"].param_groups
    assert [group["lr"] for group in groups] == pytest.approx(case.values["lr_after_first_epoch"], rel=1e-12)


def test_validation(case: Case, epoch: Epoch) -> None:
    """Losses of the validation tuples after the epoch, anchors at night as in training."""
    expected = case.values["validation"]
    tolerance = case.entry["tolerance"]["losses"]
    assert len(epoch.validation) == len(expected["losses"])
    for ours, theirs in zip(epoch.validation, expected["losses"], strict=True):
        assert close(ours, theirs, tolerance)
    assert close(float(np.mean(epoch.validation)), expected["mean"], tolerance)
