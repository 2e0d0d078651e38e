"""The task of metric learning: sums of gradients, one step a batch, groups of parameters, what is frozen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stub_tuples import MeanNet
from torch import Tensor

from darkside_cli.images.settings import ClaheSettings
from darkside_cli.retrieval.config import DescriptorOptimOptions, FinetuneConfig, LossOptions
from darkside_cli.retrieval.mining.config import NightOptions
from darkside_cli.retrieval.mining.tuple_data import TupleBatch
from darkside_cli.retrieval.task import DescriptorTask, clahe_settings
from darkside_cli.training.task import Update


def make(config: FinetuneConfig | None = None, *, norm: bool = False, **facts: Any) -> DescriptorTask:
    network: Any = MeanNet(norm=norm)
    return DescriptorTask(config or FinetuneConfig(), network, device="cpu", facts=facts)


def flat(*colours: tuple[float, float, float], side: int = 2) -> tuple[Tensor, ...]:
    """One-coloured images; each a little larger than the one before."""
    return tuple(
        torch.tensor(colour)[:, None, None].expand(3, side + n, side) for n, colour in enumerate(colours)
    )


RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
ORANGE = (0.8, 0.6, 0.0)


def run(task: DescriptorTask, batch: TupleBatch) -> list[Update]:
    """What the trainer does with a batch."""
    updates = []
    for update in task.train_step(batch):
        update.loss.backward()  # type: ignore[no-untyped-call]
        updates.append(update)
        for name in update.optimizers:
            task.optimizers[name].step()
    return updates


def test_losses_by_hand() -> None:
    """The anchor (1, 0, 0) is 0.6325 from (0.8, 0.6, 0), and further than the margin from the other colours."""
    batch = TupleBatch((flat(RED, ORANGE, GREEN, BLUE), flat(RED, GREEN, ORANGE, BLUE)))
    first, second = run(make(), batch)
    assert first.loss.item() == pytest.approx(0.4 / 2, rel=1e-4)
    # Here the positive is sqrt(2) away, and the near colour is a negative: (2 + (0.75 - 0.63246)^2) / 2.
    assert second.loss.item() == pytest.approx((2 + (0.75 - 0.4**0.5) ** 2) / 2, rel=1e-4)
    assert second.logs["positive_distance"].item() == pytest.approx(2**0.5, rel=1e-4)
    assert second.logs["negative_distance"].item() == pytest.approx((0.4**0.5 + 2**0.5) / 2, rel=1e-4)
    assert [first.optimizers, second.optimizers] == [(), ("descriptor",)]
    assert (make().item, make().counted(batch)) == ("tuple", (2, 8))


def test_the_triplet_loss() -> None:
    config = FinetuneConfig(loss=LossOptions(kind="triplet", margin=0.3))
    (only,) = run(make(config), TupleBatch((flat(RED, GREEN, ORANGE, BLUE),)))
    # Against orange 2 - 0.4 + 0.3, against blue 2 - 2 + 0.3.
    assert only.loss.item() == pytest.approx(1.9 + 0.3, rel=1e-4)


def test_gradients_of_a_batch_are_summed_up() -> None:
    tuples = (flat(RED, ORANGE, GREEN), flat(GREEN, RED, ORANGE), flat(BLUE, GREEN, ORANGE))
    alone = []
    for each in tuples:
        task = make()
        task.optimizers["descriptor"].step = lambda *_: None  # type: ignore[assignment, method-assign]
        run(task, TupleBatch((each,)))
        alone.append(task.network.features[0].weight.grad)
    task = make()
    task.optimizers["descriptor"].step = lambda *_: None  # type: ignore[assignment, method-assign]
    run(task, TupleBatch(tuples))
    torch.testing.assert_close(task.network.features[0].weight.grad, sum(alone))
    assert task.reduction == "sum"


def test_rows_come_in_the_order_of_the_images_whatever_their_sizes() -> None:
    colours = [RED, GREEN, BLUE, ORANGE, GREEN, RED]
    images = [torch.tensor(c)[:, None, None].expand(3, 2 + n % 2, 3) for n, c in enumerate(colours)]
    rows = make().descriptors(images)
    expected = torch.tensor(colours)
    torch.testing.assert_close(rows, expected, atol=2e-6, rtol=0)
    assert make().describe(torch.stack(images[::2])).requires_grad is False


def test_the_pooling_has_its_own_rate_and_no_weight_decay() -> None:
    config = FinetuneConfig(optim=DescriptorOptimOptions(lr=1e-3, weight_decay=0.1, pool_factor=7))
    task = make(config)
    main, pooling = task.optimizers["descriptor"].param_groups
    assert main["params"] == [task.network.features[0].weight]
    assert (main["lr"], main["weight_decay"]) == (1e-3, 0.1)
    assert pooling["params"] == [task.network.pool.p]
    assert (pooling["lr"], pooling["weight_decay"]) == (pytest.approx(7e-3), 0.0)
    run(task, TupleBatch((flat(RED, ORANGE, GREEN),)))
    task.schedulers["descriptor"].step()
    assert [group["lr"] for group in task.optimizers["descriptor"].param_groups] == pytest.approx(
        [0.99e-3, 0.99 * 7e-3]
    )


def test_a_pooling_without_parameters_is_no_group() -> None:
    from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig

    network = RetrievalNet(RetrievalNetConfig(backbone="squeezenet1_1", pooling="mac"))
    task = DescriptorTask(FinetuneConfig(), network, device="cpu")
    (group,) = task.optimizers["descriptor"].param_groups
    assert len(group["params"]) == len(list(network.parameters()))


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_of_batch_norms(frozen: bool) -> None:
    task = make(replace(FinetuneConfig(), freeze_norms=frozen), norm=True)
    task.network.train()
    norm = task.network.features[1]
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    run(task, TupleBatch((flat(RED, ORANGE, GREEN),)))
    assert torch.equal(norm.running_mean, before["running_mean"]) is frozen
    assert not torch.equal(norm.weight, before["weight"])  # its scale is trained in any case
    assert task.network.training


def test_describing_leaves_the_network_as_it_was() -> None:
    task = make(norm=True)
    task.network.train()
    before = {key: value.clone() for key, value in task.network.state_dict().items()}
    task.describe(torch.rand(4, 3, 5, 6))
    assert task.network.training
    assert all(torch.equal(value, before[key]) for key, value in task.network.state_dict().items())


def test_validation_decides_only_where_there_is_one(tmp_path: Path) -> None:
    task = make()
    assert task.decisive is None
    assert task.validate(1, tmp_path) == {}
    task.validator = lambda: 0.25
    assert task.decisive == ("loss", "min")
    assert task.validate(1, tmp_path) == {"loss": 0.25}


def test_what_is_saved_with_the_network_says_what_its_images_go_through() -> None:
    task = make(FinetuneConfig(backbone="resnet18", augment=NightOptions(clahe_clip=2.0)), night="abc")
    facts = task.metadata("descriptor")
    assert facts["clahe"] == {"clip_limit": 2.0, "grid_size": 8}
    assert (facts["mean"], facts["margin"], facts["night"]) == ([0.0] * 3, 0.85, "abc")
    assert clahe_settings(FinetuneConfig()) == ClaheSettings(1.0, 8)
    assert clahe_settings(FinetuneConfig(augment=NightOptions(clahe_clip=0))) is None


def test_the_state_of_the_mining_is_part_of_a_checkpoint() -> None:
    class State:
        loaded: Any = None

        def state(self) -> dict[str, Any]:
            return {"epoch": 3}

        def load_state(self, state: Any) -> None:
            self.loaded = state

    task, state = make(), State()
    task.mining = state  # type: ignore[assignment]
    task.load_extra_state(task.extra_state())
    assert state.loaded == {"epoch": 3}
