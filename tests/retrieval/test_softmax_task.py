"""Metric learning by the softmax over a batch: one update for all of its tuples."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from stub_tuples import MeanNet
from torch import Tensor

from darkside_cli.retrieval.config import FinetuneConfig, LossOptions
from darkside_cli.retrieval.mining.tuple_data import TupleBatch
from darkside_cli.retrieval.task import DescriptorTask

RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def flat(colour: tuple[float, float, float], side: int = 2) -> Tensor:
    return torch.tensor(colour)[:, None, None].expand(3, side, side)


def make() -> DescriptorTask:
    network: Any = MeanNet()
    return DescriptorTask(
        FinetuneConfig(loss=LossOptions(kind="softmax", temperature=0.5)), network, device="cpu"
    )


def test_every_image_is_a_negative_of_the_other_places() -> None:
    """Anchors and positives are alike: over the temperature 0.5, an own one has 2, a foreign one 0."""
    batch = TupleBatch(
        ((flat(RED), flat(RED), flat(BLUE)), (flat(GREEN), flat(GREEN, 3), flat(BLUE))),
        ((1, 1, 3), (2, 2, 3)),
    )
    (only,) = list(make().train_step(batch))
    there = -math.log(math.exp(2) / (math.exp(2) + 3))  # against the other positive and two negatives
    back = -math.log(math.exp(2) / (math.exp(2) + 1))
    assert only.loss.item() == pytest.approx(there + back, rel=1e-4)
    assert only.logs["loss"].item() == pytest.approx((there + back) / 2, rel=1e-4)
    assert only.logs["positive_distance"].item() == pytest.approx(0, abs=1e-4)
    assert only.optimizers == ("descriptor",)


def test_tuples_of_one_place_are_not_each_others_negatives() -> None:
    batch = TupleBatch(((flat(RED), flat(RED)), (flat(GREEN), flat(GREEN))), ((1, 1), (1, 1)))
    (only,) = list(make().train_step(batch))
    assert only.loss.item() == 0


def test_validation_asks_each_tuple_alone() -> None:
    anchors, positives = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]])
    negatives = torch.tensor([[[0.0, 1.0], [0.8, 0.6]]])
    (loss,) = make().losses(anchors, positives, negatives).tolist()
    e = math.exp
    assert loss == pytest.approx(-math.log(e(1.2) / (e(1.2) + e(0) + e(1.6))), rel=1e-5)
