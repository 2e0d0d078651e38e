from __future__ import annotations

import pytest
import torch
from torch import nn

from darkside_cli.training.moving_average import MovingAverage


def network() -> nn.Sequential:
    layers = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.constant_(layers[0].weight, 1.0)
    return layers


def test_by_hand() -> None:
    module = network()
    average = MovingAverage({"a": module}, decay=0.25)
    expected, mean = 1.0, 0.0
    for update, weight in enumerate((3.0, -2.0, 0.5), 1):
        with torch.no_grad():
            module[0].weight.fill_(weight)
            module[1].running_mean.fill_(10 * weight)
            module[1].num_batches_tracked.fill_(update)
        average.update()
        decay = min(0.25, (1 + update) / (10 + update))  # 2/11, 3/12, 0.25
        expected = decay * expected + (1 - decay) * weight
        mean = decay * mean + (1 - decay) * 10 * weight
    with average.applied():
        assert module[0].weight.item() == pytest.approx(expected)
        assert module[1].running_mean.item() == pytest.approx(mean)  # statistics belong to the weights
        assert module[1].num_batches_tracked.item() == 3
    assert average.updates == 3


def test_networks_are_themselves_again_even_after_an_error() -> None:
    module = network()
    average = MovingAverage({"a": module}, decay=0.9)
    with torch.no_grad():
        module[0].weight.fill_(0.1)
    before = {key: value.clone() for key, value in module.state_dict().items()}

    def fail() -> None:
        with average.applied():
            assert module[0].weight.item() == 1.0
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_loaded_and_begun_anew() -> None:
    module = network()
    average = MovingAverage({"a": module}, decay=0.9)
    average.load("a", {**module.state_dict(), "0.weight": torch.tensor([[7.0]])})
    with average.applied():
        assert module[0].weight.item() == 7.0
    average.updates = 5
    average.reset()
    assert average.updates == 0
    with average.applied():
        assert module[0].weight.item() == 1.0
    with pytest.raises(ValueError, match="does not fit"):
        average.load("a", {"0.weight": torch.zeros(1, 1)})
    with pytest.raises(ValueError, match="does not fit"):
        average.load("a", {**module.state_dict(), "0.weight": torch.zeros(2, 1)})


def test_weights_without_gradients_are_averaged_too_and_graphs_are_not_kept() -> None:
    module = network()
    module.requires_grad_(False)
    average = MovingAverage({"a": module}, decay=0.0)
    with torch.no_grad():
        module[0].weight.fill_(4.0)
    average.update()
    with average.applied():
        assert module[0].weight.item() == 4.0
        assert not module[0].weight.requires_grad
